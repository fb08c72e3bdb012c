//! The same capture through finderscope's tables and through another collector's: CPU time per flow sample, of a flow
//! with the same keys. The other one is sfacctd of pmacct.
//!
//! FINDERSCOPE_CAPTURES names the folder of capture files, as for the tests; without it the simulated fabric makes one.
#![allow(missing_docs, reason = "a bench")]

#[allow(dead_code, reason = "only the measuring is used")]
mod common;

use std::fs::File;
use std::io::BufWriter;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use common::ratio;
use decode::Datagram;
use decode::packet::PacketBuilder;
use engine::ownership::Ownership;
use engine::process_batch;
use fabric::{Fabric, FabricOptions};
use ingest::capture::{Payloads, Reader, Writer, link};
use serde_json::json;
use tables::{Change, Options, Outbox, Program, Shard};

/// Flow samples of a pass at least.
const SAMPLES: usize = 2_000_000;

/// Datagrams that the simulated fabric makes; they are then repeated, with numbers that go on.
const SIMULATED: usize = 20_000;

/// Datagrams of a batch.
const BATCH: usize = 64;

/// Blocks that the file is written in, bytes: the page cache then holds it in pieces as large as those that it reads ahead
/// of a file on a disk.
const BLOCK: usize = 1 << 20;

/// Passes of each side.
const PASSES: usize = 3;

const PORT: u16 = 6343;

/// What sfacctd aggregates by; the agent is among ours anyway.
const THEIR_KEYS: &str = "src_host,dst_host,src_port,dst_port,proto,tos,in_iface,out_iface,peer_src_ip,vlan";
const OUR_KEYS: &str = "or:ipsource:ip6source,or:ipdestination:ip6destination,\
    null:[or:tcpsourceport:udpsourceport]:0,null:[or:tcpdestinationport:udpdestinationport]:0,\
    or:ipprotocol:ip6nexthdr,or:iptos:ip6tos,inputifindex,outputifindex,null:vlan:0";

/// The datagrams of the captures, or of the simulated fabric.
fn input() -> (String, Vec<Vec<u8>>) {
    let mut datagrams = Vec::new();
    if let Ok(captures) = std::env::var("FINDERSCOPE_CAPTURES") {
        let folder = std::fs::read_dir(&captures).unwrap_or_else(|error| panic!("{captures}: {error}"));
        let mut paths: Vec<PathBuf> = folder.map(|entry| entry.expect("a readable folder").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "pcap"));
        paths.sort();
        for path in paths {
            let reader = Reader::open(&path).unwrap_or_else(|error| panic!("FINDERSCOPE_CAPTURES: {error}"));
            let mut payloads = Payloads::new(reader, PORT);
            while let Some(payload) = payloads.next_payload() {
                match payload {
                    Ok(payload) => datagrams.push(payload.bytes.to_vec()),
                    Err(error) => panic!("FINDERSCOPE_CAPTURES: {error}"),
                }
            }
        }
        return (captures, datagrams);
    }
    let options = FabricOptions { rate: Some(2000.0), ..FabricOptions::default() };
    let mut fabric = Fabric::new(&options).expect("numbers within their limits");
    while datagrams.len() < SIMULATED {
        let now_us = fabric.now_us() + 1_000_000;
        fabric.step(now_us, &mut |_, datagram| datagrams.push(datagram.to_vec()));
    }
    ("the simulated fabric".to_owned(), datagrams)
}

/// How many flow samples the datagrams have.
fn flow_samples(datagrams: &[Vec<u8>]) -> usize {
    let of = |bytes: &Vec<u8>| {
        let samples = Datagram::parse(bytes).map(|datagram| datagram.samples().collect::<Vec<_>>());
        let samples = samples.unwrap_or_default().into_iter();
        samples.filter(|sample| matches!(sample, Ok(decode::Sample::Flow(_)))).count()
    };
    datagrams.iter().map(of).sum()
}

/// Adds to the number of the datagram and of each sample what `round` repetitions have used up.
fn renumber(datagram: &mut [u8], round: u32) {
    let word = |bytes: &[u8], at: usize| {
        bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_be_bytes(*word))
    };
    let add = |bytes: &mut [u8], at: usize| {
        let number = word(bytes, at).wrapping_add(round << 19);
        if let Some(place) = bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&number.to_be_bytes());
        }
    };
    let after_address = if word(datagram, 4) == 1 { 12 } else { 24 };
    add(datagram, after_address + 4);
    let mut at = after_address + 16;
    while at + 12 <= datagram.len() {
        let length = word(datagram, at + 4) as usize;
        add(datagram, at + 8);
        at += 8 + length;
    }
}

/// Writes the datagrams often enough; how many flow samples were written.
fn write(datagrams: &[Vec<u8>], path: &Path) -> usize {
    let each = flow_samples(datagrams);
    assert!(each > 0, "the captures hold no flow samples to port {PORT}");
    let rounds = SAMPLES.div_ceil(each);
    let file = BufWriter::with_capacity(BLOCK, File::create(path).expect("a file"));
    let mut writer = Writer::new(file, link::RAW).expect("room");
    for round in 0..rounds {
        for datagram in datagrams {
            let mut buffer = vec![0; datagram.len() + 64];
            let (from, to) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
            let headers = PacketBuilder::new(&mut buffer)
                .ipv4(from, to, 0, 64)
                .and_then(|packet| packet.udp(50_000, PORT))
                .expect("room")
                .finish(28 + datagram.len())
                .expect("a datagram is below 64 KiB");
            let mut datagram = datagram.clone();
            renumber(&mut datagram, round as u32);
            buffer.truncate(headers);
            buffer.truncate(28);
            buffer.extend_from_slice(&datagram);
            writer.frame(round as u64 * 1_000_000, &buffer, buffer.len() as u32).expect("room on the disk");
        }
    }
    writer.flush().expect("room on the disk");
    rounds * each
}

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

/// CPU time of sfacctd over the file, both of its processes, nanoseconds; and the lines it printed.
fn theirs(directory: &Path, capture: &Path) -> (f64, usize) {
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
    // `times` counts children that have been waited for, and theirs.
    let told = Command::new("bash")
        .args([
            "-c",
            "export PATH=$PATH:/usr/sbin; TIMEFORMAT='%U %S'; time sfacctd -f \"$1\" >/dev/null 2>\"$2\"",
        ])
        .args(["bash".as_ref(), config.as_os_str(), directory.join("log").as_os_str()])
        .stdout(Stdio::null())
        .output()
        .expect("bash is there");
    let seconds: f64 = String::from_utf8_lossy(&told.stderr)
        .split_whitespace()
        .map(|word| word.parse::<f64>().expect("bash tells user and system seconds"))
        .sum();
    let lines = std::fs::read_to_string(&out).expect("sfacctd has printed what it counted").lines().count();
    (seconds * 1e9, lines.saturating_sub(1))
}

fn is_installed(command: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]).any(|at| at.join(command).is_file())
}

fn main() {
    let directory = tempfile::tempdir().expect("room for temporary files");
    let (name, datagrams) = input();
    let capture = directory.path().join("capture.pcap");
    let samples = write(&datagrams, &capture) as f64;
    ratio::pin();
    let missing = !is_installed("sfacctd");
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let (mut flows, mut lines) = (0, 0);
    for _ in 0..PASSES {
        first.push(ratio::timed(|| flows = ours(&capture)));
        if !missing {
            let (ns, printed) = theirs(directory.path(), &capture);
            second.push(ns / samples);
            lines = printed;
        }
    }
    let ours = ratio::median(first).as_nanos() as f64 / samples;
    println!("input: {name}, {} datagrams repeated to {samples} flow samples", datagrams.len());
    if missing {
        println!(
            "sfacctd is missing (package pmacct): finderscope alone {ours:.0} ns per sample, {flows} flows"
        );
        return;
    }
    second.sort_unstable_by(f64::total_cmp);
    let theirs = second.get(PASSES / 2).copied().unwrap_or_default();
    println!(
        "sfacctd / finderscope = {:.1} ({theirs:.0} and {ours:.0} ns per sample; {lines} lines and {flows} flows)",
        theirs / ours
    );
}
