//! The agents of a shard, bounded in number: who gives way when there are too many, and who is gone.
//!
//! The agent's address is whatever a datagram says, so a spoofer chooses as many as it likes. Those heard once
//! give way to one another in the order they came; an agent that is heard again after [`ESTABLISHED_US`] is
//! established and gives way only when there is no newcomer left. Agents that the operator has listed give way to one
//! another alone. Each step costs the same however many there are.

use std::collections::VecDeque;

use decode::Address;

use crate::agent::Agent;
use crate::mem;
use crate::source::Map;

/// An agent heard this long after its first datagram is no newcomer, microseconds.
const ESTABLISHED_US: u64 = 1_000_000;

/// Of so many established or listed agents, those whose turn it is, the one that has been silent for longest gives way.
const CANDIDATES: usize = 16;

/// Agents that are guessed.
const MOST_GUESSES: usize = 8192;

/// Agents by address.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    places: Map<Address, u32>,
    /// Places of those that were heard last, by a few bits of their addresses: most are found without a hash.
    guesses: Vec<u32>,
    slots: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// Whose turn it is to give way. An entry whose ticket is no longer in its slot is passed over.
    newcomers: VecDeque<Ticket>,
    established: VecDeque<Ticket>,
    listed: VecDeque<Ticket>,
    next_serial: u64,
    swept: usize,
}

#[derive(Debug)]
struct Entry {
    address: Address,
    agent: Agent,
    serial: u64,
    standing: Standing,
}

/// In which queue an agent's ticket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Newcomer,
    Established,
    Listed,
}

/// Who is to give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Yielding {
    /// Newcomers.
    Newcomers,
    /// Established agents too, where there is no newcomer.
    Established,
    /// Listed agents too, where there is no other.
    Listed,
}

/// A slot, and the serial number of the agent that was there.
#[derive(Clone, Copy, Debug)]
struct Ticket {
    place: u32,
    serial: u64,
}

impl Roster {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Where the agent is, for [`Roster::heard`].
    #[inline]
    pub(crate) fn place(&mut self, address: &Address) -> Option<u32> {
        let guess = self.guess(address);
        if let Some(place) = self.guesses.get(guess).copied()
            && self.entry(place).is_some_and(|entry| entry.address == *address)
        {
            return Some(place);
        }
        let place = *self.places.get(address)?;
        if let Some(guessed) = self.guesses.get_mut(guess) {
            *guessed = place;
        }
        Some(place)
    }

    /// An agent is heard soon: brings near what is where it is likely to be.
    #[inline]
    pub(crate) fn bring_near(&self, address: &Address) {
        let place = self.guesses.get(self.guess(address)).copied();
        if let Some(entry) = place.and_then(|place| self.slots.get(place as usize)) {
            mem::prefetch_value(entry);
        }
    }

    /// Where an agent is guessed. Whoever chooses addresses that are guessed at one place has them found by their hash.
    #[inline]
    fn guess(&self, address: &Address) -> usize {
        let bits = match address {
            Address::Unknown => 0,
            Address::V4(address) => u64::from(address.to_bits()),
            Address::V6(address) => (address.to_bits() >> 64) as u64 ^ address.to_bits() as u64,
        };
        // The upper bits of this product spread addresses evenly that follow one another, as those of switches do.
        let mixed = bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        ((mixed * self.guesses.len() as u64) >> 32) as usize
    }

    #[inline]
    fn entry(&self, place: u32) -> Option<&Entry> {
        self.slots.get(place as usize)?.as_ref()
    }

    /// The agent at a place, which is heard now.
    #[inline]
    pub(crate) fn heard(&mut self, place: u32, now_us: u64) -> Option<&mut Agent> {
        let entry = self.slots.get_mut(place as usize)?.as_mut()?;
        let stays = entry.standing == Standing::Newcomer
            && now_us.saturating_sub(entry.agent.first_seen_us) >= ESTABLISHED_US;
        if stays {
            entry.standing = Standing::Established;
            self.established.push_back(Ticket { place, serial: entry.serial });
        }
        Some(&mut entry.agent)
    }

    /// Adds an agent whose address is not known yet; where it is.
    pub(crate) fn add(&mut self, address: Address, agent: Agent) -> u32 {
        let serial = self.next_serial;
        self.next_serial += 1;
        let standing = if agent.listed { Standing::Listed } else { Standing::Newcomer };
        let entry = Some(Entry { address, agent, serial, standing });
        let place = match self.free.pop() {
            Some(place) => place,
            // Agents are capped far below this.
            None => u32::try_from(self.slots.len()).unwrap_or(u32::MAX),
        };
        match self.slots.get_mut(place as usize) {
            Some(slot) => *slot = entry,
            None => self.slots.push(entry),
        }
        self.places.insert(address, place);
        if self.places.len() * 2 > self.guesses.len() && self.guesses.len() < MOST_GUESSES {
            self.guesses.resize((self.places.len() * 4).min(MOST_GUESSES), 0);
        }
        let queue = if standing == Standing::Listed { &mut self.listed } else { &mut self.newcomers };
        queue.push_back(Ticket { place, serial });
        place
    }

    /// An agent.
    pub(crate) fn get(&self, address: &Address) -> Option<&Agent> {
        let place = *self.places.get(address)?;
        Some(&self.slots.get(place as usize)?.as_ref()?.agent)
    }

    /// All agents.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Address, &Agent)> {
        self.slots.iter().flatten().map(|entry| (entry.address, &entry.agent))
    }

    /// Takes away the agent whose turn it is to give way: a newcomer, or where there is none one of those that `most`
    /// allows.
    pub(crate) fn give_way(&mut self, most: Yielding) -> Option<(Address, Agent)> {
        while let Some(ticket) = self.newcomers.pop_front() {
            if self.held(ticket).is_some_and(|entry| entry.standing == Standing::Newcomer) {
                return self.take(ticket.place);
            }
        }
        let mut silent = None;
        if most >= Yielding::Established {
            let mut queue = std::mem::take(&mut self.established);
            silent = self.most_silent(&mut queue);
            self.established = queue;
        }
        if most >= Yielding::Listed && silent.is_none() {
            let mut queue = std::mem::take(&mut self.listed);
            silent = self.most_silent(&mut queue);
            self.listed = queue;
        }
        silent.and_then(|ticket| self.take(ticket.place))
    }

    /// Of those whose turn it is, the one that has been silent for longest; the others go to the end.
    fn most_silent(&self, queue: &mut VecDeque<Ticket>) -> Option<Ticket> {
        let mut silent: Option<(u64, Ticket)> = None;
        let mut candidates = 0;
        while candidates < CANDIDATES {
            let Some(ticket) = queue.pop_front() else { break };
            // Tickets without an agent are gone with this, so that each is passed over once.
            let Some(entry) = self.held(ticket) else { continue };
            candidates += 1;
            let last_seen_us = entry.agent.last_seen_us;
            match &mut silent {
                Some((least, _)) if *least <= last_seen_us => queue.push_back(ticket),
                _ => {
                    let passed_over = silent.replace((last_seen_us, ticket));
                    queue.extend(passed_over.map(|(_, ticket)| ticket));
                }
            }
        }
        silent.map(|(_, ticket)| ticket)
    }

    /// Visits one part in `parts` of the agents, those that were not visited for longest; one for which `keep` is
    /// false is taken away.
    pub(crate) fn sweep(&mut self, parts: usize, mut keep: impl FnMut(Address, &mut Agent) -> bool) {
        for _ in 0..self.slots.len().div_ceil(parts) {
            let place = self.swept;
            self.swept = if place + 1 < self.slots.len() { place + 1 } else { 0 };
            let Some(Some(entry)) = self.slots.get_mut(place) else { continue };
            if !keep(entry.address, &mut entry.agent) {
                self.take(u32::try_from(place).unwrap_or(u32::MAX));
            }
        }
        self.discard_stale_tickets();
    }

    fn held(&self, ticket: Ticket) -> Option<&Entry> {
        let entry = self.slots.get(ticket.place as usize)?.as_ref()?;
        (entry.serial == ticket.serial).then_some(entry)
    }

    fn take(&mut self, place: u32) -> Option<(Address, Agent)> {
        let entry = self.slots.get_mut(place as usize)?.take()?;
        self.places.remove(&entry.address);
        self.free.push(place);
        Some((entry.address, entry.agent))
    }

    /// Keeps the queues in proportion to the agents that are there.
    fn discard_stale_tickets(&mut self) {
        let most = 2 * self.len() + 64;
        let slots = &self.slots;
        for (queue, standing) in [
            (&mut self.newcomers, Standing::Newcomer),
            (&mut self.established, Standing::Established),
            (&mut self.listed, Standing::Listed),
        ] {
            if queue.len() > most {
                queue.retain(|ticket| {
                    let entry = slots.get(ticket.place as usize).and_then(Option::as_ref);
                    entry.is_some_and(|entry| entry.serial == ticket.serial && entry.standing == standing)
                });
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn address(n: u32) -> Address {
        Address::V4(n.into())
    }

    fn heard(roster: &mut Roster, n: u32, now_us: u64) -> Option<&mut Agent> {
        let place = roster.place(&address(n))?;
        roster.heard(place, now_us)
    }

    fn agent(now_us: u64) -> Agent {
        Agent { last_seen_us: now_us, ..Agent::new(now_us) }
    }

    /// Whoever is heard again stays, however many come once.
    #[test]
    fn newcomers_give_way_to_one_another_before_the_established() {
        let mut roster = Roster::default();
        for n in 0..10 {
            roster.add(address(n), agent(0));
        }
        for n in 0..5 {
            assert!(heard(&mut roster, n, ESTABLISHED_US).is_some());
        }
        for n in 100..10_000 {
            assert!(roster.give_way(Yielding::Established).is_some());
            roster.add(address(n), agent(2 * ESTABLISHED_US));
        }
        assert_eq!(roster.len(), 10);
        assert!((0..5).all(|n| roster.place(&address(n)).is_some()));
        assert!((9995..10_000).all(|n| roster.place(&address(n)).is_some()), "the last ones are there");
    }

    #[test]
    fn of_the_established_the_silent_one_gives_way() {
        let mut roster = Roster::default();
        for n in 0..CANDIDATES as u32 {
            roster.add(address(n), agent(0));
            let heard = heard(&mut roster, n, ESTABLISHED_US);
            heard
                .into_iter()
                .for_each(|agent| agent.last_seen_us = if n == 7 { 1 } else { 10 + u64::from(n) });
        }
        assert!(roster.give_way(Yielding::Newcomers).is_none());
        assert_eq!(roster.give_way(Yielding::Established).map(|(address, _)| address), Some(address(7)));
        assert_eq!(roster.give_way(Yielding::Established).map(|(address, _)| address), Some(address(0)));
        assert_eq!(roster.len(), CANDIDATES - 2);
    }

    #[test]
    fn a_guess_that_is_wrong_is_seen() {
        let mut roster = Roster::default();
        // More than can be guessed, so that some share a guess.
        let all = 0..MOST_GUESSES as u32 + 1000;
        for n in all.clone() {
            roster.add(address(n), agent(0));
        }
        for n in all.clone().chain(all.rev()) {
            let place = roster.place(&address(n)).unwrap();
            assert_eq!(roster.entry(place).map(|entry| entry.address), Some(address(n)));
        }
        let place = roster.place(&address(7)).unwrap();
        roster.take(place);
        assert_eq!(roster.place(&address(7)), None, "it is gone");
        assert_eq!(roster.add(Address::Unknown, agent(0)), place, "another one has its place");
        assert_eq!((roster.place(&address(7)), roster.place(&Address::Unknown)), (None, Some(place)));
    }

    #[test]
    fn the_listed_give_way_to_one_another_alone() {
        let mut roster = Roster::default();
        for n in 0..10 {
            roster.add(address(n), Agent { listed: true, last_seen_us: u64::from(10 - n), ..Agent::new(0) });
            roster.add(address(100 + n), agent(0));
            heard(&mut roster, 100 + n, ESTABLISHED_US);
        }
        for _ in 0..10 {
            let (address, _) = roster.give_way(Yielding::Listed).unwrap();
            assert!(address >= Address::V4(100.into()), "those that are not listed go first");
        }
        assert!(roster.give_way(Yielding::Established).is_none());
        assert_eq!(
            roster.give_way(Yielding::Listed).map(|(address, _)| address),
            Some(address(9)),
            "the silent one"
        );
        assert_eq!(roster.len(), 9);
    }

    #[test]
    fn a_sweep_visits_all_and_queues_stay_in_proportion() {
        let mut roster = Roster::default();
        for n in 0..1000 {
            roster.add(address(n), agent(0));
            if n % 2 == 0 {
                heard(&mut roster, n, ESTABLISHED_US);
            }
        }
        let mut visited = 0;
        for _ in 0..10 {
            roster.sweep(10, |address, _| {
                visited += 1;
                address == Address::V4(3.into())
            });
        }
        assert_eq!((visited, roster.len()), (1000, 1));
        roster.sweep(1, |_, _| true);
        assert!(roster.newcomers.len() + roster.established.len() < 300);
        for n in 0..1000 {
            roster.add(address(5000 + n), agent(0));
        }
        assert_eq!(roster.slots.len(), 1001, "freed places are taken again");
    }
}
