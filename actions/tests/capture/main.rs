//! Triggered capture: policies on a clock of their own, drivers and the controller against servers on loopback.
#![allow(clippy::unwrap_used, reason = "tests")]

mod drivers;
mod live;
mod policy;
mod properties;
mod scripts;
mod scripts_live;
mod support;
mod world;
