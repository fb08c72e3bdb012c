//! The command line: one definition from which parser, help, completions and man page come.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

#[cfg(target_os = "linux")]
use crate::check;
use crate::escape::escape;
use crate::{autoscale_cmd, bench, capture_cmd, decode_cmd, replay, run, simulate, top};

/// sFlow collector for network and platform engineers: live metrics, decoding, replay.
#[derive(Debug, Parser)]
#[command(name = "finderscope", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Collect sFlow and answer REST: agents and metrics, live
    Run(run::RunArgs),
    /// Say what this machine can do, and whether a configuration works on it
    #[cfg(target_os = "linux")]
    Check(check::CheckArgs),
    /// Show the sFlow in a capture file, or what arrives on a socket
    Decode(decode_cmd::DecodeArgs),
    /// Send the sFlow of a capture file to a collector
    Replay(replay::ReplayArgs),
    /// Send the sFlow of a simulated fabric to a collector, in real time
    Simulate(simulate::SimulateArgs),
    /// Show the largest flows of a running collector, live
    Top(top::TopArgs),
    /// Show, begin and end captures of a running collector
    Capture(capture_cmd::CaptureArgs),
    /// Try the autoscaler on a load curve
    Autoscale(autoscale_cmd::AutoscaleArgs),
    /// Measure how fast this machine collects, and against what would be used instead
    Bench(bench::BenchArgs),
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff)
    Man,
}

/// Parses the command line and runs the subcommand.
///
/// Exit codes, where a subcommand's help names no others: 0 done, 1 failed (the reason is on standard
/// error), 2 the command line is wrong.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("finderscope: {}", shown(&reasons(&error)));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, without those whose words an error before them has already.
fn reasons(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |mut said, cause| {
        if !said.contains(&cause) {
            let joint = if said.is_empty() { "" } else { ": " };
            said.push_str(joint);
            said.push_str(&cause);
        }
        said
    })
}

/// A message for a terminal: what a collector or a file's name puts into it moves no cursor. Lines stay lines.
fn shown(message: &str) -> String {
    message.lines().map(escape).collect::<Vec<_>>().join("\n")
}

fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => return run::run(args),
        #[cfg(target_os = "linux")]
        Command::Check(args) => return check::run(args),
        Command::Decode(args) => return decode_cmd::run(args),
        Command::Replay(args) => return replay::run(args),
        Command::Simulate(args) => return simulate::run(args),
        Command::Top(args) => return top::run(args),
        Command::Capture(args) => return capture_cmd::run(args),
        Command::Autoscale(args) => return autoscale_cmd::run(args),
        Command::Bench(args) => return bench::run(args),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "finderscope", &mut std::io::stdout());
        }
        Command::Man => print_manual_pages(&mut std::io::stdout())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// One page for the program and one for each subcommand, after one another.
fn print_manual_pages(out: &mut impl Write) -> std::io::Result<()> {
    let mut command = Cli::command();
    command.build();
    clap_mangen::Man::new(command.clone()).render(out)?;
    for subcommand in command.get_subcommands().filter(|c| c.get_name() != "help") {
        clap_mangen::Man::new(subcommand.clone()).render(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_message_moves_no_cursor() {
        assert_eq!(shown("a\u{1b}]0;b\u{7}:\n  c\r"), "a\\u{1b}]0;b\\u{7}:\n  c\\u{d}");
    }

    #[test]
    fn a_cause_is_said_once() {
        let open = std::io::Error::other("no such file");
        let error =
            anyhow::Error::from(open).context("x.pcap: no such file").context("the demo cannot start");
        assert_eq!(reasons(&error), "the demo cannot start: x.pcap: no such file");
    }
}
