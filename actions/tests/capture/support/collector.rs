//! A collector with a capture controller.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actions::audit::{Audit, Limits};
use actions::capture::config::{Config, Raw};
use actions::capture::control::Control;
use actions::capture::controller::{Controller, Trusted};
use actions::mode::{Mode, Switch};
use actions::notify::Notices;
use actions::thread::{Actions, Component};
use engine::{Engine, EngineOptions};
use serde_json::{Value as Json, json};
use tables::Change;

use super::datagram::datagram;
use super::until;

/// An engine that listens, with the list `emerging` of 192.0.2.0/24 and 2001:db8:bad::/48.
pub(crate) struct Collector {
    pub(crate) engine: Engine,
    socket: UdpSocket,
    sequence: AtomicU32,
    pub(crate) state: tempfile::TempDir,
}

/// A running controller.
pub(crate) struct Capture {
    pub(crate) control: Control,
    pub(crate) mode: Switch,
    pub(crate) audit: Audit,
    actions: Actions,
}

/// A configuration of these switches; the policy `emerging` and the limits are those of a test: quick.
pub(crate) fn config(switches: Json, policy: Json, limits: Json) -> Config {
    let merged = |base: Json, more: &Json| {
        let mut base = base;
        base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        base
    };
    let json = json!({
        "switch": switches,
        "capture": { "emerging": merged(json!({"group": "emerging", "analyzer": "10.0.0.70", "ttl_s": 30}), &policy) },
        "capture_limits": merged(json!({"reconcile_ms": 200, "bits_per_second_per_analyzer": 1e12,
            "bits_per_second_per_switch": 1e12, "bits_per_second": 1e12, "begun_per_minute": 100_000,
            "begun_per_minute_per_switch": 100_000}), &limits),
    });
    serde_json::from_value::<Raw>(json).unwrap().check().unwrap()
}

/// All agents of the inventory.
pub(crate) fn inventory(config: &Config) -> Trusted {
    let agents: Vec<IpAddr> = config.switches.iter().map(|switch| switch.agent).collect();
    Arc::new(move |agent| agents.contains(&agent))
}

impl Collector {
    pub(crate) fn start() -> Self {
        let options = EngineOptions {
            sflow: vec!["127.0.0.1:0".parse().unwrap()],
            workers: NonZero::new(1),
            ..EngineOptions::default()
        };
        let engine = Engine::start(&options).unwrap();
        let groups = json!({ "block": ["192.0.2.0/24", "2001:db8:bad::/48"] });
        engine.handle().define(Change::Group("emerging".into(), Some(groups))).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        Self { engine, socket, sequence: AtomicU32::new(1), state: tempfile::tempdir().unwrap() }
    }

    /// An agent has sampled a packet at its port 3.
    pub(crate) fn sample(&self, agent: Ipv4Addr, from: &str, to: &str) {
        let sequence = self.sequence.fetch_add(1, Ordering::SeqCst);
        let bytes = datagram(agent, sequence, 3, 400, from.parse().unwrap(), to.parse().unwrap());
        self.socket.send_to(&bytes, self.engine.addresses()[0]).unwrap();
    }

    /// A controller in the mode `act`, which has defined its flows and asked every switch.
    pub(crate) fn capture(&self, config: Config) -> Capture {
        self.capture_for(config, Mode::Act, None)
    }

    /// The same, killed after a time, without an end of its own: what was under way is dropped where it is.
    pub(crate) fn capture_for(&self, config: Config, mode: Mode, lives: Option<Duration>) -> Capture {
        let trusted = inventory(&config);
        let switches = config.switches.len();
        let has_policies = !config.policies.is_empty();
        let (controller, control) = Controller::new(config, "main", trusted).unwrap();
        let controller = controller.keeping(Some(self.state.path()));
        let component = Component::new("capture", move |context| async move {
            match lives {
                Some(lives) => drop(tokio::time::timeout(lives, controller.run(context)).await),
                None => controller.run(context).await,
            }
        });
        let mode = Switch::new(mode);
        let audit = Audit::open(self.state.path(), Limits::default()).unwrap();
        let notices = Notices::new(&serde_json::from_value(json!({})).unwrap());
        let actions =
            Actions::start(self.engine.handle(), audit.clone(), mode.clone(), notices, vec![component])
                .unwrap();
        let capture = Capture { control, mode, audit, actions };
        if lives.is_none() {
            until("flows are defined", || {
                !has_policies
                    || self.engine.handle().program().flows.keys().any(|name| name.starts_with("fs_capture_"))
            });
            until("every switch was asked", || {
                let states = capture.switch_states();
                states.len() >= switches && states.iter().all(|state| state != "unread")
            });
        }
        capture
    }
}

impl Capture {
    /// State and reason of every session, by its id.
    pub(crate) fn sessions(&self) -> Vec<(String, String, String)> {
        let json = self.control.json();
        let text = |json: &Json| json.as_str().unwrap().to_owned();
        let sessions = json["sessions"].as_array().cloned().unwrap_or_default();
        sessions.iter().map(|one| (text(&one["id"]), text(&one["state"]), text(&one["reason"]))).collect()
    }

    pub(crate) fn state(&self, id: &str) -> String {
        let session = self.control.session_json(id);
        session.map(|session| session["state"].as_str().unwrap().to_owned()).unwrap_or_default()
    }

    pub(crate) fn switch_states(&self) -> Vec<String> {
        let json = self.control.json();
        let switches = json["switches"].as_array().cloned().unwrap_or_default();
        switches.iter().map(|switch| switch["state"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn metric(&self, name: &str) -> f64 {
        self.control.metrics().iter().filter(|row| row.name == name).map(|row| row.value).sum()
    }

    /// Whether the component has ended.
    pub(crate) fn is_over(&self) -> bool {
        !self.actions.broken().is_empty()
    }

    pub(crate) fn shutdown(self) {
        self.actions.shutdown().unwrap();
    }
}
