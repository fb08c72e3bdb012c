//! All that one shard knows, and the questions that can be asked of it.
//!
//! A shard is fed datagrams and asked questions; it never spawns, locks or reads a clock: `now_us` is an
//! argument, monotonic microseconds. An answer comes as a partial that merges with those of other shards.
//!
//! | module | owns |
//! |---|---|
//! | [`shard`] | what is fed and asked |
//! | `intake` | the samples of one datagram on their way into a shard |
//! | [`agent`] | who sends, and what was lost on the way |
//! | `source`, `estimate` | the data sources of an agent; how many packets a sample stands for |
//! | [`owner`] | whose a value is |
//! | `roster` | which agents are kept when there are too many |
//! | `answer` | what is known of agents and metrics towards an answer |
//! | [`sequence`] | loss, duplicates and order from sequence numbers |
//! | [`flow`] | flow definitions, their language, and live tables |
//! | [`metric`] | counters as metrics: the catalogue, rates, ageing |
//! | [`program`], [`spec_error`] | what users have defined, and what is wrong with it |
//! | [`threshold`], [`forwarding`] | definitions of thresholds and of forwarding |
//! | [`mem`] | prefetching and huge pages |
//! | [`outbox`] | what a shard has to tell others |
//! | [`select`] | which agents, metrics and data sources a question means |
//! | [`wording`] | questions from the texts of paths and calls |
//! | [`lenient`] | JSON as clients write it |
//! | [`question`] | questions, partials and answers |
//! | [`table`] | metrics joined by data source |
//! | [`topology`] | links between switches, roles of ports, and where hosts are |
//! | [`trust`] | agents that the operator has listed, and where their datagrams must come from |
#![deny(unsafe_code)]

pub mod agent;
mod answer;
mod estimate;
pub mod flow;
pub mod forwarding;
mod intake;
pub mod lenient;
pub mod mem;
pub mod metric;
pub mod outbox;
pub mod owner;
pub mod program;
pub mod question;
mod roster;
pub mod select;
pub mod sequence;
pub mod shard;
mod source;
pub mod spec_error;
pub mod table;
pub mod threshold;
pub mod topology;
pub mod trust;
pub(crate) mod watch;
pub mod wording;

pub use intake::Room;
pub use outbox::Outbox;
pub use program::{Change, ChangeError, Program};
pub use question::{Answer, Partial, Question};
pub use shard::{Options, Shard};
