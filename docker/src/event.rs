//! What happens to containers, as the engine tells it.

use std::fmt;
use std::time::{Duration, SystemTime};

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use serde::Deserialize;

use crate::container::without_slash;
use crate::endpoint::Endpoint;
use crate::error::{Error, shown};
use crate::id::Id;
use crate::lines::{Line, Lines};
use crate::transport::{Connection, reason};

/// When something happened: nanoseconds since 1970 by the engine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(u64);

impl EventTime {
    /// The time so many nanoseconds after the beginning of 1970.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the beginning of 1970.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The first moment after this one: what [`crate::Engine::events`] is given to have only what is newer.
    #[must_use]
    pub const fn after(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The time that a text such as `2026-03-01T10:20:30.123456789Z` names; `None` for the engine's year 1 too.
    pub(crate) fn of_rfc3339(text: &str) -> Option<Self> {
        let time = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
        u64::try_from(time.unix_timestamp_nanos()).ok().map(Self)
    }

    pub(crate) fn of_system(time: SystemTime) -> Option<Self> {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        u64::try_from(since.as_nanos()).ok().map(Self)
    }
}

impl fmt::Display for EventTime {
    /// Seconds with nine places, as the engine takes times.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Duration::from_nanos(self.0);
        write!(f, "{}.{:09}", time.as_secs(), time.subsec_nanos())
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was made.
    Create,
    /// It runs.
    Start,
    /// Its first process has ended.
    Die,
    /// A signal was sent to it.
    Kill,
    /// It was stopped on request.
    Stop,
    /// It is frozen.
    Pause,
    /// It goes on.
    Unpause,
    /// It has another name.
    Rename {
        /// The name that it had.
        old: String,
    },
    /// It was stopped and started on request; comes after `Die` and `Start`.
    Restart,
    /// One of its processes was killed for want of memory.
    Oom,
    /// Its limits were changed.
    Update,
    /// It was removed.
    Destroy,
    /// Anything else, in the engine's words.
    Other(String),
}

/// The actions that are asked for; commands and health checks in containers would be most of the stream.
pub(crate) const ACTIONS: [&str; 12] = [
    "create", "start", "die", "kill", "stop", "pause", "unpause", "rename", "restart", "oom", "update",
    "destroy",
];

/// Something happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// To whom.
    pub id: Id,
    /// What.
    pub action: Action,
    /// The container's name, after a `Rename` the new one: any text.
    pub name: String,
    /// With `Die`, what the first process ended with; 128 and the signal's number for a signal.
    pub exit_code: Option<i32>,
    /// With `Kill`, the signal's number.
    pub signal: Option<i32>,
    /// When.
    pub time: EventTime,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Type")]
    kind: Option<String>,
    #[serde(rename = "Action")]
    action: Option<String>,
    #[serde(rename = "Actor")]
    actor: Option<Actor>,
    time: Option<u64>,
    #[serde(rename = "timeNano")]
    time_nanos: Option<u64>,
}

#[derive(Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(rename = "Attributes")]
    attributes: Option<Attributes>,
}

/// Of the attributes only these: all labels of the container are among them.
#[derive(Default, Deserialize)]
struct Attributes {
    name: Option<String>,
    #[serde(rename = "oldName")]
    old_name: Option<String>,
    #[serde(rename = "exitCode")]
    exit_code: Option<String>,
    signal: Option<String>,
}

impl Event {
    /// Reads one line of `GET /events`; `None` when it is about no container.
    fn read(line: &[u8]) -> Result<Option<Self>, String> {
        let answer: Answer = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if answer.kind.is_some_and(|kind| kind != "container") {
            return Ok(None);
        }
        let actor = answer.actor.ok_or("it has no Actor")?;
        let id = actor.id.unwrap_or_default();
        let action = answer.action.ok_or("it has no Action")?;
        if id.is_empty() && action == "prune" {
            return Ok(None);
        }
        let id = id.parse().map_err(|error| format!("ID {}: {error}", shown(&id)))?;
        let nanos = answer.time_nanos.or(answer.time.and_then(|s| s.checked_mul(1_000_000_000)));
        let attributes = actor.attributes.unwrap_or_default();
        let action = Action::of(action, attributes.old_name);
        // Elsewhere an attribute of this name is a label of the container.
        let number = |text: Option<String>, of: Action| {
            text.filter(|_| action == of).and_then(|text| text.parse().ok())
        };
        Ok(Some(Self {
            id,
            name: without_slash(attributes.name.unwrap_or_default()),
            exit_code: number(attributes.exit_code, Action::Die),
            signal: number(attributes.signal, Action::Kill),
            action,
            time: EventTime(nanos.ok_or("it has no time")?),
        }))
    }
}

impl Action {
    fn of(text: String, old_name: Option<String>) -> Self {
        match text.as_str() {
            "create" => Self::Create,
            "start" => Self::Start,
            "die" => Self::Die,
            "kill" => Self::Kill,
            "stop" => Self::Stop,
            "pause" => Self::Pause,
            "unpause" => Self::Unpause,
            "rename" => Self::Rename { old: without_slash(old_name.unwrap_or_default()) },
            "restart" => Self::Restart,
            "oom" => Self::Oom,
            "update" => Self::Update,
            "destroy" => Self::Destroy,
            _ => Self::Other(text),
        }
    }
}

/// A stream of events, on a connection of its own.
#[derive(Debug)]
pub struct Events {
    endpoint: Endpoint,
    lines: Lines,
    engine_time: Option<EventTime>,
    /// `None` when it has ended.
    stream: Option<(Incoming, Connection)>,
}

impl Events {
    pub(crate) fn new(
        endpoint: Endpoint,
        body: Incoming,
        connection: Connection,
        engine_time: Option<EventTime>,
    ) -> Self {
        let lines = Lines::new(connection.limits().line_bytes);
        Self { endpoint, lines, engine_time, stream: Some((body, connection)) }
    }

    /// The time by the engine's clock just before it registered, in whole seconds; absent when it did not tell.
    pub fn engine_time(&self) -> Option<EventTime> {
        self.engine_time
    }

    /// Waits for the next event; `None` at the end of the stream, and ever after. Nothing is lost when the future is
    /// dropped before it is ready.
    ///
    /// # Errors
    /// [`Error::Line`] for a line that is no event or too long: the next call goes on after it. [`Error::Lost`] when
    /// the connection broke: the stream has ended.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            while let Some(line) = self.lines.next() {
                if let Some(event) = self.read(line)? {
                    return Ok(Some(event));
                }
            }
            let Some((body, _)) = &mut self.stream else { return Ok(None) };
            match body.frame().await {
                Some(Ok(frame)) => self.lines.push(frame.into_data().unwrap_or_default()),
                Some(Err(error)) => {
                    self.stream = None;
                    return Err(self.lost(reason(&error, &self.endpoint)));
                }
                None => {
                    self.stream = None;
                    if self.lines.cut() {
                        return Err(self.lost("it ended within a line".to_owned()));
                    }
                }
            }
        }
    }

    fn read(&self, line: Line) -> Result<Option<Event>, Error> {
        let bad = |why: String| Error::Line { endpoint: self.endpoint.to_string(), why: shown(&why) };
        let line = match &line {
            Line::Whole(line) => trimmed(line),
            Line::TooLong => {
                return Err(bad(format!("its line is longer than {} bytes", self.lines.limit_bytes())));
            }
        };
        if line.is_empty() {
            return Ok(None);
        }
        Event::read(line).map_err(bad)
    }

    fn lost(&self, why: String) -> Error {
        Error::Lost { endpoint: self.endpoint.to_string(), call: "GET /events".to_owned(), why }
    }
}

/// The line without white space and the record separators of `application/json-seq`.
fn trimmed(line: &Bytes) -> &[u8] {
    let line = line.strip_prefix(b"\x1e").unwrap_or(line);
    line.trim_ascii()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::container::{Container, Listed};
    use crate::service::{Service, ServiceSpec};
    use crate::task::Task;
    use crate::version::{ApiVersion, Version};

    const ID: &str = "7a31c5f1d9be4cc0a1f4de7e7f6a2a8c3a1f1d6b7c8d9e0f1a2b3c4d5e6f7081";

    /// A text of every kind that is read here.
    fn texts() -> [String; 6] {
        [
            format!(
                r#"{{"Type":"container","Action":"die","Actor":{{"ID":"{ID}","Attributes":{{"exitCode":"7","name":"a"}}}},"timeNano":7}}"#
            ),
            format!(
                r#"{{"Id":"{ID}","State":{{"Pid":7,"StartedAt":"2026-03-01T10:20:30Z"}},"HostConfig":{{"Memory":7}},"NetworkSettings":{{"Networks":{{"a":{{"MacAddress":"02:42:ac:11:00:02"}}}}}}}}"#
            ),
            format!(r#"[{{"Id":"{ID}","Names":["/a"],"State":"running"}}]"#),
            r#"{"Version":"1","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#.to_owned(),
            r#"{"ID":"s","Version":{"Index":7},"Spec":{"Name":"a","Labels":{"a":"b"},"Mode":{"Replicated":{"Replicas":1}}}}"#
                .to_owned(),
            format!(
                r#"[{{"ID":"t","ServiceID":"s","Slot":1,"Status":{{"State":"running","ContainerStatus":{{"ContainerID":"{ID}"}}}}}}]"#
            ),
        ]
    }

    proptest! {
        /// Whatever becomes of a text, it is read or refused with one line.
        #[test]
        fn no_text_is_a_panic(
            which in 0_usize..6,
            cut in 0_usize..400,
            changes in prop::collection::vec((0_usize..400, any::<u8>()), 0..4),
        ) {
            let mut text = texts()[which].clone().into_bytes();
            for (at, byte) in changes {
                let at = at % text.len();
                text[at] = byte;
            }
            text.truncate(cut);
            let said = [
                Event::read(&text).err(),
                Container::read(&text).err(),
                Listed::read(&text).err(),
                Version::read(&text).err(),
                ServiceSpec::read(&text, ApiVersion::OLDEST).err(),
                Service::read_list(&[b"[", &text[..], b"]"].concat()).err(),
                Task::read_list(&text).err(),
            ];
            for error in said.into_iter().flatten() {
                prop_assert!(error.chars().all(|c| !c.is_control()), "{error:?}");
            }
        }
    }
}
