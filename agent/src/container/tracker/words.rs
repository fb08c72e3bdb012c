//! What the tracker is told, what it wants done, and what it has counted.

use std::time::Duration;

use docker::{Container, Event, EventTime, Id, Listed};

/// How the tracker behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Between two samples of a container.
    pub polling: Duration,
    /// How many containers have counters at once; further ones are refused and counted.
    pub containers: usize,
    /// How many containers are inspected at once.
    pub inspects: usize,
    /// The longest wait before a lost stream is registered for again.
    pub longest_wait: Duration,
    /// Where the random phases begin.
    pub seed: u64,
}

/// What has happened.
#[derive(Debug)]
pub enum Input {
    /// The engine has registered for events; with the time by its clock, where it tells that.
    Registered(Option<EventTime>),
    /// There are no events any more, or there never were.
    StreamLost,
    /// The containers that run or are paused.
    Listed(Vec<Listed>),
    /// An event.
    Event(Event),
    /// The answer to [`Effect::Inspect`].
    Inspected(Box<Container>),
    /// There is no such container.
    Gone(Id),
    /// The engine could not answer.
    InspectFailed(Id),
    /// The counters of [`Effect::Open`] are open; `watched` when its end will be seen. To be given before anything else.
    Opened {
        /// Of which container.
        id: Id,
        /// Whether [`Input::Exited`] will come.
        watched: bool,
    },
    /// The container of [`Effect::Open`] has ended. To be given before anything else.
    NotOpened(Id),
    /// The process of [`Effect::Open`] is not to be seen: it has ended, or it is hidden from this process. To be given before
    /// anything else.
    Unseen(Id),
    /// The process of a watched container has ended.
    Exited(Id),
    /// What the engine said of a container that runs may not hold any more.
    Changed(Id),
    /// It is the time of [`super::Tracker::due`].
    Due,
}

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    /// Register for events.
    Register {
        /// From when on events are wanted.
        since: Option<EventTime>,
        /// When to begin.
        after: Duration,
    },
    /// List the containers.
    List,
    /// Inspect a container.
    Inspect(Id),
    /// Open the counters of a container, and watch its process.
    Open(Box<Container>),
    /// As `Open`, of a container that runs as the engine says again, although its process is not to be seen: there is nothing
    /// to be opened or watched.
    OpenUnseen(Box<Container>),
    /// What a container may use has changed.
    Update(Box<Container>),
    /// Read the counters and send them.
    Sample(Sample),
    /// Close the counters.
    Close(Id),
    /// The data source will not be used again.
    Release {
        /// Its index.
        index: u32,
    },
}

/// A sample that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Of which container.
    pub id: Id,
    /// Its data source's index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: RunState,
    /// Why now.
    pub cause: Cause,
    /// Whether no later run of the container is known to have ended.
    pub newest: bool,
}

/// The state of a container in a sample (sFlow Host Structures, `virDomainState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It runs.
    Running = 1,
    /// It is frozen.
    Paused = 3,
    /// It has ended.
    Stopped = 5,
}

/// Why a sample is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The container is new.
    First,
    /// The container is no longer new: there are rates from here on.
    Second,
    /// Its time has come.
    Interval,
    /// Its state or name has changed.
    Change,
    /// It has ended.
    Last,
}

/// What the tracker has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events taken.
    pub events: u64,
    /// Events that had come before.
    pub duplicates: u64,
    /// Streams that were lost.
    pub streams_lost: u64,
    /// Lists taken.
    pub lists: u64,
    /// Inspections that failed, and are repeated.
    pub inspect_failures: u64,
    /// First samples, those of `unopened` too.
    pub firsts: u64,
    /// Last samples.
    pub lasts: u64,
    /// Those of the last samples whose containers had ended before their counters could be opened.
    pub unopened: u64,
    /// Containers that were refused because there are too many.
    pub refused: u64,
}
