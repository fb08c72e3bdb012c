//! Finds the highest rate at which nothing is lost.

/// What a trial of a rate showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ran {
    /// What was really offered, per second.
    pub(crate) per_s: f64,
    /// Whether nothing of it was lost.
    pub(crate) whole: bool,
}

/// The highest rate that was offered without a loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) per_s: f64,
    /// Whether nothing was lost at any rate: then it is the sender's limit, and the receiver's is above it.
    pub(crate) limited_by_sender: bool,
}

/// How much lower the next try is, when what was found does not hold once more.
const STEP_DOWN: f64 = 0.93;

/// Tries after the halving at most.
const CONFIRMATIONS: usize = 8;

/// Looks for it between 0 and `highest` by halving, in so many steps. Neighbours on the machine come and go: a rate at which
/// something was lost is tried once more, and what is found has to hold again.
pub(crate) fn highest<E>(
    highest: f64,
    steps: usize,
    mut trial: impl FnMut(f64) -> Result<Ran, E>,
) -> Result<Found, E> {
    let mut limited_by_sender = true;
    let mut again = |per_s: f64| match trial(per_s)? {
        Ran { whole: false, .. } => {
            let second = trial(per_s)?;
            limited_by_sender &= second.whole;
            Ok(second)
        }
        whole => Ok(whole),
    };
    let (mut low, mut high) = (0.0, highest);
    for _ in 0..steps {
        let middle = (low + high) / 2.0;
        let ran = again(middle)?;
        // A sender that did not reach the rate has not shown that it is too high.
        if ran.whole { low = middle } else { high = middle }
    }
    // Below the lowest rate tried nothing is known: that is where to begin.
    let mut candidate = if low > 0.0 { low } else { high / 2.0 };
    for _ in 0..CONFIRMATIONS {
        let ran = again(candidate)?;
        if ran.whole {
            return Ok(Found { per_s: ran.per_s, limited_by_sender });
        }
        candidate *= STEP_DOWN;
    }
    Ok(Found { per_s: 0.0, limited_by_sender })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A receiver that loses beyond one rate, and a sender that ends at another.
    fn find(loses: f64, offers: f64) -> Found {
        let trial = |per_s: f64| {
            let per_s = per_s.min(offers);
            Ok::<_, Infallible>(Ran { per_s, whole: per_s <= loses })
        };
        highest(1000.0, 7, trial).unwrap()
    }

    #[test]
    fn the_limit_is_found_from_below() {
        for loses in [100.0, 333.0, 500.0, 990.0] {
            let found = find(loses, f64::INFINITY);
            assert!(found.per_s <= loses && found.per_s > loses - 16.0, "{loses}: {found:?}");
            assert!(!found.limited_by_sender);
        }
    }

    #[test]
    fn a_sender_at_its_end_is_told_from_a_receiver_that_loses() {
        let found = find(f64::INFINITY, 700.0);
        assert!(found.limited_by_sender && found.per_s <= 700.0 && found.per_s > 680.0, "{found:?}");
        assert!(!find(300.0, 700.0).limited_by_sender);
        assert!(find(f64::INFINITY, f64::INFINITY).limited_by_sender, "all that was tried holds");
    }

    /// One trial in five loses for reasons of its own.
    #[test]
    fn a_neighbour_that_comes_and_goes_is_outlived() {
        let mut count = 0;
        let trial = |per_s: f64| {
            count += 1;
            Ok::<_, Infallible>(Ran { per_s, whole: per_s <= 400.0 && count % 5 != 0 })
        };
        let found = highest(1000.0, 7, trial).unwrap();
        assert!(found.per_s > 380.0 && found.per_s <= 400.0, "{found:?}");
    }

    #[test]
    fn where_nothing_holds_there_is_no_rate() {
        assert_eq!(find(-1.0, f64::INFINITY), Found { per_s: 0.0, limited_by_sender: false });
        let failed: Result<Found, &str> = highest(1.0, 3, |_| Err("stopped"));
        assert_eq!(failed, Err("stopped"));
    }
}
