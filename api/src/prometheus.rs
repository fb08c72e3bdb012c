//! Answers as Prometheus reads them (text format 0.0.4). Values are rates already.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use engine::Status;
use tables::metric::MetricValue;
use tables::question::{Metric, Owner};

use crate::escape::is_hidden;
use crate::process::Reading;
use crate::serve::HttpCounters;

/// A name of letters, digits and underscores.
fn name(metric: &str) -> String {
    let plain = metric.rsplit(':').next().unwrap_or(metric);
    let plain = plain.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    format!("sflow_{}", plain.replace(|c: char| !c.is_ascii_alphanumeric(), "_"))
}

/// A label's value in quotes. The format escapes newlines alone; what else would move a cursor is written by its
/// number.
fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            hidden if is_hidden(hidden) => {
                let _ = write!(out, "\\\\u{{{:x}}}", u32::from(hidden));
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}

/// The metrics whose texts become labels: of hosts, interfaces and containers. The latter have the label that says what
/// runs them beside their name.
pub(crate) const NAMES: [(&str, &str); 6] = [
    ("host_name", "host"),
    ("ifname", "ifname"),
    ("vir_host_name", "vir_host"),
    ("swarm_name", "swarm_name"),
    ("k8s_name", "k8s_name"),
    ("k8s_namespace", "k8s_namespace"),
];

/// Labels of data sources, and of the agents' hosts.
#[derive(Default)]
struct Labels<'n> {
    hosts: BTreeMap<&'n Owner, String>,
    sources: BTreeMap<&'n Owner, Vec<(&'static str, String)>>,
}

impl<'n> Labels<'n> {
    fn new(names: &'n [Metric]) -> Self {
        let mut labels = Self::default();
        for known in names {
            let MetricValue::Text(text) = &known.value else { continue };
            let Some((_, label)) = NAMES.iter().find(|(metric, _)| *metric == known.name) else { continue };
            if *label == "host" {
                labels.hosts.insert(&known.owner, quoted(text));
            } else {
                labels.sources.entry(&known.owner).or_default().push((label, quoted(text)));
            }
        }
        labels
    }

    /// The name of the agent's host: that of its lowest data source that has one.
    fn host(&self, owner: &Owner) -> Option<&String> {
        let from = |known: &&Owner| known.agent == owner.agent;
        self.hosts.iter().find(|(known, _)| from(known)).map(|(_, host)| host)
    }
}

/// The numbers among `metrics`; `names` holds host, interface and container names, and `node` is the host's where it says none.
/// Metrics that are flows are left out.
pub(crate) fn metrics(
    metrics: &[Metric],
    names: &[Metric],
    is_flow: impl Fn(&str) -> bool,
    node: impl Fn(&Owner) -> Option<String>,
) -> String {
    let labels = Labels::new(names);
    let mut by_name: BTreeMap<String, String> = BTreeMap::new();
    let mut hosts = BTreeMap::new();
    for metric in metrics {
        let MetricValue::Number(number) = metric.value else { continue };
        if !metric.top_keys.is_empty() || is_flow(&metric.name) {
            continue;
        }
        let name = name(&metric.name);
        let lines = by_name.entry(name.clone()).or_default();
        // A custom metric's data source is a text of its sender.
        let source = quoted(&metric.owner.source.to_string());
        let _ = write!(lines, "{name}{{agent=\"{}\",datasource={source}", metric.owner.agent);
        let told = *hosts.entry(metric.owner.agent).or_insert_with(|| labels.host(&metric.owner));
        if let Some(host) = told.cloned().or_else(|| Some(quoted(&node(&metric.owner)?))) {
            let _ = write!(lines, ",host={host}");
        }
        for (label, value) in labels.sources.get(&metric.owner).into_iter().flatten() {
            let _ = write!(lines, ",{label}={value}");
        }
        let _ = writeln!(lines, "}} {number}");
    }
    by_name.into_values().collect()
}

/// What the collector has counted, under the names that dashboards of the field know, and some more.
pub(crate) fn analyzer(status: &Status, http: &HttpCounters, process: &Reading) -> String {
    let counters = &status.counters;
    let mut out = String::new();
    let mut line = |name: &str, labels: &str, number: f64| {
        let _ = writeln!(out, "sflow_analyzer_{name}{labels} {number}");
    };
    let mut count = |name: &str, number: u64| line(name, "", number as f64);
    count("agents", status.agents);
    count("agent_count", status.agents);
    count("received_datagrams", counters.datagrams);
    count("received_bytes", counters.bytes);
    count("duplicate_datagrams", counters.duplicates);
    count("live_flows", status.flows);
    count("evicted_flows", status.flows_evicted);
    count("generated_flows", status.told.records_generated);
    count("lost_flows", status.told.records_lost);
    count("generated_events", status.told.events_generated);
    count("lost_events", status.told.events_lost);
    count("evicted_agents", counters.agents_evicted);
    count("http_connections", http.current.load(Relaxed) as u64);
    count("http_requests", http.messages.load(Relaxed));
    for (name, number) in [
        ("discarded_datagrams", status.kernel_drops),
        ("heap_used_bytes", process.resident),
        ("heap_max_bytes", process.may_use),
        ("threads", process.threads),
    ] {
        number.into_iter().for_each(|number| count(name, number));
    }
    for (name, number) in
        [("cpu_load_process", process.load_process), ("cpu_load_system", process.load_system)]
    {
        number.into_iter().for_each(|number| line(name, "", number));
    }
    for (reason, number) in counters.datagram_errors() {
        line("datagram_errors", &format!("{{reason=\"{reason}\"}}"), number as f64);
    }
    for (reason, number) in counters.sample_errors() {
        line("sample_errors", &format!("{{reason=\"{reason}\"}}"), number as f64);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_what_prometheus_takes() {
        assert_eq!(name("avg:2.1.load_one"), "sflow_load_one");
        assert_eq!(name("http.x-y"), "sflow_http_x_y");
        assert_eq!(quoted("a\"b\\c\nd"), "\"a\\\"b\\\\c\\nd\"");
        assert_eq!(quoted("\u{1b}[31m\ré"), "\"\\\\u{1b}[31m\\\\u{d}é\"");
    }
}
