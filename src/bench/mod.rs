//! `finderscope bench`: how fast this machine is, and against what would be used instead.
//!
//! What receives is what production runs: the engine's workers, its receivers, its pipeline. Here are senders, clocks and
//! counts around it. All datagrams of every run are accounted for (promise I1).
//!
//! | module | owns |
//! |---|---|
//! | `plan` | how long each part takes |
//! | `input` | what is sent |
//! | `offer`, `frames` | senders: of datagrams over a socket, of frames made by the kernel |
//! | `network` | interfaces of our own, or those that are there |
//! | `collector` | what receives, and what it counts |
//! | `definitions` | what it is told to keep |
//! | `trial` | one run, and where every datagram of it is |
//! | `search` | the highest rate without loss |
//! | `way` | all runs over one way |
//! | `latency` | from the wire to the news of a flow |
//! | `memory` | the stages that need no network |
//! | `compare`, `peers` | other programs on the same capture, and running them |
//! | `report`, `table`, `plot` | what is shown |
//! | `cpu` | processors and their time |
//! | `progress` | what the bench is at |

mod collector;
mod compare;
mod cpu;
mod definitions;
#[cfg(all(target_os = "linux", feature = "xdp"))]
mod frames;
mod input;
mod latency;
mod memory;
#[cfg(all(target_os = "linux", feature = "xdp"))]
mod network;
mod offer;
mod peers;
mod plan;
mod plot;
mod progress;
mod report;
mod search;
mod table;
mod trial;
mod way;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use clap::{Args, ValueEnum};

use collector::Entry;
use engine::interface::InterfaceOptions;
#[cfg(all(target_os = "linux", feature = "xdp"))]
use network::Network;
use offer::Datagrams;
use plan::Plan;
use progress::Progress;
use report::Report;
use way::{Extent, Runs};

use crate::sending::{self, positive};

/// Options of `finderscope bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
With root (CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_BPF) a network of its own is made, and taken away with the process; without, \
only what needs none of it is run, and the report says what was left out.\n\n\
Exit codes: 0 done; 1 something failed, or a run's datagrams do not add up; 2 the command line is wrong.")]
pub struct BenchArgs {
    /// As short as possible, under 20 seconds: shows that all works, says little of the speed
    #[arg(long)]
    quick: bool,
    /// What is run; all of it by default
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// How long the run without a pause takes [default: 10, with --quick 0.5]
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    seconds: Option<f64>,
    /// Flow samples per second of the run without a pause: those of a fabric of 1 Pbps
    #[arg(long, value_name = "SAMPLES_PER_S", default_value_t = 1_250_000.0, value_parser = positive)]
    rate: f64,
    /// Receive at this interface instead of one of an own network; without --peer a sender elsewhere is waited for
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// The interface at the other end of the cable, on this machine: frames are sent from it
    #[arg(long, value_name = "IF", requires = "interface")]
    peer: Option<String>,
    /// Where is listened, with --interface
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:6343", requires = "interface")]
    listen: SocketAddr,
    /// Workers at most [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    workers: Option<u64>,
    /// Also run installed peers (sflowtool, sfacctd, sfcapd) on the same capture
    #[arg(long)]
    compare: bool,
    /// The capture for --compare: a mixed fabric's by default
    #[arg(long, value_name = "FILE", requires = "compare")]
    capture: Option<PathBuf>,
    /// The UDP port of sFlow in the capture
    #[arg(long, default_value_t = 6343, requires = "capture")]
    port: u16,
    /// What is written to standard output
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Also write the report to this file, as JSON
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Also write a plot of received against offered rates to this file, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// What can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The stages in memory
    Memory,
    /// UDP on loopback
    Loopback,
    /// UDP over a network of its own
    Udp,
    /// AF_XDP over the same, in the driver's mode
    Xdp,
    /// AF_XDP over the same, in generic mode
    Generic,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables for people
    Table,
    /// One JSON object
    Json,
}

/// Everything that is known before the first run.
struct Bench<'a> {
    args: &'a BenchArgs,
    plan: Plan,
    progress: Progress,
    stop: std::sync::Arc<AtomicBool>,
    report: Report,
}

/// Runs the subcommand.
///
/// # Errors
/// A part that should run fails, or a file cannot be written.
pub fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    // Opened before hours are spent.
    let output = args.output.as_deref().map(|path| create("--output", path)).transpose()?;
    let plot = args.plot.as_deref().map(|path| create("--plot", path)).transpose()?;
    let plan = Plan::new(args.quick, args.seconds, args.rate);
    let report = Report { quick: args.quick, datagrams: plan.stretch, ..Report::default() };
    let mut bench = Bench { args, plan, progress: Progress::new()?, stop: sending::interrupted()?, report };
    bench.all()?;
    bench.progress.end();
    let report = &bench.report;
    let json = report.json();
    if let Some((mut file, path)) = output {
        writeln!(file, "{json:#}").with_context(|| format!("--output {}", path.display()))?;
    }
    if let Some((mut file, path)) = plot {
        let lines: Vec<_> = report.ways.iter().map(|way| (way.name.to_owned(), way.curve.clone())).collect();
        let svg = plot::svg("finderscope: datagrams received against offered", &lines)?;
        file.write_all(svg.as_bytes()).with_context(|| format!("--plot {}", path.display()))?;
    }
    match args.format {
        Format::Table => print!("{}", report.text()),
        Format::Json => println!("{json:#}"),
    }
    let (_, wrong) = report.accounts();
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn create<'p>(
    option: &str,
    path: &'p std::path::Path,
) -> anyhow::Result<(std::fs::File, &'p std::path::Path)> {
    let file = std::fs::File::create(path)
        .with_context(|| format!("{option} {}: it cannot be written", path.display()))?;
    Ok((file, path))
}

impl Bench<'_> {
    fn wants(&self, part: Part) -> bool {
        self.args.only.is_empty() || self.args.only.contains(&part)
    }

    fn leave_out(&mut self, what: &str, why: impl std::fmt::Display) {
        self.report.left_out.push((what.to_owned(), format!("{why:#}")));
    }

    fn all(&mut self) -> anyhow::Result<()> {
        if self.wants(Part::Memory) {
            self.progress.say("in memory");
            let stages = memory::measure(self.plan.memory, self.plan.passes, &self.stop)?;
            self.report.memory = Some(stages);
        }
        let network = match (&self.args.interface, &self.args.peer) {
            (Some(interface), None) => {
                self.of_elsewhere(interface)?;
                true
            }
            _ => self.over_network()?,
        };
        // Loopback says less: sender and kernel cannot be told apart.
        if self.args.only.contains(&Part::Loopback) || self.wants(Part::Loopback) && !network {
            self.loopback()?;
        }
        if self.args.compare {
            self.progress.say("other programs");
            let capture = self.args.capture.as_deref().map(|path| (path, self.args.port));
            self.report.compared = Some(compare::run(capture, self.args.quick, &self.stop)?);
        }
        Ok(())
    }

    /// The numbers of workers that are tried: powers of two, and the most.
    fn workers(&self) -> Vec<usize> {
        let most = self.args.workers.map_or_else(|| cpu::processors().len(), |n| n as usize);
        let mut all: Vec<usize> =
            std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n < most).collect();
        all.push(most);
        all
    }

    fn loopback(&mut self) -> anyhow::Result<()> {
        let mut offer = Datagrams::new(self.plan.stretch);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut runs = self.runs("udp-loopback");
        for workers in self.workers() {
            let entry = Entry { address, workers, interface: None };
            runs.all(&entry, &mut offer, if workers == 1 { Extent::Whole } else { Extent::Pipeline })?;
        }
        let report = runs.report;
        self.report.ways.push(report);
        Ok(())
    }

    fn runs(&self, name: &'static str) -> Runs<'_> {
        let report = way::Report { name, ..way::Report::default() };
        Runs { plan: &self.plan, progress: &self.progress, stop: &self.stop, report, lost: false }
    }

    /// What a sender elsewhere sends to an interface, by the best way that there is.
    fn of_elsewhere(&mut self, interface: &str) -> anyhow::Result<()> {
        let options = InterfaceOptions { name: Some(interface.to_owned()), ..InterfaceOptions::default() };
        let workers = self.workers().last().copied().unwrap_or(1);
        let ways = [(Part::Udp, "udp", None), (Part::Xdp, "af_xdp", Some(options))];
        for (part, name, interface) in ways {
            if !self.wants(part) {
                continue;
            }
            let mut runs = self.runs(name);
            runs.of_elsewhere(&Entry { address: self.args.listen, workers, interface })?;
            let report = runs.report;
            self.report.ways.push(report);
        }
        Ok(())
    }

    #[cfg(not(all(target_os = "linux", feature = "xdp")))]
    fn over_network(&mut self) -> anyhow::Result<bool> {
        self.leave_out("AF_XDP, and UDP over a network", "needs Linux and a build with the feature xdp");
        Ok(false)
    }

    /// The ways over a network of our own, or of two interfaces; whether that could be had.
    #[cfg(all(target_os = "linux", feature = "xdp"))]
    fn over_network(&mut self) -> anyhow::Result<bool> {
        use engine::interface::Mode;
        // On a card the best mode is looked for; a pair of our own has none better than this.
        let best = if self.args.interface.is_some() { Mode::Auto } else { Mode::Copy };
        let by = |mode| InterfaceOptions { mode, ..InterfaceOptions::default() };
        let unverified = InterfaceOptions { verify_checksum: false, ..by(best) };
        for (part, name, options, extent) in [
            (Part::Udp, "udp", None, Extent::Whole),
            (Part::Xdp, "af_xdp", Some(by(best)), Extent::Whole),
            (Part::Xdp, "af_xdp-unverified", Some(unverified), Extent::Receive),
            // What there is when there is nothing better.
            (Part::Generic, "af_xdp-generic", Some(by(Mode::Generic)), Extent::Costs),
        ] {
            if !self.wants(part) {
                continue;
            }
            let mut runs = self.runs(name);
            for workers in self.workers() {
                let extent = match (workers, extent) {
                    (1, extent) => extent,
                    (_, Extent::Whole) => Extent::Pipeline,
                    _ => continue,
                };
                let network = match (&self.args.interface, &self.args.peer) {
                    (Some(near), Some(far)) => Network::between(near, far, self.args.listen)?,
                    _ => match Network::own(workers) {
                        Ok(network) => network,
                        Err(why) => {
                            self.leave_out("AF_XDP, and UDP over a network of its own", why);
                            return Ok(false);
                        }
                    },
                };
                network.runs(&mut runs, workers, options.clone(), extent)?;
            }
            let report = runs.report;
            self.report.ways.push(report);
        }
        Ok(true)
    }
}
