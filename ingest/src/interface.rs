//! What the kernel says of a network interface: its driver, queues, rings, addresses, and what it can do for XDP.
//!
//! All of it is asked by netlink, in the network namespace of the calling thread; what a kernel or a driver does not
//! tell is `None`. Nothing is changed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::netlink::{self, Attributes, GENERIC_HEADER, Message, u16_at, u32_at, u64_at};

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its ifIndex.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is set up.
    pub up: bool,
    /// Whether it is the loopback.
    pub loopback: bool,
    /// Largest packet, bytes.
    pub mtu: u32,
    /// Its Ethernet address; `None` where frames have no Ethernet header.
    pub ethernet: Option<[u8; 6]>,
    /// The driver: that of its device, or the kind of an interface without one (`veth`, `bridge`).
    pub driver: Option<String>,
    /// Receive queues that are in use.
    pub queues: u32,
    /// Its channels, where the driver has a say in them.
    pub channels: Option<Channels>,
    /// Its receive rings, likewise.
    pub rings: Option<Rings>,
    /// The XDP program that is attached.
    pub attached: Option<Attached>,
    /// What its driver can do for XDP; kernels before 6.3 do not say.
    pub features: Option<Features>,
}

/// How many queues an interface has and may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    /// Pairs of a receive and a send queue.
    pub combined: u32,
    /// The most of them.
    pub combined_max: u32,
    /// Queues that only receive.
    pub receive: u32,
    /// The most of them.
    pub receive_max: u32,
}

/// Descriptors of each receive ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rings {
    /// In use.
    pub receive: u32,
    /// The most.
    pub receive_max: u32,
}

/// An XDP program that an interface has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// `native`, `generic`, `offloaded` or `several`.
    pub mode: &'static str,
    /// The program's id, for `bpftool prog show id`.
    pub program: Option<u32>,
}

/// What a driver can do for XDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(pub u64);

impl Features {
    /// Runs programs itself, before the kernel makes a packet of a frame (`NETDEV_XDP_ACT_BASIC`).
    pub fn native(self) -> bool {
        self.0 & 1 != 0
    }

    /// Redirects frames (`NETDEV_XDP_ACT_REDIRECT`), which AF_XDP needs.
    pub fn redirect(self) -> bool {
        self.0 & 2 != 0
    }

    /// Receives into the memory of a socket (`NETDEV_XDP_ACT_XSK_ZEROCOPY`).
    pub fn zero_copy(self) -> bool {
        self.0 & 8 != 0
    }

    /// Gives frames of several buffers to a program (`NETDEV_XDP_ACT_RX_SG`), for a large MTU.
    pub fn multi_buffer(self) -> bool {
        self.0 & 32 != 0
    }
}

/// What is known of an interface by its name.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] when there is none, and what the kernel says otherwise.
pub fn read(name: &str) -> io::Result<Interface> {
    let socket = netlink::open(0)?;
    let found = netlink::dump(&socket, netlink::GET_LINK, |found: &mut Option<Interface>, message| {
        if let Some(interface) = link(message).filter(|interface| interface.name == name) {
            *found = Some(interface);
        }
    })?;
    let mut interface = found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    // A kernel without these families tells less.
    if let Ok(generic) = netlink::open_generic() {
        if let Ok(ethtool) = netlink::family(&generic, "ethtool") {
            let words = |command| ethtool_words(&generic, ethtool, command, interface.index);
            interface.channels = words(CHANNELS_GET).map(|word| Channels {
                combined: word(9),
                combined_max: word(5),
                receive: word(6),
                receive_max: word(2),
            });
            interface.rings = words(RINGS_GET).map(|word| Rings { receive: word(6), receive_max: word(2) });
        }
        if let Ok(netdev) = netlink::family(&generic, "netdev") {
            interface.features = features(&generic, netdev, interface.index);
        }
    }
    if let Some(channels) = interface.channels.filter(|told| told.combined + told.receive > 0) {
        interface.queues = channels.combined + channels.receive;
    } else if let Some(queues) = queues_of_sysfs(name) {
        interface.queues = queues;
    }
    Ok(interface)
}

/// The ifIndex and the Ethernet address of an interface, if it has one: by these it is known to be the same.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] when there is none of this name, and what the kernel says otherwise.
pub fn identity(name: &str) -> io::Result<(u32, Option<[u8; 6]>)> {
    /// `IFLA_ADDRESS` and `IFLA_IFNAME`.
    const ADDRESS: u16 = 1;
    const NAME: u16 = 3;
    let mut question = vec![0; 16];
    netlink::attribute(&mut question, NAME, &[name.as_bytes(), &[0]].concat());
    let answer = match netlink::ask(netlink::open(0)?, netlink::GET_LINK, &question) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Err(io::ErrorKind::NotFound.into()),
        answer => answer,
    }?;
    let index = u32_at(&answer, 4).ok_or(io::ErrorKind::InvalidData)?;
    let mut told = Attributes::new(answer.get(16..).unwrap_or_default());
    let address = told.find(|(kind, _)| *kind == ADDRESS).and_then(|(_, value)| value.try_into().ok());
    Ok((index, address))
}

/// The names of all interfaces.
///
/// # Errors
/// What the kernel says.
pub fn names() -> io::Result<Vec<String>> {
    netlink::dump(netlink::open(0)?, netlink::GET_LINK, |found: &mut Vec<String>, message| {
        found.extend(link(message).map(|interface| interface.name));
    })
}

/// All addresses of this network namespace that are not loopback ones, whichever interface they are at: what comes to a
/// VLAN's address comes through the interface beneath.
///
/// # Errors
/// What the kernel says.
pub fn addresses() -> io::Result<Vec<IpAddr>> {
    let mut found =
        netlink::dump(netlink::open(0)?, netlink::GET_ADDRESS, |found: &mut Vec<IpAddr>, message| {
            found.extend(address(message).filter(|address| !address.is_loopback()));
        })?;
    found.sort();
    found.dedup();
    Ok(found)
}

/// Commands of the family `ethtool`.
const RINGS_GET: u8 = 15;
const CHANNELS_GET: u8 = 17;

/// An answer of the family `ethtool` whose attributes are words, or why there is none: the driver has no say.
fn ethtool_words(
    socket: &std::os::fd::OwnedFd,
    family: u16,
    command: u8,
    index: u32,
) -> Option<impl Fn(u16) -> u32 + use<>> {
    /// The header is the first attribute of each question, nested; the index the first in it.
    const NESTED: u16 = 1 | 0x8000;
    let mut header = Vec::new();
    netlink::attribute(&mut header, 1, &index.to_ne_bytes());
    let mut question = netlink::generic(command);
    netlink::attribute(&mut question, NESTED, &header);
    let answer = netlink::ask(socket, family, &question).ok()?;
    Some(move |wanted: u16| {
        let mut told = Attributes::new(answer.get(GENERIC_HEADER..).unwrap_or_default());
        told.find(|(kind, _)| *kind == wanted).and_then(|(_, value)| u32_at(value, 0)).unwrap_or(0)
    })
}

fn features(socket: &std::os::fd::OwnedFd, family: u16, index: u32) -> Option<Features> {
    const DEVICE_GET: u8 = 1;
    const IFINDEX: u16 = 1;
    const XDP_FEATURES: u16 = 3;
    let mut question = netlink::generic(DEVICE_GET);
    netlink::attribute(&mut question, IFINDEX, &index.to_ne_bytes());
    let answer = netlink::ask(socket, family, &question).ok()?;
    let mut told = Attributes::new(answer.get(GENERIC_HEADER..)?);
    let (_, value) = told.find(|(kind, _)| *kind == XDP_FEATURES)?;
    u64_at(value, 0).map(Features)
}

/// An interface as route netlink tells it: after a head of 16 bytes its attributes.
fn link(message: Message<'_>) -> Option<Interface> {
    /// `IFLA_...`
    const ADDRESS: u16 = 1;
    const NAME: u16 = 3;
    const MTU: u16 = 4;
    const LINK_INFO: u16 = 18;
    const RECEIVE_QUEUES: u16 = 32;
    const XDP: u16 = 43;
    const PARENT: u16 = 56;
    const PARENT_BUS: u16 = 57;
    const UP: u32 = 0x1;
    const LOOPBACK: u32 = 0x8;
    /// `ARPHRD_ETHER`, and `ARPHRD_LOOPBACK`, whose frames have the header too.
    const ETHERNET: [u16; 2] = [1, 772];
    if message.kind != netlink::NEW_LINK {
        return None;
    }
    let has_header = ETHERNET.contains(&u16_at(message.body, 2)?);
    let flags = u32_at(message.body, 8)?;
    let mut interface = Interface {
        index: u32_at(message.body, 4)?,
        up: flags & UP != 0,
        loopback: flags & LOOPBACK != 0,
        ..Interface::default()
    };
    let (mut parent, mut bus, mut kind) = (None, None, None);
    for (attribute, value) in Attributes::new(message.body.get(16..)?) {
        match attribute {
            ADDRESS if has_header => interface.ethernet = value.try_into().ok(),
            NAME => interface.name = text(value),
            MTU => interface.mtu = u32_at(value, 0)?,
            RECEIVE_QUEUES => interface.queues = u32_at(value, 0)?,
            LINK_INFO => {
                kind = Attributes::new(value).find(|(kind, _)| *kind == 1).map(|(_, name)| text(name))
            }
            XDP => interface.attached = attached(value),
            PARENT => parent = Some(text(value)),
            PARENT_BUS => bus = Some(text(value)),
            _ => {}
        }
    }
    let device = parent.zip(bus).and_then(|(parent, bus)| driver_of(&bus, &parent));
    interface.driver = device.or(kind);
    Some(interface)
}

fn attached(value: &[u8]) -> Option<Attached> {
    /// `IFLA_XDP_ATTACHED` and `IFLA_XDP_PROG_ID`.
    const ATTACHED: u16 = 2;
    const PROGRAM: u16 = 4;
    let find = |wanted| Attributes::new(value).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let mode = match find(ATTACHED)?.first()? {
        1 => "native",
        2 => "generic",
        3 => "offloaded",
        4 => "several",
        _ => return None,
    };
    Some(Attached { mode, program: find(PROGRAM).and_then(|value| u32_at(value, 0)) })
}

/// The driver that a device on a bus is bound to.
fn driver_of(bus: &str, device: &str) -> Option<String> {
    let link = std::fs::read_link(format!("/sys/bus/{bus}/devices/{device}/driver")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

/// The queues of an interface of which no driver tells; `/sys` shows the namespace that it was mounted in.
fn queues_of_sysfs(name: &str) -> Option<u32> {
    let files = std::fs::read_dir(format!("/sys/class/net/{name}/queues")).ok()?;
    let receive = |file: &std::fs::DirEntry| file.file_name().as_encoded_bytes().starts_with(b"rx-");
    u32::try_from(files.flatten().filter(receive).count()).ok().filter(|queues| *queues > 0)
}

/// An address: of a point-to-point link the own one, which is told apart.
fn address(message: Message<'_>) -> Option<IpAddr> {
    /// `IFA_ADDRESS` and `IFA_LOCAL`.
    const ADDRESS: u16 = 1;
    const LOCAL: u16 = 2;
    if message.kind != netlink::NEW_ADDRESS {
        return None;
    }
    let told = || Attributes::new(message.body.get(8..).unwrap_or_default());
    let find = |wanted| told().find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let value = find(LOCAL).or_else(|| find(ADDRESS))?;
    if let Ok(v4) = <[u8; 4]>::try_from(value) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(value).ok().map(|v6| Ipv6Addr::from(v6).into())
}

/// A name, which ends with a zero byte.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_known_and_what_is_not_there_is_said() {
        let loopback = read("lo").unwrap();
        assert!(loopback.loopback && loopback.index > 0 && loopback.queues > 0, "{loopback:?}");
        assert_eq!(loopback.ethernet, Some([0; 6]));
        assert!(names().unwrap().contains(&"lo".to_owned()));
        assert_eq!(read("no such one").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(identity("lo").unwrap(), (loopback.index, Some([0; 6])));
        assert_eq!(identity("no_such_one").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(addresses().unwrap().iter().all(|address| !address.is_loopback()));
    }

    #[test]
    fn messages_cut_anywhere_are_read_without_harm() {
        let mut body = [0_u16.to_ne_bytes(), 1_u16.to_ne_bytes()].concat();
        for word in [7_u32, 1, 0] {
            body.extend(word.to_ne_bytes());
        }
        netlink::attribute(&mut body, 1, &[2, 0, 0, 0, 0, 7]);
        netlink::attribute(&mut body, 3, b"eth7\0");
        netlink::attribute(&mut body, 4, &1500_u32.to_ne_bytes());
        netlink::attribute(&mut body, 32, &4_u32.to_ne_bytes());
        let mut xdp = Vec::new();
        netlink::attribute(&mut xdp, 2, &[1]);
        netlink::attribute(&mut xdp, 4, &99_u32.to_ne_bytes());
        netlink::attribute(&mut body, 43, &xdp);
        let message = |body| Message { kind: netlink::NEW_LINK, flags: 0, body };
        let whole = link(message(&body)).unwrap();
        let attached = Some(Attached { mode: "native", program: Some(99) });
        let ethernet = Some([2, 0, 0, 0, 0, 7]);
        let expected = Interface {
            index: 7,
            up: true,
            mtu: 1500,
            queues: 4,
            attached,
            ethernet,
            ..Interface::default()
        };
        assert_eq!(whole, Interface { name: "eth7".to_owned(), ..expected });
        // A tunnel of IP has an address of another kind.
        let mut tunnel = body.clone();
        tunnel[2..4].copy_from_slice(&776_u16.to_ne_bytes());
        assert_eq!(link(message(&tunnel)).unwrap().ethernet, None);
        for cut in 0..body.len() {
            let _ = link(message(&body[..cut]));
        }
        let address_of = |body| address(Message { kind: netlink::NEW_ADDRESS, flags: 0, body });
        let mut body = vec![2, 24, 0, 0, 7, 0, 0, 0];
        netlink::attribute(&mut body, 1, &[192, 0, 2, 2]);
        netlink::attribute(&mut body, 2, &[192, 0, 2, 1]);
        assert_eq!(address_of(&body), Some([192, 0, 2, 1].into()));
        assert_eq!(address_of(&body[..10]), None);
    }
}
