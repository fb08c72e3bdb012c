//! `finderscope run`: the collector.

use std::net::SocketAddr;
use std::num::NonZero;
use std::process::ExitCode;

use anyhow::Context;
use api::{Api, ApiOptions};
use clap::Args;
use engine::{Engine, EngineOptions, MOST_WORKERS};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tables::Options;
use time::OffsetDateTime;
use time::macros::format_description;

/// Options of `finderscope run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Ends on SIGINT and SIGTERM, orderly; a second signal ends it at once.\n\n\
Exit codes: 0 ended by a signal; 1 could not start, the reason is on standard error; 2 the command line is wrong.")]
pub struct RunArgs {
    /// Listen for sFlow on a UDP address; may be repeated [default: [::]:6343, which takes IPv4 too]
    #[arg(long, value_name = "ADDR:PORT")]
    sflow: Vec<SocketAddr>,
    /// Answer REST on an address
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8008")]
    http: SocketAddr,
    /// A name beside the address under which clients reach REST (Host header); may be repeated
    #[arg(long, value_name = "NAME")]
    http_host: Vec<String>,
    /// Receive buffer asked for, bytes
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20)]
    receive_buffer: usize,
    /// Workers, each with a socket and tables of its own [default: one per processor]
    #[arg(long, value_name = "N", value_parser = workers)]
    workers: Option<NonZero<usize>>,
    /// Keep each worker on one processor
    #[arg(long)]
    pin: bool,
    /// Agents that are kept at most
    #[arg(long, value_name = "N", default_value_t = Options::default().agents)]
    agents: usize,
    /// Seconds after which the counters of a silent data source are forgotten [default: 3 of its intervals]
    #[arg(long, value_name = "SECONDS")]
    metric_timeout: Option<u64>,
}

fn workers(text: &str) -> Result<NonZero<usize>, String> {
    match text.parse::<NonZero<usize>>() {
        Ok(number) if number.get() <= MOST_WORKERS => Ok(number),
        _ => Err(format!("a number from 1 to {MOST_WORKERS} is needed")),
    }
}

/// Runs the subcommand.
///
/// # Errors
/// An address cannot be listened on.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let any: SocketAddr = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 6343));
    // Taken before the threads start, so that none of them is interrupted.
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals")?;
    let engine = Engine::start(&EngineOptions {
        sflow: if args.sflow.is_empty() { vec![any] } else { args.sflow.clone() },
        receive_buffer: args.receive_buffer,
        workers: args.workers,
        pin: args.pin,
        tables: Options {
            agents: args.agents,
            metric_timeout_us: args.metric_timeout.map(|seconds| seconds.saturating_mul(1_000_000)),
            ..Options::default()
        },
        ..EngineOptions::default()
    })?;
    for address in engine.addresses() {
        say("INFO", &format!("Listening, sFlow port {}", address.port()));
    }
    // The kernel doubles what was asked for, for its own book-keeping.
    if engine.receive_buffer() < args.receive_buffer {
        say(
            "WARNING",
            &format!(
                "the receive buffer is {} bytes where {} were asked for: raise net.core.rmem_max",
                engine.receive_buffer(),
                args.receive_buffer
            ),
        );
    }
    let api = Api::start(
        engine.handle(),
        &ApiOptions {
            listen: args.http,
            hosts: args.http_host.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
    )?;
    say("INFO", &format!("Listening, HTTP port {}", api.address().port()));
    signals.forever().next();
    // From here on the signals do what they do by default: the second one ends the program at once.
    for signal in [SIGINT, SIGTERM] {
        let _ = signal_hook::flag::register_conditional_default(signal, std::sync::Arc::new(true.into()));
    }
    say("INFO", "Ending");
    api.shutdown();
    engine.shutdown();
    Ok(ExitCode::SUCCESS)
}

/// A log line, as clients of the field's incumbent know it.
fn say(level: &str, text: &str) {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+0000");
    let now = OffsetDateTime::now_utc().format(&format).unwrap_or_default();
    eprintln!("{now} {level}: {}", crate::escape::escape(text));
}
