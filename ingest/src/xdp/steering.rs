//! What the XDP program is told by its maps: which datagrams are ours.
//!
//! The sizes and names of the maps are those of `steer.bpf.c`.

use std::io;
use std::net::IpAddr;

use thiserror::Error;

use super::object::{LoadError, Map, Object};

/// Addresses that [`Steering`] has at most.
pub const MOST_ADDRESSES: usize = 1024;

/// Source prefixes that [`Steering`] has at most, of both versions of IP together.
pub const MOST_SOURCES: usize = 65_536;

/// Ports that share a word of the map of ports.
const PORTS_PER_WORD: u16 = 64;

/// Which frames are ours: UDP over IPv4 and IPv6, whole, to the interface's Ethernet address, and as follows. All else
/// is left to the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steering {
    /// To one of these ports.
    pub ports: Vec<u16>,
    /// And to one of these addresses; to any where there is none. A host that routes datagrams of these ports for
    /// others has to name its own.
    pub addresses: Vec<IpAddr>,
    /// And from within one of these prefixes; from anywhere where there is none. Datagrams from elsewhere that are
    /// ours otherwise are dropped: no socket gets them.
    pub sources: Vec<(IpAddr, u8)>,
}

/// Why a [`Steering`] cannot be.
#[derive(Debug, Error)]
pub enum SteerError {
    /// No port, or port 0.
    #[error("no UDP port to steer, or port 0")]
    NoPort,
    /// More than there is room for.
    #[error("{count} {what} to steer by; {most} are allowed")]
    TooMany {
        /// `addresses` or `source prefixes`.
        what: &'static str,
        /// How many were asked for.
        count: usize,
        /// [`MOST_ADDRESSES`] or [`MOST_SOURCES`].
        most: usize,
    },
    /// An address that no datagram is sent to.
    #[error("{0} is no address that datagrams are sent to")]
    Unspecified(IpAddr),
    /// More bits than an address has.
    #[error("{0}/{1} is no prefix")]
    Prefix(IpAddr, u8),
    /// The kernel refuses a change of a map.
    #[error("the map {map} of the XDP program: {error}")]
    Map {
        /// The map.
        map: &'static str,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
}

/// The maps that tell the program what is ours.
pub(super) struct Maps<'a> {
    settings: Map<'a>,
    ports: Map<'a>,
    addresses: Map<'a>,
    sources: Map<'a>,
}

impl<'a> Maps<'a> {
    pub(super) fn of(object: &'a Object) -> Result<Self, LoadError> {
        Ok(Self {
            settings: object.map("settings")?,
            ports: object.map("ports")?,
            addresses: object.map("addresses")?,
            sources: object.map("sources")?,
        })
    }
}

impl Steering {
    /// Whether the program can be told so.
    pub(super) fn check(&self) -> Result<(), SteerError> {
        if self.ports.is_empty() || self.ports.contains(&0) {
            return Err(SteerError::NoPort);
        }
        for (what, count, most) in [
            ("addresses", self.addresses.len(), MOST_ADDRESSES),
            ("source prefixes", self.sources.len(), MOST_SOURCES),
        ] {
            if count > most {
                return Err(SteerError::TooMany { what, count, most });
            }
        }
        if let Some(address) = self.addresses.iter().find(|address| address.is_unspecified()) {
            return Err(SteerError::Unspecified(*address));
        }
        let bits = |address: &IpAddr| if address.is_ipv4() { 32 } else { 128 };
        match self.sources.iter().find(|(address, length)| *length > bits(address)) {
            Some((address, length)) => Err(SteerError::Prefix(*address, *length)),
            None => Ok(()),
        }
    }

    /// Tells the program: first what is added, then which lists count, then what is taken away. So no frame that is
    /// ours before and after is judged otherwise between.
    pub(super) fn write(&self, maps: &Maps<'_>, own: [u8; 6]) -> Result<(), SteerError> {
        let addresses = self.addresses.iter().map(|address| key(*address).to_vec()).collect::<Vec<_>>();
        let sources =
            self.sources.iter().map(|(address, length)| prefix(*address, *length)).collect::<Vec<_>>();
        let words = self.words();
        let named = |map| move |error| SteerError::Map { map, error };
        for (word, bits) in &words {
            let old = word_of_ports(&maps.ports, *word).map_err(named("ports"))?;
            maps.ports.update(&word.to_ne_bytes(), &(bits | old).to_ne_bytes()).map_err(named("ports"))?;
        }
        let add = |map: &Map<'_>, keys: &[Vec<u8>]| keys.iter().try_for_each(|key| map.update(key, &[1]));
        add(&maps.addresses, &addresses).map_err(named("addresses"))?;
        add(&maps.sources, &sources).map_err(named("sources"))?;

        let [a, b, c, d, e, f] = own;
        let lists = [u8::from(!addresses.is_empty()), u8::from(!sources.is_empty())];
        let settings = [a, b, c, d, e, f, lists[0], lists[1]];
        maps.settings.update(&0_u32.to_ne_bytes(), &settings).map_err(named("settings"))?;

        keep(&maps.addresses, addresses).map_err(named("addresses"))?;
        keep(&maps.sources, sources).map_err(named("sources"))?;
        for word in 0..u32::from(u16::MAX / PORTS_PER_WORD) + 1 {
            let bits = words.iter().find(|(of, _)| *of == word).map_or(0, |(_, bits)| *bits);
            maps.ports.update(&word.to_ne_bytes(), &bits.to_ne_bytes()).map_err(named("ports"))?;
        }
        Ok(())
    }

    /// The words of the map of ports that are not zero, by their index.
    fn words(&self) -> Vec<(u32, u64)> {
        let mut words: Vec<(u32, u64)> = Vec::new();
        for port in &self.ports {
            let (word, bit) = (u32::from(port / PORTS_PER_WORD), 1 << (port % PORTS_PER_WORD));
            match words.iter_mut().find(|(of, _)| *of == word) {
                Some((_, bits)) => *bits |= bit,
                None => words.push((word, bit)),
            }
        }
        words
    }
}

/// The ports of a word that the program has now.
fn word_of_ports(map: &Map<'_>, word: u32) -> io::Result<u64> {
    let bits = map.lookup(&word.to_ne_bytes())?.and_then(|bits| bits.try_into().ok());
    Ok(bits.map_or(0, u64::from_ne_bytes))
}

/// Takes away all entries but these.
fn keep(map: &Map<'_>, mut wanted: Vec<Vec<u8>>) -> io::Result<()> {
    wanted.sort_unstable();
    for key in map.keys()? {
        if wanted.binary_search(&key).is_err() {
            map.remove(&key)?;
        }
    }
    Ok(())
}

/// An address as the program has it: of both versions alike.
fn key(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// A prefix as the program has it: its length, and the address without host bits.
fn prefix(address: IpAddr, length: u8) -> Vec<u8> {
    let length = u32::from(length) + if address.is_ipv4() { 96 } else { 0 };
    let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length)).unwrap_or(0);
    let network = u128::from_be_bytes(key(address)) & mask;
    [&length.to_ne_bytes()[..], &network.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn what_cannot_be_steered() {
        let one = Steering { ports: vec![6343], ..Steering::default() };
        assert!(one.check().is_ok());
        let bad = [
            (Steering::default(), "no UDP port to steer, or port 0"),
            (Steering { ports: vec![6343, 0], ..one.clone() }, "no UDP port to steer, or port 0"),
            (
                Steering { addresses: vec![address("::1"); MOST_ADDRESSES + 1], ..one.clone() },
                "1025 addresses to steer by; 1024 are allowed",
            ),
            (
                Steering { sources: vec![(address("::1"), 128); MOST_SOURCES + 1], ..one.clone() },
                "65537 source prefixes to steer by; 65536 are allowed",
            ),
            (
                Steering { addresses: vec![address("0.0.0.0")], ..one.clone() },
                "0.0.0.0 is no address that datagrams are sent to",
            ),
            (
                Steering { sources: vec![(address("10.0.0.0"), 33)], ..one.clone() },
                "10.0.0.0/33 is no prefix",
            ),
            (Steering { sources: vec![(address("::"), 129)], ..one.clone() }, "::/129 is no prefix"),
        ];
        for (steering, why) in bad {
            assert_eq!(steering.check().expect_err(why).to_string(), why);
        }
    }

    #[test]
    fn prefixes_lose_their_host_bits() {
        let of = |length: u32, octets: [u8; 16]| [&length.to_ne_bytes()[..], &octets].concat();
        let mapped = |a, b, c, d| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, a, b, c, d];
        assert_eq!(prefix(address("10.1.2.3"), 24), of(120, mapped(10, 1, 2, 0)));
        assert_eq!(prefix(address("10.1.2.3"), 32), of(128, mapped(10, 1, 2, 3)));
        assert_eq!(prefix(address("10.1.2.3"), 0), of(96, mapped(0, 0, 0, 0)));
        assert_eq!(prefix(address("2001:db8::1"), 0), of(0, [0; 16]));
        let mut net = [0; 16];
        net[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        assert_eq!(prefix(address("2001:db8:ffff::1"), 32), of(32, net));
    }

    #[test]
    fn ports_are_bits() {
        let steering = Steering { ports: vec![6343, 6344, 65_535, 6343], ..Steering::default() };
        assert_eq!(steering.words(), [(99, 0b11 << 7), (1023, 1 << 63)]);
    }
}
