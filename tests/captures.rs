//! `finderscope decode` against the reference decoder's reading of real captures, and on captures of our own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use decode::build::{DatagramBuilder, RecordOut};
use decode::flow::{self, SampledHeader};
use decode::layout::Value;
use decode::packet::PacketBuilder;
use decode::sample::{DataSource, Interface};
use decode::{Address, DiscardedPacket, FlowSample, Header, Mac};
use ingest::capture::{Writer, link};
use serde_json::Value as Json;

use crate::support::finderscope;

/// Fields that say when or from where the datagram was read.
const OF_THE_READING: [&str; 6] = [
    "datagramSourceIP",
    "unixSecondsUTC",
    "unixSecondsUTC_uS",
    "localtime",
    "pcapTimestamp",
    "pcapTimestamp_uS",
];

fn decode_file(path: &Path, format: &str) -> Output {
    finderscope().args(["decode", "--format", format, "--read"]).arg(path).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The folder of real captures: `$FINDERSCOPE_CAPTURES`, else beside the checkout.
fn captures() -> Option<PathBuf> {
    let given = std::env::var_os("FINDERSCOPE_CAPTURES").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"));
    folder.is_dir().then_some(folder)
}

/// The reference decoder's output, where there is one.
fn reference(folder: &Path, name: &str, kind: &str) -> Option<String> {
    let plain = folder.join(format!("{name}.{kind}"));
    let packed = folder.join(format!("{name}.{kind}.gz"));
    if plain.exists() {
        return Some(std::fs::read_to_string(plain).unwrap());
    }
    packed.exists().then(|| {
        let output = Command::new("gzip").arg("-dc").arg(packed).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    })
}

fn facts(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !OF_THE_READING.contains(&line.split(' ').next().unwrap())).collect()
}

fn objects(text: &str) -> Vec<Json> {
    let mut objects: Vec<Json> =
        serde_json::Deserializer::from_str(text).into_iter().collect::<Result<_, _>>().unwrap();
    for object in &mut objects {
        for field in OF_THE_READING {
            object.as_object_mut().unwrap().remove(field);
        }
    }
    objects
}

#[test]
fn real_captures_read_as_the_reference_decoder_reads_them() {
    let Some(folder) = captures() else {
        eprintln!("NOT RUN: the real captures are not here; FINDERSCOPE_CAPTURES may name their folder");
        assert!(std::env::var_os("CI").is_none(), "continuous integration needs the real captures");
        return;
    };
    let mut compared: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "pcap") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if let Some(theirs) = reference(&folder, &name, "txt") {
            let ours = stdout(&decode_file(&path, "text"));
            let (ours, theirs) = (facts(&ours), facts(&theirs));
            let differs = ours.iter().zip(&theirs).position(|(a, b)| a != b);
            if let Some(at) = differs {
                let from = at.saturating_sub(5);
                panic!("{name}.txt, line {at}: {:#?} instead of {:#?}", &ours[from..=at], &theirs[from..=at]);
            }
            assert_eq!(ours.len(), theirs.len(), "{name}.txt");
            *compared.entry("txt").or_default() += 1;
        }
        if let Some(theirs) = reference(&folder, &name, "json") {
            let ours = objects(&stdout(&decode_file(&path, "json")));
            let theirs = objects(&theirs);
            assert_eq!(ours.len(), theirs.len(), "{name}.json");
            for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
                assert_eq!(ours, theirs, "{name}.json, datagram {at}");
            }
            *compared.entry("json").or_default() += 1;
        }
        if let Some(theirs) = reference(&folder, &name, "line") {
            assert_eq!(stdout(&decode_file(&path, "line")), theirs, "{name}.line");
            *compared.entry("line").or_default() += 1;
        }
    }
    assert_eq!(compared, BTreeMap::from([("txt", 8), ("json", 7), ("line", 8)]), "all of them were compared");
}

const AGENT: [u8; 4] = [10, 0, 0, 9];

/// A datagram with a sampled packet, its switch, an unknown record and a discarded packet.
fn datagram() -> Vec<u8> {
    let mut packet = [0; 128];
    let built = PacketBuilder::new(&mut packet).ethernet(Mac([2; 6]), Mac([0xa; 6])).unwrap();
    let built =
        built.vlan(30, 2).unwrap().ipv4([192, 0, 2, 1].into(), [198, 51, 100, 2].into(), 8, 63).unwrap();
    let length = built.tcp(40000, 443, 0x18).unwrap().finish(1000).unwrap();
    let sampled = SampledHeader { protocol: 1, frame_length: 1004, stripped: 4, bytes: &packet[..length] };
    let switch = [30, 2, 30, 0].map(Value::U32);
    let sample = FlowSample {
        sequence: 77,
        source: DataSource { class: 0, index: 5 },
        sampling_rate: 400,
        sample_pool: 30800,
        input: Interface::index(5),
        output: Interface { format: 1, value: 258 },
        ..FlowSample::default()
    };
    let records = [
        RecordOut::Header(sampled),
        RecordOut::Fields(&flow::EXTENDED_SWITCH, &switch),
        RecordOut::Raw(decode::Tag::new(8800, 3), &[1; 8]),
    ];
    let reason = [Value::Text(b"tail \"drop\"\n")];
    let discarded = DiscardedPacket { sequence: 3, reason: 259, input: 5, ..DiscardedPacket::default() };
    let mut buffer = vec![0; 1400];
    let header =
        Header { agent: Address::V4(AGENT.into()), sub_agent: 1, sequence: 11, uptime_ms: 5000, samples: 0 };
    let mut builder = DatagramBuilder::new(&mut buffer, &header).unwrap();
    builder.flow_sample(&sample, &records).unwrap();
    builder.discarded(&discarded, &[RecordOut::Fields(&flow::EXTENDED_FUNCTION, &reason)]).unwrap();
    let length = builder.finish().unwrap();
    buffer.truncate(length);
    buffer
}

const EXPECTED: &str = "\
startDatagram =================================
datagramSourceIP 10.0.0.9
datagramSize 256
unixSecondsUTC 1500000000
unixSecondsUTC_uS 250000
localtime 2017-07-14T02:40:00+0000
pcapTimestamp 2017-07-14T02:40:00+0000
pcapTimestamp_uS 250000
datagramVersion 5
agentSubId 1
agent 10.0.0.9
packetSequenceNo 11
sysUpTime 5000
samplesInPacket 2
startSample ----------------------
sampleType_tag 0:1
sampleType FLOWSAMPLE
sampleSequenceNo 77
sourceId 0:5
meanSkipCount 400
samplePool 30800
dropEvents 0
inputPort 5
outputPort dropCode 258
flowBlock_tag 0:1
flowSampleType HEADER
headerProtocol 1
sampledPacketSize 1004
strippedBytes 4
headerLen 58
headerBytes 02-02-02-02-02-02-0A-0A-0A-0A-0A-0A-81-00-40-1E-08-00-45-08-03-D6-00-00-40-00-3F-06-4B-E3-C0-00-02-01-C6-33-64-02-9C-40-01-BB-00-00-00-00-00-00-00-00-50-18-00-00-00-00-00-00
dstMAC 020202020202
srcMAC 0a0a0a0a0a0a
decodedVLAN 30
decodedPriority 2
ethernet_type 2048
IPSize 982
ip.tot_len 982
srcIP 192.0.2.1
dstIP 198.51.100.2
IPProtocol 6
IPTOS 8
IPTTL 63
IPID 0
TCPSrcPort 40000
TCPDstPort 443
TCPFlags 24
flowBlock_tag 0:1001
extendedType SWITCH
in_vlan 30
in_priority 2
out_vlan 30
out_priority 0
flowBlock_tag 8800:3
skipping unknown flow_sample_element: 8800:3 len=8
endSample   ----------------------
startSample ----------------------
sampleType_tag 0:5
sampleType DISCARD
sampleSequenceNo 3
sourceId 0:0
dropEvents 0
inputPort 5
outputPort 0
discardCode 259
discardReason no_buffer_space
discarded_flowBlock_tag 0:1038
discarded_extendedType function
discarded_symbol tail \"drop\"\\u{a}
endSample   ----------------------
endDatagram   =================================
";

/// The UDP datagram in an IPv4 packet.
fn udp_in_ip(payload: &[u8], port: u16) -> Vec<u8> {
    let mut packet = vec![0; payload.len() + 28];
    let built = PacketBuilder::new(&mut packet).ipv4(AGENT.into(), [10, 0, 0, 1].into(), 0, 64).unwrap();
    let whole = payload.len() + 28;
    let length = built.udp(5000, port).unwrap().payload(payload).unwrap().finish(whole).unwrap();
    assert_eq!(length, whole);
    packet
}

fn capture(link: i32, frames: &[Vec<u8>]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = Writer::new(file.as_file_mut(), link).unwrap();
    for frame in frames {
        writer.frame(1_500_000_000_250_000, frame, frame.len() as u32).unwrap();
    }
    writer.flush().unwrap();
    file
}

#[test]
fn text_of_a_capture_of_our_own() {
    let file = capture(link::RAW, &[udp_in_ip(&datagram(), 6343)]);
    let output = decode_file(file.path(), "text");
    assert_eq!(stdout(&output), EXPECTED);
    assert!(output.status.success());
    let summary = String::from_utf8(output.stderr).unwrap();
    assert!(summary.contains("datagrams 1 from 1 agents, flow samples 1, discarded packets 1"), "{summary}");
    assert!(summary.contains("unknown flow record 8800:3: 1"), "{summary}");
}

#[test]
fn json_and_line_say_the_same() {
    let file = capture(link::RAW, &[udp_in_ip(&datagram(), 6343)]);
    let read = objects(&stdout(&decode_file(file.path(), "json")));
    let sample = &read[0]["samples"][0];
    assert_eq!(sample["elements"][0]["srcIP"], "192.0.2.1");
    assert_eq!(sample["elements"][2], serde_json::json!({"flowBlock_tag": "8800:3"}));
    assert_eq!(read[0]["samples"][1]["elements"][0]["discarded_symbol"], "tail \"drop\"\n");
    let line = stdout(&decode_file(file.path(), "line"));
    assert_eq!(
        line,
        "FLOW,10.0.0.9,5,258,0a0a0a0a0a0a,020202020202,0x0800,30,30,192.0.2.1,198.51.100.2,6,0x08,63,40000,443,\
         0x18,1004,982,400\n"
    );
}

#[test]
fn every_link_type_leads_to_the_datagram() {
    let ip = udp_in_ip(&datagram(), 6343);
    let behind = |head: &[u8]| vec![[head, &ip].concat()];
    let ethernet = |kind: &[u8]| [&[0; 12], kind].concat();
    for (link, frames) in [
        (link::RAW, behind(&[])),
        (link::RAW_BSD, behind(&[])),
        (link::IPV4, behind(&[])),
        (link::ETHERNET, behind(&ethernet(&[8, 0]))),
        (link::ETHERNET, behind(&ethernet(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0]))),
        (link::LINUX_SLL, behind(&[&[0; 14][..], &[8, 0]].concat())),
        (link::LINUX_SLL2, behind(&[&[8, 0][..], &[0; 18]].concat())),
        (link::NULL, behind(&[2, 0, 0, 0])),
        (link::LOOP, behind(&[0, 0, 0, 2])),
    ] {
        let file = capture(link, &frames);
        assert_eq!(stdout(&decode_file(file.path(), "text")), EXPECTED, "link type {link}");
    }
}

#[test]
fn a_capture_that_has_frame_check_sequences_is_of_its_link_type() {
    let head = [&[0; 12][..], &[8, 0]].concat();
    let frame = [&head[..], &udp_in_ip(&datagram(), 6343), &[0xfc; 4]].concat();
    // Four bits of the length, in words of 16 bits, and the bit that says that there is one.
    let link = (2 << 28 | 1 << 26) | link::ETHERNET;
    let file = capture(link, &[frame]);
    assert_eq!(stdout(&decode_file(file.path(), "text")), EXPECTED);
}

#[test]
fn fragments_are_put_together() {
    let whole = udp_in_ip(&datagram(), 6343);
    let cut = 20 + 160;
    let (mut first, mut second) = (whole[..cut].to_vec(), [&whole[..20], &whole[cut..]].concat());
    for (fragment, flags) in [(&mut first, 0x2000_u16), (&mut second, 160 / 8)] {
        let length = (fragment.len() as u16).to_be_bytes();
        fragment[2..4].copy_from_slice(&length);
        fragment[6..8].copy_from_slice(&flags.to_be_bytes());
    }
    let file = capture(link::RAW, &[second.clone(), first]);
    let output = decode_file(file.path(), "text");
    assert_eq!(stdout(&output), EXPECTED);
    assert!(String::from_utf8_lossy(&output.stderr).contains("IP fragments 2, reassembled 1"));
    let alone = decode_file(capture(link::RAW, &[second]).path(), "text");
    assert_eq!(alone.status.code(), Some(3), "nothing was decoded");
    assert!(String::from_utf8_lossy(&alone.stderr).contains("incomplete 1"));
}

#[test]
fn sampled_packets_become_a_capture_for_wireshark() {
    let file = capture(link::RAW, &[udp_in_ip(&datagram(), 6343)]);
    let output = decode_file(file.path(), "pcap");
    let mut packets = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut packets, &output.stdout).unwrap();
    let mut reader = ingest::capture::Reader::open(packets.path()).unwrap();
    let frame = reader.next_frame().unwrap().unwrap();
    assert_eq!((frame.link, frame.bytes.len(), frame.cut), (link::ETHERNET, 58, true));
    assert!(reader.next_frame().is_none());
}

#[test]
fn a_capture_that_ends_within_a_frame_gives_what_is_whole() {
    let file = capture(link::RAW, &[udp_in_ip(&datagram(), 6343), udp_in_ip(&datagram(), 6343)]);
    let bytes = std::fs::read(file.path()).unwrap();
    for cut in [1, 100] {
        std::fs::write(file.path(), &bytes[..bytes.len() - cut]).unwrap();
        let output = decode_file(file.path(), "text");
        assert_eq!(stdout(&output), EXPECTED);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("ends within a frame, after 1 whole ones"), "{said}");
    }
}

#[test]
fn what_the_capture_cut_is_counted_as_cut_wherever_that_is() {
    let whole = udp_in_ip(&datagram(), 6343);
    for kept in [10, 25, 100] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = Writer::new(&mut file, link::RAW).unwrap();
        writer.frame(0, &whole[..kept], whole.len() as u32).unwrap();
        writer.flush().unwrap();
        let said = decode_file(file.path(), "text").stderr;
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("frames 1, cut by the capture 1"), "{kept}: {said}");
    }
}

#[test]
fn a_pipe_may_be_slow() {
    struct Bytewise(std::io::Cursor<Vec<u8>>);
    impl std::io::Read for Bytewise {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let one = into.len().min(1);
            self.0.read(&mut into[..one])
        }
    }
    let file = capture(link::RAW, &[udp_in_ip(&datagram(), 6343)]);
    let bytes = std::fs::read(file.path()).unwrap();
    // A section, an interface without a link layer, and a frame of four bytes of it, and one of another interface.
    let block = |kind: u32, words: &[u32]| {
        let length = 12 + 4 * words.len() as u32;
        let words = [&[kind, length], words, &[length]].concat();
        words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>()
    };
    let section = block(0x0a0d_0d0a, &[0x1a2b_3c4d, 1, u32::MAX, u32::MAX]);
    let frame = |interface| block(6, &[interface, 0, 7, 4, 4, 0x45]);
    let next = [section, block(1, &[link::RAW as u32, 0]), frame(0), frame(5)].concat();
    for (bytes, links) in [(bytes, vec![link::RAW]), (next, vec![link::RAW, -1])] {
        let pipe = Bytewise(std::io::Cursor::new(bytes));
        let mut reader = ingest::capture::Reader::new(Path::new("-"), pipe).unwrap();
        let mut read = Vec::new();
        while let Some(frame) = reader.next_frame() {
            read.push(frame.unwrap().link);
        }
        assert_eq!(read, links);
    }
}

#[test]
fn what_is_no_capture_and_what_is_no_sflow() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "this is a text").unwrap();
    let output = decode_file(file.path(), "text");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("neither pcap nor pcapng"));
    std::fs::write(file.path(), [0x1f, 0x8b, 8, 0]).unwrap();
    let output = decode_file(file.path(), "text");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is compressed: give what `gzip -dc"));
    let folder = tempfile::tempdir().unwrap();
    let output = decode_file(folder.path(), "text");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Is a directory"));
    let netflow = [&[0, 5, 0, 1][..], &[0; 20]].concat();
    let output = decode_file(capture(link::RAW, &[udp_in_ip(&netflow, 6343)]).path(), "text");
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("error version: 1 datagrams"));
    let other = decode_file(capture(link::RAW, &[udp_in_ip(&datagram(), 9999)]).path(), "text");
    assert!(String::from_utf8_lossy(&other.stderr).contains("other ports 1"));
    let radio = decode_file(capture(105, &[datagram()]).path(), "text");
    assert!(String::from_utf8_lossy(&radio.stderr).contains("other link types 1"));
    let neither = finderscope().arg("decode").output().unwrap();
    assert_eq!(neither.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&neither.stderr).contains("--listen"));
    for wrong in [
        &["decode", "--bogus"][..],
        &["decode", "--listen", "127.0.0.1:0", "--forward", "collector"],
        &["replay", "x.pcap", "--to", "127.0.0.1"],
        &["replay", "x.pcap", "--to", "127.0.0.1:6343", "--loop", "0"],
        &["simulate", "--to", ":6343"],
    ] {
        assert_eq!(finderscope().args(wrong).output().unwrap().status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_socket_is_listened_to_and_datagrams_are_sent_on() {
    use std::io::{BufRead, BufReader};
    let collector = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    let to = collector.local_addr().unwrap().to_string();
    let mut child = finderscope()
        .args(["decode", "--listen", "127.0.0.1:0", "--format", "line", "--count", "2", "--forward", &to])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let address: SocketAddr = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..2 {
        sender.send_to(&datagram(), address).unwrap();
    }
    let mut forwarded = [0; 2000];
    for _ in 0..2 {
        let length = collector.recv(&mut forwarded).unwrap();
        assert_eq!(forwarded[..length], datagram());
    }
    let lines: Vec<_> = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).collect();
    assert_eq!(lines.len(), 2);
    assert!(child.wait().unwrap().success());
}
