//! Answers as Prometheus reads them (text format 0.0.4). Values are rates already.

use std::collections::BTreeMap;
use std::fmt::Write;

use engine::Status;
use tables::metric::MetricValue;
use tables::question::Metric;

/// A name of letters, digits and underscores.
fn name(metric: &str) -> String {
    let plain = metric.rsplit(':').next().unwrap_or(metric);
    let plain = plain.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    format!("sflow_{}", plain.replace(|c: char| !c.is_ascii_alphanumeric(), "_"))
}

/// A label's value in quotes.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// The numbers among `metrics`; `names` holds host, interface and container names.
pub(crate) fn metrics(metrics: &[Metric], names: &[Metric]) -> String {
    let mut labels: BTreeMap<_, Vec<(&str, String)>> = BTreeMap::new();
    let mut hosts = BTreeMap::new();
    for known in names {
        let MetricValue::Text(text) = &known.value else { continue };
        match known.name.as_str() {
            "host_name" => drop(hosts.insert(known.owner.agent, quoted(text))),
            "ifname" => labels.entry(&known.owner).or_default().push(("ifname", quoted(text))),
            _ => labels.entry(&known.owner).or_default().push(("vir_host", quoted(text))),
        }
    }
    let mut by_name: BTreeMap<String, String> = BTreeMap::new();
    for metric in metrics {
        let MetricValue::Number(number) = metric.value else { continue };
        let name = name(&metric.name);
        let lines = by_name.entry(name.clone()).or_default();
        let _ = write!(
            lines,
            "{name}{{agent=\"{}\",datasource={}",
            metric.owner.agent,
            quoted(&metric.owner.source.to_string())
        );
        if let Some(host) = hosts.get(&metric.owner.agent) {
            let _ = write!(lines, ",host={host}");
        }
        for (label, value) in labels.get(&metric.owner).into_iter().flatten() {
            let _ = write!(lines, ",{label}={value}");
        }
        let _ = writeln!(lines, "}} {number}");
    }
    by_name.into_values().collect()
}

/// What the collector has counted.
pub(crate) fn analyzer(status: &Status) -> String {
    let counters = &status.counters;
    let mut out = String::new();
    let mut line = |name: &str, labels: &str, number: u64| {
        let _ = writeln!(out, "sflow_analyzer_{name}{labels} {number}");
    };
    line("agents", "", status.agents);
    line("agent_count", "", status.agents);
    line("received_datagrams", "", counters.datagrams);
    line("received_bytes", "", counters.bytes);
    if let Some(drops) = status.kernel_drops {
        line("discarded_datagrams", "", drops);
    }
    line("duplicate_datagrams", "", counters.duplicates);
    for (kind, number) in [
        ("flow", counters.flow_samples),
        ("counters", counters.counters_samples),
        ("discarded", counters.discarded),
        ("custom", counters.custom),
        ("unknown", counters.unknown),
    ] {
        line("samples", &format!("{{kind=\"{kind}\"}}"), number);
    }
    for (reason, number) in counters.datagram_errors() {
        line("datagram_errors", &format!("{{reason=\"{reason}\"}}"), number);
    }
    for (reason, number) in counters.sample_errors() {
        line("sample_errors", &format!("{{reason=\"{reason}\"}}"), number);
    }
    line("live_flows", "", status.flows);
    line("evicted_flows", "", status.flows_evicted);
    line("disbelieved_pools", "", counters.pools_disbelieved);
    line("outlier_samples", "", counters.outliers);
    line("evicted_agents", "", counters.agents_evicted);
    line("released_agents", "", counters.agents_released);
    line("untracked_stream_datagrams", "", counters.streams_refused);
    line("refused_custom_metrics", "{reason=\"name\"}", counters.custom_misnamed);
    line("refused_custom_metrics", "{reason=\"limit\"}", counters.custom_refused);
    line("cut_texts", "", counters.texts_cut);
    line("refused_source_samples", "", counters.sources_refused);
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
    }
}
