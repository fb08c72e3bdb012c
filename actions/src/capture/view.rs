//! What the controller shows of itself: JSON for REST, and metrics.
//!
//! The controller copies what is to be shown, because whoever waits for a rule waits while it does; JSON is made of the
//! copy by the thread that asks.

use std::sync::{Arc, OnceLock};

use serde_json::{Value as Json, json};

use super::config::Config;
use super::policy::Policy;
use super::scripts::policy::Scripts;
use super::scripts::session::Scripted;
use super::session::{Session, State};
use super::switches::Remote;
use crate::clock;
use crate::mode::Mode;
use crate::row::Row;
use crate::text::shown;

/// What is shown of.
pub(super) struct Shown<'s> {
    pub(super) config: &'s Arc<Config>,
    pub(super) instance: &'s str,
    pub(super) mode: Mode,
    pub(super) policy: &'s Policy,
    pub(super) scripts: &'s Scripts,
    pub(super) remotes: &'s [Remote],
    /// Records of agents that are not trusted.
    pub(super) untrusted: u64,
    /// Records that are of no two hosts.
    pub(super) unreadable: u64,
    /// What keeps our flows from being defined.
    pub(super) undefined: Option<&'s str>,
    pub(super) now_ms: u64,
}

/// What was there to be shown at one moment.
#[derive(Debug)]
pub(super) struct View {
    /// What was counted and measured.
    pub(super) rows: Vec<Row>,
    config: Arc<Config>,
    instance: String,
    mode: Mode,
    undefined: Option<String>,
    /// Sessions, and which direction of an active one has no frames, in words.
    sessions: Vec<(Session, Option<String>)>,
    ended: Vec<Arc<Session>>,
    /// The same of scripts.
    scripted: Vec<Scripted>,
    scripted_ended: Vec<Arc<Scripted>>,
    switches: Vec<Json>,
    /// The moment, and what the clock on the wall said.
    now_ms: u64,
    wall_ms: u64,
    /// All of it, once somebody has asked.
    json: OnceLock<Json>,
}

/// Copies what is to be shown.
pub(super) fn view(shown: &Shown<'_>) -> View {
    let policy = shown.policy;
    let with_way = |session: &Session| {
        let active = session.state() == State::Active;
        let one_way = if active { policy.one_way(session, shown.now_ms) } else { None };
        (session.clone(), one_way)
    };
    View {
        rows: shown.rows(),
        config: Arc::clone(shown.config),
        instance: shown.instance.to_owned(),
        mode: shown.mode,
        undefined: shown.undefined.map(str::to_owned),
        sessions: policy.sessions().map(with_way).collect(),
        ended: policy.ended().cloned().collect(),
        scripted: shown.scripts.sessions().cloned().collect(),
        scripted_ended: shown.scripts.ended().cloned().collect(),
        switches: shown.switches(),
        now_ms: shown.now_ms,
        wall_ms: clock::now_ms(),
        json: OnceLock::new(),
    }
}

impl View {
    /// All of it.
    pub(super) fn json(&self) -> &Json {
        self.json.get_or_init(|| {
            let sessions = self.sessions.iter().map(|(one, one_way)| self.session(one, one_way.as_deref()));
            let sessions = sessions.chain(self.scripted.iter().map(|one| self.scripted(one)));
            let ended = self.ended.iter().map(|one| self.session(one, None));
            let ended = ended.chain(self.scripted_ended.iter().map(|one| self.scripted(one)));
            json!({
                "instance": self.instance,
                "mode": self.mode.to_string(),
                "waits": self.undefined,
                "sessions": sessions.collect::<Vec<Json>>(),
                "ended": ended.collect::<Vec<Json>>(),
                "switches": self.switches,
            })
        })
    }

    /// The session with this id; `None` when there is none.
    pub(super) fn session_json(&self, id: &str) -> Option<Json> {
        if Scripted::is_id(id) {
            let named = || self.scripted.iter().filter(|one| one.session.name == id);
            return named().find(|one| one.is_live()).or(named().next()).map(|one| self.scripted(one));
        }
        let (session, one_way) = self.sessions.iter().find(|(session, _)| session.name == id)?;
        Some(self.session(session, one_way.as_deref()))
    }

    /// Wall-clock time of a moment, milliseconds since 1970.
    fn wall_ms(&self, at_ms: u64) -> u64 {
        (self.wall_ms + at_ms).saturating_sub(self.now_ms)
    }

    /// A session of a script: what differs from others is who owns it, and how long it lasts.
    fn scripted(&self, one: &Scripted) -> Json {
        let mut json = self.session(&one.session, None);
        let quiet_ms = (one.limits.ttl_s * 1000).saturating_sub(one.session.evidence.quiet_ms);
        let left_ms = quiet_ms.min(one.until_ms.saturating_sub(self.now_ms));
        json["deadline"] = clock::stamp(self.wall_ms(self.now_ms + left_ms)).into();
        json["analyzer"] = one.mirror.analyzer().to_string().into();
        json["owner"] = json!({ "script": shown(&one.script), "name": one.names.back() });
        json["rule"] = one.rule.as_str().into();
        json["names"] = json!(one.names);
        json["bothWays"] = one.mirror.both_ways().into();
        json
    }

    fn session(&self, session: &Session, one_way: Option<&str>) -> Json {
        let named = self.config.policies.get(session.policy);
        let seen = &session.evidence;
        let ttl_ms = named.map_or(0, |named| named.policy.ttl_s * 1000);
        let left_ms = match session.manual {
            Some(manual) => manual.until_ms.saturating_sub(self.now_ms),
            None => ttl_ms.saturating_sub(seen.quiet_ms),
        };
        let places: Vec<Json> = seen
            .places
            .iter()
            .map(|place| {
                json!({
                    "agent": place.agent, "dataSource": &*place.source, "role": place.role.name(),
                    "outward": place.ways[0].seen, "inward": place.ways[1].seen,
                })
            })
            .collect();
        let history: Vec<Json> = session
            .history
            .iter()
            .map(|step| json!({ "at": clock::stamp(self.wall_ms(step.at_ms)), "what": step.what }))
            .collect();
        let [outward, inward] = seen.ways_seen();
        json!({
            "id": session.name,
            "state": session.state().name(),
            "reason": session.reason,
            "policy": named.map(|named| &named.name),
            "local": session.local,
            "remote": session.remote,
            "label": shown(&session.label),
            "agent": session.at.and_then(|at| agent(&self.config, at)),
            "analyzer": named.map(|named| named.policy.analyzer),
            "manual": session.manual.is_some(),
            "adopted": session.adopted,
            "moved": session.moved,
            "began": clock::stamp(self.wall_ms(session.began_ms)),
            "deadline": clock::stamp(self.wall_ms(self.now_ms + left_ms)),
            "evidence": {
                "samples": seen.samples.round(),
                "frames": seen.frames.round(),
                "bitsPerSecond": seen.bits_per_second(self.now_ms).round(),
                "last": clock::stamp(self.wall_ms(seen.last_ms)),
                "outward": outward,
                "inward": inward,
                "oneWay": one_way,
                "places": places,
                "placesLeftOut": seen.crowded,
            },
            "history": history,
        })
    }
}

impl Shown<'_> {
    fn switches(&self) -> Vec<Json> {
        let mut sessions = vec![0_usize; self.config.switches.len()];
        let of_scripts = self.scripts.sessions().filter_map(|one| one.session.at);
        for at in self.policy.sessions().filter_map(|session| session.at).chain(of_scripts) {
            if let Some(sessions) = sessions.get_mut(at) {
                *sessions += 1;
            }
        }
        sessions.into_iter().enumerate().map(|(at, sessions)| self.switch(at, sessions)).collect()
    }

    fn switch(&self, at: usize, sessions: usize) -> Json {
        let switch = self.config.switches.get(at);
        let remote = self.remotes.get(at);
        let state = match (self.policy.down(at), self.policy.failing(at)) {
            (Some(_), _) => "down",
            (None, Some(_)) => "failing",
            (None, None) if self.policy.is_read(at) => "up",
            (None, None) => "unread",
        };
        json!({
            "agent": switch.map(|switch| switch.agent),
            "url": switch.and_then(|switch| switch.url.as_deref()),
            "driver": switch.map(|switch| switch.driver.name()),
            "implied": switch.is_some_and(|switch| switch.implied),
            "state": state,
            "reason": self.policy.down(at).or(self.policy.failing(at)).unwrap_or_default(),
            "breaker": remote.map(|remote| remote.standing(self.now_ms)),
            "rules": self.policy.rules_at(at) + self.scripts.names_at(at).len(),
            "sessions": sessions,
        })
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for state in State::ALL {
            let of_scripts = self.scripts.sessions().map(|one| &one.session);
            let all = self.policy.sessions().chain(of_scripts);
            let count = all.filter(|session| session.state() == state).count();
            rows.push(Row {
                name: "finderscope_capture_sessions",
                help: "Capture sessions, by state",
                labels: vec![("state", state.name().to_owned())],
                value: count as f64,
            });
        }
        let of_scripts = self.scripts.sessions().map(|one| &one.session);
        let placed = self.policy.sessions().chain(of_scripts).filter(|session| session.at.is_some());
        let bits: f64 = placed.map(|session| session.evidence.bits_per_second(self.now_ms)).sum();
        rows.push(row("finderscope_capture_bits_per_second", "Estimated traffic of all captures", bits));
        rows.push(row(
            "finderscope_capture_waiting",
            "Whether the flow definitions of capture could not be made yet",
            f64::from(u8::from(self.undefined.is_some())),
        ));
        let counts = self.policy.counts();
        for (name, help, value) in [
            ("finderscope_capture_sightings_total", "Sightings of listed hosts", counts.sightings),
            ("finderscope_capture_begun_total", "Captures that were begun", counts.begun),
            (
                "finderscope_capture_confirmed_total",
                "Rules of captures that were read back",
                counts.confirmed,
            ),
            ("finderscope_capture_ended_total", "Captures that have ended", counts.ended),
            ("finderscope_capture_moved_total", "Captures that have changed their switch", counts.moved),
            ("finderscope_capture_shed_total", "Captures that gave way because of a budget", counts.shed),
            ("finderscope_capture_refused_total", "Rules that were refused", counts.refused),
            (
                "finderscope_capture_adopted_total",
                "Rules that were found at a start and kept",
                counts.adopted,
            ),
            (
                "finderscope_capture_mended_total",
                "Rules that were missing or changed and were put again",
                counts.mended,
            ),
        ] {
            rows.push(row(name, help, value as f64));
        }
        for (reason, value) in [
            ("excluded", counts.excluded),
            ("stopped", counts.stopped),
            ("crowded", counts.crowded),
            ("untrusted", self.untrusted),
            ("unreadable", self.unreadable),
        ] {
            rows.push(Row {
                name: "finderscope_capture_ignored_total",
                help: "Sightings that lead to nothing, by reason",
                labels: vec![("reason", reason.to_owned())],
                value: value as f64,
            });
        }
        rows.extend(super::scripts::rows(self.scripts));
        for (at, remote) in self.remotes.iter().enumerate() {
            let agent = agent(self.config, at).unwrap_or_default();
            let up = self.policy.is_read(at) && self.policy.down(at).is_none();
            let counts = remote.counts;
            for (name, help, value) in [
                ("finderscope_capture_switch_up", "Whether a switch answers", u64::from(up)),
                (
                    "finderscope_capture_switch_failing",
                    "Whether the last commit of a switch failed",
                    u64::from(self.policy.failing(at).is_some()),
                ),
                (
                    "finderscope_capture_switch_rules",
                    "Rules of ours on a switch",
                    self.policy.rules_at(at) as u64,
                ),
                ("finderscope_capture_switch_reads_total", "Times that a switch was read", counts.reads),
                ("finderscope_capture_switch_puts_total", "Rules that were put on a switch", counts.puts),
                (
                    "finderscope_capture_switch_deletes_total",
                    "Rules that were taken from a switch",
                    counts.deletes,
                ),
                (
                    "finderscope_capture_switch_failures_total",
                    "Times that a switch did not answer",
                    counts.failures,
                ),
                (
                    "finderscope_capture_switch_refusals_total",
                    "Changes that a switch refused",
                    counts.refusals,
                ),
            ] {
                rows.push(Row { name, help, labels: vec![("agent", agent.clone())], value: value as f64 });
            }
        }
        rows
    }
}

/// The agent of a switch.
fn agent(config: &Config, switch: usize) -> Option<String> {
    config.switches.get(switch).map(|switch| switch.agent.to_string())
}

fn row(name: &'static str, help: &'static str, value: f64) -> Row {
    Row { name, help, labels: Vec::new(), value }
}
