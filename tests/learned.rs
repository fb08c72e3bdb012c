//! What flows look up that no packet says, through the whole program: vendors from a file, names from the system's
//! resolver, hosts from what other agents tell.

use std::net::UdpSocket;

use decode::build::{DatagramBuilder, RecordOut};
use decode::flow::SampledHeader;
use decode::layout::{Adapters, Value};
use decode::packet::PacketBuilder;
use decode::sample::Interface;
use decode::{Address, CountersSample, DataSource, FlowSample, Header, Mac, counter};

use crate::support::{Collector, finderscope};

const MAC: Mac = Mac([0xac, 0xde, 0x48, 0, 0, 1]);

/// A datagram with a packet from 127.0.0.1 and from [`MAC`], which the counters say is that of the host `db1`.
fn datagram(sequence: u32) -> Vec<u8> {
    let mut packet = [0; 128];
    let builder = PacketBuilder::new(&mut packet).ethernet(Mac([2; 6]), MAC).unwrap();
    let builder = builder.ipv4([127, 0, 0, 1].into(), [127, 0, 0, 1].into(), 0, 64).unwrap();
    let length = builder.udp(1000, 2000).unwrap().finish(100).unwrap();
    let header = Header {
        agent: Address::V4([10, 0, 0, 1].into()),
        sequence,
        uptime_ms: sequence * 1000,
        ..Header::default()
    };
    let mut buffer = vec![0; 1400];
    let mut builder = DatagramBuilder::new(&mut buffer, &header).unwrap();
    let source = DataSource { class: 0, index: 1 };
    let sample = FlowSample {
        sequence,
        source,
        sampling_rate: 1,
        sample_pool: sequence,
        input: Interface::index(1),
        ..FlowSample::default()
    };
    let sampled = SampledHeader { protocol: 1, frame_length: 104, stripped: 4, bytes: &packet[..length] };
    builder.flow_sample(&sample, &[RecordOut::Header(sampled)]).unwrap();
    let mut adapter = vec![0, 0, 0, 2, 0, 0, 0, 1];
    adapter.extend(MAC.0);
    adapter.extend([0, 0]);
    let adapters = [Value::Adapters(Adapters::from_bytes(1, &adapter))];
    let identity = [Value::Text(b"db1"), Value::Uuid([7; 16]), Value::U32(3), Value::U32(2)];
    let records = [
        RecordOut::Fields(&counter::HOST_ADAPTERS, &adapters),
        RecordOut::Fields(&counter::HOST_DESCR, &identity),
    ];
    let source = DataSource { class: 2, index: 1 };
    builder.counters_sample(&CountersSample { sequence, source, ..Default::default() }, &records).unwrap();
    let length = builder.finish().unwrap();
    buffer.truncate(length);
    buffer
}

#[test]
fn vendors_names_and_hosts_are_looked_up() {
    let folder = tempfile::tempdir().unwrap();
    let vendors = folder.path().join("manuf");
    std::fs::write(&vendors, "AC:DE:48\tPrivate\tPrivate Corp\n").unwrap();
    let collector = Collector::start(&["--dns", "--oui-file", vendors.to_str().unwrap()]);
    let keys = "oui:macsource:name,dns:ipsource,host:macsource:host_name";
    let (status, body) = collector.request(
        "PUT",
        "/flow/learned/json",
        Some(&format!("{{keys:'{keys}',value:'frames',t:600}}")),
    );
    assert_eq!(status, 204, "{body}");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut sequence = 0;
    // The system's own name of 127.0.0.1, whatever it is, comes from /etc/hosts or a name server.
    let name = dns_lookup::lookup_addr(&[127, 0, 0, 1].into()).unwrap();
    let key = collector.wait_for("/activeflows/ALL/learned/json", |flows| {
        sequence += 1;
        socket.send_to(&datagram(sequence), collector.sflow).unwrap();
        flows[0]["key"].as_str().map(str::to_owned)
    });
    let parts: Vec<&str> = key.split(',').collect();
    assert!(parts[0].starts_with("Private"), "{key}");
    assert_eq!((parts[1], parts[2]), (name.as_str(), "db1"));
}

#[test]
fn a_function_without_its_data_names_the_option() {
    let collector = Collector::start(&[]);
    for (keys, option) in [
        ("country:ipsource", "geo.country"),
        ("asn:ipsource", "geo.asn"),
        ("oui:macsource:name", "oui.file"),
        ("dns:ipsource", "dns.enabled"),
    ] {
        let body = format!("{{keys:'{keys}',value:'bytes'}}");
        let (status, answer) = collector.request("PUT", "/flow/f/json", Some(&body));
        assert!(status == 400 && answer.contains(option), "{keys}: {status} {answer}");
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("f.toml");
    std::fs::write(folder.path().join("junk.mmdb"), "no database").unwrap();
    std::fs::write(&config, "[geo]\ncountry = \"junk.mmdb\"\nasn = \"absent.mmdb\"\n").unwrap();
    let output = finderscope().args(["run", "--check-config", "--config"]).arg(&config).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("f.toml:2:11: geo.country: ") && said.contains("junk.mmdb: not a file"), "{said}");
    assert!(said.contains("f.toml:3:7: geo.asn: ") && said.contains("absent.mmdb: cannot be read"), "{said}");
}
