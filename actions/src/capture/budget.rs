//! What captures may take: sessions and bits per second of each switch, of each analyzer and in all, and how many may
//! begin in a minute.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::config::{Config, Limits};

/// Sessions and bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Sessions.
    pub sessions: usize,
    /// Bits per second, estimated.
    pub bits_per_second: f64,
}

impl Load {
    fn add(&mut self, bits_per_second: f64) {
        self.sessions += 1;
        self.bits_per_second += bits_per_second;
    }
}

/// What is taken.
#[derive(Clone, Debug, Default)]
pub struct Loads {
    /// In all.
    pub all: Load,
    /// Of each switch, by its place in the configuration.
    pub switches: BTreeMap<usize, Load>,
    /// Of each analyzer.
    pub analyzers: BTreeMap<Ipv4Addr, Load>,
}

impl Loads {
    /// A session at a switch.
    pub fn add(&mut self, switch: usize, analyzer: Ipv4Addr, bits_per_second: f64) {
        self.all.add(bits_per_second);
        self.switches.entry(switch).or_default().add(bits_per_second);
        self.analyzers.entry(analyzer).or_default().add(bits_per_second);
    }

    /// A rule at a switch that belongs to no session: it is taken away, and until then it takes room.
    pub fn add_orphan(&mut self, switch: usize) {
        self.all.add(0.0);
        self.switches.entry(switch).or_default().add(0.0);
    }

    /// Why another session has no room; `None` when it has.
    pub fn refusal(&self, config: &Config, switch: usize, analyzer: Ipv4Addr, bits: f64) -> Option<String> {
        let taken = self.all_of(switch, analyzer);
        allowed(config, switch, analyzer).into_iter().zip(taken).find_map(|((whose, most), taken)| {
            if taken.sessions + 1 > most.sessions {
                return Some(format!("{whose} has {} of {} sessions", taken.sessions, most.sessions));
            }
            let bits = taken.bits_per_second + bits;
            (bits > most.bits_per_second).then(|| {
                format!("{whose} would have {bits:.0} of {:.0} bits per second", most.bits_per_second)
            })
        })
    }

    /// Which limit of bits per second is passed already; `None` when none is.
    pub fn excess(&self, config: &Config, switch: usize, analyzer: Ipv4Addr) -> Option<String> {
        let taken = self.all_of(switch, analyzer);
        allowed(config, switch, analyzer).into_iter().zip(taken).find_map(|((whose, most), taken)| {
            (taken.bits_per_second > most.bits_per_second).then(|| {
                format!(
                    "{whose} would have {:.0} of {:.0} bits per second",
                    taken.bits_per_second, most.bits_per_second
                )
            })
        })
    }

    fn all_of(&self, switch: usize, analyzer: Ipv4Addr) -> [Load; 3] {
        let of_switch = self.switches.get(&switch).copied().unwrap_or_default();
        [of_switch, self.analyzers.get(&analyzer).copied().unwrap_or_default(), self.all]
    }
}

/// What a switch, an analyzer and all together may have.
fn allowed(config: &Config, switch: usize, analyzer: Ipv4Addr) -> [(String, Load); 3] {
    let limits = &config.limits;
    let own = config.switches.get(switch);
    let name = own.map_or_else(String::new, |own| own.agent.to_string());
    let of_switch = Load {
        sessions: own.and_then(|own| own.sessions).unwrap_or(limits.sessions_per_switch),
        bits_per_second: own.and_then(|own| own.bits_per_second).unwrap_or(limits.bits_per_second_per_switch),
    };
    let of_analyzer =
        Load { sessions: limits.sessions_per_analyzer, bits_per_second: limits.bits_per_second_per_analyzer };
    [
        (format!("switch {name}"), of_switch),
        (format!("analyzer {analyzer}"), of_analyzer),
        ("all".to_owned(), Load { sessions: limits.sessions, bits_per_second: limits.bits_per_second }),
    ]
}

/// A bucket that a minute fills.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at_ms: u64,
}

impl Bucket {
    fn fill(&mut self, per_minute: u32, now_ms: u64) {
        let per_minute = f64::from(per_minute);
        let more = per_minute * now_ms.saturating_sub(self.at_ms) as f64 / 60_000.0;
        self.tokens = (self.tokens + more).min(per_minute);
        self.at_ms = now_ms;
    }
}

/// How many captures may still begin.
#[derive(Clone, Debug)]
pub struct Pace {
    all: Bucket,
    switches: BTreeMap<usize, Bucket>,
}

impl Pace {
    /// Full buckets.
    pub fn new(limits: &Limits) -> Self {
        let full = Bucket { tokens: f64::from(limits.begun_per_minute), at_ms: 0 };
        Self { all: full, switches: BTreeMap::new() }
    }

    /// Takes the beginning of a capture at a switch; why not when too many have begun.
    pub fn take(&mut self, limits: &Limits, switch: usize, now_ms: u64) -> Result<(), String> {
        let full = Bucket { tokens: f64::from(limits.begun_per_minute_per_switch), at_ms: now_ms };
        let own = self.switches.entry(switch).or_insert(full);
        own.fill(limits.begun_per_minute_per_switch, now_ms);
        self.all.fill(limits.begun_per_minute, now_ms);
        if own.tokens < 1.0 {
            return Err(format!(
                "{} have begun at this switch in a minute",
                limits.begun_per_minute_per_switch
            ));
        }
        if self.all.tokens < 1.0 {
            return Err(format!("{} have begun in a minute", limits.begun_per_minute));
        }
        own.tokens -= 1.0;
        self.all.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_minute_fills_the_bucket() {
        let limits = Limits { begun_per_minute: 3, begun_per_minute_per_switch: 2, ..Limits::default() };
        let mut pace = Pace::new(&limits);
        assert!(pace.take(&limits, 0, 0).is_ok() && pace.take(&limits, 0, 0).is_ok());
        assert!(pace.take(&limits, 0, 0).unwrap_err().contains("at this switch"));
        assert!(pace.take(&limits, 1, 0).is_ok());
        assert_eq!(pace.take(&limits, 1, 0).unwrap_err(), "3 have begun in a minute");
        assert!(
            pace.take(&limits, 0, 19_000).is_err(),
            "a third of a minute gives one of three, but this one's half"
        );
        assert!(pace.take(&limits, 0, 30_000).is_ok());
    }

    #[test]
    fn every_limit_refuses_by_its_name() {
        let json = serde_json::json!({
            "switch": [{"agent": "10.0.0.1", "driver": "dry-run", "sessions": 2},
                {"agent": "10.0.0.2", "driver": "dry-run"}],
            "capture_limits": {"sessions": 4, "sessions_per_analyzer": 3, "bits_per_second": 1000,
                "bits_per_second_per_switch": 500},
        });
        let config = serde_json::from_value::<super::super::config::Raw>(json).unwrap().check().unwrap();
        let (one, two) = ([10, 0, 0, 70].into(), [10, 0, 0, 71].into());
        let mut loads = Loads::default();
        loads.add(0, one, 100.0);
        assert_eq!(loads.refusal(&config, 0, one, 100.0), None);
        assert!(
            loads
                .refusal(&config, 0, one, 401.0)
                .unwrap()
                .starts_with("switch 10.0.0.1 would have 501 of 500")
        );
        loads.add(0, one, 100.0);
        assert_eq!(loads.refusal(&config, 0, one, 1.0).unwrap(), "switch 10.0.0.1 has 2 of 2 sessions");
        loads.add(1, one, 1.0);
        assert_eq!(loads.refusal(&config, 1, one, 1.0).unwrap(), "analyzer 10.0.0.70 has 3 of 3 sessions");
        loads.add(1, two, 1.0);
        assert_eq!(loads.refusal(&config, 1, two, 1.0).unwrap(), "all has 4 of 4 sessions");
        assert_eq!(loads.excess(&config, 1, two), None);
        loads.add(1, two, 900.0);
        assert!(loads.excess(&config, 1, two).unwrap().starts_with("switch 10.0.0.2"));
    }
}
