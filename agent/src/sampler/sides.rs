//! Where a sampled packet came in and went out, from where it was seen.

use decode::sample::INTERNAL;
use decode::{Interface, Mac};
use ingest::packets::Direction;

use super::ports::Place;

/// Several interfaces, how many is not known.
const SEVERAL: Interface = Interface { format: 2, value: 0 };
/// The host itself.
const HOST: Interface = Interface { format: 0, value: INTERNAL };
/// Not known.
const UNKNOWN: Interface = Interface { format: 0, value: 0 };

/// Where packets are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// On a bridge, with its ifIndex.
    Bridge(u32),
    /// On a port of a bridge: the port's ifIndex and the bridge's.
    Port(u32, u32),
    /// On any other interface.
    Plain(u32),
}

impl At {
    /// The bridge whose forwarding database tells more.
    pub(super) fn bridge(self) -> Option<u32> {
        match self {
            Self::Bridge(bridge) | Self::Port(_, bridge) => Some(bridge),
            Self::Plain(_) => None,
        }
    }
}

/// Input and output of a packet. `place` says where an address is, as seen from the bridge.
pub(super) fn sides(
    at: At,
    direction: Direction,
    source: Mac,
    destination: Mac,
    mut place: impl FnMut(Mac) -> Option<Place>,
) -> (Interface, Interface) {
    let mut interface = |mac, otherwise| match place(mac) {
        Some(Place::Port(port)) => Interface::index(port),
        Some(Place::Host) => HOST,
        None => otherwise,
    };
    let to_many = destination.0[0] & 1 != 0;
    match (at, direction) {
        (At::Plain(index), Direction::Sent) => (HOST, Interface::index(index)),
        (At::Plain(index), Direction::OtherHost) => (Interface::index(index), UNKNOWN),
        (At::Plain(index), _) => (Interface::index(index), HOST),
        (At::Bridge(_), Direction::Sent) if to_many => (HOST, SEVERAL),
        (At::Bridge(index), Direction::Sent) => (HOST, interface(destination, Interface::index(index))),
        (At::Bridge(index), received) => {
            let input = interface(source, Interface::index(index));
            let output = match received {
                _ if to_many => SEVERAL,
                Direction::OtherHost => interface(destination, UNKNOWN),
                _ => HOST,
            };
            (input, output)
        }
        (At::Port(index, _), Direction::Sent) => (interface(source, UNKNOWN), Interface::index(index)),
        (At::Port(index, _), _) if to_many => (Interface::index(index), SEVERAL),
        (At::Port(index, _), _) => (Interface::index(index), interface(destination, UNKNOWN)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const OURS: Mac = Mac([2, 0, 0, 0, 0, 3]);
    const STRANGER: Mac = Mac([2, 0, 0, 0, 0, 4]);
    const ALL: Mac = Mac([0xff; 6]);

    fn place(mac: Mac) -> Option<Place> {
        match mac {
            A => Some(Place::Port(11)),
            B => Some(Place::Port(12)),
            OURS => Some(Place::Host),
            _ => None,
        }
    }

    #[test]
    fn every_way_through_the_host() {
        use Direction::{OtherHost, Received, ReceivedByMany, Sent};
        let index = Interface::index;
        let (bridge, port, plain) = (At::Bridge(5), At::Port(11, 5), At::Plain(2));
        for (at, direction, source, destination, input, output) in [
            (plain, Received, STRANGER, OURS, index(2), HOST),
            (plain, ReceivedByMany, STRANGER, ALL, index(2), HOST),
            (plain, OtherHost, STRANGER, B, index(2), UNKNOWN),
            (plain, Sent, OURS, STRANGER, HOST, index(2)),
            // Container to container, to and from the host, to all; an address that the bridge has forgotten.
            (bridge, OtherHost, A, B, index(11), index(12)),
            (bridge, Received, A, OURS, index(11), HOST),
            (bridge, Sent, OURS, B, HOST, index(12)),
            (bridge, ReceivedByMany, A, ALL, index(11), SEVERAL),
            (bridge, Sent, OURS, ALL, HOST, SEVERAL),
            (bridge, OtherHost, STRANGER, STRANGER, index(5), UNKNOWN),
            (bridge, Sent, OURS, STRANGER, HOST, index(5)),
            (port, OtherHost, A, B, index(11), index(12)),
            (port, OtherHost, A, OURS, index(11), HOST),
            (port, ReceivedByMany, A, ALL, index(11), SEVERAL),
            (port, OtherHost, A, STRANGER, index(11), UNKNOWN),
            (port, Sent, B, A, index(12), index(11)),
            (port, Sent, OURS, A, HOST, index(11)),
            (port, Sent, STRANGER, A, UNKNOWN, index(11)),
        ] {
            let got = sides(at, direction, source, destination, place);
            assert_eq!(got, (input, output), "{at:?} {direction:?} {source} {destination}");
        }
    }
}
