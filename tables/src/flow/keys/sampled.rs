//! What keys read: a sampled packet, an operation of an application, or a custom flow.

use std::net::{Ipv4Addr, Ipv6Addr};

use bumpalo::Bump;
use decode::flow::{self, ExtendedGateway, ExtendedRouter, ExtendedSwitch, SampledEthernet, SampledIp};
use decode::layout::{Fields, Layout, Value};
use decode::packet::{LayerKind, Packet};
use decode::rt::{FlowValue, RtFlow};
use decode::{Address, DataSource, Interface, Records, Tag};

use super::read::lossy;
use crate::flow::atom::Atom;
use crate::flow::layout::Form;
use crate::flow::learned::Learned;

/// What a sample says.
#[derive(Clone, Copy, Debug)]
pub struct Sampled<'a> {
    /// Whose sample it is.
    pub agent: &'a Address,
    /// Of which data source of the agent.
    pub source: DataSource,
    /// Where the packet came in.
    pub input: Interface,
    /// Where it went out.
    pub output: Interface,
    /// Its length on the wire, bytes.
    pub frame_length: u32,
    /// Bytes that were removed before sampling.
    pub stripped: u32,
    /// Why it was dropped, where it was.
    pub reason: Option<u32>,
    /// Its layers.
    pub packet: &'a Packet<'a>,
    /// What records say of a packet whose header was not sampled.
    pub basics: Option<&'a Basics>,
    /// The records beside the sampled header.
    pub records: Records<'a>,
    /// The body of the `extended_switch` record among them.
    pub switch: Option<&'a [u8]>,
    /// The custom flow, where it is one: nothing else is then read.
    pub custom: Option<RtFlow<'a>>,
    /// What was learned elsewhere: hosts, names, the topology.
    pub learned: &'a Learned,
    /// Where texts are made that no packet or definition holds; emptied when the sample has been taken.
    pub arena: &'a Bump,
}

/// The fields of a packet whose header was not sampled (`sampled_ethernet`, `sampled_ipv4`, `sampled_ipv6`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Basics {
    /// Of its frame.
    pub ethernet: Option<SampledEthernet>,
    /// Of its IPv4 packet.
    pub v4: Option<SampledIp<Ipv4Addr>>,
    /// Of its IPv6 packet.
    pub v6: Option<SampledIp<Ipv6Addr>>,
}

impl Basics {
    /// What the records say; `None` where there is a sampled header, or none of them.
    pub fn of(records: &Records<'_>) -> Option<Self> {
        let mut found = Self::default();
        for record in records.iter() {
            match (record.tag.enterprise(), record.tag.format()) {
                (0, 1) => return None,
                (0, 2) => found.ethernet = SampledEthernet::parse(record.body),
                (0, 3) => found.v4 = SampledIp::<Ipv4Addr>::parse(record.body),
                (0, 4) => found.v6 = SampledIp::<Ipv6Addr>::parse(record.body),
                _ => {}
            }
        }
        (found.ethernet.is_some() || found.v4.is_some() || found.v6.is_some()).then_some(found)
    }

    /// Length of the frame, or at least of the packet, bytes.
    pub fn length(&self) -> u32 {
        let ip = self.v4.map(|ip| ip.length).or_else(|| self.v6.map(|ip| ip.length));
        self.ethernet.map(|ethernet| ethernet.length).or(ip).unwrap_or(0)
    }

    /// Protocol, ports and TCP flags.
    fn transport(&self) -> Option<(u32, u32, u32, u32)> {
        fn of<A>(ip: &SampledIp<A>) -> (u32, u32, u32, u32) {
            (ip.protocol, ip.source_port, ip.destination_port, ip.tcp_flags)
        }
        self.v4.as_ref().map(of).or_else(|| self.v6.as_ref().map(of))
    }

    /// The layers as far as they are told.
    pub(super) fn layers(&self) -> impl Iterator<Item = LayerKind> {
        let transport = self.transport().and_then(|(protocol, ..)| match protocol {
            1 => Some(LayerKind::Icmp),
            6 => Some(LayerKind::Tcp),
            17 => Some(LayerKind::Udp),
            58 => Some(LayerKind::Icmpv6),
            132 => Some(LayerKind::Sctp),
            _ => None,
        });
        let link = self.ethernet.map(|_| LayerKind::Ethernet);
        let network = self.v4.map(|_| LayerKind::Ipv4).or(self.v6.map(|_| LayerKind::Ipv6));
        [link, network, transport].into_iter().flatten()
    }
}

/// Records of operations: memcache, HTTP in both versions, applications.
const OPERATIONS: [u32; 4] = [2200, 2201, 2202, 2206];

impl<'a> Sampled<'a> {
    fn record(&self, format: u32) -> Option<&'a [u8]> {
        self.records.iter().find(|record| record.tag == Tag::new(0, format)).map(|record| record.body)
    }

    /// A field of a record.
    pub(super) fn field(&self, layout: &'static Layout, name: &str) -> Option<Value<'a>> {
        Fields::new(layout, self.record(layout.tag.format())?).named(name)
    }

    /// A field of an HTTP request in either version.
    pub(super) fn http(&self, name: &str) -> Option<Value<'a>> {
        self.field(&flow::HTTP_REQUEST, name).or_else(|| self.field(&flow::HTTP_REQUEST_V1, name))
    }

    pub(super) fn switch(&self) -> Option<ExtendedSwitch> {
        self.switch.map(ExtendedSwitch::parse)
    }

    pub(super) fn router(&self) -> Option<ExtendedRouter> {
        self.record(1002).and_then(ExtendedRouter::parse)
    }

    pub(super) fn gateway(&self) -> Option<ExtendedGateway<'a>> {
        self.record(1003).and_then(ExtendedGateway::parse)
    }

    /// Whether it is an operation of an application, and not a packet.
    pub fn is_operation(&self) -> bool {
        let is = |tag: Tag| tag.enterprise() == 0 && OPERATIONS.contains(&tag.format());
        self.packet.layers().is_empty() && self.records.iter().any(|record| is(record.tag))
    }

    /// What a record says of the frame; it has but one layer.
    pub(super) fn basic_ethernet(&self, n: usize) -> Option<SampledEthernet> {
        self.basics.filter(|_| n == 0)?.ethernet
    }

    /// What a record says of the IPv4 packet.
    pub(super) fn basic_v4(&self, n: usize) -> Option<SampledIp<Ipv4Addr>> {
        self.basics.filter(|_| n == 0)?.v4
    }

    /// What a record says of the IPv6 packet.
    pub(super) fn basic_v6(&self, n: usize) -> Option<SampledIp<Ipv6Addr>> {
        self.basics.filter(|_| n == 0)?.v6
    }

    /// What a record says of this protocol: source port, destination port, TCP flags. Of ICMP the ports are type and
    /// code.
    pub(super) fn basic_transport(&self, protocol: u32, n: usize) -> Option<(u32, u32, u32)> {
        let (told, source, destination, flags) = self.basics.filter(|_| n == 0)?.transport()?;
        (told == protocol).then_some((source, destination, flags))
    }

    /// A field of the custom flow; `None` where there is no such field. Where a key wants an interface, a number is one.
    pub(crate) fn custom_field(&self, name: &str, form: Form) -> Option<Atom<'a>> {
        let custom = self.custom.as_ref()?;
        let (_, value) = custom.fields().find(|(known, _)| *known == name.as_bytes())?;
        let atom = match value {
            FlowValue::Text([]) => return None,
            FlowValue::Text(text) => lossy(text, self),
            FlowValue::Mac(mac) => Atom::Mac(mac),
            FlowValue::Ip4(address) => Atom::V4(address),
            FlowValue::Ip6(address) => Atom::V6(address),
            FlowValue::Int32(number) => Atom::Number(number.into()),
            FlowValue::Int64(number) => Atom::Number(number),
            FlowValue::Float(number) => Atom::Float(number.into()),
            FlowValue::Double(number) => Atom::Float(number),
        };
        match (form, atom) {
            (Form::Interface, Atom::Number(index)) => {
                Some(Atom::Interface(Interface::index(u32::try_from(index).ok()?)))
            }
            (_, atom) => Some(atom),
        }
    }
}
