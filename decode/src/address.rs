//! Addresses as sFlow carries them: a type word and 0, 4 or 16 bytes (sFlow v5, `address`).

use core::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::xdr::{Full, Reader, Writer};

/// An address of a stated type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// Type 0: none is known.
    #[default]
    Unknown,
    /// Type 1.
    V4(Ipv4Addr),
    /// Type 2.
    V6(Ipv6Addr),
}

/// Why an address cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// The bytes end before it does.
    Truncated,
    /// Its type is none of 0, 1 and 2.
    Type,
}

impl Address {
    /// Reads a type word and what belongs to it.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, AddressError> {
        match reader.u32().map_err(|_| AddressError::Truncated)? {
            0 => Ok(Self::Unknown),
            1 => reader.array::<4>().map(|a| Self::V4(a.into())).map_err(|_| AddressError::Truncated),
            2 => reader.array::<16>().map(|a| Self::V6(a.into())).map_err(|_| AddressError::Truncated),
            _ => Err(AddressError::Type),
        }
    }

    /// Writes the type word and what belongs to it.
    ///
    /// # Errors
    /// The buffer is full.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        match self {
            Self::Unknown => writer.u32(0),
            Self::V4(a) => writer.u32(1).and_then(|()| writer.bytes(&a.octets())),
            Self::V6(a) => writer.u32(2).and_then(|()| writer.bytes(&a.octets())),
        }
    }

    /// The address, when one is known.
    pub fn ip(&self) -> Option<IpAddr> {
        match *self {
            Self::Unknown => None,
            Self::V4(a) => Some(a.into()),
            Self::V6(a) => Some(a.into()),
        }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(a) => Self::V4(a),
            IpAddr::V6(a) => Self::V6(a),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::V4(a) => a.fmt(f),
            Self::V6(a) => a.fmt(f),
        }
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Reads six bytes and their pad.
    ///
    /// # Errors
    /// The bytes end before it does.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, crate::xdr::Truncated> {
        let [a, b, c, d, e, f, ..] = reader.array::<8>()?;
        Ok(Self([a, b, c, d, e, f]))
    }

    /// Writes six bytes and their pad.
    ///
    /// # Errors
    /// The buffer is full.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        writer.padded(&self.0)
    }
}

/// Hexadecimal without separators.
impl core::str::FromStr for Mac {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() != 12 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(());
        }
        let number = u64::from_str_radix(text, 16).map_err(|_| ())?;
        let [_, _, bytes @ ..] = number.to_be_bytes();
        Ok(Self(bytes))
    }
}

/// Upper-case hexadecimal without separators, as keys show it.
impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}
