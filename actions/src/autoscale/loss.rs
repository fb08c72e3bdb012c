//! How much of what the nodes' agents send is lost on its way. What is left of it is no ground to decide on.

use std::collections::BTreeMap;
use std::time::Duration;

/// What is known of the datagrams of an agent since it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Datagrams {
    /// Those that came.
    pub received: u64,
    /// Those that did not, by their numbers.
    pub lost: u64,
}

/// Loss is counted over this time.
const WINDOW: Duration = Duration::from_secs(30);

/// Fewer datagrams say nothing.
const FEWEST: u64 = 10;

/// The loss of the agents of a service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Losses {
    /// For each agent the counts of two windows ago or less, when they were taken, and those that replace them.
    agents: BTreeMap<String, [(Duration, Datagrams); 2]>,
}

impl Losses {
    /// The agent that loses most and the share of its datagrams that it loses. Agents that are not among those that
    /// count now are forgotten.
    pub(crate) fn note(
        &mut self,
        now: Duration,
        counts: &BTreeMap<String, Datagrams>,
    ) -> Option<(String, f64)> {
        self.agents.retain(|agent, _| counts.contains_key(agent));
        let mut worst: Option<(String, f64)> = None;
        for (agent, count) in counts {
            let [old, young] = self.agents.entry(agent.clone()).or_insert([(now, *count); 2]);
            // Counts that fall have begun anew: the agent was forgotten meanwhile.
            if count.received < old.1.received || count.lost < old.1.lost {
                (*old, *young) = ((now, *count), (now, *count));
            }
            let (received, lost) = (count.received - old.1.received, count.lost - old.1.lost);
            if now.saturating_sub(young.0) >= WINDOW {
                (*old, *young) = (*young, (now, *count));
            }
            let all = received.saturating_add(lost);
            let share = lost as f64 / all.max(1) as f64;
            if all >= FEWEST && worst.as_ref().is_none_or(|(_, most)| share > *most) {
                worst = Some((agent.clone(), share));
            }
        }
        worst
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn counts(received: u64, lost: u64) -> BTreeMap<String, Datagrams> {
        BTreeMap::from([("a".to_owned(), Datagrams { received, lost })])
    }

    #[test]
    fn loss_is_that_of_the_last_two_windows() {
        let mut losses = Losses::default();
        let mut at = |now: u64, received, lost| {
            losses
                .note(Duration::from_secs(now), &counts(received, lost))
                .map(|(_, share)| (share * 100.0).round())
        };
        assert_eq!(at(0, 1000, 1000), None, "what was before is not known");
        assert_eq!(at(10, 1005, 1000), None, "too few");
        assert_eq!(at(20, 1010, 1010), Some(50.0));
        assert_eq!(at(30, 1030, 1010), Some(25.0));
        // The counts of the beginning are forgotten two windows later.
        assert_eq!(at(60, 1130, 1010), Some(7.0));
        assert_eq!(at(61, 1140, 1010), Some(0.0));
        assert_eq!(at(91, 1150, 1010), Some(0.0));
        assert_eq!(at(92, 1160, 1010), Some(0.0));
        assert_eq!(at(93, 5, 0), None, "it has begun anew");
        assert_eq!(at(94, 15, 90), Some(90.0));
    }

    #[test]
    fn the_worst_agent_is_named_and_those_that_went_are_forgotten() {
        let mut losses = Losses::default();
        let zero: BTreeMap<String, Datagrams> =
            ["a", "b"].map(|agent| (agent.to_owned(), Datagrams::default())).into();
        losses.note(Duration::ZERO, &zero);
        let mut now = counts(90, 10);
        now.insert("b".to_owned(), Datagrams { received: 50, lost: 50 });
        assert_eq!(losses.note(Duration::from_secs(1), &now), Some(("b".to_owned(), 0.5)));
        losses.note(Duration::from_secs(2), &counts(180, 20));
        assert_eq!(losses.agents.len(), 1);
    }
}
