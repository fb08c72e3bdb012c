//! The JSON shapes of answers: what clients of REST and scripts read. Ages are milliseconds, values per second; texts
//! are as they came from the network.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value as Json, json};
use tables::Program;
use tables::agent::AgentSummary;
use tables::flow::plan::ActiveFlow;
use tables::metric::MetricValue;
use tables::question::{Metric, Owner, Source, SourceSummary, Statistic};
use tables::topology::Place;

use crate::{LoggedEvent, LoggedFlow};

/// The value of a metric.
pub fn value(value: &MetricValue) -> Json {
    match value {
        MetricValue::Text(text) => Json::from(&**text),
        MetricValue::Number(number) => self::number(*number),
    }
}

/// A number; one that is whole is shown whole.
pub fn number(number: f64) -> Json {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT { Json::from(number as i64) } else { Json::from(number) }
}

fn numbers(values: &[f64]) -> Json {
    values.iter().map(|value| number(*value)).collect()
}

fn ms(us: u64) -> Json {
    Json::from(us / 1000)
}

/// Names and how long ago they were seen.
pub fn ages(ages_us: &BTreeMap<String, u64>) -> Json {
    ages_us.iter().map(|(name, age)| (name.clone(), ms(*age))).collect::<Map<_, _>>().into()
}

/// `agent` and `dataSource`; the latter only where the value is that of a data source.
fn of(owner: &Owner) -> Map<String, Json> {
    let mut object = Map::new();
    object.insert("agent".into(), owner.agent.to_string().into());
    if owner.source != Source::Agent {
        object.insert("dataSource".into(), owner.source.to_string().into());
    }
    object
}

/// The largest flows of a metric, where it is that of flows.
fn top_keys(object: &mut Map<String, Json>, keys: &[(String, f64)]) {
    if !keys.is_empty() {
        let keys = keys.iter().map(|(key, value)| json!({ "key": key, "value": number(*value) }));
        object.insert("topKeys".into(), keys.collect());
    }
}

/// `"<data source>.<metric>": value`.
pub fn flat(metrics: &[Metric]) -> Json {
    let name = |metric: &Metric| match &metric.owner.source {
        Source::Agent => metric.name.clone(),
        source => format!("{source}.{}", metric.name),
    };
    metrics.iter().map(|metric| (name(metric), value(&metric.value))).collect::<Map<_, _>>().into()
}

/// One value of one data source.
pub fn metric(metric: &Metric) -> Json {
    let mut object = of(&metric.owner);
    object.insert("metricName".into(), metric.name.clone().into());
    object.insert("metricValue".into(), value(&metric.value));
    object.insert("lastUpdate".into(), ms(metric.age_us));
    top_keys(&mut object, &metric.top_keys);
    object.into()
}

/// A row of a table: a cell that may be missing, and is, is null.
pub fn row(row: &[Option<Metric>]) -> Json {
    row.iter().map(|cell| cell.as_ref().map_or(Json::Null, metric)).collect()
}

/// One value made of many; `metricValue` is missing where no data source has one.
pub fn statistic(statistic: &Statistic) -> Json {
    let mut object = statistic.owner.as_ref().map(of).unwrap_or_default();
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
    top_keys(&mut object, &statistic.top_keys);
    object.into()
}

/// An active flow.
pub fn flow(flow: &ActiveFlow) -> Json {
    let mut object = of(&flow.owner);
    object.insert("key".into(), flow.key.clone().into());
    object.insert("value".into(), number(flow.value));
    if !flow.values.is_empty() {
        object.insert("values".into(), numbers(&flow.values));
    }
    object.into()
}

/// A record of the flow log.
pub fn record(record: &LoggedFlow) -> Json {
    let mut object = of(&record.owner);
    object.insert("flowID".into(), record.id.into());
    object.insert("name".into(), (*record.name).into());
    object.insert("flowKeys".into(), record.keys.clone().into());
    object.insert("value".into(), number(record.value));
    object.insert("start".into(), record.start_ms.into());
    object.insert("end".into(), record.end_ms.into());
    if !record.values.is_empty() {
        object.insert("values".into(), numbers(&record.values));
    }
    object.into()
}

/// A threshold event.
pub fn event(logged: &LoggedEvent) -> Json {
    let event = &logged.event;
    let mut object = of(&event.owner);
    object.insert("eventID".into(), logged.id.into());
    object.insert("timestamp".into(), logged.at_ms.into());
    object.insert("thresholdID".into(), (*event.threshold).into());
    object.insert("metric".into(), event.metric.clone().into());
    object.insert("threshold".into(), number(event.limit));
    object.insert("value".into(), number(event.value));
    if let Some(key) = &event.flow_key {
        object.insert("flowKey".into(), key.clone().into());
    }
    if !event.values.is_empty() {
        object.insert("values".into(), numbers(&event.values));
    }
    object.into()
}

/// Agents by their addresses.
pub fn agents(agents: &[AgentSummary]) -> Json {
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
            "sFlowForeignDatagrams": agent.foreign,
            "listed": agent.listed,
            "trusted": agent.trusted,
        })
    };
    agents.iter().map(|agent| (agent.agent.to_string(), one(agent))).collect::<Map<_, _>>().into()
}

/// How a data source is measured. Rates are "one in so many packets"; the effective one is what the sample pool tells where
/// `samplingRateMeasured` says so, else the configured one. What it has not sent is left out.
pub fn source(source: &SourceSummary) -> Json {
    let (flows, counters, discarded) = (&source.flow_samples, &source.counter_samples, &source.discarded);
    let mut object = json!({
        "agent": source.owner.agent.to_string(),
        "dataSource": source.owner.source.to_string(),
        "flowSamples": flows.received,
        "flowSamplesLost": flows.lost,
        "flowDrops": source.flow_drops,
        "counterSamples": counters.received,
        "counterSamplesLost": counters.lost,
        "discardedPackets": discarded.received,
        "lastSeen": ms(source.last_seen_us),
    });
    if let Some(rate) = source.sampling_rate {
        object["samplingRate"] = rate.into();
        object["effectiveSamplingRate"] = number(source.measured_rate.unwrap_or_else(|| f64::from(rate)));
        object["samplingRateMeasured"] = source.measured_rate.is_some().into();
    }
    if let Some(interval_us) = source.polling_interval_us {
        object["effectivePollingInterval"] = ms(interval_us);
    }
    object
}

/// IP addresses of a host that are listed, at most.
const MOST_ADDRESSES: usize = 16;

/// A host: where it is attached and which addresses it has, see `Program::located`.
pub fn host(program: &Program, place: &Place, now_us: u64) -> Json {
    let at = &place.location;
    let mut addresses: Vec<IpAddr> = program.located.addresses_of(at).take(MOST_ADDRESSES).collect();
    if let Some(asked) = at.address {
        addresses.retain(|address| *address != asked);
        addresses.insert(0, asked);
    }
    // Upper case, as keys of flows show them.
    let shown = |address: &IpAddr| address.to_string().to_ascii_uppercase();
    let mut object = json!({
        "mac": at.mac.to_string(),
        "agent": at.agent.to_string(),
        "ifindex": at.ifindex.to_string(),
        "addresses": addresses.iter().map(shown).collect::<Vec<_>>(),
        "lastSeen": now_us.saturating_sub(place.seen_us) / 1000,
    });
    let port = program.topology.port_of(at.agent, at.ifindex);
    let vendors = program.lookups.references.oui.as_ref();
    let first = |v4: bool| addresses.iter().find(|address| address.is_ipv4() == v4).map(shown);
    for (name, value) in [
        ("node", port.as_ref().map(|(node, _)| node.to_string())),
        ("port", port.as_ref().map(|(_, port)| port.to_string())),
        ("ouiname", vendors.and_then(|vendors| vendors.name(at.mac)).map(str::to_owned)),
        ("ipaddress", first(true)),
        ("ip6address", first(false)),
    ] {
        if let Some(value) = value {
            object[name] = value.into();
        }
    }
    if let Some(vlan) = place.vlan {
        object["vlan"] = vlan.into();
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use tables::question::{Address, DataSource};
    use tables::sequence::Sequence;

    #[test]
    fn a_data_source_shows_what_it_has_sent_and_what_was_measured() {
        let owner = Owner {
            agent: Address::V4([10, 0, 0, 1].into()),
            source: Source::Of(DataSource { class: 0, index: 7 }),
        };
        let counted = |received, lost| {
            let mut sequence = Sequence::default();
            (sequence.received, sequence.lost) = (received, lost);
            sequence
        };
        let silent = SourceSummary {
            owner,
            sampling_rate: None,
            measured_rate: None,
            flow_samples: Sequence::default(),
            flow_drops: 0,
            counter_samples: counted(3, 1),
            discarded: counted(2, 0),
            polling_interval_us: Some(20_000_500),
            last_seen_us: 1_500_000,
        };
        assert_eq!(
            source(&silent),
            json!({"agent": "10.0.0.1", "dataSource": "7", "flowSamples": 0, "flowSamplesLost": 0, "flowDrops": 0,
                "counterSamples": 3, "counterSamplesLost": 1, "discardedPackets": 2, "lastSeen": 1500,
                "effectivePollingInterval": 20_000})
        );
        let mut sampled = SourceSummary {
            sampling_rate: Some(400),
            flow_samples: counted(120, 30),
            flow_drops: 4,
            polling_interval_us: None,
            ..silent
        };
        let shown = source(&sampled);
        let rates = ["samplingRate", "effectiveSamplingRate", "samplingRateMeasured"];
        assert_eq!(rates.map(|name| shown[name].clone()), [json!(400), json!(400), json!(false)]);
        assert_eq!((&shown["flowSamplesLost"], &shown["flowDrops"]), (&json!(30), &json!(4)));
        assert!(shown.get("effectivePollingInterval").is_none());
        sampled.measured_rate = Some(500.5);
        let shown = source(&sampled);
        assert_eq!(rates.map(|name| shown[name].clone()), [json!(400), json!(500.5), json!(true)]);
    }
}
