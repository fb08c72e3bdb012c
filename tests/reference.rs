//! `finderscope decode` on records that the real captures lack, against what the reference decoder says of the same
//! bytes.

use decode::build::{DatagramBuilder, RecordOut};
use decode::flow::SampledHeader;
use decode::packet::PacketBuilder;
use decode::sample::DataSource;
use decode::{Address, CountersSample, FlowSample, Header, Mac, Tag};
use ingest::capture::{Writer, link};

use crate::support::finderscope;

/// The output for one datagram with these records, each in a sample of its own.
fn decoded(format: &str, flows: &[RecordOut<'_>], counters: &[RecordOut<'_>]) -> String {
    let mut buffer = vec![0; 4000];
    let header = Header { agent: Address::V4([10, 0, 0, 9].into()), sequence: 1, ..Header::default() };
    let mut builder = DatagramBuilder::new(&mut buffer, &header).unwrap();
    for record in flows {
        builder.flow_sample(&FlowSample::default(), std::slice::from_ref(record)).unwrap();
    }
    for record in counters {
        let sample = CountersSample { source: DataSource { class: 0, index: 1 }, ..Default::default() };
        builder.counters_sample(&sample, std::slice::from_ref(record)).unwrap();
    }
    let length = builder.finish().unwrap();
    let mut packet = vec![0; 8000];
    let built =
        PacketBuilder::new(&mut packet).ipv4([10, 0, 0, 9].into(), [10, 0, 0, 1].into(), 0, 64).unwrap();
    let built = built.udp(5000, 6343).unwrap().payload(&buffer[..length]).unwrap();
    let whole = built.finish(length + 28).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = Writer::new(file.as_file_mut(), link::RAW).unwrap();
    writer.frame(1_500_000_000_000_000, &packet[..whole], whole as u32).unwrap();
    writer.flush().unwrap();
    let arguments = ["decode", "--format", format, "--read"];
    let output = finderscope().args(arguments).arg(file.path()).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// Asserts that the lines stand there, one after the other.
fn assert_lines(text: &str, lines: &[&str]) {
    let block = format!("\n{}\n", lines.join("\n"));
    assert!(text.contains(&block), "{block} in {text}");
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

#[test]
fn a_packet_without_a_link_layer_has_no_addresses_of_one() {
    let mut inner = [0; 200];
    let built =
        PacketBuilder::new(&mut inner).ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 0, 64).unwrap();
    let built = built.udp(5555, 4789).unwrap().payload(&[8, 0, 0, 0, 0, 0, 100, 0]).unwrap();
    let built = built.payload(&[2; 6]).unwrap().payload(&[4; 6]).unwrap().payload(&[8, 0]).unwrap();
    let length = built.payload(&[0x45; 20]).unwrap().finish(70).unwrap();
    let bytes = &inner[..length];
    let whole = RecordOut::Header(SampledHeader { protocol: 11, frame_length: 70, stripped: 0, bytes });
    let text = decoded("text", &[whole], &[]);
    assert!(!text.contains("dstMAC"), "the tunnel's inner addresses are not the packet's: {text}");
    let line = decoded("line", &[whole], &[]);
    assert!(line.contains(",000000000000,000000000000,0x0000,"), "{line}");
    // A header that is cut short still has its size.
    let cut =
        RecordOut::Header(SampledHeader { protocol: 11, frame_length: 70, stripped: 4, bytes: &bytes[..9] });
    assert_lines(&decoded("text", &[cut], &[]), &["headerBytes 45-00-00-46-00-00-40-00-40", "IPSize 66"]);
}

#[test]
fn stations_of_a_wireless_frame() {
    let mut frame = vec![0x08, 0x01, 0, 0];
    for station in [1, 2, 3] {
        frame.extend_from_slice(&[station; 6]);
    }
    frame.extend_from_slice(&[0; 2]);
    let header = SampledHeader { protocol: 15, frame_length: 90, stripped: 0, bytes: &frame };
    let macs = ["srcMAC 020202020202", "dstMAC 030303030303", "txMAC 020202020202", "rxMAC 010101010101"];
    assert_lines(&decoded("text", &[RecordOut::Header(header)], &[]), &macs);
}

#[test]
fn records_under_the_names_that_scripts_look_for() {
    let gateway = words(&[1, 0x0a00_0001, 65001, 65002, 65003, 0, 0, 100]);
    let operation = |status| words(&[0, 0, 0, 0, 0, 5, 0, 6, 7, status]);
    let (unauthorized, beyond) = (operation(10), operation(11));
    let text = decoded(
        "text",
        &[
            RecordOut::Raw(Tag::new(0, 1003), &gateway),
            RecordOut::Raw(Tag::new(0, 2202), &unauthorized),
            RecordOut::Raw(Tag::new(0, 2202), &beyond),
        ],
        &[
            RecordOut::Raw(Tag::new(0, 1004), &words(&[0, 0xab, 3])),
            RecordOut::Raw(
                Tag::new(0, 10),
                &words(&[1, 1, 3300, 40, 1, 1, 20, 30, 31, 32, 850, 33, 34, 35, 851]),
            ),
        ],
    );
    assert_lines(&text, &["src_peer_as 65003", "dst_as 0", "dst_peer_as 0", "BGP_localpref 100"]);
    assert_lines(&text, &["status UNATHORIZED"]);
    assert_lines(&text, &["status <out-of-range=11>"]);
    assert_lines(&text, &["openflow_datapath_id 00000000000000ab", "openflow_port 3"]);
    assert_lines(&text, &["sfp_lane_tx_bias_current_uA.0 20", "sfp_lane_tx_power_uW.%u.0 30"]);
}

#[test]
fn lines_of_samples_without_a_packet() {
    let mut ethernet = words(&[1200]);
    for mac in [Mac([2; 6]), Mac([4; 6])] {
        ethernet.extend_from_slice(&mac.0);
        ethernet.extend_from_slice(&[0, 0]);
    }
    ethernet.extend_from_slice(&words(&[0x800]));
    let socket = words(&[6, 0x0a00_0001, 0x0a00_0002, 40000, 443]);
    let records = [RecordOut::Raw(Tag::new(0, 2), &ethernet), RecordOut::Raw(Tag::new(0, 2100), &socket)];
    assert_eq!(
        decoded("line", &records, &[]),
        "FLOW,10.0.0.9,0,0,020202020202,040404040404,0x0800,0,0,-,-,0,0x00,0,0,0,0x00,0,0,0\n\
         FLOW,10.0.0.9,0,0,000000000000,000000000000,0x0000,0,0,10.0.0.1,10.0.0.2,0,0x00,0,0,0,0x00,0,0,0\n"
    );
}
