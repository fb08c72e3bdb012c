//! What functions of scripts are known to answer, a table for each family of the catalogue.

mod absent;
mod definitions;
mod handlers;
mod http;
mod kept;
mod log;
mod network;
mod questions;
mod servers;
mod texts;
mod topology;

use std::sync::{Arc, Mutex, OnceLock};

use script::Config;
use serde_json::Value as Json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::scene::Scene;

/// What a function is known to answer.
pub(crate) struct Known {
    /// The function.
    pub(crate) name: &'static str,
    /// A script that prepares for the question.
    pub(crate) first: &'static str,
    /// The question: an expression, in which `req` is the request.
    pub(crate) asks: &'static str,
    /// What is known.
    pub(crate) says: Says,
}

/// An answer that is known without asking.
pub(crate) enum Says {
    /// This JSON.
    Json(&'static str),
    /// This number, give or take this share of it.
    Near(fn(&Scene) -> f64, f64),
    /// This line in the log, and none with this text.
    Line(&'static str, &'static str),
    /// What the scene knows.
    Is(fn(&Scene) -> Json),
    /// Whatever is checked of the answer, or of what it says instead.
    That(fn(&Scene, Result<Json, String>) -> Result<(), String>),
}

/// All entries.
pub(crate) fn all() -> Vec<Known> {
    let families = [
        handlers::known,
        questions::known,
        definitions::known,
        topology::known,
        kept::known,
        log::known,
        texts::known,
        http::known,
        network::known,
        absent::known,
    ];
    families.into_iter().flat_map(|known| known()).collect()
}

/// What the operator has set, sorted.
pub(crate) fn properties() -> Vec<(String, String)> {
    let servers = servers::servers();
    let property = |name: &str, value: String| (name.to_owned(), value);
    vec![
        property("known.ended", servers.ended.port().to_string()),
        property("known.forward", servers.forwarded.port().to_string()),
        property("known.graphite", servers.graphite.port().to_string()),
        property("known.server", servers.http.to_string()),
        property("known.syslog", servers.syslog.port().to_string()),
        property("known.text", "of the operator".to_owned()),
    ]
}

/// How scripts are configured for them.
pub(crate) fn configure(config: &mut Config) {
    config.properties = properties().into_iter().collect();
    config.run_commands = true;
    config.allow = vec!["127.0.0.1".parse().unwrap()];
    // The log has to be heard before the first line is written.
    lines();
}

/// JSON as the tables write it.
pub(crate) fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Lines that scripts have written into the log, with their levels.
pub(crate) fn lines() -> Vec<String> {
    static LINES: OnceLock<Arc<Mutex<Vec<String>>>> = OnceLock::new();
    let lines = LINES.get_or_init(|| {
        let lines = Lines::default();
        let heard = Arc::clone(&lines.0);
        tracing::subscriber::set_global_default(lines).unwrap();
        heard
    });
    lines.lock().unwrap().clone()
}

/// Hears what scripts write.
#[derive(Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Subscriber for Lines {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        about.target() == "script"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        let level = match *event.metadata().level() {
            Level::ERROR => "SEVERE",
            Level::WARN => "WARNING",
            _ => "INFO",
        };
        self.0.lock().unwrap().push(format!("{level}: {}", text.0));
    }
}
