//! Answers to the questions about agents and their metrics: what one shard knows towards them.

use std::collections::BTreeMap;

use decode::Address;

use crate::agent::{Agent, Map};
use crate::metric::MetricValue;
use crate::metric::store::Wanted;
use crate::question::{Metric, Owner, Partial, Question, Source as Named};
use crate::select::{Agents, Filter, MetricRef};

/// Class of physical entities: the host itself.
const PHYSICAL: u32 = 2;

/// What these agents know towards the answer; `None` for a question about flows.
pub(crate) fn ask(agents: &Map<Address, Agent>, question: &Question, now_us: u64) -> Option<Partial> {
    let known = agents;
    Some(match question {
        Question::Agents(agents) => Partial::Agents(
            meant(known, agents).map(|(address, agent)| agent.summary(address, now_us)).collect(),
        ),
        Question::MetricNames => {
            let mut names = BTreeMap::new();
            for metric in every(known, &Agents::All, &[], &Filter::default(), now_us) {
                let youngest = names.entry(metric.name).or_insert(metric.age_us);
                *youngest = metric.age_us.min(*youngest);
            }
            Partial::MetricNames(names)
        }
        Question::AgentMetrics(agents) => {
            Partial::Metrics(every(known, agents, &[], &Filter::default(), now_us))
        }
        Question::Dump { agents, metrics, filter } => {
            Partial::Metrics(every(known, agents, metrics, filter, now_us))
        }
        Question::Metric { agents, metrics, filter } => Partial::Values(
            metrics
                .iter()
                .map(|metric| every(known, agents, std::slice::from_ref(metric), filter, now_us))
                .collect(),
        ),
        Question::Table { .. } => Partial::Table(Vec::new()),
        Question::ActiveFlows { .. }
        | Question::FlowKeys
        | Question::FlowValue { .. }
        | Question::FlowLocations { .. } => return None,
    })
}

/// The agents that are meant.
pub(crate) fn meant<'s>(
    known: &'s Map<Address, Agent>,
    agents: &Agents,
) -> impl Iterator<Item = (Address, &'s Agent)> {
    let host_name = Wanted::find("host_name");
    known
        .iter()
        .map(|(address, agent)| (*address, agent))
        .filter(move |(address, agent)| agents.mean(*address, || of_host(agent, &host_name)))
}

/// The values of the data sources that the filter lets through: those asked for, or all when none is named.
fn every(
    known: &Map<Address, Agent>,
    agents: &Agents,
    metrics: &[MetricRef],
    filter: &Filter,
    now_us: u64,
) -> Vec<Metric> {
    let mut found = Vec::new();
    for (address, agent) in meant(known, agents) {
        for (&source, known) in agent.sources.iter().filter(|(_, known)| !known.metrics.is_empty()) {
            let passes = filter.holds(|metric| {
                let own = metric.may_be_of(source).then(|| known.metrics.get(&metric.wanted)).flatten();
                own.map(|(value, _)| value).or_else(|| of_host(agent, &metric.wanted))
            });
            if !passes {
                continue;
            }
            let mut add = |name: String, value, at: u64| {
                let age_us = now_us.saturating_sub(at);
                let owner = Owner { agent: address, source: Named::Of(source) };
                found.push(Metric { owner, name, value, age_us, top_keys: Vec::new() });
            };
            if metrics.is_empty() {
                for (name, value, at) in known.metrics.all(source.class) {
                    add(name, value, at);
                }
            }
            for metric in metrics.iter().filter(|metric| metric.may_be_of(source)) {
                if let Some((value, at)) = known.metrics.get(&metric.wanted) {
                    add(metric.text.clone(), value, at);
                }
            }
        }
    }
    found
}

/// A metric of the agent's host: that of its lowest physical data source that has it.
fn of_host(agent: &Agent, wanted: &Wanted) -> Option<MetricValue> {
    let hosts = agent.sources.iter().filter(|(source, _)| source.class == PHYSICAL);
    hosts
        .filter_map(|(source, known)| Some((*source, known.metrics.get(wanted)?.0)))
        .min_by_key(|(source, _)| *source)
        .map(|(_, value)| value)
}
