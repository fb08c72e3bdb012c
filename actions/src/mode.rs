//! Whether actions are done, only observed, or withdrawn.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// What policies may do. A new installation observes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Decisions are made and told, and nothing is done.
    #[default]
    Observe,
    /// Decisions are done.
    Act,
    /// The kill switch: nothing new is done, and what can be taken back is.
    Withdraw,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Observe => "observe",
            Self::Act => "act",
            Self::Withdraw => "withdraw",
        })
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "observe" => Ok(Self::Observe),
            "act" => Ok(Self::Act),
            "withdraw" => Ok(Self::Withdraw),
            other => Err(format!("{:?} is no mode: observe, act or withdraw", crate::text::shown(other))),
        }
    }
}

/// The mode, shared by all who act; a clone shows the same mode. Whoever wires it keeps it over a restart.
#[derive(Clone, Debug)]
pub struct Switch {
    set: Arc<watch::Sender<Mode>>,
    seen: watch::Receiver<Mode>,
}

impl Switch {
    /// In this mode.
    pub fn new(mode: Mode) -> Self {
        let (set, seen) = watch::channel(mode);
        Self { set: Arc::new(set), seen }
    }

    /// The mode now.
    pub fn get(&self) -> Mode {
        *self.set.borrow()
    }

    /// Changes it; whether that is another mode than before.
    pub fn set(&self, mode: Mode) -> bool {
        self.set.send_if_modified(|now| std::mem::replace(now, mode) != mode)
    }

    /// Waits until it was changed since this clone was made or last waited, and says the mode.
    pub async fn changed(&mut self) -> Mode {
        // It ends with an error only when the sender is gone, and this holds one.
        let _ = self.seen.changed().await;
        *self.seen.borrow_and_update()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_sees_the_change_once() {
        let switch = Switch::new(Mode::default());
        assert_eq!(switch.get(), Mode::Observe, "a new installation observes");
        let mut other = switch.clone();
        assert!(switch.set(Mode::Act));
        assert!(!switch.set(Mode::Act), "that is no change");
        assert_eq!((other.get(), other.changed().await), (Mode::Act, Mode::Act));
        let again = tokio::time::timeout(std::time::Duration::from_millis(1), other.changed());
        assert!(again.await.is_err(), "it was seen");
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for mode in [Mode::Observe, Mode::Act, Mode::Withdraw] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.to_string());
        }
        assert!("on\n".parse::<Mode>().unwrap_err().contains("observe, act or withdraw"));
    }
}
