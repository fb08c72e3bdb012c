//! Definitions by kind and name: those that are built in, what differs between two sets of them, and the changes
//! that make one of another.

use std::collections::BTreeMap;
use std::sync::Arc;

use actions::capture::watch::PREFIX as OF_CAPTURES;
use serde_json::{Value as Json, json};
use tables::flow::group::GroupSet;
use tables::flow::reference::References;
use tables::program::TOPOLOGY;
use tables::{Change, ChangeError, Program};

/// The kinds, those first that others look up; so are they called in files too.
pub const KINDS: [&str; 6] = ["groups", "maps", "flows", "thresholds", "forwarding", TOPOLOGY];

/// A kind's place in [`KINDS`], and a name: an empty one for the topology, of which there is one.
pub type Id = (usize, String);

/// Definitions in their JSON form, in an order in which they can be made.
pub type Definitions = BTreeMap<Id, Json>;

/// Whether a definition is that of a flow.
pub fn is_flow((kind, _): &Id) -> bool {
    KINDS.get(*kind) == Some(&"flows")
}

/// How messages call a definition: `flows.pairs`.
pub fn called((kind, name): &Id) -> String {
    match KINDS.get(*kind) {
        Some(&TOPOLOGY) => TOPOLOGY.to_owned(),
        kind => format!("{}.{name}", kind.unwrap_or(&"definitions")),
    }
}

/// What is defined where nothing else is: the largest conversations, and the ranges of addresses that are private,
/// multicast, or neither.
pub fn built_in() -> Definitions {
    of_json(&json!({
        "groups": { "default": {
            "external": ["0.0.0.0/0", "::/0"],
            "private": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
            "multicast": ["224.0.0.0/4", "ff00::/8"],
        } },
        "flows": { "flows": {
            "keys": "or:ipsource:ip6source,or:ipdestination:ip6destination,stack",
            "value": "bytes",
            "log": true,
        } },
    }))
}

/// Definitions as [`Program::to_json`] and the state file write them; what has another shape is left out.
pub fn of_json(json: &Json) -> Definitions {
    let mut definitions = Definitions::new();
    for (kind, section) in KINDS.iter().enumerate() {
        if *section == TOPOLOGY {
            let topology = json.get(section).filter(|topology| !topology.is_null());
            definitions.extend(topology.map(|topology| ((kind, String::new()), topology.clone())));
            continue;
        }
        let named = json.get(section).and_then(Json::as_object);
        definitions.extend(
            named.into_iter().flatten().map(|(name, definition)| ((kind, name.clone()), definition.clone())),
        );
    }
    definitions
}

/// What configuration and clients have defined of a running program: without what actions define for themselves.
pub fn of_program(program: &Program) -> Definitions {
    let mut definitions = of_json(&program.to_json());
    definitions
        .retain(|(kind, name), _| KINDS.get(*kind) != Some(&"flows") || !name.starts_with(OF_CAPTURES));
    definitions
}

/// The reverse of [`of_json`].
pub fn to_json(definitions: &Definitions) -> Json {
    let mut json = json!({});
    for ((kind, name), definition) in definitions {
        match KINDS.get(*kind) {
            Some(&TOPOLOGY) => json[TOPOLOGY] = definition.clone(),
            Some(section) => json[*section][name.as_str()] = definition.clone(),
            None => {}
        }
    }
    json
}

/// The attributes that a definition of this kind may have; none where they are labels, which users choose.
pub fn attributes(kind: usize) -> &'static [&'static str] {
    match KINDS.get(kind) {
        Some(&"flows") => &tables::flow::spec::ATTRIBUTES,
        Some(&"thresholds") => &tables::threshold::ATTRIBUTES,
        Some(&"forwarding") => &tables::forwarding::ATTRIBUTES,
        Some(&TOPOLOGY) => &tables::topology::definition::ATTRIBUTES,
        _ => &[],
    }
}

/// The change that defines it so, or takes it away.
pub fn change((kind, name): &Id, definition: Option<Json>) -> Change {
    let name = name.clone();
    match KINDS.get(*kind) {
        Some(&"groups") => Change::Group(name, definition),
        Some(&"maps") => Change::Map(name, definition),
        Some(&"thresholds") => Change::Threshold(name, definition),
        Some(&"forwarding") => Change::Forwarding(name, definition),
        Some(&TOPOLOGY) => Change::Topology(definition),
        _ => Change::Flow(name, definition),
    }
}

/// A definition that cannot be made.
#[derive(Debug)]
pub struct Refused {
    /// Which.
    pub id: Id,
    /// Why.
    pub why: ChangeError,
}

/// Group sets that are made of feeds: nobody's definitions, but flows may look them up.
pub type Lists = BTreeMap<String, Arc<GroupSet>>;

/// Those of a program.
pub fn lists(program: &Program) -> Lists {
    let groups = program.lookups.groups.iter().filter(|(_, set)| set.is_list());
    groups.map(|(name, set)| (name.clone(), Arc::clone(set))).collect()
}

/// The program of these definitions over this reference data and these lists, without those that cannot be made.
pub fn compile(references: &References, lists: Lists, definitions: &Definitions) -> (Program, Vec<Refused>) {
    let mut program = Program::default();
    program.lookups.references = references.clone();
    program.lookups.groups.extend(lists);
    let mut refused = Vec::new();
    for (id, definition) in definitions {
        match program.changed(change(id, Some(definition.clone()))) {
            Ok(next) => program = next,
            Err(why) => refused.push(Refused { id: id.clone(), why }),
        }
    }
    (program, refused)
}

/// The changes that make `to` of `from`, in an order in which each can be made.
pub fn changes(from: &Definitions, to: &Definitions) -> Vec<Change> {
    let gone: Vec<&Id> = from.keys().filter(|id| !to.contains_key(*id)).collect();
    // Flows and what else looks up goes first, so that limits hold; what is looked up goes last.
    let looks_up = |id: &Id| KINDS.get(id.0).is_some_and(|kind| !matches!(*kind, "groups" | "maps"));
    let first = gone.iter().filter(|id| looks_up(id)).map(|id| change(id, None));
    let then = to
        .iter()
        .filter(|(id, definition)| from.get(*id) != Some(*definition))
        .map(|(id, definition)| change(id, Some(definition.clone())));
    let last = gone.iter().filter(|id| !looks_up(id)).map(|id| change(id, None));
    first.chain(then).chain(last).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn made(from: &Program, to: &Definitions) -> Program {
        let changes = changes(&of_json(&from.to_json()), to);
        changes.into_iter().fold(from.clone(), |program, change| program.changed(change).unwrap())
    }

    #[test]
    fn the_built_in_ones_can_be_made_and_any_set_becomes_any_other() {
        let (program, refused) = compile(&References::default(), Lists::new(), &built_in());
        assert!(refused.is_empty(), "{refused:?}");
        assert_eq!((program.flows.len(), program.lookups.groups.len()), (1, 1));
        assert_eq!(of_json(&to_json(&built_in())), built_in());
        // A group and the flow that looks it up come and go together.
        let others = of_json(&json!({
            "groups": {"sites": {"a": ["10.0.0.0/8"]}},
            "maps": {"services": {"web": [80]}},
            "flows": {"f": {"keys": "group:ipsource:sites,map:tcpsourceport:services", "value": "bytes"}},
            "thresholds": {"t": {"metric": "f", "value": 1}},
            "forwarding": {"archive": {"address": "127.0.0.1"}},
            "topology": {"links": {"l": {"node1": "a", "port1": 1, "node2": "b", "port2": 1}}},
        }));
        let (target, refused) = compile(&References::default(), Lists::new(), &others);
        assert!(refused.is_empty(), "{refused:?}");
        let target = of_json(&target.to_json());
        let there = made(&program, &target);
        assert_eq!(of_json(&there.to_json()), target);
        assert_eq!(made(&there, &of_json(&program.to_json())).to_json(), program.to_json());
        assert_eq!(made(&there, &Definitions::new()).to_json(), Program::default().to_json());
        assert!(changes(&target, &target).is_empty());
    }

    #[test]
    fn what_cannot_be_made_is_named_and_the_rest_is_made() {
        let definitions = of_json(&json!({
            "flows": {"f": {"keys": "group:ipsource:sites", "value": "bytes"}, "g": {"value": "bytes"}},
        }));
        let (program, refused) = compile(&References::default(), Lists::new(), &definitions);
        assert_eq!(program.flows.keys().collect::<Vec<_>>(), ["g"]);
        assert_eq!(called(&refused[0].id), "flows.f");
    }
}
