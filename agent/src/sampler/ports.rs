//! Behind which port of a bridge an address is: the kernel's forwarding databases, as they were a short while ago.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use decode::Mac;

use super::kernel;

/// Addresses that are kept at most; what is beyond them is behind a port that is not known.
const MOST_ADDRESSES: usize = 65_536;

/// How long an answer is good for: an address that moves without an interface coming or going is told late by this.
const LIFETIME: Duration = Duration::from_secs(30);

/// How long the kernel is not asked again, whatever is missing.
const REST: Duration = Duration::from_secs(1);

/// Where an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind the port with this ifIndex.
    Port(u32),
    /// It is the host's own.
    Host,
}

/// The ports behind which addresses are.
#[derive(Debug, Default)]
pub(super) struct Ports {
    places: HashMap<(u32, Mac), Place>,
    read: Option<Instant>,
    stale: bool,
    full: u64,
}

impl Ports {
    /// Where the address is, as seen from a bridge. The kernel is asked when that is not known, or known for long; once
    /// a second at most.
    pub(super) fn place(&mut self, socket: &OwnedFd, bridge: u32, mac: Mac, now: Instant) -> Option<Place> {
        let known = self.places.get(&(bridge, mac)).copied();
        let age = self.read.map(|read| now.saturating_duration_since(read));
        let ask = match (known, age) {
            (_, None) => true,
            (_, Some(age)) if age < REST => false,
            (None, _) => true,
            (Some(_), Some(age)) => self.stale || age >= LIFETIME,
        };
        if !ask {
            return known;
        }
        self.read = Some(now);
        self.stale = false;
        // Without an answer there are no places, which is the truth.
        let read = kernel::forwarding(socket, |(places, full): &mut (HashMap<_, _>, u64), entry| {
            if places.len() >= MOST_ADDRESSES {
                *full += 1;
                return;
            }
            let place = if entry.local { Place::Host } else { Place::Port(entry.port) };
            places.insert((entry.bridge, entry.mac), place);
        });
        let (places, full) = read.unwrap_or_default();
        self.places = places;
        self.full += full;
        self.places.get(&(bridge, mac)).copied()
    }

    /// An interface has come or gone, and with it what is known.
    pub(super) fn changed(&mut self) {
        self.stale = true;
    }

    /// Addresses that were left out because there were too many, so far.
    pub(super) fn full(&self) -> u64 {
        self.full
    }
}
