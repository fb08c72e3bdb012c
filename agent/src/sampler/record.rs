//! What a sample says of its packet: the header record, and the containers at both ends.

use decode::flow::SampledHeader;
use decode::layout::Value;
use decode::{Interface, InterfaceKind, Mac};
use ingest::packets::Sampled;

use super::Who;

/// Bytes of a frame's check sequence, which the kernel has removed and the wire carries.
const CHECK_SEQUENCE: u32 = 4;

/// Header protocols of sFlow.
pub(super) const ETHERNET: u32 = 1;
const IPV4: u32 = 11;
const IPV6: u32 = 12;

/// Kinds of hardware, as the kernel numbers them; the last two have no link layer.
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;
const ARPHRD_RAWIP: u16 = 519;
const ARPHRD_NONE: u16 = 65_534;

/// The record of a sampled packet; `None` for a link that sFlow, or this agent, has no header protocol for.
pub(super) fn header<'a>(sampled: &Sampled<'a>) -> Option<SampledHeader<'a>> {
    let protocol = match (sampled.hardware, sampled.ethertype) {
        (ARPHRD_ETHER | ARPHRD_LOOPBACK, _) => ETHERNET,
        (ARPHRD_RAWIP | ARPHRD_NONE, 0x0800) => IPV4,
        (ARPHRD_RAWIP | ARPHRD_NONE, 0x86dd) => IPV6,
        _ => return None,
    };
    let stripped = if protocol == ETHERNET { CHECK_SEQUENCE } else { 0 };
    let frame_length = sampled.frame_length.saturating_add(stripped);
    Some(SampledHeader { protocol, frame_length, stripped, bytes: sampled.bytes })
}

/// Source and destination of an Ethernet frame.
pub(super) fn macs(frame: &[u8]) -> Option<(Mac, Mac)> {
    let (destination, rest) = frame.split_first_chunk::<6>()?;
    Some((Mac(*rest.first_chunk::<6>()?), Mac(*destination)))
}

/// The values of `extended_entities`, if one end is known; an end that is not has class and index 0.
pub(super) fn ends(
    who: &dyn Who,
    macs: Option<(Mac, Mac)>,
    input: Interface,
    output: Interface,
) -> Option<[Value<'static>; 4]> {
    let find = |mac: Option<Mac>, side: Interface| {
        let by_mac = mac.and_then(|mac| who.by_mac(&mac.0));
        by_mac.or_else(|| match side.kind() {
            InterfaceKind::Index(index) => who.by_ifindex(index),
            _ => None,
        })
    };
    let source = find(macs.map(|(source, _)| source), input);
    let destination = find(macs.map(|(_, destination)| destination), output);
    if source.is_none() && destination.is_none() {
        return None;
    }
    let (source, destination) = (source.unwrap_or_default(), destination.unwrap_or_default());
    Some([source.class, source.index, destination.class, destination.index].map(Value::U32))
}
