//! Answers to the questions about agents and their metrics: what one shard knows towards them.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::AHashSet;
use decode::{Address, DataSource};

use crate::agent::Agent;
use crate::flow::flows::{FlowMetric, Flows};
use crate::flow::learned::{ATTRIBUTES, Attributes, HostAdapters};
use crate::metric::MetricValue;
use crate::metric::custom::CustomSource;
use crate::metric::store::{Metrics, Wanted};
use crate::question::{Column, Metric, Owner, Partial, Question, Source};
use crate::roster::Roster;
use crate::select::{Agents, Filter, MetricRef};
use crate::table::{self, Row};
use crate::topology::{AgentPorts, Named};
use crate::watch::Watch;

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

/// A data source and its metrics.
#[derive(Clone, Copy)]
enum Held<'s> {
    /// One of the agent's own.
    Of(DataSource, &'s Metrics),
    /// One that custom metrics name.
    Named(&'s Arc<str>, &'s CustomSource),
}

impl Held<'_> {
    fn name(&self) -> Source {
        match self {
            Self::Of(source, _) => Source::Of(*source),
            Self::Named(name, _) => Source::Named(Arc::clone(name)),
        }
    }

    /// Its value of a metric, and when that arrived.
    fn get(&self, metric: &MetricRef) -> Option<(MetricValue, u64)> {
        match self {
            Self::Of(source, metrics) if metric.may_be_of(*source) => metrics.get(&metric.wanted),
            Self::Named(source, metrics) if metric.source.is_none() => match &metric.wanted {
                Wanted::Named(name) => metrics.get(source, name),
                _ => None,
            },
            _ => None,
        }
    }

    /// All its values by name, and when they arrived.
    fn all(&self) -> Vec<(String, MetricValue, u64)> {
        match self {
            Self::Of(source, metrics) => metrics.all(source.class),
            Self::Named(_, metrics) => {
                metrics.all().map(|(name, value, at)| (name.to_string(), value, at)).collect()
            }
        }
    }
}

impl<'s> Known<'s> {
    /// What is known towards the answer.
    pub(crate) fn ask(&self, question: &Question, watch: &Watch) -> Partial {
        match question {
            Question::Agents(agents) => Partial::Agents(
                self.meant(agents).map(|(address, agent)| agent.summary(address, self.now_us)).collect(),
            ),
            Question::Sources { agents, source } => {
                let is_meant = |address, name: &DataSource| {
                    source.is_none_or(|source| source == *name)
                        && agents.mean_source(address, &Source::Of(*name))
                };
                let of = |(address, agent): (Address, &'s Agent)| {
                    agent.sources.summaries(address, move |name| is_meant(address, name), self.now_us)
                };
                Partial::Sources(self.meant(agents).flat_map(of).collect())
            }
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
            Question::Metric { agents, metrics, filter } => {
                Partial::Values(self.values(agents, metrics, filter))
            }
            Question::Table { agents, columns, filter } => {
                // The largest of all are among the largest of each shard.
                Partial::Table(table::sorted(self.rows(agents, columns, filter), columns))
            }
            Question::ActiveFlows { agents, flow, aggregation, most, .. } => {
                let is_meant = self.is_meant(agents);
                let wanted: Option<&dyn Fn(&Owner) -> bool> = match agents {
                    Agents::All => None,
                    Agents::Listed | Agents::Named(_) | Agents::Of(..) => Some(&is_meant),
                };
                Partial::Flows(self.flows.active(flow, *aggregation, *most, wanted, self.now_us))
            }
            Question::Adapters => Partial::Adapters(self.adapters()),
            Question::PortNames(named) => Partial::PortNames(self.port_names(named)),
            Question::Sightings(since_us) => Partial::Sightings(self.flows.sightings(*since_us)),
            Question::FlowKeys => Partial::FlowKeys(self.flows.keys(self.now_us)),
            Question::FlowValue { agents, source, flow, key } => {
                let is_meant = self.is_meant(agents);
                let wanted = |owner: &Owner| {
                    source.is_none_or(|source| owner.source == Source::Of(source)) && is_meant(owner)
                };
                Partial::FlowValue(self.flows.value(flow, key.as_deref(), &wanted, self.now_us))
            }
            Question::FlowLocations { agents, flow, key, .. } => {
                let wanted = self.is_meant(agents);
                Partial::Flows(self.flows.locations(flow, key, &wanted, self.now_us))
            }
            Question::Triggered { agents, threshold, metric, flow_key } => {
                let Some((numbered, source)) = watch.named(threshold, metric) else {
                    return Partial::Triggered(false);
                };
                let is_meant = self.is_meant(agents);
                let wanted = |owner: &Owner| {
                    let is_it =
                        |source: &str| owner.source == Source::Agent || owner.source.to_string() == source;
                    is_meant(owner) && source.is_none_or(is_it)
                };
                let owners = self.flows.owners().filter(|(_, owner)| wanted(owner)).map(|(number, _)| number);
                let key = flow_key.as_deref().filter(|_| numbered.threshold.by_flow);
                Partial::Triggered(watch.is_triggered(numbered, owners, key))
            }
        }
    }

    /// The hosts that say which addresses they own: those with adapters, and those that agents run on.
    fn adapters(&self) -> Vec<HostAdapters> {
        let wanted: Vec<Option<MetricRef>> = ATTRIBUTES.iter().map(|name| name.parse().ok()).collect();
        let mut found = Vec::new();
        for (address, agent) in self.agents.iter() {
            let hosts = agent.sources.iter().filter(|(source, known)| {
                (!known.macs.is_empty() || source.class == PHYSICAL) && self.believes(&known.metrics)
            });
            for (source, known) in hosts {
                let held = Held::Of(*source, &known.metrics);
                let mut attributes = Attributes::default();
                for (attribute, metric) in attributes.iter_mut().zip(&wanted) {
                    let Some(metric) = metric else { continue };
                    let own = held.get(metric).map(|(value, _)| value);
                    let value = own.or_else(|| self.of_host(agent, metric).map(|(_, value, _)| value));
                    *attribute = value.map(|value| match value {
                        MetricValue::Text(text) => text,
                        MetricValue::Number(number) => Arc::from(number.to_string()),
                    });
                }
                if attributes.iter().all(Option::is_none) {
                    continue;
                }
                found.push(HostAdapters {
                    owner: Owner { agent: address, source: Source::Of(*source) },
                    macs: known.macs.to_vec(),
                    address: if source.class == PHYSICAL { address.ip() } else { None },
                    attributes,
                });
            }
        }
        found
    }

    /// What the agents of a topology say of their names.
    fn port_names(&self, named: &Named) -> Vec<AgentPorts> {
        let text = |value| match value {
            MetricValue::Text(text) => Some(text),
            MetricValue::Number(_) => None,
        };
        let (Ok(if_name), Ok(host_name)) = ("ifname".parse::<MetricRef>(), "host_name".parse::<MetricRef>())
        else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (address, agent) in self.agents.iter() {
            let host_name = || text(self.of_host(agent, &host_name)?.1);
            let host_name = if named.hosts.is_empty() { None } else { host_name() };
            let is_host = host_name.as_ref().is_some_and(|name| named.hosts.contains(name));
            if !is_host && !named.agents.contains(&address) {
                continue;
            }
            let ports = agent.sources.iter().filter(|(source, _)| source.class == 0);
            let name = |known: &Metrics| text(known.get(&if_name.wanted)?.0).filter(|name| !name.is_empty());
            let mut ports: Vec<_> =
                ports.filter_map(|(source, known)| Some((source.index, name(&known.metrics)?))).collect();
            ports.sort_unstable();
            found.push(AgentPorts { agent: address, host_name, ports });
        }
        found
    }

    /// Asks whether an owner of flows is among what is meant.
    fn is_meant<'q>(&self, agents: &'q Agents) -> impl Fn(&Owner) -> bool + use<'q> {
        let meant: Option<AHashSet<Address>> = match agents {
            Agents::All => None,
            Agents::Listed | Agents::Named(_) | Agents::Of(..) => {
                Some(self.meant(agents).map(|(address, _)| address).collect())
            }
        };
        move |owner| {
            meant.as_ref().is_none_or(|meant| meant.contains(&owner.agent))
                && agents.mean_source(owner.agent, &owner.source)
        }
    }

    /// Whether a filter lets an owner of flows through: by what is known of its data source, or of its host.
    pub(crate) fn passes(&self, owner: &Owner, filter: &Filter) -> bool {
        let agent = self.agents.get(&owner.agent);
        let held = agent.and_then(|agent| self.held(agent, &owner.source));
        filter.holds(|metric| {
            let own = held.and_then(|held| held.get(metric)).map(|(value, _)| value);
            own.or_else(|| self.of_host(agent?, metric).map(|(_, value, _)| value))
        })
    }

    /// The number that a data source has of a metric.
    pub(crate) fn number(&self, owner: &Owner, metric: &MetricRef) -> Option<f64> {
        let agent = self.agents.get(&owner.agent)?;
        self.held(agent, &owner.source)?.get(metric)?.0.number()
    }

    /// A data source of an agent, where something is believed of it.
    fn held(&self, agent: &'s Agent, source: &Source) -> Option<Held<'s>> {
        match source {
            Source::Of(source) => {
                let known = agent.sources.get(source).filter(|known| self.believes(&known.metrics))?;
                Some(Held::Of(*source, &known.metrics))
            }
            Source::Named(name) => {
                let (name, known) = agent.custom.source(name)?;
                known.is_believed(self.now_us, self.metric_timeout_us).then_some(Held::Named(name, known))
            }
            Source::Agent => None,
        }
    }

    /// The agents that are meant.
    pub(crate) fn meant(self, agents: &Agents) -> impl Iterator<Item = (Address, &'s Agent)> {
        let host_name: Option<MetricRef> = "host_name".parse().ok();
        self.agents.iter().filter(move |(address, agent)| {
            let host_name = || self.of_host(agent, host_name.as_ref()?).map(|(_, value, _)| value);
            agents.mean(*address, agent.is_trusted(self.now_us), host_name)
        })
    }

    /// The data sources of an agent that are meant and that the filter lets through.
    fn passed(
        &self,
        agents: &Agents,
        (address, agent): (Address, &'s Agent),
        filter: &Filter,
    ) -> impl Iterator<Item = Held<'s>> {
        let own = agent
            .sources
            .iter()
            .filter(|(_, known)| self.believes(&known.metrics))
            .map(|(source, known)| Held::Of(*source, &known.metrics));
        let named = agent
            .custom
            .sources()
            .filter(|(_, known)| known.is_believed(self.now_us, self.metric_timeout_us))
            .map(|(name, known)| Held::Named(name, known));
        let meant = own.chain(named).filter(move |held| agents.mean_source(address, &held.name()));
        meant.filter(move |held| {
            filter.holds(|metric| {
                let own = held.get(metric).map(|(value, _)| value);
                own.or_else(|| self.of_host(agent, metric).map(|(_, value, _)| value))
            })
        })
    }

    /// The values of the data sources that the filter lets through: those asked for, or all when none is named.
    fn every(&self, agents: &Agents, metrics: &[MetricRef], filter: &Filter) -> Vec<Metric> {
        let mut found = Vec::new();
        for (agent, known) in self.meant(agents) {
            for held in self.passed(agents, (agent, known), filter) {
                let owner = Owner { agent, source: held.name() };
                if metrics.is_empty() {
                    let all = held.all().into_iter();
                    found.extend(all.map(|(name, value, at)| self.metric(owner.clone(), name, value, at)));
                }
                for metric in metrics {
                    let Some((value, at)) = held.get(metric) else { continue };
                    found.push(self.metric(owner.clone(), metric.text.clone(), value, at));
                }
            }
        }
        let flows: Vec<MetricRef> = match metrics {
            [] => self.flows.names().filter_map(|name| name.parse().ok()).collect(),
            some => some.to_vec(),
        };
        for metric in &flows {
            found.extend(self.of_flows(metric, agents, filter));
        }
        found
    }

    /// The values of a metric that is a flow definition: of each data source that the filter lets through the largest
    /// flow.
    fn of_flows(&self, metric: &MetricRef, agents: &Agents, filter: &Filter) -> Vec<Metric> {
        let is_meant = self.is_meant(agents);
        let wanted = |owner: &Owner| {
            metric.source.is_none_or(|source| owner.source == Source::Of(source))
                && is_meant(owner)
                && self.passes(owner, filter)
        };
        let found = self.flows.metric(metric.name(), &wanted, self.now_us);
        let as_metric = |flow: FlowMetric| Metric {
            owner: flow.owner,
            name: metric.text.clone(),
            value: MetricValue::Number(flow.value),
            age_us: flow.age_us,
            top_keys: flow.top,
        };
        found.into_iter().map(as_metric).collect()
    }

    /// For each metric, its values at the data sources that the filter lets through.
    fn values(&self, agents: &Agents, metrics: &[MetricRef], filter: &Filter) -> Vec<Vec<Metric>> {
        let mut values = vec![Vec::new(); metrics.len()];
        for (agent, known) in self.meant(agents) {
            for held in self.passed(agents, (agent, known), filter) {
                for (metric, values) in metrics.iter().zip(&mut values) {
                    let Some((value, at)) = held.get(metric) else { continue };
                    let owner = Owner { agent, source: held.name() };
                    values.push(self.metric(owner, metric.text.clone(), value, at));
                }
            }
        }
        for (metric, values) in metrics.iter().zip(&mut values) {
            values.extend(self.of_flows(metric, agents, filter));
        }
        values
    }

    /// A row for each data source that the filter lets through and that has a value of its own, with all cells that
    /// are not optional. What it has not may be its host's.
    fn rows(&self, agents: &Agents, columns: &[Column], filter: &Filter) -> Vec<Row> {
        let flows: Vec<BTreeMap<Owner, Metric>> = columns
            .iter()
            .map(|column| self.of_flows(&column.metric, agents, filter))
            .map(|found| found.into_iter().map(|metric| (metric.owner.clone(), metric)).collect())
            .collect();
        let mut rows = Vec::new();
        for (agent, known) in self.meant(agents) {
            let mut held: BTreeMap<Source, Option<Held<'_>>> =
                self.passed(agents, (agent, known), filter).map(|held| (held.name(), Some(held))).collect();
            // A data source may have flows and no counters.
            for owner in flows.iter().flat_map(BTreeMap::keys).filter(|owner| owner.agent == agent) {
                held.entry(owner.source.clone()).or_insert(None);
            }
            for (source, held) in held {
                let owner = Owner { agent, source };
                let own = |metric: &MetricRef| {
                    let (value, at) = held?.get(metric)?;
                    Some(self.metric(owner.clone(), metric.text.clone(), value, at))
                };
                let mut has_own = false;
                let row: Option<Row> = columns
                    .iter()
                    .zip(&flows)
                    .map(|(Column { metric, optional, .. }, flows)| {
                        let own = own(metric).or_else(|| flows.get(&owner).cloned());
                        has_own |= own.is_some();
                        let cell = own.or_else(|| {
                            let (source, value, at) = self.of_host(known, metric)?;
                            let owner = Owner { agent, source: Source::Of(source) };
                            Some(self.metric(owner, metric.text.clone(), value, at))
                        });
                        (cell.is_some() || *optional).then_some(cell)
                    })
                    .collect();
                rows.extend(row.filter(|_| has_own));
            }
        }
        rows
    }

    fn metric(&self, owner: Owner, name: String, value: MetricValue, at_us: u64) -> Metric {
        Metric { owner, name, value, age_us: self.now_us.saturating_sub(at_us), top_keys: Vec::new() }
    }

    /// Whether there is something to ask for that is not too old.
    fn believes(&self, metrics: &Metrics) -> bool {
        metrics.are_believed(self.now_us, self.metric_timeout_us)
    }

    /// A metric of the agent's host: that of its lowest physical data source that has it, or of the one that is
    /// named.
    fn of_host(&self, agent: &Agent, metric: &MetricRef) -> Option<(DataSource, MetricValue, u64)> {
        let hosts = agent.sources.iter().filter(|(source, known)| {
            source.class == PHYSICAL && metric.may_be_of(**source) && self.believes(&known.metrics)
        });
        hosts
            .filter_map(|(source, known)| {
                known.metrics.get(&metric.wanted).map(|(value, at)| (*source, value, at))
            })
            .min_by_key(|(source, ..)| *source)
    }
}
