//! The `finderscope` binary: parses the command line and exits with what the subcommand says.

use std::process::ExitCode;

/// The slow side (questions, JSON) allocates; the packet path does not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    finderscope::main()
}
