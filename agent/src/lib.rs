//! `finderscope-agent`: follows a host's containers by events, and exports their counters, the host's and sampled packets
//! as sFlow v5.
#![forbid(unsafe_code)]

pub mod container;
pub mod export;
pub mod host;
pub mod interfaces;
pub mod netlink;
pub mod sampler;
pub mod address;
pub mod host;
pub mod interfaces;
pub mod netlink;
pub mod options;
pub mod settings;
