//! Questions about what the collector knows: agents, metrics, flows. Answers have the shapes of REST.

use std::rc::Rc;

use engine::json;
use rquickjs::Value;
use serde_json::{Map, Value as Json};
use tables::question::{Address, Column, DataSource};
use tables::select::{Agents, Filter, MetricRef, SelectError};
use tables::{Answer, Question, wording};

use crate::call::Call;
use crate::catalogue::Function;
use crate::script::Script;

pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "version",
        parameters: "",
        what: "Gives the collector's version, a text.",
        example: "logInfo('finderscope ' + version());",
        call: |script, call| call.give_plain(script.world.shared.version.as_str()),
    },
    Function {
        name: "analyzer",
        parameters: "",
        what: "Gives what the collector has counted of itself, as `/analyzer/json` does.",
        example: "var lost = analyzer().sFlowDatagramsDiscarded;\nif (lost > 0) logWarning('lost ' + lost + ' datagrams');",
        call: |script, call| match script.world.own.get() {
            Some(own) => call.give(&(own.analyzer)()),
            None => call.null(),
        },
    },
    Function {
        name: "agents",
        parameters: "[agents]",
        what: "Gives the agents by their addresses, as `/agents/json` does: all of them, or those of an array of addresses \
               and host names.",
        example: "var all = agents();\nfor (var agent in all) logInfo(agent + ' was seen ' + all[agent].lastSeen + ' ms ago');",
        call: |script, call| {
            let named = call.texts(0)?;
            let agents =
                if named.is_empty() { Some(Agents::All) } else { of_text(script, &call, &named.join(";"))? };
            let Some(agents) = agents else { return call.give(&Map::new().into()) };
            match ask(script, &call, Question::Agents(agents))? {
                Answer::Agents(agents) => call.give(&json::agents(&agents)),
                other => Err(mismatch(&call, &other)),
            }
        },
    },
    Function {
        name: "metrics",
        parameters: "[agent]",
        what: "Without an agent, gives the names of all metrics and how many milliseconds ago each was seen last. With \
               one, gives all its values, `{'2.1.load_one': 0.5}`, and `null` when it is not known.",
        example: "for (var name in metrics()) logFine(name);\nvar host = metrics('10.0.0.200');\n\
                  if (host) logInfo(host['2.1.host_name']);",
        call: |script, call| {
            if call.value(0).is_none() {
                return match ask(script, &call, Question::MetricNames)? {
                    Answer::MetricNames(names) => call.give(&json::ages(&names)),
                    other => Err(mismatch(&call, &other)),
                };
            }
            let Some(agents) = agents(script, &call)? else { return call.null() };
            match ask(script, &call, Question::AgentMetrics(agents.clone()))? {
                Answer::Metrics(metrics) if metrics.is_empty() && !are_known(script, &call, agents)? => {
                    call.null()
                }
                Answer::Metrics(metrics) => call.give(&json::flat(&metrics)),
                other => Err(mismatch(&call, &other)),
            }
        },
    },
    Function {
        name: "metric",
        parameters: "agent, metrics[, filter]",
        what: "Gives an array of one statistic for each metric, in their order, as `/metric/AGENT/METRICS/json` does. \
               `agent` is an address, a host name, several of them separated by `;`, or `ALL`, `LISTED`, `TOPOLOGY`, `EDGE`, \
               `CORE`. `metrics` is an array, or separated by commas; before each its aggregation may stand \
               (`avg:load_one`, `max` without one) and its data source (`2.1.load_one`). `filter` is an object of \
               attributes of the data source or its host, each with a pattern or an array of patterns of which one must \
               match. A metric that no data source has is there without `metricValue`, and so is every one where the agent \
               is not known, or no topology is defined where one is needed.",
        example: "var res = metric('ALL', 'avg:load_one,max:cpu_utilization', {os_name: ['linux']});\n\
                  if (res[0].metricN) logInfo('load ' + res[0].metricValue + ' of ' + res[0].metricN + ' hosts');",
        call: |script, call| {
            // Scripts of the field read the first statistic without asking whether there is an answer.
            let agents = agents(script, &call)?.unwrap_or(Agents::Named(Vec::new()));
            let metrics = listed(&call, MetricRef::list)?;
            let filter = filter(&call, 2)?;
            match ask(script, &call, Question::Metric { agents, metrics, filter })? {
                Answer::Statistics(found) => call.give(&found.iter().map(json::statistic).collect()),
                other => Err(mismatch(&call, &other)),
            }
        },
    },
    Function {
        name: "table",
        parameters: "agent, metrics[, filter]",
        what: "Gives an array of rows, one for each data source that has all of the metrics, as `/table/AGENT/METRICS/json` \
               does: a row is an array of `{agent, dataSource, metricName, metricValue, lastUpdate}`. `null:METRIC` may be \
               missing, its cell is then `null`; `sort:METRIC:-10` sorts and keeps the ten largest. Arguments are those of \
               `metric`. Gives `null` when the agent is not known, or no topology is defined where one is needed.",
        example: "var rows = table('ALL', 'ifname,sort:ifinoctets:-5', {ifoperstatus: ['up']});\n\
                  if (rows) rows.forEach(function(row) { logInfo(row[0].metricValue + ' ' + row[1].metricValue); });",
        call: |script, call| {
            let Some(agents) = agents(script, &call)? else { return call.null() };
            let columns = listed(&call, Column::list)?;
            let filter = filter(&call, 2)?;
            match ask(script, &call, Question::Table { agents: agents.clone(), columns, filter })? {
                Answer::Table(rows) if rows.is_empty() && !are_known(script, &call, agents)? => call.null(),
                Answer::Table(rows) => call.give(&rows.iter().map(|row| json::row(row)).collect()),
                other => Err(mismatch(&call, &other)),
            }
        },
    },
    Function {
        name: "dump",
        parameters: "agent, metrics[, filter]",
        what: "Gives the values of all data sources, as `/dump/AGENT/METRICS/json` does: an array of `{agent, dataSource, \
               metricName, metricValue, lastUpdate}`. `metrics` may be `ALL`, and `;` separates as commas do. Other \
               arguments and `null` are those of `table`.",
        example: "var ports = dump('ALL', 'ifindex;ifoperstatus');\nif (ports) logInfo(ports.length + ' values');",
        call: |script, call| {
            let Some(agents) = agents(script, &call)? else { return call.null() };
            let metrics = listed(&call, MetricRef::list_or_all)?;
            let filter = filter(&call, 2)?;
            match ask(script, &call, Question::Dump { agents: agents.clone(), metrics, filter })? {
                Answer::Metrics(found) if found.is_empty() && !are_known(script, &call, agents)? => {
                    call.null()
                }
                Answer::Metrics(found) => call.give(&found.iter().map(json::metric).collect()),
                other => Err(mismatch(&call, &other)),
            }
        },
    },
    Function {
        name: "flowKeys",
        parameters: "",
        what: "Gives the keys that recent packets had, and how many milliseconds ago each was seen last.",
        example: "if ('vni' in flowKeys()) logInfo('there are overlays');",
        call: |script, call| match ask(script, &call, Question::FlowKeys)? {
            Answer::FlowKeys(keys) => call.give(&json::ages(&keys)),
            other => Err(mismatch(&call, &other)),
        },
    },
    Function {
        name: "activeFlows",
        parameters: "agent, name[, maxFlows[, minValue[, aggMode]]]",
        what: "Gives the largest flows of a definition, largest first, as `/activeflows/AGENT/NAME/json` does: an array of \
               `{agent, dataSource, key, value}`, 100 of them without `maxFlows`; values are per second. `aggMode` is \
               `max`, which is the default, `sum`, `edge` or `core`. The array is empty when there is no such flow, or no \
               topology where one is needed.",
        example: "setFlow('pairs', {keys: 'ipsource,ipdestination', value: 'bytes'});\n\
                  activeFlows('ALL', 'pairs', 10, 1000, 'max').forEach(function(flow) {\n  \
                  logInfo(flow.key + ' ' + 8 * flow.value + ' bit/s');\n});",
        call: |script, call| {
            let (agent, name) = (agents_text(&call)?, call.text(1)?);
            let most = call.optional_number(2)?.unwrap_or(wording::MOST_FLOWS);
            let least = call.optional_number(3)?.unwrap_or(0.0);
            let mode = call.optional_text(4)?;
            let program = script.world.engine.program();
            flows(script, &call, program.active_flows(&agent, &name, most, least, mode.as_deref()))
        },
    },
    Function {
        name: "flowValue",
        parameters: "agent, name[, key]",
        what: "Gives the value of one flow, per second, at the data source that has most of it; `name` is \
               `DATASOURCE.FLOW`, or the flow alone for all data sources. Without `key`, gives that of the largest flow. \
               0 where there is no such flow now, and `null` when none is defined by this name.",
        example: "setFlow('tcp', {keys: 'ipsource', value: 'bytes'});\nvar rate = flowValue('ALL', '22.tcp', '10.0.0.1');\n\
                  if (rate > 1e6) logWarning('10.0.0.1 sends ' + rate);",
        call: |script, call| {
            let (agent, name, key) = (agents_text(&call)?, call.text(1)?, call.optional_text(2)?);
            let program = script.world.engine.program();
            let question = match program.flow_value(&agent, &name, key.as_deref()) {
                Err(SelectError::NoFlow) => return call.null(),
                Err(SelectError::NeedsTopology(_)) => return call.give_plain(0),
                question => question.map_err(|error| call.fail(error))?,
            };
            match ask(script, &call, question)? {
                Answer::FlowValue(value) => call.give_plain(value.unwrap_or(0.0)),
                other => Err(mismatch(&call, &other)),
            }
        },
    },
    Function {
        name: "flowLocations",
        parameters: "agent, name, key",
        what: "Gives every data source that sees a flow, where it is largest first: an array of `{agent, dataSource, key, \
               value}`, empty when none does.",
        example: "setFlow('tcp', {keys: 'ipsource', value: 'bytes'});\n\
                  flowLocations('ALL', 'tcp', '10.0.0.1').forEach(function(at) { logInfo(at.agent + ' ' + at.dataSource); });",
        call: |script, call| {
            let (agent, name, key) = (agents_text(&call)?, call.text(1)?, call.text(2)?);
            let program = script.world.engine.program();
            flows(script, &call, program.flow_locations(&agent, &name, &key))
        },
    },
    Function {
        name: "ifName",
        parameters: "agent, dataSource",
        what: "Gives the name of an interface, as the agent or the topology tells it; `null` where nobody does.",
        example: "logInfo('3 is ' + ifName('10.0.0.254', 3));",
        call: |script, call| {
            let (agent, source) = (call.text(0)?, call.text(1)?);
            let Ok(metric) = format!("{source}.ifname").parse::<MetricRef>() else { return call.null() };
            let Some(agents) = of_text(script, &call, &agent)? else { return call.null() };
            let question = Question::Dump { agents, metrics: vec![metric], filter: Filter::default() };
            let Answer::Metrics(found) = ask(script, &call, question)? else { return call.null() };
            let program = script.world.engine.program();
            match (found.first(), agent.parse().ok(), source.parse().ok()) {
                (Some(name), ..) => call.give(&json::value(&name.value)),
                (None, Some(agent), Some(ifindex)) => {
                    let agent: std::net::IpAddr = agent;
                    // A port that nobody has named has its number for a name.
                    let port = program.topology.port_of(Address::from(agent), ifindex);
                    let port = port.map(|(_, port)| port.to_string()).filter(|port| *port != source);
                    call.give_plain(port)
                }
                _ => call.null(),
            }
        },
    },
    Function {
        name: "agentForName",
        parameters: "name",
        what: "Gives the address of the agent that has this host name, or that is a node of this name in the topology; \
               `null` when there is none.",
        example: "var agent = agentForName('leaf1');\nif (agent) logInfo('leaf1 is ' + agent);",
        call: |script, call| {
            let name = call.text(0)?;
            let agents = Agents::Named(vec![name.clone()]);
            let Answer::Agents(found) = ask(script, &call, Question::Agents(agents))? else {
                return call.null();
            };
            let node = || script.world.engine.program().topology.agent_of(&name);
            let agent = found.first().map(|found| found.agent).or_else(node);
            call.give_plain(agent.map(|agent| agent.to_string()))
        },
    },
    Function {
        name: "datasourceInfo",
        parameters: "agent, dataSource",
        what: "Tells how a data source is measured: `{agent, dataSource, samplingRate, effectiveSamplingRate, \
               samplingRateMeasured, flowSamples, flowSamplesLost, flowDrops, counterSamples, counterSamplesLost, \
               discardedPackets, effectivePollingInterval, lastSeen}`. Rates are one in so many packets; the effective one \
               is measured by the sample pool where `samplingRateMeasured` says so. Times are milliseconds. What it has \
               not sent is missing. `null` when it is not known.",
        example: "var info = datasourceInfo('10.0.0.254', '4');\n\
                  if (info) logInfo('1 in ' + info.effectiveSamplingRate + ', counters every ' + info.effectivePollingInterval + ' ms');",
        call: |script, call| {
            let Some(agents) = agents(script, &call)? else { return call.null() };
            let Ok(source) = call.text(1)?.parse::<DataSource>() else { return call.null() };
            match ask(script, &call, Question::Sources { agents, source: Some(source) })? {
                Answer::Sources(found) => match found.first() {
                    Some(found) => call.give(&json::source(found)),
                    None => call.null(),
                },
                other => Err(mismatch(&call, &other)),
            }
        },
    },
    Function {
        name: "thresholdTriggered",
        parameters: "threshold, agent, metric[, flowKey]",
        what: "Tells whether a threshold is still triggered: whether the metric is above it, or has not been below for the \
               threshold's `timeout`. The arguments are what an event tells: `evt.thresholdID`, `evt.agent`, \
               `evt.dataSource + '.' + evt.metric`, and for a threshold with `byFlow` `evt.flowKey`. `false` when no such \
               threshold is defined.",
        example: "setThreshold('busy', {metric: 'ifinutilization', value: 80, timeout: 10});\n\
                  setEventHandler(function(evt) {\n  setTimeout(function() {\n    \
                  var still = thresholdTriggered(evt.thresholdID, evt.agent, evt.dataSource + '.' + evt.metric, evt.flowKey);\n    \
                  logInfo(evt.agent + (still ? ' is still busy' : ' is busy no more'));\n  }, 60000);\n}, ['busy']);",
        call: |script, call| {
            let (threshold, agent, metric) = (call.text(0)?, call.text(1)?, call.text(2)?);
            let flow_key = call.optional_text(3)?;
            let Some(agents) = of_text(script, &call, &agent)? else { return call.give_plain(false) };
            match ask(script, &call, Question::Triggered { agents, threshold, metric, flow_key })? {
                Answer::Triggered(triggered) => call.give_plain(triggered),
                other => Err(mismatch(&call, &other)),
            }
        },
    },
];

fn ask(script: &Rc<Script>, call: &Call<'_>, question: Question) -> rquickjs::Result<Answer> {
    script.world.engine.ask(question).map_err(|error| call.fail(error))
}

/// The engine answered another question, which it never does.
fn mismatch(call: &Call<'_>, answer: &Answer) -> rquickjs::Error {
    call.fail(format!("the answer is to another question: {answer:?}"))
}

/// What the first argument says of agents: a text, or an array of addresses and names.
fn agents_text(call: &Call<'_>) -> rquickjs::Result<String> {
    match call.value(0) {
        Some(value) if value.is_array() => Ok(call.texts(0)?.join(";")),
        _ => call.text(0),
    }
}

/// The agents that the first argument means; `None` when that needs a topology and there is none.
fn agents(script: &Rc<Script>, call: &Call<'_>) -> rquickjs::Result<Option<Agents>> {
    of_text(script, call, &agents_text(call)?)
}

fn of_text(script: &Rc<Script>, call: &Call<'_>, text: &str) -> rquickjs::Result<Option<Agents>> {
    match script.world.engine.program().agents(text) {
        Ok(agents) => Ok(Some(agents)),
        Err(SelectError::NeedsTopology(_)) => Ok(None),
        Err(error) => Err(call.fail(error)),
    }
}

/// Whether one of these agents is known, where they are named; all others are.
fn are_known(script: &Rc<Script>, call: &Call<'_>, agents: Agents) -> rquickjs::Result<bool> {
    if !matches!(agents, Agents::Named(_)) {
        return Ok(true);
    }
    let answer = ask(script, call, Question::Agents(agents))?;
    Ok(matches!(answer, Answer::Agents(known) if !known.is_empty()))
}

/// The metrics or columns that the second argument lists.
fn listed<T>(call: &Call<'_>, read: impl Fn(&str) -> Result<T, SelectError>) -> rquickjs::Result<T> {
    if call.value(1).is_none() {
        // It says that the argument is missing.
        call.text(1)?;
    }
    read(&call.texts(1)?.join(",")).map_err(|error| call.fail(error))
}

fn filter(call: &Call<'_>, at: usize) -> rquickjs::Result<Filter> {
    match call.optional_json(at)? {
        None => Ok(Filter::default()),
        Some(Json::Object(conditions)) => Filter::from_json(&conditions).map_err(|error| call.fail(error)),
        Some(_) => Err(call.wrong(at, "must be an object of patterns by attribute")),
    }
}

/// Flows, or none where there is no such definition or topology.
fn flows<'js>(
    script: &Rc<Script>,
    call: &Call<'js>,
    question: Result<Question, SelectError>,
) -> rquickjs::Result<Value<'js>> {
    let question = match question {
        Err(SelectError::NoFlow | SelectError::NeedsTopology(_)) => {
            return call.give(&Json::Array(Vec::new()));
        }
        question => question.map_err(|error| call.fail(error))?,
    };
    match ask(script, call, question)? {
        Answer::Flows(flows) => call.give(&flows.iter().map(json::flow).collect()),
        other => Err(mismatch(call, &other)),
    }
}
