//! Services of a swarm as its managers list and describe them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::Error;
use crate::spec;
use crate::version::ApiVersion;

/// How far the last change of a service's tasks is. A change of their number alone is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateState {
    /// Its tasks are being replaced.
    Updating,
    /// That was halted, by a failure or by a person.
    Paused,
    /// It is done.
    Completed,
    /// Its tasks are being replaced by those that were before.
    RollingBack,
    /// That was halted.
    RollbackPaused,
    /// They are as they were before.
    RolledBack,
    /// The engine says what is not known here.
    Unknown,
}

impl UpdateState {
    fn of(text: &str) -> Self {
        match text {
            "updating" => Self::Updating,
            "paused" => Self::Paused,
            "completed" => Self::Completed,
            "rollback_started" => Self::RollingBack,
            "rollback_paused" => Self::RollbackPaused,
            "rollback_completed" => Self::RolledBack,
            _ => Self::Unknown,
        }
    }

    /// Whether it is under way, or stands half done: no time to change the number of tasks.
    pub fn is_unfinished(self) -> bool {
        !matches!(self, Self::Completed | Self::RolledBack)
    }
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The number of its version, which every change raises.
    pub version_index: u64,
    /// Its own labels, which are not those of its containers: any text.
    pub labels: BTreeMap<String, String>,
    /// How many tasks it should have; absent when its mode has no such number, which is a global service's, or a job's.
    pub replicas: Option<u64>,
    /// How many of its tasks run; only in lists, and of API 1.41 and later.
    pub running_tasks: Option<u64>,
    /// How many of its tasks should run, as far as the swarm has made them; only where `running_tasks` is.
    pub desired_tasks: Option<u64>,
    /// How far the last change of its tasks is; absent when there was none, or the number was changed after it.
    pub update: Option<UpdateState>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Version")]
    version: VersionAnswer,
    #[serde(rename = "Spec")]
    spec: SpecAnswer,
    #[serde(rename = "ServiceStatus")]
    status: Option<StatusAnswer>,
    #[serde(rename = "UpdateStatus")]
    update: Option<UpdateAnswer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersionAnswer {
    index: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SpecAnswer {
    name: String,
    labels: Option<BTreeMap<String, String>>,
    mode: Option<ModeAnswer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ModeAnswer {
    replicated: Option<ReplicatedAnswer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReplicatedAnswer {
    replicas: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StatusAnswer {
    running_tasks: Option<u64>,
    desired_tasks: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateAnswer {
    state: Option<String>,
}

impl Service {
    /// Reads the answer of `GET /services`, in the order of their names.
    ///
    /// # Errors
    /// It is no list of services; the text says what is wrong.
    pub(crate) fn read_list(body: &[u8]) -> Result<Vec<Self>, String> {
        let answer: Option<Vec<Answer>> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let mut services: Vec<Self> = answer.unwrap_or_default().into_iter().map(Self::of).collect();
        services.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(services)
    }

    fn of(answer: Answer) -> Self {
        let replicated = answer.spec.mode.and_then(|mode| mode.replicated);
        let status = answer.status.unwrap_or(StatusAnswer { running_tasks: None, desired_tasks: None });
        // An engine writes an empty object where there was no update.
        let update = answer.update.and_then(|update| update.state).filter(|state| !state.is_empty());
        Self {
            id: answer.id,
            name: answer.spec.name,
            version_index: answer.version.index,
            labels: answer.spec.labels.unwrap_or_default(),
            // An engine takes one for a number that is not given.
            replicas: replicated.map(|replicated| replicated.replicas.unwrap_or(1)),
            running_tasks: status.running_tasks,
            desired_tasks: status.desired_tasks,
            update: update.map(|state| UpdateState::of(&state)),
        }
    }
}

/// A service with its whole specification, as the engine wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// What is read of it.
    pub service: Service,
    /// The version of the API in which it was written.
    api: ApiVersion,
    raw: Vec<u8>,
}

impl ServiceSpec {
    /// Reads the answer of `GET /services/ID`.
    ///
    /// # Errors
    /// It describes no service; the text says what is wrong.
    pub fn read(body: &[u8], api: ApiVersion) -> Result<Self, String> {
        let answer: Answer = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let place = spec::of_answer(body)?;
        let raw = body.get(place).unwrap_or_default().to_owned();
        Ok(Self { service: Service::of(answer), api, raw })
    }

    /// The specification's JSON, byte by byte as the engine wrote it.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The version of the API in which it was written; it is not written back in another.
    pub fn api(&self) -> ApiVersion {
        self.api
    }

    /// The specification's JSON with another number of replicas, and not one other byte changed.
    ///
    /// # Errors
    /// [`Error::NotAsked`]: the service has no number of replicas, or it is not clear where.
    pub fn with_replicas(&self, number: u64) -> Result<Vec<u8>, Error> {
        spec::with_replicas(&self.raw, number).map_err(|why| Error::NotAsked {
            what: format!("service {}", crate::error::shown(&self.service.name)),
            why,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const API: ApiVersion = ApiVersion { major: 1, minor: 41 };

    #[test]
    fn a_list_of_services_of_every_mode() {
        let body = br#"[
            {"ID":"b2","Version":{"Index":21},"Spec":{"Name":"web","Labels":{"a":"1"},"Mode":{"Replicated":{"Replicas":0}}},
             "UpdateStatus":{"State":"updating","Message":"x"},"ServiceStatus":{"RunningTasks":2,"DesiredTasks":3}},
            {"ID":"a1","Version":{"Index":9},"Spec":{"Name":"all","Labels":null,"Mode":{"Global":{}}},"UpdateStatus":{}},
            {"ID":"c3","Version":{"Index":8},"Spec":{"Name":"job","Mode":{"ReplicatedJob":{"Replicas":4}}},
             "UpdateStatus":{"State":"unheard_of"}},
            {"ID":"d4","Version":{"Index":7},"Spec":{"Name":"one","Mode":{"Replicated":{}}},"UpdateStatus":null}]"#;
        let list = Service::read_list(body).unwrap();
        let [all, job, one, web] = &list[..] else { panic!("{list:?}") };
        assert_eq!((web.id.as_str(), web.version_index, web.replicas), ("b2", 21, Some(0)));
        assert_eq!((web.running_tasks, web.desired_tasks), (Some(2), Some(3)));
        assert_eq!((web.labels["a"].as_str(), web.update), ("1", Some(UpdateState::Updating)));
        assert_eq!((all.replicas, all.update, all.running_tasks), (None, None, None));
        assert_eq!((job.replicas, job.update, one.replicas), (None, Some(UpdateState::Unknown), Some(1)));
        assert_eq!(Service::read_list(b"null").unwrap(), []);
        assert!(Service::read_list(br#"{"message":"x"}"#).is_err());
        assert!(Service::read_list(br#"[{"ID":"a","Spec":{"Name":"a"}}]"#).unwrap_err().contains("Version"));
    }

    #[test]
    fn a_service_keeps_its_specification_as_it_was_written() {
        let spec = r#"{ "Name":"we\u0062" ,"Mode":{"Replicated":{"Replicas":3}},"X":1.0e2}"#;
        let body =
            format!(r#"{{"ID":"a","Version":{{"Index":5}},"PreviousSpec":{{"Name":"x"}},"Spec": {spec} }}"#);
        let read = ServiceSpec::read(body.as_bytes(), API).unwrap();
        assert_eq!((read.service.name.as_str(), read.service.replicas, read.api()), ("web", Some(3), API));
        assert_eq!(read.raw(), spec.as_bytes());
        let changed = String::from_utf8(read.with_replicas(12).unwrap()).unwrap();
        assert_eq!(changed, spec.replace(":3}", ":12}"));
        let global = r#"{"ID":"a","Version":{"Index":5},"Spec":{"Name":"a\nb","Mode":{"Global":{}}}}"#;
        let error = ServiceSpec::read(global.as_bytes(), API).unwrap().with_replicas(1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "service a\\nb: its mode is not Replicated: it has no number of replicas"
        );
        assert_eq!(error.label(), "not_asked");
    }

    #[test]
    fn what_is_under_way_or_half_done_is_unfinished() {
        for (text, unfinished) in [
            ("updating", true),
            ("paused", true),
            ("completed", false),
            ("rollback_started", true),
            ("rollback_paused", true),
            ("rollback_completed", false),
            ("something", true),
        ] {
            assert_eq!(UpdateState::of(text).is_unfinished(), unfinished, "{text}");
        }
    }
}
