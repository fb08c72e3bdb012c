//! The collector: subcommands, options, configuration, wiring.
