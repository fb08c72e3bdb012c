//! The report: as JSON, and as tables for people. Rates are per second, costs nanoseconds of processor time.

use serde_json::{Value, json};

use super::compare::Compared;
use super::cpu;
use super::input::SAMPLES;
use super::latency::Latency;
use super::memory::Stages;
use super::search::Found;
use super::table::{self, SAMPLES_OF_TBPS, Table, mib, ns, rate};
use super::trial::Account;
use super::way::{self, Cost};

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) quick: bool,
    pub(crate) datagrams: usize,
    pub(crate) memory: Option<Stages>,
    pub(crate) ways: Vec<way::Report>,
    pub(crate) compared: Option<Compared>,
    /// What was left out, and why.
    pub(crate) left_out: Vec<(String, String)>,
}

impl Report {
    /// Runs whose datagrams were counted, and accounts of those that do not add up (promise I1).
    pub(crate) fn accounts(&self) -> (usize, Vec<(&'static str, Account)>) {
        let runs = self.ways.iter().map(|way| way.accounts).sum();
        let wrong = self.ways.iter().flat_map(|way| way.unaccounted.iter().map(|one| (way.name, *one)));
        (runs, wrong.collect())
    }

    /// As JSON.
    pub(crate) fn json(&self) -> Value {
        let (runs, wrong) = self.accounts();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "machine": machine(),
            "input": {
                "datagrams": self.datagrams,
                "samples_per_datagram": SAMPLES,
                "quick": self.quick,
            },
            "memory": self.memory.map(|stages| json!({
                "datagrams": stages.datagrams,
                "bytes": stages.bytes,
                "flows": stages.flows,
                "copy_ns_per_sample": stages.copy_ns,
                "decode_ns_per_sample": stages.decode_ns,
                "pipeline_ns_per_sample": stages.pipeline_ns,
            })),
            "ways": self.ways.iter().map(of_way).collect::<Vec<_>>(),
            "compared": self.compared.as_ref().map(Compared::json),
            "left_out": self.left_out.iter().map(|(what, why)| json!({"what": what, "why": why})).collect::<Vec<_>>(),
            "accounts": {
                "runs": runs,
                "wrong": wrong.iter().map(|(way, account)| json!({"way": way, "account": of_account(account)})).collect::<Vec<_>>(),
            },
        })
    }

    /// As tables.
    pub(crate) fn text(&self) -> String {
        let mut parts = vec![self.head()];
        if let Some(stages) = &self.memory {
            parts.push(memory_table(stages).text());
        }
        let tables = [
            receive_table,
            pipeline_table,
            stage_table,
            sustained_table,
            overload_table,
            latency_table,
            drops_table,
            elsewhere_table,
        ];
        let filled = tables.map(|table| table(self));
        parts.extend(filled.into_iter().filter(|table| !table.is_empty()).map(|table| table.text()));
        if let Some(compared) = &self.compared {
            parts.push(compared.text());
        }
        if !self.left_out.is_empty() {
            let mut text = "Left out\n".to_owned();
            for (what, why) in &self.left_out {
                text.push_str(&format!("  {what}: {why}\n"));
            }
            parts.push(text);
        }
        let (runs, wrong) = self.accounts();
        let mut text = format!(
            "Sent = read + errors + drops by socket, ring, interface and hand-over: {} of {runs} runs\n",
            runs - wrong.len()
        );
        for (way, account) in wrong {
            text.push_str(&format!(
                "  {way}: {} of {} datagrams are missing: {account:?}\n",
                account.missing(),
                account.sent
            ));
        }
        parts.push(text);
        parts.join("\n")
    }

    fn head(&self) -> String {
        let busy = cpu::load().map_or_else(String::new, |load| format!(", load {load:.1}"));
        let quick = if self.quick { "; a quick run says little" } else { "" };
        format!(
            "finderscope {} on {} processors{busy}: {}\n{} different datagrams of {SAMPLES} samples for each sender, IPv4 and \
             IPv6, tagged or not, TCP and UDP{quick}\n",
            env!("CARGO_PKG_VERSION"),
            cpu::processors().len(),
            cpu::model(),
            self.datagrams
        )
    }
}

fn machine() -> Value {
    let name = rustix::system::uname();
    json!({
        "processors": cpu::processors().len(),
        "model": cpu::model(),
        "system": name.sysname().to_string_lossy(),
        "release": name.release().to_string_lossy(),
        "load": cpu::load(),
    })
}

fn of_account(account: &Account) -> Value {
    let counts = &account.counts;
    json!({
        "sent": account.sent,
        "read": counts.decoded,
        "errors": counts.errors,
        "socket_drops": counts.socket,
        "ring_drops": counts.ring,
        "hand_over_drops": counts.hand_over,
        "interface_drops": account.interface,
        "missing": i64::try_from(account.missing()).unwrap_or(i64::MAX),
        "samples": counts.samples,
        "lost_datagrams_by_sequence": counts.lost_datagrams,
        "lost_samples_by_sequence": counts.lost_samples,
    })
}

fn of_cost(cost: &Cost) -> Value {
    json!({
        "worker_ns_per_datagram": cost.worker_ns,
        "kernel_ns_per_datagram": cost.kernel_ns,
        "ns_per_datagram": cost.all_ns(),
        "ns_per_sample": cost.all_ns() / SAMPLES as f64,
    })
}

/// A rate of datagrams, that of their samples, and the fabric that sends them.
fn of_rate(per_s: f64) -> Value {
    let samples = per_s * SAMPLES as f64;
    json!({"datagrams_per_s": per_s, "samples_per_s": samples, "fabric_tbps": samples / SAMPLES_OF_TBPS})
}

fn of_found(found: &Found) -> Value {
    let mut value = of_rate(found.per_s);
    value["limited_by_sender"] = found.limited_by_sender.into();
    value
}

fn of_latency(latency: &Latency) -> Value {
    json!({
        "datagrams_per_s": latency.per_s,
        "probes": latency.probes,
        "missing": latency.missing,
        "p50_us": latency.p50_us,
        "p99_us": latency.p99_us,
        "most_us": latency.most_us,
    })
}

fn of_way(way: &way::Report) -> Value {
    json!({
        "way": way.name,
        "reached": way.reached,
        "refused": way.why,
        "receive_only": way.receive_only.map(|one| json!({
            "offered": of_rate(one.offered_per_s),
            "received": of_rate(one.received_per_s),
            "cost": of_cost(&one.cost),
            "calm_worker_ns_per_datagram": one.calm_ns,
        })),
        "pipeline": way.pipeline.iter().map(|one| json!({
            "workers": one.workers,
            "most_offered": of_rate(one.offered_per_s),
            "sustainable": of_found(&one.sustainable),
            "cost": of_cost(&one.cost),
        })).collect::<Vec<_>>(),
        "sustained": way.sustained.map(|one| json!({
            "workers": one.workers,
            "seconds": one.seconds,
            "wanted": of_rate(one.wanted_per_s),
            "offered": of_rate(one.offered_per_s),
            "account": of_account(&one.account),
            "holds": one.holds(),
            "worker_ran": one.ran,
            "worker_waited": one.waited,
            "resident_bytes": one.memory,
        })),
        "overload": way.overload.map(|one| json!({
            "flows": one.flows,
            "sustainable": of_found(&one.sustainable),
            "offered": of_rate(one.offered_per_s),
            "accepted": of_rate(one.accepted_per_s),
            "accepted_of_sustainable": one.accepted_per_s / one.sustainable.per_s.max(1e-9),
            "worker_ns_per_datagram": {"sustainable": one.calm_ns, "overload": one.busy_ns},
            "worker_ran": one.ran,
            "worker_waited": one.waited,
            "account": of_account(&one.account),
            "resident_bytes": one.memory,
        })),
        "latency": way.latency.map(|[idle, busy]| json!({"idle": of_latency(&idle), "busy": of_latency(&busy)})),
        "of_elsewhere": way.elsewhere.map(|one| json!({
            "workers": one.workers,
            "seconds": one.seconds,
            "received": of_rate(one.counts.decoded as f64 / one.seconds),
            "samples": one.counts.samples,
            "errors": one.counts.errors,
            "dropped": one.counts.all() - one.counts.decoded - one.counts.errors,
            "lost_datagrams_by_sequence": one.counts.lost_datagrams,
            "lost_samples_by_sequence": one.counts.lost_samples,
            "worker_ns_per_datagram": one.worker_ns,
            "worker_ran": one.ran,
        })),
        "curve": way.curve.iter().map(|point| json!({"offered": point.offered, "received": point.received})).collect::<Vec<_>>(),
        "accounts": way.accounts,
    })
}

fn memory_table(stages: &Stages) -> Table {
    let title = format!("In memory, one processor, {} of datagrams", mib(stages.bytes as u64));
    let mut table = Table::new(title, ["", "ns/sample", "of copying", "samples/s", "fabric"]);
    for (what, cost) in [
        ("copying", stages.copy_ns),
        ("decoding", stages.decode_ns),
        ("the whole pipeline", stages.pipeline_ns),
    ] {
        let per_s = 1e9 / cost.max(1e-9);
        let ratio = format!("{:.1}", cost / stages.copy_ns.max(1e-9));
        table.row([what.to_owned(), ns(cost), ratio, rate(per_s), table::fabric(per_s)]);
    }
    table
}

fn receive_table(report: &Report) -> Table {
    let head = [
        "",
        "reached",
        "offered/s",
        "received/s",
        "worker ns",
        "kernel ns",
        "all ns",
        "of the first",
        "calm worker ns",
    ];
    let mut table = Table::new("Receiving alone: datagrams, and what each costs", head);
    let mut first = None;
    for way in &report.ways {
        let Some(one) = &way.receive_only else { continue };
        let all = one.cost.all_ns();
        table.row([
            way.name.to_owned(),
            way.reached.to_owned(),
            rate(one.offered_per_s),
            rate(one.received_per_s),
            ns(one.cost.worker_ns),
            one.cost.kernel_ns.map_or_else(|| "-".to_owned(), ns),
            ns(all),
            format!("{:.2}", all / *first.get_or_insert(all.max(1e-9))),
            ns(one.calm_ns),
        ]);
    }
    table
}

fn pipeline_table(report: &Report) -> Table {
    let title = "The whole pipeline: the highest rate without loss";
    let head = ["", "workers", "datagrams/s", "samples/s", "fabric", "ns/datagram", "ns/sample"];
    let mut table = Table::new(title, head);
    for way in &report.ways {
        for one in &way.pipeline {
            let (per_s, samples) = (one.sustainable.per_s, one.sustainable.per_s * SAMPLES as f64);
            let more = if one.sustainable.limited_by_sender { "> " } else { "" };
            table.row([
                way.name.to_owned(),
                one.workers.to_string(),
                format!("{more}{}", rate(per_s)),
                format!("{more}{}", rate(samples)),
                format!("{more}{}", table::fabric(samples)),
                ns(one.cost.all_ns()),
                ns(one.cost.all_ns() / SAMPLES as f64),
            ]);
        }
    }
    table
}

/// Where a datagram's time goes: of the first row of each way's pipeline.
fn stage_table(report: &Report) -> Table {
    let head = ["", "kernel", "receive", "decode and tables", "the same in memory", "all", "all/sample"];
    let mut table = Table::new("By stage, ns/datagram", head);
    for way in &report.ways {
        let (Some(alone), Some(whole)) = (&way.receive_only, way.pipeline.first()) else { continue };
        let in_memory = report.memory.map(|stages| stages.pipeline_ns * SAMPLES as f64);
        let or_none = |cost: Option<f64>| cost.map_or_else(|| "-".to_owned(), ns);
        table.row([
            way.name.to_owned(),
            or_none(whole.cost.kernel_ns),
            ns(alone.cost.worker_ns),
            ns((whole.cost.worker_ns - alone.cost.worker_ns).max(0.0)),
            or_none(in_memory),
            ns(whole.cost.all_ns()),
            ns(whole.cost.all_ns() / SAMPLES as f64),
        ]);
    }
    table
}

fn sustained_table(report: &Report) -> Table {
    let head =
        ["", "seconds", "offered samples/s", "wanted", "lost", "worker ran", "waited", "memory", "holds"];
    let mut table = Table::new("Without a pause: lost by counts and by sequence numbers", head);
    for way in &report.ways {
        let Some(one) = &way.sustained else { continue };
        let counts = &one.account.counts;
        let percent = |part: f64| format!("{:.0} %", part * 100.0);
        table.row([
            way.name.to_owned(),
            format!("{:.1}", one.seconds),
            rate(one.offered_per_s * SAMPLES as f64),
            rate(one.wanted_per_s * SAMPLES as f64),
            format!("{}+{}", one.account.dropped(), counts.lost_datagrams),
            percent(one.ran),
            percent(one.waited),
            mib(one.memory[1]),
            if one.holds() { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table
}

fn overload_table(report: &Report) -> Table {
    let head = [
        "",
        "sustainable/s",
        "offered/s",
        "accepted/s",
        "accepted/sustainable",
        "worker ran",
        "waited",
        "memory",
    ];
    let flows = report.ways.iter().find_map(|way| way.overload).map_or(0, |one| one.flows);
    let mut table =
        Table::new(format!("Overload, datagrams, one worker with {flows} flow definitions"), head);
    for way in &report.ways {
        let Some(one) = &way.overload else { continue };
        let percent = |part: f64| format!("{:.0} %", part * 100.0);
        table.row([
            way.name.to_owned(),
            rate(one.sustainable.per_s),
            rate(one.offered_per_s),
            rate(one.accepted_per_s),
            format!("{:.2}", one.accepted_per_s / one.sustainable.per_s.max(1e-9)),
            percent(one.ran),
            percent(one.waited),
            format!("{} -> {}", mib(one.memory[0]), mib(one.memory[1])),
        ]);
    }
    table
}

fn latency_table(report: &Report) -> Table {
    let head = ["", "datagrams/s", "probes", "missing", "p50 us", "p99 us", "most us"];
    let mut table = Table::new("From the wire to the news of a flow that starts", head);
    for way in &report.ways {
        for one in way.latency.iter().flatten() {
            let us = |us: f64| format!("{us:.0}");
            table.row([
                way.name.to_owned(),
                rate(one.per_s),
                one.probes.to_string(),
                one.missing.to_string(),
                us(one.p50_us),
                us(one.p99_us),
                us(one.most_us),
            ]);
        }
    }
    table
}

fn drops_table(report: &Report) -> Table {
    let head = ["", "sent", "read", "errors", "socket", "ring", "interface", "hand-over", "missing"];
    let mut table = Table::new("Where the datagrams of the overload are", head);
    for way in &report.ways {
        let Some(account) = way.overload.map(|one| one.account) else { continue };
        let counts = &account.counts;
        let numbers =
            [counts.decoded, counts.errors, counts.socket, counts.ring, account.interface, counts.hand_over];
        let [read, errors, socket, ring, interface, hand_over] = numbers.map(table::count);
        let sent = table::count(account.sent);
        let missing = account.missing().to_string();
        table.row([way.name.to_owned(), sent, read, errors, socket, ring, interface, hand_over, missing]);
    }
    table
}

fn elsewhere_table(report: &Report) -> Table {
    let head = ["", "reached", "workers", "datagrams/s", "samples/s", "lost", "worker ns", "worker ran"];
    let mut table = Table::new("From elsewhere: lost by counts and by sequence numbers", head);
    for way in &report.ways {
        let Some(one) = &way.elsewhere else { continue };
        let counts = &one.counts;
        table.row([
            way.name.to_owned(),
            way.reached.to_owned(),
            one.workers.to_string(),
            rate(counts.decoded as f64 / one.seconds),
            rate(counts.samples as f64 / one.seconds),
            format!("{}+{}", counts.all() - counts.decoded - counts.errors, counts.lost_datagrams),
            ns(one.worker_ns),
            format!("{:.0} %", one.ran * 100.0),
        ]);
    }
    table
}
