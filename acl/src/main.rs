//! `finderscope-acl`: see the module `server`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    acl::server::main()
}
