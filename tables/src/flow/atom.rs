//! What a key evaluates to: packed into the bytes of a table's key, and shown as text when somebody asks.

use std::borrow::Cow;
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use decode::Mac;

/// A value of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Atom<'a> {
    /// A number, shown in decimal.
    Number(u64),
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
    /// A text.
    Text(Cow<'a, str>),
}

/// Texts are cut to this many bytes in a table's key.
const LONGEST_TEXT: usize = 255;

impl<'a> Atom<'a> {
    /// Appends the packed form: a byte for the kind, then the value.
    pub fn pack(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number) => {
                // Small numbers are short: ports and protocols are most of them.
                let bytes = number.to_be_bytes();
                let skipped = (number.leading_zeros() / 8).min(7) as usize;
                out.push(8 - skipped as u8);
                out.extend_from_slice(&bytes[skipped..]);
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
                let mut end = text.len().min(LONGEST_TEXT);
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                out.extend_from_slice(&[22, end as u8]);
                out.extend_from_slice(&text.as_bytes()[..end]);
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
                Self::Text(String::from_utf8_lossy(bytes))
            }
            _ => return None,
        })
    }

    /// Appends the text.
    pub fn write(&self, out: &mut String) {
        // A string takes everything.
        let _ = match self {
            Self::Number(number) => write!(out, "{number}"),
            Self::Bool(flag) => write!(out, "{flag}"),
            Self::Mac(mac) => write!(out, "{mac}"),
            Self::V4(address) => write!(out, "{address}"),
            Self::V6(address) => write!(out, "{}", address.to_string().to_ascii_uppercase()),
            Self::Bits(bits, width) => write!(out, "{bits:0width$b}", width = usize::from(*width)),
            Self::Text(text) => out.write_str(text),
        };
    }

    /// The text.
    pub fn text(&self) -> Cow<'_, str> {
        if let Self::Text(text) = self {
            return Cow::Borrowed(text);
        }
        let mut out = String::new();
        self.write(&mut out);
        Cow::Owned(out)
    }

    /// The number, for kinds that are one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number as f64),
            Self::Text(text) => text.parse().ok(),
            Self::Bits(bits, _) => Some(f64::from(*bits)),
            _ => None,
        }
    }
}

/// The text of a packed key, its parts joined by `separator`.
pub fn key_text(mut packed: &[u8], separator: &str) -> String {
    let mut out = String::new();
    let mut first = true;
    while let Some(atom) = Atom::unpack(&mut packed) {
        if !std::mem::replace(&mut first, false) {
            out.push_str(separator);
        }
        atom.write(&mut out);
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn packed_and_shown() {
        let atoms = [
            (Atom::Number(0), "0"),
            (Atom::Number(255), "255"),
            (Atom::Number(u64::MAX), "18446744073709551615"),
            (Atom::Bool(true), "true"),
            (Atom::Mac(Mac([0, 1, 0xab, 3, 4, 5])), "0001AB030405"),
            (Atom::V4([10, 0, 0, 1].into()), "10.0.0.1"),
            (Atom::V6("fe80::104c:51df".parse().unwrap()), "FE80::104C:51DF"),
            (Atom::Bits(0b10, 9), "000000010"),
            (Atom::Text("a,b".into()), "a,b"),
        ];
        let mut packed = Vec::new();
        for (atom, text) in &atoms {
            assert_eq!(atom.text(), *text);
            atom.pack(&mut packed);
        }
        let shown: Vec<&str> = atoms.iter().map(|(_, text)| *text).collect();
        assert_eq!(key_text(&packed, "_SEP_"), shown.join("_SEP_"));
        let mut rest = packed.as_slice();
        for (atom, _) in atoms {
            assert_eq!(Atom::unpack(&mut rest), Some(atom));
        }
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let mut packed = Vec::new();
        Atom::Text("é".repeat(200).into()).pack(&mut packed);
        assert_eq!(key_text(&packed, ","), "é".repeat(127));
    }
}
