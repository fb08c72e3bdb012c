//! Which agents the operator has listed, and where their datagrams must come from (promise A1).
//!
//! The address of an agent is whatever a datagram says, and so is all else in it. Where it comes from is the one thing
//! that a network can be made to vouch for. What a listed agent is said to have sent from elsewhere is refused before it
//! is counted as the agent's, or taken and the agent flagged for a time. Actions use listed agents alone.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use decode::Address;
use ip_network::IpNetwork;
use ip_network_table::IpNetworkTable;

/// How long an agent is not to be trusted after a datagram of it that came from elsewhere was taken, microseconds.
pub const FLAGGED_US: u64 = 600_000_000;

/// Places for the times at which agents were flagged. Agents that share one share its time: one that is flagged costs
/// another one's trust now and then, and never gives it any.
const FLAGS: usize = 4096;

/// Prefixes of one entry that its agents may send from.
pub const MOST_SOURCES: usize = 64;

/// What becomes of datagrams of agents that are not listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unlisted {
    /// They are taken for analytics.
    #[default]
    Take,
    /// They are refused.
    Refuse,
}

/// What becomes of datagrams of listed agents that come from elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Foreign {
    /// They are refused: what is known of the agent stays true.
    #[default]
    Refuse,
    /// They are taken for analytics, and the agent is not trusted for [`FLAGGED_US`].
    Flag,
}

/// Agents and where they send from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    agents: IpNetwork,
    /// Empty where each sends from its own address.
    sources: Vec<IpNetwork>,
}

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct EntryError {
    /// Which of the sources, or `None` for the agents.
    pub source_at: Option<usize>,
    /// What is wrong with it.
    pub why: String,
}

impl Listed {
    /// The agents of an address or prefix, which send from these addresses or prefixes; from their own addresses where
    /// there are none.
    ///
    /// # Errors
    /// A text is no prefix, or there are more than [`MOST_SOURCES`].
    pub fn new<S: AsRef<str>>(agents: &str, sources: &[S]) -> Result<Self, EntryError> {
        let agents = prefix(agents).map_err(|why| EntryError { source_at: None, why })?;
        if sources.len() > MOST_SOURCES {
            let why = format!("{} prefixes; {MOST_SOURCES} are allowed", sources.len());
            return Err(EntryError { source_at: Some(MOST_SOURCES), why });
        }
        let each = sources.iter().enumerate();
        let sources = each
            .map(|(at, text)| prefix(text.as_ref()).map_err(|why| EntryError { source_at: Some(at), why }))
            .collect::<Result<_, _>>()?;
        Ok(Self { agents, sources })
    }

    /// Which agents it is about.
    pub fn agents(&self) -> IpNetwork {
        self.agents
    }

    fn may_come_from(&self, agent: IpAddr, sender: IpAddr) -> bool {
        if self.sources.is_empty() {
            agent == sender
        } else {
            self.sources.iter().any(|of| of.contains(sender))
        }
    }
}

/// The prefix that a text names; an address is one of all its bits.
///
/// # Errors
/// What the text is instead.
pub fn prefix(text: &str) -> Result<IpNetwork, String> {
    let wrong = || format!("{text:?} is no address and no prefix");
    let (address, length) =
        text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let Some(length) = length else { return Ok(address.into()) };
    let length = length.parse().map_err(|_| wrong())?;
    IpNetwork::new(address, length)
        .map_err(|_| format!("{text:?} is no prefix: it has host bits, or too many bits"))
}

/// What the operator says of agents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Those that are listed; of several entries that an agent is in the longest prefix counts.
    pub listed: Vec<Listed>,
    /// What becomes of the others.
    pub unlisted: Unlisted,
    /// What becomes of what comes from elsewhere.
    pub foreign: Foreign,
}

impl List {
    /// The prefixes, address and length, that all datagrams come from which are taken; `None` where one that is taken may
    /// come from anywhere: agents that are not listed are taken, or listed ones from elsewhere.
    pub fn senders(&self) -> Option<Vec<(IpAddr, u8)>> {
        if self.unlisted == Unlisted::Take || self.foreign == Foreign::Flag {
            return None;
        }
        let of = |entry: &Listed| match entry.sources.as_slice() {
            [] => vec![entry.agents],
            sources => sources.to_vec(),
        };
        let mut senders: Vec<(IpAddr, u8)> = self
            .listed
            .iter()
            .flat_map(of)
            .map(|prefix| (prefix.network_address(), prefix.netmask()))
            .collect();
        senders.sort_unstable();
        senders.dedup();
        Some(senders)
    }
}

/// The list, compiled.
#[derive(Default)]
pub struct Trust {
    list: List,
    /// Places in the list, by agent.
    places: IpNetworkTable<usize>,
    /// When agents were last flagged, microseconds of the shards' time plus one; none where foreign datagrams are refused.
    flags: Box<[AtomicU64]>,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust").field("list", &self.list).finish_non_exhaustive()
    }
}

/// What is to be done with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Taken; its agent is not listed.
    Unlisted,
    /// Taken; it comes from where its agent sends.
    Listed,
    /// Taken; it comes from elsewhere.
    Flagged,
    /// Not taken; its agent is not listed.
    RefusedUnlisted,
    /// Not taken; it comes from elsewhere.
    RefusedForeign,
}

impl Trust {
    /// The list, compiled. Of two entries with the same agents the later one counts.
    pub fn new(list: List) -> Self {
        let mut places = IpNetworkTable::new();
        for (place, entry) in list.listed.iter().enumerate() {
            places.insert(entry.agents, place);
        }
        let flags = if list.foreign == Foreign::Flag { FLAGS } else { 0 };
        Self { list, places, flags: (0..flags).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Whether actions may go by what this agent sends at this moment of the shards' time. What is taken from elsewhere
    /// takes the trust away before anything of it can be told.
    pub fn trusts(&self, agent: Address, now_us: u64) -> bool {
        let flagged_us = self.flag_of(agent).map_or(0, |flag| flag.load(Ordering::Acquire));
        self.lists(agent) && (flagged_us == 0 || now_us.saturating_sub(flagged_us - 1) >= FLAGGED_US)
    }

    /// Notes that something was taken which came from elsewhere.
    pub(crate) fn flag(&self, agent: Address, now_us: u64) {
        if let Some(flag) = self.flag_of(agent) {
            flag.fetch_max(now_us + 1, Ordering::AcqRel);
        }
    }

    fn flag_of(&self, agent: Address) -> Option<&AtomicU64> {
        let bits = match agent.ip()? {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        let mixed = ((bits >> 64) as u64 ^ bits as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.flags.get((mixed >> 52) as usize)
    }

    /// The list.
    pub fn list(&self) -> &List {
        &self.list
    }

    /// Whether an agent is listed.
    pub fn lists(&self, agent: Address) -> bool {
        agent.ip().is_some_and(|ip| self.entry(ip).is_some())
    }

    /// Whether any agent is listed.
    pub fn lists_any(&self) -> bool {
        !self.list.listed.is_empty()
    }

    /// Whether all datagrams are taken and no agent is listed, so that none needs a verdict.
    pub(crate) fn is_idle(&self) -> bool {
        !self.lists_any() && self.list.unlisted == Unlisted::Take
    }

    fn entry(&self, agent: IpAddr) -> Option<&Listed> {
        let (_, place) = self.places.longest_match(agent)?;
        self.list.listed.get(*place)
    }

    /// What is to be done with a datagram of this agent that `sender` sent.
    pub(crate) fn verdict(&self, agent: Address, sender: IpAddr) -> Verdict {
        let found = agent.ip().and_then(|ip| Some((ip, self.entry(ip)?)));
        match (found, self.list.foreign) {
            (None, _) if self.list.unlisted == Unlisted::Take => Verdict::Unlisted,
            (None, _) => Verdict::RefusedUnlisted,
            (Some((ip, entry)), _) if entry.may_come_from(ip, sender) => Verdict::Listed,
            (Some(_), Foreign::Flag) => Verdict::Flagged,
            (Some(_), Foreign::Refuse) => Verdict::RefusedForeign,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn trust(unlisted: Unlisted, foreign: Foreign) -> Trust {
        let entry = |agents, sources: &[&str]| Listed::new(agents, sources).unwrap();
        let listed = vec![
            entry("10.0.0.0/24", &[]),
            entry("10.0.0.7", &["192.0.2.0/24", "2001:db8::7"]),
            entry("2001:db8::/32", &["2001:db8::/32"]),
        ];
        Trust::new(List { listed, unlisted, foreign })
    }

    #[test]
    fn an_agent_that_was_flagged_is_trusted_again_after_a_time() {
        let agent = Address::V4([10, 0, 0, 7].into());
        let flags = trust(Unlisted::Take, Foreign::Flag);
        assert!(flags.trusts(agent, 5) && !flags.trusts(Address::V4([11, 0, 0, 7].into()), 5));
        flags.flag(agent, 5);
        assert!(!flags.trusts(agent, 5) && !flags.trusts(agent, 4 + FLAGGED_US));
        assert!(flags.trusts(agent, 5 + FLAGGED_US));
        let refuses = trust(Unlisted::Take, Foreign::Refuse);
        refuses.flag(agent, 5);
        assert!(refuses.trusts(agent, 5), "what came from elsewhere was not taken");
    }

    fn verdict(trust: &Trust, agent: &str, sender: &str) -> Verdict {
        let agent = match agent.parse().unwrap() {
            IpAddr::V4(v4) => Address::V4(v4),
            IpAddr::V6(v6) => Address::V6(v6),
        };
        trust.verdict(agent, sender.parse().unwrap())
    }

    #[test]
    fn an_agent_sends_from_its_own_address_or_from_where_its_entry_says() {
        let trust = trust(Unlisted::Take, Foreign::Refuse);
        for (agent, sender, wanted) in [
            ("10.0.0.1", "10.0.0.1", Verdict::Listed),
            ("10.0.0.1", "10.0.0.2", Verdict::RefusedForeign),
            // The longest prefix counts, and says nothing of its own address.
            ("10.0.0.7", "10.0.0.7", Verdict::RefusedForeign),
            ("10.0.0.7", "192.0.2.9", Verdict::Listed),
            ("10.0.0.7", "2001:db8::7", Verdict::Listed),
            ("2001:db8::1", "2001:db8:ffff::1", Verdict::Listed),
            ("2001:db8::1", "10.0.0.1", Verdict::RefusedForeign),
            ("10.0.1.1", "10.0.1.1", Verdict::Unlisted),
            ("::ffff:10.0.0.1", "10.0.0.1", Verdict::Unlisted),
        ] {
            assert_eq!(verdict(&trust, agent, sender), wanted, "{agent} from {sender}");
        }
        assert_eq!(trust.verdict(Address::Unknown, [10, 0, 0, 1].into()), Verdict::Unlisted);
        assert!(trust.lists(Address::V4([10, 0, 0, 9].into())) && !trust.lists(Address::Unknown));
    }

    #[test]
    fn senders_are_known_where_nobody_else_is_taken() {
        let senders = |unlisted, foreign| trust(unlisted, foreign).list.senders();
        assert_eq!(senders(Unlisted::Take, Foreign::Refuse), None);
        assert_eq!(senders(Unlisted::Refuse, Foreign::Flag), None, "what is flagged is taken");
        let known = senders(Unlisted::Refuse, Foreign::Refuse).unwrap();
        let known: Vec<String> =
            known.iter().map(|(address, length)| format!("{address}/{length}")).collect();
        // An agent that sends through a relay is none that its own address is asked for.
        assert_eq!(known, ["10.0.0.0/24", "192.0.2.0/24", "2001:db8::/32", "2001:db8::7/128"]);
        let nobody = List { unlisted: Unlisted::Refuse, ..List::default() };
        assert_eq!(nobody.senders(), Some(Vec::new()));
    }

    #[test]
    fn what_is_refused_and_flagged_is_an_option() {
        let strict = trust(Unlisted::Refuse, Foreign::Flag);
        assert_eq!(verdict(&strict, "10.0.1.1", "10.0.1.1"), Verdict::RefusedUnlisted);
        assert_eq!(verdict(&strict, "10.0.0.1", "10.0.0.2"), Verdict::Flagged);
        assert!(Trust::default().is_idle() && !strict.is_idle());
        assert!(!Trust::new(List { unlisted: Unlisted::Refuse, ..List::default() }).is_idle());
    }

    #[test]
    fn entries_that_are_none_are_named() {
        let said = |agents, sources: &[&str]| Listed::new(agents, sources).unwrap_err();
        assert_eq!(said("switch1", &[]).why, "\"switch1\" is no address and no prefix");
        assert!(said("10.0.0.1/8", &[]).why.contains("host bits"));
        assert_eq!(said("10.0.0.1", &["10.0.0.1", "10.0.0.0/33"]).source_at, Some(1));
        assert_eq!(said("10.0.0.1", &["10.0.0.1"; 65]).why, "65 prefixes; 64 are allowed");
        assert!(Listed::new("10.0.0.1", &["0.0.0.0/0", "::/0"]).is_ok());
    }
}
