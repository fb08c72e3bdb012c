//! `finderscope check`: what this machine can do, and whether a configuration can work on it.
//!
//! | module | owns |
//! |---|---|
//! | `report` | what was found, as text and as JSON |
//! | `machine`, `interface` | what there is to say of these two |
//! | `prospect` | what `finderscope run` would come to, without attaching anything |
//! | `attempt` | the same by trying |

mod attempt;
mod interface;
mod machine;
mod prospect;
mod report;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use engine::interface::{Ingest, memory_bytes};
use ingest::interface as interfaces;
use ingest::machine::Machine;
use ingest::receiver::Receiver;

use crate::run::file::{self, Beneath};
use crate::run::queues::ranges;
use crate::run::settings::{Given, Settings};
use prospect::Prospect;
use report::{Level, Report};

/// Options of `finderscope check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is changed, and a collector that runs is not disturbed. With --try a program is attached to the interface for a \
moment, which some drivers interrupt all of its traffic for; it steers nothing.\n\n\
Exit codes: 0 the configuration works here, if need be by UDP; 1 it does not, or it is wrong (the reason is in the \
output, or on standard error with file and line); 2 the command line is wrong.")]
pub struct CheckArgs {
    /// The configuration file (TOML) to check
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Attach a program and open sockets, to see what works
    #[arg(long = "try")]
    attempt: bool,
    /// How the findings are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    given: Given,
}

/// How findings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines
    Text,
    /// One JSON object
    Json,
}

/// Runs the subcommand.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let settings = match file::read(args.config.as_deref(), &args.given, Beneath::default()) {
        Ok(config) => config.settings,
        Err(wrong) => {
            eprintln!("{wrong}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let report = check(&settings, args.attempt);
    let mut out = io::stdout().lock();
    match args.format {
        Format::Text => write!(out, "{report}")?,
        Format::Json => writeln!(out, "{:#}", report.json())?,
    }
    out.flush()?;
    Ok(if report.works() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(settings: &Settings, attempt: bool) -> Report {
    let mut report = Report::default();
    let machine = Machine::read();
    let may_be = matches!(settings.engine.ingest, Ingest::Auto | Ingest::Xdp);
    let wants_xdp = may_be && settings.engine.interface.name.is_some();
    machine::report(&mut report, &machine, settings, wants_xdp);
    sockets(&mut report, settings);
    let name = settings.engine.interface.name.as_deref().filter(|_| wants_xdp);
    let Some(name) = name else {
        interface_list(&mut report);
        report.topic("ingest");
        if settings.engine.ingest == Ingest::Dpdk {
            ports(&mut report);
            return report;
        }
        report.fact("mode", "udp".into());
        report.add(
            Level::Ok,
            "mode",
            "UDP sockets alone; --interface IF has the queues of an interface read",
        );
        return report;
    };
    let found = match interfaces::read(name) {
        Ok(interface) => {
            interface::report(&mut report, &interface, settings);
            addresses(&mut report, &interface, settings);
            let wanted = &settings.engine.interface;
            let queues = if wanted.queues.is_empty() { interface.queues } else { wanted.queues.len() as u32 };
            machine::frames(&mut report, &machine, memory_bytes(wanted, queues, interface.mtu));
            let prospect = prospect::prospect(&interface, &machine, &settings.engine.interface);
            if attempt && prospect.blockers.is_empty() { attempt::attempt(settings) } else { Ok(prospect) }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Prospect {
            blockers: vec![format!("there is no interface {name}: `ip link` lists them")],
            mode: None,
        }),
        Err(error) => Ok(Prospect { blockers: vec![format!("{name}: {error}")], mode: None }),
    };
    ingest(&mut report, settings, found, attempt);
    report
}

/// Ports of DPDK: all that is known of them before its environment has started.
fn ports(report: &mut Report) {
    if cfg!(feature = "dpdk") {
        report.fact("mode", "dpdk".into());
        let found = "ports of DPDK; which ones its environment finds is seen by `finderscope run`";
        report.add(Level::Note, "mode", found);
    } else {
        report.fact("mode", serde_json::Value::Null);
        let found = "DPDK is asked for (ingest.mode), and this program was built without it (feature dpdk)";
        report.add(Level::Problem, "mode", found);
    }
}

/// The addresses that sFlow is to come to.
fn sockets(report: &mut Report, settings: &Settings) {
    report.topic("sockets");
    for address in &settings.engine.sflow {
        match Receiver::open(*address, settings.engine.receive_buffer) {
            Ok(_) => report.add(Level::Ok, "sflow.listen", format_args!("UDP {address}")),
            // Most often that is the collector whose configuration is checked.
            Err(error) if error.source.kind() == io::ErrorKind::AddrInUse => {
                report.add(Level::Note, "sflow.listen", error);
            }
            Err(error) => report.add(Level::Problem, "sflow.listen", error),
        }
    }
}

/// All interfaces, for who wants to choose one.
fn interface_list(report: &mut Report) {
    report.topic("interfaces");
    for interface in
        interfaces::names().unwrap_or_default().iter().filter_map(|name| interfaces::read(name).ok())
    {
        if !interface.loopback {
            report.add(
                Level::Ok,
                "interface",
                format_args!("{}: {}", interface.name, interface::line(&interface)),
            );
        }
    }
}

/// Whether what comes by the interface can be for an address that is listened on.
fn addresses(report: &mut Report, interface: &interfaces::Interface, settings: &Settings) {
    let loopback = |address: &std::net::SocketAddr| address.ip().to_canonical().is_loopback();
    if !interface.loopback && settings.engine.sflow.iter().all(loopback) {
        let found = "sFlow is listened for on loopback addresses alone (sflow.listen), and nothing for them comes here";
        report.add(Level::Problem, "addresses", found);
    }
}

/// What comes of it all.
fn ingest(report: &mut Report, settings: &Settings, found: Result<Prospect, String>, attempted: bool) {
    report.topic("ingest");
    let interface = settings.engine.interface.name.as_deref().unwrap_or_default();
    let queues = match settings.engine.interface.queues.as_slice() {
        [] => "all queues".to_owned(),
        some => format!("queues {}", ranges(some)),
    };
    let blockers = match found {
        Ok(Prospect { mode: Some(mode), blockers }) if blockers.is_empty() => {
            report.fact("mode", mode.into());
            let sure = if attempted { "it was tried" } else { "as its driver says; --try finds out" };
            report.add(Level::Ok, "mode", format_args!("AF_XDP, {mode}, on {queues} of {interface}: {sure}"));
            return;
        }
        Ok(prospect) => prospect.blockers,
        Err(why) => vec![why],
    };
    let why = blockers.join("; ");
    report.fact("why", blockers.into());
    if settings.engine.ingest == Ingest::Xdp {
        report.fact("mode", serde_json::Value::Null);
        report.add(
            Level::Problem,
            "mode",
            format_args!("AF_XDP is asked for (ingest.mode), and cannot be: {why}"),
        );
    } else {
        report.fact("mode", "udp".into());
        report.add(Level::Note, "mode", format_args!("UDP sockets alone, because AF_XDP cannot be: {why}"));
    }
}
