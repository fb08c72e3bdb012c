//! The autoscaler at work: with the stand-in for a swarm, telemetry of its containers as a test wants it, and time that
//! is short.
#![allow(clippy::unwrap_used, reason = "tests")]

mod changes;
mod several;
mod sick;
mod support;
mod telemetry;
