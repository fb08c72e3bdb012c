//! What the controller shows of itself: JSON for REST, and metrics.

use serde_json::{Value as Json, json};

use super::config::Config;
use super::control::View;
use super::policy::Policy;
use super::session::{Session, State};
use super::switches::Remote;
use crate::clock;
use crate::mode::Mode;
use crate::row::Row;
use crate::text::shown;

/// What is shown of.
pub(super) struct Shown<'s> {
    pub(super) config: &'s Config,
    pub(super) instance: &'s str,
    pub(super) mode: Mode,
    pub(super) policy: &'s Policy,
    pub(super) remotes: &'s [Remote],
    /// Records of agents that are not trusted.
    pub(super) untrusted: u64,
    /// Records that are of no two hosts.
    pub(super) unreadable: u64,
    /// What keeps our flows from being defined.
    pub(super) undefined: Option<&'s str>,
    pub(super) now_ms: u64,
}

/// All of it.
pub(super) fn view(shown: &Shown<'_>) -> View {
    let policy = shown.policy;
    let sessions: Vec<Json> = policy.sessions().map(|one| shown.session(one)).collect();
    let ended: Vec<Json> = policy.ended().map(|one| shown.session(one)).collect();
    let switches = (0..shown.config.switches.len()).map(|at| shown.switch(at)).collect::<Vec<_>>();
    let json = json!({
        "instance": shown.instance,
        "mode": shown.mode.to_string(),
        "waits": shown.undefined,
        "sessions": sessions,
        "ended": ended,
        "switches": switches,
    });
    View { json, rows: shown.rows() }
}

impl Shown<'_> {
    /// Wall-clock time of a moment, milliseconds since 1970.
    fn wall_ms(&self, at_ms: u64) -> u64 {
        (clock::now_ms() + at_ms).saturating_sub(self.now_ms)
    }

    fn agent(&self, switch: usize) -> Option<String> {
        self.config.switches.get(switch).map(|switch| switch.agent.to_string())
    }

    fn session(&self, session: &Session) -> Json {
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
        let active = session.state() == State::Active;
        json!({
            "id": session.name,
            "state": session.state().name(),
            "reason": session.reason,
            "policy": named.map(|named| &named.name),
            "local": session.local,
            "remote": session.remote,
            "label": shown(&session.label),
            "agent": session.at.and_then(|at| self.agent(at)),
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
                "oneWay": if active { self.policy.one_way(session, self.now_ms) } else { None },
                "places": places,
                "placesLeftOut": seen.crowded,
            },
            "history": history,
        })
    }

    fn switch(&self, at: usize) -> Json {
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
            "state": state,
            "reason": self.policy.down(at).or(self.policy.failing(at)).unwrap_or_default(),
            "breaker": remote.map(|remote| remote.standing(self.now_ms)),
            "rules": self.policy.rules_at(at),
            "sessions": self.policy.sessions().filter(|session| session.at == Some(at)).count(),
        })
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for state in State::ALL {
            let count = self.policy.sessions().filter(|session| session.state() == state).count();
            rows.push(Row {
                name: "finderscope_capture_sessions",
                help: "Capture sessions, by state",
                labels: vec![("state", state.name().to_owned())],
                value: count as f64,
            });
        }
        let placed = self.policy.sessions().filter(|session| session.at.is_some());
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
        for (at, remote) in self.remotes.iter().enumerate() {
            let agent = self.agent(at).unwrap_or_default();
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

fn row(name: &'static str, help: &'static str, value: f64) -> Row {
    Row { name, help, labels: Vec::new(), value }
}
