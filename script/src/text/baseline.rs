//! A baseline: what the last values of something were like, and whether a new one is unlike them.
//!
//! It learns until it has a window full of values. Then each value is compared with those before it: beyond `sensitivity` standard
//! deviations from their mean it is outside, and after `repeat` such values in a row, all on one side, the state is `high` or `low`. Every
//! value joins the window, those outside too, so that a lasting change becomes the new normal.

use std::collections::VecDeque;

/// Values of a window unless a script says otherwise, and the most that it may ask for.
pub(crate) const WINDOW: usize = 180;
pub(crate) const LARGEST_WINDOW: usize = 10_000;
/// Standard deviations from the mean that are still normal.
pub(crate) const SENSITIVITY: f64 = 2.0;
/// Values in a row that have to be outside.
pub(crate) const REPEAT: u32 = 3;

/// What a value is, seen from the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Learning,
    Normal,
    High,
    Low,
}

impl State {
    /// The word that scripts compare with.
    pub(crate) fn label(self) -> &'static str {
        match self {
            State::Learning => "learning",
            State::Normal => "normal",
            State::High => "high",
            State::Low => "low",
        }
    }
}

/// What the values of a window are like. The variance is that of a population: the mean of the squared distances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Statistics {
    pub(crate) mean: f64,
    pub(crate) variance: f64,
    pub(crate) sdev: f64,
    /// The smallest and the largest value.
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// The values and the state of one baseline.
#[derive(Clone, Debug)]
pub(crate) struct Baseline {
    window: usize,
    sensitivity: f64,
    repeat: u32,
    values: VecDeque<f64>,
    state: State,
    /// How many values in a row were above (positive) or below what is normal.
    outside: i64,
}

impl Baseline {
    /// A baseline that has seen nothing. What is out of range is moved into it: a window is 1 to [`LARGEST_WINDOW`] values, a
    /// sensitivity is not negative, and one value is the fewest that repeat.
    pub(crate) fn new(window: usize, sensitivity: f64, repeat: u32) -> Baseline {
        Baseline {
            window: window.clamp(1, LARGEST_WINDOW),
            sensitivity: if sensitivity >= 0.0 { sensitivity } else { SENSITIVITY },
            repeat: repeat.max(1),
            values: VecDeque::new(),
            state: State::Learning,
            outside: 0,
        }
    }

    /// How many values its window has.
    pub(crate) fn window(&self) -> usize {
        self.window
    }

    /// Takes the next value and gives the state with it. What is no finite number changes nothing.
    pub(crate) fn check(&mut self, value: f64) -> State {
        if !value.is_finite() {
            return self.state;
        }
        self.state = match self.statistics() {
            None => State::Learning,
            Some(statistics) => self.judge(value, &statistics),
        };
        if self.values.len() == self.window {
            self.values.pop_front();
        }
        self.values.push_back(value);
        self.state
    }

    /// What the window is like, once it is full.
    pub(crate) fn statistics(&self) -> Option<Statistics> {
        if self.values.len() < self.window {
            return None;
        }
        let n = self.values.len() as f64;
        let mean = self.values.iter().map(|value| value / n).sum::<f64>();
        let variance = self.values.iter().map(|value| (value - mean) * (value - mean) / n).sum::<f64>();
        let min = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // rounding must not put the mean beyond the values, where equal ones would all be outside
        Some(Statistics { mean: mean.clamp(min, max), variance, sdev: variance.sqrt(), min, max })
    }

    /// Forgets the values: it learns anew.
    pub(crate) fn reset(&mut self) {
        self.values.clear();
        self.state = State::Learning;
        self.outside = 0;
    }

    fn judge(&mut self, value: f64, statistics: &Statistics) -> State {
        let limit = self.sensitivity * statistics.sdev;
        self.outside = if value > statistics.mean + limit {
            self.outside.max(0) + 1
        } else if value < statistics.mean - limit {
            self.outside.min(0) - 1
        } else {
            0
        };
        let repeat = i64::from(self.repeat);
        if self.outside >= repeat {
            State::High
        } else if self.outside <= -repeat {
            State::Low
        } else {
            State::Normal
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(baseline: &mut Baseline, values: &[f64]) -> Vec<&'static str> {
        values.iter().map(|value| baseline.check(*value).label()).collect()
    }

    /// Eight values whose mean is 5 and whose standard deviation is 2, as textbooks have them.
    const KNOWN: [f64; 8] = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];

    #[test]
    fn statistics_are_there_when_the_window_is_full() {
        let mut baseline = Baseline::new(8, 2.0, 1);
        for value in KNOWN {
            assert_eq!(baseline.statistics(), None);
            assert_eq!(baseline.check(value), State::Learning);
        }
        let known = Statistics { mean: 5.0, variance: 4.0, sdev: 2.0, min: 2.0, max: 9.0 };
        assert_eq!(baseline.statistics(), Some(known));
    }

    #[test]
    fn a_value_is_compared_with_those_before_it() {
        for (value, state) in [(9.0, "normal"), (9.01, "high"), (1.0, "normal"), (0.99, "low")] {
            let mut baseline = Baseline::new(8, 2.0, 1);
            states(&mut baseline, &KNOWN);
            assert_eq!(states(&mut baseline, &[value]), [state], "{value}");
        }
    }

    #[test]
    fn only_values_in_a_row_and_on_one_side_flag() {
        let mut baseline = Baseline::new(8, 2.0, 2);
        states(&mut baseline, &KNOWN);
        let mut other = baseline.clone();
        assert_eq!(states(&mut baseline, &[20.0, 40.0, 5.0]), ["normal", "high", "normal"]);
        assert_eq!(states(&mut other, &[20.0, -40.0, -80.0]), ["normal", "normal", "low"]);
    }

    #[test]
    fn a_lasting_change_becomes_the_new_normal() {
        let mut baseline = Baseline::new(4, 1.0, 1);
        states(&mut baseline, &[10.0, 10.0, 10.0, 10.0]);
        let mut seen = states(&mut baseline, &[50.0; 6]);
        seen.dedup();
        assert_eq!(seen, ["high", "normal"]);
        assert_eq!(baseline.statistics().map(|s| (s.mean, s.sdev)), Some((50.0, 0.0)));
    }

    #[test]
    fn equal_values_are_normal_and_any_other_is_not() {
        let mut baseline = Baseline::new(3, 2.0, 1);
        assert_eq!(
            states(&mut baseline, &[0.1; 5]),
            ["learning", "learning", "learning", "normal", "normal"]
        );
        assert_eq!(states(&mut baseline, &[0.2]), ["high"]);
    }

    #[test]
    fn a_reset_learns_anew_and_what_is_no_number_is_left_out() {
        let mut baseline = Baseline::new(2, 1.0, 1);
        assert_eq!(
            states(&mut baseline, &[1.0, f64::NAN, f64::INFINITY, 1.0, 1.0, f64::NAN]),
            ["learning", "learning", "learning", "learning", "normal", "normal"]
        );
        baseline.reset();
        assert_eq!(baseline.statistics(), None);
        assert_eq!(states(&mut baseline, &[7.0]), ["learning"]);
    }

    #[test]
    fn what_is_out_of_range_is_moved_into_it() {
        let mut baseline = Baseline::new(0, f64::NAN, 0);
        assert_eq!(states(&mut baseline, &[1.0, 1.0, 2.0]), ["learning", "normal", "high"]);
        let mut baseline = Baseline::new(usize::MAX, 1.0, 1);
        let mut learning = 0;
        while baseline.check(1.0) == State::Learning {
            learning += 1;
        }
        assert_eq!(learning, LARGEST_WINDOW);
    }
}
