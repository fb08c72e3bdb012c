//! `finderscope-agent`: follows a host's containers by events, and exports their counters, the host's and sampled packets
//! as sFlow v5.
#![forbid(unsafe_code)]

pub mod address;
pub mod container;
pub mod export;
pub mod host;
pub mod interfaces;
pub mod log;
pub mod options;
pub mod privileges;
pub mod run;
pub mod sampler;
pub mod settings;
pub mod status;

use std::process::ExitCode;

use clap::Parser as _;

/// The program: reads the command line, and runs until it is told to end.
pub fn main() -> ExitCode {
    log::start();
    let options = options::Options::parse();
    let done = match (options.command, options.check_config) {
        (Some(command), _) => command.run(&mut std::io::stdout().lock()).map_err(anyhow::Error::from),
        (None, true) => check(&options),
        (None, false) => run::run(options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check(options: &options::Options) -> anyhow::Result<()> {
    let read = options.read()?;
    for warning in read.warnings {
        eprintln!("{warning}");
    }
    println!("the configuration is right");
    Ok(())
}
