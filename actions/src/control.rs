//! All actions as others see them: what is shown by REST, what persons ask for, and what of that is kept.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::Handle;
use serde_json::{Value as Json, json};

use crate::audit::{self, Audit};
use crate::autoscale::{Autoscaler, ControlError};
use crate::capture::controller::Controller;
use crate::config::Config;
use crate::feeds::{self, Feeds};
use crate::mode::{Mode, Switch};
use crate::notify::{Notice, Notices, Severity};
use crate::row::Row;
use crate::thread::{Actions, Broken, Component};
use crate::{autoscale, capture};

/// Keeps what persons have changed; whether it could.
pub type Keep = Arc<dyn Fn(&Json) -> bool + Send + Sync>;

/// What actions start with, beside their configuration.
pub struct Start<'s> {
    /// What is seen.
    pub engine: Handle,
    /// The collector's state directory. Without one nothing is done, because there is no place for the audit log.
    pub state: Option<&'s Path>,
    /// What persons had changed, as [`Start::keep`] was given it; null where there is nothing.
    pub changed: Json,
    /// Keeps that.
    pub keep: Keep,
    /// Feeds of the same configuration, whose sets are defined already.
    pub feeds: Feeds,
    /// Whose rules these are, where the configuration does not say.
    pub owner: String,
}

impl std::fmt::Debug for Start<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start")
            .field("state", &self.state)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

/// Actions cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The audit log cannot be opened, or the system has no thread left.
    #[error("actions: {0}")]
    System(#[from] std::io::Error),
    /// The configuration cannot be done; all of it that is wrong.
    #[error("{0}")]
    Config(String),
}

/// What persons do to all actions together.
#[derive(Clone)]
pub struct Control {
    mode: Switch,
    /// Whether a person has said the mode: what nobody has said follows the configuration at the next start.
    said: Arc<AtomicBool>,
    audit: Audit,
    notices: Notices,
    broken: Broken,
    keep: Keep,
    /// The autoscaler.
    pub autoscale: autoscale::control::Control,
    /// Feeds.
    pub feeds: feeds::Control,
    /// Captures.
    pub captures: capture::control::Control,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("mode", &self.mode.get()).finish_non_exhaustive()
    }
}

/// A change that is in effect, and could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is in effect, but could not be saved: it is lost when the collector ends; the log says why")]
pub struct Unsaved;

/// Starts all actions.
///
/// # Errors
/// The configuration cannot be done, the audit log cannot be opened, or the system has no thread left.
pub fn start(config: Config, start: Start<'_>) -> Result<(Actions, Control), StartError> {
    let said = start.changed.get("mode").and_then(Json::as_str);
    let mode = match said {
        // What a person has said is not forgotten: where it cannot be read, nothing is done.
        Some(text) => text.parse().unwrap_or(Mode::Observe),
        None => config.actions.mode,
    };
    if mode != config.actions.mode {
        tracing::info!(
            "actions: the mode is {mode}, as the state directory has it; the configuration says {}",
            config.actions.mode
        );
    }
    let said = Arc::new(AtomicBool::new(said.is_some()));
    if !config.is_empty() && !start.engine.lists_agents() {
        tracing::warn!(
            "no agent is listed, and actions go by listed agents only: [[agents.listed]] says which, and where they send from"
        );
    }
    let mode = Switch::new(mode);
    let audit = match start.state {
        Some(directory) => Audit::open(directory, audit::Limits::default())?,
        None => Audit::absent(),
    };
    let notices = Notices::new(&config.notify);
    let owner = config.actions.owner.unwrap_or(start.owner);
    let wrong = |lines: Vec<String>| StartError::Config(lines.join("\n"));
    let settings = start.changed.get("autoscale").cloned().unwrap_or_default();
    let (scaler, autoscale) = Autoscaler::new(config.autoscale, &settings)
        .map_err(|all| wrong(all.iter().map(ToString::to_string).collect()))?;
    let sees = start.engine.clone();
    let trusted = Arc::new(move |agent: IpAddr| sees.trusts(agent.into()));
    let (controller, captures) = Controller::new(config.capture.check().map_err(wrong)?, &owner, trusted)
        .map_err(StartError::Config)?;
    let controller = controller.keeping(start.state);
    let feeds_control = start.feeds.control();
    let feeds = start.feeds;
    let components = vec![
        Component::new("feeds", |context| feeds.run(context)),
        Component::new("capture", |context| controller.run(context)),
        Component::new("autoscale", |context| scaler.run(context)),
    ];
    let actions = Actions::start(start.engine, audit.clone(), mode.clone(), notices.clone(), components)?;
    let broken = actions.broken_list();
    let control = Control {
        mode,
        said,
        audit,
        notices,
        broken,
        keep: start.keep,
        autoscale,
        feeds: feeds_control,
        captures,
    };
    Ok((actions, control))
}

impl Control {
    /// Whether actions are done.
    pub fn mode(&self) -> Mode {
        self.mode.get()
    }

    /// The mode as it is at any time.
    pub fn switch(&self) -> &Switch {
        &self.mode
    }

    /// The audit log, for what is done beside policies.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// What keeps actions from being done; `None` where nothing does.
    pub fn trouble(&self) -> Option<String> {
        self.audit.trouble()
    }

    /// Says whether actions are done. `Withdraw` is the kill switch.
    ///
    /// # Errors
    /// It could not be kept.
    pub fn set_mode(&self, mode: Mode) -> Result<(), Unsaved> {
        if self.mode.set(mode) {
            self.notices.tell(Notice {
                kind: "mode",
                name: mode.to_string(),
                what: "changed",
                text: format!("actions: the mode is {mode} now"),
                severity: Severity::Warning,
                ..Notice::default()
            });
        }
        self.said.store(true, Ordering::Relaxed);
        self.kept()
    }

    /// Changes a service of the autoscaler and keeps that; the service as it is then.
    ///
    /// # Errors
    /// Those of [`autoscale::control::Control::put`].
    pub fn put_service(&self, name: &str, change: &Json) -> Result<Result<(), Unsaved>, ControlError> {
        self.autoscale.put(name, change)?;
        Ok(self.kept())
    }

    fn kept(&self) -> Result<(), Unsaved> {
        let mut changed = json!({ "version": 1, "autoscale": self.autoscale.settings_json() });
        if self.said.load(Ordering::Relaxed) {
            changed["mode"] = self.mode.get().to_string().into();
        }
        if (self.keep)(&changed) { Ok(()) } else { Err(Unsaved) }
    }

    /// The mode, what keeps actions from being done, who is told, and what was counted.
    pub fn json(&self) -> Json {
        let counts = self.audit.counts();
        let broken: Vec<Json> =
            lock(&self.broken).iter().map(|(name, why)| json!({ "component": name, "why": why })).collect();
        let destinations: Vec<Json> = self
            .notices
            .destinations()
            .into_iter()
            .map(|to| {
                json!({
                    "kind": to.kind, "name": to.name, "delivered": to.delivered,
                    "failedTries": to.failed_tries, "lost": to.lost,
                })
            })
            .collect();
        json!({
            "mode": self.mode.get().to_string(),
            "trouble": self.audit.trouble(),
            "broken": broken,
            "overview": self.overview(),
            "notices": destinations,
            "audit": {
                "intents": counts.intents, "refused": counts.refused, "done": counts.done,
                "failed": counts.failed, "unknown": counts.unknown, "observed": counts.observed,
                "linesLost": counts.lines_lost,
            },
        })
    }

    /// The newest entries of the audit log, newest first, at most `most`; only those newer than `after`.
    pub fn audit_json(&self, after: Option<u64>, most: usize) -> Json {
        self.audit.newest(after, most).iter().map(audit::Kept::json).collect::<Vec<_>>().into()
    }

    /// Counters and gauges of all actions, families together.
    pub fn metrics(&self) -> Vec<Row> {
        let mut rows = self.own_rows();
        rows.extend(self.autoscale.metrics());
        rows.extend(self.captures.metrics());
        rows.extend(self.feeds.rows());
        rows
    }

    fn own_rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for mode in [Mode::Observe, Mode::Act, Mode::Withdraw] {
            let is = f64::from(u8::from(self.mode.get() == mode));
            let help = "1 for the mode that actions are in";
            rows.push(Row::new("finderscope_actions_mode", help, is).with("mode", mode.to_string()));
        }
        let audit::Counts { intents, refused, done, failed, unknown, observed, lines_lost } =
            self.audit.counts();
        for (outcome, count) in [
            ("intended", intents),
            ("refused", refused),
            ("done", done),
            ("failed", failed),
            ("unknown", unknown),
            ("observed", observed),
        ] {
            let help = "Actions by what became of them, as the audit log has it";
            rows.push(Row::new("finderscope_actions_total", help, count as f64).with("outcome", outcome));
        }
        let help = "Lines of the audit log that could not be written";
        rows.push(Row::new("finderscope_audit_lines_lost_total", help, lines_lost as f64));
        let help = "Components of actions that ended though nobody asked them to";
        rows.push(Row::new("finderscope_actions_broken", help, lock(&self.broken).len() as f64));
        for to in self.notices.destinations() {
            let row = |name, help, count: u64| {
                Row::new(name, help, count as f64).with("kind", to.kind).with("name", to.name.clone())
            };
            rows.push(row(
                "finderscope_notices_delivered_total",
                "Notices that were delivered",
                to.delivered,
            ));
        }
        for to in self.notices.destinations() {
            for (reason, lost) in to.lost {
                let row = Row::new(
                    "finderscope_notices_lost_total",
                    "Notices that were lost, by reason",
                    lost as f64,
                );
                rows.push(row.with("kind", to.kind).with("name", to.name.clone()).with("reason", reason));
            }
        }
        rows
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
