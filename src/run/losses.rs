//! Says in the log what the collector could not take: datagrams and samples that could not be read, and datagrams that
//! the kernel dropped. `/metrics` has the numbers; these lines are for those who look nowhere else.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use decode::{Address, SampleError};
use engine::{Handle, Status};
use tables::agent::AgentSummary;
use tables::select::Agents;
use tables::shard::Counters;
use tables::{Answer, Question};

/// Between two looks at the counters. Longer than the log keeps silent about one reason.
const INTERVAL: Duration = Duration::from_secs(11);

/// Agents of which the log tells at one look, those with most first; what further ones lost is one line.
const AGENTS: usize = 20;

/// Samples that lied, by [`SampleError::index`].
type SampleErrors = [u64; SampleError::ALL.len()];

/// The counters as they were told last.
pub(super) struct Losses {
    handle: Handle,
    told: Status,
    /// Those of agents that have sent what could not be read.
    told_of_agents: HashMap<Address, SampleErrors>,
    looked: Option<Instant>,
}

impl Losses {
    /// Nothing is told yet.
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle, told: Status::default(), told_of_agents: HashMap::new(), looked: None }
    }

    /// Tells what has been lost since the last time, when it is time to look.
    pub(super) fn tell(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now.duration_since(looked) < INTERVAL) {
            return;
        }
        // A collector that is too busy to answer is asked again.
        let Ok(status) = self.handle.status() else { return };
        let samples: u64 = status.counters.sample_errors.iter().sum();
        let samples = samples.saturating_sub(self.told.counters.sample_errors.iter().sum());
        let mut agents = Vec::new();
        if samples > 0 {
            match self.handle.ask(Question::Agents(Agents::All)) {
                Ok(Answer::Agents(all)) => agents = offenders(&mut self.told_of_agents, &all),
                _ => return,
            }
        }
        let (before, after) = (&self.told.counters, &status.counters);
        let datagrams = grown(before.datagram_errors(), after.datagram_errors());
        let of_sockets =
            |status: &Status| status.kernel_drops.unwrap_or(0).saturating_sub(status.queue_drops);
        let dropped = of_sockets(&status).saturating_sub(of_sockets(&self.told));
        let at_queues = grown(queue_drops(&self.told).into_iter(), queue_drops(&status).into_iter());
        let sources = grown(refused_sources(&self.told).into_iter(), refused_sources(&status).into_iter());
        if let Some(reasons) = &datagrams {
            tracing::warn!("Datagrams that could not be read: {reasons}; sFlow version 5 is expected");
        }
        let refused = grown(refusals(before), refusals(after));
        if let Some(reasons) = &refused {
            tracing::warn!("Datagrams refused: {reasons}; [agents] in the configuration lists agents");
        }
        let mut others = samples;
        for (agent, number, reasons) in agents.iter().take(AGENTS) {
            tracing::warn!(agent = %agent, "Samples that could not be read: {reasons}");
            others = others.saturating_sub(*number);
        }
        if others > 0 {
            tracing::warn!("Samples that could not be read, of further agents: {others}");
        }
        if dropped > 0 {
            tracing::warn!("{dropped} datagrams dropped, the receive buffer was full: see --receive-buffer");
        }
        if let Some(reasons) = &at_queues {
            tracing::warn!(
                "Datagrams dropped at the queues of the interface: {reasons}; manual/drops.md tells what to do"
            );
        }
        if let Some(reasons) = &sources {
            tracing::warn!(
                "Datagrams dropped by the XDP program: {reasons}; [agents] in the configuration lists agents"
            );
        }
        // Where nothing was lost the next loss is told within a second.
        let told = [&datagrams, &refused, &at_queues, &sources];
        let lost = told.iter().any(|reasons| reasons.is_some()) || samples > 0 || dropped > 0;
        self.looked = lost.then_some(now);
        self.told = status;
    }
}

/// The agents that have sent samples since the last time that could not be read: how many and why, those with most
/// first.
fn offenders(
    told: &mut HashMap<Address, SampleErrors>,
    agents: &[AgentSummary],
) -> Vec<(Address, u64, String)> {
    let mut found = Vec::new();
    let mut now = HashMap::new();
    for summary in agents.iter().filter(|summary| summary.sample_errors != SampleErrors::default()) {
        let mut before = told.get(&summary.agent).copied().unwrap_or_default();
        let after = summary.sample_errors;
        if before.iter().zip(&after).any(|(before, after)| before > after) {
            // It was forgotten in between, and has begun anew.
            before = SampleErrors::default();
        }
        let labelled = |errors: SampleErrors| SampleError::ALL.iter().map(|error| error.label()).zip(errors);
        if let Some(reasons) = grown(labelled(before), labelled(after)) {
            let number = after.iter().sum::<u64>() - before.iter().sum::<u64>();
            found.push((summary.agent, number, reasons));
        }
        now.insert(summary.agent, after);
    }
    *told = now;
    found.sort_by_key(|(agent, number, _)| (std::cmp::Reverse(*number), *agent));
    found
}

/// Why packets that were steered to a queue never reached its worker.
fn queue_drops(status: &Status) -> [(&'static str, u64); 4] {
    let mut drops = [
        ("without a free frame, or longer than one", 0),
        ("the receive ring was full", 0),
        ("with a wrong checksum", 0),
        ("with a wrong length", 0),
    ];
    for queue in status.workers.iter().flat_map(|worker| &worker.queues) {
        let of = [queue.rx_dropped, queue.rx_ring_full, queue.checksum_wrong, queue.malformed];
        drops.iter_mut().zip(of).for_each(|((_, sum), count)| *sum += count);
    }
    drops
}

/// What the program on the interface refused.
fn refused_sources(status: &Status) -> [(&'static str, u64); 1] {
    let of = status.verdicts.iter().find(|(verdict, _)| *verdict == "refused_source");
    [("from where no listed agent sends", of.map_or(0, |(_, frames)| *frames))]
}

/// Why datagrams that could be read were not taken.
fn refusals(counters: &Counters) -> impl Iterator<Item = (&'static str, u64)> {
    [
        ("from elsewhere than their agent is listed with", counters.foreign_refused),
        ("of agents that are not listed", counters.unlisted_refused),
        ("of agents for which listed ones left no room", counters.agents_refused),
    ]
    .into_iter()
}

/// The reasons whose numbers have grown, and by how much.
fn grown<'a>(
    before: impl Iterator<Item = (&'a str, u64)>,
    after: impl Iterator<Item = (&'a str, u64)>,
) -> Option<String> {
    let more = before.zip(after).filter_map(|((_, old), (reason, new))| {
        let more = new.saturating_sub(old);
        (more > 0).then(|| format!("{more} {reason}"))
    });
    let lines: Vec<String> = more.collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use decode::build::DatagramBuilder;
    use decode::{Header, Tag};
    use tables::{Options, Outbox, Shard};

    use super::*;

    #[test]
    fn only_what_has_grown_is_told() {
        let before = [("version", 3), ("truncated", 1), ("address", 0)];
        let after = [("version", 5), ("truncated", 1), ("address", 1)];
        assert_eq!(grown(before.into_iter(), after.into_iter()).as_deref(), Some("2 version, 1 address"));
        assert_eq!(grown(after.into_iter(), after.into_iter()), None);
    }

    #[test]
    fn agents_are_told_with_what_is_new_those_with_most_first() {
        let (mut shard, mut told) = (Shard::new(Options::default()), HashMap::new());
        let address = |last| Address::V4([10, 0, 0, last].into());
        let lie = |shard: &mut Shard, last, sequence| {
            let header = Header { agent: address(last), sequence, ..Header::default() };
            let mut buffer = [0; 200];
            let mut builder = DatagramBuilder::new(&mut buffer, &header).unwrap();
            builder.raw_sample(Tag::new(0, 1), &[0; 32]).unwrap();
            let length = builder.finish().unwrap();
            let sender = std::net::Ipv4Addr::LOCALHOST.into();
            shard.datagram(&buffer[..length - 8], sender, 1, &mut Outbox::default());
        };
        let mut look = |shard: &Shard| {
            let question = Question::Agents(Agents::All);
            let Answer::Agents(agents) = shard.ask(&question, 2).finish(&question) else { panic!() };
            offenders(&mut told, &agents)
        };
        for (last, sequence) in [(1, 1), (2, 1), (2, 2)] {
            lie(&mut shard, last, sequence);
        }
        let one = |last, number: u64| (address(last), number, format!("{number} sample_length"));
        assert_eq!(look(&shard), [one(2, 2), one(1, 1)]);
        lie(&mut shard, 1, 2);
        assert_eq!(look(&shard), [one(1, 1)]);
        assert_eq!(look(&shard), []);
        // Forgotten in between, they begin anew.
        shard = Shard::new(Options::default());
        lie(&mut shard, 2, 9);
        assert_eq!(look(&shard), [one(2, 1)]);
    }
}
