//! One run: a load is offered, and afterwards every datagram of it is somewhere (promise I1).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;

use super::collector::{Counts, Receives};
use super::cpu;
use super::offer::{Load, Offer, Offered};
use super::search::Ran;

/// Between two looks at the counts, when all should have arrived.
const LOOK: Duration = Duration::from_millis(10);

/// A count that has not grown for so long is not about to.
const STANDS: Duration = Duration::from_millis(300);

/// Where every datagram of a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) sent: u64,
    pub(crate) counts: Counts,
    /// Dropped by an interface before they reached a socket or ring.
    pub(crate) interface: u64,
}

impl Account {
    /// How many are nowhere: none, if promise I1 holds; fewer than none if some were counted twice.
    pub(crate) fn missing(&self) -> i128 {
        i128::from(self.sent) - i128::from(self.counts.all()) - i128::from(self.interface)
    }

    /// Dropped anywhere.
    pub(crate) fn dropped(&self) -> u64 {
        self.counts.socket + self.counts.ring + self.counts.hand_over + self.interface
    }

    /// Whether nothing was lost, by counts and by sequence numbers.
    pub(crate) fn is_whole(&self) -> bool {
        self.missing() == 0
            && self.dropped() == 0
            && (self.counts.errors, self.counts.lost_datagrams, self.counts.lost_samples) == (0, 0, 0)
    }
}

/// What a run showed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trial {
    pub(crate) offered: Offered,
    pub(crate) account: Account,
    /// What the receiving threads took.
    pub(crate) time: cpu::Time,
    /// What the kernel's own threads took that receive what was put off.
    pub(crate) put_off: Duration,
}

impl Trial {
    /// Datagrams received per second of the sender's time.
    pub(crate) fn received_per_s(&self) -> f64 {
        self.account.counts.decoded as f64 / self.offered.seconds.max(1e-9)
    }

    /// What the receiving threads took for each datagram that they read, nanoseconds.
    pub(crate) fn worker_ns(&self) -> f64 {
        self.time.ran.as_nanos() as f64 / self.account.counts.decoded.max(1) as f64
    }

    /// What it says of its rate.
    pub(crate) fn ran(&self) -> Ran {
        Ran { per_s: self.offered.per_s(), whole: self.account.is_whole() }
    }
}

/// Runs it.
pub(crate) fn trial(
    receives: &impl Receives,
    offer: &mut dyn Offer,
    load: &Load,
    stop: &AtomicBool,
) -> anyhow::Result<Trial> {
    let before = receives.counts(true)?;
    let between = offer.lost_between();
    let (time, put_off) = (receives.time(), cpu::of_put_off());
    let offered = offer.offer(receives.address(), load, stop)?;
    if stop.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    let account = settled(receives, offer, &before, between, offered.sent)?;
    Ok(Trial {
        offered,
        account,
        time: receives.time().since(time),
        put_off: cpu::of_put_off().saturating_sub(put_off),
    })
}

/// The account when all of it is there, or when it does not grow any more.
fn settled(
    receives: &impl Receives,
    offer: &dyn Offer,
    before: &Counts,
    between: u64,
    sent: u64,
) -> anyhow::Result<Account> {
    let mut grew = Instant::now();
    let mut last = Account::default();
    loop {
        let counts = receives.counts(false)?.since(before);
        // An interface counts what rings had no room for as well.
        let interface = (offer.lost_between() - between).saturating_sub(counts.ring);
        let account = Account { sent, counts, interface };
        if account != last {
            grew = Instant::now();
        }
        last = account;
        if account.missing() <= 0 || grew.elapsed() > STANDS {
            let counts = receives.counts(true)?.since(before);
            return Ok(Account { counts, ..account });
        }
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nowhere_and_what_is_twice() {
        let counts = Counts { decoded: 90, errors: 1, socket: 4, ring: 3, hand_over: 1, ..Counts::default() };
        let account = Account { sent: 100, counts, interface: 1 };
        assert_eq!((account.missing(), account.dropped()), (0, 9));
        assert!(!account.is_whole());
        assert_eq!(Account { sent: 98, ..account }.missing(), -2);
        let whole = Account { sent: 90, counts: Counts { decoded: 90, ..Counts::default() }, interface: 0 };
        assert!(whole.is_whole());
        let lost = Counts { lost_samples: 1, ..whole.counts };
        assert!(!Account { counts: lost, ..whole }.is_whole());
    }
}
