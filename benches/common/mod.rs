//! What the benches read: datagrams of seven flow samples, all different, mixed as a fabric mixes them.

use fabric::mix::{self, Mix};

pub(crate) mod captures;
pub(crate) mod lookups;
pub(crate) mod program;
pub(crate) mod random;
pub(crate) mod ratio;
pub(crate) mod reading;
pub(crate) mod updates;
pub(crate) mod whole;

pub(crate) use fabric::mix::SAMPLES;

/// Agents that send.
pub(crate) const AGENTS: usize = 256;

/// `bytes` of datagrams.
pub(crate) fn datagrams(bytes: usize) -> Vec<Vec<u8>> {
    mix::datagrams(&Mix { agents: AGENTS, ..Mix::default() }, |_, so_far| so_far < bytes)
}
