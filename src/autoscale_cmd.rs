//! `finderscope autoscale`: what the autoscaler would do about a load, without any swarm.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use actions::autoscale::Pace;
use actions::autoscale::simulate::{Options, simulate};
use anyhow::Context;
use clap::{Args, Subcommand};

use crate::run::file::{self, Beneath};
use crate::run::settings::Given;
use crate::sending::positive;

/// Options of `finderscope autoscale`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 done; 1 the configuration or the load is wrong (the reason is on standard error, with file and line); \
2 the command line is wrong.")]
pub struct AutoscaleArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the decisions that a load curve would cause
    Simulate(SimulateArgs),
}

/// Options of `finderscope autoscale simulate`.
#[derive(Debug, Args)]
struct SimulateArgs {
    /// The configuration whose services are scaled
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The load, as lines of seconds,service,metric,load in all
    #[arg(long, value_name = "CSV")]
    load: PathBuf,
    /// Replicas of each service at the start [default: its least]
    #[arg(long, value_name = "N")]
    replicas: Option<u64>,
    /// Seconds from a change until a new replica runs
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    start: Option<f64>,
    /// Seconds from a change until an old replica has stopped
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    stop: Option<f64>,
    /// Seconds between two samples of a container
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    polling: Option<f64>,
    /// Seconds that the last loads last
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    tail: Option<f64>,
}

/// Runs the subcommand.
///
/// # Errors
/// A file cannot be read, or is wrong.
pub fn run(args: &AutoscaleArgs) -> anyhow::Result<ExitCode> {
    let What::Simulate(args) = &args.what;
    let config = match file::read(Some(&args.config), &Given::default(), Beneath::default()) {
        Ok(config) => config.actions.autoscale,
        Err(wrong) => {
            eprintln!("{wrong}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let curve = File::open(&args.load).with_context(|| format!("{}: cannot be read", args.load.display()))?;
    let seconds = |given: Option<f64>, usual: Duration| given.map_or(usual, Duration::from_secs_f64);
    let usual = Pace::default();
    let pace = Pace {
        start: seconds(args.start, usual.start),
        stop: seconds(args.stop, usual.stop),
        polling: seconds(args.polling, usual.polling),
        ..usual
    };
    let options = Options { pace, replicas: args.replicas, tail: args.tail.map(Duration::from_secs_f64) };
    simulate(&config, BufReader::new(curve), options, &mut std::io::stdout().lock())
        .with_context(|| args.load.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}
