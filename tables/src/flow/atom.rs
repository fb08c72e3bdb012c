//! What a key evaluates to, and its two packed forms.
//!
//! In a table a key has a fixed width that follows from its [`Form`]s, see [`super::layout`]. Away from its table
//! (in partials, records and events) it is portable: [`Atom::pack`] appends a byte for the kind and then the value,
//! and [`key_text`] makes the text, when somebody asks.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use ahash::RandomState;
use bumpalo::Bump;
use decode::packet::LayerKind;
use decode::{Interface, InterfaceKind, Mac};

/// A value of a key. Texts are borrowed, from the packet, the definition or the batch's arena.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Atom<'a> {
    /// A number, shown in decimal.
    Number(u64),
    /// A number with a fraction.
    Float(f64),
    /// A flag, shown as `true` or `false`.
    Bool(bool),
    /// Ethernet address, shown in upper-case hexadecimal.
    Mac(Mac),
    /// IPv4 address.
    V4(Ipv4Addr),
    /// IPv6 address, shown in upper case.
    V6(Ipv6Addr),
    /// This many low bits of a number, shown one by one.
    Bits(u16, u8),
    /// An interface: its index, `internal`, `multiple`, `discard` or `unknown`.
    Interface(Interface),
    /// The layers of a packet, shown as `eth.ip.tcp`.
    Stack(Stack),
    /// A text.
    Text(&'a str),
}

/// The layers of a packet: one more than each [`LayerKind`]'s number, outermost first, then zeros.
pub type Stack = [u8; decode::packet::DEPTH];

/// Texts are cut to this many bytes in keys.
pub const LONGEST_TEXT: usize = 255;

impl<'a> Atom<'a> {
    /// Appends the portable form.
    pub fn pack(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number) => {
                // Small numbers are short: ports and protocols are most of them.
                let bytes = number.to_be_bytes();
                let skipped = (number.leading_zeros() / 8).min(7) as usize;
                out.push(8 - skipped as u8);
                out.extend_from_slice(bytes.get(skipped..).unwrap_or_default());
            }
            Self::Bool(flag) => out.push(16 + u8::from(*flag)),
            Self::Mac(mac) => {
                out.push(18);
                out.extend_from_slice(&mac.0);
            }
            Self::V4(address) => {
                out.push(19);
                out.extend_from_slice(&address.octets());
            }
            Self::V6(address) => {
                out.push(20);
                out.extend_from_slice(&address.octets());
            }
            Self::Bits(bits, width) => {
                out.extend_from_slice(&[21, *width]);
                out.extend_from_slice(&bits.to_be_bytes());
            }
            Self::Text(text) => {
                let text = cut(text);
                out.extend_from_slice(&[22, text.len() as u8]);
                out.extend_from_slice(text.as_bytes());
            }
            Self::Interface(interface) => {
                out.push(23);
                out.extend_from_slice(&interface.format.to_be_bytes());
                out.extend_from_slice(&interface.value.to_be_bytes());
            }
            Self::Stack(layers) => {
                out.push(24);
                out.extend_from_slice(layers);
            }
            Self::Float(number) => {
                out.push(25);
                out.extend_from_slice(&number.to_bits().to_be_bytes());
            }
        }
    }

    /// Takes the first packed value off `packed`.
    fn unpack(packed: &mut &'a [u8]) -> Option<Self> {
        fn take<'a, const N: usize>(packed: &mut &'a [u8]) -> Option<&'a [u8; N]> {
            let (value, rest) = packed.split_first_chunk::<N>()?;
            *packed = rest;
            Some(value)
        }
        Some(match take::<1>(packed)?[0] {
            length @ 1..=8 => {
                let (bytes, rest) = packed.split_at_checked(usize::from(length))?;
                *packed = rest;
                Self::Number(bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
            }
            flag @ 16..=17 => Self::Bool(flag == 17),
            18 => Self::Mac(Mac(*take(packed)?)),
            19 => Self::V4((*take::<4>(packed)?).into()),
            20 => Self::V6((*take::<16>(packed)?).into()),
            21 => {
                let [width, a, b] = *take(packed)?;
                Self::Bits(u16::from_be_bytes([a, b]), width)
            }
            22 => {
                let length = usize::from(take::<1>(packed)?[0]);
                let (bytes, rest) = packed.split_at_checked(length)?;
                *packed = rest;
                Self::Text(std::str::from_utf8(bytes).ok()?)
            }
            23 => {
                let format = u32::from_be_bytes(*take(packed)?);
                Self::Interface(Interface { format, value: u32::from_be_bytes(*take(packed)?) })
            }
            24 => Self::Stack(*take(packed)?),
            25 => Self::Float(f64::from_bits(u64::from_be_bytes(*take(packed)?))),
            _ => return None,
        })
    }

    /// Appends the text.
    pub fn write(&self, out: &mut impl Write) {
        // Whatever takes the text takes all of it.
        let _ = match self {
            Self::Number(number) => write!(out, "{number}"),
            Self::Float(number) => write!(out, "{number}"),
            Self::Bool(flag) => write!(out, "{flag}"),
            Self::Mac(mac) => write!(out, "{mac}"),
            Self::V4(address) => write!(out, "{address}"),
            Self::V6(address) => write_upper(*address, out),
            Self::Bits(bits, width) => write!(out, "{bits:0width$b}", width = usize::from(*width)),
            Self::Interface(interface) => match interface.kind() {
                InterfaceKind::Index(index) => write!(out, "{index}"),
                InterfaceKind::Internal => out.write_str("internal"),
                InterfaceKind::Multiple(_) => out.write_str("multiple"),
                InterfaceKind::Discarded(_) => out.write_str("discard"),
                InterfaceKind::Unknown => out.write_str("unknown"),
            },
            Self::Stack(layers) => write_stack(layers, out),
            Self::Text(text) => out.write_str(text),
        };
    }

    /// The text, made in the arena where it is not there already.
    pub fn text(&self, arena: &'a Bump) -> &'a str {
        if let Self::Text(text) = self {
            return text;
        }
        let mut out = bumpalo::collections::String::new_in(arena);
        self.write(&mut out);
        out.into_bump_str()
    }

    /// A hash of the value.
    pub fn hash(&self, hasher: &RandomState) -> u64 {
        match self {
            Self::Number(number) => hasher.hash_one(number),
            Self::Float(number) => hasher.hash_one(number.to_bits()),
            Self::Bool(flag) => hasher.hash_one(flag),
            Self::Mac(mac) => hasher.hash_one(mac.0),
            Self::V4(address) => hasher.hash_one(address.octets()),
            Self::V6(address) => hasher.hash_one(address.octets()),
            Self::Bits(bits, width) => hasher.hash_one((bits, width)),
            Self::Interface(interface) => hasher.hash_one((interface.format, interface.value)),
            Self::Stack(layers) => hasher.hash_one(layers),
            Self::Text(text) => hasher.hash_one(text),
        }
    }

    /// The number, for kinds that are one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            Self::Bits(bits, _) => Some(f64::from(*bits)),
            Self::Interface(interface) => match interface.kind() {
                InterfaceKind::Index(index) => Some(f64::from(index)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The longest beginning that a key holds.
pub(crate) fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

fn write_upper(address: Ipv6Addr, out: &mut impl Write) -> std::fmt::Result {
    struct Upper<'w, W>(&'w mut W);
    impl<W: Write> Write for Upper<'_, W> {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            text.chars().try_for_each(|c| self.0.write_char(c.to_ascii_uppercase()))
        }
    }
    write!(Upper(out), "{address}")
}

fn write_stack(layers: &Stack, out: &mut impl Write) -> std::fmt::Result {
    let mut dot = "";
    for layer in layers.iter().map_while(|number| LayerKind::ALL.get(usize::from(*number).checked_sub(1)?)) {
        out.write_str(dot)?;
        out.write_str(layer.token())?;
        dot = ".";
    }
    Ok(())
}

/// The text of a portable key, its parts joined by `separator`. A text from a packet that holds the separator shows it
/// percent-encoded: it moves no part behind it.
pub fn key_text(mut packed: &[u8], separator: &str) -> String {
    let mut out = String::new();
    let mut first = true;
    while let Some(atom) = Atom::unpack(&mut packed) {
        if !std::mem::replace(&mut first, false) {
            out.push_str(separator);
        }
        match atom {
            Atom::Text(text) if !separator.is_empty() && text.contains(separator) => {
                out.push_str(&text.replace(separator, &encoded(separator)));
            }
            atom => atom.write(&mut out),
        }
    }
    out
}

/// What stands for the separator inside a part.
pub(super) fn encoded(separator: &str) -> String {
    separator.bytes().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "%{byte:02X}");
        out
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn packed_and_shown() {
        let mut stack = [0; 16];
        stack[..2].copy_from_slice(&[LayerKind::Ethernet as u8 + 1, LayerKind::Ipv4 as u8 + 1]);
        let atoms = [
            (Atom::Number(0), "0"),
            (Atom::Number(255), "255"),
            (Atom::Number(u64::MAX), "18446744073709551615"),
            (Atom::Float(0.25), "0.25"),
            (Atom::Bool(true), "true"),
            (Atom::Mac(Mac([0, 1, 0xab, 3, 4, 5])), "0001AB030405"),
            (Atom::V4([10, 0, 0, 1].into()), "10.0.0.1"),
            (Atom::V6("fe80::104c:51df".parse().unwrap()), "FE80::104C:51DF"),
            (Atom::Bits(0b10, 9), "000000010"),
            (Atom::Interface(Interface { format: 1, value: 256 }), "discard"),
            (Atom::Interface(Interface::index(7)), "7"),
            (Atom::Stack(stack), "eth.ip"),
            (Atom::Text("a,b"), "a,b"),
        ];
        let mut packed = Vec::new();
        let arena = Bump::new();
        for (atom, text) in &atoms {
            assert_eq!(atom.text(&arena), *text);
            atom.pack(&mut packed);
        }
        let shown: Vec<&str> = atoms.iter().map(|(_, text)| *text).collect();
        assert_eq!(key_text(&packed, "_SEP_"), shown.join("_SEP_"));
        let fields = key_text(&packed, ",");
        assert_eq!(fields.split(',').count(), atoms.len(), "a comma in a text moves no field");
        assert!(fields.ends_with(",a%2Cb"), "{fields}");
        let mut rest = packed.as_slice();
        for (atom, _) in atoms {
            assert_eq!(Atom::unpack(&mut rest), Some(atom));
        }
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let mut packed = Vec::new();
        Atom::Text(&"é".repeat(200)).pack(&mut packed);
        assert_eq!(key_text(&packed, ","), "é".repeat(127));
    }
}
