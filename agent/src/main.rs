//! The agent's process: parses the command line, and exits with what it says.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    finderscope_agent::main()
}
