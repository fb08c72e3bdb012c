//! The engine, asked as the tracker wants it: each question is a task with a connection that is kept for the next one.

use std::collections::VecDeque;
use std::future::pending;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use docker::{Container, Endpoint, Engine, Error, Event, EventTime, Events, Id, Limits, Listed};
use rustix::process::{Resource, getrlimit};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;

use super::{capacity, root, watched};
use crate::container::population::{Opened, Population};
use crate::container::records;
use crate::container::tracker::{Cause, Counts, Effect, Input, Options, Tracker};
use crate::export::Exporter;
use crate::host::Host;
use crate::sampler::MOST_INTERFACES;
use crate::settings::{DockerSettings, Settings};

/// Containers with counters at once.
const MOST_CONTAINERS: usize = 4_096;

/// Files that are open of each: six of counters, and its process.
const FILES_EACH: u64 = 7;

/// Files that are kept for all else: an interface that is sampled has a socket of its own.
const OTHER_FILES: u64 = MOST_INTERFACES as u64 + 256;

/// Questions about containers at once, each on a connection of its own.
const INSPECTS: usize = 4;

/// Connections that are kept for the next question: the stream has one of its own.
const KEPT: usize = INSPECTS + 2;

/// The longest wait before an engine is asked for events again: on this host, and elsewhere.
const NEAR: Duration = Duration::from_secs(2);
const FAR: Duration = Duration::from_secs(10);

/// Without counters containers are still known, for the packets that are theirs.
const NO_POLLING: Duration = Duration::from_secs(86_400);

/// Follows the containers of an engine.
pub(super) struct Following {
    endpoint: Endpoint,
    tracker: Tracker,
    population: AsyncFd<Population>,
    events: Option<Events>,
    /// Which stream; a list that was asked for during an earlier one says nothing.
    stream: u64,
    /// Containers that there are files for.
    room: usize,
    idle: Vec<Engine>,
    asked: JoinSet<(Engine, Answer)>,
    /// Whether counters are sent.
    counters: bool,
    errors: Errors,
    connected: bool,
}

/// What went wrong with the engine, by kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Errors {
    pub(super) lines: u64,
    pub(super) streams: u64,
    pub(super) calls: u64,
}

/// What an engine answered.
pub(super) enum Answer {
    Registered(Result<Events, Error>),
    Listed(u64, Result<Vec<Listed>, Error>),
    Inspected(Id, Result<Container, Error>),
}

/// What the engine has said.
pub(super) enum News {
    Answer(Box<(Engine, Answer)>),
    Event(Result<Option<Event>, Error>),
}

/// What the engine can say next.
pub(super) struct Waits<'a> {
    events: Option<&'a mut Events>,
    asked: &'a mut JoinSet<(Engine, Answer)>,
}

/// Waits for the engine.
pub(super) async fn news(waits: Option<Waits<'_>>) -> News {
    let Some(Waits { events, asked }) = waits else { return pending().await };
    let event = async {
        match events {
            Some(events) => events.next().await,
            None => pending().await,
        }
    };
    let answer = async {
        loop {
            match asked.join_next().await {
                Some(Ok(answer)) => return News::Answer(Box::new(answer)),
                // A question that panicked would end the process; there is no other way to fail.
                Some(Err(_)) => {}
                None => pending().await,
            }
        }
    };
    tokio::select! {
        answer = answer => answer,
        event = event => News::Event(event),
    }
}

impl Following {
    pub(super) fn new(docker: &DockerSettings, settings: &Settings, host: &Host) -> anyhow::Result<Self> {
        let endpoint = Endpoint::parse(&docker.endpoint, docker.certificates.as_deref())?;
        let population = Population::new(root(), capacity(host), host.identity().release, docker.hostname)?;
        let counters = !settings.polling.is_zero();
        let room = room(getrlimit(Resource::Nofile).current);
        let options = Options {
            polling: if counters { settings.polling } else { NO_POLLING },
            containers: room,
            inspects: INSPECTS,
            // A socket of this host answers, or refuses, at no cost.
            longest_wait: if matches!(endpoint, Endpoint::Unix(_)) { NEAR } else { FAR },
            seed: RandomState::new().hash_one(0),
        };
        let mut following = Self {
            endpoint,
            tracker: Tracker::new(options),
            population: watched(population)?,
            events: None,
            stream: 0,
            room,
            idle: Vec::new(),
            asked: JoinSet::new(),
            counters,
            errors: Errors::default(),
            connected: false,
        };
        for effect in following.tracker.start() {
            if let Effect::Register { since, after } = effect {
                following.register(since, after);
            }
        }
        Ok(following)
    }

    pub(super) fn waits(&mut self) -> (Option<&AsyncFd<Population>>, Option<Waits<'_>>) {
        let Self { population, events, asked, .. } = self;
        (Some(population), Some(Waits { events: events.as_mut(), asked }))
    }

    pub(super) fn population(&self) -> &Population {
        self.population.get_ref()
    }

    pub(super) fn alive(&self) -> usize {
        self.tracker.alive()
    }

    pub(super) fn counts(&self) -> Counts {
        self.tracker.counts()
    }

    pub(super) fn errors(&self) -> Errors {
        self.errors
    }

    /// How many containers can have counters at once.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// Whether the engine tells its events at this time.
    pub(super) fn is_connected(&self) -> bool {
        self.connected
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.tracker.due()
    }

    pub(super) fn set_polling(&mut self, polling: Duration, now: Instant) {
        self.counters = !polling.is_zero();
        self.tracker.set_polling(if self.counters { polling } else { NO_POLLING }, now);
    }

    /// Does what is due, the ends of processes first.
    pub(super) fn tick(&mut self, exporter: &mut Exporter, now: Instant) {
        self.see_ends(exporter, now);
        if self.tracker.due().is_some_and(|due| due <= now) {
            self.give(Input::Due, exporter, now);
        }
    }

    /// Takes what the engine has said.
    pub(super) fn take(&mut self, news: News, exporter: &mut Exporter, now: Instant) {
        // Whatever the engine says, an end that can be seen came before it.
        self.see_ends(exporter, now);
        match news {
            News::Event(Ok(Some(event))) => self.give(Input::Event(event), exporter, now),
            News::Event(Ok(None)) => self.lost("the engine ended the stream of events", exporter, now),
            News::Event(Err(error)) if error.is_line() => {
                self.errors.lines += 1;
                tracing::warn!("{error}");
            }
            News::Event(Err(error)) => self.lost(&error.to_string(), exporter, now),
            News::Answer(answer) => {
                let (engine, answer) = *answer;
                if self.idle.len() < KEPT {
                    self.idle.push(engine);
                }
                self.answered(answer, exporter, now);
            }
        }
    }

    fn answered(&mut self, answer: Answer, exporter: &mut Exporter, now: Instant) {
        match answer {
            Answer::Registered(Ok(events)) => {
                let time = events.engine_time();
                self.events = Some(events);
                self.stream += 1;
                self.give(Input::Registered(time), exporter, now);
            }
            Answer::Registered(Err(error)) => self.lost(&error.to_string(), exporter, now),
            Answer::Listed(stream, _) if stream != self.stream || self.events.is_none() => {}
            Answer::Listed(_, Ok(list)) => {
                if !std::mem::replace(&mut self.connected, true) {
                    tracing::info!("following the containers of {}: {} now", self.endpoint, list.len());
                }
                self.give(Input::Listed(list), exporter, now);
            }
            Answer::Listed(_, Err(error)) => {
                self.errors.calls += 1;
                self.lost(&error.to_string(), exporter, now);
            }
            Answer::Inspected(id, Ok(container)) if container.id == id => {
                self.give(Input::Inspected(Box::new(container)), exporter, now);
            }
            Answer::Inspected(id, Err(Error::NotFound { .. })) => self.give(Input::Gone(id), exporter, now),
            Answer::Inspected(id, answer) => {
                self.errors.calls += 1;
                match answer {
                    Err(error) => tracing::warn!("{error}"),
                    Ok(_) => tracing::warn!("{}: the answer is about another container", self.endpoint),
                }
                self.give(Input::InspectFailed(id), exporter, now);
            }
        }
    }

    fn lost(&mut self, why: &str, exporter: &mut Exporter, now: Instant) {
        self.events = None;
        self.errors.streams += 1;
        self.connected = false;
        tracing::warn!("{why} (containers that start or end meanwhile are told when the engine is back)");
        self.give(Input::StreamLost, exporter, now);
    }

    fn see_ends(&mut self, exporter: &mut Exporter, now: Instant) {
        loop {
            let ended = self.population.get_mut().ended();
            if ended.is_empty() {
                return;
            }
            for id in ended {
                self.give(Input::Exited(id), exporter, now);
                // If the tracker did not want it, it must not come again.
                self.population.get_mut().close(&id);
            }
        }
    }

    fn open(&mut self, container: &Container) -> Input {
        let id = container.id;
        let index = self.tracker.index(&id);
        match index.map_or(Opened::Unseen, |index| self.population.get_mut().open(container, index)) {
            Opened::Watched => Input::Opened { id, watched: true },
            Opened::Unwatched => Input::Opened { id, watched: false },
            Opened::Ended => Input::NotOpened(id),
            Opened::Unseen => Input::Unseen(id),
        }
    }

    /// Gives the tracker an input, and does what it wants.
    fn give(&mut self, input: Input, exporter: &mut Exporter, now: Instant) {
        let mut effects: VecDeque<Effect> = self.tracker.on(input, now).into();
        let mut flush = false;
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Register { since, after } => self.register(since, after),
                Effect::List => self.list(),
                Effect::Inspect(id) => self.inspect(id),
                Effect::Open(container) => {
                    let input = self.open(&container);
                    next(&mut effects, self.tracker.on(input, now));
                }
                Effect::OpenUnseen(container) => {
                    let id = container.id;
                    if let Some(index) = self.tracker.index(&id) {
                        self.population.get_mut().open_unseen(&container, index);
                    }
                    next(&mut effects, self.tracker.on(Input::Opened { id, watched: false }, now));
                }
                Effect::Update(container) => self.population.get_mut().update(&container),
                Effect::Sample(sample) if self.counters => {
                    if self.population.get_mut().send(&sample, exporter, now) {
                        next(&mut effects, self.tracker.on(Input::Changed(sample.id), now));
                    }
                    // Those of the interval may wait for others.
                    flush |= sample.cause != Cause::Interval;
                }
                Effect::Sample(_) => {}
                Effect::Close(id) => self.population.get_mut().close(&id),
                Effect::Release { index } => exporter.forget(records::source(index)),
            }
        }
        if flush {
            exporter.flush(now);
        }
    }

    fn engine(&mut self) -> Engine {
        self.idle.pop().unwrap_or_else(|| Engine::new(self.endpoint.clone(), Limits::default()))
    }

    fn register(&mut self, since: Option<EventTime>, after: Duration) {
        let mut engine = self.engine();
        self.asked.spawn(async move {
            tokio::time::sleep(after).await;
            let answer = engine.events(since).await;
            (engine, Answer::Registered(answer))
        });
    }

    fn list(&mut self) {
        let (mut engine, stream) = (self.engine(), self.stream);
        self.asked.spawn(async move {
            let answer = engine.containers().await;
            (engine, Answer::Listed(stream, answer))
        });
    }

    fn inspect(&mut self, id: Id) {
        let mut engine = self.engine();
        self.asked.spawn(async move {
            let answer = engine.inspect(&id).await;
            (engine, Answer::Inspected(id, answer))
        });
    }
}

/// What comes before the effects that wait.
fn next(waiting: &mut VecDeque<Effect>, effects: Vec<Effect>) {
    for effect in effects.into_iter().rev() {
        waiting.push_front(effect);
    }
}

/// How many containers can have counters where so many files may be open; `None` for any number.
fn room(files: Option<u64>) -> usize {
    let files = files.unwrap_or(u64::MAX);
    let each = (files - OTHER_FILES.min(files / 4)) / FILES_EACH;
    usize::try_from(each).unwrap_or(usize::MAX).min(MOST_CONTAINERS)
}

#[cfg(test)]
mod tests {
    use super::room;

    #[test]
    fn no_more_containers_are_followed_than_there_are_files_for() {
        assert_eq!(room(None), 4_096);
        // That of the unit in `packaging/`, a usual one, and hardly any.
        assert_eq!(room(Some(32_768)), 4_096);
        assert_eq!(room(Some(1_024)), 109);
        assert_eq!(room(Some(3)), 0);
    }
}
