//! How many packets a sample stands for.

/// How many packets a sample stands for (promise I4): what was really sampled where the pool tells it, else what is
/// configured.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Estimate {
    /// The pool at the start of the window, and the samples received since.
    window: Option<(u32, u32)>,
    /// What the last window told; 0 while nothing is known.
    weight: f64,
    /// What is configured.
    rate: u32,
}

/// Samples of a window. Its end must depend on nothing else: a window that ends by time holds a random number of
/// samples, and the mean of 1/n is more than 1 over the mean of n, by a fifth of the total at three samples a second. Nor
/// would an estimator without that bias do: of the pools of three random samples one in five lies below half of the rate
/// by chance, and what is believed would be a choice of the larger ones.
const WINDOW_SAMPLES: u32 = 100;

impl Estimate {
    /// Takes a sample; the packets that it stands for, and whether the pool could not be believed.
    pub(crate) fn take(&mut self, pool: u32, rate: u32) -> (f64, bool) {
        if rate != self.rate {
            // What was sampled at another rate says nothing about this one.
            *self = Self { rate, ..Self::default() };
        }
        let rate = f64::from(rate);
        let mut disbelieved = false;
        match &mut self.window {
            None => self.window = Some((pool, 0)),
            Some((first, received)) => {
                *received += 1;
                if *received >= WINDOW_SAMPLES {
                    let weight = f64::from(pool.wrapping_sub(*first)) / f64::from(*received);
                    // Real switches send frozen and bogus pools.
                    let believed = weight >= 0.5 * rate && weight <= 8.0 * rate;
                    disbelieved = !believed;
                    self.weight = if believed { weight } else { 0.0 };
                    self.window = Some((pool, 0));
                }
            }
        }
        (if self.weight > 0.0 { self.weight } else { rate }, disbelieved)
    }

    /// The rate that is configured, `None` before the first sample; and what the pool of the last window tells, where that is
    /// known and believed.
    pub(crate) fn rates(&self) -> (Option<u32>, Option<f64>) {
        ((self.rate > 0).then_some(self.rate), (self.weight > 0.0).then_some(self.weight))
    }

    /// The sender has begun anew.
    pub(crate) fn restart(&mut self) {
        self.window = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten percent of the samples lost at random: the total stays within one percent of the truth.
    #[test]
    fn totals_survive_loss() {
        let (rate, mut pool, mut state, mut total) = (400_u32, 0_u32, 7_u64, 0.0);
        let mut estimate = Estimate::default();
        for _ in 0..100_000 {
            pool = pool.wrapping_add(rate);
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if (state >> 33) % 10 != 0 {
                total += estimate.take(pool, rate).0;
            }
        }
        let truth = 100_000.0 * f64::from(rate);
        assert!((total - truth).abs() < 0.01 * truth, "{total}, not {truth}");
    }

    #[test]
    fn a_new_rate_is_taken_at_once() {
        let mut estimate = Estimate::default();
        for n in 0..250_u32 {
            estimate.take(n * 500, 400);
        }
        assert_eq!(estimate.take(250 * 500, 400), (500.0, false));
        assert_eq!(estimate.take(251 * 500, 40), (40.0, false));
    }

    #[test]
    fn frozen_and_bogus_pools_are_not_believed() {
        for step in [0, 400 * 9, 100] {
            let mut estimate = Estimate::default();
            let mut disbelieved = 0;
            for n in 0..1000_u32 {
                let (weight, not) = estimate.take(n.wrapping_mul(step), 400);
                assert!((weight - 400.0).abs() < f64::EPSILON);
                disbelieved += u32::from(not);
            }
            assert!(disbelieved > 5, "step {step}");
        }
    }
}
