//! Questions from the texts of a path or of a script's call, by what is defined.

use std::sync::Arc;

use decode::DataSource;

use crate::flow::FlowPlan;
use crate::flow::active::FlowAggregation;
use crate::flow::spec::Per;
use crate::program::Program;
use crate::question::Question;
use crate::select::{Agents, Filter, MetricRef, SelectError};
use crate::spec_error::{SpecError, wrong};
use crate::topology::{End, Role, Which};

/// Active flows of an answer where a client says nothing.
pub const MOST_FLOWS: f64 = 100.0;

/// Bytes of a definition's name at most: it comes back in URLs, logs and answers.
const LONGEST_NAME: usize = 200;

/// Whether a definition may have this name.
///
/// # Errors
/// It is empty, too long, or has control characters.
pub fn check_name(name: &str) -> Result<(), SpecError> {
    if name.trim().is_empty() || name.len() > LONGEST_NAME || name.contains(char::is_control) {
        let what = format!("has 1 to {LONGEST_NAME} bytes and no control characters");
        return Err(wrong("name", what));
    }
    Ok(())
}

impl Program {
    /// The agents that a text means, see [`Agents::of`].
    ///
    /// # Errors
    /// It needs a topology, and none is defined.
    pub fn agents(&self, text: &str) -> Result<Agents, SelectError> {
        Agents::of(text, &self.topology)
    }

    /// What to ask for metrics of both ends of a link: a question for each. `None` where there is no such link.
    pub fn link_metrics(&self, link: &str, metrics: &[MetricRef]) -> Option<[Question; 2]> {
        let question = |end: &End| {
            let of = |metric: &MetricRef, index| {
                let mut one = metric.clone();
                one.source = Some(DataSource { class: 0, index });
                one
            };
            let (agents, metrics) = match end.interface {
                Some((agent, index)) => {
                    (vec![agent.to_string()], metrics.iter().map(|metric| of(metric, index)).collect())
                }
                // Nobody tells of this end.
                None => (Vec::new(), metrics.to_vec()),
            };
            Question::Metric { agents: Agents::Named(agents), metrics, filter: Filter::default() }
        };
        Some(self.topology.ends_of(link)?.each_ref().map(question))
    }

    /// Asks for the largest flows: `most` of them at most, `least` per second at least. `mode` is `max`, which is the
    /// default, `sum`, `edge` or `core`, in upper or lower case.
    ///
    /// # Errors
    /// There is no such flow, the mode is none, or it needs a topology or tables of data sources.
    pub fn active_flows(
        &self,
        agents: &str,
        flow: &str,
        most: f64,
        least: f64,
        mode: Option<&str>,
    ) -> Result<Question, SelectError> {
        let mut agents = self.agents(agents)?;
        let plan = self.flow(flow)?;
        let mode = mode.map(str::to_ascii_lowercase);
        let (aggregation, role) = match mode.as_deref() {
            None | Some("max") => (FlowAggregation::Max, None),
            Some("sum") => (FlowAggregation::Sum, None),
            Some("edge") => (FlowAggregation::Sum, Some(Role::Edge)),
            Some("core") => (FlowAggregation::Sum, Some(Role::Core)),
            Some(mode) => return Err(SelectError::Mode(mode.to_owned())),
        };
        if let Some(role) = role {
            if plan.spec.per == Per::Agent {
                return Err(SelectError::NoPorts { flow: flow.to_owned(), mode: role.label() });
            }
            agents = agents.at(&format!("aggMode {}", role.label()), &self.topology, Which::Ports(role))?;
        }
        Ok(Question::ActiveFlows {
            agents,
            flow: flow.to_owned(),
            aggregation,
            most: most.max(0.0) as usize,
            least,
            separator: plan.spec.fs.clone(),
        })
    }

    /// Asks for the value of one flow, the largest when `key` is `None`. Before the flow's name a data source may stand:
    /// `22.tcp`.
    ///
    /// # Errors
    /// There is no such flow, or the agents need a topology.
    pub fn flow_value(&self, agents: &str, name: &str, key: Option<&str>) -> Result<Question, SelectError> {
        let agents = self.agents(agents)?;
        let (source, flow) = located(name, |name| self.flows.contains_key(name));
        self.flow(flow)?;
        Ok(Question::FlowValue { agents, source, flow: flow.to_owned(), key: key.map(str::to_owned) })
    }

    /// Asks for every data source that sees a flow.
    ///
    /// # Errors
    /// There is no such flow, or the agents need a topology.
    pub fn flow_locations(&self, agents: &str, flow: &str, key: &str) -> Result<Question, SelectError> {
        let agents = self.agents(agents)?;
        let separator = self.flow(flow)?.spec.fs.clone();
        Ok(Question::FlowLocations { agents, flow: flow.to_owned(), key: key.to_owned(), separator })
    }

    fn flow(&self, name: &str) -> Result<&Arc<FlowPlan>, SelectError> {
        self.flows.get(name).ok_or(SelectError::NoFlow)
    }
}

/// A flow's name, before which a data source may stand: `22.tcp`, `2.1.tcp`. A name that is defined as a whole is one.
fn located(text: &str, defined: impl Fn(&str) -> bool) -> (Option<DataSource>, &str) {
    let split = || {
        text.match_indices('.').find_map(|(dot, _)| {
            let (source, flow) = (text.get(..dot)?, text.get(dot + 1..)?);
            let source = source.parse().ok()?;
            defined(flow).then_some((Some(source), flow))
        })
    };
    if defined(text) { (None, text) } else { split().unwrap_or((None, text)) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::program::Change;
    use serde_json::json;

    #[test]
    fn a_data_source_may_stand_before_the_name() {
        let defined = |name: &str| ["tcp", "2.1.x", "a.b"].contains(&name);
        for (text, source, flow) in [
            ("tcp", None, "tcp"),
            ("22.tcp", Some((0, 22)), "tcp"),
            ("2.1.tcp", Some((2, 1)), "tcp"),
            ("3.100000.a.b", Some((3, 100_000)), "a.b"),
            ("2.1.x", None, "2.1.x"),
            ("nosuch", None, "nosuch"),
            ("22.nosuch", None, "22.nosuch"),
        ] {
            let source = source.map(|(class, index)| DataSource { class, index });
            assert_eq!(located(text, defined), (source, flow), "{text}");
        }
    }

    #[test]
    fn what_active_flows_need_is_said() {
        let flow = json!({"keys": "ipsource", "value": "bytes", "fs": "_", "aggMode": "AGENT"});
        let program = Program::default().changed(Change::Flow("f".into(), Some(flow))).unwrap();
        let asked = |flow, mode| program.active_flows("ALL", flow, 3.0, 0.0, mode);
        let Ok(Question::ActiveFlows { aggregation, most, separator, .. }) = asked("f", Some("SUM")) else {
            panic!("sum needs nothing");
        };
        assert_eq!((aggregation, most, separator.as_str()), (FlowAggregation::Sum, 3, "_"));
        for (flow, mode, why) in [
            ("g", None, "no such flow"),
            ("f", Some("top"), "aggMode \"top\" is not max, sum, edge or core"),
            ("f", Some("Edge"), "aggMode edge needs tables of data sources: \"f\" has aggMode AGENT"),
        ] {
            let error = asked(flow, mode).unwrap_err().to_string();
            assert!(error.starts_with(why), "{error}");
        }
    }
}
