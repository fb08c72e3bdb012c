//! `finderscope run`: the collector.
//!
//! | module | owns |
//! |---|---|
//! | [`settings`] | the table of settings: options, configuration keys, help, manual |
//! | [`file`], `agents` | the configuration file, and what is wrong with it; the agents that it lists |
//! | [`definitions`] | sets of definitions, what is built in, what makes one of another |
//! | [`queues`] | names of interfaces and lists of queues |
//! | [`state`] | what REST defined, kept over a restart |
//! | [`actions`] | what actions start with, and what is kept of them |
//! | [`demo`] | a simulated fabric that sends to this collector |
//! | [`token`] | what a client that writes must show |
//! | [`references`], [`names`] | files of reference data; names of addresses |
//! | `scripts` | what is set of scripts; their start, reload and end |
//! | `losses` | what could not be taken, told in the log |
//! | [`reload`] | what is defined by both, and reading the configuration again |

pub mod actions;
mod agents;
pub mod definitions;
pub mod demo;
pub mod file;
mod losses;
pub mod names;
pub mod queues;
pub mod references;
pub mod reload;
pub mod scripts;
pub mod settings;
pub mod state;
pub mod token;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use api::{Api, ApiOptions};
use clap::Args;
use engine::interface::{Ingest, News, Reached};
use engine::{Engine, EngineOptions, Handle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tables::trust::Trust;

use demo::{Demo, Stage};
use file::{Beneath, Config};
use losses::Losses;
use names::Resolver;
use queues::ranges;
use reload::Defined;
use scripts::Running;
use settings::{Given, Settings};
use state::StateDir;

/// Options of `finderscope run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Options win over the configuration file. SIGHUP reads its definitions, services to scale and scripts again: all of them are taken, or none. \
SIGINT and SIGTERM end the collector, orderly; a second signal ends it at once.\n\n\
Exit codes: 0 ended by a signal, or the configuration that was checked is right; 1 could not start, or the \
configuration is wrong (the reason is on standard error, with file, line and column); 2 the command line is wrong.")]
pub struct RunArgs {
    /// Read a configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say what is wrong with the configuration, and do nothing else
    #[arg(long)]
    check_config: bool,
    /// Send the sFlow of a simulated fabric to this collector, on loopback; nothing is kept
    #[arg(long, conflicts_with = "config")]
    demo: bool,
    #[command(flatten)]
    given: Given,
}

/// What to do when the demo's ports are taken.
const DEMO_FAILED: &str =
    "the demo cannot start; other ports are taken with --sflow 127.0.0.1:PORT --http 127.0.0.1:PORT";

/// Runs the subcommand.
///
/// # Errors
/// The state directory is in use, or an address cannot be listened on.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let stage = args.demo.then(Stage::set).transpose().context(DEMO_FAILED)?;
    let beneath = stage.as_ref().map_or_else(|| Ok(Beneath::default()), Stage::beneath)?;
    let config = match file::read(args.config.as_deref(), &args.given, beneath) {
        Ok(config) => config,
        Err(wrong) => {
            eprintln!("{wrong}");
            return Ok(ExitCode::FAILURE);
        }
    };
    if args.check_config {
        let wrong = scripts::problems(&config.settings);
        wrong.iter().for_each(|why| eprintln!("{why}"));
        return Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let outcome = collect(args, &config, stage);
    if args.demo { outcome.context(DEMO_FAILED) } else { outcome }
}

/// Runs the collector until a signal ends it.
fn collect(args: &RunArgs, config: &Config, stage: Option<Stage>) -> anyhow::Result<ExitCode> {
    crate::log::start();
    // Taken before the threads start, so that none of them is interrupted.
    let signals = signals()?;
    let settings = &config.settings;
    let state = match settings.state_dir.as_deref() {
        Some(path) if path == Path::new("none") => None,
        Some(path) => Some(Arc::new(StateDir::open(path)?)),
        None => Some(Arc::new(StateDir::open(&state::usual_place()?)?)),
    };
    let token = token::read(settings.http.token_file.as_deref())?;
    let kept = state.clone();
    let trust = Arc::new(Trust::new(settings.trust.clone()));
    let engine = Engine::start(&EngineOptions { trust, ..settings.engine.clone() })?;
    let feeds = actions::feeds(&engine, &config.actions, kept.as_ref())?;
    let defined = Defined::start(engine.handle(), config, state, args.config.clone(), args.given.clone())?;
    let (actions, control) = actions::start(&engine, config.actions.clone(), kept.as_ref(), feeds)?;
    let scripts =
        Running::new(settings, engine.handle(), control.clone(), kept.as_ref().map(|state| state.path()));
    let api = Api::start(
        engine.handle(),
        control.clone(),
        scripts.scripts(),
        &ApiOptions {
            listen: settings.http.listen,
            hosts: settings.http.hosts.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            token,
            read_only: settings.http.read_only,
            script_open: settings.scripts.open.clone(),
        },
    )?;
    scripts.run(&api)?;
    // Whoever waits for these lines finds all scripts there.
    announce(&engine, &api, settings);
    let resolver = settings.references.dns.then(|| Resolver::start(engine.handle())).transpose()?;
    let demo = match (engine.addresses().first(), stage) {
        (Some(sflow), Some(stage)) => Some(Demo::start(stage, *sflow, api.address())?),
        _ => None,
    };
    let running = (&defined, &control, &scripts);
    wait_for_the_end(&signals, running, &mut Losses::new(engine.handle()), &engine.handle());
    tracing::info!("Ending");
    api.shutdown();
    scripts.shutdown();
    // What they take back is taken from the demo's switches too.
    actions::shutdown(actions);
    if let Some(demo) = demo {
        demo.shutdown();
    }
    if let Some(resolver) = resolver {
        resolver.shutdown();
    }
    engine.shutdown();
    crate::log::tell_left_out();
    Ok(ExitCode::SUCCESS)
}

fn announce(engine: &Engine, api: &Api, settings: &Settings) {
    for address in engine.addresses() {
        tracing::info!("Listening, sFlow port {}", address.port());
    }
    announce_ingest(engine.reached(), &settings.engine);
    let (granted, asked) = (engine.receive_buffer(), settings.engine.receive_buffer);
    if granted < asked {
        tracing::warn!(
            "the receive buffer is {granted} bytes where {asked} were asked for: raise net.core.rmem_max"
        );
    }
    tracing::info!("Listening, HTTP port {}", api.address().port());
}

/// How datagrams come in, and why not better, in one line.
fn announce_ingest(reached: &Reached, options: &EngineOptions) {
    let why =
        if reached.why.is_empty() { String::new() } else { format!(", because {}", reached.why.join("; ")) };
    let Some(interface) = &reached.interface else { return };
    if reached.mode.is_none() {
        tracing::warn!("Receiving by UDP sockets alone, and not by AF_XDP from {interface}{why}");
        return;
    }
    let mut also = String::new();
    for (on, what) in [
        (reached.huge_pages, "huge pages"),
        (reached.multi_buffer, "frames of several buffers"),
        (reached.busy_poll, "busy polling"),
        (options.interface.verify_checksum, "checksums verified"),
    ] {
        if on {
            also = also + ", " + what;
        }
    }
    let (mode, queues) = (reached.label(), ranges(&reached.queues));
    if options.ingest == Ingest::Dpdk {
        tracing::info!("Receiving by DPDK from {interface}, queues {queues}{also}");
        return;
    }
    tracing::info!("Receiving by AF_XDP from {interface}, queues {queues}, {mode}{also}{why}");
}

/// The signals that arrive, from a thread of their own.
fn signals() -> anyhow::Result<Receiver<i32>> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("signals")?;
    let (send, receive) = channel();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                if send.send(signal).is_err() {
                    return;
                }
            }
        })
        .context("signals")?;
    Ok(receive)
}

/// Looks after the interface whose queues are read.
fn tend(handle: &Handle) {
    match handle.tend_interface() {
        Some(News::Gone(name)) => tracing::error!(
            "Interface {name} is gone: receiving by UDP sockets alone. When it is back, a restart has its queues read"
        ),
        Some(News::Addresses(why)) => {
            tracing::warn!("Datagrams to new addresses may not be taken by AF_XDP: {why}")
        }
        None => {}
    }
}

/// Reloads on SIGHUP, tells what was lost, and returns on the first signal that ends the collector.
fn wait_for_the_end(
    signals: &Receiver<i32>,
    (defined, control, scripts): (&Defined, &::actions::control::Control, &Running),
    losses: &mut Losses,
    handle: &Handle,
) {
    loop {
        match signals.recv_timeout(Duration::from_secs(1)) {
            Ok(SIGHUP) => defined.reload(control, scripts),
            Err(RecvTimeoutError::Timeout) => {
                losses.tell(Instant::now());
                tend(handle);
                defined.keep_again();
                crate::log::tell_left_out();
            }
            Ok(_) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // From here on the signals do what they do by default: the second one ends the program at once.
    for signal in [SIGINT, SIGTERM] {
        let _ = signal_hook::flag::register_conditional_default(signal, Arc::new(true.into()));
    }
}
