//! How many replicas a service should have: a pure function of time and observations.
//!
//! It reads no clock and does no I/O. `now` is the time since the program began, which no step of a clock changes.
//! The decision has two halves: [`Policy::observe`] says what the service would have alone, [`Policy::decide`] what it may
//! do now with its share of what all services have.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::budget::Claim;
use super::config::{Metric, Missing, Service, seconds};
use super::decision::{Decision, Grant, Hold, Outlook, Shown, Verdict, Wish};
use super::expression::Fold;
use super::history::{Changes, Wishes};
use super::loss::Losses;
use super::observation::{Observation, Pool, Replica, Sample, Telemetry};

/// Two ages of one value differ by less than this: they are read at slightly different times.
const SAME_SAMPLE: Duration = Duration::from_millis(100);

/// Sums that should be whole may miss it by this share.
const ROUNDING: f64 = 1e-9;

/// The policy of a service, with what it remembers.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: Service,
    pause: Pause,
    /// The replicas that were seen or set last.
    known: Option<u64>,
    /// The number that was asked for and not read back.
    asked: Option<u64>,
    manual_until: Option<Duration>,
    running: BTreeSet<String>,
    /// Since when these run.
    settled: Duration,
    /// How many values each has sent since, and when the last one came.
    samples: BTreeMap<String, (u32, Duration)>,
    differ_since: Option<Duration>,
    /// The agent that loses most, and the share that it loses.
    loss: Option<(String, f64)>,
    losses: Losses,
    wishes: Wishes,
    changes: Changes,
}

/// Whether a service is paused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pause {
    /// It is not.
    #[default]
    No,
    /// Until a time.
    Until(Duration),
    /// Until it goes on.
    Open,
}

impl Policy {
    /// A policy that has seen nothing: it holds until data are fresh.
    pub fn new(rules: Service) -> Self {
        Self {
            rules,
            pause: Pause::No,
            known: None,
            asked: None,
            manual_until: None,
            running: BTreeSet::new(),
            settled: Duration::ZERO,
            samples: BTreeMap::new(),
            differ_since: None,
            loss: None,
            losses: Losses::default(),
            wishes: Wishes::default(),
            changes: Changes::default(),
        }
    }

    /// What it goes by.
    pub fn rules(&self) -> &Service {
        &self.rules
    }

    /// Goes by other rules from now on; what was wished for by the old ones is forgotten.
    pub fn set_rules(&mut self, rules: Service) {
        if rules != self.rules {
            self.wishes.gap();
            self.rules = rules;
        }
    }

    /// Pauses or goes on.
    pub fn set_pause(&mut self, pause: Pause) {
        self.pause = pause;
    }

    /// Whether it is paused.
    pub fn pause(&self) -> Pause {
        self.pause
    }

    /// A number is about to be asked for: when it is seen later it is no person's.
    pub fn asking(&mut self, replicas: u64) {
        self.asked = Some(replicas);
    }

    /// A change was made and read back.
    pub fn done(&mut self, now: Duration, from: u64, to: u64) {
        self.known = Some(to);
        self.asked = None;
        self.changes.note(now, from, to);
    }

    /// Both halves, for a service that shares nothing.
    pub fn tick(&mut self, now: Duration, observation: &Observation) -> Decision {
        let outlook = self.observe(now, observation);
        self.decide(now, outlook, Grant::ALL)
    }

    /// What the service would have alone.
    pub fn observe(&mut self, now: Duration, observation: &Observation) -> Outlook {
        let pool = observation.pool.as_ref().ok();
        let telemetry = observation.telemetry.as_ref().ok();
        let replicas = pool.and_then(|pool| pool.replicas);
        if let Some(pool) = pool {
            self.notice(now, pool);
        }
        if let Some(telemetry) = telemetry {
            self.count_samples(now, telemetry);
            self.loss = self.losses.note(now, &telemetry.datagrams);
        }
        let values =
            telemetry.map(|telemetry| self.values(telemetry, replicas.unwrap_or(0))).unwrap_or_default();
        let wish = self.wish(now, observation, &values);
        if let Err(hold) = &wish {
            self.remember_hold(hold);
        }
        Outlook {
            replicas,
            running: pool.map_or(0, |pool| pool.running.len()),
            seen: telemetry.map_or(0, |telemetry| telemetry.replicas.len()),
            values,
            wish,
        }
    }

    /// What it claims of the replicas that all services share. Without data it keeps what it has.
    pub fn claim(&self, name: &str, outlook: &Outlook) -> Claim {
        let current = outlook.replicas.or(self.known).unwrap_or(self.rules.min);
        let (want, may_fall) = match &outlook.wish {
            Ok(wish) if !self.rules.dry_run => (wish.to, wish.may_fall),
            _ => (current, false),
        };
        Claim {
            name: name.to_owned(),
            priority: self.rules.priority,
            least: if may_fall { self.rules.min } else { current },
            current,
            want,
        }
    }

    /// What is done now, with its share of what all services have.
    pub fn decide(&mut self, now: Duration, outlook: Outlook, grant: Grant) -> Decision {
        let (verdict, reason) = match &outlook.wish {
            Err(hold) => (Verdict::Hold(hold.clone()), hold.to_string()),
            Ok(wish) => self.with_share(now, wish, grant),
        };
        Decision { verdict, outlook, reason }
    }

    fn with_share(&mut self, now: Duration, wish: &Wish, grant: Grant) -> (Verdict, String) {
        let from = wish.from;
        let hold = |hold: Hold| {
            let reason = format!("{}; {hold}", wish.reason);
            (Verdict::Hold(hold), reason)
        };
        if wish.to > from {
            let to = wish.to.min(grant.now);
            if to <= from && grant.share >= from {
                return hold(Hold::Budget { to: wish.to });
            }
            if to > from {
                return match self.grown(now, from, to) {
                    Ok(to) => (Verdict::Set { from, to }, wish.reason.clone()),
                    Err(why) => hold(why),
                };
            }
        }
        let gives_way = grant.share < wish.to.min(from);
        let to = wish.to.min(grant.share).max(self.rules.min);
        if to >= from || !wish.may_fall {
            return match &wish.waits {
                Some(waits) => hold(waits.clone()),
                None => (Verdict::Stay, wish.reason.clone()),
            };
        }
        match self.shrunk(now, from, to, gives_way) {
            Ok(to) if gives_way => {
                let reason = format!("gives way to services of a higher priority: {to} of {from} stay");
                (Verdict::Set { from, to }, reason)
            }
            Ok(to) => (Verdict::Set { from, to }, wish.reason.clone()),
            Err(why) => hold(why),
        }
    }

    /// How far it may grow at once.
    fn grown(&mut self, now: Duration, from: u64, to: u64) -> Result<u64, Hold> {
        self.cooled(now, self.rules.up.cooldown())?;
        let room = self.changes.room(now, true, self.rules.rate, seconds(self.rules.period_s));
        let step = self.rules.up.most(from, self.rules.has_targets());
        let most = from.saturating_add(step.min(room));
        if most > from { Ok(to.min(most)) } else { Err(Hold::Rate { to }) }
    }

    /// How far it may shrink at once. Who gives way has no time to cool down.
    fn shrunk(&mut self, now: Duration, from: u64, to: u64, gives_way: bool) -> Result<u64, Hold> {
        if !gives_way {
            self.cooled(now, self.rules.down.cooldown())?;
        }
        let room = self.changes.room(now, false, self.rules.rate, seconds(self.rules.period_s));
        let step = self.rules.down.most(from, self.rules.has_targets());
        let least = from.saturating_sub(step.min(room));
        if least < from { Ok(to.max(least)) } else { Err(Hold::Rate { to }) }
    }

    fn cooled(&self, now: Duration, cooldown: Duration) -> Result<(), Hold> {
        match self.changes.since_last(now) {
            Some(since) if since < cooldown => Err(Hold::Cooldown { left: cooldown - since }),
            _ => Ok(()),
        }
    }

    /// What the engine says may have been changed by somebody else, or at last be what was asked for.
    fn notice(&mut self, now: Duration, pool: &Pool) {
        if let (Some(known), Some(replicas)) = (self.known, pool.replicas)
            && known != replicas
        {
            if self.asked == Some(replicas) {
                self.done(now, known, replicas);
            } else {
                self.manual_until = Some(now + seconds(self.rules.manual_hold_s));
            }
        }
        self.known = pool.replicas.or(self.known);
        if pool.running != self.running {
            self.running.clone_from(&pool.running);
            self.settled = now;
            self.samples.clear();
        }
    }

    /// Counts the values that each replica has sent since the tasks are these.
    fn count_samples(&mut self, now: Duration, telemetry: &Telemetry) {
        for replica in &telemetry.replicas {
            let ages = replica.metrics.iter().flatten().map(|sample| sample.age);
            let Some(age) = ages.max() else { continue };
            let at = now.saturating_sub(age);
            if at <= self.settled || !self.running.contains(&replica.task) {
                continue;
            }
            let (count, last) = self.samples.entry(replica.task.clone()).or_default();
            if *count == 0 || at > *last + SAME_SAMPLE {
                (*count, *last) = (count.saturating_add(1), at);
            }
        }
    }

    /// What the metrics come to.
    fn values(&self, telemetry: &Telemetry, replicas: u64) -> Vec<Shown> {
        let value = |at: usize, metric: &Metric| {
            if metric.total {
                let total = self.fresh(telemetry.totals.get(at)).ok()?;
                return (replicas > 0).then(|| total / replicas as f64);
            }
            let values: Result<Vec<f64>, _> =
                telemetry.replicas.iter().map(|replica| self.fresh(replica.metrics.get(at))).collect();
            metric.metric.fold().of(&values.ok()?)
        };
        let shown = |(at, metric): (usize, &Metric)| Shown {
            metric: metric.metric.to_string(),
            value: value(at, metric),
            low: metric.low,
            high: metric.high,
            target: metric.target,
        };
        self.rules.metric.iter().enumerate().map(shown).collect()
    }

    /// A value that is fresh; its age when it is too old.
    fn fresh(&self, sample: Option<&Option<Sample>>) -> Result<f64, Option<Duration>> {
        let sample = sample.copied().flatten().filter(|sample| sample.value.is_finite()).ok_or(None)?;
        if sample.age <= seconds(self.rules.fresh_s) { Ok(sample.value) } else { Err(Some(sample.age)) }
    }

    /// What it would do alone, or why nothing.
    fn wish(&mut self, now: Duration, seen: &Observation, values: &[Shown]) -> Result<Wish, Hold> {
        let pool = seen.pool.as_ref().map_err(|why| Hold::Engine(why.clone()))?;
        let replicas = pool.replicas.ok_or(Hold::Global)?;
        self.may_act(now, pool, replicas)?;
        if replicas == 0 {
            return self.raised();
        }
        let telemetry = seen.telemetry.as_ref().map_err(|why| Hold::Telemetry(why.clone()))?;
        self.agree(now, pool, telemetry, replicas)?;
        self.hears_enough()?;
        let missing = self.missing(telemetry);
        if let Some(hold) = &missing
            && self.rules.missing == Missing::Hold
        {
            return Err(hold.clone());
        }
        self.have_settled(telemetry)?;
        let (wanted, reason) = self.wanted(replicas, values);
        if let Some(hold) = missing
            && wanted <= replicas
        {
            return Err(hold);
        }
        let may_fall = values.iter().all(|shown| shown.value.is_some());
        let (wanted, reason) = self.bounded(wanted, reason);
        let to = self.stabilised(now, replicas, wanted);
        let waits = (to != wanted).then_some(Hold::Stabilising { to: wanted });
        Ok(Wish { from: replicas, to, may_fall, waits, reason })
    }

    /// Whether the operator, the engine or a person forbid it.
    fn may_act(&self, now: Duration, pool: &Pool, replicas: u64) -> Result<(), Hold> {
        if !self.rules.enabled {
            return Err(Hold::Disabled);
        }
        match self.pause {
            Pause::Open => return Err(Hold::Paused(None)),
            Pause::Until(until) if now < until => return Err(Hold::Paused(Some(until - now))),
            _ => {}
        }
        if let Some(until) = self.manual_until
            && now < until
        {
            return Err(Hold::Manual { replicas, left: until - now });
        }
        if pool.updating { Err(Hold::Updating) } else { Ok(()) }
    }

    /// A service of 0 replicas tells no metrics: the operator alone decides.
    fn raised(&self) -> Result<Wish, Hold> {
        if !self.rules.from_zero {
            return Err(Hold::Zero);
        }
        let reason = "it has 0 replicas, and from_zero is set".to_owned();
        Ok(Wish { from: 0, to: self.rules.min, may_fall: false, waits: None, reason })
    }

    /// Whether what is asked for runs, and is what telemetry sees.
    fn agree(&mut self, now: Duration, pool: &Pool, telemetry: &Telemetry, asked: u64) -> Result<(), Hold> {
        let seen: BTreeSet<&str> = telemetry.replicas.iter().map(|replica| replica.task.as_str()).collect();
        let strange = seen.iter().filter(|task| !pool.running.contains(**task)).count();
        let agree = pool.running.len() as u64 == asked
            && strange == 0
            && seen.len() == pool.running.len()
            && telemetry.replicas.len() == seen.len();
        if agree {
            self.differ_since = None;
            return Ok(());
        }
        let since = now.saturating_sub(*self.differ_since.get_or_insert(now));
        Err(Hold::Differ {
            asked,
            running: pool.running.len(),
            seen: telemetry.replicas.len(),
            strange,
            since,
        })
    }

    /// Whether the agents of its nodes are heard well enough.
    fn hears_enough(&self) -> Result<(), Hold> {
        match &self.loss {
            Some((agent, share)) if *share > self.rules.most_loss => {
                Err(Hold::Loss { agent: agent.clone(), share: *share })
            }
            _ => Ok(()),
        }
    }

    /// The first metric that a replica has no fresh value of.
    fn missing(&self, telemetry: &Telemetry) -> Option<Hold> {
        let hold = |metric: &Metric, replica: Option<&Replica>, age| Hold::Missing {
            metric: metric.metric.to_string(),
            task: replica.map(|replica| replica.task.clone()),
            age,
        };
        for (at, metric) in self.rules.metric.iter().enumerate() {
            if metric.total {
                if let Err(age) = self.fresh(telemetry.totals.get(at)) {
                    return Some(hold(metric, None, age));
                }
                continue;
            }
            for replica in &telemetry.replicas {
                if let Err(age) = self.fresh(replica.metrics.get(at)) {
                    return Some(hold(metric, Some(replica), age));
                }
            }
        }
        None
    }

    /// Whether every replica has sent new values since their number changed.
    fn have_settled(&self, telemetry: &Telemetry) -> Result<(), Hold> {
        let needed = self.rules.samples();
        let sent = |replica: &Replica| self.samples.get(&replica.task).map_or(0, |(count, _)| *count);
        let measured = self.rules.metric.iter().any(|metric| !metric.total);
        let settled =
            !measured || needed == 0 || telemetry.replicas.iter().all(|replica| sent(replica) >= needed);
        if settled { Ok(()) } else { Err(Hold::Settling { samples: needed }) }
    }

    /// The number that the metrics ask for, and why.
    fn wanted(&self, replicas: u64, values: &[Shown]) -> (u64, String) {
        if self.rules.has_targets() {
            self.by_targets(replicas, values)
        } else {
            self.by_thresholds(replicas, values)
        }
    }

    /// The article's rule: up when any metric is high, down when all are low; and never down to a number at which
    /// the same load would be high again.
    fn by_thresholds(&self, replicas: u64, values: &[Shown]) -> (u64, String) {
        let above =
            |shown: &&Shown| matches!((shown.value, shown.high), (Some(value), Some(high)) if value > high);
        if let Some(shown) = values.iter().find(above) {
            let step = self.rules.up.most(replicas, false);
            let reason = format!("{} {} > {}", shown.metric, number(shown.value), number(shown.high));
            return (replicas.saturating_add(step), reason);
        }
        let below =
            |shown: &Shown| matches!((shown.value, shown.low), (Some(value), Some(low)) if value < low);
        if !values.iter().all(below) {
            return (replicas, format!("{}: within the thresholds", listed(values)));
        }
        let mut to = replicas.saturating_sub(self.rules.down.most(replicas, false)).max(self.rules.min);
        while to < replicas && !self.fits(replicas, to, values) {
            to += 1;
        }
        if to >= replicas {
            return (replicas, format!("{}: low, and high with fewer replicas", listed(values)));
        }
        (to, format!("{}: low", listed(values)))
    }

    /// Whether no metric would be high if `to` replicas had the load of `from`.
    fn fits(&self, from: u64, to: u64, values: &[Shown]) -> bool {
        let grows = from as f64 / to.max(1) as f64;
        self.rules.metric.iter().zip(values).all(|(metric, shown)| match (shown.value, shown.high) {
            _ if metric.metric.fold() == Fold::Sum && !metric.total => true,
            (Some(value), Some(high)) => value * grows <= high,
            _ => false,
        })
    }

    /// As many as bring each replica to the target; the metric that needs most decides.
    fn by_targets(&self, replicas: u64, values: &[Shown]) -> (u64, String) {
        let needs = |(metric, shown): (&Metric, &Shown)| {
            let (value, target) = (shown.value?, shown.target?);
            // A sum over the containers is the service's, whatever their number.
            let all = if metric.metric.fold() == Fold::Sum && !metric.total {
                value
            } else {
                value * replicas as f64
            };
            let off = all / target / replicas as f64 - 1.0;
            let needed = (all / target * (1.0 - ROUNDING)).ceil().max(0.0) as u64;
            Some(if off.abs() <= self.rules.tolerance { replicas } else { needed })
        };
        let needed = self.rules.metric.iter().zip(values).filter_map(needs).max();
        let to = needed.unwrap_or(replicas);
        (to, format!("{}: {to} replicas would meet the target", listed(values)))
    }

    /// Never beyond the bounds.
    fn bounded(&self, wanted: u64, reason: String) -> (u64, String) {
        let (min, max) = (self.rules.min, self.rules.max);
        match wanted {
            _ if wanted > max => (max, format!("{reason}; {max} is the most")),
            _ if wanted < min => (min, format!("{reason}; {min} is the least")),
            _ => (wanted, reason),
        }
    }

    /// The least that was wished for within the window when it grows, the most when it shrinks.
    fn stabilised(&mut self, now: Duration, replicas: u64, wanted: u64) -> u64 {
        let (up, down) = (self.rules.up.stabilise(), self.rules.down.stabilise());
        self.wishes.note(now, wanted, up.max(down));
        // Bounds that the operator has changed do not wait.
        if !(self.rules.min..=self.rules.max).contains(&replicas) {
            return wanted;
        }
        let window = if wanted > replicas { up } else { down };
        let (least, most, full) = self.wishes.within(now, window).unwrap_or((wanted, wanted, false));
        match wanted.cmp(&replicas) {
            Ordering::Greater if full => least.max(replicas),
            Ordering::Less if full => most.min(replicas),
            _ => replicas,
        }
    }

    /// What came before a time without data says nothing of it.
    fn remember_hold(&mut self, hold: &Hold) {
        if !matches!(hold, Hold::Differ { .. } | Hold::Settling { .. } | Hold::Updating) {
            self.wishes.gap();
        }
        if !matches!(hold, Hold::Differ { .. }) {
            self.differ_since = None;
        }
    }
}

/// All metrics with their values.
fn listed(values: &[Shown]) -> String {
    let texts: Vec<String> =
        values.iter().map(|shown| format!("{} {}", shown.metric, number(shown.value))).collect();
    texts.join(", ")
}

/// A number with three digits behind the point where they say something.
fn number(value: Option<f64>) -> String {
    match value {
        None => "unknown".to_owned(),
        Some(value) if value.abs() >= 1000.0 || value.fract() == 0.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.3}"),
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
