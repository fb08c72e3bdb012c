//! `finderscope run`: real sFlow in, answers out, as a client sees them.

use std::net::UdpSocket;

use decode::build::{DatagramBuilder, RecordOut};
use decode::layout::Value;
use decode::{Address, CountersSample, DataSource, Header, counter};

use crate::support::{Collector, finderscope};

/// Sends counters samples of a host, two seconds of its own time apart.
struct Host {
    socket: UdpSocket,
    agent: [u8; 4],
    sequence: u32,
}

impl Host {
    fn new(collector: &Collector, last: u8) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(collector.sflow).unwrap();
        Self { socket, agent: [10, 0, 0, last], sequence: 0 }
    }

    fn send(&mut self, name: &str, load: f32, octets: u64) {
        self.sequence += 1;
        let header = Header {
            agent: Address::V4(self.agent.into()),
            sequence: self.sequence,
            uptime_ms: self.sequence * 2000,
            ..Header::default()
        };
        let mut interface =
            vec![Value::U32(4), Value::U32(6), Value::U64(1_000_000_000), Value::U32(1), Value::U32(3)];
        interface.push(Value::U64(octets));
        let port = [Value::Text(b"eth\"0")];
        let cpu = [Value::F32(load)];
        let identity = [Value::Text(name.as_bytes()), Value::Uuid([7; 16]), Value::U32(3), Value::U32(2)];
        let mut buffer = vec![0; 1400];
        let mut builder = DatagramBuilder::new(&mut buffer, &header).unwrap();
        let sample = |source| CountersSample { sequence: self.sequence, source, ..Default::default() };
        let records = [
            RecordOut::Fields(&counter::PORT_NAME, &port),
            RecordOut::Fields(&counter::IF_COUNTERS, &interface),
        ];
        builder.counters_sample(&sample(DataSource { class: 0, index: 4 }), &records).unwrap();
        let records =
            [RecordOut::Fields(&counter::HOST_CPU, &cpu), RecordOut::Fields(&counter::HOST_DESCR, &identity)];
        builder.counters_sample(&sample(DataSource { class: 2, index: 1 }), &records).unwrap();
        let length = builder.finish().unwrap();
        self.socket.send(&buffer[..length]).unwrap();
    }
}

fn two_hosts() -> Collector {
    let collector = Collector::start(&[]);
    for (last, name, load) in [(1, "web1", 0.5), (2, "web2", 1.5), (3, "mem1", 4.0)] {
        let mut host = Host::new(&collector, last);
        host.send(name, load, 1000);
        // Counters of nearly the same moment make no rate, so the agent's clock moves on by two seconds.
        host.send(name, load, 251_000);
    }
    collector.wait_for("/analyzer/json", |answer| (answer["sFlowDatagramsReceived"] == 6).then_some(()));
    collector
}

#[test]
fn every_endpoint_answers_what_was_sent() {
    let collector = two_hosts();
    assert_eq!(collector.get("/version"), (200, env!("CARGO_PKG_VERSION").to_owned()));
    assert_eq!(collector.get("/healthz"), (200, "OK\n".to_owned()));

    let agents = collector.json("/agents/json");
    let agent = &agents["10.0.0.1"];
    assert_eq!(agents.as_object().unwrap().len(), 3);
    assert_eq!((&agent["sFlowDatagramsReceived"], &agent["sFlowDatagramsLost"]), (&2.into(), &0.into()));
    assert_eq!(agent["sFlowCounterDatasources"], 2);
    assert_eq!(agent["sFlowDatagramSource"], serde_json::json!(["127.0.0.1"]));
    assert_eq!((&agent["uptime"], agent["lastSeen"].is_u64()), (&4000.into(), true));
    let one = collector.json("/agents/json?agent=10.0.0.2");
    assert_eq!(one.as_object().unwrap().keys().collect::<Vec<_>>(), ["10.0.0.2"]);

    let names = collector.json("/metrics/json");
    assert!(names["ifinoctets"].is_u64() && names["load_one"].is_u64());

    let flat = collector.json("/metric/10.0.0.2/json");
    assert_eq!((&flat["4.ifinoctets"], &flat["4.ifinutilization"]), (&125_000.into(), &0.1.into()));
    assert_eq!((&flat["2.1.host_name"], &flat["2.1.os_name"]), (&"web2".into(), &"linux".into()));
    assert_eq!((&flat["4.iftype"], &flat["4.ifoperstatus"]), (&"ethernetCsmacd".into(), &"up".into()));

    let max = &collector.json("/metric/ALL/load_one,avg:load_one,sum:4.ifinoctets,med:load_one,nosuch/json");
    assert_eq!((&max[0]["metricValue"], &max[0]["agent"]), (&4.into(), &"10.0.0.3".into()));
    assert_eq!((&max[0]["dataSource"], &max[0]["metricN"]), (&"2.1".into(), &3.into()));
    assert_eq!((&max[1]["metricValue"], max[1].get("agent")), (&2.into(), None));
    assert_eq!(max[2]["metricValue"], 375_000);
    assert_eq!(
        max[3]["quartiles"],
        serde_json::json!({"min": 0.5, "q1": 1, "med": 1.5, "q3": 2.75, "max": 4})
    );
    assert_eq!((&max[4]["metricName"], max[4].get("metricValue")), (&"nosuch".into(), None));

    let filtered = collector.json("/metric/ALL/sum:load_one/json?host_name=web*");
    assert_eq!((&filtered[0]["metricValue"], &filtered[0]["metricN"]), (&2.into(), &2.into()));
    let of_ports = collector.json("/metric/web1;web2/sum:ifinoctets/json?host_name=web1,mem*&ifspeed=1e9");
    assert_eq!(of_ports[0]["metricValue"], 125_000, "a host's name filters its interfaces");

    let dump = collector.json("/dump/10.0.0.1/ifindex;ifoperstatus/json");
    assert_eq!(dump.as_array().unwrap().len(), 2);
    assert_eq!((&dump[0]["metricName"], &dump[0]["metricValue"]), (&"ifindex".into(), &4.into()));
    assert!(collector.json("/dump/ALL/ALL/json").as_array().unwrap().len() > 30);

    let (_, text) = collector.get("/prometheus/metrics/ALL/load_one,ifinoctets/txt");
    let line = "sflow_load_one{agent=\"10.0.0.3\",datasource=\"2.1\",host=\"mem1\"} 4\n";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("datasource=\"4\",host=\"web1\",ifname=\"eth\\\"0\"} 125000\n"), "{text}");
    let (_, text) = collector.get("/prometheus/analyzer/txt");
    assert!(
        text.contains("sflow_analyzer_received_datagrams 6\n") && text.contains("sflow_analyzer_agents 3\n")
    );

    let (_, page) = collector.get("/");
    for endpoint in api::ENDPOINTS {
        assert!(page.contains(endpoint.path), "{}", endpoint.path);
    }
    assert_eq!(collector.end(), Some(0));
}

#[test]
fn what_cannot_be_answered_is_said() {
    let collector = Collector::start(&[]);
    for (path, status, why) in [
        ("/metric/10.9.9.9/json", 404, "no such agent"),
        ("/nosuch", 404, "no such path"),
        ("/metric/ALL/top:load_one/json", 400, "no aggregation"),
        ("/metric/ALL/load_one/json?host_name=(", 400, "no pattern"),
        ("/dump/EDGE/ALL/json", 400, "EDGE needs topology"),
    ] {
        let (found, body) = collector.get(path);
        let body: serde_json::Value =
            serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"));
        assert_eq!(found, status, "{path}: {body}");
        assert!(body["error"].as_str().unwrap().contains(why), "{path}: {body}");
    }
    assert_eq!(collector.request("PUT", "/agents/json", Some("{}")).0, 405);
    for (path, body, status, why) in [
        ("/flow/f/json", "{keys:'ipsource'}", 400, "value is missing"),
        ("/flow/f/json", "{keys:'ipsorce',value:'bytes'}", 400, "is no key"),
        ("/flow/f/json", "{keys:", 400, "a value is missing"),
        ("/flow/f/json", "{keys:'country:ipsource',value:'bytes'}", 400, "not supported yet"),
        ("/group/g/json", "{bad:['999.1.1.1']}", 400, "is no prefix"),
    ] {
        let (found, answer) = collector.request("PUT", path, Some(body));
        assert_eq!(found, status, "{body}: {answer}");
        assert!(answer.contains(why), "{body}: {answer}");
    }
    assert_eq!(collector.request("DELETE", "/flow/nosuch/json", None).0, 404);
    assert_eq!(collector.get("/activeflows/ALL/nosuch/json").0, 404);
    assert_eq!(collector.request("PUT", "/map/m/json", Some(&" ".repeat(2 << 20))).0, 413);
}

/// A datagram with `count` samples of one TCP packet, each standing for 100 packets of 1,000 bytes.
pub(crate) fn packets(sequence: u32, count: u32) -> Vec<u8> {
    use decode::flow::SampledHeader;
    use decode::sample::Interface;
    use decode::{FlowSample, Mac};
    let mut packet = [0; 128];
    let built = decode::packet::PacketBuilder::new(&mut packet).ethernet(Mac([2; 6]), Mac([4; 6])).unwrap();
    let built = built.ipv4([10, 0, 0, 1].into(), [192, 0, 2, 7].into(), 0, 64).unwrap();
    let length = built.tcp(40000, 443, 0x10).unwrap().finish(996).unwrap();
    let header = SampledHeader { protocol: 1, frame_length: 1000, stripped: 4, bytes: &packet[..length] };
    let mut buffer = vec![0; 9000];
    let agent = Address::V4([10, 0, 0, 50].into());
    let head = Header { agent, sequence, uptime_ms: 1000, ..Header::default() };
    let mut builder = DatagramBuilder::new(&mut buffer, &head).unwrap();
    for n in 0..count {
        let sample = FlowSample {
            sequence: sequence * count + n,
            source: DataSource { class: 0, index: 3 },
            sampling_rate: 100,
            input: Interface::index(3),
            ..FlowSample::default()
        };
        builder.flow_sample(&sample, &[RecordOut::Header(header)]).unwrap();
    }
    let length = builder.finish().unwrap();
    buffer.truncate(length);
    buffer
}

#[test]
fn flows_are_defined_by_published_clients_and_their_rates_read() {
    let collector = Collector::start(&[]);
    let put =
        |path: &str, body: &str| assert_eq!(collector.request("PUT", path, Some(body)).0, 204, "{body}");
    put("/group/blocked/json", "{listed:['192.0.2.0/24']}");
    put("/map/services/json", "{web:[80,443]}");
    put("/flow/pairs/json", "{keys:'ipsource,ipdestination', value:'bytes', t:600, filter:'ipprotocol=6'}");
    put(
        "/flow/bad/json",
        "{keys:['ipsource','group:ipdestination:blocked','map:tcpdestinationport:services'], value:frames, t:600, fs:'_SEP_'}",
    );
    put("/flow/udp/json", "{keys:'udpsourceport',value:'bytes'}");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for sequence in 0..10 {
        socket.send_to(&packets(sequence, 6), collector.sflow).unwrap();
    }
    collector
        .wait_for("/agents/json", |agents| (agents["10.0.0.50"]["sFlowFlowSamples"] == 60).then_some(()));
    // 60 samples of 100 packets of 1,000 bytes, spread over a time constant of 600 s.
    let flow = &collector.json("/activeflows/ALL/pairs/json")[0];
    assert_eq!(flow["key"], "10.0.0.1,192.0.2.7");
    assert_eq!((&flow["agent"], &flow["dataSource"]), (&"10.0.0.50".into(), &"3".into()));
    let rate = flow["value"].as_f64().unwrap();
    assert!((rate - 10_000.0).abs() < 1_000.0, "{rate}");
    let flow = &collector.json("/activeflows/10.0.0.50/bad/json?aggMode=sum&maxFlows=1")[0];
    assert_eq!(flow["key"], "10.0.0.1_SEP_listed_SEP_web");
    assert!((flow["value"].as_f64().unwrap() - 10.0).abs() < 1.0);
    assert_eq!(collector.json("/activeflows/ALL/udp/json"), serde_json::json!([]));
    assert_eq!(collector.json("/activeflows/10.9.9.9/pairs/json"), serde_json::json!([]));
    assert_eq!(collector.json("/activeflows/ALL/pairs/json?minValue=1e9"), serde_json::json!([]));

    let spec = collector.json("/flow/pairs/json");
    assert_eq!(
        (&spec["keys"], &spec["value"], &spec["fs"]),
        (&"ipsource,ipdestination".into(), &"bytes".into(), &",".into())
    );
    assert_eq!(collector.json("/flow/json").as_object().unwrap().len(), 3);
    assert_eq!(collector.json("/group/json"), serde_json::json!(["blocked"]));
    assert_eq!(collector.json("/group/blocked/json"), serde_json::json!({"listed": ["192.0.2.0/24"]}));
    assert_eq!(collector.json("/map/services/json"), serde_json::json!({"web": [80, 443]}));
    assert_eq!(collector.request("DELETE", "/group/blocked/json", None).0, 400, "a flow needs it");
    assert_eq!(collector.request("DELETE", "/flow/bad/json", None).0, 204);
    assert_eq!(collector.request("DELETE", "/group/blocked/json", None).0, 204);
    assert_eq!(collector.get("/flow/bad/json").0, 404);
    let (_, text) = collector.get("/prometheus/analyzer/txt");
    assert!(text.contains("sflow_analyzer_live_flows 1\n"), "{text}");
}

#[test]
fn a_web_page_cannot_reach_the_collector_by_a_name_of_its_own() {
    use std::io::{Read, Write};
    let collector = Collector::start(&["--http-host", "sflow.example.net"]);
    for (host, status) in [("evil.example.com", "403"), ("sflow.example.net", "200"), ("localhost:1", "200")]
    {
        let mut stream = std::net::TcpStream::connect(collector.http).unwrap();
        write!(stream, "GET /version HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{host}: {answer}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let collector = Collector::start(&["--workers", "4", "--pin"]);
    let taken = collector.sflow.to_string();
    let args = ["run", "--sflow", &taken, "--http", "127.0.0.1:0", "--state-dir", "none"];
    let output = finderscope().args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains(&taken) && said.contains("another program has this port: \"finderscope\""),
        "{said}"
    );
}

#[test]
fn datagrams_that_are_no_sflow_are_counted_by_reason() {
    let collector = Collector::start(&[]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&[0, 5, 0, 1, 0, 0, 0, 0], collector.sflow).unwrap();
    socket.send_to(b"x", collector.sflow).unwrap();
    collector.wait_for("/analyzer/json", |answer| {
        (answer["sFlowUnsupportedVersion"] == 1 && answer["sFlowParseErrors"] == 1).then_some(())
    });
    let (_, text) = collector.get("/prometheus/analyzer/txt");
    assert!(text.contains("sflow_analyzer_datagram_errors{reason=\"version\"} 1\n"), "{text}");
}
