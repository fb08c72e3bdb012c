//! The JSON shapes of answers.

use engine::Status;
use serde_json::{Map, Value as Json, json};
use tables::agent::AgentSummary;
use tables::flow::plan::ActiveFlow;
use tables::metric::MetricValue;
use tables::question::{Metric, Owner, Statistic};

/// Numbers that are whole are shown whole.
pub(crate) fn value(value: &MetricValue) -> Json {
    match value {
        MetricValue::Text(text) => Json::from(&**text),
        MetricValue::Number(number) => self::number(*number),
    }
}

fn number(number: f64) -> Json {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT { Json::from(number as i64) } else { Json::from(number) }
}

fn ms(us: u64) -> Json {
    Json::from(us / 1000)
}

pub(crate) fn metric(metric: &Metric) -> Json {
    json!({
        "agent": metric.owner.agent.to_string(),
        "dataSource": metric.owner.source.to_string(),
        "metricName": metric.name,
        "metricValue": value(&metric.value),
        "lastUpdate": ms(metric.age_us),
    })
}

pub(crate) fn statistic(statistic: &Statistic) -> Json {
    let mut object = Map::new();
    if let Some(Owner { agent, source }) = &statistic.owner {
        object.insert("agent".into(), agent.to_string().into());
        object.insert("dataSource".into(), source.to_string().into());
    }
    object.insert("metricName".into(), statistic.name.clone().into());
    if let Some(found) = &statistic.value {
        object.insert("metricValue".into(), value(found));
    }
    object.insert("metricN".into(), statistic.n.into());
    for (name, age) in [
        ("lastUpdate", statistic.age_us),
        ("lastUpdateMin", statistic.youngest_us),
        ("lastUpdateMax", statistic.oldest_us),
    ] {
        if let Some(age) = age {
            object.insert(name.into(), ms(age));
        }
    }
    if let Some([min, q1, med, q3, max]) = statistic.quartiles.map(|quartiles| quartiles.map(number)) {
        object.insert("quartiles".into(), json!({ "min": min, "q1": q1, "med": med, "q3": q3, "max": max }));
    }
    object.into()
}

pub(crate) fn flow(flow: &ActiveFlow) -> Json {
    json!({
        "agent": flow.owner.agent.to_string(),
        "dataSource": flow.owner.source.to_string(),
        "key": flow.key,
        "value": number(flow.value),
    })
}

pub(crate) fn agents(agents: &[AgentSummary]) -> Json {
    let one = |agent: &AgentSummary| {
        let (counters, flows) = (&agent.counter_samples, &agent.flow_samples);
        json!({
            "sFlowDatagramSource": agent.senders.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "firstSeen": ms(agent.first_seen_us),
            "lastSeen": ms(agent.last_seen_us),
            "uptime": agent.uptime_ms,
            "sFlowDatagramsReceived": agent.datagrams.received,
            "sFlowDatagramsLost": agent.datagrams.lost,
            "sFlowDatagramsDuplicates": agent.datagrams.duplicates,
            "sFlowDatagramsOutOfOrder": agent.datagrams.out_of_order,
            "sFlowCounterDatasources": agent.counter_sources,
            "sFlowCounterSamples": counters.received,
            "sFlowCounterLostSamples": counters.lost,
            "sFlowCounterDuplicateSamples": counters.duplicates,
            "sFlowCounterOutOfOrderSamples": counters.out_of_order,
            "sFlowFlowDatasources": agent.flow_sources,
            "sFlowFlowSamples": flows.received,
            "sFlowFlowLostSamples": flows.lost,
            "sFlowFlowDuplicateSamples": flows.duplicates,
            "sFlowFlowOutOfOrderSamples": flows.out_of_order,
            "sFlowFlowDrops": agent.flow_drops,
        })
    };
    agents.iter().map(|agent| (agent.agent.to_string(), one(agent))).collect::<Map<_, _>>().into()
}

pub(crate) fn analyzer(version: &str, status: &Status) -> Json {
    let counters = &status.counters;
    let [truncated, unsupported, address] = counters.datagram_errors;
    json!({
        "version": version,
        "uptime": u64::try_from(status.uptime.as_millis()).unwrap_or(u64::MAX),
        "sFlowAgents": status.agents,
        "sFlowDatagramsReceived": counters.datagrams,
        "sFlowBytesReceived": counters.bytes,
        "sFlowDatagramsDiscarded": status.kernel_drops,
        "sFlowParseErrors": truncated + address + counters.sample_errors.iter().sum::<u64>(),
        "sFlowUnsupportedVersion": unsupported,
        "availableProcessors": std::thread::available_parallelism().map_or(1, usize::from),
    })
}
