//! Containers as the engine lists and describes them. What an engine does not say is absent.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::Deserialize;

use crate::error::shown;
use crate::event::EventTime;
use crate::id::Id;

/// What a container is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Made, and not started yet.
    Created,
    /// It runs.
    Running,
    /// It is frozen.
    Paused,
    /// It ended, and the engine is about to start it again.
    Restarting,
    /// It is being removed.
    Removing,
    /// It ended.
    Exited,
    /// It could not be removed whole.
    Dead,
    /// The engine does not say, or says what is not known here.
    #[default]
    Unknown,
}

impl State {
    fn of(text: &str) -> Self {
        match text {
            "created" => Self::Created,
            "running" => Self::Running,
            "paused" => Self::Paused,
            "restarting" => Self::Restarting,
            "removing" => Self::Removing,
            "exited" => Self::Exited,
            "dead" => Self::Dead,
            _ => Self::Unknown,
        }
    }
}

/// A container as the list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: Id,
    /// Its name, as it was given: any text.
    pub name: String,
    /// What it is doing.
    pub state: State,
}

/// A container as the engine describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: Id,
    /// Its name, as it was given: any text.
    pub name: String,
    /// Its first process on the engine's host; absent when it does not run.
    pub pid: Option<u32>,
    /// What it is doing.
    pub state: State,
    /// When it was started last, by the engine's clock.
    pub started_at: Option<EventTime>,
    /// The image that it was made from, as its maker named it.
    pub image: String,
    /// Its host name.
    pub hostname: String,
    /// How many billionths of a processor it may use.
    pub nano_cpus: Option<u64>,
    /// How long it may run in each period, all processors together.
    pub cpu_quota_us: Option<u64>,
    /// The period of its quota; the kernel's 100 ms when it is absent.
    pub cpu_period_us: Option<u64>,
    /// Which processors it may use, such as `0-3,8`; empty for all.
    pub cpuset_cpus: String,
    /// How much memory it may use; absent when there is no limit.
    pub memory_limit_bytes: Option<u64>,
    /// Whose network it uses: `bridge`, `host`, `none`, `container:ID`, or a network's name.
    pub network_mode: String,
    /// The networks that it is attached to, by name.
    pub networks: Vec<Attached>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The cgroup that its own is in; empty for the engine's default.
    pub cgroup_parent: String,
}

/// A network that a container is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The network's name.
    pub name: String,
    /// The container's address on it; absent while it does not run.
    pub mac: Option<[u8; 6]>,
    /// Its IPv4 address there.
    pub ipv4: Option<Ipv4Addr>,
    /// Its global IPv6 address there.
    pub ipv6: Option<Ipv6Addr>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedAnswer {
    id: String,
    names: Option<Vec<String>>,
    state: Option<String>,
}

impl Listed {
    /// Reads the answer of `GET /containers/json`.
    ///
    /// # Errors
    /// It is no list of containers with ids; the text says what is wrong.
    pub(crate) fn read(body: &[u8]) -> Result<Vec<Self>, String> {
        let answer: Option<Vec<ListedAnswer>> =
            serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let listed = |answer: ListedAnswer| {
            Ok(Self {
                id: id(&answer.id)?,
                name: own_name(answer.names.unwrap_or_default()),
                state: answer.state.map_or(State::Unknown, |text| State::of(&text)),
            })
        };
        answer.unwrap_or_default().into_iter().map(listed).collect()
    }
}

fn id(text: &str) -> Result<Id, String> {
    text.parse().map_err(|error| format!("Id {}: {error}", shown(text)))
}

/// A container's own name among those that links from other containers give it, which have two slashes.
fn own_name(names: Vec<String>) -> String {
    let own = |name: &String| !name.strip_prefix('/').unwrap_or(name).contains('/');
    let at = names.iter().position(own).unwrap_or(0);
    names.into_iter().nth(at).map(without_slash).unwrap_or_default()
}

/// The engine writes a slash before each name.
pub(crate) fn without_slash(name: String) -> String {
    name.strip_prefix('/').map(str::to_owned).unwrap_or(name)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    id: String,
    name: Option<String>,
    state: Option<StateAnswer>,
    config: Option<ConfigAnswer>,
    host_config: Option<HostConfigAnswer>,
    network_settings: Option<NetworkSettingsAnswer>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StateAnswer {
    status: Option<String>,
    pid: Option<i64>,
    started_at: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigAnswer {
    image: Option<String>,
    hostname: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfigAnswer {
    nano_cpus: Option<i64>,
    cpu_quota: Option<i64>,
    cpu_period: Option<i64>,
    cpuset_cpus: Option<String>,
    memory: Option<i64>,
    network_mode: Option<String>,
    cgroup_parent: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettingsAnswer {
    networks: Option<BTreeMap<String, Option<NetworkAnswer>>>,
}

#[derive(Default, Deserialize)]
struct NetworkAnswer {
    #[serde(rename = "MacAddress")]
    mac: Option<String>,
    #[serde(rename = "IPAddress")]
    ipv4: Option<String>,
    #[serde(rename = "GlobalIPv6Address")]
    ipv6: Option<String>,
}

impl Container {
    /// Reads the answer of `GET /containers/ID/json`.
    ///
    /// # Errors
    /// It describes no container; the text says what is wrong.
    pub(crate) fn read(body: &[u8]) -> Result<Self, String> {
        let answer: Answer = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let state = answer.state.unwrap_or_default();
        let config = answer.config.unwrap_or_default();
        let host = answer.host_config.unwrap_or_default();
        let networks = answer.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        // The engine writes 0, and for a quota also -1, where nothing is set.
        let limit = |value: Option<i64>| value.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
        Ok(Self {
            id: id(&answer.id)?,
            name: without_slash(answer.name.unwrap_or_default()),
            pid: state.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0),
            state: state.status.map_or(State::Unknown, |text| State::of(&text)),
            started_at: state.started_at.and_then(|text| EventTime::of_rfc3339(&text)),
            image: config.image.unwrap_or_default(),
            hostname: config.hostname.unwrap_or_default(),
            nano_cpus: limit(host.nano_cpus),
            cpu_quota_us: limit(host.cpu_quota),
            cpu_period_us: limit(host.cpu_period),
            cpuset_cpus: host.cpuset_cpus.unwrap_or_default(),
            memory_limit_bytes: limit(host.memory),
            network_mode: host.network_mode.unwrap_or_default(),
            networks: networks.into_iter().map(attached).collect(),
            labels: config.labels.unwrap_or_default(),
            cgroup_parent: host.cgroup_parent.unwrap_or_default(),
        })
    }
}

fn attached((name, answer): (String, Option<NetworkAnswer>)) -> Attached {
    let answer = answer.unwrap_or_default();
    Attached {
        name,
        mac: answer.mac.and_then(|text| mac(&text)),
        ipv4: answer.ipv4.and_then(|text| parsed(&text)),
        ipv6: answer.ipv6.and_then(|text| parsed(&text)),
    }
}

fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// Six pairs of hexadecimal digits with colons between them.
fn mac(text: &str) -> Option<[u8; 6]> {
    let mut address = [0; 6];
    let mut pairs = text.split(':');
    for byte in &mut address {
        let pair =
            pairs.next().filter(|pair| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    pairs.next().is_none().then_some(address)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const ID: &str = "7a31c5f1d9be4cc0a1f4de7e7f6a2a8c3a1f1d6b7c8d9e0f1a2b3c4d5e6f7081";

    #[test]
    fn a_list_with_links_nulls_and_unknown_states() {
        let body = format!(
            r#"[{{"Id":"{ID}","Names":["/web/db","/db"],"State":"running","Status":"Up 2 s","Ports":[]}},
                {{"Id":"{ID}","Names":null,"State":"hibernating"}},{{"Id":"{ID}","Names":["/a\nb"]}}]"#
        );
        let list = Listed::read(body.as_bytes()).unwrap();
        let names: Vec<&str> = list.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["db", "", "a\nb"]);
        let states: Vec<State> = list.iter().map(|one| one.state).collect();
        assert_eq!(states, [State::Running, State::Unknown, State::Unknown]);
        assert_eq!(Listed::read(b"null").unwrap(), []);
        assert!(Listed::read(br#"[{"Id":"xyz\n"}]"#).unwrap_err().starts_with("Id xyz\\n: "));
        assert!(Listed::read(b"{}").is_err());
    }

    #[test]
    fn a_container_with_all_that_is_read_of_it() {
        let body = format!(
            r#"{{"Id":"{ID}","Name":"/web.1","State":{{"Status":"paused","Running":true,"Paused":true,"Pid":4711,
            "StartedAt":"2026-03-01T10:20:30.123456789Z"}},"Config":{{"Image":"web:1","Hostname":"h1",
            "Labels":{{"com.docker.swarm.service.name":"web"}}}},"HostConfig":{{"NanoCpus":1500000000,"CpuQuota":-1,
            "CpuPeriod":0,"CpusetCpus":"0-3","Memory":67108864,"NetworkMode":"default","CgroupParent":"/x"}},
            "NetworkSettings":{{"Networks":{{"bridge":{{"MacAddress":"02:42:ac:11:00:02","IPAddress":"172.17.0.2",
            "GlobalIPv6Address":""}},"six":{{"MacAddress":"","IPAddress":"","GlobalIPv6Address":"2001:db8::2"}},
            "gone":null}}}}}}"#
        );
        let container = Container::read(body.as_bytes()).unwrap();
        assert_eq!((container.id.to_string().as_str(), container.name.as_str()), (ID, "web.1"));
        assert_eq!((container.pid, container.state), (Some(4711), State::Paused));
        assert_eq!(container.started_at.unwrap().as_nanos(), 1_772_360_430_123_456_789);
        assert_eq!((container.image.as_str(), container.hostname.as_str()), ("web:1", "h1"));
        assert_eq!((container.nano_cpus, container.cpu_quota_us), (Some(1_500_000_000), None));
        assert_eq!((container.cpu_period_us, container.cpuset_cpus.as_str()), (None, "0-3"));
        assert_eq!((container.memory_limit_bytes, container.cgroup_parent.as_str()), (Some(64 << 20), "/x"));
        assert_eq!(container.labels["com.docker.swarm.service.name"], "web");
        let [bridge, gone, six] = &container.networks[..] else { panic!("{:?}", container.networks) };
        assert_eq!((bridge.mac, bridge.ipv4), (Some([2, 0x42, 172, 17, 0, 2]), Some([172, 17, 0, 2].into())));
        assert_eq!((bridge.ipv6, gone.mac, six.mac, six.ipv4), (None, None, None, None));
        assert_eq!(six.ipv6, "2001:db8::2".parse().ok());
    }

    #[test]
    fn what_an_engine_leaves_out_is_absent() {
        let container = Container::read(format!(r#"{{"Id":"{ID}"}}"#).as_bytes()).unwrap();
        assert_eq!((container.pid, container.state, container.started_at), (None, State::Unknown, None));
        assert_eq!((container.memory_limit_bytes, container.networks.len()), (None, 0));
        let ended = format!(
            r#"{{"Id":"{ID}","State":{{"Status":"created","Pid":0,"StartedAt":"0001-01-01T00:00:00Z"}},
            "Config":null,"HostConfig":{{"Memory":0}},"NetworkSettings":{{"Networks":null}}}}"#
        );
        let ended = Container::read(ended.as_bytes()).unwrap();
        assert_eq!((ended.pid, ended.started_at, ended.state), (None, None, State::Created));
        assert!(Container::read(br#"{"message":"x"}"#).unwrap_err().contains("Id"));
    }

    #[test]
    fn hardware_addresses() {
        assert_eq!(mac("02:42:AC:11:00:02"), Some([2, 0x42, 172, 17, 0, 2]));
        for wrong in ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "02:42:ac:11:00:+2", "0242ac110002"] {
            assert_eq!(mac(wrong), None, "{wrong}");
        }
    }
}
