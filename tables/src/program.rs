//! What users have defined, compiled, immutable: a change makes a new program, which shards take between two
//! datagrams.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::flow::group::{GroupSet, ValueMap};
use crate::flow::learned::{Hosts, Names};
use crate::flow::reference::References;
use crate::flow::{FlowPlan, FlowSpec, Lookups, SpecError};
use crate::forwarding::Forwarding;
use crate::spec_error::wrong;
use crate::threshold::Threshold;
use crate::topology::{AgentPorts, Definition, Located, Place, Topology};

/// A set of definitions.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Flows by name.
    pub flows: BTreeMap<String, Arc<FlowPlan>>,
    /// Group sets and maps by name.
    pub lookups: Lookups,
    /// Thresholds by name.
    pub thresholds: BTreeMap<String, Arc<Threshold>>,
    /// Where datagrams are sent on to, by name.
    pub forwarding: BTreeMap<String, Arc<Forwarding>>,
    /// Which hosts own which addresses.
    pub hosts: Arc<Hosts>,
    /// Names of addresses; an empty one is known to be none.
    pub names: Arc<Names>,
    /// Which ports connect switches; the empty one where none is defined.
    pub topology: Arc<Topology>,
    /// Where hosts are attached. Shards do not look at it: it changes without a new epoch.
    pub located: Arc<Located>,
    /// Definitions that are there as long as whoever made them, see [`Change::Passing`].
    pub passing: BTreeSet<Id>,
}

/// A definition: its kind, as [`Program::to_json`] calls that, and its name.
pub type Id = (&'static str, String);

/// A change of definitions; `None` takes one away.
#[derive(Clone, Debug)]
pub enum Change {
    /// Of a flow.
    Flow(String, Option<Json>),
    /// Of a group set.
    Group(String, Option<Json>),
    /// Of a map.
    Map(String, Option<Json>),
    /// Of a threshold.
    Threshold(String, Option<Json>),
    /// Of forwarding.
    Forwarding(String, Option<Json>),
    /// Of a group set that somebody keeps ([`GroupSet::from_lists`]), built aside: it is swapped whole, is looked up
    /// as other sets are, and is not among the definitions that [`Program::to_json`] shows.
    List(String, Option<Arc<GroupSet>>),
    /// Of the topology.
    Topology(Option<Json>),
    /// The same by somebody who takes it away again when he goes: what is defined so is not among the definitions that
    /// [`Program::to_json`] shows. Where there is one of this name that is, it is changed and stays there. A flow may
    /// look up data that is not there, and finds nothing; see [`FlowPlan::missing`].
    Passing(Box<Change>),
}

/// A kind of definitions: its name in files, and what changes one of it.
type Section = (&'static str, fn(String, Option<Json>) -> Change);

/// The name that the topology, of which there is one, has in files and messages.
pub const TOPOLOGY: &str = "topology";

/// The kinds of definitions by their names in files, those first that others look up.
const SECTIONS: [Section; 5] = [
    ("groups", Change::Group),
    ("maps", Change::Map),
    ("flows", Change::Flow),
    ("thresholds", Change::Threshold),
    ("forwarding", Change::Forwarding),
];

impl Change {
    /// The changes that make what [`Program::to_json`] shows, in an order in which each can be made.
    ///
    /// # Errors
    /// It has another shape; the message names what is wrong.
    pub fn all(json: &Json) -> Result<Vec<Self>, SpecError> {
        let object = json.as_object().ok_or_else(|| wrong("definitions", "must be an object"))?;
        let known = |name: &str| name == TOPOLOGY || SECTIONS.iter().any(|(known, _)| *known == name);
        if let Some(name) = object.keys().find(|name| !known(name)) {
            return Err(wrong(
                name,
                "is no kind of definitions: groups, maps, flows, thresholds, forwarding, topology",
            ));
        }
        let mut changes = Vec::new();
        changes.extend(object.get(TOPOLOGY).map(|topology| Self::Topology(Some(topology.clone()))));
        for (section, change) in SECTIONS {
            let Some(definitions) = object.get(section) else { continue };
            let definitions = definitions
                .as_object()
                .ok_or_else(|| wrong(section, "must be an object of definitions by name"))?;
            changes.extend(
                definitions.iter().map(|(name, definition)| change(name.clone(), Some(definition.clone()))),
            );
        }
        Ok(changes)
    }
}

impl Change {
    /// What it changes.
    pub fn id(&self) -> Id {
        let (section, name) = match self {
            Self::Flow(name, _) => ("flows", name.as_str()),
            Self::Group(name, _) | Self::List(name, _) => ("groups", name.as_str()),
            Self::Map(name, _) => ("maps", name.as_str()),
            Self::Threshold(name, _) => ("thresholds", name.as_str()),
            Self::Forwarding(name, _) => ("forwarding", name.as_str()),
            Self::Topology(_) => (TOPOLOGY, ""),
            Self::Passing(change) => return change.id(),
        };
        (section, name.to_owned())
    }

    /// The change that takes a definition away; `None` for a kind that is none.
    pub fn away((section, name): &Id) -> Option<Self> {
        if *section == TOPOLOGY {
            return Some(Self::Topology(None));
        }
        let (_, change) = SECTIONS.iter().find(|(known, _)| known == section)?;
        Some(change(name.clone(), None))
    }
}

/// Flows at most: each is evaluated for every packet sample.
const MOST_FLOWS: usize = 100;

/// Group sets at most, and maps.
const MOST_LOOKUPS: usize = 1000;

/// Thresholds at most.
const MOST_THRESHOLDS: usize = 1000;

/// Destinations of forwarding at most.
const MOST_FORWARDING: usize = 100;

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
    /// All definitions, by kind and name; [`Change::all`] reads it.
    pub fn to_json(&self) -> Json {
        let stays = |section, name: &str| !self.passing.contains(&(section, name.to_owned()));
        let object = |section, definitions: Vec<(&String, Json)>| {
            definitions
                .into_iter()
                .filter(|(name, _)| stays(section, name.as_str()))
                .map(|(name, json)| (name.clone(), json))
                .collect::<serde_json::Map<_, _>>()
        };
        let lookups = &self.lookups;
        let mut json = serde_json::json!({
            "groups": object("groups", lookups.groups.iter().filter(|(_, set)| !set.is_list()).map(|(name, set)| (name, set.to_json().into_owned())).collect()),
            "maps": object("maps", lookups.maps.iter().map(|(name, map)| (name, map.to_json().clone())).collect()),
            "flows": object("flows", self.flows.iter().map(|(name, plan)| (name, plan.spec.to_json())).collect()),
            "thresholds": object("thresholds", self.thresholds.iter().map(|(name, t)| (name, t.to_json().clone())).collect()),
            "forwarding": object("forwarding", self.forwarding.iter().map(|(name, f)| (name, f.to_json())).collect()),
        });
        let topology = self.topology.definition().filter(|_| stays(TOPOLOGY, ""));
        if let (Some(object), Some(definition)) = (json.as_object_mut(), topology) {
            object.insert(TOPOLOGY.to_owned(), definition.to_json().clone());
        }
        json
    }

    /// Whether a flow asks for the hosts that own addresses.
    pub fn asks_for_hosts(&self) -> bool {
        self.flows.values().any(|plan| plan.names("host:"))
    }

    /// The program with what shards have learned of hosts.
    #[must_use]
    pub fn with_hosts(&self, hosts: Hosts) -> Self {
        Self { hosts: Arc::new(hosts), ..self.clone() }
    }

    /// The program with what agents of the topology say of their names.
    #[must_use]
    pub fn with_port_names(&self, names: Vec<AgentPorts>) -> Self {
        Self { topology: Arc::new(self.topology.with_names(names)), ..self.clone() }
    }

    /// The program with where hosts are attached.
    #[must_use]
    pub fn with_located(&self, located: Located) -> Self {
        Self { located: Arc::new(located), ..self.clone() }
    }

    /// Where an IP address is attached, where it was seen last first: agent, ifIndex, Ethernet address, VLAN. Whoever sent
    /// from the address was believed; see [`Topology::node_of`] and [`Topology::port_of`] for what a place is called.
    pub fn locate(&self, address: IpAddr) -> impl Iterator<Item = &Place> {
        self.located.by_address(&self.topology, address)
    }

    /// The program with what is known of the names of addresses.
    #[must_use]
    pub fn with_names(&self, names: Names) -> Self {
        Self { names: Arc::new(names), ..self.clone() }
    }

    /// The program with what the operator's files hold now. Flows that look up are compiled anew.
    ///
    /// # Errors
    /// A flow needs what is no longer there; nothing is then changed.
    pub fn with_references(&self, references: References) -> Result<Self, SpecError> {
        let mut next = self.clone();
        next.lookups.references = references;
        next.compile_lookups()?;
        Ok(next)
    }

    /// Compiles the flows anew that look up what may have changed.
    fn compile_lookups(&mut self) -> Result<(), SpecError> {
        for (name, plan) in self.flows.iter_mut().filter(|(_, plan)| plan.looks_up()) {
            let compiled = FlowPlan::compile(plan.spec.clone(), &self.lookups);
            *plan = Arc::new(
                compiled.map_err(|error| wrong(&format!("flow {name:?} needs it"), error.to_string()))?,
            );
        }
        Ok(())
    }

    /// The program after a change. Flows that look up what changed are compiled anew.
    ///
    /// # Errors
    /// See [`ChangeError`]; nothing is then changed.
    pub fn changed(&self, change: Change) -> Result<Self, ChangeError> {
        let id = change.id();
        let (change, passes) = match change {
            Change::Passing(change) => (*change, !self.has(&id) || self.passing.contains(&id)),
            change => (change, false),
        };
        let mut next = self.changed_by(change, passes)?;
        if passes && next.has(&id) {
            next.passing.insert(id);
        } else {
            next.passing.remove(&id);
        }
        Ok(next)
    }

    /// Whether it is defined.
    fn has(&self, (section, name): &Id) -> bool {
        match *section {
            "flows" => self.flows.contains_key(name),
            "groups" => self.lookups.groups.contains_key(name),
            "maps" => self.lookups.maps.contains_key(name),
            "thresholds" => self.thresholds.contains_key(name),
            "forwarding" => self.forwarding.contains_key(name),
            _ => self.topology.is_defined(),
        }
    }

    fn changed_by(&self, change: Change, passes: bool) -> Result<Self, ChangeError> {
        let mut next = self.clone();
        let absent = |name: String, was: bool| if was { Ok(()) } else { Err(ChangeError::Unknown(name)) };
        match change {
            Change::Flow(name, Some(json)) => {
                let spec = FlowSpec { without_data: passes, ..FlowSpec::from_json(&json)? };
                let plan = FlowPlan::compile(spec, &next.lookups)?;
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
            Change::Group(name, _) if self.lookups.groups.get(&name).is_some_and(|set| set.is_list()) => {
                return Err(wrong("group", format!("{name:?} is made of feeds: change these instead")).into());
            }
            Change::Group(name, Some(json)) => {
                next.lookups.groups.insert(name, Arc::new(GroupSet::from_json(&json)?));
            }
            Change::Group(name, None) => {
                let was = next.lookups.groups.remove(&name).is_some();
                absent(name, was)?;
            }
            Change::List(name, set) => {
                if self.lookups.groups.get(&name).is_some_and(|set| !set.is_list()) {
                    return Err(
                        wrong("group", format!("{name:?} is defined, so that no feeds can make it")).into()
                    );
                }
                match set {
                    Some(set) => drop(next.lookups.groups.insert(name, set)),
                    None => {
                        let was = next.lookups.groups.remove(&name).is_some();
                        absent(name, was)?;
                    }
                }
            }
            Change::Map(name, Some(json)) => {
                next.lookups.maps.insert(name, Arc::new(ValueMap::from_json(&json)?));
            }
            Change::Map(name, None) => {
                let was = next.lookups.maps.remove(&name).is_some();
                absent(name, was)?;
            }
            Change::Threshold(name, Some(json)) => {
                let threshold = Threshold::from_json(&json)?;
                if self.thresholds.get(&name).is_none_or(|old| **old != threshold) {
                    next.thresholds.insert(name, Arc::new(threshold));
                }
                return if next.thresholds.len() > MOST_THRESHOLDS {
                    Err(wrong("threshold", format!("there are {MOST_THRESHOLDS} thresholds already")).into())
                } else {
                    Ok(next)
                };
            }
            Change::Threshold(name, None) => {
                let was = next.thresholds.remove(&name).is_some();
                absent(name, was)?;
                return Ok(next);
            }
            Change::Forwarding(name, Some(json)) => {
                next.forwarding.insert(name, Arc::new(Forwarding::from_json(&json)?));
                return if next.forwarding.len() > MOST_FORWARDING {
                    Err(wrong("forwarding", format!("there are {MOST_FORWARDING} already")).into())
                } else {
                    Ok(next)
                };
            }
            Change::Forwarding(name, None) => {
                let was = next.forwarding.remove(&name).is_some();
                absent(name, was)?;
                return Ok(next);
            }
            Change::Topology(Some(json)) => {
                let definition = Definition::from_json(&json)?;
                if next.topology.definition().is_none_or(|old| **old != definition) {
                    next.topology = Arc::new(next.topology.redefined(definition));
                }
                return Ok(next);
            }
            Change::Passing(change) => return self.changed_by(*change, passes),
            Change::Topology(None) => {
                absent(TOPOLOGY.to_owned(), next.topology.is_defined())?;
                next.topology = Arc::new(next.topology.undefined());
                return Ok(next);
            }
        }
        for (kind, defined) in [("group", next.lookups.groups.len()), ("map", next.lookups.maps.len())] {
            if defined > MOST_LOOKUPS {
                return Err(wrong(kind, format!("there are {MOST_LOOKUPS} already")).into());
            }
        }
        next.compile_lookups()?;
        Ok(next)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_passes_is_not_shown_and_makes_nothing_pass_that_stays() {
        let flow = |keys| Change::Flow("f".into(), Some(json!({"keys": keys, "value": "bytes"})));
        let passing = |change| Change::Passing(Box::new(change));
        let empty = Program::default();
        let id = flow("").id();
        assert_eq!(id, ("flows", "f".to_owned()));
        let passes = empty.changed(passing(flow("ipsource"))).unwrap();
        assert_eq!((passes.to_json(), passes.flows.len()), (empty.to_json(), 1));
        let again = passes.changed(passing(flow("ipdestination"))).unwrap();
        assert_eq!(again.to_json(), empty.to_json());
        // Somebody else defines it, and from then on it stays.
        let stays = again.changed(flow("ipsource")).unwrap();
        assert_eq!(stays.to_json()["flows"]["f"]["keys"], "ipsource");
        let changed = stays.changed(passing(flow("ipprotocol"))).unwrap();
        assert_eq!(changed.to_json()["flows"]["f"]["keys"], "ipprotocol");
        for program in [passes, changed] {
            let gone = program.changed(Change::away(&id).unwrap()).unwrap();
            assert!(gone.flows.is_empty() && gone.passing.is_empty());
        }
        let topology = passing(Change::Topology(Some(json!({"links": {}}))));
        let defined = empty.changed(topology).unwrap();
        assert!(defined.topology.is_defined() && defined.to_json().get(TOPOLOGY).is_none());
    }

    #[test]
    fn what_passes_may_look_up_sets_that_come_later() {
        let keys = "group:ipsource:sites,map:ipprotocol:names";
        let flow = || Change::Flow("f".into(), Some(json!({"keys": keys, "value": "bytes"})));
        let refused = Program::default().changed(flow()).unwrap_err().to_string();
        assert!(refused.contains("no group set \"sites\""), "{refused}");
        let program = Program::default().changed(Change::Passing(Box::new(flow()))).unwrap();
        // They come and go, and the flow is compiled with what is there.
        let sites = Change::Group("sites".into(), Some(json!({"a": ["10.0.0.0/8"]})));
        let later = program.changed(sites).unwrap();
        assert!(!Arc::ptr_eq(&program.flows["f"], &later.flows["f"]));
        let gone = later.changed(Change::Group("sites".into(), None)).unwrap();
        assert!(gone.flows.contains_key("f") && gone.lookups.groups.is_empty());
    }

    #[test]
    fn what_passes_may_ask_for_data_that_is_not_there() {
        let keys = "country:ipsource,asn:ipsource,oui:macsource:name,dns:ipsource";
        let flow = || Change::Flow("f".into(), Some(json!({"keys": keys, "value": "bytes"})));
        let refused = Program::default().changed(flow()).unwrap_err().to_string();
        assert!(refused.contains("needs the option geo.country"), "{refused}");
        let program = Program::default().changed(Change::Passing(Box::new(flow()))).unwrap();
        let missing = program.flows["f"].missing(&program.lookups.references);
        assert_eq!(missing, ["geo.country", "geo.asn", "oui.file", "dns.enabled"]);
        // It stays where the operator's data is read again, and is gone where somebody else defines it.
        let again = program.with_references(References { dns: true, ..References::default() }).unwrap();
        let missing = again.flows["f"].missing(&again.lookups.references);
        assert_eq!(missing, ["geo.country", "geo.asn", "oui.file"]);
        assert!(again.changed(flow()).is_err());
    }

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
        assert_eq!(error, "flow \"f\" needs it: keys: group: no group set \"sites\"");
        // A list is looked up as a set is, and is nobody's definition.
        let list = |name: &str| {
            let label: Arc<str> = "a".into();
            let set = GroupSet::from_lists([("10.0.0.0/8".parse().unwrap(), label)]);
            Change::List(name.into(), Some(Arc::new(set)))
        };
        let listed = program.changed(list("listed")).unwrap();
        assert_eq!(listed.to_json(), program.to_json());
        let flow = json!({"keys": "group:ipsource:listed", "value": "bytes"});
        let looks_up = listed.changed(Change::Flow("g".into(), Some(flow))).unwrap();
        assert!(looks_up.changed(Change::List("listed".into(), None)).is_err(), "a flow needs it");
        assert!(
            looks_up.changed(list("listed")).is_ok()
                && listed.changed(Change::List("listed".into(), None)).is_ok()
        );
        for change in [
            list("sites"),
            Change::Group("listed".into(), Some(json!({}))),
            Change::Group("listed".into(), None),
        ] {
            assert!(listed.changed(change).unwrap_err().to_string().contains("feeds"));
        }
        let gone = program.changed(Change::Flow("f".into(), None)).unwrap();
        assert!(gone.changed(Change::Group("sites".into(), None)).is_ok());
        let mut again = Program::default();
        for change in Change::all(&program.to_json()).unwrap() {
            again = again.changed(change).unwrap();
        }
        assert_eq!(again.to_json(), program.to_json());
        assert_eq!(
            gone.changed(Change::Flow("f".into(), None)).unwrap_err(),
            ChangeError::Unknown("f".into())
        );
    }
}
