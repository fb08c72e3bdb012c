//! Triggered capture: which packets of whom a switch mirrors to an analyzer, and for how long.
