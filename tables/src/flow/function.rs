//! Key functions: what they make of keys.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use decode::InterfaceKind;

use super::atom::Atom;
use super::expression::Expression;
use super::group::{GroupSet, ValueMap};
use super::keys::Sampled;
use super::layout::{Form, KeyLayout, atom_of};
use super::reference::{self, Vendors};
use super::uri;

/// A key function.
#[derive(Clone, Debug)]
pub enum Function {
    /// Name of the group that holds an address; sets are tried in order.
    Group(Expression, Vec<Arc<GroupSet>>),
    /// Label of a value.
    Map(Expression, Arc<ValueMap>),
    /// Country of an address.
    Country(Expression, Arc<GroupSet>, Show),
    /// Autonomous system of an address.
    System(Expression, Arc<GroupSet>, Show),
    /// The first three bytes of an Ethernet address.
    Oui(Expression),
    /// The vendor of an Ethernet address.
    Vendor(Expression, Arc<Vendors>),
    /// An attribute of the host that owns an address, by its place in [`super::learned::ATTRIBUTES`].
    Host(Expression, usize),
    /// The name of an address.
    Dns(Expression),
    /// The link of the topology that an interface belongs to.
    Link(Expression),
    /// A part of a URI.
    Uri(Expression, uri::Part),
    /// The first tokens of a text.
    Prefix(Expression, String, usize),
    /// The last tokens of a text.
    Suffix(Expression, String, usize),
    /// The network of an address.
    Mask(Expression, u8),
    /// Whether a number is within bounds.
    Range(Expression, f64, Option<f64>),
    /// Whether two keys are equal.
    Equal(Expression, Expression),
    /// A value where the key is null.
    Null(Expression, Literal),
    /// The first key that is not null.
    Or(Vec<Expression>),
    /// One of two keys, by a value of another.
    If(Expression, String, Expression, Expression),
    /// Which of some tokens comes first in a text.
    First(Expression, String, Vec<String>),
    /// Keys joined by a text.
    Concat(String, Vec<Expression>),
    /// Bits of a number.
    Bits(Expression, u64),
}

/// A value that stands in a definition.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// One of the form that the key beside it has.
    Atom(Atom<'static>),
    /// What shows as no value of that form.
    Text(String),
}

impl Literal {
    /// The value of a form that shows as this text.
    pub(super) fn new(form: Form, text: String) -> Self {
        let atom = match form {
            Form::Plain => [Form::V4, Form::V6, Form::U64].iter().find_map(|form| atom_of(*form, &text)),
            form => atom_of(form, &text).filter(|atom| KeyLayout::holds(form, atom)),
        };
        let mut shown = String::new();
        atom.iter().for_each(|atom| atom.write(&mut shown));
        match atom {
            Some(atom) if shown == text => Self::Atom(atom),
            _ => Self::Text(text),
        }
    }

    pub(super) fn atom(&self) -> Atom<'_> {
        match self {
            Self::Atom(atom) => *atom,
            Self::Text(text) => Atom::Text(text),
        }
    }
}

/// What is shown of a country or an autonomous system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// Its code or number.
    Code,
    /// Its name.
    Name,
    /// Both, separated by a space.
    Both,
}

/// A network as text: `10.0.0.0/8`, `2001:DB8::/32`.
fn network_text<'a>(sampled: &Sampled<'a>, network: Atom<'a>, bits: u8) -> Atom<'a> {
    let mut out = bumpalo::collections::String::new_in(sampled.arena);
    network.write(&mut out);
    // An arena takes everything.
    let _ = write!(out, "/{bits}");
    Atom::Text(out.into_bump_str())
}

fn shared<'a>(label: &'a Arc<str>) -> Atom<'a> {
    Atom::Text(label)
}

impl Show {
    fn of(self, label: &str) -> Option<&str> {
        let (code, name) = reference::parts(label);
        match self {
            Self::Code => Some(code),
            Self::Name => name,
            Self::Both => Some(label),
        }
    }
}

fn equal(a: &Atom<'_>, b: &Atom<'_>) -> bool {
    match (a, b) {
        // Keys of different width may have the same number.
        (Atom::Number(a), Atom::Float(b)) | (Atom::Float(b), Atom::Number(a)) => (*a as f64) == *b,
        _ => a == b,
    }
}

impl Function {
    pub(super) fn form(&self) -> Form {
        match self {
            Self::Range(..) | Self::Equal(..) => Form::Bool,
            Self::Bits(..) => Form::U64,
            Self::System(_, _, Show::Code) => Form::U32,
            Self::Null(key, Literal::Text(_)) => key.form().either(Form::Text),
            Self::Null(key, Literal::Atom(_)) => key.form(),
            Self::Or(keys) => keys.iter().map(Expression::form).reduce(Form::either).unwrap_or(Form::Any),
            Self::If(_, _, then, otherwise) => then.form().either(otherwise.form()),
            _ => Form::Text,
        }
    }

    /// The keys without which it is null.
    pub(super) fn needs(&self) -> impl Iterator<Item = &Expression> {
        let keys: &[Expression] = match self {
            Self::Concat(_, keys) => keys,
            _ => &[],
        };
        let one = match self {
            Self::Group(key, _)
            | Self::Map(key, _)
            | Self::Country(key, ..)
            | Self::System(key, ..)
            | Self::Oui(key)
            | Self::Vendor(key, _)
            | Self::Host(key, _)
            | Self::Dns(key)
            | Self::Link(key)
            | Self::Uri(key, _)
            | Self::Prefix(key, ..)
            | Self::Suffix(key, ..)
            | Self::Mask(key, _)
            | Self::Range(key, ..)
            | Self::Equal(key, _)
            | Self::First(key, ..)
            | Self::Bits(key, _) => Some(key),
            Self::Null(..) | Self::Or(_) | Self::If(..) | Self::Concat(..) => None,
        };
        let other = if let Self::Equal(_, other) = self { Some(other) } else { None };
        keys.iter().chain(one).chain(other)
    }

    /// Whether most packets of a rare kind are null there.
    pub(super) fn looks_up(&self) -> bool {
        matches!(
            self,
            Self::Group(..)
                | Self::Map(..)
                | Self::Country(..)
                | Self::System(..)
                | Self::Host(..)
                | Self::Link(..)
        )
    }

    pub(super) fn evaluate<'a>(&'a self, sampled: &Sampled<'a>) -> Option<Atom<'a>> {
        let text = |key: &'a Expression| Some(key.evaluate(sampled)?.text(sampled.arena));
        let address = |key: &'a Expression| key.evaluate(sampled)?.address();
        match self {
            Self::Group(key, sets) => {
                let address = address(key)?;
                sets.iter().find_map(|set| set.group(address)).map(shared)
            }
            Self::Map(key, map) => map.label(text(key)?).map(shared),
            Self::Country(key, set, show) => show.of(reference::find(set, address(key)?)?).map(Atom::Text),
            Self::System(key, set, show) => {
                let shown = show.of(reference::find(set, address(key)?)?)?;
                match show {
                    Show::Code => shown.parse().ok().map(Atom::Number),
                    _ => Some(Atom::Text(shown)),
                }
            }
            Self::Oui(key) => {
                let Atom::Mac(mac) = key.evaluate(sampled)? else { return None };
                let [a, b, c, ..] = mac.0;
                let mut out = bumpalo::collections::String::new_in(sampled.arena);
                // An arena takes everything.
                let _ = write!(out, "{a:02X}{b:02X}{c:02X}");
                Some(Atom::Text(out.into_bump_str()))
            }
            Self::Vendor(key, vendors) => {
                let Atom::Mac(mac) = key.evaluate(sampled)? else { return None };
                vendors.name(mac).map(Atom::Text)
            }
            Self::Host(key, attribute) => {
                let hosts = sampled.learned.hosts();
                let attributes = match key.evaluate(sampled)? {
                    Atom::Mac(mac) => hosts.by_mac(mac)?,
                    other => hosts.by_address(other.address()?)?,
                };
                attributes.get(*attribute)?.as_ref().map(shared)
            }
            Self::Dns(key) => sampled.learned.name(address(key)?).map(shared),
            Self::Link(key) => {
                let Atom::Interface(interface) = key.evaluate(sampled)? else { return None };
                let InterfaceKind::Index(ifindex) = interface.kind() else { return None };
                sampled.learned.topology().link_of(*sampled.agent, ifindex).map(shared)
            }
            Self::Uri(key, part) => part.of(text(key)?).map(Atom::Text),
            Self::Prefix(key, delimiter, n) => {
                let text = text(key)?;
                let ends = text.match_indices(delimiter.as_str()).map(|(at, _)| at).nth(n.checked_sub(1)?);
                Some(Atom::Text(ends.and_then(|end| text.get(..end)).unwrap_or(text)))
            }
            Self::Suffix(key, delimiter, n) => {
                let text = text(key)?;
                let begins = text.rmatch_indices(delimiter.as_str()).nth(n.checked_sub(1)?);
                let begins = begins.map(|(at, found)| at + found.len());
                Some(Atom::Text(begins.and_then(|begins| text.get(begins..)).unwrap_or(text)))
            }
            Self::Mask(key, bits) => match key.evaluate(sampled)? {
                Atom::V4(address) => {
                    let bits = (*bits).min(32);
                    let network = ip_network::Ipv4Network::new_truncate(address, bits).ok()?;
                    Some(network_text(sampled, Atom::V4(network.network_address()), bits))
                }
                Atom::V6(address) => {
                    let bits = (*bits).min(128);
                    let network = ip_network::Ipv6Network::new_truncate(address, bits).ok()?;
                    Some(network_text(sampled, Atom::V6(network.network_address()), bits))
                }
                _ => None,
            },
            Self::Range(key, low, high) => {
                let number = key.evaluate(sampled)?.number()?;
                Some(Atom::Bool(number >= *low && high.is_none_or(|high| number <= high)))
            }
            Self::Equal(a, b) => Some(Atom::Bool(equal(&a.evaluate(sampled)?, &b.evaluate(sampled)?))),
            Self::Null(key, literal) => Some(key.evaluate(sampled).unwrap_or(literal.atom())),
            Self::Or(keys) => keys.iter().find_map(|key| key.evaluate(sampled)),
            Self::If(key, wanted, then, otherwise) => {
                let holds =
                    key.evaluate(sampled).is_some_and(|value| value.text(sampled.arena) == wanted.as_str());
                if holds { then } else { otherwise }.evaluate(sampled)
            }
            Self::First(key, delimiter, tokens) => {
                let found = text(key)?
                    .split(delimiter.as_str())
                    .find_map(|token| tokens.iter().find(|t| *t == token))?;
                Some(Atom::Text(found.as_str()))
            }
            Self::Concat(separator, keys) => {
                let mut out = bumpalo::collections::String::new_in(sampled.arena);
                for (place, key) in keys.iter().enumerate() {
                    out.push_str(if place == 0 { "" } else { separator });
                    key.evaluate(sampled)?.write(&mut out);
                }
                Some(Atom::Text(out.into_bump_str()))
            }
            Self::Bits(key, mask) => Some(Atom::Number(key.evaluate(sampled)?.number()? as u64 & mask)),
        }
    }
}

impl Atom<'_> {
    /// The address, for kinds that are one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::V4(address) => Some((*address).into()),
            Self::V6(address) => Some((*address).into()),
            _ => None,
        }
    }
}
