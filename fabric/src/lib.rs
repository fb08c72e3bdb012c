//! A simulated leaf-spine fabric: its topology, traffic and counters, the sFlow that it emits, and the truth.
//!
//! Nothing here reads a clock, opens a socket or starts a thread: [`Fabric::step`] is told the time, and gives
//! datagrams to its caller. The same options, and the same calls, give the same bytes.
//!
//! | module | owns |
//! |---|---|
//! | [`options`] | what can be chosen, and its limits |
//! | [`fabric`] | time: traffic, samples and polls, tick by tick |
//! | `topology` | switches, ports, hosts, and the path between two of them |
//! | `traffic` | flows: who talks to whom, how fast, over which hops |
//! | `packet` | the first bytes of a flow's packet as a hop sees it |
//! | `agent` | datagrams under construction, and their sequence |
//! | `counters` | interface, host and container counters |
//! | `service` | the swarm service: its containers and the load on them |
//! | `pace` | how much traffic makes a wanted number of datagrams |
//! | [`truth`] | what really passed |
//! | [`mix`] | full datagrams of packets of all kinds, for measuring |
//! | [`stretch`] | datagrams that are sent again and again, with numbers that go on |
//! | `random` | numbers from a seed |
#![forbid(unsafe_code)]

mod agent;
mod counters;
pub mod fabric;
pub mod mix;
pub mod options;
mod pace;
mod packet;
mod random;
mod service;
pub mod stretch;
mod topology;
mod traffic;
pub mod truth;

pub use fabric::Fabric;
pub use options::{Curve, FabricError, FabricOptions, HIGHEST_REPLICAS};
pub use service::WEB;
pub use stretch::Stretch;
pub use truth::{Listed, Truth};
