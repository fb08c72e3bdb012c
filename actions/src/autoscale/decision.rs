//! What was decided, with the reason and the numbers.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// What a policy sees in an observation, before others have their share.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlook {
    /// How many replicas are asked for.
    pub replicas: Option<u64>,
    /// Tasks that run.
    pub running: usize,
    /// Containers that telemetry sees.
    pub seen: usize,
    /// The metrics.
    pub values: Vec<Shown>,
    /// What it would do alone.
    pub wish: Result<Wish, Hold>,
}

/// How many replicas a service would have alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// How many it has.
    pub from: u64,
    /// How many it would have.
    pub to: u64,
    /// Whether it may have fewer: every replica has told all metrics.
    pub may_fall: bool,
    /// What it waits for, where it would have another number than this.
    pub waits: Option<Hold>,
    /// Why.
    pub reason: String,
}

/// The value of a metric, and what it is compared with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shown {
    /// The metric.
    pub metric: String,
    /// Its value; `None` when not every replica has a fresh one.
    pub value: Option<f64>,
    /// Below it on all metrics the service shrinks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Above it on any metric the service grows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// What each replica should have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
}

/// What a service has a share of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The replicas that are its own while wishes stay as they are.
    pub share: u64,
    /// Those that it may have already: others may not have given way yet.
    pub now: u64,
}

impl Grant {
    /// Nobody else wants any.
    pub const ALL: Self = Self { share: u64::MAX, now: u64::MAX };
}

/// What is decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What it comes to.
    pub verdict: Verdict,
    /// What was seen.
    pub outlook: Outlook,
    /// Why, for people.
    pub reason: String,
}

/// What a decision comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Another number of replicas.
    Set {
        /// How many there are.
        from: u64,
        /// How many there are to be.
        to: u64,
    },
    /// The number is right.
    Stay,
    /// Nothing is done, whatever would be right.
    Hold(Hold),
}

impl Verdict {
    /// A word for it, as metrics and JSON have it.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Set { from, to } if to > from => "up",
            Self::Set { .. } => "down",
            Self::Stay => "stay",
            Self::Hold(hold) => hold.label(),
        }
    }
}

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Hold {
    /// The operator has not enabled it.
    Disabled,
    /// The operator has paused it, until then where a time is given.
    Paused(Option<Duration>),
    /// The engine does not say how it is.
    Engine(String),
    /// Telemetry is not to be had.
    Telemetry(String),
    /// It runs on every node.
    Global,
    /// Somebody has set it to 0.
    Zero,
    /// The engine replaces its tasks.
    Updating,
    /// A person has set the number.
    Manual {
        /// To how many.
        replicas: u64,
        /// For how long that stays.
        left: Duration,
    },
    /// Engine and telemetry do not agree on what runs.
    Differ {
        /// Replicas that are asked for.
        asked: u64,
        /// Tasks that run, as the engine says.
        running: usize,
        /// Containers that telemetry sees.
        seen: usize,
        /// Of those in telemetry the ones that the engine does not know.
        strange: usize,
        /// For how long.
        since: Duration,
    },
    /// A metric has no value, or too old a one.
    Missing {
        /// Which.
        metric: String,
        /// Of which task; of the service when `None`.
        task: Option<String>,
        /// How old it is, where there is one.
        age: Option<Duration>,
    },
    /// Too many datagrams of a node's agent are lost.
    Loss {
        /// Which agent.
        agent: String,
        /// The share of them that is lost.
        share: f64,
    },
    /// The values are from before the last change.
    Settling {
        /// Values that are waited for.
        samples: u32,
    },
    /// The last change is not long enough ago.
    Cooldown {
        /// For how much longer.
        left: Duration,
    },
    /// It has not been asked for long enough.
    Stabilising {
        /// How many it would be.
        to: u64,
    },
    /// There were as many changes as there may be.
    Rate {
        /// How many it would be.
        to: u64,
    },
    /// The replicas that all services share are used up.
    Budget {
        /// How many it would be.
        to: u64,
    },
}

impl Hold {
    /// A word for it, as metrics and JSON have it.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Paused(_) => "paused",
            Self::Engine(_) => "engine",
            Self::Telemetry(_) => "telemetry",
            Self::Global => "global",
            Self::Zero => "zero",
            Self::Updating => "updating",
            Self::Manual { .. } => "manual",
            Self::Differ { .. } => "differ",
            Self::Missing { .. } => "missing",
            Self::Loss { .. } => "loss",
            Self::Settling { .. } => "settling",
            Self::Cooldown { .. } => "cooldown",
            Self::Stabilising { .. } => "stabilising",
            Self::Rate { .. } => "rate",
            Self::Budget { .. } => "budget",
        }
    }

    /// Whether something is missing that should be there: somebody should look at it when it lasts.
    pub fn is_lack(&self) -> bool {
        matches!(
            self,
            Self::Engine(_)
                | Self::Telemetry(_)
                | Self::Missing { .. }
                | Self::Loss { .. }
                | Self::Differ { .. }
        )
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = Duration::as_secs;
        match self {
            Self::Disabled => f.write_str("it is not enabled"),
            Self::Paused(None) => f.write_str("it is paused"),
            Self::Paused(Some(left)) => write!(f, "it is paused for another {} s", seconds(left)),
            Self::Engine(why) => write!(f, "the engine does not say how it is: {why}"),
            Self::Telemetry(why) => write!(f, "there is no telemetry: {why}"),
            Self::Global => f.write_str("it runs on every node, and has no number of replicas"),
            Self::Zero => f.write_str("it has 0 replicas; from_zero = true would raise it"),
            Self::Updating => f.write_str("an update of its tasks is under way, or halted half done"),
            Self::Manual { replicas, left } => {
                write!(
                    f,
                    "{replicas} replicas were set by somebody else, which stays for another {} s",
                    seconds(left)
                )
            }
            Self::Differ { asked, running, seen, strange, since, .. } => {
                write!(
                    f,
                    "{asked} replicas are asked for, {running} tasks run and {seen} containers are seen, for {} s",
                    seconds(since)
                )?;
                if *strange > 0 {
                    write!(f, "; {strange} of those seen are no tasks that run")?;
                }
                Ok(())
            }
            Self::Missing { metric, task, age } => {
                write!(f, "{metric} has no fresh value")?;
                if let Some(task) = task {
                    write!(f, " of task {task}")?;
                }
                match age {
                    Some(age) => write!(f, ": the last one is {} s old", seconds(age)),
                    None => Ok(()),
                }
            }
            Self::Loss { agent, share } => {
                write!(f, "{:.0} % of the datagrams of agent {agent} are lost", share * 100.0)
            }
            Self::Settling { samples } => {
                write!(f, "not every replica has sent {samples} new values since their number changed")
            }
            Self::Cooldown { left } => {
                write!(f, "the last change was not long ago: another {} s", seconds(left))
            }
            Self::Stabilising { to } => write!(f, "{to} has not been right for long enough"),
            Self::Rate { to } => write!(f, "{to} would be right, and there were too many changes lately"),
            Self::Budget { to } => write!(f, "{to} would be right, and the budget has no replicas left"),
        }
    }
}
