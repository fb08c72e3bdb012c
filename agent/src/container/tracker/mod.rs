//! Which containers run: the article's order of registering, listing and inspecting, as a state machine without I/O.
//!
//! Inputs come from the engine, from the processes' ends and from the clock; effects are what is to be asked, opened,
//! sampled and closed. However events, lists, answers, ends and lost streams interleave, each run of a container has one
//! first sample (none, when it began before anything was known of the container) and one last sample, and none is left
//! behind. A run that was over before its counters could be opened has both at once.
//!
//! The end of a process that is watched is decided by the watch alone. Who gives inputs tells an end that can be seen
//! before any registration, list or event that comes after it.

mod asked;
mod indexes;
mod inspects;
mod recent;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
mod timers;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use docker::{Action, Container, Event, EventTime, Id, Listed, State};

use asked::{Asked, Die, Next, Told, Verdict, runs};
use indexes::Indexes;
use inspects::Inspects;
use recent::Recent;
use timers::Timers;
pub use words::{Cause, Counts, Effect, Input, Options, RunState, Sample};

/// After the first sample, so that there are rates at once.
const SECOND_SAMPLE: Duration = Duration::from_secs(1);

const SHORTEST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The state machine.
#[derive(Debug)]
pub struct Tracker {
    options: Options,
    entries: BTreeMap<Id, Entry>,
    timers: Timers,
    inspects: Inspects,
    recent: Recent,
    /// The entries that are past, by the input that made them so: the oldest first.
    past: BTreeSet<(u64, Id)>,
    indexes: Indexes,
    inputs: u64,
    list_asked: u64,
    /// The input that began the stream; 0 before the first.
    registered: u64,
    wait: Duration,
    counts: Counts,
    effects: Vec<Effect>,
}

#[derive(Debug)]
struct Entry {
    index: u32,
    name: String,
    /// The input that last told the name: an answer to an earlier question has an older one.
    named: u64,
    paused: bool,
    /// The input that last told the pause, and when that was for the engine.
    frozen: (u64, Option<EventTime>),
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Asked(Asked),
    Running(Running),
    /// With the input that made it so.
    Past(Told, u64),
}

#[derive(Debug)]
struct Running {
    started_at: Option<EventTime>,
    /// No event of this run is earlier; absent when that cannot be said.
    not_before: Option<EventTime>,
    watched: bool,
    /// Whether the engine is asked if it still runs.
    checking: bool,
    samples: u64,
}

impl Tracker {
    /// A tracker that knows nothing yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            entries: BTreeMap::new(),
            timers: Timers::new(options.seed),
            inspects: Inspects::new(options.inspects),
            recent: Recent::default(),
            past: BTreeSet::new(),
            indexes: Indexes::default(),
            inputs: 0,
            list_asked: 0,
            registered: 0,
            wait: SHORTEST_WAIT,
            counts: Counts::default(),
            effects: Vec::new(),
        }
    }

    /// What is to be done first.
    pub fn start(&self) -> Vec<Effect> {
        vec![Effect::Register { since: None, after: Duration::ZERO }]
    }

    /// Takes an input, and says what is to be done.
    pub fn on(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        self.inputs += 1;
        match input {
            Input::Registered(time) => self.registered(time),
            Input::StreamLost => self.stream_lost(),
            Input::Listed(list) => self.listed(list),
            Input::Event(event) => self.event(event),
            Input::Inspected(container) => self.inspected(container),
            Input::Gone(id) => self.gone(id),
            Input::InspectFailed(id) => self.inspect_failed(id, now),
            Input::Opened { id, watched } => self.opened(id, watched, now),
            Input::NotOpened(id) => self.not_opened(id),
            Input::Unseen(id) => self.unseen(id),
            Input::Exited(id) => self.end(id, Die::Due),
            Input::Changed(id) => self.check(id),
            Input::Due => self.due_now(now),
        }
        while let Some(id) = self.inspects.next(self.inputs) {
            self.effects.push(Effect::Inspect(id));
        }
        std::mem::take(&mut self.effects)
    }

    /// When [`Input::Due`] is to be given.
    pub fn due(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| at)
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many containers run or are being asked about.
    pub fn alive(&self) -> usize {
        self.entries.len() - self.past.len()
    }

    /// The data source's index of a container that is known.
    pub fn index(&self, id: &Id) -> Option<u32> {
        self.entries.get(id).map(|entry| entry.index)
    }

    /// Samples are taken in another interval from each container's next one on, which is not later than that interval.
    pub fn set_polling(&mut self, polling: Duration, now: Instant) {
        self.options.polling = polling;
        let Self { timers, entries, .. } = self;
        let runs = |id: &Id| matches!(entries.get(id), Some(Entry { phase: Phase::Running(_), .. }));
        for id in timers.after(now + polling).filter(runs).collect::<Vec<_>>() {
            let due = now + timers.phase(polling);
            timers.set(id, due);
        }
    }

    fn registered(&mut self, time: Option<EventTime>) {
        if let Some(time) = time {
            self.engine_time(time);
        }
        if std::mem::replace(&mut self.registered, self.inputs) > 0 {
            for entry in self.entries.values_mut() {
                match &mut entry.phase {
                    Phase::Past(told, _) if told.die == Die::Due => told.die = Die::Doubtful,
                    Phase::Asked(asked) => asked.doubt(),
                    _ => {}
                }
            }
        }
        self.list_asked = self.inputs;
        self.effects.push(Effect::List);
    }

    /// When the engine's clock was set back, what was before says nothing of what is after it: a run that begins now is not
    /// one of those that were told because they began by a later time.
    fn engine_time(&mut self, time: EventTime) {
        if !self.recent.is_set_back(time) {
            return;
        }
        for entry in self.entries.values_mut() {
            match &mut entry.phase {
                Phase::Past(told, _) => told.until = None,
                Phase::Asked(asked) => asked.told.iter_mut().for_each(|told| told.until = None),
                Phase::Running(running) => running.not_before = None,
            }
        }
    }

    fn stream_lost(&mut self) {
        self.counts.streams_lost += 1;
        self.effects.push(Effect::Register { since: self.recent.since(), after: self.wait });
        self.wait = (self.wait * 2).min(self.options.longest_wait);
    }

    fn listed(&mut self, list: Vec<Listed>) {
        self.counts.lists += 1;
        self.wait = SHORTEST_WAIT;
        let mut seen = BTreeSet::new();
        for listed in list.into_iter().filter(|listed| matches!(listed.state, State::Running | State::Paused))
        {
            seen.insert(listed.id);
            match self.entries.get(&listed.id).map(|entry| &entry.phase) {
                None => self.ask(listed.id, &listed.name, Asked::listed(None)),
                Some(Phase::Past(told, _)) => {
                    let told = *told;
                    self.ask(listed.id, &listed.name, Asked::listed(Some(told)));
                }
                Some(Phase::Asked(_)) => self.ask_after(listed.id, self.list_asked),
                // The list may be from before the run that is known now, so that it is no more than a hint.
                Some(Phase::Running(_)) => {
                    let paused = listed.state == State::Paused;
                    let differs = |entry: &Entry| {
                        let watched = matches!(&entry.phase, Phase::Running(running) if running.watched);
                        !watched || entry.paused != paused || entry.name != listed.name
                    };
                    if self.entries.get(&listed.id).is_some_and(differs) {
                        self.check(listed.id);
                    }
                }
            }
        }
        let unwatched =
            self.entries.iter_mut().filter(|(id, _)| !seen.contains(id)).filter_map(|(id, entry)| {
                let Phase::Running(running) = &mut entry.phase else { return None };
                (!running.watched).then(|| {
                    running.checking = true;
                    *id
                })
            });
        for id in unwatched.collect::<Vec<_>>() {
            self.inspects.want(id);
        }
    }

    fn event(&mut self, event: Event) {
        if !self.recent.is_new(&event) {
            self.counts.duplicates += 1;
            return;
        }
        self.counts.events += 1;
        self.engine_time(event.time);
        let Event { id, action, name, time, .. } = event;
        match action {
            Action::Start => self.event_start(id, &name, time),
            Action::Die => self.event_die(id, &name, time),
            Action::Pause => self.event_pause(id, true, time),
            Action::Unpause => self.event_pause(id, false, time),
            Action::Rename { .. } => self.event_rename(id, &name),
            Action::Update => self.check(id),
            Action::Destroy => self.event_destroy(id),
            _ => {}
        }
    }

    fn event_start(&mut self, id: Id, name: &str, time: EventTime) {
        match self.entries.get_mut(&id).map(|entry| &mut entry.phase) {
            None => self.ask(id, name, Asked::started(time, None)),
            Some(Phase::Asked(asked)) => {
                asked.start(time);
                self.thaw(id, time);
            }
            Some(Phase::Running(running)) if running.watched => {}
            Some(Phase::Running(_)) => self.check(id),
            // Of the run that was told: nothing of a later one comes before its `die`.
            Some(Phase::Past(Told { die: Die::Due, .. }, _)) => {}
            Some(Phase::Past(told, _)) => {
                let told = *told;
                self.ask(id, name, Asked::started(time, Some(told)));
            }
        }
    }

    fn event_die(&mut self, id: Id, name: &str, time: EventTime) {
        match self.entries.get_mut(&id).map(|entry| &mut entry.phase) {
            None => self.ask(id, name, Asked::died(time, None)),
            Some(Phase::Asked(asked)) => {
                asked.die(time);
                self.thaw(id, time);
            }
            // Of an earlier run.
            Some(Phase::Running(running)) if running.not_before.is_some_and(|start| time < start) => {}
            Some(Phase::Running(running)) if running.watched => self.check(id),
            Some(Phase::Running(_)) => self.end(id, Die::Come),
            Some(Phase::Past(told, _)) if told.until.is_some_and(|until| time <= until) => {}
            Some(Phase::Past(told, _)) if told.die != Die::Come => told.die = Die::Come,
            Some(Phase::Past(told, _)) => {
                let told = *told;
                self.ask(id, name, Asked::died(time, Some(told)));
            }
        }
    }

    fn event_destroy(&mut self, id: Id) {
        match self.entries.get(&id).map(|entry| &entry.phase) {
            Some(Phase::Past(..)) => self.remove(id),
            Some(Phase::Running(_)) => self.check(id),
            Some(Phase::Asked(_)) | None => {}
        }
    }

    fn event_pause(&mut self, id: Id, paused: bool, time: EventTime) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Phase::Running(Running { not_before: Some(start), .. }) = &entry.phase
            && time < *start
        {
            return;
        }
        entry.frozen = (self.inputs, Some(time));
        self.tell(id, None, Some(paused));
    }

    fn event_rename(&mut self, id: Id, name: &str) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.named = self.inputs;
            self.tell(id, Some(name), None);
        }
    }

    /// What begins or ends is not paused.
    fn thaw(&mut self, id: Id, time: EventTime) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.paused = false;
            entry.frozen = (self.inputs, Some(time));
        }
    }

    /// Asks the engine whether a container still runs, and how.
    fn check(&mut self, id: Id) {
        if let Some(Entry { phase: Phase::Running(running), .. }) = self.entries.get_mut(&id) {
            running.checking = true;
            self.inspects.want(id);
        }
    }

    /// Asks the engine about a container that may run.
    fn ask(&mut self, id: Id, name: &str, asked: Asked) {
        if self.alive() >= self.options.containers {
            self.counts.refused += 1;
            return;
        }
        let inputs = self.inputs;
        let asked = asked.since(inputs);
        match self.entries.get_mut(&id) {
            Some(entry) => {
                if let Phase::Past(_, of) = entry.phase {
                    self.past.remove(&(of, id));
                }
                name.clone_into(&mut entry.name);
                entry.named = inputs;
                entry.paused = false;
                entry.frozen = (inputs, None);
                entry.phase = Phase::Asked(asked);
            }
            None => {
                let index = self.indexes.take(&id);
                let name = name.to_owned();
                let phase = Phase::Asked(asked);
                let entry =
                    Entry { index, name, named: inputs, paused: false, frozen: (inputs, None), phase };
                self.entries.insert(id, entry);
            }
        }
        self.inspects.want(id);
    }

    /// What the list shows can be a later run than what was asked about before.
    fn ask_after(&mut self, id: Id, asked_at: u64) {
        let Some(Entry { phase: Phase::Asked(asked), .. }) = self.entries.get_mut(&id) else { return };
        asked.listed_again();
        if self.inspects.is_asked_before(&id, asked_at) {
            *asked = std::mem::take(asked).since(asked_at);
            self.inspects.want(id);
        }
    }

    fn inspected(&mut self, container: Box<Container>) {
        let id = container.id;
        let Some(asked_at) = self.inspects.answered(&id) else { return };
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match &mut entry.phase {
            Phase::Past(..) => {}
            Phase::Asked(asked) if !asked.is_answered_by(asked_at) => {}
            // The end of what is not to be seen may have been lost with the last stream, after this question.
            Phase::Asked(asked) if asked.unseen && asked_at < self.registered => self.inspects.want(id),
            Phase::Asked(asked) => {
                let verdict = asked.answered(&container);
                asked.shown(container.started_at);
                if entry.named <= asked_at {
                    container.name.clone_into(&mut entry.name);
                }
                let (frozen, at) = entry.frozen;
                if frozen <= asked_at || at < container.started_at {
                    entry.paused = container.state == State::Paused;
                }
                self.judge(id, verdict, Some(container));
            }
            // From before this stream: what was lost with the last one may contradict it.
            Phase::Running(_) if asked_at < self.registered => self.inspects.want(id),
            Phase::Running(running) => {
                running.checking = false;
                if container.started_at == running.started_at && runs(&container) {
                    let (name, paused) = (container.name.clone(), container.state == State::Paused);
                    // First, so that a sample of another name or state has what else is new.
                    self.effects.push(Effect::Update(container));
                    self.describe(id, &name, paused, asked_at);
                } else if !running.watched {
                    let name = container.name.clone();
                    self.end(id, Die::Doubtful);
                    // It runs again, or an event after the question may say so.
                    if (runs(&container) || self.inspects.is_wanted(&id))
                        && let Some(Entry { phase: Phase::Past(told, _), .. }) = self.entries.get(&id)
                    {
                        let told = *told;
                        self.ask(id, &name, Asked::listed(Some(told)));
                    }
                }
            }
        }
    }

    fn gone(&mut self, id: Id) {
        let Some(asked_at) = self.inspects.answered(&id) else { return };
        match self.entries.get(&id).map(|entry| &entry.phase) {
            Some(Phase::Asked(asked)) if asked.is_answered_by(asked_at) => {
                let verdict = asked.gone();
                self.judge(id, verdict, None);
            }
            Some(Phase::Running(running)) if !running.watched => self.end(id, Die::Doubtful),
            _ => {}
        }
    }

    /// Acts on what an answer means for a container that was asked about.
    fn judge(&mut self, id: Id, verdict: Verdict, container: Option<Box<Container>>) {
        // Where the engine is asked again, a later run may have ended since.
        let over = !matches!(verdict.next, Next::Again(_));
        self.unopened(id, verdict.ends, over);
        match verdict.next {
            Next::Open => self.effects.extend(container.map(|container| self.opening(container))),
            Next::Past(told) => self.make_past(id, told),
            Next::Again(told) => {
                if let Some(Entry { phase: Phase::Asked(asked), .. }) = self.entries.get_mut(&id) {
                    *asked = asked.again(told).since(self.inputs);
                    self.inspects.want(id);
                }
            }
            Next::Never => self.remove(id),
        }
    }

    fn opening(&self, container: Box<Container>) -> Effect {
        match self.entries.get(&container.id).map(|entry| &entry.phase) {
            Some(Phase::Asked(asked)) if asked.unseen => Effect::OpenUnseen(container),
            _ => Effect::Open(container),
        }
    }

    fn inspect_failed(&mut self, id: Id, now: Instant) {
        let Some(asked_at) = self.inspects.answered(&id) else { return };
        self.counts.inspect_failures += 1;
        let Some(Entry { phase: Phase::Asked(asked), .. }) = self.entries.get_mut(&id) else { return };
        if !asked.is_answered_by(asked_at) {
            return;
        }
        let (ends, over) = asked.failed();
        let wait = SHORTEST_WAIT.saturating_mul(1 << asked.failures.min(6)).min(LONGEST_WAIT);
        self.unopened(id, ends, over.is_some());
        match over {
            Some(told) => self.make_past(id, told),
            None => self.timers.set(id, now + wait),
        }
    }

    fn opened(&mut self, id: Id, watched: bool, now: Instant) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Phase::Asked(asked) = &entry.phase else { return };
        let started_at = asked.opening;
        let running = Running { started_at, not_before: started_at, watched, checking: false, samples: 1 };
        entry.phase = Phase::Running(running);
        self.counts.firsts += 1;
        self.sample(id, Cause::First);
        self.timers.set(id, now + SECOND_SAMPLE);
    }

    fn not_opened(&mut self, id: Id) {
        let Some(Entry { phase: Phase::Asked(asked), .. }) = self.entries.get(&id) else { return };
        let next = asked.after_its_end(asked.opening);
        self.judge(id, Verdict { ends: 1, next }, None);
    }

    /// The engine is asked once more: it knows whether the container has ended.
    fn unseen(&mut self, id: Id) {
        if let Some(Entry { phase: Phase::Asked(asked), .. }) = self.entries.get_mut(&id) {
            *asked = asked.unseen().since(self.inputs);
            self.inspects.want(id);
        }
    }

    /// A running container has ended.
    fn end(&mut self, id: Id, die: Die) {
        let Some(Entry { phase: Phase::Running(running), .. }) = self.entries.get(&id) else { return };
        let told = Told { until: running.not_before, die };
        self.last_sample(id, true);
        self.effects.push(Effect::Close(id));
        self.make_past(id, told);
    }

    fn due_now(&mut self, now: Instant) {
        while let Some((at, id)) = self.timers.first().filter(|(at, _)| *at <= now) {
            self.timers.clear(id);
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            match &mut entry.phase {
                Phase::Past(..) => {}
                Phase::Asked(_) => self.inspects.want(id),
                Phase::Running(running) => {
                    running.samples += 1;
                    let second = running.samples == 2;
                    if running.checking {
                        self.inspects.want(id);
                    }
                    self.sample(id, if second { Cause::Second } else { Cause::Interval });
                    let polling = self.options.polling;
                    let next = if second { now + self.timers.phase(polling) } else { at + polling };
                    // After a pause of the whole host the samples that are missing are not made up for.
                    self.timers.set(id, if next > now { next } else { now + polling });
                }
            }
        }
    }

    /// Takes over a name and a pause from a list or an answer, unless an event has told something newer.
    fn describe(&mut self, id: Id, name: &str, paused: bool, asked_at: u64) {
        let Some(entry) = self.entries.get(&id) else { return };
        let name = (entry.named <= asked_at).then_some(name);
        let paused = (entry.frozen.0 <= asked_at).then_some(paused);
        self.tell(id, name, paused);
    }

    /// Another name or state is told at once.
    fn tell(&mut self, id: Id, name: Option<&str>, paused: Option<bool>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let paused = paused.unwrap_or(entry.paused);
        let changed = paused != entry.paused || name.is_some_and(|name| name != entry.name);
        entry.paused = paused;
        if let Some(name) = name {
            name.clone_into(&mut entry.name);
        }
        if changed && matches!(entry.phase, Phase::Running(_)) {
            self.sample(id, Cause::Change);
        }
    }

    /// So many runs were over before their counters could be opened; no later one when it is `over`.
    fn unopened(&mut self, id: Id, ends: usize, over: bool) {
        for later in (0..ends).rev() {
            self.counts.unopened += 1;
            let began = match self.entries.get_mut(&id).map(|entry| &mut entry.phase) {
                Some(Phase::Asked(asked)) => asked.next_began_meanwhile(),
                _ => true,
            };
            if began {
                self.counts.firsts += 1;
                // Nothing was read when it began.
                self.sample_of(id, Cause::First, false);
            }
            self.last_sample(id, over && later == 0);
        }
    }

    fn last_sample(&mut self, id: Id, newest: bool) {
        self.counts.lasts += 1;
        self.sample_of(id, Cause::Last, newest);
    }

    fn sample(&mut self, id: Id, cause: Cause) {
        self.sample_of(id, cause, true);
    }

    fn sample_of(&mut self, id: Id, cause: Cause, newest: bool) {
        let Some(entry) = self.entries.get(&id) else { return };
        let state = match cause {
            Cause::Last => RunState::Stopped,
            _ if entry.paused => RunState::Paused,
            _ => RunState::Running,
        };
        self.effects.push(Effect::Sample(Sample {
            id,
            index: entry.index,
            name: entry.name.clone(),
            state,
            cause,
            newest,
        }));
    }

    /// The container is remembered with its data source until it is removed, or until too many came after it.
    fn make_past(&mut self, id: Id, told: Told) {
        self.timers.clear(id);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.phase = Phase::Past(told, self.inputs);
        self.past.insert((self.inputs, id));
        if self.past.len() > self.options.containers
            && let Some((_, oldest)) = self.past.first().copied()
        {
            self.remove(oldest);
        }
    }

    fn remove(&mut self, id: Id) {
        self.timers.clear(id);
        let Some(entry) = self.entries.remove(&id) else { return };
        if let Phase::Past(_, of) = entry.phase {
            self.past.remove(&(of, id));
        }
        self.indexes.release(entry.index);
        self.effects.push(Effect::Release { index: entry.index });
    }
}
