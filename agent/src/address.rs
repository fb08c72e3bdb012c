//! Which of a host's addresses is the agent's: the rule that manual/agent.md publishes. Pure, and the same whatever the
//! order of interfaces and addresses.
//!
//! Candidates are compared by these, the first that differs decides:
//! 1. the networks that the settings prefer or avoid;
//! 2. the interface: others before what is inside the host (bridges without a port towards the network, the host's ends of
//!    containers' pairs), before the loopback;
//! 3. an address that is known beyond its link before one that is not: a card that is a port of a virtual switch has
//!    such a one alone, and the host's is the switch's;
//! 4. an interface towards the network before a tunnel or other virtual one;
//! 5. a steady address before one that is temporary or deprecated; a tentative one is none;
//! 6. an interface that can carry packets before one that cannot;
//! 7. the address: public IPv4, private IPv4, global IPv6, unique local IPv6, those of VLANs, link-local IPv4, link-local
//!    IPv6;
//! 8. a network's first address before its further ones;
//! 9. the interface with the lower index, then the smaller address.
//!
//! An address that the agent has is kept, unless another is better by one of the first five.

use std::net::{IpAddr, Ipv4Addr};

use crate::interfaces::{Address, Interface, Kind, RUNNING, UP};
use crate::settings::{AgentAddress, Network};

/// The agent's address: what the settings say, else the one that it has while that is good enough, else the rule's.
///
/// # Errors
/// The settings name an interface that is not there or has no address, or the host has none at all.
pub fn find(
    settings: &AgentAddress,
    interfaces: &[Interface],
    current: Option<IpAddr>,
) -> Result<IpAddr, NoAddress> {
    if let Some(address) = settings.address {
        return Ok(address);
    }
    let of_device =
        |interface: &&Interface| settings.device.as_ref().is_none_or(|name| *name == interface.name);
    let candidates: Vec<Candidate> = interfaces
        .iter()
        .filter(of_device)
        .flat_map(|interface| interface.addresses.iter().map(move |address| (interface, address)))
        .filter(|(_, address)| !address.tentative && !address.ip.is_unspecified())
        .map(|(interface, address)| Candidate::new(&settings.networks, interfaces, interface, address))
        .collect();
    let best = candidates.iter().min();
    let kept = candidates.iter().filter(|candidate| Some(candidate.ip) == current).min();
    let kept = kept.zip(best).filter(|(kept, best)| kept.standing <= best.standing).map(|(kept, _)| kept);
    kept.or(best).map(|candidate| candidate.ip).ok_or_else(|| match &settings.device {
        Some(name) if interfaces.iter().any(|interface| interface.name == *name) => {
            NoAddress::OfDevice { name: name.clone() }
        }
        Some(name) => NoAddress::Device { name: name.clone() },
        None => NoAddress::Any,
    })
}

/// Why there is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAddress {
    /// The interface is not there.
    #[error(
        "there is no interface {name:?}, whose address is to be the agent's: name another (agent.device)"
    )]
    Device {
        /// Its name.
        name: String,
    },
    /// The interface has none.
    #[error(
        "interface {name:?} has no address that could be the agent's: give the agent one (--agent ADDRESS)"
    )]
    OfDevice {
        /// Its name.
        name: String,
    },
    /// The host has none.
    #[error("this host has no IP address that could be the agent's: give the agent one (--agent ADDRESS)")]
    Any,
}

impl Network {
    /// Whether the address is in the network.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => (u128::from(ip.to_bits()) << 96, true),
            IpAddr::V6(ip) => (ip.to_bits(), false),
        };
        let ((ours, four), (theirs, also_four)) = (bits(self.ip), bits(ip));
        let differ = ours ^ theirs;
        four == also_four && differ.checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
    }
}

/// An address that could be the agent's, ordered by the rule: less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    standing: Standing,
    down: bool,
    reach: u8,
    secondary: bool,
    index: u32,
    ip: IpAddr,
}

/// By what an address is so much better than another that it takes its place while both are there. When a host starts,
/// the agent may find nothing but the loopback, a bridge of containers or a link-local address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    preference: usize,
    inside: u8,
    link_local: bool,
    virtual_only: bool,
    unsteady: bool,
}

impl Candidate {
    fn new(networks: &[Network], interfaces: &[Interface], interface: &Interface, address: &Address) -> Self {
        let reach = reach(address.ip, interface.kind);
        let place = if address.ip.is_loopback() { 3 } else { place(interfaces, interface) };
        Self {
            standing: Standing {
                preference: preference(networks, address.ip),
                inside: place.saturating_sub(1),
                link_local: reach >= LINK_LOCAL,
                virtual_only: place == 1,
                unsteady: address.temporary || address.deprecated,
            },
            down: !interface.has(UP | RUNNING),
            reach,
            secondary: address.secondary,
            index: interface.index,
            ip: address.ip,
        }
    }
}

/// The place of an address's network among those that the settings name; of several that hold it the last one counts.
fn preference(networks: &[Network], ip: IpAddr) -> usize {
    match networks.iter().enumerate().rev().find(|(_, network)| network.contains(ip)) {
        Some((_, network)) if network.avoided => usize::MAX,
        Some((place, _)) => place,
        None => networks.len(),
    }
}

/// How far from the network an interface is.
fn place(interfaces: &[Interface], interface: &Interface) -> u8 {
    match interface.kind {
        Kind::Physical | Kind::Bond | Kind::Vlan | Kind::Macvlan => 0,
        // A veth that is no port of anything is how a container that runs the agent sees its network.
        Kind::Veth if interface.master.is_none() => 1,
        Kind::Virtual => 1,
        Kind::Bridge => {
            let outward = interfaces.iter().any(|port| {
                port.master == Some(interface.index) && !matches!(port.kind, Kind::Veth | Kind::Virtual)
            });
            if outward { 0 } else { 2 }
        }
        Kind::Veth => 2,
        Kind::Loopback => 3,
    }
}

/// The least of what [`reach`] gives for addresses that are not known beyond their link.
const LINK_LOCAL: u8 = 6;

fn reach(ip: IpAddr, kind: Kind) -> u8 {
    match ip {
        IpAddr::V4(ip) if ip.is_link_local() => LINK_LOCAL,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => LINK_LOCAL + 1,
        IpAddr::V4(_) if kind == Kind::Vlan => 4,
        IpAddr::V6(_) if kind == Kind::Vlan => 5,
        IpAddr::V4(ip) if ip.is_private() || is_shared(ip) => 1,
        IpAddr::V4(_) => 0,
        IpAddr::V6(ip) if ip.is_unique_local() => 3,
        IpAddr::V6(_) => 2,
    }
}

/// Between a provider and its customers (RFC 6598).
fn is_shared(ip: Ipv4Addr) -> bool {
    matches!(ip.octets(), [100, second, ..] if second & 0xc0 == 64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn interface(index: u32, name: &str, kind: Kind, addresses: &[&str]) -> Interface {
        Interface {
            index,
            name: name.to_owned(),
            kind,
            flags: UP | RUNNING,
            addresses: addresses.iter().map(|text| address(text)).collect(),
            ..Interface::default()
        }
    }

    /// An address, with `!temporary`, `!deprecated`, `!tentative` or `!secondary` behind it.
    fn address(text: &str) -> Address {
        let (ip, mark) = text.split_once('!').unwrap_or((text, ""));
        assert!(["", "temporary", "deprecated", "tentative", "secondary"].contains(&mark));
        Address {
            ip: ip.parse().unwrap(),
            prefix: 24,
            scope: 0,
            temporary: mark == "temporary",
            secondary: mark == "secondary",
            deprecated: mark == "deprecated",
            tentative: mark == "tentative",
        }
    }

    fn lo() -> Interface {
        interface(1, "lo", Kind::Loopback, &["127.0.0.1", "::1"])
    }

    fn eth0(addresses: &[&str]) -> Interface {
        interface(2, "eth0", Kind::Physical, addresses)
    }

    fn docker0() -> Interface {
        interface(3, "docker0", Kind::Bridge, &["172.17.0.1", "fe80::42"])
    }

    fn veth() -> Interface {
        Interface { master: Some(3), ..interface(9, "veth12", Kind::Veth, &["8.8.4.4", "fe80::1"]) }
    }

    /// The choice, which must be the same in every order of interfaces and addresses.
    fn chosen(mut interfaces: Vec<Interface>) -> String {
        let choose = |interfaces: &[Interface]| find(&AgentAddress::default(), interfaces, None).ok();
        let first = choose(&interfaces);
        for _ in 0..interfaces.len() {
            interfaces.rotate_left(1);
            for interface in &mut interfaces {
                interface.addresses.reverse();
            }
            assert_eq!(choose(&interfaces), first, "{interfaces:#?}");
        }
        first.map(|ip| ip.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_published_rule() {
        let down = |interface: Interface| Interface { flags: UP, ..interface };
        let br0 = || interface(4, "br0", Kind::Bridge, &["10.0.0.7"]);
        let port = |name: &str, kind| Interface { master: Some(4), ..interface(5, name, kind, &[]) };
        for (what, interfaces, expected) in [
            ("nothing at all", vec![], ""),
            ("only the loopback", vec![lo()], "127.0.0.1"),
            ("a docker bridge before the loopback", vec![lo(), docker0()], "172.17.0.1"),
            (
                "a private address before docker's and a veth's",
                vec![lo(), eth0(&["10.0.0.5"]), docker0(), veth()],
                "10.0.0.5",
            ),
            ("even a link-local one", vec![eth0(&["fe80::5"]), docker0(), lo()], "fe80::5"),
            ("even on an interface that is down", vec![down(eth0(&["10.0.0.5"])), docker0()], "10.0.0.5"),
            ("public IPv4 first", vec![eth0(&["10.0.0.5", "192.0.2.1", "2001:db8::5"])], "192.0.2.1"),
            ("private IPv4 before global IPv6", vec![eth0(&["10.0.0.5", "2001:db8::5"])], "10.0.0.5"),
            (
                "a provider's shared range is private",
                vec![eth0(&["100.64.0.5", "198.51.100.1"])],
                "198.51.100.1",
            ),
            ("beyond the shared range is public", vec![eth0(&["100.128.0.5", "10.0.0.1"])], "100.128.0.5"),
            ("global before unique local", vec![eth0(&["fd00::5", "2001:db8::5", "fe80::5"])], "2001:db8::5"),
            ("unique local before link-local", vec![eth0(&["fd00::5", "169.254.0.5", "fe80::5"])], "fd00::5"),
            ("IPv4 before IPv6 among link-local", vec![eth0(&["169.254.0.5", "fe80::5"])], "169.254.0.5"),
            ("steady before temporary", vec![eth0(&["2001:db8::bad!temporary", "fd00::5"])], "fd00::5"),
            (
                "steady before deprecated",
                vec![eth0(&["2001:db8::bad!deprecated", "2001:db8::5"])],
                "2001:db8::5",
            ),
            (
                "temporary if there is nothing else",
                vec![eth0(&["2001:db8::bad!temporary"]), lo()],
                "2001:db8::bad",
            ),
            ("tentative never", vec![eth0(&["2001:db8::bad!tentative"]), lo()], "127.0.0.1"),
            ("first before secondary", vec![eth0(&["10.0.0.1!secondary", "10.0.0.9"])], "10.0.0.9"),
            ("the smaller of equals", vec![eth0(&["10.0.0.9", "10.0.0.10"])], "10.0.0.9"),
            (
                "what is up before a public address that cannot carry packets",
                vec![down(eth0(&["192.0.2.1"])), interface(7, "eth1", Kind::Physical, &["10.0.0.5"])],
                "10.0.0.5",
            ),
            (
                "the lower index, whatever the names",
                vec![
                    interface(3, "eno1", Kind::Physical, &["10.0.0.10"]),
                    interface(2, "ens3", Kind::Physical, &["10.0.0.20"]),
                ],
                "10.0.0.20",
            ),
            (
                "a link-local address of a card that is up is less than another of one that is down",
                vec![down(eth0(&["10.0.0.5"])), interface(3, "eth1", Kind::Physical, &["fe80::7"])],
                "10.0.0.5",
            ),
            (
                "the address of a virtual switch, whose port has a link-local one",
                vec![
                    eth0(&["fe80::5"]),
                    interface(7, "br-ex", Kind::Virtual, &["10.0.0.5", "fe80::7"]),
                    docker0(),
                ],
                "10.0.0.5",
            ),
            (
                "a private address before a public one of a VLAN",
                vec![eth0(&["10.0.0.5"]), interface(3, "eth0.7", Kind::Vlan, &["192.0.2.1"])],
                "10.0.0.5",
            ),
            (
                "that of a VLAN before a link-local one",
                vec![eth0(&["fe80::5"]), interface(3, "eth0.7", Kind::Vlan, &["10.7.0.1"])],
                "10.7.0.1",
            ),
            (
                "the network before a tunnel",
                vec![
                    interface(2, "wg0", Kind::Virtual, &["192.0.2.1"]),
                    interface(3, "bond0", Kind::Bond, &["10.0.0.5"]),
                ],
                "10.0.0.5",
            ),
            (
                "a bridge of virtual machines is the host's",
                vec![br0(), port("eth0", Kind::Physical), docker0()],
                "10.0.0.7",
            ),
            (
                "a bridge of containers is not",
                vec![br0(), port("veth1", Kind::Veth), interface(8, "tun0", Kind::Virtual, &["10.9.9.9"])],
                "10.9.9.9",
            ),
            (
                "the agent in a container",
                vec![lo(), interface(2, "eth0", Kind::Veth, &["172.17.0.2"])],
                "172.17.0.2",
            ),
            (
                "an address of the loopback's that is not one",
                vec![Interface { addresses: vec![address("192.0.2.9")], ..lo() }, docker0()],
                "172.17.0.1",
            ),
        ] {
            assert_eq!(chosen(interfaces), expected, "{what}");
        }
    }

    #[test]
    fn the_address_is_kept_while_it_is_there() {
        let settings = AgentAddress::default();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let interfaces = [eth0(&["10.0.0.5", "192.0.2.1"]), docker0(), lo()];
        assert_eq!(find(&settings, &interfaces, None), Ok(ip("192.0.2.1")));
        assert_eq!(find(&settings, &interfaces, Some(ip("10.0.0.5"))), Ok(ip("10.0.0.5")));
        assert_eq!(find(&settings, &interfaces, Some(ip("10.0.0.6"))), Ok(ip("192.0.2.1")), "it has gone");
        let old = [eth0(&["2001:db8::1!deprecated", "2001:db8::2"])];
        assert_eq!(find(&settings, &old, Some(ip("2001:db8::1"))), Ok(ip("2001:db8::2")), "it is deprecated");
    }

    #[test]
    fn what_a_host_has_while_it_starts_is_not_kept() {
        let settings = AgentAddress::default();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let interfaces = [lo(), docker0(), eth0(&["fe80::5", "10.0.0.5", "192.0.2.1"])];
        for early in ["127.0.0.1", "172.17.0.1", "fe80::5"] {
            assert_eq!(find(&settings, &interfaces, Some(ip(early))), Ok(ip("192.0.2.1")), "{early}");
        }
        let new = [eth0(&["2001:db8::bad!temporary", "2001:db8::5"])];
        assert_eq!(find(&settings, &new, Some(ip("2001:db8::bad"))), Ok(ip("2001:db8::5")));
        let down = [
            Interface { flags: UP, ..eth0(&["10.0.0.5"]) },
            interface(3, "eth1", Kind::Physical, &["10.1.0.5"]),
        ];
        assert_eq!(find(&settings, &down, Some(ip("10.0.0.5"))), Ok(ip("10.0.0.5")), "a cable is out");
    }

    #[test]
    fn networks_are_preferred_in_their_order_and_avoided_with_a_mark() {
        let interfaces = [eth0(&["192.0.2.1", "10.1.0.5", "10.2.0.5"]), lo()];
        for (networks, expected) in [
            (vec!["10.2.0.0/16", "10.1.0.0/16"], "10.2.0.5"),
            (vec!["10.1.0.0/16", "10.2.0.0/16"], "10.1.0.5"),
            (vec!["!192.0.2.0/24"], "10.1.0.5"),
            (vec!["10.0.0.0/8", "!10.1.0.0/16"], "10.2.0.5"),
            (vec!["!0.0.0.0/0", "!::/0"], "192.0.2.1"),
        ] {
            let networks =
                networks.iter().map(|text| crate::settings::keys::network(text).unwrap()).collect();
            let settings = AgentAddress { networks, ..AgentAddress::default() };
            assert_eq!(find(&settings, &interfaces, None), Ok(expected.parse().unwrap()), "{settings:?}");
        }
    }

    #[test]
    fn the_settings_come_before_the_rule() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let network = |ip: &str, prefix| Network { ip: ip.parse().unwrap(), prefix, avoided: false };
        let interfaces = [eth0(&["192.0.2.1", "10.0.0.5"]), docker0(), lo()];
        let mut settings = AgentAddress { networks: vec![network("10.1.2.3", 8)], ..AgentAddress::default() };
        assert_eq!(
            find(&settings, &interfaces, Some(ip("192.0.2.1"))),
            Ok(ip("10.0.0.5")),
            "preferred to the kept one"
        );
        settings.networks = vec![network("172.16.0.0", 12)];
        assert_eq!(find(&settings, &interfaces, None), Ok(ip("172.17.0.1")));
        settings.networks = vec![network("203.0.113.0", 24)];
        assert_eq!(
            find(&settings, &interfaces, None),
            Ok(ip("192.0.2.1")),
            "none is in it: a preference, not a must"
        );
        settings.device = Some("docker0".to_owned());
        assert_eq!(find(&settings, &interfaces, Some(ip("192.0.2.1"))), Ok(ip("172.17.0.1")));
        settings.device = Some("eth7".to_owned());
        assert_eq!(find(&settings, &interfaces, None), Err(NoAddress::Device { name: "eth7".to_owned() }));
        let bare = [eth0(&[])];
        settings.device = Some("eth0".to_owned());
        assert_eq!(find(&settings, &bare, None), Err(NoAddress::OfDevice { name: "eth0".to_owned() }));
        assert_eq!(find(&AgentAddress::default(), &bare, None), Err(NoAddress::Any));
        settings.address = Some(ip("203.0.113.7"));
        assert_eq!(
            find(&settings, &bare, None),
            Ok(ip("203.0.113.7")),
            "an address that is said is taken as it is"
        );
    }

    #[test]
    fn networks_contain_addresses() {
        for (network, prefix, ip, inside) in [
            ("10.0.0.0", 8, "10.255.0.1", true),
            ("10.0.0.0", 8, "11.0.0.0", false),
            ("0.0.0.0", 0, "11.0.0.0", true),
            ("0.0.0.0", 0, "::", false),
            ("10.0.0.1", 32, "10.0.0.1", true),
            ("10.0.0.1", 32, "10.0.0.2", false),
            ("2001:db8::", 32, "2001:db8:ffff::1", true),
            ("2001:db8::", 32, "2001:db9::1", false),
            ("::", 0, "2001:db9::1", true),
        ] {
            let network = Network { ip: network.parse().unwrap(), prefix, avoided: false };
            assert_eq!(network.contains(ip.parse().unwrap()), inside, "{network:?} {ip}");
        }
    }
}
