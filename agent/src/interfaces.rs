//! The interfaces of a network namespace: who they are, their addresses and counters, by one dump of route netlink;
//! and how they come and go.
//!
//! Speeds and duplexes are the driver's to say; they are added from `/sys/class/net`.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use decode::Mac;

use ingest::netlink::{self, Attributes, Message, Messages, u16_at, u32_at, u64_at};

/// `IFF_UP`: set up by an administrator.
pub const UP: u32 = 0x1;
/// `IFF_LOOPBACK`.
pub const LOOPBACK: u32 = 0x8;
/// `IFF_RUNNING`: able to carry packets.
pub const RUNNING: u32 = 0x40;
/// `IFF_PROMISC`.
pub const PROMISCUOUS: u32 = 0x100;

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its ifIndex in the namespace.
    pub index: u32,
    /// Its name; the kernel allows 15 bytes, not necessarily UTF-8: what is not becomes U+FFFD.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its Ethernet address, where it has one that is not zero.
    pub mac: Option<Mac>,
    /// `IFF_...`
    pub flags: u32,
    /// Largest packet, bytes.
    pub mtu: u32,
    /// Speed in bits per second, where the driver knows one; from [`add_speeds`].
    pub speed_bps: Option<u64>,
    /// Whether both directions at once, where the driver knows; from [`add_speeds`].
    pub full_duplex: Option<bool>,
    /// ifIndex of the bridge, bond or other device that it is a port of.
    pub master: Option<u32>,
    /// ifIndex of its other half (veth) or of the device beneath it (VLAN, macvlan).
    pub link: Option<u32>,
    /// When `link` is an index in another namespace, that namespace's id in this one.
    pub link_namespace: Option<i32>,
    /// Sockets and bridges that have asked for promiscuous mode.
    pub promiscuity: u32,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// Its counters.
    pub counters: Counters,
}

impl Interface {
    /// Whether all the given `IFF_...` flags are set.
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }
}

/// What an interface is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A device that no software made: a network card, also a virtual machine's.
    #[default]
    Physical,
    /// The loopback.
    Loopback,
    /// A Linux bridge.
    Bridge,
    /// One half of a pair.
    Veth,
    /// A bond or a team.
    Bond,
    /// A VLAN of another interface.
    Vlan,
    /// A macvlan, macvtap or ipvlan of another interface.
    Macvlan,
    /// Any other device made by software: tunnels, dummies, taps.
    Virtual,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Length of its prefix, bits.
    pub prefix: u8,
    /// `RT_SCOPE_...`: 0 global, 200 site, 253 link, 254 host.
    pub scope: u8,
    /// Made for privacy and soon changed (`IFA_F_TEMPORARY`; for IPv4 this bit says secondary, see `secondary`).
    pub temporary: bool,
    /// A second IPv4 address of the same network.
    pub secondary: bool,
    /// No longer used for new connections.
    pub deprecated: bool,
    /// Not yet known to be unique, or known not to be.
    pub tentative: bool,
}

/// Counters of an interface since it was made (`rtnl_link_stats64`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets received with an error.
    pub rx_errors: u64,
    /// Packets not sent because of an error.
    pub tx_errors: u64,
    /// Packets received and dropped for want of room.
    pub rx_dropped: u64,
    /// Packets dropped before they were sent.
    pub tx_dropped: u64,
    /// Multicast packets received.
    pub multicast: u64,
}

/// A change of the interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An interface is new, or something of it has changed. It is told without its addresses.
    Link(Interface),
    /// The interface with this index is gone.
    Gone(u32),
}

/// Opens a socket for [`list`] in the network namespace of the calling thread.
///
/// # Errors
/// What the kernel says.
pub fn open() -> io::Result<OwnedFd> {
    netlink::open(0)
}

/// Opens a socket, non-blocking, on which the kernel tells changes; read datagrams from it for [`changes`].
/// `ENOBUFS` from it means that changes were lost: list anew.
///
/// # Errors
/// What the kernel says.
pub fn follow() -> io::Result<OwnedFd> {
    netlink::open(netlink::LINK_CHANGES)
}

/// The interfaces of the namespace that the socket was opened in, by index, with their addresses.
///
/// # Errors
/// What the kernel says.
pub fn list(socket: impl AsFd) -> io::Result<Vec<Interface>> {
    let mut interfaces: BTreeMap<u32, Interface> =
        netlink::dump(&socket, netlink::GET_LINK, |found: &mut BTreeMap<_, _>, message| {
            if let Some(Change::Link(interface)) = change(message) {
                found.insert(interface.index, interface);
            }
        })?;
    let addresses = netlink::dump(&socket, netlink::GET_ADDRESS, |found: &mut Vec<_>, message| {
        found.extend(address(message));
    })?;
    for (index, address) in addresses {
        if let Some(interface) = interfaces.get_mut(&index) {
            interface.addresses.push(address);
        }
    }
    Ok(interfaces.into_values().collect())
}

/// One interface of the namespace that the socket was opened in, without its addresses.
///
/// # Errors
/// There is none with this index, or what else the kernel says.
pub fn get(socket: impl AsFd, index: u32) -> io::Result<Interface> {
    // An `ifinfomsg`.
    let mut question = [0; 16];
    question[4..8].copy_from_slice(&index.to_ne_bytes());
    let answer = netlink::ask(socket, netlink::GET_LINK, &question)?;
    link(&answer).ok_or_else(|| io::Error::other("the kernel's answer is no interface"))
}

/// What a datagram from [`follow`] says.
pub fn changes(datagram: &[u8]) -> impl Iterator<Item = Change> + '_ {
    Messages::new(datagram).filter_map(change)
}

/// Adds what the drivers say in `class` (`/sys/class/net`) about speed and duplex.
/// That folder shows the interfaces of the namespace that it was mounted in.
pub fn add_speeds(interfaces: &mut [Interface], class: &Path) {
    for interface in interfaces {
        // A name cannot hold a slash, but a list may come from elsewhere.
        if interface.name.contains('/') || interface.name.starts_with('.') {
            continue;
        }
        let folder = class.join(&interface.name);
        // A driver that knows none answers -1, or an error.
        let speed = std::fs::read_to_string(folder.join("speed")).ok();
        let mbps = speed.and_then(|text| text.trim().parse::<u32>().ok()).filter(|mbps| *mbps < u32::MAX);
        interface.speed_bps = mbps.filter(|mbps| *mbps > 0).map(|mbps| u64::from(mbps) * 1_000_000);
        let duplex = std::fs::read_to_string(folder.join("duplex")).ok();
        interface.full_duplex = match duplex.as_deref().map(str::trim) {
            Some("full") => Some(true),
            Some("half") => Some(false),
            _ => None,
        };
    }
}

const ATTRIBUTE_ADDRESS: u16 = 1;
const ATTRIBUTE_NAME: u16 = 3;
const ATTRIBUTE_MTU: u16 = 4;
const ATTRIBUTE_LINK: u16 = 5;
const ATTRIBUTE_MASTER: u16 = 10;
const ATTRIBUTE_LINK_INFO: u16 = 18;
const ATTRIBUTE_STATS64: u16 = 23;
const ATTRIBUTE_PROMISCUITY: u16 = 30;
const ATTRIBUTE_LINK_NAMESPACE: u16 = 37;
const INFO_KIND: u16 = 1;
/// `ARPHRD_LOOPBACK`
const HARDWARE_LOOPBACK: u16 = 772;
/// `ARPHRD_ETHER`
const HARDWARE_ETHERNET: u16 = 1;
/// `AF_UNSPEC`: a bridge tells of its ports in messages of its own family, without most attributes.
const FAMILY_ANY: u8 = 0;

fn change(message: Message<'_>) -> Option<Change> {
    match message.kind {
        netlink::NEW_LINK => link(message.body).map(Change::Link),
        // A bridge's notice that a port has left it is not the end of the interface.
        netlink::DELETED_LINK if message.body.first() == Some(&FAMILY_ANY) => {
            u32_at(message.body, 4).map(Change::Gone)
        }
        _ => None,
    }
}

/// Reads the body of an `RTM_NEWLINK`: `ifinfomsg` and attributes.
fn link(body: &[u8]) -> Option<Interface> {
    if body.first() != Some(&FAMILY_ANY) {
        return None;
    }
    let hardware = u16_at(body, 2)?;
    let mut interface =
        Interface { index: u32_at(body, 4)?, flags: u32_at(body, 8)?, ..Interface::default() };
    let mut made_by = None;
    for (kind, value) in Attributes::new(body.get(16..)?) {
        match kind {
            ATTRIBUTE_NAME => interface.name = text(value),
            ATTRIBUTE_ADDRESS => interface.mac = mac(value).filter(|_| hardware == HARDWARE_ETHERNET),
            ATTRIBUTE_MTU => interface.mtu = u32_at(value, 0)?,
            ATTRIBUTE_LINK => interface.link = u32_at(value, 0).filter(|index| *index != 0),
            ATTRIBUTE_MASTER => interface.master = u32_at(value, 0).filter(|index| *index != 0),
            ATTRIBUTE_PROMISCUITY => interface.promiscuity = u32_at(value, 0)?,
            ATTRIBUTE_LINK_NAMESPACE => {
                interface.link_namespace = u32_at(value, 0).map(u32::cast_signed);
            }
            ATTRIBUTE_STATS64 => interface.counters = counters(value)?,
            ATTRIBUTE_LINK_INFO => {
                made_by =
                    Attributes::new(value).find(|(kind, _)| *kind == INFO_KIND).map(|(_, kind)| text(kind));
            }
            _ => {}
        }
    }
    interface.kind = kind(hardware, made_by.as_deref());
    Some(interface)
}

fn kind(hardware: u16, made_by: Option<&str>) -> Kind {
    match made_by {
        _ if hardware == HARDWARE_LOOPBACK => Kind::Loopback,
        None if hardware == HARDWARE_ETHERNET => Kind::Physical,
        Some("bridge") => Kind::Bridge,
        Some("veth") => Kind::Veth,
        Some("bond" | "team") => Kind::Bond,
        Some("vlan") => Kind::Vlan,
        Some("macvlan" | "macvtap" | "ipvlan" | "ipvtap") => Kind::Macvlan,
        _ => Kind::Virtual,
    }
}

/// Text up to its NUL.
fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

fn mac(value: &[u8]) -> Option<Mac> {
    <[u8; 6]>::try_from(value).ok().filter(|bytes| *bytes != [0; 6]).map(Mac)
}

pub(crate) fn counters(value: &[u8]) -> Option<Counters> {
    let counter = |place: usize| u64_at(value, place * 8);
    Some(Counters {
        rx_packets: counter(0)?,
        tx_packets: counter(1)?,
        rx_bytes: counter(2)?,
        tx_bytes: counter(3)?,
        rx_errors: counter(4)?,
        tx_errors: counter(5)?,
        rx_dropped: counter(6)?,
        tx_dropped: counter(7)?,
        multicast: counter(8)?,
    })
}

const ADDRESS_ADDRESS: u16 = 1;
const ADDRESS_LOCAL: u16 = 2;
const ADDRESS_FLAGS: u16 = 8;
const FLAG_SECONDARY: u32 = 0x01;
const FLAG_DAD_FAILED: u32 = 0x08;
const FLAG_DEPRECATED: u32 = 0x20;
const FLAG_TENTATIVE: u32 = 0x40;

/// Reads an `RTM_NEWADDR`: the index of its interface and the address.
fn address(message: Message<'_>) -> Option<(u32, Address)> {
    let (family, prefix, short_flags, scope) = match message.body {
        [family, prefix, flags, scope, ..] if message.kind == netlink::NEW_ADDRESS => {
            (*family, *prefix, *flags, *scope)
        }
        _ => return None,
    };
    let (mut ip, mut local, mut flags) = (None, None, u32::from(short_flags));
    for (kind, value) in Attributes::new(message.body.get(8..)?) {
        match kind {
            ADDRESS_ADDRESS => ip = ip_of(family, value),
            ADDRESS_LOCAL => local = ip_of(family, value),
            ADDRESS_FLAGS => flags = u32_at(value, 0)?,
            _ => {}
        }
    }
    // On a point-to-point interface the address is the other side's, the local one ours.
    let ip = local.or(ip)?;
    Some((
        u32_at(message.body, 4)?,
        Address {
            ip,
            prefix,
            scope,
            temporary: ip.is_ipv6() && flags & FLAG_SECONDARY != 0,
            secondary: ip.is_ipv4() && flags & FLAG_SECONDARY != 0,
            deprecated: flags & FLAG_DEPRECATED != 0,
            tentative: flags & (FLAG_TENTATIVE | FLAG_DAD_FAILED) != 0,
        },
    ))
}

fn ip_of(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        2 => <[u8; 4]>::try_from(value).ok().map(|bytes| Ipv4Addr::from(bytes).into()),
        10 => <[u8; 16]>::try_from(value).ok().map(|bytes| Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_of_this_machine() {
        let mut interfaces = list(open().unwrap()).unwrap();
        add_speeds(&mut interfaces, Path::new("/sys/class/net"));
        let loopback = interfaces.iter().find(|interface| interface.kind == Kind::Loopback).unwrap();
        assert_eq!((loopback.index, loopback.name.as_str(), loopback.mac), (1, "lo", None));
        assert!(loopback.has(LOOPBACK));
        assert_eq!(loopback.mtu, 65536);
        assert_eq!(loopback.speed_bps, None);
        let ours =
            loopback.addresses.iter().find(|address| address.ip == IpAddr::from([127, 0, 0, 1])).unwrap();
        assert_eq!((ours.prefix, ours.scope, ours.tentative), (8, 254, false));
    }

    /// A message from its type, fixed header and attributes.
    fn message(kind: u16, header: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = header.to_vec();
        for (kind, value) in attributes {
            body.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut bytes = u32::try_from(body.len() + 16).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    fn ifinfo(family: u8, hardware: u16, index: u32, flags: u32) -> Vec<u8> {
        let mut header = vec![family, 0];
        header.extend(hardware.to_ne_bytes());
        header.extend(index.to_ne_bytes());
        header.extend(flags.to_ne_bytes());
        header.extend([0; 4]);
        header
    }

    #[test]
    fn a_veth_of_a_bridge() {
        let stats: Vec<u8> = (1..=24u64).flat_map(u64::to_ne_bytes).collect();
        let bytes = message(
            netlink::NEW_LINK,
            &ifinfo(0, 1, 7, UP | RUNNING),
            &[
                (ATTRIBUTE_NAME, b"veth1a2b\0"),
                (ATTRIBUTE_ADDRESS, &[2, 0x42, 1, 2, 3, 4]),
                (ATTRIBUTE_MTU, &1500u32.to_ne_bytes()),
                (ATTRIBUTE_LINK, &6u32.to_ne_bytes()),
                (ATTRIBUTE_LINK_NAMESPACE, &3u32.to_ne_bytes()),
                (ATTRIBUTE_MASTER, &4u32.to_ne_bytes()),
                (ATTRIBUTE_PROMISCUITY, &1u32.to_ne_bytes()),
                (ATTRIBUTE_STATS64, &stats),
                // Nested, and marked as such.
                (ATTRIBUTE_LINK_INFO | 0x8000, &[9, 0, 1, 0, b'v', b'e', b't', b'h', 0, 0, 0, 0]),
            ],
        );
        let found: Vec<Change> = changes(&bytes).collect();
        let expected = Interface {
            index: 7,
            name: "veth1a2b".to_owned(),
            kind: Kind::Veth,
            mac: Some(Mac([2, 0x42, 1, 2, 3, 4])),
            flags: UP | RUNNING,
            mtu: 1500,
            master: Some(4),
            link: Some(6),
            link_namespace: Some(3),
            promiscuity: 1,
            counters: Counters {
                rx_packets: 1,
                tx_packets: 2,
                rx_bytes: 3,
                tx_bytes: 4,
                rx_errors: 5,
                tx_errors: 6,
                rx_dropped: 7,
                tx_dropped: 8,
                multicast: 9,
            },
            ..Interface::default()
        };
        assert_eq!(found, [Change::Link(expected)]);
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_not_gone() {
        let gone = |family| message(netlink::DELETED_LINK, &ifinfo(family, 1, 7, 0), &[]);
        assert_eq!(changes(&gone(0)).collect::<Vec<_>>(), [Change::Gone(7)]);
        assert_eq!(changes(&gone(7)).count(), 0);
        let all = message(netlink::NEW_LINK, &ifinfo(7, 1, 7, 0), &[]);
        assert_eq!(changes(&all).count(), 0);
    }

    #[test]
    fn the_local_address_of_a_point_to_point_interface_is_ours() {
        let bytes = message(
            netlink::NEW_ADDRESS,
            &[2, 32, 0x80, 0, 9, 0, 0, 0],
            &[(ADDRESS_ADDRESS, &[10, 0, 0, 2]), (ADDRESS_LOCAL, &[10, 0, 0, 1])],
        );
        let (index, found) = address(Messages::new(&bytes).next().unwrap()).unwrap();
        assert_eq!((index, found.ip, found.prefix, found.scope), (9, IpAddr::from([10, 0, 0, 1]), 32, 0));
        let six = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let bytes = message(
            netlink::NEW_ADDRESS,
            &[10, 64, 0, 0, 9, 0, 0, 0],
            &[(ADDRESS_ADDRESS, &six), (ADDRESS_FLAGS, &0x121u32.to_ne_bytes())],
        );
        let (_, found) = address(Messages::new(&bytes).next().unwrap()).unwrap();
        assert!(found.temporary && found.deprecated && !found.secondary && !found.tentative);
    }

    #[test]
    fn a_message_cut_anywhere_is_no_panic() {
        let bytes = message(
            netlink::NEW_LINK,
            &ifinfo(0, 1, 7, 0),
            &[(ATTRIBUTE_STATS64, &[1; 192]), (ATTRIBUTE_NAME, b"x\0"), (ATTRIBUTE_MTU, &[1])],
        );
        for end in 0..=bytes.len() {
            let mut cut = bytes[..end].to_vec();
            assert_eq!(changes(&cut).count(), 0, "its MTU has one byte");
            if let Some(length) = cut.get_mut(..4) {
                length.copy_from_slice(&u32::try_from(end).unwrap().to_ne_bytes());
            }
            changes(&cut).for_each(drop);
        }
    }
}
