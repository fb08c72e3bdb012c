//! Which addresses a rule is about.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::error::{Invalid, shown};
use crate::number::number;

/// Addresses that begin alike: `10.0.0.0/8`, `2001:db8::1`. It has no host bits: `10.0.0.1/8` is refused, because it is
/// more likely a mistake than a rule about sixteen million addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The prefix of `length` bits that begins at `address`.
    ///
    /// # Errors
    /// The length is beyond the address, or the address has bits beyond the length.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, Invalid> {
        let bits = bits(address);
        if length > bits {
            return Err(Invalid(format!("the prefix {address}/{length} is longer than {bits} bits")));
        }
        let base = masked(address, length);
        if base != address {
            return Err(Invalid(format!("the prefix {address}/{length} has host bits: say {base}/{length}")));
        }
        Ok(Self { address, length })
    }

    /// One address.
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: bits(address) }
    }

    /// The first address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits are given.
    pub fn length(self) -> u8 {
        self.length
    }
}

/// One address is said without its length.
impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.length == bits(self.address) {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.length)
        }
    }
}

impl FromStr for Prefix {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
        let address: IpAddr = address.parse().map_err(|_| {
            Invalid(format!(
                "{} is no prefix: ADDRESS or ADDRESS/BITS is one, without names and lists",
                shown(text)
            ))
        })?;
        match length {
            None => Ok(Self::host(address)),
            Some(length) => {
                Self::new(address, number(length, "number of bits (a mask is written as /BITS)")?)
            }
        }
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    let length = u32::from(length);
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(32 - length).unwrap_or(0)).into()),
        IpAddr::V6(v6) => {
            IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(128 - length).unwrap_or(0)).into())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn prefixes_have_one_text() {
        for (text, canonical) in [
            ("10.0.0.162", "10.0.0.162"),
            ("10.0.0.162/32", "10.0.0.162"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
            ("::1/128", "::1"),
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn what_is_no_prefix_is_refused_and_host_bits_are_named() {
        for text in [
            "",
            "10",
            "10.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/255.0.0.0",
            "10.0.0.0/08",
            "010.0.0.0",
            "a.example",
            "10.0.0.1,10.0.0.2",
            "fe80::1%eth0",
            "::/129",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            " 10.0.0.1",
        ] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
        let said = "10.0.0.5/24".parse::<Prefix>().unwrap_err().to_string();
        assert_eq!(said, "the prefix 10.0.0.5/24 has host bits: say 10.0.0.0/24");
    }
}
