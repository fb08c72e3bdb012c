//! Triggered capture: sessions from evidence, rules on switches.
//!
//! A pair of hosts that a policy's flows show becomes a session; a session wants one rule on one switch; what the switch
//! has is read, compared with what is wanted, and mended.

pub mod budget;
pub mod config;
pub mod control;
pub mod controller;
pub mod drivers;
pub mod evidence;
pub mod pair;
mod placing;
pub mod policy;
pub mod reconcile;
pub mod rule;
pub mod session;
pub mod switches;
mod view;
pub mod wanted;
pub mod watch;
