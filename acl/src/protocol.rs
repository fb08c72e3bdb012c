//! Which protocol a rule is about, and which of its ports.

use std::fmt;
use std::num::NonZeroU8;
use std::str::FromStr;

use crate::error::{Invalid, shown};
use crate::number::number;

/// Names of protocols, the first of a number being the one that is emitted.
const NAMES: [(&str, u8); 10] = [
    ("icmp", 1),
    ("igmp", 2),
    ("tcp", 6),
    ("udp", 17),
    ("gre", 47),
    ("esp", 50),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("ospf", 89),
    ("sctp", 132),
];

/// A protocol over IP, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Protocol(NonZeroU8);

impl Protocol {
    /// TCP.
    pub const TCP: Self = Self::of(6);
    /// UDP.
    pub const UDP: Self = Self::of(17);
    /// ICMP for IPv4.
    pub const ICMP: Self = Self::of(1);
    /// ICMP for IPv6.
    pub const ICMPV6: Self = Self::of(58);

    const fn of(number: u8) -> Self {
        Self(NonZeroU8::new(number).expect("a constant that is not zero"))
    }

    /// The protocol of this number.
    pub fn new(number: NonZeroU8) -> Self {
        Self(number)
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0.get()
    }

    /// Whether it has ports.
    pub fn has_ports(self) -> bool {
        matches!(self.number(), 6 | 17 | 132)
    }
}

impl FromStr for Protocol {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let named =
            NAMES.iter().find(|(name, _)| *name == text).and_then(|(_, number)| NonZeroU8::new(*number));
        let found = match named {
            Some(found) => Some(found),
            None => number(text, "number").ok().and_then(NonZeroU8::new),
        };
        found.map(Self).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            Invalid(format!(
                "{} is no protocol: {} or a number from 1 to 255 is one",
                shown(text),
                names.join(", ")
            ))
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.number()) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Ports from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// Ports from the first to the last.
    ///
    /// # Errors
    /// The last is before the first.
    pub fn new(first: u16, last: u16) -> Result<Self, Invalid> {
        if last < first {
            return Err(Invalid(format!("the ports {first}:{last} end before they begin")));
        }
        Ok(Self { first, last })
    }

    /// The first port.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The last port.
    pub fn last(self) -> u16 {
        self.last
    }
}

impl FromStr for Ports {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let port =
            |text: &str| number::<u16>(text, "port: a number from 0 to 65535 is one, FIRST:LAST are several");
        match text.split_once(':') {
            Some((first, last)) => Self::new(port(first)?, port(last)?),
            None => port(text).map(|port| Self { first: port, last: port }),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.last == self.first { Ok(()) } else { write!(f, ":{}", self.last) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn protocols_by_name_and_number_have_one_text() {
        for (text, canonical) in [
            ("tcp", "tcp"),
            ("6", "tcp"),
            ("icmpv6", "ipv6-icmp"),
            ("58", "ipv6-icmp"),
            ("253", "253"),
            ("ospf", "ospf"),
        ] {
            assert_eq!(text.parse::<Protocol>().unwrap().to_string(), canonical);
        }
        for text in ["", "0", "all", "256", "TCP", "!tcp", "tcp,udp", "06"] {
            assert!(text.parse::<Protocol>().is_err(), "{text}");
        }
    }

    #[test]
    fn ports_are_one_or_from_first_to_last() {
        for (text, canonical) in
            [("80", "80"), ("80:80", "80"), ("0:65535", "0:65535"), ("1024:2048", "1024:2048")]
        {
            assert_eq!(text.parse::<Ports>().unwrap().to_string(), canonical);
        }
        for text in ["", ":", "80:", ":80", "81:80", "65536", "http", "80,81", "1:2:3", "+80", "080"] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
    }
}
