//! What a recipe asks of a packet before all else: whether an address of it is in a group at all.
//!
//! Most packets are in no group of a list of few hosts, and contribute nothing to a definition that has the group as a
//! key. That is seen from the address alone, and the structure that tells it can be brought near as soon as the packet
//! has been dissected.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::group::GroupSet;
use super::layout::Form;

/// A key that is the group of an address.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    /// Where the address begins in the sampled bytes.
    at: u16,
    /// Whether it is one of IPv6.
    wide: bool,
    set: Arc<GroupSet>,
    /// Sets that are asked where the first one has no group.
    others: Box<[Arc<GroupSet>]>,
}

impl Gate {
    /// Asks for the group of an address of this form; `None` where the form is no address.
    pub(super) fn new(at: u16, form: Form, sets: &[Arc<GroupSet>]) -> Option<Self> {
        let wide = match form {
            Form::V4 => false,
            Form::V6 => true,
            _ => return None,
        };
        let (set, others) = sets.split_first()?;
        Some(Self { at, wide, set: Arc::clone(set), others: others.into() })
    }

    /// Whether the packet's address is in no group. One that was cut off may be in any: the key itself tells.
    #[inline(always)]
    pub(super) fn shuts_out(&self, packet: &[u8]) -> bool {
        match self.address(packet) {
            Some(IpAddr::V4(address)) => !self.set.holds_v4(address) && self.others_shut_out(address.into()),
            Some(address) => self.set.group(address).is_none() && self.others_shut_out(address),
            None => false,
        }
    }

    #[inline(always)]
    fn others_shut_out(&self, address: IpAddr) -> bool {
        self.others.is_empty() || self.others.iter().all(|set| set.group(address).is_none())
    }

    /// Brings near what tells it.
    #[inline(always)]
    pub(super) fn bring_near(&self, packet: &[u8]) {
        match self.address(packet) {
            Some(IpAddr::V4(address)) => self.set.bring_near_v4(address),
            Some(IpAddr::V6(address)) => self.set.bring_near_v6(address),
            None => {}
        }
    }

    #[inline(always)]
    fn address(&self, packet: &[u8]) -> Option<IpAddr> {
        let rest = packet.get(usize::from(self.at)..)?;
        if self.wide {
            rest.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).into())
        } else {
            rest.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into())
        }
    }
}
