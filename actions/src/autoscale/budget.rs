//! The replicas that all services share: at the peak those of a lower priority give way, and get theirs back later.
//!
//! A pure function of what services have and wish for. Wishes alone decide the shares, so that the same wishes give the same
//! shares however the replicas are spread meanwhile; nobody is given what another one has not yet given up.

use super::decision::Grant;

/// What a service has, needs and wishes for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its name; it decides among equals.
    pub name: String,
    /// Higher ones have theirs first.
    pub priority: i32,
    /// Replicas that nobody takes away: its least, or all that it has while there are no data.
    pub least: u64,
    /// Replicas that it has.
    pub current: u64,
    /// Replicas that it would have alone.
    pub want: u64,
}

impl Claim {
    fn most(&self) -> u64 {
        self.want.max(self.least)
    }
}

/// The share of each claim, in their order. Without a budget each has what it wants.
///
/// Every service has its least, also where the budget is smaller than that. What is left goes to the highest priority
/// first; among equals to those that have fewest, so that no one of them has more than another that wants more.
pub fn allocate(budget: Option<u64>, claims: &[Claim]) -> Vec<Grant> {
    let Some(budget) = budget else { return vec![Grant::ALL; claims.len()] };
    let mut order: Vec<usize> = (0..claims.len()).collect();
    order.sort_by_key(|at| {
        claims.get(*at).map(|claim| (std::cmp::Reverse(claim.priority), claim.name.as_str()))
    });
    let mut rest = budget.saturating_sub(total(claims.iter().map(|claim| claim.least)));
    let mut grants: Vec<Grant> =
        claims.iter().map(|claim| Grant { share: claim.least, now: claim.least }).collect();
    let same = |a: &usize, b: &usize| {
        claims.get(*a).map(|claim| claim.priority) == claims.get(*b).map(|claim| claim.priority)
    };
    for equals in order.chunk_by(same) {
        rest -= fill(equals, claims, &mut grants, rest);
    }
    let mut room = budget.saturating_sub(total(claims.iter().map(|claim| claim.current)));
    for at in order {
        let (Some(claim), Some(grant)) = (claims.get(at), grants.get_mut(at)) else { continue };
        let more = grant.share.saturating_sub(claim.current).min(room);
        room -= more;
        grant.now = grant.share.min(claim.current.saturating_add(more));
    }
    grants
}

/// Shares out `rest` among services of one priority, in the order of their names; how many were given.
fn fill(equals: &[usize], claims: &[Claim], grants: &mut [Grant], rest: u64) -> u64 {
    let members = || equals.iter().filter_map(|at| Some((*at, claims.get(*at)?)));
    let up_to = |claim: &Claim, level: u64| claim.most().min(level).saturating_sub(claim.least);
    let cost = |level: u64| total(members().map(|(_, claim)| up_to(claim, level)));
    // The highest level that all of them can be raised to.
    let (mut level, mut above) = (0, members().map(|(_, claim)| claim.most()).max().unwrap_or(0));
    while level < above {
        let middle = level + (above - level).div_ceil(2);
        if cost(middle) <= rest { level = middle } else { above = middle - 1 }
    }
    let mut left = rest - cost(level);
    for (at, claim) in members() {
        let one = u64::from(left > 0 && claim.most() > level && claim.least <= level);
        left -= one;
        if let Some(grant) = grants.get_mut(at) {
            grant.share = claim.least + up_to(claim, level) + one;
        }
    }
    rest - left
}

fn total(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(name: &str, priority: i32, least: u64, current: u64, want: u64) -> Claim {
        Claim { name: name.into(), priority, least, current, want }
    }

    fn shares(budget: u64, claims: &[Claim]) -> Vec<u64> {
        allocate(Some(budget), claims).iter().map(|grant| grant.share).collect()
    }

    #[test]
    fn at_the_peak_the_critical_one_has_what_it_needs() {
        let batch = claim("batch", 0, 1, 6, 6);
        let shop = |want| claim("shop", 10, 2, 4, want);
        assert_eq!(shares(10, &[batch.clone(), shop(4)]), [6, 4]);
        // It is given nothing that the other one still has.
        assert_eq!(
            allocate(Some(10), &[batch.clone(), shop(8)]),
            [Grant { share: 2, now: 2 }, Grant { share: 8, now: 4 }]
        );
        // Never below the least.
        assert_eq!(shares(10, &[batch.clone(), shop(20)]), [1, 9]);
        // Afterwards it has its own again, as they become free.
        let grants = allocate(Some(10), &[claim("batch", 0, 1, 2, 6), claim("shop", 10, 2, 8, 3)]);
        assert_eq!(grants, [Grant { share: 6, now: 2 }, Grant { share: 3, now: 3 }]);
        let grants = allocate(Some(10), &[claim("batch", 0, 1, 2, 6), claim("shop", 10, 2, 3, 3)]);
        assert_eq!(grants.first(), Some(&Grant { share: 6, now: 6 }));
    }

    #[test]
    fn equals_have_as_many_and_the_odd_one_goes_by_name() {
        let equal = |name, want| claim(name, 0, 1, 1, want);
        assert_eq!(shares(9, &[equal("b", 8), equal("a", 8)]), [4, 5]);
        assert_eq!(shares(9, &[equal("b", 2), equal("a", 8)]), [2, 7]);
        assert_eq!(shares(9, &[claim("b", 0, 6, 6, 8), equal("a", 8)]), [6, 3]);
    }

    #[test]
    fn a_budget_that_is_too_small_takes_nobodys_least() {
        assert_eq!(shares(3, &[claim("a", 0, 2, 2, 5), claim("b", 9, 2, 2, 5)]), [2, 2]);
        assert_eq!(allocate(None, &[claim("a", 0, 2, 2, 5)]), [Grant::ALL]);
    }

    fn claims() -> impl Strategy<Value = Vec<Claim>> {
        let one = (0..3_i32, 0..5_u64, 0..20_u64, 0..20_u64);
        proptest::collection::vec(one, 1..8).prop_map(|all| {
            let named = |(at, (priority, least, current, want)): (usize, (i32, u64, u64, u64))| {
                claim(&format!("s{at}"), priority, least, current, want)
            };
            all.into_iter().enumerate().map(named).collect()
        })
    }

    proptest! {
        #[test]
        fn shares_are_within_budget_wish_and_least(claims in claims(), budget in 0..80_u64) {
            let shares = shares(budget, &claims);
            let least: u64 = claims.iter().map(|claim| claim.least).sum();
            prop_assert!(shares.iter().sum::<u64>() <= budget.max(least));
            let wanted: u64 = claims.iter().map(Claim::most).sum();
            // Nothing is left while somebody wants it.
            prop_assert!(shares.iter().sum::<u64>() >= budget.min(wanted));
            for (claim, share) in claims.iter().zip(&shares) {
                prop_assert!((claim.least..=claim.most()).contains(share), "{claim:?} {share}");
            }
            for (high, of_high) in claims.iter().zip(&shares) {
                for (low, of_low) in claims.iter().zip(&shares) {
                    if high.priority > low.priority && *of_high < high.most() {
                        prop_assert_eq!(*of_low, low.least, "{:?} has more than its least, {:?} wants", low, high);
                    }
                }
            }
        }

        #[test]
        fn what_may_be_had_now_is_never_more_than_there_is(claims in claims(), budget in 0..80_u64) {
            let grants = allocate(Some(budget), &claims);
            // All that may grow do, and nobody has given way yet.
            let after: u64 = claims.iter().zip(&grants).map(|(claim, grant)| grant.now.max(claim.current)).sum();
            let before: u64 = claims.iter().map(|claim| claim.current).sum();
            prop_assert!(after <= budget.max(before));
        }

        #[test]
        fn constant_wishes_are_reached_without_a_turn(claims in claims(), budget in 0..80_u64) {
            let mut claims = claims;
            let goal = shares(budget, &claims);
            let least: u64 = claims.iter().map(|claim| claim.least).sum();
            for _ in 0..100 {
                let grants = allocate(Some(budget), &claims);
                for ((claim, grant), goal) in claims.iter_mut().zip(&grants).zip(&goal) {
                    prop_assert_eq!(grant.share, *goal);
                    // One at a time, towards the share and never away from it.
                    let next = if grant.now > claim.current { claim.current + 1 } else { claim.current.saturating_sub(u64::from(grant.share < claim.current)) };
                    prop_assert!(next.abs_diff(*goal) <= claim.current.abs_diff(*goal));
                    claim.current = next;
                }
            }
            if least <= budget {
                let reached: Vec<u64> = claims.iter().map(|claim| claim.current).collect();
                prop_assert_eq!(reached, goal);
            }
        }

        #[test]
        fn the_order_of_claims_changes_nothing(claims in claims(), budget in 0..80_u64) {
            let mut turned = claims.clone();
            turned.reverse();
            let mut shares_of_turned = shares(budget, &turned);
            shares_of_turned.reverse();
            prop_assert_eq!(shares(budget, &claims), shares_of_turned);
        }
    }
}
