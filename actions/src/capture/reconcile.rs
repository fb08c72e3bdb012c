//! What has to be done so that a switch has what it is to have.

use super::wanted::{Change, Desired, Found, Lines, Observed};

/// The changes that make `desired` of `observed`: what goes first, because rules cost TCAM. What is not ours is left
/// alone: a rule of another instance, and one that has our name and not our mark. Nothing is put unless `may_put`.
pub fn plan(desired: &Desired, observed: &Observed, may_put: bool) -> Vec<Change> {
    let ours = observed.iter().filter(|(_, found)| matches!(found, Found::Ours(_) | Found::Changed));
    let gone =
        ours.filter(|(name, _)| !desired.contains_key(*name)).map(|(name, _)| Change::Delete(name.clone()));
    let missing = desired.iter().filter(|(name, wanted)| match observed.get(*name) {
        None | Some(Found::Changed) => true,
        Some(Found::Ours(found)) => found != *wanted,
        Some(Found::Unmarked | Found::Others | Found::Script(_) | Found::Unread) => false,
    });
    let put = missing.filter(|_| may_put).map(|(name, wanted)| Change::Put(name.clone(), wanted.clone()));
    gone.chain(put).collect()
}

/// The same for what scripts want. A rule at which nobody has looked yet is left alone until somebody has.
pub fn plan_lines(desired: &Lines, observed: &Observed, may_put: bool) -> Vec<Change> {
    let ours = observed.iter().filter(|(_, found)| matches!(found, Found::Script(_)));
    let gone = ours.filter(|(name, _)| !desired.wanted.contains_key(*name) && !desired.held.contains(*name));
    let gone = gone.map(|(name, _)| Change::Delete(name.clone()));
    let missing = desired.wanted.iter().filter(|(name, lines)| match observed.get(*name) {
        None => true,
        Some(Found::Script(found)) => found != *lines,
        Some(_) => false,
    });
    let missing = missing.filter(|(name, _)| may_put && !desired.held.contains(*name));
    gone.chain(missing.map(|(name, lines)| Change::PutLines(name.clone(), lines.clone()))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::super::wanted::Wanted;
    use super::*;

    fn wanted(analyzer: u8) -> Wanted {
        Wanted {
            local: [10, 0, 0, 162].into(),
            remote: [192, 0, 2, 1].into(),
            erspan_source: [10, 0, 0, 253].into(),
            analyzer: [10, 0, 0, analyzer].into(),
            interfaces: vec!["swp+".to_owned()],
            policy: "emerging".to_owned(),
        }
    }

    fn found() -> impl Strategy<Value = Found> {
        prop_oneof![
            (0u8..3).prop_map(|analyzer| Found::Ours(wanted(analyzer))),
            Just(Found::Changed),
            Just(Found::Unmarked),
            Just(Found::Others),
        ]
    }

    /// What the switch has after some of the changes were made: a crash may come after any of them.
    fn after(mut observed: Observed, changes: &[Change]) -> Observed {
        for change in changes {
            match change {
                Change::Put(name, wanted) => drop(observed.insert(name.clone(), Found::Ours(wanted.clone()))),
                Change::PutLines(name, lines) => {
                    drop(observed.insert(name.clone(), Found::Script(lines.clone())))
                }
                Change::Delete(name) => drop(observed.remove(name)),
            }
        }
        observed
    }

    proptest! {
        #[test]
        fn what_is_not_ours_is_left_alone_and_the_rest_becomes_what_is_wanted(
            desired in prop::collection::btree_map("[a-d]", (0u8..3).prop_map(wanted), 0..4),
            observed in prop::collection::btree_map("[a-f]", found(), 0..6),
            crash in 0usize..8,
        ) {
            let foreign = |found: &Found| matches!(found, Found::Unmarked | Found::Others);
            let changes = plan(&desired, &observed, true);
            for change in &changes {
                prop_assert!(!observed.get(change.name()).is_some_and(foreign));
            }
            let partly = after(observed.clone(), &changes[..crash.min(changes.len())]);
            let whole = after(partly.clone(), &plan(&desired, &partly, true));
            prop_assert!(plan(&desired, &whole, true).is_empty(), "the same desired state twice causes no second write");
            for (name, found) in &whole {
                match desired.get(name) {
                    _ if observed.get(name).is_some_and(foreign) => prop_assert_eq!(found, &observed[name]),
                    Some(wanted) => prop_assert_eq!(found, &Found::Ours(wanted.clone())),
                    None => prop_assert!(false, "{} is there and not wanted", name),
                }
            }
            prop_assert!(desired.keys().all(|name| whole.contains_key(name)));
            for change in plan(&desired, &observed, false) {
                prop_assert!(matches!(change, Change::Delete(_)), "while only observing nothing is put");
            }
        }
    }
}
