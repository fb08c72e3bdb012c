//! How many calls of a script are under way at once, and how many wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls that a script has under way at once.
pub(crate) const AT_ONCE: usize = 4;
/// Calls of `httpAsync` that wait for their turn.
pub(crate) const WAITING: usize = 256;
/// Bytes that these keep.
pub(crate) const WAITING_BYTES: usize = 16 << 20;

/// The places of a script's calls. Those that nobody waits for stand in a queue, and one at a time of them asks for a
/// place: a call that the script waits for is behind one of them at most.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    places: Arc<Semaphore>,
    turn: Arc<Semaphore>,
    waiting: Arc<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    calls: AtomicUsize,
    bytes: AtomicUsize,
}

/// A place; dropping it gives it to the next one.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

/// A place in the queue.
#[derive(Debug)]
pub(super) struct Queued {
    waiting: Arc<Waiting>,
    bytes: usize,
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.waiting.calls.fetch_sub(1, Ordering::Relaxed);
        self.waiting.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            turn: Arc::new(Semaphore::new(1)),
            waiting: Arc::default(),
        }
    }

    /// A place, as soon as there is one.
    pub(super) async fn place(&self) -> Place {
        // The semaphore is never closed, which would be the only error.
        Place { _permit: Arc::clone(&self.places).acquire_owned().await.ok() }
    }

    /// Lets a call into the queue.
    ///
    /// # Errors
    /// It is full; the text says of what.
    pub(super) fn queue(&self, bytes: usize) -> Result<Queued, String> {
        let waiting = &self.waiting;
        // Only the script's own thread lets calls in, so that nothing comes between question and answer.
        let (calls, kept) = (waiting.calls.load(Ordering::Relaxed), waiting.bytes.load(Ordering::Relaxed));
        if calls >= WAITING || (calls > 0 && kept.saturating_add(bytes) > WAITING_BYTES) {
            return Err(format!(
                "{calls} calls with {kept} bytes wait already: {WAITING} calls and {WAITING_BYTES} bytes may"
            ));
        }
        waiting.calls.fetch_add(1, Ordering::Relaxed);
        waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Queued { waiting: Arc::clone(waiting), bytes })
    }

    /// Waits for the turn of a call in the queue, and for its place.
    pub(super) async fn place_of(&self, queued: Queued) -> Place {
        let turn = self.turn.acquire().await;
        let place = self.place().await;
        drop((turn, queued));
        place
    }

    /// Calls that wait now.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.calls.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use tokio::task::yield_now;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn four_are_under_way_and_one_that_is_waited_for_passes_the_queue() {
        let gate = Gate::new();
        let mut places = Vec::new();
        for _ in 0..AT_ONCE {
            places.push(gate.place().await);
        }
        assert!(timeout(Duration::from_millis(20), gate.place()).await.is_err());
        let queued: Vec<_> = (0..10)
            .map(|_| {
                let (gate, queued) = (gate.clone(), gate.queue(1).unwrap());
                tokio::spawn(async move { gate.place_of(queued).await })
            })
            .collect();
        yield_now().await;
        assert_eq!(gate.waiting(), 10);
        let waited_for = tokio::spawn({
            let gate = gate.clone();
            async move { gate.place().await }
        });
        yield_now().await;
        // One of the queue was before it, none of the others is.
        drop((places.pop(), places.pop()));
        let place = timeout(Duration::from_secs(5), waited_for).await.unwrap().unwrap();
        assert_eq!(gate.waiting(), 9);
        drop((place, places));
        for queued in queued {
            drop(timeout(Duration::from_secs(5), queued).await.unwrap());
        }
        assert_eq!(gate.waiting(), 0);
    }

    #[tokio::test]
    async fn the_queue_has_an_end_in_calls_and_in_bytes() {
        let gate = Gate::new();
        let mut kept: Vec<_> = (0..WAITING).map(|_| gate.queue(0).unwrap()).collect();
        let error = gate.queue(0).unwrap_err();
        assert_eq!(error, "256 calls with 0 bytes wait already: 256 calls and 16777216 bytes may");
        kept.clear();
        // A call of any size may wait alone.
        let large = gate.queue(WAITING_BYTES + 1).unwrap();
        assert!(gate.queue(1).is_err());
        drop(large);
        assert!(gate.queue(WAITING_BYTES).is_ok());
        assert_eq!(gate.waiting(), 0);
    }
}
