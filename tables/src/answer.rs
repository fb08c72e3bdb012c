//! Answers to the questions about agents and their metrics: what one shard knows towards them.

use std::collections::BTreeMap;

use ahash::AHashSet;
use decode::Address;

use crate::agent::Agent;
use crate::flow::flows::Flows;
use crate::metric::MetricValue;
use crate::metric::store::{Metrics, Wanted};
use crate::question::{Metric, Owner, Partial, Question, Source as Named};
use crate::roster::Roster;
use crate::select::{Agents, Filter, MetricRef};

/// Class of physical entities: the host itself.
const PHYSICAL: u32 = 2;

/// The agents of a shard, and what is believed of them at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Known<'s> {
    /// All of them.
    pub(crate) agents: &'s Roster,
    /// Their flows.
    pub(crate) flows: &'s Flows,
    /// How long metrics are believed; by their interval when `None`.
    pub(crate) metric_timeout_us: Option<u64>,
    /// Now.
    pub(crate) now_us: u64,
}

impl<'s> Known<'s> {
    /// What is known towards the answer.
    pub(crate) fn ask(&self, question: &Question) -> Partial {
        match question {
            Question::Agents(agents) => Partial::Agents(
                self.meant(agents).map(|(address, agent)| agent.summary(address, self.now_us)).collect(),
            ),
            Question::MetricNames => {
                let mut names = BTreeMap::new();
                for metric in self.every(&Agents::All, &[], &Filter::default()) {
                    let youngest = names.entry(metric.name).or_insert(metric.age_us);
                    *youngest = metric.age_us.min(*youngest);
                }
                Partial::MetricNames(names)
            }
            Question::AgentMetrics(agents) => Partial::Metrics(self.every(agents, &[], &Filter::default())),
            Question::Dump { agents, metrics, filter } => {
                Partial::Metrics(self.every(agents, metrics, filter))
            }
            Question::Metric { agents, metrics, filter } => Partial::Values(
                metrics
                    .iter()
                    .map(|metric| self.every(agents, std::slice::from_ref(metric), filter))
                    .collect(),
            ),
            Question::Table { .. } => Partial::Table(Vec::new()),
            Question::ActiveFlows { agents, flow, aggregation, most, .. } => {
                let is_meant = self.is_meant(agents);
                let wanted: Option<&dyn Fn(&Owner) -> bool> = match agents {
                    Agents::All => None,
                    Agents::Named(_) => Some(&is_meant),
                };
                Partial::Flows(self.flows.active(flow, *aggregation, *most, wanted, self.now_us))
            }
            Question::FlowKeys => Partial::FlowKeys(self.flows.keys(self.now_us)),
            Question::FlowValue { agents, source, flow, key } => {
                let is_meant = self.is_meant(agents);
                let wanted = |owner: &Owner| {
                    source.is_none_or(|source| owner.source == Named::Of(source)) && is_meant(owner)
                };
                Partial::FlowValue(self.flows.value(flow, key.as_deref(), &wanted, self.now_us))
            }
            Question::FlowLocations { agents, flow, key, .. } => {
                let wanted = self.is_meant(agents);
                Partial::Flows(self.flows.locations(flow, key, &wanted, self.now_us))
            }
        }
    }

    /// Asks whether an owner of flows is one of the agents that are meant.
    fn is_meant(&self, agents: &Agents) -> impl Fn(&Owner) -> bool + use<> {
        let meant: Option<AHashSet<Address>> = match agents {
            Agents::All => None,
            Agents::Named(_) => Some(self.meant(agents).map(|(address, _)| address).collect()),
        };
        move |owner| meant.as_ref().is_none_or(|meant| meant.contains(&owner.agent))
    }

    /// Whether a filter lets an owner of flows through: by what is known of its data source, or of its host.
    pub(crate) fn passes(&self, owner: &Owner, filter: &Filter) -> bool {
        let agent = self.agents.get(&owner.agent);
        filter.holds(|metric| {
            let agent = agent?;
            let own = match owner.source {
                Named::Of(source) if metric.may_be_of(source) => agent
                    .sources
                    .get(&source)
                    .filter(|known| self.believes(&known.metrics))
                    .and_then(|known| known.metrics.get(&metric.wanted)),
                _ => None,
            };
            own.map(|(value, _)| value).or_else(|| self.of_host(agent, &metric.wanted))
        })
    }

    /// The number that a data source has of a metric.
    pub(crate) fn number(&self, owner: &Owner, metric: &MetricRef) -> Option<f64> {
        let Named::Of(source) = owner.source else { return None };
        let known = self.agents.get(&owner.agent)?.sources.get(&source)?;
        let (value, _) = metric.may_be_of(source).then(|| known.metrics.get(&metric.wanted)).flatten()?;
        value.number()
    }

    /// The agents that are meant.
    pub(crate) fn meant(self, agents: &Agents) -> impl Iterator<Item = (Address, &'s Agent)> {
        let host_name = Wanted::find("host_name");
        self.agents
            .iter()
            .filter(move |(address, agent)| agents.mean(*address, || self.of_host(agent, &host_name)))
    }

    /// The values of the data sources that the filter lets through: those asked for, or all when none is named.
    fn every(&self, agents: &Agents, metrics: &[MetricRef], filter: &Filter) -> Vec<Metric> {
        let mut found = Vec::new();
        for (address, agent) in self.meant(agents) {
            for (&source, known) in agent.sources.iter().filter(|(_, known)| self.believes(&known.metrics)) {
                let passes = filter.holds(|metric| {
                    let own = metric.may_be_of(source).then(|| known.metrics.get(&metric.wanted)).flatten();
                    own.map(|(value, _)| value).or_else(|| self.of_host(agent, &metric.wanted))
                });
                if !passes {
                    continue;
                }
                let mut add = |name: String, value, at: u64| {
                    let age_us = self.now_us.saturating_sub(at);
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

    /// Whether there is something to ask for that is not too old.
    fn believes(&self, metrics: &Metrics) -> bool {
        metrics.are_believed(self.now_us, self.metric_timeout_us)
    }

    /// A metric of the agent's host: that of its lowest physical data source that has it.
    fn of_host(&self, agent: &Agent, wanted: &Wanted) -> Option<MetricValue> {
        let hosts = agent
            .sources
            .iter()
            .filter(|(source, known)| source.class == PHYSICAL && self.believes(&known.metrics));
        hosts
            .filter_map(|(source, known)| Some((*source, known.metrics.get(wanted)?.0)))
            .min_by_key(|(source, _)| *source)
            .map(|(_, value)| value)
    }
}
