//! The same capture through finderscope's tables and through another collector's: CPU time per flow sample, of a flow
//! with the same keys. The other one is sfacctd of pmacct.
//!
//! FINDERSCOPE_CAPTURES names the folder of capture files, as for the tests; without it the simulated fabric makes one.
#![allow(missing_docs, reason = "a bench")]

#[allow(dead_code, unused_imports, reason = "only captures and the measuring are used")]
mod common;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::captures::{Captured, PORT};
use common::program::{cpu_time, installed};
use common::ratio;
use engine::ownership::Ownership;
use engine::process_batch;
use ingest::capture::{Payloads, Reader};
use serde_json::json;
use tables::{Change, Options, Outbox, Program, Shard};

/// Flow samples of a pass at least.
const SAMPLES: usize = 2_000_000;

/// Datagrams of a batch.
const BATCH: usize = 64;

/// How many times as fast ours is to be.
const TARGET: f64 = 10.0;

/// Passes of each side.
const PASSES: usize = 3;

/// What sfacctd aggregates by; the agent is among ours anyway.
const THEIR_KEYS: &str = "src_host,dst_host,src_port,dst_port,proto,tos,in_iface,out_iface,peer_src_ip,vlan";
const OUR_KEYS: &str = "or:ipsource:ip6source,or:ipdestination:ip6destination,\
    null:[or:tcpsourceport:udpsourceport]:0,null:[or:tcpdestinationport:udpdestinationport]:0,\
    or:ipprotocol:ip6nexthdr,or:iptos:ip6tos,inputifindex,outputifindex,null:vlan:0";

/// Reads the file as `replay` would, and feeds all to a shard; flows afterwards.
fn ours(path: &Path) -> usize {
    let flow = Change::Flow("peers".to_owned(), Some(json!({"keys": OUR_KEYS, "value": "bytes"})));
    let program = Program::default().changed(flow).expect("a definition");
    let mut shard = Shard::new(Options::default());
    let (mut outbox, mut ownership, mut now_us) = (Outbox::default(), Ownership::alone(), 1);
    shard.adopt(&Arc::new(program), 0, &mut outbox);
    let mut payloads = Payloads::new(Reader::open(path).expect("it was written here"), PORT);
    while let Some(batch) = payloads.next_batch(BATCH) {
        now_us += 100;
        let sender = IpAddr::from([192, 0, 2, 1]);
        let batch = batch.expect("it was written here").map(|payload| (payload.bytes, sender));
        process_batch(batch, now_us, &mut shard, &mut outbox, &mut ownership);
    }
    let counters = shard.counters();
    assert!(counters.flow_samples as usize >= SAMPLES, "every sample was taken");
    assert_eq!(counters.duplicates, 0, "numbers went on");
    shard.flows()
}

/// CPU time of sfacctd over the file, both of its processes; and the lines it printed.
fn theirs(sfacctd: &Path, directory: &Path, capture: &Path) -> (Duration, usize) {
    let (config, out) = (directory.join("sfacctd.conf"), directory.join("out.csv"));
    let text = format!(
        "daemonize: false\npcap_savefile: {}\nsfacctd_renormalize: true\nplugins: print[p]\n\
         aggregate[p]: {THEIR_KEYS}\nprint_output_file[p]: {}\nprint_output[p]: csv\n\
         print_refresh_time[p]: 3600\nprint_cache_entries[p]: 65537\n\
         plugin_pipe_size: 104857600\nplugin_buffer_size: 102400\n",
        capture.display(),
        out.display()
    );
    std::fs::write(&config, text).expect("room");
    let _ = std::fs::remove_file(&out);
    let took = cpu_time(sfacctd, &["-f", config.to_str().expect("a path of ours")], &directory.join("said"));
    let lines = std::fs::read_to_string(&out).expect("sfacctd has printed what it counted").lines().count();
    (took, lines.saturating_sub(1))
}

fn main() {
    let directory = tempfile::tempdir().expect("room for temporary files");
    let captured = Captured::any();
    let capture = directory.path().join("capture.pcap");
    let samples = captured.write(SAMPLES, &capture) as f64;
    ratio::pin();
    let sfacctd = installed("sfacctd");
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let (mut flows, mut lines) = (0, 0);
    for _ in 0..PASSES {
        first.push(ratio::timed(|| flows = ours(&capture)));
        if let Some(sfacctd) = &sfacctd {
            let (took, printed) = theirs(sfacctd, directory.path(), &capture);
            second.push(took);
            lines = printed;
        }
    }
    let each = |times| ratio::median(times).as_nanos() as f64 / samples;
    let ours = each(first);
    println!(
        "{} repeated to {samples} flow samples; each goes from the file into its flow.\n",
        captured.name
    );
    if sfacctd.is_none() {
        println!(
            "**sfacctd is missing** (package pmacct): finderscope alone {ours:.0} ns per sample, {flows} flows"
        );
        return;
    }
    let theirs = each(second);
    println!("| a / b | a | b | ratio | target | reached | flows |\n|---|---|---|---|---|---|---|");
    let (ratio, reached) = (theirs / ours, if theirs / ours >= TARGET { "yes" } else { "**no**" });
    println!(
        "| finderscope / sfacctd | {ours:.0} ns/flow sample | {theirs:.0} ns/flow sample | b / a = {ratio:.1} | \
         at least {TARGET} | {reached} | {flows} and {lines} |"
    );
}
