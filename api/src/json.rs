//! The JSON shapes of answers.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use engine::interface::Reached;
use engine::{LoggedEvent, LoggedFlow, Status};
use serde_json::{Map, Value as Json, json};
use tables::agent::AgentSummary;
use tables::flow::plan::ActiveFlow;
use tables::metric::MetricValue;
use tables::question::{Metric, Owner, Source, Statistic};

use crate::process::Reading;
use crate::serve::HttpCounters;

/// Numbers that are whole are shown whole.
pub(crate) fn value(value: &MetricValue) -> Json {
    match value {
        MetricValue::Text(text) => Json::from(&**text),
        MetricValue::Number(number) => self::number(*number),
    }
}

pub(crate) fn number(number: f64) -> Json {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT { Json::from(number as i64) } else { Json::from(number) }
}

fn numbers(values: &[f64]) -> Json {
    values.iter().map(|value| number(*value)).collect()
}

fn ms(us: u64) -> Json {
    Json::from(us / 1000)
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Names and how long ago they were seen.
pub(crate) fn ages(ages_us: &BTreeMap<String, u64>) -> Json {
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
pub(crate) fn flat(metrics: &[Metric]) -> Json {
    let name = |metric: &Metric| match &metric.owner.source {
        Source::Agent => metric.name.clone(),
        source => format!("{source}.{}", metric.name),
    };
    metrics.iter().map(|metric| (name(metric), value(&metric.value))).collect::<Map<_, _>>().into()
}

pub(crate) fn metric(metric: &Metric) -> Json {
    let mut object = of(&metric.owner);
    object.insert("metricName".into(), metric.name.clone().into());
    object.insert("metricValue".into(), value(&metric.value));
    object.insert("lastUpdate".into(), ms(metric.age_us));
    top_keys(&mut object, &metric.top_keys);
    object.into()
}

/// A row of a table: a cell that may be missing, and is, is null.
pub(crate) fn row(row: &[Option<Metric>]) -> Json {
    row.iter().map(|cell| cell.as_ref().map_or(Json::Null, metric)).collect()
}

pub(crate) fn statistic(statistic: &Statistic) -> Json {
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

pub(crate) fn flow(flow: &ActiveFlow) -> Json {
    let mut object = of(&flow.owner);
    object.insert("key".into(), flow.key.clone().into());
    object.insert("value".into(), number(flow.value));
    if !flow.values.is_empty() {
        object.insert("values".into(), numbers(&flow.values));
    }
    object.into()
}

pub(crate) fn record(record: &LoggedFlow) -> Json {
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

pub(crate) fn event(logged: &LoggedEvent) -> Json {
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
            "sFlowForeignDatagrams": agent.foreign,
            "listed": agent.listed,
            "trusted": agent.trusted,
        })
    };
    agents.iter().map(|agent| (agent.agent.to_string(), one(agent))).collect::<Map<_, _>>().into()
}

/// Datagrams and samples that could not be read, those of another version aside.
pub(crate) fn errors(status: &Status) -> u64 {
    let [truncated, _, address] = status.counters.datagram_errors;
    truncated + address + status.counters.sample_errors.iter().sum::<u64>()
}

/// How datagrams come in.
fn ingest(status: &Status) -> Json {
    let Reached { interface, mode, queues: _, huge_pages, multi_buffer, busy_poll, why, gone } =
        &status.reached;
    let queues = status.workers.iter().flat_map(|worker| {
        worker.queues.iter().map(|queue| {
            json!({
                "queue": queue.queue,
                "worker": worker.worker,
                "bound": queue.bound,
                "frames": queue.frames,
                "fillLevel": queue.fill_level,
                "receiveLevel": queue.receive_level,
                "framesLent": queue.frames_lent,
                "framesFree": queue.frames_free,
                "rxDropped": queue.rx_dropped,
                "rxRingFull": queue.rx_ring_full,
                "rxFillRingEmptyDescs": queue.rx_fill_ring_empty_descs,
                "rxInvalidDescs": queue.rx_invalid_descs,
                "checksumWrong": queue.checksum_wrong,
                "checksumPartial": queue.checksum_partial,
                "malformed": queue.malformed,
                "gathered": queue.gathered,
            })
        })
    });
    let mut object = json!({
        "mode": status.reached.label(),
        "queues": queues.collect::<Vec<_>>(),
        "why": why,
    });
    if let Some(interface) = interface {
        object["interface"] = interface.as_str().into();
    }
    if mode.is_some() {
        let frames =
            status.verdicts.iter().map(|(verdict, frames)| ((*verdict).to_owned(), (*frames).into()));
        object["hugePages"] = (*huge_pages).into();
        object["multiBuffer"] = (*multi_buffer).into();
        object["busyPoll"] = (*busy_poll).into();
        object["gone"] = (*gone).into();
        object["frames"] = frames.collect::<Map<_, _>>().into();
    }
    object
}

pub(crate) fn analyzer(version: &str, status: &Status, http: &HttpCounters, process: &Reading) -> Json {
    let counters = &status.counters;
    let [_, unsupported, _] = counters.datagram_errors;
    let mut object = json!({
        "version": version,
        "uptime": millis(status.uptime),
        "sFlowAgents": status.agents,
        "sFlowDatagramsReceived": counters.datagrams,
        "sFlowBytesReceived": counters.bytes,
        "sFlowDatagramsDiscarded": status.kernel_drops,
        "sFlowParseErrors": errors(status),
        "sFlowUnsupportedVersion": unsupported,
        "flowsGenerated": status.told.records_generated,
        "flowsLost": status.told.records_lost,
        "eventsGenerated": status.told.events_generated,
        "eventsLost": status.told.events_lost,
        "httpConnectionsCurrent": http.current.load(Relaxed),
        "httpConnectionsTotal": http.total.load(Relaxed),
        "httpBytesSent": http.sent.load(Relaxed),
        "httpBytesReceived": http.received.load(Relaxed),
        "httpMessagesReceived": http.messages.load(Relaxed),
        "availableProcessors": std::thread::available_parallelism().map_or(1, usize::from),
        "cpuLoadProcess": process.load_process,
        "cpuLoadSystem": process.load_system,
        "cpuTime": process.cpu_ms,
        "heapUsed": process.resident,
        "heapMax": process.may_use,
        "memTotal": process.memory_total,
        "memFree": process.memory_free,
        "threadCount": process.threads,
        "threadDaemonCount": process.threads.map(|threads| threads.saturating_sub(1)),
        "gcTime": 0,
        "gcCount": 0,
        "ingest": ingest(status),
    });
    // What this machine does not tell is left out.
    if let Some(object) = object.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    object
}
