//! Other programs on the same capture: what each takes for a flow sample, and what we take for the same output.

use std::fs::File;
use std::io::BufWriter;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use decode::packet::PacketBuilder;
use decode::{Datagram, Mac, Sample};
use engine::ownership::Ownership;
use engine::process_batch;
use fabric::{Fabric, FabricOptions, Stretch};
use ingest::batch::BATCH;
use ingest::capture::{Payloads, Reader, Writer, link};
use serde_json::{Value, json};
use tables::{Change, Options, Outbox, Program, Shard};

use super::cpu;
use super::memory::median;
use super::peers::{Running, find, free_port, lines};
use super::table::{Table, count, ns};

/// Flow samples of a pass at least, usual and quick; and passes.
const SAMPLES: usize = 1_000_000;
const QUICK_SAMPLES: usize = 40_000;
const PASSES: usize = 3;

/// Datagrams that the simulated fabric makes before they repeat.
const SIMULATED: usize = 20_000;

const PORT: u16 = 6343;

/// What sfacctd aggregates by; the agent is among ours anyway.
const THEIR_KEYS: &str = "src_host,dst_host,src_port,dst_port,proto,tos,in_iface,out_iface,peer_src_ip,vlan";
const OUR_KEYS: &str = "or:ipsource:ip6source,or:ipdestination:ip6destination,\
    null:[or:tcpsourceport:udpsourceport]:0,null:[or:tcpdestinationport:udpdestinationport]:0,\
    or:ipprotocol:ip6nexthdr,or:iptos:ip6tos,inputifindex,outputifindex,null:vlan:0";

/// What was compared.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    input: String,
    samples: usize,
    rows: Vec<Row>,
    /// Peers that are not installed.
    missing: Vec<&'static str>,
    /// Those that failed, and how.
    failed: Vec<(&'static str, String)>,
}

/// One program and us: nanoseconds of processor time per flow sample, and how much came out.
#[derive(Clone, Debug)]
struct Row {
    peer: &'static str,
    ours: &'static str,
    unit: &'static str,
    their_ns: f64,
    our_ns: f64,
    their_output: u64,
    our_output: u64,
}

impl Compared {
    pub(crate) fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "peer": row.peer,
                "ours": row.ours,
                "their_ns_per_sample": row.their_ns,
                "our_ns_per_sample": row.our_ns,
                "ratio": row.their_ns / row.our_ns.max(1e-9),
                "output": row.unit,
                "their_output": row.their_output,
                "our_output": row.our_output,
            })
        };
        json!({
            "input": self.input,
            "samples": self.samples,
            "peers": self.rows.iter().map(row).collect::<Vec<_>>(),
            "not_installed": self.missing,
            "failed": self.failed.iter().map(|(peer, why)| json!({"peer": peer, "why": why})).collect::<Vec<_>>(),
        })
    }

    /// Tables of text, and what is not in them.
    pub(crate) fn text(&self) -> String {
        let title = format!("Other programs: {}, {} flow samples", self.input, count(self.samples as u64));
        let head = ["", "against", "theirs ns/sample", "ours", "theirs/ours", "output", "theirs", "ours"];
        let mut table = Table::new(title, head);
        for row in &self.rows {
            table.row([
                row.peer.to_owned(),
                row.ours.to_owned(),
                ns(row.their_ns),
                ns(row.our_ns),
                format!("{:.1}", row.their_ns / row.our_ns.max(1e-9)),
                row.unit.to_owned(),
                count(row.their_output),
                count(row.our_output),
            ]);
        }
        let mut text = table.text();
        for peer in &self.missing {
            text.push_str(&format!("  {peer} is not installed\n"));
        }
        for (peer, why) in &self.failed {
            text.push_str(&format!("  {peer} failed: {why}\n"));
        }
        text
    }
}

/// What all passes need.
struct Input<'a> {
    folder: &'a Path,
    capture: PathBuf,
    /// The datagrams of the capture.
    datagrams: Vec<Vec<u8>>,
    samples: usize,
    stop: &'a AtomicBool,
}

/// One pass of one side: its time, and how much came out.
type Pass<'a> = &'a dyn Fn(&Input<'_>) -> anyhow::Result<(Duration, u64)>;

/// Runs whichever peer is installed on this capture and the UDP port in it, or on a simulated fabric's.
pub(crate) fn run(capture: Option<(&Path, u16)>, quick: bool, stop: &AtomicBool) -> anyhow::Result<Compared> {
    let folder = tempfile::tempdir().context("a folder for the capture")?;
    let (name, datagrams) = datagrams(capture)?;
    let each = flow_samples(&datagrams);
    ensure!(each > 0, "{name} holds no flow samples");
    let wanted = if quick { QUICK_SAMPLES } else { SAMPLES };
    let turns = wanted.div_ceil(each);
    let mut input = Input {
        folder: folder.path(),
        capture: folder.path().join("capture.pcap"),
        datagrams: repeated(datagrams, turns),
        samples: turns * each,
        stop,
    };
    write(&mut input)?;
    let mut compared = Compared { input: name, samples: input.samples, ..Compared::default() };
    let passes = if quick { 1 } else { PASSES };
    let pairs: [(&'static str, &'static str, &'static str, Pass<'_>, Pass<'_>); 3] = [
        ("sflowtool", "decode --format line", "lines", &sflowtool, &our_lines),
        ("sfacctd", "the tables, one flow", "flows", &sfacctd, &our_flows),
        ("sfcapd", "decode --listen", "records", &sfcapd, &our_socket),
    ];
    for (peer, ours, unit, their_pass, our_pass) in pairs {
        if find(peer).is_none() {
            compared.missing.push(peer);
            continue;
        }
        match pair(&input, passes, their_pass, our_pass) {
            Ok(([their_ns, our_ns], [their_output, our_output])) => {
                compared.rows.push(Row { peer, ours, unit, their_ns, our_ns, their_output, our_output });
            }
            Err(_) if stop.load(Ordering::Relaxed) => bail!("interrupted"),
            Err(why) => compared.failed.push((peer, format!("{why:#}"))),
        }
    }
    Ok(compared)
}

/// Alternating passes: nanoseconds per sample of each side, the medians, and what came out of the last.
fn pair(
    input: &Input<'_>,
    passes: usize,
    theirs: Pass<'_>,
    ours: Pass<'_>,
) -> anyhow::Result<([f64; 2], [u64; 2])> {
    let (mut times, mut outputs) = ([const { Vec::new() }; 2], [0; 2]);
    for _ in 0..passes {
        for ((pass, times), output) in [theirs, ours].into_iter().zip(&mut times).zip(&mut outputs) {
            let (took, out) = pass(input)?;
            times.push(took);
            *output = out;
        }
    }
    Ok((times.map(|times| median(times).as_nanos() as f64 / input.samples as f64), outputs))
}

/// The datagrams of a capture, or those of a simulated fabric.
fn datagrams(capture: Option<(&Path, u16)>) -> anyhow::Result<(String, Vec<Vec<u8>>)> {
    let mut datagrams = Vec::new();
    if let Some((path, port)) = capture {
        let mut payloads = Payloads::new(Reader::open(path)?, port);
        while let Some(payload) = payloads.next_payload() {
            datagrams.push(payload?.bytes.to_vec());
        }
        return Ok((path.display().to_string(), datagrams));
    }
    let options = FabricOptions { rate: Some(2000.0), ..FabricOptions::default() };
    let mut fabric = Fabric::new(&options)?;
    while datagrams.len() < SIMULATED {
        let now_us = fabric.now_us() + 1_000_000;
        fabric.step(now_us, &mut |_, datagram| datagrams.push(datagram.to_vec()));
    }
    Ok(("a simulated fabric".to_owned(), datagrams))
}

fn flow_samples(datagrams: &[Vec<u8>]) -> usize {
    let of = |bytes: &Vec<u8>| {
        let samples = Datagram::parse(bytes).map(|datagram| datagram.samples());
        samples.map_or(0, |samples| samples.filter(|sample| matches!(sample, Ok(Sample::Flow(_)))).count())
    };
    datagrams.iter().map(of).sum()
}

/// So many turns of them, with numbers that go on.
fn repeated(datagrams: Vec<Vec<u8>>, turns: usize) -> Vec<Vec<u8>> {
    let whole = datagrams.len() * turns;
    let mut stretch = Stretch::new(datagrams);
    let mut all = Vec::with_capacity(whole);
    while all.len() < whole {
        stretch.next(whole - all.len(), |some| all.extend(some.iter().map(|bytes| bytes.to_vec())));
    }
    all
}

/// Writes them as a capture of Ethernet frames.
fn write(input: &mut Input<'_>) -> anyhow::Result<()> {
    let file = File::create(&input.capture).context("the capture")?;
    let mut writer = Writer::new(BufWriter::with_capacity(1 << 20, file), link::ETHERNET)?;
    let headers = 14 + 20 + 8;
    for (n, datagram) in input.datagrams.iter().enumerate() {
        let mut frame = vec![0; headers + datagram.len()];
        PacketBuilder::new(&mut frame)
            .ethernet(Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]))
            .and_then(|packet| packet.ipv4(Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2), 0, 64))
            .and_then(|packet| packet.udp(50_000, PORT))
            .and_then(|packet| packet.payload(datagram))
            .and_then(|packet| packet.finish(headers + datagram.len()))
            .ok()
            .context("a datagram too long for a frame")?;
        writer.frame(n as u64 * 100, &frame, frame.len() as u32).context("the capture")?;
    }
    writer.flush().context("the capture")
}

/// A run of a program whose output is lines.
fn lines_of(input: &Input<'_>, command: &mut Command) -> anyhow::Result<(Duration, u64)> {
    let out = input.folder.join("out");
    let took = Running::start(command, &out, &input.folder.join("log"))?.finish(input.stop)?;
    Ok((took, lines(&out)?))
}

fn sflowtool(input: &Input<'_>) -> anyhow::Result<(Duration, u64)> {
    let program = find("sflowtool").context("sflowtool")?;
    lines_of(input, Command::new(program).args(["-l", "-r"]).arg(&input.capture))
}

fn our_lines(input: &Input<'_>) -> anyhow::Result<(Duration, u64)> {
    let ours = std::env::current_exe().context("this program")?;
    lines_of(input, Command::new(ours).args(["decode", "--format", "line", "--read"]).arg(&input.capture))
}

/// Reads a capture and prints, when it ends, what it aggregated.
fn sfacctd(input: &Input<'_>) -> anyhow::Result<(Duration, u64)> {
    let (configuration, printed) = (input.folder.join("sfacctd.conf"), input.folder.join("printed"));
    let text = format!(
        "daemonize: false\npcap_savefile: {}\nsfacctd_renormalize: true\nplugins: print[p]\n\
         aggregate[p]: {THEIR_KEYS}\nprint_output_file[p]: {}\nprint_output[p]: csv\n\
         print_refresh_time[p]: 3600\nprint_cache_entries[p]: 65537\n\
         plugin_pipe_size: 104857600\nplugin_buffer_size: 102400\n",
        input.capture.display(),
        printed.display()
    );
    std::fs::write(&configuration, text).context("its configuration")?;
    let _ = std::fs::remove_file(&printed);
    let program = find("sfacctd").context("sfacctd")?;
    let (took, _) = lines_of(input, Command::new(program).arg("-f").arg(&configuration))?;
    Ok((took, lines(&printed)?.saturating_sub(1)))
}

/// The same file through a shard with a flow of the same keys.
fn our_flows(input: &Input<'_>) -> anyhow::Result<(Duration, u64)> {
    let began = cpu::of_this_thread();
    let flow = Change::Flow("peers".to_owned(), Some(json!({"keys": OUR_KEYS, "value": "bytes"})));
    let program = Program::default().changed(flow)?;
    let mut shard = Shard::new(Options::default());
    let (mut outbox, mut ownership, mut now_us) = (Outbox::default(), Ownership::alone(), 1);
    shard.adopt(&Arc::new(program), 0, &mut outbox);
    let mut payloads = Payloads::new(Reader::open(&input.capture)?, PORT);
    while let Some(batch) = payloads.next_batch(BATCH) {
        now_us += 100;
        let sender = IpAddr::from([192, 0, 2, 1]);
        let batch = batch?.map(|payload| (payload.bytes, sender));
        process_batch(batch, now_us, &mut shard, &mut outbox, &mut ownership);
    }
    let counters = shard.counters();
    ensure!(counters.flow_samples as usize == input.samples, "{} samples were taken", counters.flow_samples);
    Ok((cpu::of_this_thread().saturating_sub(began), shard.flows() as u64))
}

/// Listens on UDP only, and writes a record for each sample.
fn sfcapd(input: &Input<'_>) -> anyhow::Result<(Duration, u64)> {
    let flows = input.folder.join("sfcapd");
    let _ = std::fs::remove_dir_all(&flows);
    std::fs::create_dir(&flows)?;
    let (port, log) = (free_port()?, input.folder.join("log"));
    let mut command = Command::new(find("sfcapd").context("sfcapd")?);
    command
        .args(["-b", "127.0.0.1", "-p", &port.to_string(), "-B", "8388608", "-t", "86400", "-w"])
        .arg(&flows);
    let mut running = Running::start(&mut command, &input.folder.join("out"), &log)?;
    running.feed(port, input.datagrams.iter().map(Vec::as_slice), input.stop)?;
    // What it read last it is still at, for less than the time of a tick.
    let took = running.took()?;
    running.end(input.stop)?;
    let said = std::fs::read_to_string(&log)?;
    let told = said.rsplit("Flows:").next().and_then(|rest| rest.split([',', '\n']).next());
    let records =
        told.and_then(|told| told.trim().parse().ok()).context("it does not tell how many flows it wrote")?;
    Ok((took, records))
}

/// The same from a socket: a line for each sample.
fn our_socket(input: &Input<'_>) -> anyhow::Result<(Duration, u64)> {
    let port = free_port()?;
    let ours = std::env::current_exe().context("this program")?;
    let out = input.folder.join("out");
    let mut command = Command::new(ours);
    command.args(["decode", "--format", "line", "--listen", &format!("127.0.0.1:{port}"), "--count"]);
    command.arg(input.datagrams.len().to_string());
    let mut running = Running::start(&mut command, &out, &input.folder.join("log"))?;
    running.feed(port, input.datagrams.iter().map(Vec::as_slice), input.stop)?;
    let took = running.finish(input.stop)?;
    Ok((took, flow_lines(&out)?))
}

/// Lines of flow samples: the peer keeps no counters.
fn flow_lines(path: &Path) -> anyhow::Result<u64> {
    let text = std::fs::read(path).context("our output")?;
    Ok(text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"FLOW")).count() as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_capture_of_frames_holds_what_was_put_in() {
        let folder = tempfile::tempdir().unwrap();
        let (_, mut all) = datagrams(None).unwrap();
        all.truncate(500);
        let samples = flow_samples(&all);
        assert!(samples > 100);
        let mut input = Input {
            folder: folder.path(),
            capture: folder.path().join("capture"),
            datagrams: repeated(all.clone(), 3),
            samples: samples * 3,
            stop: &AtomicBool::new(false),
        };
        assert_eq!(flow_samples(&input.datagrams), input.samples);
        assert_eq!(input.datagrams[..500], all[..]);
        write(&mut input).unwrap();
        let (_, read) = datagrams(Some((&input.capture, PORT))).unwrap();
        assert_eq!(read, input.datagrams);
        let (took, flows) = our_flows(&input).unwrap();
        assert!(took > Duration::ZERO && flows > 10);
        assert!(run(Some((Path::new("/nonexistent"), PORT)), true, input.stop).is_err());
    }
}
