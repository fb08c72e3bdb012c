//! The Docker engine's API: transport, version, containers and their events, and the services of a swarm.
//!
//! It owns what is said to an engine and how its answers are read, with a limit on each. Which containers matter, how
//! many a service should have, and when to ask again after an error, is left to its callers. Texts of the engine are values here and escaped only in
//! errors.
#![forbid(unsafe_code)]

mod container;
mod endpoint;
mod engine;
mod error;
mod event;
mod id;
mod lines;
mod managers;
mod service;
mod spec;
#[cfg(any(test, feature = "stand-in"))]
pub mod stand_in;
mod swarm;
mod task;
mod tls;
mod transport;
mod version;

pub use container::{Attached, Container, Listed, State};
pub use endpoint::Endpoint;
pub use engine::{Engine, Limits};
pub use error::{Error, shown};
pub use event::{Action, Event, EventTime, Events};
pub use id::Id;
pub use managers::Managers;
pub use service::{Service, ServiceSpec, UpdateState};
pub use task::{Port, Task, TaskState};
pub use tls::{open_to_others, tls_error};
pub use version::{ApiVersion, Version};
