//! What users have defined, compiled, immutable: a change makes a new program, which shards take between two
//! datagrams.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::flow::group::{GroupSet, ValueMap};
use crate::flow::spec::wrong;
use crate::flow::{FlowPlan, FlowSpec, Lookups, SpecError};

/// A set of definitions.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Flows by name.
    pub flows: BTreeMap<String, Arc<FlowPlan>>,
    /// Group sets and maps by name.
    pub lookups: Lookups,
}

/// A change of definitions; `None` takes one away.
#[derive(Clone, Debug)]
pub enum Change {
    /// Of a flow.
    Flow(String, Option<Json>),
    /// Of a group set.
    Group(String, Option<Json>),
    /// Of a map.
    Map(String, Option<Json>),
}

/// Flows at most: each is evaluated for every packet sample.
const MOST_FLOWS: usize = 100;

/// A change cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// There is nothing of this name to take away.
    #[error("{0:?} is not defined")]
    Unknown(String),
    /// The definition is wrong, or another one needs what it takes away.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

impl Program {
    /// The program after a change. Flows that look up what changed are compiled anew.
    ///
    /// # Errors
    /// See [`ChangeError`]; nothing is then changed.
    pub fn changed(&self, change: Change) -> Result<Self, ChangeError> {
        let mut next = self.clone();
        let absent = |name: String, was: bool| if was { Ok(()) } else { Err(ChangeError::Unknown(name)) };
        match change {
            Change::Flow(name, Some(json)) => {
                let plan = FlowPlan::compile(FlowSpec::from_json(&json)?, &next.lookups)?;
                let same = self.flows.get(&name).is_some_and(|old| old.spec == plan.spec);
                if !same {
                    next.flows.insert(name, Arc::new(plan));
                }
                if next.flows.len() > MOST_FLOWS {
                    return Err(wrong("flow", format!("there are {MOST_FLOWS} flows already")).into());
                }
                return Ok(next);
            }
            Change::Flow(name, None) => {
                let was = next.flows.remove(&name).is_some();
                absent(name, was)?;
                return Ok(next);
            }
            Change::Group(name, Some(json)) => {
                next.lookups.groups.insert(name, Arc::new(GroupSet::from_json(&json)?));
            }
            Change::Group(name, None) => {
                let was = next.lookups.groups.remove(&name).is_some();
                absent(name, was)?;
            }
            Change::Map(name, Some(json)) => {
                next.lookups.maps.insert(name, Arc::new(ValueMap::from_json(&json)?));
            }
            Change::Map(name, None) => {
                let was = next.lookups.maps.remove(&name).is_some();
                absent(name, was)?;
            }
        }
        for plan in next.flows.values_mut().filter(|plan| plan.looks_up()) {
            *plan = Arc::new(FlowPlan::compile(plan.spec.clone(), &next.lookups)?);
        }
        Ok(next)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_unchanged_flow_keeps_its_plan_and_a_group_in_use_stays() {
        let group = |prefixes: Json| Change::Group("sites".into(), Some(json!({ "a": prefixes })));
        let flow = json!({"keys": "group:ipsource:sites", "value": "bytes"});
        let with_group = Program::default().changed(group(json!(["10.0.0.0/8"]))).unwrap();
        let program = with_group.changed(Change::Flow("f".into(), Some(flow.clone()))).unwrap();
        let again = program.changed(Change::Flow("f".into(), Some(flow))).unwrap();
        assert!(Arc::ptr_eq(&program.flows["f"], &again.flows["f"]));
        let swapped = program.changed(group(json!(["11.0.0.0/8"]))).unwrap();
        assert!(!Arc::ptr_eq(&program.flows["f"], &swapped.flows["f"]));
        let error = program.changed(Change::Group("sites".into(), None)).unwrap_err().to_string();
        assert!(error.contains("no group set \"sites\""), "{error}");
        let gone = program.changed(Change::Flow("f".into(), None)).unwrap();
        assert!(gone.changed(Change::Group("sites".into(), None)).is_ok());
        assert_eq!(
            gone.changed(Change::Flow("f".into(), None)).unwrap_err(),
            ChangeError::Unknown("f".into())
        );
    }
}
