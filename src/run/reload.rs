//! What is defined, from two sides: the configuration, read again on SIGHUP, and REST, whose changes are kept and
//! lie over it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use actions::config::Config as ActionsConfig;
use actions::control::Control;
use anyhow::Context;
use engine::{DefineError, Handle};
use tables::Program;

use super::definitions::{self, Definitions};
use super::file::{self, Beneath, Config};
use super::scripts::{self, Running};
use super::settings::{Given, Setting, Settings, settings};
use super::state::{Overlay, StateDir};

/// How often a reload tries anew when a client changes something meanwhile.
const TRIES: usize = 3;

/// The definitions of a running collector.
pub struct Defined {
    handle: Handle,
    shared: Arc<Shared>,
    path: Option<PathBuf>,
    given: Given,
    /// Those of the start: what a reload cannot change.
    settings: Settings,
    /// Likewise, but for what the autoscaler takes.
    actions: ActionsConfig,
}

struct Shared {
    /// What the configuration defines, as [`Program::to_json`] writes it.
    configured: Mutex<Definitions>,
    state: Option<Arc<StateDir>>,
    /// Whether the last attempt to keep what is defined failed. Who keeps has the lock, so that what was defined later is
    /// not written over.
    unsaved: Mutex<bool>,
}

impl Shared {
    /// Keeps what differs from the configuration of what is `defined` by now; whether it could.
    fn keep(&self, defined: impl FnOnce() -> Definitions) -> bool {
        let mut unsaved = self.unsaved.lock().unwrap_or_else(PoisonError::into_inner);
        self.keep_locked(&mut unsaved, defined)
    }

    fn keep_locked(&self, unsaved: &mut bool, defined: impl FnOnce() -> Definitions) -> bool {
        let Some(state) = &self.state else { return true };
        let configured = self.configured.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match state.store(Overlay::between(&configured, &defined())) {
            Ok(()) if std::mem::take(unsaved) => tracing::info!("What REST defined is saved again"),
            Ok(()) => {}
            Err(error) => {
                tracing::error!("{error:#}: what REST defines will not survive a restart");
                *unsaved = true;
            }
        }
        !*unsaved
    }

    fn swap(&self, configured: Definitions) -> Definitions {
        std::mem::replace(&mut *self.configured.lock().unwrap_or_else(PoisonError::into_inner), configured)
    }

    fn overlay(&self, program: &Program) -> Overlay {
        let configured = self.configured.lock().unwrap_or_else(PoisonError::into_inner);
        Overlay::between(&configured, &definitions::of_program(program))
    }
}

impl Defined {
    /// Defines what the configuration and the state say, and keeps what clients define from here on.
    ///
    /// # Errors
    /// The engine does not take it, or the state cannot be set aside.
    pub fn start(
        handle: Handle,
        config: &Config,
        state: Option<Arc<StateDir>>,
        path: Option<PathBuf>,
        given: Given,
    ) -> anyhow::Result<Self> {
        let configured = definitions::of_program(&config.program);
        let references = &config.program.lookups.references;
        let overlay = state.as_ref().map(|state| state.stored()).unwrap_or_default();
        let lists = definitions::lists(&handle.program());
        let (program, refused) = definitions::compile(references, lists, &overlay.over(&configured));
        let target = definitions::of_program(&program);
        if let (Some(state), false) = (&state, refused.is_empty()) {
            let aside = state.set_aside()?;
            let all: Vec<String> =
                refused.iter().map(|r| format!("{} ({})", definitions::called(&r.id), r.why)).collect();
            tracing::error!(
                "not defined, because what it needs is not there: {}; the state as it was is kept as {}",
                all.join(", "),
                aside.display()
            );
            state.store(Overlay::between(&configured, &target))?;
        }
        handle
            .redefine(references.clone(), definitions::changes(&Definitions::new(), &target))
            .context("definitions")?;
        let shared =
            Arc::new(Shared { configured: Mutex::new(configured), state, unsaved: Mutex::default() });
        let keeping = Arc::clone(&shared);
        handle.on_define(Box::new(move |program| keeping.keep(|| definitions::of_program(program))));
        let (settings, actions) = (config.settings.clone(), config.actions.clone());
        Ok(Self { handle, shared, path, given, settings, actions })
    }

    /// Tries anew to keep what is defined, where that failed. To be called about once a second.
    pub fn keep_again(&self) {
        let mut unsaved = self.shared.unsaved.lock().unwrap_or_else(PoisonError::into_inner);
        if *unsaved {
            self.shared.keep_locked(&mut unsaved, || self.defined());
        }
    }

    fn defined(&self) -> Definitions {
        definitions::of_program(&self.handle.program())
    }

    /// Reads the configuration again: all of its definitions and what it says of scaling and scripts are taken, or nothing. The
    /// outcome is logged, with what takes a restart.
    pub(super) fn reload(&self, control: &Control, running: &Running) {
        let Some(path) = &self.path else {
            tracing::info!("No configuration file was named (--config): only scripts are read again");
            running.reload(&self.settings);
            return;
        };
        let config = match file::read(Some(path), &self.given, Beneath::default()) {
            Ok(config) => config,
            Err(wrong) => {
                let more = match wrong.lines.len() {
                    0 | 1 => String::new(),
                    n => format!(" (and {} more: --check-config shows all)", n - 1),
                };
                let first = wrong.lines.first().map_or("", String::as_str);
                tracing::error!("Nothing changed, the configuration is wrong: {first}{more}");
                return;
            }
        };
        if let Err(why) = self.take(&config.program) {
            tracing::error!("Nothing changed: {}: {why}", path.display());
            return;
        }
        // It was checked when it was read, and that is all that could be wrong with it.
        if let Err(wrong) = control.autoscale.set_config(config.actions.autoscale.clone()) {
            let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            tracing::error!("Scaling goes on as before: {}", wrong.join("; "));
        }
        let now = config.settings;
        running.reload(&now);
        let waiting: Vec<String> = settings()
            .filter(|setting| (setting.shown)(&now) != (setting.shown)(&self.settings))
            .filter(|setting| setting.key != "defaults" && !is_taken(setting))
            .map(|setting| format!("{} = {}", setting.name(), (setting.shown)(&now)))
            .chain((now.trust.listed != self.settings.trust.listed).then(|| "agents.listed".to_owned()))
            .chain(self.actions.waiting(&config.actions))
            .collect();
        tracing::info!("The definitions of {} are in effect", path.display());
        if !waiting.is_empty() {
            tracing::warn!("A restart is needed for {}", waiting.join("; "));
        }
    }

    fn take(&self, program: &Program) -> Result<(), String> {
        let configured = definitions::of_program(program);
        let references = &program.lookups.references;
        let mut failure = String::new();
        for _ in 0..TRIES {
            let current = self.handle.program();
            let overlay = self.shared.overlay(&current);
            let lists = definitions::lists(&current);
            let (target, refused) = definitions::compile(references, lists, &overlay.over(&configured));
            if let Some(refused) = refused.first() {
                let called = definitions::called(&refused.id);
                let why = &refused.why;
                // The file alone is right: it was compiled when it was read.
                return Err(if overlay.over(&Definitions::new()).contains_key(&refused.id) {
                    format!("{called}, which REST defined, does not go with it: {why}")
                } else {
                    format!("{called} needs what REST took away, or a new feed, which takes a restart: {why}")
                });
            }
            let target = definitions::of_program(&target);
            let changes = definitions::changes(&definitions::of_program(&current), &target);
            let before = self.shared.swap(configured.clone());
            match self.handle.redefine(references.clone(), changes) {
                Ok(()) => return Ok(()),
                // A worker was too busy to say in time that it took them: they stand, and it takes them later.
                Err(_) if definitions::of_program(&self.handle.program()) == target => return Ok(()),
                Err(error) => {
                    self.shared.swap(before);
                    // A client that defined something in between was measured against the new configuration.
                    self.shared.keep(|| self.defined());
                    failure = error.to_string();
                    if !matches!(error, DefineError::Change { .. }) {
                        break;
                    }
                }
            }
        }
        Err(failure)
    }
}

/// Whether a reload takes a setting: those of scripts, but for who may ask them.
fn is_taken(setting: &Setting) -> bool {
    setting.section.starts_with(scripts::SECTION) && setting.key != "open"
}
