//! The sFlow v5 wire: every structure of the specifications, bytes to values and back.
//!
//! A datagram is read in layers, each borrowing from the bytes beneath it:
//!
//! | module | reads |
//! |---|---|
//! | [`datagram`] | the datagram's header, and its samples one after another |
//! | [`sample`] | flow samples, counters samples, discarded packets, custom metrics and flows |
//! | [`record`] | the records of a sample, framed |
//! | [`flow`], [`counter`] | the tables of flow and counter structures, and what hot paths read typed |
//! | [`layout`] | how a table of fields is read from bytes and written to them |
//! | [`packet`] | the layers of a sampled packet |
//! | [`build`] | emits datagrams |
//! | [`xdr`], [`address`] | the representation beneath all of them |
//!
//! Nothing here allocates, reads a clock or panics, whatever the bytes. Loops are bounded by the bytes left.
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

pub mod address;
pub mod build;
pub mod counter;
pub mod datagram;
pub mod flow;
pub mod layout;
pub mod packet;
pub mod record;
pub mod rt;
pub mod sample;
pub mod xdr;

pub use address::{Address, Mac};
pub use datagram::{Datagram, DatagramError, Header, Samples};
pub use record::{Record, Records, Tag};
pub use sample::{
    CountersSample, DataSource, DiscardedPacket, FlowSample, Interface, InterfaceKind, Sample, SampleError,
};
