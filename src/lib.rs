//! The program: subcommands, options, wiring, signals.
//!
//! | module | owns |
//! |---|---|
//! | [`cli`] | the command line: one definition from which parser, help, completions and man page come |
//! | [`decode_cmd`] | `finderscope decode` |
//! | [`replay`] | `finderscope replay` |
//! | [`simulate`] | `finderscope simulate`, and the fabric of the demo |
//! | `sending` | what these two share |
//! | [`run`] | `finderscope run`, the collector |
//! | [`check`] | `finderscope check` |
//! | [`top`] | `finderscope top` |
//! | [`capture_cmd`], [`autoscale_cmd`] | `finderscope capture`, `finderscope autoscale` |
//! | [`bench`] | `finderscope bench` |
//! | [`client`] | asking a collector over HTTP, for those that do |
//! | [`log`] | log lines |
//! | [`escape`] | names from the network in lines of text |
#![forbid(unsafe_code)]

pub mod autoscale_cmd;
pub mod bench;
pub mod capture_cmd;
#[cfg(target_os = "linux")]
pub mod check;
pub mod cli;
pub mod client;
pub mod decode_cmd;
pub mod escape;
pub mod log;
pub mod replay;
pub mod run;
pub(crate) mod sending;
pub mod simulate;
pub mod top;

use std::process::ExitCode;

/// Runs the command line; the exit code is documented in the help of each subcommand.
pub fn main() -> ExitCode {
    cli::main()
}
