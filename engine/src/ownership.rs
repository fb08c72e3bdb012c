//! Which worker owns an agent, and the way of a datagram from the worker that received it to the one that owns it.
//!
//! All of an agent is on one shard. Where the kernel steers datagrams by their agent, the owner is computed, and
//! only what arrived before the steering was in place is handed over. Where it does not, the first worker that sees
//! an agent owns it, until its shard lets go of it; all workers look that up in one directory, each through a cache
//! of its own.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use decode::{Address, Header};
use hashbrown::HashMap;
use ingest::wake::Waker;
use tables::Outbox;

use crate::steer;

/// Datagrams that go to another worker together at most, and their bytes.
const PARCEL: usize = 64;
const PARCEL_BYTES: usize = 256 << 10;

/// Parcels that may wait for a worker.
const PARCELS: usize = 64;

/// How long a worker may go on believing who owned an agent; meanwhile the former owner passes it on.
const BELIEVED_US: u64 = 1_000_000;

type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// Datagrams on their way to their owner.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    bytes: Vec<u8>,
    /// Length and sender of each.
    datagrams: Vec<(usize, IpAddr)>,
}

impl Parcel {
    fn push(&mut self, bytes: &[u8], sender: IpAddr) {
        self.bytes.extend_from_slice(bytes);
        self.datagrams.push((bytes.len(), sender));
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
    }

    fn is_full(&self) -> bool {
        self.datagrams.len() >= PARCEL || self.bytes.len() >= PARCEL_BYTES
    }

    /// The datagrams in it.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = (&[u8], IpAddr)> {
        let mut rest = self.bytes.as_slice();
        self.datagrams.iter().map_while(move |(length, sender)| {
            let (bytes, after) = rest.split_at_checked(*length)?;
            rest = after;
            Some((bytes, *sender))
        })
    }
}

/// Who owns which agent, where that is not computed.
#[derive(Debug)]
struct Directory {
    owners: Mutex<Map<Address, usize>>,
    /// Counts the releases: what a cache knows may be old when it has changed.
    releases: AtomicU64,
    most: usize,
}

impl Directory {
    /// The owner of an agent: whoever asks, when it has none. Beyond the limit the owner is computed, which all
    /// workers do alike.
    fn claim(&self, agent: Address, by: usize, workers: usize) -> usize {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(owner) = owners.get(&agent) {
            return *owner;
        }
        if owners.len() >= self.most {
            return steer::home(agent, workers);
        }
        owners.insert(agent, by);
        by
    }

    fn release(&self, agents: &[Address], by: usize) {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        for agent in agents {
            if owners.get(agent) == Some(&by) {
                owners.remove(agent);
            }
        }
        drop(owners);
        self.releases.fetch_add(1, Ordering::Release);
    }
}

/// What was handed to other workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandOver {
    /// Datagrams that were handed to their owner.
    pub handed_over: u64,
    /// Datagrams that were dropped because too many waited for their owner already.
    pub handover_full: u64,
}

/// What one worker knows of the ownership of agents.
#[derive(Debug)]
pub struct Ownership(Option<Box<Shared>>);

#[derive(Debug)]
struct Shared {
    me: usize,
    /// Whether the kernel steers, so that owners are computed.
    steered: bool,
    directory: Arc<Directory>,
    cache: Map<Address, usize>,
    /// The directory's releases when the cache was emptied, and when they were looked at.
    releases: u64,
    looked_us: u64,
    others: Vec<Other>,
    /// For each worker, what is put aside for it.
    open: Vec<Parcel>,
    /// Parcels that were emptied, for their allocation.
    empty: (Sender<Parcel>, Receiver<Parcel>),
    counts: HandOver,
}

/// The way to a worker; that to oneself is not used.
#[derive(Clone, Debug)]
struct Other {
    parcels: Sender<Parcel>,
    waker: Waker,
}

impl Ownership {
    /// That of a worker that has no others: every agent is its own.
    pub fn alone() -> Self {
        Self(None)
    }

    /// Those of as many workers as there are wakers, each with the parcels that come to it. The directory holds
    /// `most` agents.
    pub(crate) fn shared(wakers: &[Waker], steered: bool, most: usize) -> Vec<(Self, Receiver<Parcel>)> {
        let directory = Arc::new(Directory { owners: Mutex::default(), releases: AtomicU64::new(0), most });
        let (others, incoming): (Vec<_>, Vec<_>) = wakers
            .iter()
            .map(|waker| {
                let (parcels, incoming) = bounded(PARCELS);
                (Other { parcels, waker: waker.clone() }, incoming)
            })
            .unzip();
        let empty = bounded(PARCELS);
        incoming
            .into_iter()
            .enumerate()
            .map(|(me, incoming)| {
                let shared = Shared {
                    me,
                    steered,
                    directory: Arc::clone(&directory),
                    cache: Map::default(),
                    releases: 0,
                    looked_us: 0,
                    others: others.clone(),
                    open: wakers.iter().map(|_| Parcel::default()).collect(),
                    empty: empty.clone(),
                    counts: HandOver::default(),
                };
                let alone = wakers.len() == 1;
                (if alone { Self::alone() } else { Self(Some(Box::new(shared))) }, incoming)
            })
            .collect()
    }

    /// Whether the datagram is for this worker. One that is not is put aside for its owner.
    pub(crate) fn keeps(&mut self, bytes: &[u8], sender: IpAddr) -> bool {
        match &mut self.0 {
            None => true,
            Some(shared) => shared.keeps(bytes, sender),
        }
    }

    /// Ends a batch: what was put aside is on its way, and what the shard let go of may be owned by others.
    pub(crate) fn settle(&mut self, outbox: &mut Outbox, now_us: u64) {
        if let Some(shared) = &mut self.0 {
            shared.release(&outbox.released);
            shared.freshen(now_us);
            for to in 0..shared.others.len() {
                shared.send(to);
            }
        }
        outbox.released.clear();
    }

    /// Takes back a parcel that was read.
    pub(crate) fn recycle(&self, mut parcel: Parcel) {
        parcel.clear();
        if let Some(shared) = &self.0 {
            let _ = shared.empty.0.try_send(parcel);
        }
    }

    /// What was handed to others.
    pub(crate) fn counts(&self) -> HandOver {
        self.0.as_ref().map(|shared| shared.counts).unwrap_or_default()
    }
}

impl Shared {
    fn keeps(&mut self, bytes: &[u8], sender: IpAddr) -> bool {
        // What cannot be read belongs to nobody: it is counted where it came.
        let Ok(header) = Header::read(&mut decode::xdr::Reader::new(bytes)) else { return true };
        let owner = self.owner(header.agent);
        if owner == self.me {
            return true;
        }
        let Some(parcel) = self.open.get_mut(owner) else { return true };
        parcel.push(bytes, sender);
        if parcel.is_full() {
            self.send(owner);
        }
        false
    }

    fn owner(&mut self, agent: Address) -> usize {
        if self.steered {
            return steer::home(agent, self.others.len());
        }
        if let Some(owner) = self.cache.get(&agent) {
            return *owner;
        }
        let owner = self.directory.claim(agent, self.me, self.others.len());
        if self.cache.len() >= self.directory.most {
            self.cache.clear();
        }
        self.cache.insert(agent, owner);
        owner
    }

    fn release(&mut self, agents: &[Address]) {
        if self.steered || agents.is_empty() {
            return;
        }
        for agent in agents {
            self.cache.remove(agent);
        }
        self.directory.release(agents, self.me);
    }

    /// Forgets what others may have released meanwhile.
    fn freshen(&mut self, now_us: u64) {
        if now_us.saturating_sub(self.looked_us) < BELIEVED_US {
            return;
        }
        self.looked_us = now_us;
        let releases = self.directory.releases.load(Ordering::Acquire);
        if releases != self.releases {
            self.releases = releases;
            self.cache.clear();
        }
    }

    /// Sends what was put aside for a worker. When too much waits for it already, this is dropped and counted.
    fn send(&mut self, to: usize) {
        let (Some(open), Some(other)) = (self.open.get_mut(to), self.others.get(to)) else { return };
        let datagrams = open.datagrams.len() as u64;
        if datagrams == 0 {
            return;
        }
        let parcel = std::mem::replace(open, self.empty.1.try_recv().unwrap_or_default());
        match other.parcels.try_send(parcel) {
            Ok(()) => {
                self.counts.handed_over += datagrams;
                other.waker.wake();
            }
            Err(TrySendError::Full(parcel) | TrySendError::Disconnected(parcel)) => {
                self.counts.handover_full += datagrams;
                *open = parcel;
                open.clear();
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const SENDER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn agent(n: u8) -> Address {
        Address::V4([10, 0, 0, n].into())
    }

    fn datagram(n: u8) -> Vec<u8> {
        [5, 1, 0x0a00_0000 + u32::from(n), 0, 1, 1000, 0].iter().flat_map(|w: &u32| w.to_be_bytes()).collect()
    }

    fn two(most: usize) -> [(Ownership, Receiver<Parcel>); 2] {
        let wakers = [Waker::new().unwrap(), Waker::new().unwrap()];
        Ownership::shared(&wakers, false, most).try_into().unwrap()
    }

    fn released(agents: &[u8]) -> Outbox {
        Outbox { released: agents.iter().copied().map(agent).collect(), ..Outbox::default() }
    }

    #[test]
    fn the_first_that_sees_an_agent_owns_it_and_others_hand_over() {
        let [(mut a, _to_a), (mut b, to_b)] = two(100);
        assert!(b.keeps(&datagram(1), SENDER) && a.keeps(&datagram(2), SENDER));
        assert!(!a.keeps(&datagram(1), SENDER));
        a.settle(&mut Outbox::default(), 0);
        let parcel = to_b.try_recv().unwrap();
        assert_eq!(parcel.datagrams().collect::<Vec<_>>(), [(datagram(1).as_slice(), SENDER)]);
        assert_eq!(a.counts(), HandOver { handed_over: 1, handover_full: 0 });
        assert!(a.keeps(b"garbage", SENDER), "what nobody owns stays");
        let address_only = &datagram(1)[..12];
        assert!(a.keeps(address_only, SENDER), "a header that ends early makes no owner");
    }

    #[test]
    fn a_released_agent_is_owned_by_the_next_that_sees_it() {
        let [(mut a, to_a), (mut b, to_b)] = two(100);
        assert!(b.keeps(&datagram(1), SENDER) && !a.keeps(&datagram(1), SENDER));
        b.settle(&mut released(&[1]), 1);
        a.settle(&mut Outbox::default(), BELIEVED_US + 1);
        drop(to_b.try_recv());
        assert!(a.keeps(&datagram(1), SENDER), "A has looked again");
        assert!(!b.keeps(&datagram(1), SENDER));
        b.settle(&mut Outbox::default(), 2);
        assert_eq!(to_a.try_recv().unwrap().datagrams().count(), 1);
        // Somebody else's agent cannot be released.
        b.settle(&mut released(&[1]), 3);
        assert!(!b.keeps(&datagram(1), SENDER));
    }

    #[test]
    fn a_full_way_drops_and_counts() {
        let [(mut a, _to_a), (mut b, to_b)] = two(100);
        assert!(b.keeps(&datagram(1), SENDER));
        let sent = (PARCELS * PARCEL) as u64 + 10;
        for _ in 0..sent {
            assert!(!a.keeps(&datagram(1), SENDER));
        }
        a.settle(&mut Outbox::default(), 0);
        assert_eq!(a.counts(), HandOver { handed_over: sent - 10, handover_full: 10 });
        let arrived: usize = to_b.try_iter().map(|parcel| parcel.datagrams().count()).sum();
        assert_eq!(arrived as u64, sent - 10);
        assert!(!a.keeps(&datagram(1), SENDER));
        a.settle(&mut Outbox::default(), 0);
        assert_eq!(to_b.try_recv().unwrap().datagrams().count(), 1, "what was dropped is gone");
    }

    #[test]
    fn beyond_the_directory_all_agree_who_owns_an_agent() {
        let [(mut a, _to_a), (mut b, _to_b)] = two(3);
        for n in 0..50 {
            let datagram = datagram(n);
            let by_a = a.keeps(&datagram, SENDER);
            assert_ne!(by_a, b.keeps(&datagram, SENDER), "exactly one owns {n}");
        }
        assert!(a.0.unwrap().cache.len() <= 3);
    }

    #[test]
    fn where_the_kernel_steers_owners_are_computed() {
        let wakers = [Waker::new().unwrap(), Waker::new().unwrap()];
        let [(mut a, _), (mut b, _)] = <[_; 2]>::try_from(Ownership::shared(&wakers, true, 10)).unwrap();
        for n in 0..50 {
            let home = steer::home(agent(n), 2);
            assert_eq!(
                (b.keeps(&datagram(n), SENDER), a.keeps(&datagram(n), SENDER)),
                (home == 1, home == 0)
            );
        }
    }
}
