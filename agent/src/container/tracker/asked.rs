//! A container that the engine has been asked about, and what the answer means.
//!
//! A run of a container begins at its `started_at` and ends with a `die`. An answer shows the container at one moment
//! between question and answer; meanwhile events go on. All times that are compared are the engine's.

use docker::{Container, EventTime, State};

/// The last run whose end was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// No run that began by then is to be told any more. That is when the run began or, where that is not known, a moment
    /// before the next one.
    pub(super) until: Option<EventTime>,
    pub(super) die: Die,
}

impl Told {
    /// Whether a run that began at this time is told.
    fn covers(&self, started_at: Option<EventTime>) -> bool {
        started_at.is_some() && started_at <= self.until
    }
}

/// Whether the `die` of the run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Die {
    /// It has.
    Come,
    /// The end was seen before it: it comes, and before anything of a later run.
    Due,
    /// As `Due`, but the stream was lost since, perhaps with it.
    Doubtful,
}

/// How many ends are kept until the engine answers; more are not told one by one.
const ENDS: usize = 64;

/// What came about a container while the engine's answer is awaited.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// When it ended, for each `die` that came.
    dies: Vec<EventTime>,
    /// Whether the first of the runs that ended began before anything was known of the container.
    begun_before: bool,
    /// Whether it runs, by what came last.
    live: bool,
    /// Whether it was started since: the answer may be from before.
    again: bool,
    /// When it was started last.
    started: Option<EventTime>,
    /// Whether it was listed as running meanwhile, perhaps from before what else came.
    listed: bool,
    /// How often the engine failed to answer.
    pub(super) failures: u32,
    pub(super) told: Option<Told>,
    /// The beginning of the run that is being opened.
    pub(super) opening: Option<EventTime>,
    /// Whether the process of that run was not to be seen.
    pub(super) unseen: bool,
    /// Whether a new stream began meanwhile: a `die` may have been lost before it.
    doubtful: bool,
    /// How many inputs there had been when it became so.
    since: u64,
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// How many runs have ended whose end was not told.
    pub(super) ends: usize,
    pub(super) next: Next,
}

/// What becomes of the container.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It runs: its counters are to be opened.
    Open,
    /// It does not run.
    Past(Told),
    /// It runs again: the engine is to be asked once more.
    Again(Told),
    /// It has never run.
    Never,
}

impl Asked {
    /// Listed as running.
    pub(super) fn listed(told: Option<Told>) -> Self {
        Self { live: true, told, ..Self::default() }
    }

    /// After a `start`.
    pub(super) fn started(time: EventTime, told: Option<Told>) -> Self {
        Self { live: true, started: Some(time), told, ..Self::default() }
    }

    /// After a `die` of a run that was not known.
    pub(super) fn died(time: EventTime, told: Option<Told>) -> Self {
        Self { dies: vec![time], begun_before: told.is_none(), told, ..Self::default() }
    }

    /// After an answer that may be from before the last start.
    pub(super) fn again(&self, told: Told) -> Self {
        let started = self.started.filter(|time| self.live && Some(*time) > told.until);
        Self { live: true, started, told: Some(told), ..Self::default() }
    }

    /// After an answer that showed a run whose process was not to be seen: it has ended, or it is hidden. Runs before it were
    /// told with that answer.
    pub(super) fn unseen(&self) -> Self {
        let before = |start: EventTime| EventTime::from_nanos(start.as_nanos().saturating_sub(1));
        let told = Told { until: self.opening.map(before), die: Die::Come };
        Self { opening: self.opening, unseen: true, doubtful: self.doubtful, ..self.again(told) }
    }

    /// The engine has shown the run that began then.
    pub(super) fn shown(&mut self, started_at: Option<EventTime>) {
        self.unseen &= self.opening == started_at;
        self.opening = started_at;
    }

    /// Listed as running.
    pub(super) fn listed_again(&mut self) {
        self.listed = true;
    }

    /// Since so many inputs.
    pub(super) fn since(self, inputs: u64) -> Self {
        Self { since: inputs, ..self }
    }

    /// Whether the run whose end is told next began since something is known of the container; to be asked once for each.
    pub(super) fn next_began_meanwhile(&mut self) -> bool {
        !std::mem::take(&mut self.begun_before)
    }

    /// Whether an answer to a question after so many inputs says anything: not one from before.
    pub(super) fn is_answered_by(&self, asked_at: u64) -> bool {
        asked_at >= self.since
    }

    pub(super) fn start(&mut self, time: EventTime) {
        // The end before it may have been lost with a stream: the answer may be from before it even when no end has come.
        self.again = true;
        self.started = Some(time);
        self.live = true;
    }

    pub(super) fn die(&mut self, time: EventTime) {
        // Of a run before the one that was told.
        if self.told.is_some_and(|told| Some(time) <= told.until) {
            return;
        }
        self.live = false;
        if self.dies.len() < ENDS {
            self.dies.push(time);
        }
    }

    /// The stream was lost, and a new one begins.
    pub(super) fn doubt(&mut self) {
        self.doubtful = true;
        if let Some(told) = &mut self.told
            && told.die == Die::Due
        {
            told.die = Die::Doubtful;
        }
    }

    /// The engine has described the container.
    pub(super) fn answered(&self, container: &Container) -> Verdict {
        match self.told {
            Some(told) if told.covers(container.started_at) => self.nothing_newer(told),
            _ => self.newer(container),
        }
    }

    /// The answer shows the run whose end was told.
    fn nothing_newer(&self, told: Told) -> Verdict {
        let dies = self.dies.len();
        // The first of them may be that run's own.
        let own = usize::from(dies > 0 && told.die != Die::Come);
        let die = if own > 0 { Die::Come } else { told.die };
        let until = if dies > own { self.dies.last().copied() } else { told.until };
        let told = Told { until, die };
        Verdict { ends: dies - own, next: self.after(told) }
    }

    /// The answer shows a run that was not told.
    fn newer(&self, container: &Container) -> Verdict {
        let until = container.started_at;
        let is_before = |time: &EventTime| until.is_some_and(|start| *time < start);
        let due = self.told.is_some_and(|told| told.die != Die::Come);
        let mut dies = self.dies.as_slice();
        if due && dies.first().is_some_and(is_before) {
            dies = dies.get(1..).unwrap_or_default();
        }
        let mut earlier = dies.iter().filter(|time| is_before(time)).count();
        let own_and_later = dies.len() - earlier;
        // A run before the one that the answer shows, whose `die` is on its way; not the one that was told.
        let told = due && self.dies.is_empty();
        if self.live && !told && self.started.as_ref().is_some_and(is_before) {
            earlier += 1;
        }
        if own_and_later > 0 {
            let until = if own_and_later > 1 { dies.last().copied() } else { until };
            let next = self.after(Told { until, die: Die::Come });
            Verdict { ends: earlier + own_and_later, next }
        } else if runs(container) {
            Verdict { ends: earlier, next: Next::Open }
        } else if until.is_none() {
            Verdict { ends: earlier, next: Next::Never }
        } else {
            Verdict { ends: earlier + 1, next: self.after_its_end(until) }
        }
    }

    /// The run that began then has ended, without its `die`.
    pub(super) fn after_its_end(&self, until: Option<EventTime>) -> Next {
        let die =
            if self.doubtful || self.listed || self.again && self.live { Die::Doubtful } else { Die::Due };
        self.after(Told { until, die })
    }

    fn after(&self, told: Told) -> Next {
        let again = self.again && self.live || self.listed;
        if again { Next::Again(told) } else { Next::Past(told) }
    }

    /// The engine does not know the container any more. That it was listed is no evidence that its end was not told: the
    /// list may be from before that. If it was not, its `die` is to come.
    pub(super) fn gone(&self) -> Verdict {
        let due = self.told.is_some_and(|told| told.die != Die::Come);
        let started = self.live && self.started.is_some();
        let runs = self.dies.len() + usize::from(started);
        if runs == 0 {
            return Verdict { ends: 0, next: self.told.map_or(Next::Never, Next::Past) };
        }
        let die = if started { Die::Due } else { Die::Come };
        let until = self.dies.last().copied().max(self.started).max(self.told.and_then(|told| told.until));
        Verdict { ends: runs - usize::from(due), next: Next::Past(Told { until, die }) }
    }

    /// The engine did not answer. What has ended for certain is told at once, with what is known; of what runs the engine
    /// is asked again.
    pub(super) fn failed(&mut self) -> (usize, Option<Told>) {
        self.failures = self.failures.saturating_add(1);
        let Some(last) = self.dies.last().copied() else { return (0, None) };
        let own = usize::from(self.told.is_some_and(|told| told.die != Die::Come));
        let ends = self.dies.len() - own;
        let told = Told { until: Some(last), die: Die::Come };
        self.dies.clear();
        self.told = Some(told);
        self.again = false;
        self.started = self.started.filter(|_| self.live);
        (ends, (!self.live && !self.listed).then_some(told))
    }
}

/// Whether a container has a process.
pub(super) fn runs(container: &Container) -> bool {
    container.pid.is_some() && !matches!(container.state, State::Exited | State::Dead | State::Created)
}
