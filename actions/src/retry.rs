//! When to ask again: backoff with jitter, and a breaker for each endpoint. Both are told the time.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The first wait, and the longest.
pub const FIRST: Duration = Duration::from_millis(200);
/// The longest wait.
pub const LONGEST: Duration = Duration::from_secs(60);

/// Waits that double from 0.2 s to 60 s. Each is cut by up to half at random, so that those who failed together do not
/// ask together.
#[derive(Clone, Debug)]
pub struct Backoff {
    failures: u32,
    random: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::seeded(RandomState::new().hash_one(0))
    }
}

impl Backoff {
    /// With this seed the waits are the same every time.
    pub fn seeded(seed: u64) -> Self {
        Self { failures: 0, random: seed | 1 }
    }

    /// How long to wait after one more failure.
    pub fn failed(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        whole.mul_f64(1.0 - self.fraction() / 2.0)
    }

    /// It worked: the next failure is a first one.
    pub fn worked(&mut self) {
        self.failures = 0;
    }

    /// Failures since it last worked.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// A time stretched or cut by up to `share` (0 to 1) of itself at random, for schedules.
    pub fn spread(&mut self, time: Duration, share: f64) -> Duration {
        let share = share.clamp(0.0, 1.0);
        time.mul_f64(1.0 - share + 2.0 * share * self.fraction())
    }

    /// The next of the numbers from 0 to below 1 (xorshift64*: nobody has to be unable to guess them).
    fn fraction(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Failures in a row after which nobody asks for a while.
pub const OPENS_AFTER: u32 = 3;

/// How long one who asks on trial may be silent before another may try.
const TRIAL: Duration = Duration::from_secs(15);

/// Keeps callers from an endpoint that fails. After three failures in a row it is open: it refuses until the wait of
/// its [`Backoff`] is over, then lets one caller try. Times are since any one fixed moment.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    backoff: Backoff,
    /// Until when all are refused; `None` while it is closed.
    until: Option<Duration>,
    refused: u64,
}

/// How a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All may ask.
    Closed,
    /// None may, for this long.
    Open(Duration),
    /// One may, or does.
    Trial,
}

impl Standing {
    /// Its name in metrics and answers.
    pub fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open(_) => "open",
            Self::Trial => "trial",
        }
    }
}

impl Breaker {
    /// With a seed for its waits.
    pub fn seeded(seed: u64) -> Self {
        Self { backoff: Backoff::seeded(seed), until: None, refused: 0 }
    }

    /// Asks for permission to call. Whoever has it reports with [`Breaker::worked`] or [`Breaker::failed`].
    ///
    /// # Errors
    /// The endpoint is left alone for this much longer.
    pub fn ask(&mut self, now: Duration) -> Result<(), Duration> {
        let Some(until) = self.until else { return Ok(()) };
        if now < until {
            self.refused += 1;
            return Err(until - now);
        }
        // One tries; the others wait for what comes of it.
        self.until = Some(now + TRIAL);
        Ok(())
    }

    /// The endpoint answered.
    pub fn worked(&mut self) {
        self.until = None;
        self.backoff.worked();
    }

    /// It did not; how long to wait before the call is made again.
    pub fn failed(&mut self, now: Duration) -> Duration {
        let wait = self.backoff.failed();
        if self.backoff.failures() >= OPENS_AFTER {
            self.until = Some(now + wait);
        }
        wait
    }

    /// How it stands.
    pub fn standing(&self, now: Duration) -> Standing {
        match self.until {
            None => Standing::Closed,
            Some(until) if now < until => Standing::Open(until - now),
            Some(_) => Standing::Trial,
        }
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.backoff.failures()
    }

    /// Callers that were refused.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    proptest! {
        #[test]
        fn waits_double_within_their_jitter_and_end_at_a_minute(seed: u64) {
            let mut backoff = Backoff::seeded(seed);
            for n in 0..40 {
                let whole = (0.2 * 2_f64.powi(n)).min(60.0);
                let wait = backoff.failed().as_secs_f64();
                prop_assert!(wait >= whole / 2.0 - 1e-6 && wait <= whole + 1e-6, "{n}: {wait} of {whole}");
            }
            backoff.worked();
            prop_assert!(backoff.failed() <= FIRST);
            for _ in 0..100 {
                let spread = backoff.spread(s(100), 0.1).as_secs_f64();
                prop_assert!((90.0..=110.0).contains(&spread));
            }
        }
    }

    #[test]
    fn jitter_differs() {
        let waits: std::collections::BTreeSet<Duration> =
            (0..20).map(|_| Backoff::default().failed()).collect();
        assert!(waits.len() > 15, "{waits:?}");
    }

    #[test]
    fn a_breaker_opens_after_three_and_lets_one_try() {
        let mut breaker = Breaker::seeded(7);
        for _ in 0..2 {
            assert_eq!(breaker.ask(s(1)), Ok(()));
            breaker.failed(s(1));
        }
        assert_eq!(breaker.ask(s(1)), Ok(()));
        let wait = breaker.failed(s(1));
        assert_eq!(breaker.standing(s(1)), Standing::Open(wait));
        assert_eq!(breaker.ask(s(1)), Err(wait));
        assert_eq!(breaker.standing(s(1) + wait), Standing::Trial);
        assert_eq!(breaker.ask(s(1) + wait), Ok(()));
        assert_eq!(breaker.ask(s(1) + wait), Err(TRIAL), "another one waits for the first");
        assert_eq!(breaker.ask(s(1) + wait + TRIAL), Ok(()), "who never reported is not waited for");
        breaker.worked();
        assert_eq!((breaker.standing(s(2)), breaker.failures(), breaker.refused()), (Standing::Closed, 0, 2));
        breaker.failed(s(3));
        assert_eq!(breaker.ask(s(3)), Ok(()), "it forgets");
    }

    #[test]
    fn an_endpoint_that_stays_dead_is_asked_once_a_minute() {
        let mut breaker = Breaker::seeded(3);
        let mut asked = 0;
        for n in 0..36_000 {
            let now = Duration::from_millis(n * 100);
            if breaker.ask(now).is_ok() {
                asked += 1;
                breaker.failed(now);
            }
        }
        assert!((60..=140).contains(&asked), "{asked} times in an hour");
    }
}
