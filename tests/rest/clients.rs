//! What published clients send and read.

use std::net::UdpSocket;

use serde_json::json;

use crate::collector::{packets, three_hosts};
use crate::support::Collector;

#[test]
fn what_cannot_be_answered_is_said() {
    let collector = Collector::start(&[]);
    for (path, status, why) in [
        ("/metric/10.9.9.9/json", 404, "no such agent"),
        ("/nosuch", 404, "no such path"),
        ("/metric/ALL/top:load_one/json", 400, "no aggregation"),
        ("/metric/ALL/load_one/json?host_name=(", 400, "no pattern"),
        ("/dump/EDGE/ALL/json", 400, "EDGE needs topology: none is defined, PUT /topology/json"),
        ("/agents/json?agent=CORE", 400, "CORE needs topology"),
        ("/metric/TOPOLOGY/load_one/json", 400, "TOPOLOGY needs topology"),
        ("/table/ALL/sort:a:1,sort:b:1/json", 400, "sorted by one metric"),
        ("/table/ALL/,/json", 400, "no metric is named"),
        ("/activeflows/ALL/nosuch/json", 404, "no such flow"),
        ("/flowvalue/ALL/nosuch/json", 404, "no such flow"),
        ("/flows/json?flowID=x", 400, "flowID must be a number"),
        ("/events/json?timeout=x", 400, "timeout must be a number"),
        ("/live?flow=nosuch", 404, "no such flow"),
        ("/group/nosuch/json", 404, "no such group"),
        ("/threshold/nosuch/json", 404, "no such threshold"),
        ("/topology/json", 404, "no topology is defined"),
        ("/flow/%ff/json", 400, "UTF-8"),
    ] {
        let (found, body) = collector.get(path);
        let body: serde_json::Value =
            serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"));
        assert_eq!(found, status, "{path}: {body}");
        assert!(body["error"].as_str().unwrap().contains(why), "{path}: {body}");
    }
    for (path, body, status, why) in [
        ("/topology/json", "{links:{l:{node1:a,port1:p,node2:b}}}", 400, "links.l.port2: must be a name"),
        (
            "/topology/json",
            "{nodes:{a:{}},links:{l:{node1:a,port1:p,node2:b,port2:q}}}",
            400,
            "is not among the nodes",
        ),
        ("/topology/json", "[]", 400, "topology: must be an object"),
        ("/flow/f/json", "{value:bytes,aggMode:sum}", 400, "is not agent, edge or core"),
        ("/flow/f/json", "{keys:'ipsource'}", 400, "value is missing"),
        ("/flow/f/json", "{keys:'ipsorce',value:'bytes'}", 400, "is no key"),
        ("/flow/f/json", "{keys:", 400, "a value is missing"),
        ("/flow/f/json", "", 400, "a value is missing"),
        ("/flow/%20/json", "{value:bytes}", 400, "name: has 1 to 200 bytes"),
        ("/flow/a%0ab/json", "{value:bytes}", 400, "no control characters"),
        ("/group/g/json", "{bad:['999.1.1.1']}", 400, "is no prefix"),
        ("/threshold/t/json", "{metric:'load_one'}", 400, "value is missing"),
        ("/forwarding/f/json", "{address:'host'}", 400, "must be an IP address"),
    ] {
        let (found, answer) = collector.request("PUT", path, Some(body));
        assert_eq!(found, status, "{body}: {answer}");
        assert!(answer.contains(why), "{body}: {answer}");
    }
    for kind in ["flow", "group", "map", "threshold", "forwarding"] {
        assert_eq!(collector.request("DELETE", &format!("/{kind}/nosuch/json"), None).0, 404, "{kind}");
    }
}

#[test]
fn metrics_are_filtered_by_patterns_as_their_authors_mean_them() {
    let collector = three_hosts(&[]);
    let filtered = collector.json("/metric/ALL/sum:load_one/json?host_name=web*");
    assert_eq!((&filtered[0]["metricValue"], &filtered[0]["metricN"]), (&2.into(), &2.into()));
    // The backslash is sent as curl and Python's requests send it: as it is, and escaped.
    for pattern in ["web\\.*", "web%5C.*"] {
        let none = collector.json(&format!("/metric/ALL/max:load_one/json?host_name={pattern}"));
        assert_eq!((none[0].get("metricValue"), &none[0]["metricN"]), (None, &0.into()), "{pattern}");
    }
    let of_ports = collector.json("/metric/web1;web2/sum:ifinoctets/json?host_name=web1,mem*&ifspeed=1e9");
    assert_eq!(of_ports[0]["metricValue"], 125_000, "a host's name filters its interfaces");
    let quantiles = collector.json("/metric/ALL/q1:load_one,q2:load_one,q3:load_one,iqr:load_one/json");
    let values: Vec<f64> = (0..4).map(|n| quantiles[n]["metricValue"].as_f64().unwrap()).collect();
    assert_eq!(values, [1.0, 1.5, 2.75, 1.75]);
    let with_comma = collector.json("/metric/10.0.0.1,10.0.0.2/sum:2.1.load_one/json");
    assert_eq!(
        (&with_comma[0]["metricName"], &with_comma[0]["metricValue"]),
        (&"sum:2.1.load_one".into(), &2.into())
    );
    assert!(collector.json("/dump/ALL/ALL/json").as_array().unwrap().len() > 30);
    let sorted = collector.json("/table/ALL/sort:load_one:2,host_name/json");
    let names: Vec<&str> =
        sorted.as_array().unwrap().iter().map(|row| row[1]["metricValue"].as_str().unwrap()).collect();
    assert_eq!(names, ["web1", "web2"], "a positive number keeps the smallest");
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
    let flow = &collector.json("/activeflows/10.0.0.50/bad/json?aggMode=SUM&maxFlows=1")[0];
    assert_eq!(flow["key"], "10.0.0.1_SEP_listed_SEP_web");
    assert!((flow["value"].as_f64().unwrap() - 10.0).abs() < 1.0);
    assert!(flow.get("values").is_none());
    assert_eq!(collector.json("/activeflows/ALL/udp/json"), json!([]));
    assert_eq!(collector.json("/activeflows/10.9.9.9/pairs/json"), json!([]));
    assert_eq!(collector.json("/activeflows/ALL/pairs/json?minValue=1e9"), json!([]));
    assert_eq!(collector.json("/activeflows/ALL/pairs/json?maxFlows=0"), json!([]));
    let (status, body) = collector.get("/activeflows/ALL/pairs/json?aggMode=edge");
    assert!(status == 400 && body.contains("needs topology"), "{body}");

    let spec = collector.json("/flow/pairs/json");
    assert_eq!(
        (&spec["keys"], &spec["value"], &spec["fs"]),
        (&"ipsource,ipdestination".into(), &"bytes".into(), &",".into())
    );
    assert_eq!(collector.request("DELETE", "/group/blocked/json", None).0, 400, "a flow needs it");
    assert_eq!(collector.request("DELETE", "/flow/bad/json", None).0, 204);
    assert_eq!(collector.request("DELETE", "/group/blocked/json", None).0, 204);
    let (_, text) = collector.get("/prometheus/analyzer/txt");
    assert!(text.contains("sflow_analyzer_live_flows 1\n"), "{text}");
    // Values of flows are for activeflows; the exporter of metrics leaves them out.
    let (_, text) = collector.get("/prometheus/metrics/ALL/ALL/txt");
    assert!(!text.contains("sflow_pairs"), "{text}");
}

/// What `curl -X PUT --data` and Python's `requests.put(url, data=...)` send: another content type, or none.
#[test]
fn a_body_is_read_whatever_its_content_type_says() {
    let collector = Collector::start(&[]);
    let body = "{keys:'ipsource',value:'bytes'}";
    for kind in ["application/x-www-form-urlencoded", "application/json", "text/plain", ""] {
        let head = format!(
            "PUT /flow/f/json HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n",
            body.len()
        );
        let answer = super::access::exchange(&collector, &format!("{head}Host: localhost\r\n"), body);
        assert!(answer.starts_with("HTTP/1.1 204"), "{kind}: {answer}");
        assert_eq!(collector.request("DELETE", "/flow/f/json", None).0, 204);
    }
}

/// The loop of published clients: from -1, then from the newest that was seen, each time waiting for what is newer.
#[test]
fn records_are_polled_from_the_newest_that_was_seen() {
    let collector = Collector::start(&[]);
    let define = |name: &str| {
        let flow = Some("{keys:'ipsource',value:'frames',log:true,flowStart:true}");
        assert_eq!(collector.request("PUT", &format!("/flow/{name}/json"), flow).0, 204);
    };
    assert_eq!(collector.json("/flows/json?flowID=-1"), json!([]));
    let began = std::time::Instant::now();
    assert_eq!(collector.json("/flows/json?flowID=-1&timeout=1"), json!([]));
    assert!(began.elapsed().as_secs_f64() >= 1.0, "it waits for its timeout");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let send = |sequence| assert!(socket.send_to(&packets(sequence, 6), collector.sflow).unwrap() > 0);
    define("first");
    send(1);
    let first = collector.json("/flows/json?flowID=-1&timeout=20");
    assert_eq!((&first[0]["flowID"], &first[0]["name"]), (&0.into(), &"first".into()));
    define("second");
    let found = std::thread::scope(|scope| {
        let poll = scope.spawn(|| collector.json("/flows/json?flowID=0&timeout=20&maxFlows=10"));
        // It is on its way when the collector has counted it: one connection for it, one for this question.
        collector.wait_for("/analyzer/json", |answer| (answer["httpConnectionsCurrent"] == 2).then_some(()));
        send(2);
        poll.join().unwrap()
    });
    assert_eq!((&found[0]["flowID"], &found[0]["name"]), (&1.into(), &"second".into()));
    assert_eq!(found.as_array().unwrap().len(), 1);
    let ids = |path: &str| -> Vec<u64> {
        let records = collector.json(path);
        records.as_array().unwrap().iter().map(|record| record["flowID"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids("/flows/json"), [1, 0], "newest first");
    assert_eq!(ids("/flows/json?maxFlows=1"), [1]);
    assert_eq!(ids("/flows/json?name=first,third"), [0]);
    assert_eq!(ids("/flows/json?flowID=1&timeout=0.1"), [0_u64; 0]);
    assert_eq!(ids("/flows/json?flowID=999&timeout=20"), [1, 0], "of a collector that has ended");
}
