//! The `finderscope` binary.

fn main() {}
