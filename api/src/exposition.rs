//! Every counter of the collector, as OpenMetrics text.
//!
//! What the rooms count is taken apart field by field, so that a counter that is added there does not compile until it
//! is shown here.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use actions::row::Row;
use engine::Status;
use engine::interface::QueueStatus;
use engine::status::WorkerStatus;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tables::Program;
use tables::shard::Counters;

use crate::process::Reading;
use crate::serve::HttpCounters;

/// The media type of the text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Kept<M> = BTreeMap<&'static str, (&'static str, Family<Labels, M>)>;

/// What is told once, by name.
#[derive(Default)]
struct Scrape {
    counters: Kept<Counter>,
    gauges: Kept<Gauge<f64, AtomicU64>>,
}

impl Scrape {
    fn count(&mut self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)], count: u64) {
        let (_, family) = self.counters.entry(name).or_insert_with(|| (help, Family::default()));
        family.get_or_create(&owned(labels)).inc_by(count);
    }

    fn level(&mut self, name: &'static str, help: &'static str, labels: &[(&'static str, &str)], level: f64) {
        let (_, family) = self.gauges.entry(name).or_insert_with(|| (help, Family::default()));
        family.get_or_create(&owned(labels)).set(level);
    }

    fn text(self) -> String {
        let mut registry = Registry::with_prefix("finderscope");
        for (name, (help, family)) in self.counters {
            registry.register(name, help, family);
        }
        for (name, (help, family)) in self.gauges {
            registry.register(name, help, family);
        }
        let mut text = String::new();
        // A string takes everything.
        let _ = encode(&mut text, &registry);
        text
    }
}

fn owned(labels: &[(&'static str, &str)]) -> Labels {
    labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

/// The text of a scrape.
pub(crate) fn text(
    version: &str,
    status: &Status,
    program: &Program,
    rows: &[Row],
    http: &HttpCounters,
    process: &Reading,
) -> String {
    let mut scrape = Scrape::default();
    scrape.level("build", "always 1", &[("version", version)], 1.0);
    scrape.level("uptime_seconds", "time since the start", &[], status.uptime.as_secs_f64());
    ingest(&mut scrape, status);
    for worker in &status.workers {
        self::worker(&mut scrape, worker);
    }
    topology(&mut scrape, program);
    rows.iter().for_each(|row| self::row(&mut scrape, row));
    interface(&mut scrape, http);
    machine(&mut scrape, process);
    scrape.text()
}

/// How datagrams come in, and what became of the frames of the interface.
fn ingest(scrape: &mut Scrape, status: &Status) {
    let interface = status.reached.interface.as_deref().unwrap_or_default();
    let of = [("mode", status.reached.label()), ("interface", interface)];
    scrape.level("ingest", "always 1: how datagrams come in", &of, 1.0);
    for (verdict, frames) in &status.verdicts {
        let of = [("interface", interface), ("verdict", *verdict)];
        scrape.count("xdp_frames", "frames of the interface by what became of them", &of, *frames);
    }
}

/// The rings of a queue.
fn queue(scrape: &mut Scrape, worker: &str, status: &QueueStatus) {
    let QueueStatus {
        queue,
        bound,
        frames,
        fill_level,
        receive_level,
        frames_lent,
        frames_free,
        rx_dropped,
        rx_ring_full,
        rx_fill_ring_empty_descs,
        rx_invalid_descs,
        checksum_wrong,
        checksum_partial,
        malformed,
        gathered,
    } = status;
    let queue = queue.to_string();
    let own = [("worker", worker), ("queue", queue.as_str())];
    scrape.level("queue_bound", "1 while the interface is there", &own, f64::from(u8::from(*bound)));
    scrape.level("queue_memory_frames", "frames of memory of a queue", &own, f64::from(*frames));
    for (place, level) in
        [("fill", fill_level), ("receive", receive_level), ("lent", frames_lent), ("free", frames_free)]
    {
        let of = [("worker", worker), ("queue", queue.as_str()), ("place", place)];
        scrape.level("queue_frames", "frames by where they are", &of, f64::from(*level));
    }
    for (reason, count) in [
        ("rx_dropped", rx_dropped),
        ("rx_ring_full", rx_ring_full),
        ("checksum", checksum_wrong),
        ("malformed", malformed),
    ] {
        let of = [("worker", worker), ("queue", queue.as_str()), ("reason", reason)];
        scrape.count("queue_drops", "packets that were steered to a queue and dropped", &of, *count);
    }
    for (name, help, count) in [
        (
            "queue_fill_ring_empty",
            "times that the kernel found no frame to hold ready",
            rx_fill_ring_empty_descs,
        ),
        ("queue_invalid_descriptors", "descriptions of frames that the kernel refused", rx_invalid_descs),
        ("queue_partial_checksums", "datagrams taken that left their checksum to a card", checksum_partial),
        ("queue_gathered_packets", "packets put together of several frames", gathered),
    ] {
        scrape.count(name, help, &own, *count);
    }
}

/// What actions and scripts count; the names are those that they have in the manual.
fn row(scrape: &mut Scrape, row: &Row) {
    let name = row.name.strip_prefix("finderscope_").unwrap_or(row.name);
    let labels: Vec<(&'static str, &str)> =
        row.labels.iter().map(|(label, value)| (*label, value.as_str())).collect();
    match name.strip_suffix("_total") {
        Some(name) => scrape.count(name, row.help, &labels, row.value as u64),
        None => scrape.level(name, row.help, &labels, row.value),
    }
}

fn worker(scrape: &mut Scrape, status: &WorkerStatus) {
    let WorkerStatus {
        worker,
        pinned_to,
        counters,
        agents,
        flows,
        flows_evicted,
        flow_bytes,
        sockets,
        queues,
        verdicts: _,
        receive_errors,
        hand_over,
        batches,
        requests,
        told,
        forwarded,
    } = status;
    let number = worker.to_string();
    let own = [("worker", number.as_str())];
    tables(scrape, counters, &number);
    if let Some(processor) = pinned_to {
        scrape.level("pinned_processor", "processor that the worker keeps to", &own, *processor as f64);
    }
    scrape.level("agents", "agents that are known", &own, *agents as f64);
    scrape.level("live_flows", "entries of all flow tables", &own, *flows as f64);
    scrape.level("flow_table_bytes", "what the flow tables take", &own, *flow_bytes as f64);
    for socket in sockets {
        let address = socket.address.to_string();
        let of = [("worker", number.as_str()), ("address", address.as_str())];
        scrape.level("receive_buffer_bytes", "as the kernel counts it", &of, socket.receive_buffer as f64);
        if let Some(drops) = socket.kernel_drops {
            scrape.count("kernel_drops", "datagrams that a full socket buffer dropped", &of, drops);
        }
    }
    queues.iter().for_each(|status| queue(scrape, &number, status));
    for (name, help, count) in [
        ("evicted_flows", "flows that gave way to others in a full table", *flows_evicted),
        ("receive_errors", "calls that the kernel failed", *receive_errors),
        ("handed_over", "datagrams that were handed to their owner", hand_over.handed_over),
        (
            "handover_full",
            "datagrams dropped because too many waited for their owner",
            hand_over.handover_full,
        ),
        ("batches", "batches of datagrams", *batches),
        ("questions", "questions that were answered", *requests),
        ("flow_records", "records of the flow log", told.records_generated),
        ("lost_flow_records", "records that a full queue dropped", told.records_lost),
        ("events", "threshold events", told.events_generated),
        ("lost_events", "threshold events that a full queue dropped", told.events_lost),
        ("lost_name_requests", "look-ups of names that a full queue dropped", told.names_lost),
    ] {
        scrape.count(name, help, &own, count);
    }
    for one in forwarded {
        let to = one.to.to_string();
        let of = [("worker", number.as_str()), ("name", &*one.name), ("to", to.as_str())];
        scrape.count("forwarded", "datagrams that were sent on", &of, one.forwarded);
        scrape.count("forward_failed", "datagrams that could not be sent on", &of, one.forward_failed);
    }
}

fn tables(scrape: &mut Scrape, counters: &Counters, worker: &str) {
    let Counters {
        datagrams,
        bytes,
        datagram_errors: _,
        duplicates,
        flow_samples,
        counters_samples,
        discarded,
        custom,
        unknown,
        sample_errors: _,
        unlisted_refused,
        foreign_refused,
        foreign_flagged,
        agents_refused,
        agents_evicted,
        agents_released,
        streams_refused,
        sources_refused,
        custom_misnamed,
        custom_refused,
        texts_cut,
        pools_disbelieved,
        outliers,
        texts_refused,
        macs_refused,
        names_refused,
        locations_refused,
        thresholds_refused,
    } = counters;
    let own = [("worker", worker)];
    for (name, help, count) in [
        ("datagrams", "datagrams whose header was read", datagrams),
        ("datagram_bytes", "their bytes", bytes),
        ("duplicate_datagrams", "datagrams that had arrived before", duplicates),
        ("flagged_datagrams", "datagrams of listed agents from elsewhere, which were taken", foreign_flagged),
        ("evicted_agents", "agents that gave way to others", agents_evicted),
        ("released_agents", "agents that were silent for long", agents_released),
        ("untracked_stream_datagrams", "datagrams of sub-agents beyond the limit", streams_refused),
        ("refused_source_samples", "samples of data sources beyond the limit", sources_refused),
        ("cut_texts", "texts that were too long", texts_cut),
        ("disbelieved_pools", "windows whose sample pool could not be believed", pools_disbelieved),
        ("outlier_samples", "samples whose rate or length was cut", outliers),
        ("refused_key_texts", "packets left out of a flow for lack of room for their key", texts_refused),
        ("refused_adapter_macs", "MAC addresses of hosts beyond the limit", macs_refused),
        ("refused_name_requests", "look-ups of names beyond the limit", names_refused),
        ("refused_host_locations", "sightings of hosts beyond the limit of a worker", locations_refused),
        ("refused_threshold_metrics", "metrics above a threshold beyond the limit", thresholds_refused),
    ] {
        scrape.count(name, help, &own, *count);
    }
    for (reason, count) in
        [("unlisted", unlisted_refused), ("foreign", foreign_refused), ("full", agents_refused)]
    {
        let of = [("worker", worker), ("reason", reason)];
        scrape.count("refused_datagrams", "datagrams that were read and not taken", &of, *count);
    }
    for (kind, count) in [
        ("flow", flow_samples),
        ("counters", counters_samples),
        ("discarded", discarded),
        ("custom", custom),
        ("unknown", unknown),
    ] {
        scrape.count("samples", "samples that were read", &[("worker", worker), ("kind", kind)], *count);
    }
    for (reason, count) in [("name", custom_misnamed), ("limit", custom_refused)] {
        let of = [("worker", worker), ("reason", reason)];
        scrape.count("refused_custom_metrics", "custom metrics that were not kept", &of, *count);
    }
    for (reason, count) in counters.datagram_errors() {
        let of = [("worker", worker), ("reason", reason)];
        scrape.count("datagram_errors", "datagrams that could not be read", &of, count);
    }
    for (reason, count) in counters.sample_errors() {
        let of = [("worker", worker), ("reason", reason)];
        scrape.count("sample_errors", "samples dropped whole because they lied", &of, count);
    }
}

fn topology(scrape: &mut Scrape, program: &Program) {
    let waiting = program.topology.unknown_ends();
    scrape.level(
        "topology_unknown_ports",
        "ports of links whose interface is not known",
        &[],
        waiting as f64,
    );
    let located = &program.located;
    scrape.level("host_locations", "where hosts are: addresses at edge ports", &[], located.len() as f64);
    let help = "sightings of hosts beyond the limit of all workers";
    scrape.count("unpublished_host_locations", help, &[], located.refused);
}

fn interface(scrape: &mut Scrape, http: &HttpCounters) {
    scrape.level("http_connections", "connections that are open", &[], http.current.load(Relaxed) as f64);
    scrape.level(
        "http_asking",
        "connections of them that have asked something",
        &[],
        http.asking.load(Relaxed) as f64,
    );
    for (name, help, count) in [
        ("http_accepted", "connections that were accepted", &http.total),
        ("http_slow", "connections that were cut off as too slow", &http.slow),
        ("http_full", "times that all places were taken", &http.full),
        ("http_refused", "requests that found no place to wait", &http.refused),
        ("http_requests", "requests", &http.messages),
        ("http_sent_bytes", "bytes that were sent", &http.sent),
        ("http_received_bytes", "bytes that were received", &http.received),
    ] {
        scrape.count(name, help, &[], count.load(Relaxed));
    }
    for (count, class) in http.answers.iter().zip(["1xx", "2xx", "3xx", "4xx", "5xx"]) {
        let help = "answers by the first digit of their status";
        scrape.count("http_answers", help, &[("class", class)], count.load(Relaxed));
    }
}

fn machine(scrape: &mut Scrape, process: &Reading) {
    for (name, help, level) in [
        ("resident_memory_bytes", "memory that the process has", process.resident.map(|bytes| bytes as f64)),
        ("threads", "threads of the process", process.threads.map(|threads| threads as f64)),
        ("cpu_load", "share of the machine's processors over 2 s, 0 to 1", process.load_process),
    ] {
        if let Some(level) = level {
            scrape.level(name, help, &[], level);
        }
    }
    if let Some(ms) = process.cpu_ms {
        scrape.count("cpu_milliseconds", "processor time of the process", &[], ms);
    }
}
