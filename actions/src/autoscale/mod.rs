//! Elastic load balancing: how many replicas a swarm service should have.

pub mod budget;
pub mod config;
pub mod decision;
pub mod expression;
mod history;
pub mod labels;
pub mod observation;
pub mod policy;
pub mod sick;
pub mod simulate;
mod world;

pub use world::Pace;
