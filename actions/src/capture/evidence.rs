//! Why a pair is captured: where its packets were seen, when, how many, and how much of them there is.

use std::net::IpAddr;
use std::sync::Arc;

/// Places that are remembered of a pair: data sources of agents that have seen it.
pub const MOST_PLACES: usize = 32;

/// A rate that was not told again for this long is not believed any more.
const RATE_LASTS_MS: u64 = 15_000;

/// A longer time between two ticks was none in which anything could be heard: the process was kept from working.
const LONGEST_TICK_MS: u64 = 5_000;

/// What is known of the port that a packet was seen at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Nothing.
    #[default]
    Unknown,
    /// Hosts are behind it.
    Edge,
    /// A link between switches.
    Core,
}

impl Role {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Edge => "edge",
            Self::Core => "core",
        }
    }
}

/// Packets of a pair that a trusted agent has seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// Whose flow it is: the policy's place in the configuration.
    pub policy: usize,
    /// The host that is ours.
    pub local: IpAddr,
    /// The host that is listed.
    pub remote: IpAddr,
    /// Whether the packets go to the listed host, and do not come from it.
    pub outward: bool,
    /// The group that the listed host is in.
    pub label: Arc<str>,
    /// Who has seen it.
    pub agent: IpAddr,
    /// Its data source.
    pub source: Arc<str>,
    /// What is known of that.
    pub role: Role,
    /// The agent that our host is attached to, where that is known.
    pub leaf: Option<IpAddr>,
    /// New samples since the last sighting there; 0 tells the rate only.
    pub samples: f64,
    /// Frames that these stand for.
    pub frames: f64,
    /// How much there is at this place, bits per second.
    pub bits_per_second: f64,
}

/// A data source that has seen the pair.
#[derive(Clone, Debug)]
pub struct Place {
    /// Whose.
    pub agent: IpAddr,
    /// The data source.
    pub source: Arc<str>,
    /// What is known of it.
    pub role: Role,
    /// Packets to the listed host, and packets from it.
    pub ways: [Way; 2],
}

/// One direction at one place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Way {
    /// Whether any were seen.
    pub seen: bool,
    /// How much there is.
    bits_per_second: f64,
    /// When that was told.
    told_ms: u64,
}

impl Way {
    /// How much there is, as far as that is believed.
    pub fn rate(&self, now_ms: u64) -> f64 {
        if now_ms.saturating_sub(self.told_ms) > RATE_LASTS_MS { 0.0 } else { self.bits_per_second }
    }
}

/// All evidence of a pair.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Where it was seen, the first place first.
    pub places: Vec<Place>,
    /// Places that were not remembered because there are too many.
    pub crowded: u64,
    /// Samples.
    pub samples: f64,
    /// Frames that they stand for, at all places together.
    pub frames: f64,
    /// When the last ones came.
    pub last_ms: u64,
    /// How long there was none, while their agents were heard.
    pub quiet_ms: u64,
    /// How long there was none, while nothing was heard of their agents.
    pub held_ms: u64,
}

impl Evidence {
    /// Takes a sighting.
    pub fn add(&mut self, sighting: &Sighting, now_ms: u64) {
        if sighting.samples > 0.0 {
            self.samples += sighting.samples;
            self.frames += sighting.frames.max(0.0);
            self.last_ms = now_ms;
            (self.quiet_ms, self.held_ms) = (0, 0);
        }
        let known = self
            .places
            .iter_mut()
            .position(|place| place.agent == sighting.agent && place.source == sighting.source);
        let at = match known {
            Some(at) => at,
            None if self.places.len() >= MOST_PLACES => {
                self.crowded += 1;
                return;
            }
            None => {
                self.places.push(Place {
                    agent: sighting.agent,
                    source: Arc::clone(&sighting.source),
                    role: sighting.role,
                    ways: [Way::default(); 2],
                });
                self.places.len() - 1
            }
        };
        let Some(place) = self.places.get_mut(at) else { return };
        place.role = sighting.role;
        let way = &mut place.ways[usize::from(!sighting.outward)];
        way.seen |= sighting.samples > 0.0;
        way.bits_per_second =
            if sighting.bits_per_second.is_finite() { sighting.bits_per_second.max(0.0) } else { 0.0 };
        way.told_ms = now_ms;
    }

    /// Time passes. Only time in which an agent of the evidence was heard is time without evidence: when all of them are
    /// silent nothing is known.
    pub fn age(&mut self, passed_ms: u64, heard: impl Fn(IpAddr) -> bool) {
        if passed_ms <= LONGEST_TICK_MS && self.places.iter().any(|place| heard(place.agent)) {
            self.quiet_ms += passed_ms;
        } else {
            self.held_ms += passed_ms;
        }
    }

    /// How much there is of both directions together, bits per second: of each the most that one place sees, because a
    /// packet that crosses three switches is one packet.
    pub fn bits_per_second(&self, now_ms: u64) -> f64 {
        let most =
            |way: usize| self.places.iter().map(|place| place.ways[way].rate(now_ms)).fold(0.0, f64::max);
        most(0) + most(1)
    }

    /// Whether packets to the listed host were seen, and packets from it.
    pub fn ways_seen(&self) -> [bool; 2] {
        [0, 1].map(|way| self.places.iter().any(|place| place.ways[way].seen))
    }

    /// How good a place to capture an agent is; `None` when it has not seen the pair. The best is where the host that is
    /// ours is attached: both directions cross it, whatever way they take through the fabric.
    pub fn score(&self, agent: IpAddr) -> Option<u32> {
        let mut seen = [false; 2];
        let (mut attached, mut edge) = (false, false);
        for place in self.places.iter().filter(|place| place.agent == agent) {
            let [outward, inward] = place.ways.map(|way| way.seen);
            seen = [seen[0] || outward, seen[1] || inward];
            // An ingress sample of a packet that leaves: the host is behind this very port.
            attached |= outward && place.role == Role::Edge;
            edge |= (outward || inward) && place.role == Role::Edge;
        }
        let any = seen[0] || seen[1];
        let both = seen[0] && seen[1];
        any.then(|| 1 + 2 * u32::from(both) + 4 * u32::from(edge) + 8 * u32::from(attached))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn sighting(agent: u8, outward: bool, role: Role) -> Sighting {
        Sighting {
            policy: 0,
            local: [10, 0, 0, 162].into(),
            remote: [192, 0, 2, 1].into(),
            outward,
            label: "block".into(),
            agent: [10, 0, 1, agent].into(),
            source: "3".into(),
            role,
            leaf: None,
            samples: 1.0,
            frames: 400.0,
            bits_per_second: 1000.0,
        }
    }

    #[test]
    fn a_packet_that_crosses_three_switches_counts_once_in_the_rate() {
        let mut evidence = Evidence::default();
        for agent in 1..=3 {
            evidence.add(&sighting(agent, true, Role::Unknown), 10);
        }
        assert_eq!((evidence.bits_per_second(10), evidence.ways_seen()), (1000.0, [true, false]));
        evidence.add(&sighting(2, false, Role::Unknown), 20);
        assert_eq!((evidence.bits_per_second(20), evidence.ways_seen()), (2000.0, [true, true]));
        assert_eq!(evidence.bits_per_second(20 + RATE_LASTS_MS), 1000.0, "what is old is not believed");
    }

    #[test]
    fn the_leaf_of_the_host_is_the_best_place() {
        let mut evidence = Evidence::default();
        evidence.add(&sighting(1, true, Role::Core), 0);
        evidence.add(&sighting(2, true, Role::Edge), 0);
        // The border sees what comes back enter at an edge port, and what goes out only on a link.
        evidence.add(&sighting(3, false, Role::Edge), 0);
        let score = |agent| evidence.score([10, 0, 1, agent].into());
        assert!(score(2) > score(3) && score(3) > score(1));
        assert_eq!(score(4), None);
    }

    #[test]
    fn silence_of_the_agents_is_no_lack_of_evidence() {
        let mut evidence = Evidence::default();
        evidence.add(&sighting(1, true, Role::Unknown), 0);
        evidence.age(1000, |_| true);
        evidence.age(1000, |_| false);
        evidence.age(LONGEST_TICK_MS + 1, |_| true);
        assert_eq!((evidence.quiet_ms, evidence.held_ms), (1000, 1000 + LONGEST_TICK_MS + 1));
        evidence.add(&Sighting { samples: 0.0, ..sighting(1, true, Role::Unknown) }, 5);
        assert_eq!(evidence.quiet_ms, 1000, "a rate alone is no evidence");
        evidence.add(&sighting(1, true, Role::Unknown), 6);
        assert_eq!((evidence.quiet_ms, evidence.held_ms), (0, 0));
    }
}
