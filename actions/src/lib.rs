//! From what is seen to what is done: the autoscaler of swarm services, triggered capture on switches, feeds of
//! blacklists, and the one slow thread that talks to Docker and to switches.
//!
//! Every action is a desired state with an owner, its evidence and a deadline; a reconciler reads what is there, compares
//! and mends. Policies are pure functions of time and observation, in files without I/O; what they decide is done beside
//! them.
#![forbid(unsafe_code)]

pub mod audit;
pub mod autoscale;
pub mod capture;
pub mod clock;
pub mod config;
pub mod control;
pub mod feeds;
pub mod http;
pub mod mode;
pub mod notify;
mod overview;
pub mod retry;
pub mod row;
mod stop;
pub mod text;
pub mod thread;
