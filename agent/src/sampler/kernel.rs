//! What the sampler asks the kernel for by route netlink: the counters of one interface, and the forwarding databases of
//! bridges.

use std::io;
use std::os::fd::AsFd;

use decode::Mac;
use ingest::netlink::{self, Attributes, u16_at, u32_at};

use crate::interfaces::{self, Counters};

/// `RTM_GETSTATS`
const GET_STATS: u16 = 94;
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
    // An `if_stats_msg`: its second word is the index, the third says which statistics.
    let mut question = [0; 12];
    question[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    question[8..12].copy_from_slice(&1_u32.to_ne_bytes());
    let answer = netlink::ask(socket, GET_STATS, &question)?;
    let mut attributes = Attributes::new(answer.get(question.len()..).unwrap_or_default());
    let found = attributes.find(|(kind, _)| *kind == STATS_LINK_64);
    found
        .filter(|_| u32_at(&answer, 4) == Some(ifindex))
        .and_then(|(_, value)| interfaces::counters(value))
        .ok_or_else(|| io::Error::other("the kernel's answer has no counters"))
}

/// What `each` makes of the entries of the forwarding databases of all bridges.
pub(super) fn forwarding<T: Default>(
    socket: impl AsFd,
    mut each: impl FnMut(&mut T, Forwarding),
) -> io::Result<T> {
    netlink::dump_of_family(socket, GET_NEIGHBOUR, FAMILY_BRIDGE, |made, message| {
        if let Some(entry) = entry(message.body).filter(|_| message.kind == NEW_NEIGHBOUR) {
            each(made, entry);
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
