//! Tunnels: GRE and NVGRE, ERSPAN, VXLAN, Geneve.

use super::{u8_at, u16_at, u24_at, u32_at};

/// GRE protocol of ERSPAN type I (no sequence number) and type II.
pub(super) const ERSPAN_2: u16 = 0x88be;
/// GRE protocol of ERSPAN type III.
pub(super) const ERSPAN_3: u16 = 0x22eb;

/// GRE header (RFC 2784, RFC 2890; NVGRE: RFC 7637).
#[derive(Clone, Copy, Debug)]
pub struct Gre<'a>(pub(super) &'a [u8]);

impl<'a> Gre<'a> {
    /// The header at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Ethertype of the payload.
    pub fn protocol(&self) -> Option<u16> {
        u16_at(self.0, 2)
    }

    fn flag(&self, bit: u8) -> Option<bool> {
        u8_at(self.0, 0).map(|flags| flags & bit != 0)
    }

    /// Whether there is a sequence number.
    pub fn has_sequence(&self) -> Option<bool> {
        self.flag(0x10)
    }

    /// Length of the header, bytes; `None` for a version other than 0.
    pub fn header_length(&self) -> Option<usize> {
        u8_at(self.0, 1).filter(|byte| byte & 7 == 0)?;
        let words =
            usize::from(self.flag(0x80)?) + usize::from(self.flag(0x20)?) + usize::from(self.flag(0x10)?);
        Some(4 + 4 * words)
    }

    /// Key, when there is one.
    pub fn key(&self) -> Option<u32> {
        self.flag(0x20).filter(|has| *has)?;
        u32_at(self.0, 4 + 4 * usize::from(self.flag(0x80)?))
    }

    /// Virtual subnet of NVGRE: the upper 24 bits of the key of a bridged payload.
    pub fn virtual_subnet(&self) -> Option<u32> {
        self.protocol().filter(|protocol| *protocol == super::ether::BRIDGED)?;
        self.key().map(|key| key >> 8)
    }
}

/// ERSPAN header of type II or III (draft-foschiano-erspan).
#[derive(Clone, Copy, Debug)]
pub struct Erspan<'a>(pub(super) &'a [u8]);

impl Erspan<'_> {
    /// Length of the header of a type, bytes.
    pub fn header_length(&self, version: u16) -> Option<usize> {
        match version {
            2 => Some(8),
            // The O bit says that a platform-specific subheader of eight bytes follows.
            _ => u8_at(self.0, 11).map(|byte| if byte & 1 == 1 { 20 } else { 12 }),
        }
    }

    /// Session, 10 bits.
    pub fn session(&self) -> Option<u16> {
        u16_at(self.0, 2).map(|word| word & 0x03ff)
    }
}

/// VXLAN header (RFC 7348).
#[derive(Clone, Copy, Debug)]
pub struct Vxlan<'a>(&'a [u8]);

impl<'a> Vxlan<'a> {
    /// The header at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Virtual network identifier; `None` when the I flag is not set.
    pub fn vni(&self) -> Option<u32> {
        u8_at(self.0, 0).filter(|flags| flags & 0x08 != 0)?;
        u24_at(self.0, 4)
    }
}

/// Geneve header (RFC 8926).
#[derive(Clone, Copy, Debug)]
pub struct Geneve<'a>(pub(super) &'a [u8]);

impl<'a> Geneve<'a> {
    /// The header at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Length of the header with its options, bytes; `None` for a version other than 0.
    pub fn header_length(&self) -> Option<usize> {
        let first = u8_at(self.0, 0).filter(|byte| byte >> 6 == 0)?;
        Some(8 + usize::from(first & 0x3f) * 4)
    }

    /// Ethertype of the payload.
    pub fn protocol(&self) -> Option<u16> {
        u16_at(self.0, 2)
    }

    /// Virtual network identifier.
    pub fn vni(&self) -> Option<u32> {
        u24_at(self.0, 4)
    }
}
