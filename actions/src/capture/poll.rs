//! What the engine is asked once a second: our definitions, who was heard, and the rates of what is captured. It may wait for
//! answers, so that it runs on a thread of its own.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::Handle;
use tables::Change as Definition;
use tables::flow::plan::ActiveFlow;
use tables::select::Agents;
use tables::{Answer, Question};

use super::pair::Pair;
use super::scripts::traffic;
use super::watch::{self, Followed, PREFIX};

/// What is asked.
pub(super) struct Asked {
    /// Our flows, those of scripts' captures among them.
    pub(super) definitions: Vec<watch::Definition>,
    /// Pairs that scripts have captured, where they are others than before.
    pub(super) pairs: Option<BTreeSet<Pair>>,
    /// Agents that should be heard, and within which time.
    pub(super) agents: BTreeSet<String>,
    pub(super) heard_within: Duration,
    /// Flows whose rates are followed, of policies and of scripts.
    pub(super) followed: Vec<Followed>,
    pub(super) of_scripts: Vec<(Pair, bool, String)>,
}

/// What was found.
pub(super) struct Polled {
    /// When it was asked.
    pub(super) at_ms: u64,
    pub(super) rates: Vec<(Followed, Vec<ActiveFlow>)>,
    pub(super) of_scripts: Vec<((Pair, bool), Vec<ActiveFlow>)>,
    /// Agents that were heard lately; `None` when the engine was too busy to say.
    pub(super) heard: Option<BTreeSet<IpAddr>>,
    /// What keeps our flows from being defined.
    pub(super) undefined: Option<String>,
    /// Pairs of scripts that are looked at from now on.
    pub(super) pairs: Option<BTreeSet<Pair>>,
}

/// Asks all of it; `began` is when the time of policies began.
pub(super) fn poll(engine: &Handle, began: Instant, asked: Asked) -> Polled {
    let Asked { definitions, pairs, agents, heard_within, followed, of_scripts } = asked;
    let undefined = define_all(engine, &definitions, pairs.as_ref()).err();
    let heard = heard(engine, agents, heard_within);
    let at_ms = began.elapsed().as_millis() as u64;
    let mut rates = Vec::new();
    for followed in followed {
        let Some(definition) = definitions.get(followed.definition) else { continue };
        if let Some(found) = places(engine, &definition.name, &followed.keys) {
            rates.push((followed, found));
        }
    }
    let mut found_of_scripts = Vec::new();
    for (pair, upward, keys) in of_scripts {
        if let Some(found) = places(engine, &traffic::flow_name(pair.is_ipv6()), &keys) {
            found_of_scripts.push(((pair, upward), found));
        }
    }
    let pairs = pairs.filter(|_| undefined.is_none());
    Polled { at_ms, rates, of_scripts: found_of_scripts, heard, undefined, pairs }
}

/// Defines our flows, and the hosts that those of scripts look at.
fn define_all(
    engine: &Handle,
    definitions: &[watch::Definition],
    pairs: Option<&BTreeSet<Pair>>,
) -> Result<(), String> {
    let set = traffic::set_name();
    if let Some(pairs) = pairs.filter(|pairs| !pairs.is_empty()) {
        let change = Definition::List(set.clone(), Some(Arc::new(traffic::hosts(pairs))));
        engine.define(change).map_err(|error| format!("group {set}: {error}"))?;
    }
    define(engine, definitions)?;
    if pairs.is_some_and(BTreeSet::is_empty) {
        // It may have been taken away already.
        let _ = engine.define(Definition::List(set, None));
    }
    Ok(())
}

/// Defines our flows where they are not, and takes those away that are of policies that are gone.
fn define(engine: &Handle, definitions: &[watch::Definition]) -> Result<(), String> {
    let program = engine.program();
    let stale = program.flows.keys().filter(|name| name.starts_with(PREFIX));
    let gone: Vec<String> =
        stale.filter(|name| !definitions.iter().any(|one| one.name == **name)).cloned().collect();
    for name in gone {
        // It may have been taken away meanwhile.
        let _ = engine.define(Definition::Flow(name, None));
    }
    for one in definitions {
        let wanted = tables::flow::FlowSpec::from_json(&one.json);
        let same =
            wanted.is_ok_and(|wanted| program.flows.get(&one.name).is_some_and(|plan| plan.spec == wanted));
        if !same {
            let change = Definition::Flow(one.name.clone(), Some(one.json.clone()));
            engine.define(change).map_err(|error| format!("flow {}: {error}", one.name))?;
        }
    }
    Ok(())
}

/// Those of these agents that were heard lately.
fn heard(engine: &Handle, agents: BTreeSet<String>, within: Duration) -> Option<BTreeSet<IpAddr>> {
    let question = Question::Agents(Agents::Named(agents.into_iter().collect()));
    let Ok(Answer::Agents(agents)) = engine.ask(question) else { return None };
    let lately = agents.into_iter().filter(|agent| u128::from(agent.last_seen_us) <= within.as_micros());
    Some(lately.filter_map(|agent| watch::ip(agent.agent)).collect())
}

/// The rates of a flow, wherever it is seen; `None` when the engine did not say.
fn places(engine: &Handle, flow: &str, keys: &str) -> Option<Vec<ActiveFlow>> {
    let question = Question::FlowLocations {
        agents: Agents::All,
        flow: flow.to_owned(),
        key: keys.to_owned(),
        separator: ",".to_owned(),
    };
    match engine.ask(question) {
        Ok(Answer::Flows(found)) => Some(found),
        _ => None,
    }
}
