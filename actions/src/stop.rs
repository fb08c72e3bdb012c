//! How components learn that they are to end.

use tokio::sync::watch;

/// Whether the thread shall end.
#[derive(Clone, Debug)]
pub struct Stop {
    asked: watch::Receiver<bool>,
}

impl Stop {
    pub(crate) fn new() -> (watch::Sender<bool>, Self) {
        let (ask, asked) = watch::channel(false);
        (ask, Self { asked })
    }

    /// Whether it shall end.
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow() || self.asked.has_changed().is_err()
    }

    /// Waits until it shall end.
    pub async fn asked(&mut self) {
        // An error is that nobody is left who could ask.
        let _ = self.asked.wait_for(|asked| *asked).await;
    }
}
