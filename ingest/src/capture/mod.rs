//! Capture files: pcap and pcapng in, pcap out.
//!
//! [`Reader`] gives frames; [`Payloads`] finds the UDP payloads to a port in them, through link layers, VLAN
//! tags and IP fragments.

mod fragments;
mod legacy;
mod payloads;
mod reader;
mod writer;

pub use payloads::{Payload, Payloads, Statistics};
pub use reader::{CaptureError, Frame, Reader};
pub use writer::Writer;

/// Link types (<https://www.tcpdump.org/linktypes.html>).
pub mod link {
    /// BSD loopback: the family in the host's byte order.
    pub const NULL: i32 = 0;
    /// Ethernet.
    pub const ETHERNET: i32 = 1;
    /// IP without a link layer, as some systems write it.
    pub const RAW_BSD: i32 = 12;
    /// The same.
    pub const RAW_OPENBSD: i32 = 14;
    /// IP without a link layer.
    pub const RAW: i32 = 101;
    /// OpenBSD loopback: the family in network byte order.
    pub const LOOP: i32 = 108;
    /// Linux "cooked" capture, version 1.
    pub const LINUX_SLL: i32 = 113;
    /// IPv4 without a link layer.
    pub const IPV4: i32 = 228;
    /// IPv6 without a link layer.
    pub const IPV6: i32 = 229;
    /// Linux "cooked" capture, version 2.
    pub const LINUX_SLL2: i32 = 276;
}
