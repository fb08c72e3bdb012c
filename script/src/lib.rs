//! The JavaScript host: scripts that were written for the field's incumbent run here unchanged.
//!
//! Each script has a thread and a QuickJS runtime of its own, with limits of memory and time. Its handlers are called
//! one at a time with what was put into its queues; what finds a queue full is lost and counted, so that no script ever
//! holds up the collector.
//!
//! | module | owns |
//! |---|---|
//! | [`host`](Scripts) | which scripts there are, their threads, and who asks them |
//! | `meant`, `app` | which scripts a configuration means; application folders |
//! | [`check`](problems) | what keeps scripts from being started, told without running them |
//! | `thread` | a script's thread: its first run, then its handlers, one at a time |
//! | `mailbox` | the queues between the collector and a script |
//! | `script`, `world` | what one script has, and what all of them share |
//! | `definitions`, `values` | what scripts have defined, and the values that they keep |
//! | `source` | a script's text before it is parsed: header comments, Rhino's extensions |
//! | `record` | flow records as handlers see them |
//! | `text` | dates and numbers by patterns, baselines |
//! | `runtime` | QuickJS with its limits, and what exceptions say |
//! | [`catalogue`], `functions`, `call` | the functions of scripts, a file per family, and how their arguments are read |
//! | `http` | what scripts ask over HTTP: whom they may ask, how long and how much, how many calls at once |
//! | `guard` | requests of scripts that change the world, seen to by whoever knows them |
//! | [`config`] | what the operator says |
//! | `request`, `status`, `lines` | requests and answers, counters, lines of the log |
#![forbid(unsafe_code)]

mod app;
mod call;
pub mod catalogue;
mod check;
pub mod config;
mod definitions;
mod functions;
mod guard;
mod host;
mod http;
mod lines;
mod mailbox;
mod meant;
mod record;
mod request;
mod runtime;
mod script;
mod source;
mod status;
mod text;
mod thread;
mod values;
mod world;

pub use check::problems;
pub use config::Config;
pub use host::Scripts;
pub use http::{Allow, NotAllow};
pub use record::Maker;
pub use request::{Reply, Request, RequestError};
pub use world::Own;
