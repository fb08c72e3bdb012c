//! Every endpoint, method and schema: each must answer with something that is known from elsewhere.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::UdpSocket;

use api::ENDPOINTS;
use api::endpoints::{ABSENT, Content};
use docker::stand_in::{Config as StandIn, Pace, Planned};
use serde_json::{Value as Json, json};

use super::schema;
use crate::collector::{Host, packets, three_hosts};
use crate::support::Collector;

/// A collector, and which of its endpoints have shown what they can.
struct Shown {
    collector: Collector,
    description: Json,
    done: RefCell<BTreeSet<(&'static str, &'static str)>>,
}

impl Shown {
    fn new(collector: Collector) -> Self {
        let description = collector.json("/api-docs");
        Self { collector, description, done: RefCell::default() }
    }

    /// Notes that an endpoint was asked, whose path must be that of the request.
    fn note(&self, template: &str, method: &'static str, path: &str) -> &'static api::endpoints::Endpoint {
        let endpoint = ENDPOINTS.iter().find(|endpoint| endpoint.path == template);
        let endpoint = endpoint.unwrap_or_else(|| panic!("{template} is no endpoint"));
        let plain = path.split('?').next().unwrap();
        let (asked, known): (Vec<&str>, Vec<&str>) =
            (plain.split('/').collect(), template.split('/').collect());
        let is_open = template.ends_with("{*path}");
        let fits = asked.len() == known.len() || (is_open && asked.len() > known.len());
        assert!(fits, "{path} is not {template}");
        assert!(
            asked.iter().zip(&known).all(|(a, k)| k.starts_with('{') || a == k),
            "{path} is not {template}"
        );
        self.done.borrow_mut().insert((endpoint.path, method));
        endpoint
    }

    /// The answer to GET as JSON, which is as its schema says.
    fn json(&self, template: &str, path: &str) -> Json {
        let endpoint = self.note(template, "GET", path);
        let answer = self.collector.json(path);
        let Content::Json(name) = endpoint.answer else { panic!("{template} answers no JSON") };
        schema::holds(&self.description, &self.description["components"]["schemas"][name], &answer);
        answer
    }

    /// The answer to GET as text, which holds all of these.
    fn says(&self, template: &str, path: &str, texts: &[&str]) -> String {
        self.note(template, "GET", path);
        let (status, answer) = self.collector.get(path);
        assert_eq!(status, 200, "{path}: {answer}");
        assert!(!texts.is_empty());
        for text in texts {
            assert!(answer.contains(text), "{path} does not say {text:?}: {answer}");
        }
        answer
    }

    /// Defines it by PUT, reads it back, finds it in the list, and takes it away by DELETE.
    fn comes_and_goes(&self, template: &str, list: &str, name: &str, body: &str, expected: &Json) {
        let path = template.replace("{name}", name);
        assert_eq!(self.collector.get(&path).0, 404);
        self.note(template, "PUT", &path);
        assert_eq!(self.collector.request("PUT", &path, Some(body)), (204, String::new()));
        assert_eq!(&self.json(template, &path), expected);
        let all = self.json(list, list);
        let listed = match &all {
            Json::Array(names) => names.contains(&name.into()),
            all => all[name] == *expected,
        };
        assert!(listed, "{all}");
        self.note(template, "DELETE", &path);
        assert_eq!(self.collector.request("DELETE", &path, None), (204, String::new()));
        assert_eq!(self.collector.get(&path).0, 404);
        assert_eq!(self.collector.request("DELETE", &path, None).0, 404);
    }
}

/// Walks the table: an endpoint that nobody has shown here fails.
#[test]
fn every_endpoint_answers_with_what_is_known_from_elsewhere() {
    let shown = Shown::new(three_hosts(&[]));
    about(&shown);
    metrics(&shown);
    flows(&shown);
    definitions(&shown);
    logs(&shown);
    topology(&shown);
    shown.done.borrow_mut().extend(actions());
    shown.done.borrow_mut().extend(scripts());
    let all: BTreeSet<_> = ENDPOINTS
        .iter()
        .flat_map(|endpoint| endpoint.methods().iter().map(|method| (endpoint.path, *method)))
        .collect();
    let missing: Vec<_> = all.difference(&shown.done.borrow()).copied().collect();
    assert!(missing.is_empty(), "nobody has shown these: {missing:#?}");
    assert_eq!(shown.collector.end(), Some(0));
}

fn about(shown: &Shown) {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(shown.says("/version", "/version", &[version]), version);
    shown.says("/healthz", "/healthz", &["OK\n"]);
    let list = shown.says("/api/", "/api/", &["/flow/{name}/json", "maxFlows", "ipsource"]);
    for endpoint in ENDPOINTS {
        assert!(list.contains(endpoint.path), "{}", endpoint.path);
    }
    let described = shown.json("/api-docs", "/api-docs");
    assert_eq!(described["paths"].as_object().unwrap().len(), ENDPOINTS.len());
    shown.says("/", "/", &["<script src=\"/page.js\"", "Top flows"]);
    shown.says("/page.css", "/page.css", &["prefers-color-scheme: dark"]);
    shown.says("/page.js", "/page.js", &["textContent"]);

    let analyzer = shown.json("/analyzer/json", "/analyzer/json");
    let known = |field: &str| analyzer[field].as_u64().unwrap_or_else(|| panic!("{field}: {analyzer}"));
    assert_eq!((known("sFlowAgents"), known("sFlowDatagramsReceived")), (3, 6));
    assert_eq!((known("sFlowParseErrors"), known("sFlowUnsupportedVersion")), (0, 0));
    let proc =
        |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", shown.collector.id())).unwrap();
    let resident_kb = field(&proc("status"), "VmRSS:");
    let heap = known("heapUsed") / 1024;
    assert!(heap > resident_kb / 2 && heap < resident_kb * 2, "{heap} is not about {resident_kb}");
    assert_eq!(known("threadCount"), field(&proc("status"), "Threads:"));
    let total_kb = field(&std::fs::read_to_string("/proc/meminfo").unwrap(), "MemTotal:");
    assert_eq!(known("memTotal"), total_kb * 1024);
    assert!(known("memFree") <= known("memTotal") && known("heapMax") <= known("memTotal"));
    assert!(known("uptime") < 60_000 && known("httpMessagesReceived") > 5);
    assert!(known("httpBytesSent") > known("httpBytesReceived") && known("httpConnectionsCurrent") >= 1);
    assert!(
        known("httpConnectionsTotal") >= known("httpMessagesReceived"),
        "one connection per request here"
    );
    let loads = shown.collector.wait_for("/analyzer/json", |answer| {
        Some((answer["cpuLoadProcess"].as_f64()?, answer["cpuLoadSystem"].as_f64()?))
    });
    assert!((0.0..=1.0).contains(&loads.0) && (0.0..=1.0).contains(&loads.1), "{loads:?}");

    shown.says(
        "/prometheus/analyzer/txt",
        "/prometheus/analyzer/txt",
        &[
            "sflow_analyzer_received_datagrams 6\n",
            "sflow_analyzer_agents 3\n",
            "sflow_analyzer_agent_count 3\n",
            "sflow_analyzer_discarded_datagrams 0\n",
            "sflow_analyzer_received_bytes ",
            "sflow_analyzer_heap_used_bytes ",
            "sflow_analyzer_cpu_load_process ",
        ],
    );
    let text = shown.says(
        "/metrics",
        "/metrics",
        &[
            "finderscope_datagrams_total{worker=\"0\"} ",
            "finderscope_datagram_errors_total{worker=\"1\",reason=\"version\"} 0\n",
            "finderscope_kernel_drops_total{worker=\"0\",address=\"127.0.0.1:",
            "finderscope_http_answers_total{class=\"2xx\"} ",
        ],
    );
    assert!(text.ends_with("# EOF\n"));
    for (name, sum) in
        [("datagrams_total", 6), ("agents", 3), ("samples_total", 12), ("duplicate_datagrams_total", 0)]
    {
        let of_workers =
            text.lines().filter_map(|line| line.strip_prefix(&format!("finderscope_{name}{{worker=")));
        let counts = of_workers.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
        assert_eq!(counts.sum::<f64>(), f64::from(sum), "{name}: {text}");
    }
    let agents = shown.json("/agents/json", "/agents/json");
    let agent = &agents["10.0.0.1"];
    assert_eq!(agents.as_object().unwrap().len(), 3);
    assert_eq!((&agent["sFlowDatagramsReceived"], &agent["sFlowDatagramsLost"]), (&2.into(), &0.into()));
    assert_eq!(agent["sFlowCounterDatasources"], 2);
    assert_eq!(agent["sFlowDatagramSource"], json!(["127.0.0.1"]));
    assert_eq!((&agent["uptime"], agent["lastSeen"].is_u64()), (&4000.into(), true));
    let some = shown.json("/agents/json", "/agents/json?agent=10.0.0.2&agent=10.0.0.3");
    assert_eq!(some.as_object().unwrap().keys().collect::<Vec<_>>(), ["10.0.0.2", "10.0.0.3"]);
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn metrics(shown: &Shown) {
    let names = shown.json("/metrics/json", "/metrics/json");
    assert!(names["ifinoctets"].as_u64().unwrap() < 60_000 && names["load_one"].is_u64());
    let flat = shown.json("/metric/{agent}/json", "/metric/10.0.0.2/json");
    assert_eq!((&flat["4.ifinoctets"], &flat["4.ifinutilization"]), (&125_000.into(), &0.1.into()));
    assert_eq!((&flat["2.1.host_name"], &flat["2.1.os_name"]), (&"web2".into(), &"linux".into()));

    let statistics = "/metric/{agent}/{metric}/json";
    let found = &shown
        .json(statistics, "/metric/ALL/load_one,avg:load_one,sum:4.ifinoctets,med:load_one,nosuch/json");
    assert_eq!((&found[0]["metricValue"], &found[0]["agent"]), (&4.into(), &"10.0.0.3".into()));
    assert_eq!((&found[0]["dataSource"], &found[0]["metricN"]), (&"2.1".into(), &3.into()));
    assert_eq!((&found[1]["metricValue"], found[1].get("agent")), (&2.into(), None));
    assert_eq!(found[2]["metricValue"], 375_000);
    assert_eq!(found[3]["quartiles"], json!({"min": 0.5, "q1": 1, "med": 1.5, "q3": 2.75, "max": 4}));
    assert_eq!((&found[4]["metricName"], found[4].get("metricValue")), (&"nosuch".into(), None));

    let table = shown.json(
        "/table/{agent}/{metric}/json",
        "/table/ALL/host_name,sort:load_one:-2,null:nosuch/json?host_name=web*,mem*",
    );
    let rows: Vec<(&Json, &Json, &Json)> = table
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (&row[0]["metricValue"], &row[1]["metricValue"], &row[2]))
        .collect();
    assert_eq!(rows, [(&"mem1".into(), &4.into(), &Json::Null), (&"web2".into(), &json!(1.5), &Json::Null)]);

    let dump = shown.json("/dump/{agent}/{metric}/json", "/dump/10.0.0.1/ifindex;ifoperstatus/json");
    assert_eq!(dump.as_array().unwrap().len(), 2);
    assert_eq!((&dump[0]["metricName"], &dump[0]["metricValue"]), (&"ifindex".into(), &4.into()));
    assert_eq!((&dump[1]["metricName"], &dump[1]["metricValue"]), (&"ifoperstatus".into(), &"up".into()));
    shown.says(
        "/prometheus/metrics/{agent}/{metric}/txt",
        "/prometheus/metrics/ALL/load_one,ifinoctets/txt",
        &[
            "sflow_load_one{agent=\"10.0.0.3\",datasource=\"2.1\",host=\"mem1\"} 4\n",
            "datasource=\"4\",host=\"web1\",ifname=\"eth\\\"0\"} 125000\n",
        ],
    );
}

/// A link between two ports, one of which has its name from the counters, and a host at a port of a third switch.
/// Actions, by a collector that has some: a stand-in's swarm, a switch that only notes, a list.
fn actions() -> BTreeSet<(&'static str, &'static str)> {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).display().to_string();
    let apache =
        Planned { name: "apache".into(), replicas: 2, image: "httpd:2.4".into(), labels: Vec::new() };
    let planned = StandIn { services: vec![apache], nodes: 1, pace: Pace::default() };
    let _swarm = docker::stand_in::StandIn::start(&folder.path().join("swarm.sock"), planned).unwrap();
    std::fs::write(place("list.txt"), "45.9.148.0/24\n").unwrap();
    let config = format!(
        "[actions]\nmode = 'act'\n[swarm.main]\nmanagers = ['unix://{}']\n\
         [autoscale.service.apache]\nmetric = [{{ metric = 'vir_cpu_utilization', low = 1, high = 2 }}]\n\
         [[switch]]\nagent = '10.0.0.253'\ndriver = 'dry-run'\n\
         [capture.listed]\ngroup = 'bad'\nanalyzer = '10.0.0.70'\n[feed.bad]\npath = 'list.txt'\n\
         [[agents.listed]]\naddress = '10.0.0.0/24'\nsources = '127.0.0.1'\n",
        place("swarm.sock")
    );
    std::fs::write(place("finderscope.toml"), config).unwrap();
    let shown = Shown::new(Collector::start(&["--config", &place("finderscope.toml")]));
    let put = |template, path: &str, body: &str| {
        shown.note(template, "PUT", path);
        shown.collector.request("PUT", path, Some(body))
    };

    let feed =
        shown.collector.wait_for("/feed/bad/json", |feed| (feed["entries"] == 1).then(|| feed.clone()));
    assert_eq!(shown.json("/feeds/json", "/feeds/json")["bad"]["coveredIPv4"], 256);
    assert_eq!(
        (shown.json("/feed/{name}/json", "/feed/bad/json")["set"].clone(), &feed["set"]),
        ("bad".into(), &"bad".into())
    );
    assert_eq!(put("/feed/{name}/json", "/feed/bad/json", "{}").0, 204);

    let service = "/autoscale/{name}/json";
    shown.collector.wait_for("/autoscale/apache/json", |one| (one["replicas"] == 2).then_some(()));
    let all = shown.json("/autoscale/json", "/autoscale/json");
    assert_eq!(
        (&all["replicas"], &all["services"]["apache"]["hold"]),
        (&2.into(), &"differ".into()),
        "{all}"
    );
    assert_eq!(put(service, "/autoscale/apache/json", "{paused: true, max: 7}").0, 204);
    let one = shown.json(service, "/autoscale/apache/json");
    assert_eq!((&one["paused"], &one["max"]), (&true.into(), &7.into()));
    assert_eq!(put(service, "/autoscale/apache/json", "{max: 0}").0, 400);
    assert_eq!(put(service, "/autoscale/nginx/json", "{max: 1}").0, 404);

    let start = "{local: '10.0.0.162', remote: '45.9.148.7', agent: '10.0.0.253', seconds: 60}";
    assert_eq!(put("/captures/json", "/captures/json", start), (204, String::new()));
    let id = shown.collector.wait_for("/captures/json", |captures| {
        let session = captures["sessions"].as_array()?.iter().find(|session| session["state"] == "active")?;
        session["id"].as_str().map(str::to_owned)
    });
    let session = format!("/capture/{id}/json");
    assert_eq!(shown.json("/captures/json", "/captures/json")["sessions"].as_array().unwrap().len(), 1);
    let one = shown.json("/capture/{name}/json", &session);
    assert_eq!((&one["local"], &one["agent"]), (&"10.0.0.162".into(), &"10.0.0.253".into()));
    let said = shown.collector.wait_for_log("capturing ");
    assert!(said[0].ends_with(&format!("capturing 10.0.0.162 rule {id} on 10.0.0.253")), "{said:?}");
    let audit = shown.json("/audit/json", "/audit/json?maxEntries=1000");
    let installed = audit.as_array().unwrap().iter().find(|entry| entry["name"] == *id).unwrap();
    assert_eq!(installed["outcome"], "done", "{audit}");
    shown.note("/capture/{name}/json", "DELETE", &session);
    assert_eq!(shown.collector.request("DELETE", &session, None).0, 204);
    shown.collector.wait_for("/captures/json", |now| now["sessions"].as_array()?.is_empty().then_some(()));
    assert_eq!(shown.collector.request("DELETE", &session, None).0, 404);

    assert_eq!(shown.json("/actions/json", "/actions/json")["mode"], "act");
    assert_eq!(put("/actions/json", "/actions/json", "{mode: 'withdraw'}").0, 204);
    assert_eq!(put("/actions/json", "/actions/json", "{mode: 'maybe'}").0, 400);
    let state = shown.json("/actions/json", "/actions/json");
    assert_eq!((&state["mode"], &state["trouble"]), (&"withdraw".into(), &Json::Null));
    assert!(shown.collector.get("/metrics").1.contains("finderscope_actions_mode{mode=\"withdraw\"} 1.0"));
    shown.done.into_inner()
}

/// Scripts and an application, by a collector that has some.
fn scripts() -> BTreeSet<(&'static str, &'static str)> {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let handler = "setHttpHandler(function(req) { return req.method + ' ' + req.path.join('/'); });\n";
    let script = write("one.js", handler);
    write("app/trend/scripts/two.js", handler);
    write("app/trend/html/index.html", "<p>the page</p>");
    write("app/trend/html/css/page.css", "p { color: red }");
    let apps = folder.path().join("app").to_str().unwrap().to_owned();
    let shown = Shown::new(Collector::start(&["--script", &script, "--app-dir", &apps]));
    for (template, path, said) in [
        ("/script/{script}/{*path}", "/script/one.js/a/b/txt?x=1", "a/b"),
        ("/app/{app}/scripts/{script}/{*path}", "/app/trend/scripts/two.js/c/txt", "c"),
    ] {
        for method in ["GET", "PUT", "DELETE", "POST", "PATCH"] {
            shown.note(template, method, path);
            let expected = (200, format!("{method} {said}"));
            assert_eq!(shown.collector.request(method, path, Some("{}")), expected, "{path}");
        }
    }
    let all = shown.json("/scripts/json", "/scripts/json");
    for name in ["one.js", "trend~two.js"] {
        assert_eq!((&all[name]["alive"], &all[name]["requestsReceived"]), (&true.into(), &5.into()), "{all}");
    }
    let apps = shown.json("/apps/json", "/apps/json");
    assert_eq!(apps, json!({"trend": {"entry": "/html/", "scripts": ["two.js"]}}));
    assert_eq!(shown.says("/app/{app}/status", "/app/trend/status", &["OK"]), "OK");
    shown.says("/app/{app}/html/", "/app/trend/html/", &["<p>the page</p>"]);
    shown.says("/app/{app}/html/{*path}", "/app/trend/html/css/page.css", &["color: red"]);
    shown.done.into_inner()
}

fn topology(shown: &Shown) {
    let path = "/topology/json";
    assert_eq!(shown.collector.get(path).0, 404);
    let json = json!({
        "nodes": {
            "a": {"agent": "web1"}, "b": {"agent": "10.0.0.2", "dpid": "1"}, "c": {"agent": "10.0.0.50"},
        },
        "links": {"cross": {"node1": "a", "port1": "eth\"0", "node2": "b", "port2": "4"}},
    });
    shown.note(path, "PUT", path);
    assert_eq!(shown.collector.request("PUT", path, Some(&json.to_string())), (204, String::new()));
    assert_eq!(shown.json(path, path), json);
    let ports = "/topology/ports/json";
    let found =
        shown.collector.wait_for(ports, |found| (found[0]["role"] == "core").then_some(found.clone()));
    assert_eq!(found, shown.json(ports, ports));
    let port = |node: &str, port: &str, agent: &str| json!({"node": node, "port": port, "agent": agent, "ifindex": "4", "link": "cross", "role": "core"});
    assert_eq!(found, json!([port("a", "eth\"0", "10.0.0.1"), port("b", "4", "10.0.0.2")]));
    let link = &shown
        .json("/topology/link/{name}/{metric}/json", "/topology/link/cross/ifinoctets,ifname,nosuch/json");
    let agents: Vec<&Json> = (0..6).map(|n| &link[n]["agent"]).collect();
    let (a, b) = (json!("10.0.0.1"), json!("10.0.0.2"));
    assert_eq!(agents, [&a, &a, &Json::Null, &b, &b, &Json::Null]);
    assert_eq!((&link[0]["metricValue"], &link[0]["dataSource"]), (&125_000.into(), &"4".into()));
    assert_eq!((&link[4]["metricName"], &link[4]["metricValue"]), (&"ifname".into(), &"eth\"0".into()));
    let (_, labelled) = shown.collector.get("/prometheus/metrics/CORE/ifinoctets,load_one/txt");
    assert!(
        labelled.contains("datasource=\"4\",host=\"web1\"") && !labelled.contains("load_one"),
        "{labelled}"
    );
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&packets(12, 6), shown.collector.sflow).unwrap();
    let hosts = "/topology/hosts/json";
    shown.collector.wait_for(hosts, |found| found[0].is_object().then_some(()));
    let found =
        &shown.json(hosts, "/topology/hosts/json?address=10.0.0.1&mac=04:04:04:04:04:04&maxHosts=5")[0];
    assert_eq!((&found["mac"], &found["node"]), (&"040404040404".into(), &"c".into()));
    assert_eq!(
        (&found["agent"], &found["ifindex"], &found["port"]),
        (&"10.0.0.50".into(), &"3".into(), &"3".into())
    );
    assert_eq!((&found["ipaddress"], &found["addresses"]), (&"10.0.0.1".into(), &json!(["10.0.0.1"])));
    assert!(found["lastSeen"].as_u64().unwrap() < 60_000);
    let port = |path: &str| shown.collector.json(path)[0]["ifindex"].clone();
    assert_eq!(port(hosts), port("/topology/hosts/json?mac=040404040404"));
    for none in
        ["?address=10.0.0.2", "?mac=020202020202", "?maxHosts=0", "?address=10.0.0.1&mac=020202020202"]
    {
        assert_eq!(shown.collector.json(&format!("{hosts}{none}")), json!([]), "{none}");
    }
    shown.note(path, "DELETE", path);
    assert_eq!(shown.collector.request("DELETE", path, None), (204, String::new()));
    for path in [path, ports, hosts, "/topology/link/cross/ifinoctets/json"] {
        assert_eq!(shown.collector.get(path).0, 404, "{path}");
    }
    assert_eq!(shown.collector.request("DELETE", path, None).0, 404);
}

/// A flow that is logged at its start, and a threshold that a host is above already.
fn logs(shown: &Shown) {
    let put = |path: &str, body: &str| {
        assert_eq!(shown.collector.request("PUT", path, Some(body)).0, 204, "{body}")
    };
    put("/flow/starts/json", "{keys:'ipsource,tcpdestinationport',value:'frames',log:true,flowStart:true}");
    put("/threshold/loaded/json", "{metric:'load_one',value:3.5,filter:{host_name:['mem*']}}");
    let now_ms = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::try_from(since.as_millis()).unwrap()
    };
    let before = now_ms() - 1;
    // Later than all that the other parts of this test have sent.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&packets(11, 6), shown.collector.sflow).unwrap();
    let records = shown.json("/flows/json", "/flows/json?flowID=-1&timeout=20&name=starts");
    let record = &records[0];
    assert_eq!((&record["flowID"], &record["name"]), (&0.into(), &"starts".into()));
    assert_eq!((&record["agent"], &record["dataSource"]), (&"10.0.0.50".into(), &"3".into()));
    assert_eq!(record["flowKeys"], "10.0.0.1,443");
    let (start, end) = (record["start"].as_u64().unwrap(), record["end"].as_u64().unwrap());
    assert!(before <= start && start <= end && end <= now_ms(), "{before} {record}");
    assert_eq!(records.as_array().unwrap().len(), 1);

    // The third sample of a host that has sent two.
    let mut host = Host::new(&shown.collector, 3);
    host.sequence = 2;
    host.send("mem1", 4.0, 501_000);
    let events = shown.json("/events/json", "/events/json?eventID=-1&timeout=20&thresholdID=loaded");
    let event = &events[0];
    assert_eq!((&event["eventID"], &event["thresholdID"]), (&0.into(), &"loaded".into()));
    assert_eq!((&event["agent"], &event["dataSource"]), (&"10.0.0.3".into(), &"2.1".into()));
    assert_eq!(
        (&event["metric"], &event["threshold"], &event["value"]),
        (&"load_one".into(), &json!(3.5), &4.into())
    );
    assert!((before..=now_ms()).contains(&event["timestamp"].as_u64().unwrap()), "{before} {event}");
    assert_eq!(events.as_array().unwrap().len(), 1);

    shown.note("/live", "GET", "/live");
    let live = super::page::Events::of(&shown.collector, "/live?flow=starts").next();
    assert_eq!(live["flow"]["top"][0]["key"], "10.0.0.1,443");
}

/// Whether a rate is about this: what is between sending and asking has decayed already.
fn about_is(found: &Json, expected: f64) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{found} is no number"));
    assert!((found - expected).abs() < expected / 10.0, "{found} is not about {expected}");
}

fn flows(shown: &Shown) {
    let put = shown.collector.request(
        "PUT",
        "/flow/pairs/json",
        Some("{keys:'ipsource,ipdestination', value:'bytes', t:600, filter:'ipprotocol=6'}"),
    );
    assert_eq!(put.0, 204, "{put:?}");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for sequence in 0..10 {
        socket.send_to(&packets(sequence, 6), shown.collector.sflow).unwrap();
    }
    shown
        .collector
        .wait_for("/agents/json", |agents| (agents["10.0.0.50"]["sFlowFlowSamples"] == 60).then_some(()));
    // 60 samples of 100 packets of 1,000 bytes, spread over a time constant of 600 s.
    let active = &shown.json("/activeflows/{agent}/{name}/json", "/activeflows/ALL/pairs/json")[0];
    assert_eq!(active["key"], "10.0.0.1,192.0.2.7");
    assert_eq!((&active["agent"], &active["dataSource"]), (&"10.0.0.50".into(), &"3".into()));
    about_is(&active["value"], 10_000.0);
    let key = "key=10.0.0.1,192.0.2.7";
    let value = "/flowvalue/{agent}/{name}/json";
    about_is(&shown.json(value, &format!("/flowvalue/ALL/3.pairs/json?{key}")), 10_000.0);
    about_is(&shown.json(value, &format!("/flowvalue/10.0.0.50/pairs/json?{key}")), 10_000.0);
    for absent in [
        "/flowvalue/ALL/pairs/json?key=10.0.0.1,192.0.2.8".to_owned(),
        format!("/flowvalue/ALL/4.pairs/json?{key}"),
        format!("/flowvalue/10.0.0.51/pairs/json?{key}"),
        format!("/flowvalue/ALL/nosuch/json?{key}"),
    ] {
        assert_eq!(shown.collector.get(&absent).0, 404, "{absent}");
    }
    let locations =
        shown.json("/flowlocations/{agent}/{name}/json", &format!("/flowlocations/ALL/pairs/json?{key}"));
    assert_eq!((&locations[0]["agent"], &locations[0]["dataSource"]), (&"10.0.0.50".into(), &"3".into()));
    about_is(&locations[0]["value"], 10_000.0);
    assert_eq!(locations.as_array().unwrap().len(), 1);
    let keys = shown.json("/flowkeys/json", "/flowkeys/json");
    assert!(keys["ipsource"].as_u64().unwrap() < 60_000 && keys["tcpdestinationport"].is_u64(), "{keys}");
    assert!(keys.get("udpsourceport").is_none() && keys.get("ip6source").is_none(), "{keys}");
    assert_eq!(shown.collector.request("DELETE", "/flow/pairs/json", None).0, 204);
}

fn definitions(shown: &Shown) {
    let flow = shown_flow("frames", "tcpdestinationport", "ipprotocol=6");
    let text = "{keys:tcpdestinationport,value:frames,filter:'ipprotocol=6',t:'3',n:7,fs:'_SEP_'}";
    let path = "/flow/web/json";
    assert_eq!(shown.collector.request("PUT", path, Some(text)).0, 204);
    let found = shown.collector.json(path);
    for (attribute, value) in flow.as_object().unwrap() {
        assert_eq!(&found[attribute], value, "{attribute}");
    }
    assert_eq!(shown.collector.request("DELETE", path, None).0, 204);
    shown.comes_and_goes("/flow/{name}/json", "/flow/json", "web", text, &found);
    shown.comes_and_goes(
        "/group/{name}/json",
        "/group/json",
        "a%20b".replace("%20", "-").as_str(),
        "{listed:['192.0.2.0/24', '2001:db8::/32']}",
        &json!({"listed": ["192.0.2.0/24", "2001:db8::/32"]}),
    );
    let old = "{external:['0.0.0.0/0'],internal:['10.0.0.0/8']}";
    shown.note("/group/json", "PUT", "/group/json");
    assert_eq!(shown.collector.request("PUT", "/group/json", Some(old)), (204, String::new()));
    let default = json!({"external": ["0.0.0.0/0"], "internal": ["10.0.0.0/8"]});
    assert_eq!(shown.collector.json("/group/default/json"), default);
    shown.comes_and_goes(
        "/map/{name}/json",
        "/map/json",
        "services",
        "{web:[80,443],mail:['25']}",
        &json!({"web": [80, 443], "mail": ["25"]}),
    );
    shown.comes_and_goes(
        "/threshold/{name}/json",
        "/threshold/json",
        "busy",
        "{metric:'ifinutilization',value:80,filter:{ifspeed:[1e9]},timeout:10}",
        &json!({"metric": "ifinutilization", "value": 80.0, "filter": {"ifspeed": [1e9]}, "byFlow": false, "timeout": 10.0}),
    );
    shown.comes_and_goes(
        "/forwarding/{name}/json",
        "/forwarding/json",
        "archive",
        "{address:'127.0.0.1',agents:['10.0.0.254']}",
        &json!({"address": "127.0.0.1", "port": 6343, "agents": ["10.0.0.254"]}),
    );
}

fn shown_flow(value: &str, keys: &str, filter: &str) -> Json {
    json!({"keys": keys, "value": value, "filter": filter, "t": 3.0, "n": 7, "fs": "_SEP_"})
}

#[test]
fn methods_and_paths_that_are_not_there_are_refused() {
    let collector = Collector::start(&[]);
    for endpoint in ENDPOINTS {
        let path =
            endpoint.path.replace("{agent}", "ALL").replace("{metric}", "load_one").replace("{name}", "x");
        let path = path.replace("{app}", "x").replace("{script}", "x.js").replace("{*path}", "x/json");
        for method in ["GET", "PUT", "DELETE", "POST", "PATCH"] {
            if endpoint.path == "/live" && method == "GET" {
                continue;
            }
            let (status, body) = collector.request(method, &path, Some(""));
            let known = endpoint.methods().contains(&method);
            assert_eq!(status != 405, known, "{method} {path}: {status} {body}");
            if status >= 400 {
                let answer: Json =
                    serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"));
                assert!(answer["error"].is_string(), "{path}: {body}");
            }
        }
    }
    for (path, why) in ABSENT {
        let path = path.replace("{*path}", "some/thing/json");
        for method in ["GET", "PUT"] {
            let (status, body) = collector.request(method, &path, Some("{}"));
            assert!(status == 501 && body.contains(why), "{method} {path}: {status} {body}");
        }
    }
}
