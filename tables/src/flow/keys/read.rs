//! How fields become values of keys.

use std::fmt::Write;

use bumpalo::collections::String as ArenaString;
use decode::layout::{AsPath, Value, Words};
use decode::packet::LayerKind;
use decode::{Address, Interface, InterfaceKind};

use super::Sampled;
use crate::flow::atom::{Atom, Stack};
use crate::flow::uri;

pub(super) fn number<'a>(value: impl Into<u64>) -> Atom<'a> {
    Atom::Number(value.into())
}

/// A number that fits a smaller one; what a sender says beyond that is no value.
pub(super) fn small<'a, T: TryFrom<u32> + Into<u64>>(value: u32) -> Option<Atom<'a>> {
    T::try_from(value).ok().map(number)
}

/// All ones are unknown.
pub(super) fn known(word: u32) -> Option<Atom<'static>> {
    (word != u32::MAX).then(|| number(word))
}

pub(super) fn address<'a>(address: Address) -> Option<Atom<'a>> {
    match address {
        Address::Unknown => None,
        Address::V4(address) => Some(Atom::V4(address)),
        Address::V6(address) => Some(Atom::V6(address)),
    }
}

pub(super) fn interface<'a>(interface: Interface) -> Atom<'a> {
    Atom::Interface(plain_interface(interface))
}

/// The kinds that show the same text are one value.
#[inline]
pub(crate) fn plain_interface(interface: Interface) -> Interface {
    // What most are, asked first: an index, or nothing that is known.
    if interface.format == 0 {
        return interface;
    }
    match interface.kind() {
        InterfaceKind::Multiple(_) => Interface { format: 2, value: 0 },
        InterfaceKind::Discarded(_) => Interface { format: 1, value: 0 },
        InterfaceKind::Unknown => Interface { format: 0, value: 0 },
        InterfaceKind::Index(_) | InterfaceKind::Internal => interface,
    }
}

/// Layers but for VLAN tags: the same conversation has the same stack on a tagged and on an untagged port.
pub(super) fn stack<'a>(s: &Sampled<'a>) -> Option<Atom<'a>> {
    let mut stack = Stack::default();
    let layers = s.packet.layers().iter().filter(|layer| layer.kind != LayerKind::Vlan);
    for (place, layer) in stack.iter_mut().zip(layers) {
        *place = layer.kind as u8 + 1;
    }
    if let Some(basics) = s.basics {
        for (place, kind) in stack.iter_mut().zip(basics.layers()) {
            *place = kind as u8 + 1;
        }
    }
    (stack != Stack::default()).then_some(Atom::Stack(stack))
}

/// Where the header of the `n`th layer of a kind begins in the sampled bytes.
pub(super) fn offset<'a>(s: &Sampled<'a>, kind: LayerKind, n: usize) -> Option<Atom<'a>> {
    let mut layers = s.packet.layers().iter().filter(|layer| layer.kind == kind);
    layers.nth(n).map(|layer| number(layer.offset))
}

/// The value of a record's field; empty texts and unknown addresses are null.
pub(super) fn value<'a>(s: &Sampled<'a>, value: Value<'a>) -> Option<Atom<'a>> {
    match value {
        Value::U32(word) => Some(number(word)),
        Value::U64(word) => Some(number(word)),
        Value::Text(text) if !text.is_empty() => Some(lossy(text, s)),
        Value::Mac(mac) => Some(Atom::Mac(mac)),
        Value::Ip4(address) => Some(Atom::V4(address)),
        Value::Ip6(address) => Some(Atom::V6(address)),
        Value::Address(told) => address(told),
        _ => None,
    }
}

/// The number of a field, for those that are one.
pub(super) fn word(value: Option<Value<'_>>) -> Option<u64> {
    value?.as_u64()
}

/// Text in the sample's arena.
pub(super) fn made<'a>(s: &Sampled<'a>, text: std::fmt::Arguments<'_>) -> Atom<'a> {
    let mut out = ArenaString::new_in(s.arena);
    // An arena takes everything.
    let _ = out.write_fmt(text);
    Atom::Text(out.into_bump_str())
}

/// Text from the network; what is no UTF-8 is replaced.
pub(super) fn lossy<'a>(bytes: &'a [u8], s: &Sampled<'a>) -> Atom<'a> {
    Atom::Text(match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => s.arena.alloc_str(&String::from_utf8_lossy(bytes)),
    })
}

/// Items joined by dashes, as far as a key's text reaches; `None` when there are none.
fn joined<'a>(
    s: &Sampled<'a>,
    items: impl Iterator<Item = u32>,
    write: impl Fn(&mut ArenaString<'a>, u32),
) -> Option<Atom<'a>> {
    let mut out = ArenaString::new_in(s.arena);
    for item in items {
        if !out.is_empty() {
            out.push('-');
        }
        write(&mut out, item);
        if out.len() > crate::flow::atom::LONGEST_TEXT {
            break;
        }
    }
    (!out.is_empty()).then(|| Atom::Text(out.into_bump_str()))
}

fn plain(out: &mut ArenaString<'_>, number: u32) {
    // An arena takes everything.
    let _ = write!(out, "{number}");
}

/// The AS numbers of a path: `65001-65002`.
pub(super) fn path<'a>(s: &Sampled<'a>, path: &AsPath<'a>) -> Option<Atom<'a>> {
    joined(s, path.segments().flat_map(|(_, numbers)| numbers.iter()), plain)
}

/// Communities: `65001:100-65001:200`.
pub(super) fn communities<'a>(s: &Sampled<'a>, words: &Words<'a>) -> Option<Atom<'a>> {
    joined(s, words.iter(), |out, word| {
        let _ = write!(out, "{}:{}", word >> 16, word & 0xffff);
    })
}

/// Some bits of each word of a field, `16-17`.
pub(super) fn bits_of_words<'a>(
    s: &Sampled<'a>,
    value: Option<Value<'a>>,
    bits: fn(u32) -> u32,
) -> Option<Atom<'a>> {
    let Some(Value::Words(words)) = value else { return None };
    joined(s, words.iter().map(bits), plain)
}

/// A data source of entities: `3.100001`.
pub(super) fn entity<'a>(
    s: &Sampled<'a>,
    class: Option<Value<'a>>,
    index: Option<Value<'a>>,
) -> Option<Atom<'a>> {
    let (class, index) = (word(class)? as u32, word(index)? as u32);
    let source = decode::DataSource { class, index };
    (class != 0 || index != 0).then(|| made(s, format_args!("{source}")))
}

/// The name with this number, else the number.
pub(super) fn name<'a>(
    s: &Sampled<'a>,
    names: &[&'static str],
    value: Option<Value<'a>>,
) -> Option<Atom<'a>> {
    let number = word(value)?;
    let name = usize::try_from(number).ok().and_then(|place| names.get(place));
    Some(name.map_or_else(|| made(s, format_args!("{number}")), |name| Atom::Text(name)))
}

/// The URL of an HTTP request, put together from host and path; else that of an `extended_url`.
pub(super) fn http_url<'a>(s: &Sampled<'a>) -> Option<Atom<'a>> {
    let (url, host) = match s.http("http_uri") {
        Some(url) => (url, s.http("http_host")),
        None => {
            let field = |name| s.field(&decode::flow::EXTENDED_URL, name);
            (field("url")?, field("host"))
        }
    };
    let url = value(s, url)?;
    match (url, host.and_then(|host| value(s, host))) {
        (Atom::Text(path), Some(Atom::Text(host))) if path.starts_with('/') => {
            Some(made(s, format_args!("http://{host}{path}")))
        }
        (url, _) => Some(url),
    }
}

/// The path of that URL.
pub(super) fn uri_path<'a>(s: &Sampled<'a>) -> Option<Atom<'a>> {
    let Atom::Text(url) = http_url(s)? else { return None };
    uri::Part::Path.of(url).map(Atom::Text)
}

/// Names of differentiated services code points (RFC 4594 and before).
pub(super) fn dscp_name<'a>(s: &Sampled<'a>, dscp: u8) -> Atom<'a> {
    match dscp {
        0 => Atom::Text("be(0)"),
        46 => Atom::Text("ef(46)"),
        _ if dscp.is_multiple_of(8) => made(s, format_args!("cs{}({dscp})", dscp / 8)),
        _ if (10..=38).contains(&dscp) && dscp.is_multiple_of(2) => {
            made(s, format_args!("af{}{}({dscp})", dscp / 8, dscp % 8 / 2))
        }
        _ => made(s, format_args!("{dscp}")),
    }
}

pub(super) fn query_type<'a>(s: &Sampled<'a>, kind: u16) -> Atom<'a> {
    Atom::Text(match kind {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        43 => "DS",
        48 => "DNSKEY",
        64 => "SVCB",
        65 => "HTTPS",
        255 => "ANY",
        other => return made(s, format_args!("TYPE{other}")),
    })
}
