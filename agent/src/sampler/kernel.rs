//! What the sampler asks the kernel for by route netlink: the counters of one interface, and the forwarding databases of
//! bridges.

use std::io;
use std::os::fd::AsFd;

use decode::Mac;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::interfaces::{self, Counters};
use ingest::netlink::{Attributes, Messages, u16_at, u32_at};

/// `RTM_GETSTATS`
const GET_STATS: u16 = 94;
/// `RTM_NEWSTATS`
const NEW_STATS: u16 = 92;
/// `IFLA_STATS_LINK_64`, as an attribute and as the bit that asks for it.
const STATS_LINK_64: u16 = 1;
/// `RTM_GETNEIGH`
const GET_NEIGHBOUR: u16 = 30;
/// `RTM_NEWNEIGH`
const NEW_NEIGHBOUR: u16 = 28;
/// `AF_BRIDGE`
const FAMILY_BRIDGE: u8 = 7;
/// `NDA_LLADDR`
const NEIGHBOUR_MAC: u16 = 2;
/// `NDA_MASTER`
const NEIGHBOUR_MASTER: u16 = 9;
/// `NUD_PERMANENT`: on a bridge, an address of the host's own.
const PERMANENT: u16 = 0x80;

const REQUEST: u16 = 0x1;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// Largest datagram of a dump, bytes; the kernel fills at most 32 KiB.
const DUMP_BUFFER: usize = 32 << 10;
/// Largest answer that is no dump, bytes: the counters of an interface take 232.
const ANSWER_BUFFER: usize = 4 << 10;

/// An entry of a bridge's forwarding database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forwarding {
    /// The bridge's ifIndex.
    pub(super) bridge: u32,
    /// Whose entry it is.
    pub(super) mac: Mac,
    /// The port's ifIndex.
    pub(super) port: u32,
    /// Whether the address is the host's own.
    pub(super) local: bool,
}

/// The counters of an interface.
pub(super) fn counters(socket: impl AsFd, ifindex: u32) -> io::Result<Counters> {
    let mut body = [0; 12];
    body[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    body[8..12].copy_from_slice(&1_u32.to_ne_bytes());
    let mut found = None;
    ask(socket, GET_STATS, 0, &body, |kind, body| {
        // An `if_stats_msg`, whose second word is the index, and attributes.
        if kind == NEW_STATS && u32_at(body, 4) == Some(ifindex) {
            let attributes = body.get(12..).unwrap_or_default();
            let value = Attributes::new(attributes).find(|(kind, _)| *kind == STATS_LINK_64);
            found = value.and_then(|(_, value)| interfaces::counters(value));
        }
    })?;
    found.ok_or_else(|| io::Error::other("the kernel's answer has no counters"))
}

/// The entries of the forwarding databases of all bridges.
pub(super) fn forwarding(socket: impl AsFd, mut each: impl FnMut(Forwarding)) -> io::Result<()> {
    let mut body = [0; 12];
    body[0] = FAMILY_BRIDGE;
    ask(socket, GET_NEIGHBOUR, DUMP, &body, |kind, body| {
        if kind == NEW_NEIGHBOUR {
            entry(body).into_iter().for_each(&mut each);
        }
    })
}

/// Reads an `ndmsg` and its attributes. What belongs to no bridge is the filter of a network card.
fn entry(body: &[u8]) -> Option<Forwarding> {
    let (port, state) = (u32_at(body, 4)?, u16_at(body, 8)?);
    let (mut mac, mut bridge) = (None, None);
    for (kind, value) in Attributes::new(body.get(12..)?) {
        match kind {
            NEIGHBOUR_MAC => mac = <[u8; 6]>::try_from(value).ok().map(Mac),
            NEIGHBOUR_MASTER => bridge = u32_at(value, 0),
            _ => {}
        }
    }
    Some(Forwarding { bridge: bridge?, mac: mac?, port, local: state & PERMANENT != 0 })
}

/// Sends a request, and hands over the type and body of each message of the answer.
fn ask(
    socket: impl AsFd,
    kind: u16,
    flags: u16,
    body: &[u8; 12],
    mut each: impl FnMut(u16, &[u8]),
) -> io::Result<()> {
    let mut request = 28_u32.to_ne_bytes().to_vec();
    request.extend(kind.to_ne_bytes());
    request.extend((REQUEST | flags).to_ne_bytes());
    request.extend([0; 8]);
    request.extend(body);
    let mut buffer = vec![0; if flags & DUMP == 0 { ANSWER_BUFFER } else { DUMP_BUFFER }];
    // An answer that came too late for the question before this one is not taken for that to this one.
    while recv(&socket, buffer.as_mut_slice(), RecvFlags::DONTWAIT).is_ok() {}
    send(&socket, &request, SendFlags::empty())?;
    loop {
        let (read, _) = recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        for message in Messages::new(buffer.get(..read).unwrap_or_default()) {
            match message.kind {
                DONE => return Ok(()),
                ERROR => {
                    let code = u32_at(message.body, 0).unwrap_or_default().cast_signed();
                    return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                }
                kind => each(kind, message.body),
            }
        }
        // An answer that is no dump is one datagram.
        if flags & DUMP == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_counted_the_same_both_ways() {
        let socket = interfaces::open().unwrap();
        let counted = counters(&socket, 1).unwrap();
        assert_eq!(counted.rx_bytes, counted.tx_bytes);
        assert_eq!(counters(&socket, 4_000_000).unwrap_err().raw_os_error(), Some(19), "no such device");
        // The socket is good for the next question.
        assert!(counters(&socket, 1).unwrap().rx_packets >= counted.rx_packets);
    }

    #[test]
    fn entries_are_read_and_cut_ones_are_not() {
        let mut body = vec![FAMILY_BRIDGE, 0, 0, 0];
        body.extend(7_u32.to_ne_bytes());
        body.extend(0x82_u16.to_ne_bytes());
        body.extend([0, 0]);
        body.extend([10, 0, 2, 0, 2, 0, 0, 0, 0, 9, 0, 0]);
        body.extend([8, 0, 9, 0]);
        body.extend(3_u32.to_ne_bytes());
        let whole = Forwarding { bridge: 3, mac: Mac([2, 0, 0, 0, 0, 9]), port: 7, local: true };
        assert_eq!(entry(&body), Some(whole));
        for length in 0..body.len() {
            assert_eq!(entry(&body[..length]), None, "{length}");
        }
    }
}
