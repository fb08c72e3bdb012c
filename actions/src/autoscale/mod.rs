//! Elastic load balancing: how many replicas a swarm service should have.
//!
//! | file | owns |
//! |---|---|
//! | [`config`], `labels`, `settings` | what the operator says: in the configuration, by labels, by REST |
//! | [`expression`] | what is measured |
//! | [`observation`], [`decision`] | what is seen, and what is decided, with the reason and the numbers |
//! | [`policy`], [`budget`], [`sick`] | who decides: pure functions of time and observations |
//! | [`simulate`] | the same policies over a curve of loads |
//! | `observe`, `executor`, `change` | who asks telemetry and engines, and does what is decided |
//! | `state`, `entry`, [`control`] | what is known of all services and of each, and what others see of it |

pub mod budget;
mod change;
pub mod config;
pub mod control;
pub mod decision;
mod entry;
mod executor;
pub mod expression;
mod history;
pub mod labels;
mod loss;
pub mod observation;
mod observe;
pub mod policy;
mod settings;
pub mod sick;
pub mod simulate;
mod state;
mod world;

pub use config::Config;
pub use control::{Control, ControlError};
pub use executor::{Autoscaler, Eyes};
pub use loss::Datagrams;
pub use world::Pace;
