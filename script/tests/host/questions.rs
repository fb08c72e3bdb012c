//! Questions of scripts, each with an answer that is known.

use serde_json::{Value as Json, json};

use crate::asking::{Console, HOST, SWITCH};
use crate::support::until;

/// A value without its members that change with time.
fn timeless(mut value: Json) -> Json {
    match &mut value {
        Json::Object(object) => {
            for member in ["lastUpdate", "lastUpdateMin", "lastUpdateMax"] {
                assert!(object.remove(member).is_none_or(|age| age.as_u64() < Some(60_000)), "{object:?}");
            }
            object.values_mut().for_each(|value| *value = timeless(value.take()));
        }
        Json::Array(list) => list.iter_mut().for_each(|value| *value = timeless(value.take())),
        _ => {}
    }
    value
}

#[test]
fn about_the_collector_itself() {
    let console = Console::new();
    assert_eq!(console.run("version()"), "1.2.3");
    assert_eq!(console.run("analyzer()"), json!({"version": "1.2.3", "uptime": 5}));
    assert_eq!(console.run("agents()"), json!({}));
    assert_eq!(console.run("metrics()"), json!({}));
    assert_eq!(console.run("flowKeys()"), json!({}));
}

#[test]
fn about_agents_and_their_metrics() {
    let mut console = Console::new();
    console.send_counters();
    assert_eq!(console.run("Object.keys(agents())"), json!([HOST, SWITCH]));
    assert_eq!(console.run("Object.keys(agents(['leaf1', '10.9.9.9']))"), json!([SWITCH]));
    assert_eq!(console.run(&format!("agents()['{SWITCH}'].sFlowCounterDatasources")), 3);
    let names = console.run("metrics()");
    assert!(names["load_one"].as_u64() < Some(60_000) && names.get("ifname").is_some(), "{names}");
    let all = console.run(&format!("metrics('{SWITCH}')"));
    assert_eq!((&all["4.ifname"], &all["2.1.load_one"]), (&json!("swp4"), &json!(0.5)));
    assert_eq!(console.run("metrics('10.9.9.9')"), json!(null));
    for (name, address) in [("leaf1", json!(SWITCH)), ("web1", json!(HOST)), ("other", json!(null))] {
        assert_eq!(console.run(&format!("agentForName('{name}')")), address);
    }
    for (source, name) in
        [("4", json!("swp4")), ("'5'", json!("swp5")), ("'6'", json!(null)), ("'x'", json!(null))]
    {
        assert_eq!(console.run(&format!("ifName('{SWITCH}', {source})")), name, "{source}");
    }
    let info = timeless(console.run(&format!("datasourceInfo('{SWITCH}', 4)")));
    assert_eq!(
        (&info["dataSource"], &info["counterSamples"], &info["flowSamples"]),
        (&json!("4"), &json!(1), &json!(0))
    );
    assert_eq!(console.run(&format!("datasourceInfo('{SWITCH}', '9')")), json!(null));
    console.send_packets(3);
    let info = console.run(&format!("datasourceInfo('{SWITCH}', '4')"));
    assert_eq!((&info["flowSamples"], &info["samplingRate"]), (&json!(3), &json!(100)));
}

#[test]
fn metric_gives_a_statistic_for_each_metric_as_rest_does() {
    let mut console = Console::new();
    console.send_counters();
    let found = timeless(console.run("metric('ALL', 'avg:load_one,max:load_one,2.1.load_one,nosuch')"));
    assert_eq!(
        found,
        json!([
            {"metricName": "avg:load_one", "metricValue": 1, "metricN": 2},
            {"agent": HOST, "dataSource": "2.1", "metricName": "max:load_one", "metricValue": 1.5, "metricN": 2},
            {"agent": HOST, "dataSource": "2.1", "metricName": "2.1.load_one", "metricValue": 1.5, "metricN": 2},
            {"metricName": "nosuch", "metricN": 0},
        ])
    );
    for (arguments, value, n) in [
        // An array is a list too, and a pattern may stand alone; numbers are patterns.
        ("'ALL', ['sum:load_one'], {host_name: ['leaf*']}", json!(0.5), 1),
        ("'ALL', 'sum:load_one', {host_name: 'leaf*', os_name: 'linux'}", json!(0.5), 1),
        ("'ALL', 'max:ifspeed', {ifspeed: [1e9]}", json!(1_000_000_000), 1),
        ("'ALL', 'max:ifindex', {ifspeed: 1e10, ifname: ['swp4', 'swp5']}", json!(5), 1),
        ("'web1;leaf1', 'avg:load_one', null", json!(1), 2),
        ("['web1', 'leaf1'], 'min:load_one'", json!(0.5), 2),
        ("'ALL', 'any:load_one', {}", json!(1.5), 2),
    ] {
        let found = console.run(&format!("metric({arguments})"));
        assert_eq!(
            (&found[0]["metricValue"], &found[0]["metricN"]),
            (&value, &json!(n)),
            "{arguments}: {found}"
        );
    }
    // Published scripts read the first one without asking whether there is any.
    let absent =
        json!([{"metricName": "med:load_one", "metricN": 0}, {"metricName": "ifspeed", "metricN": 0}]);
    for nobody in ["10.9.9.9", "CORE", "EDGE", "TOPOLOGY"] {
        assert_eq!(console.run(&format!("metric('{nobody}', 'med:load_one,ifspeed')")), absent, "{nobody}");
    }
    assert_eq!(console.run(&format!("metric('{HOST}', 'ifspeed')[0].metricN")), 0, "it is known");
    for (text, error) in [
        ("metric('ALL')", "TypeError: metric: argument 2 (metrics) is missing"),
        ("metric('ALL', 'top:load_one')", "Error: metric: \"top\" is no aggregation"),
        ("metric('ALL', 'load_one', {host_name: ['(']})", "Error: metric: filter: \"(\" is no pattern"),
        ("metric('ALL', 'load_one', 'x')", "TypeError: metric: argument 3 (filter) must be an object"),
    ] {
        let thrown = console.throws(text);
        assert!(thrown.starts_with(error), "{text}: {thrown}");
    }
}

#[test]
fn tables_and_dumps_have_the_cells_of_rest() {
    let mut console = Console::new();
    console.send_counters();
    let cell = |agent: &str, source: &str, name: &str, value: Json| json!({"agent": agent, "dataSource": source, "metricName": name, "metricValue": value});
    let rows = console.run("table('ALL', 'ifname,sort:ifspeed:-1,null:nosuch')");
    assert_eq!(
        timeless(rows),
        json!([[
            cell(SWITCH, "5", "ifname", json!("swp5")),
            cell(SWITCH, "5", "ifspeed", json!(10_000_000_000_u64)),
            null
        ]])
    );
    let rows =
        console.run("table('ALL', ['ifname', 'host_name'], {ifadminstatus: ['up'], ifoperstatus: 'up'})");
    assert_eq!(
        timeless(rows),
        json!([[
            cell(SWITCH, "4", "ifname", json!("swp4")),
            cell(SWITCH, "2.1", "host_name", json!("leaf1"))
        ]])
    );
    assert_eq!(console.run(&format!("table('{HOST}', 'ifname')")), json!([]));
    assert_eq!(console.run("table('10.9.9.9', 'ifname')"), json!(null));
    let dump = timeless(console.run(&format!("dump('{SWITCH}', 'ifindex;ifname', {{ifindex: [4]}})")));
    assert_eq!(
        dump,
        json!([cell(SWITCH, "4", "ifindex", json!(4)), cell(SWITCH, "4", "ifname", json!("swp4"))])
    );
    let all = console.run(&format!("dump('{HOST}', 'ALL')"));
    let load = all.as_array().unwrap().iter().find(|one| one["metricName"] == "load_one").unwrap();
    assert_eq!((&load["metricValue"], &load["dataSource"]), (&json!(1.5), &json!("2.1")));
    assert_eq!(console.run("dump('10.9.9.9', 'ALL')"), json!(null));
}

#[test]
fn flows_have_the_values_of_what_was_sampled() {
    let mut console = Console::new();
    // A smoothing of ten minutes: ten samples of a hundred packets are 1000/600 a second for as long as a test takes.
    console.run("setFlow('pairs', {keys: ['ipsource', 'ipdestination'], value: 'frames', values: ['bytes'], t: 600, fs: '_'})");
    console.send_packets(10);
    let is = |value: &Json, expected: f64| {
        let value = value.as_f64().unwrap();
        assert!(value <= expected && value > 0.9 * expected, "{value} for {expected}");
    };
    let flows = console.run("activeFlows('ALL', 'pairs', '10', '0.5', 'max')");
    assert_eq!(flows.as_array().unwrap().len(), 1);
    let flow = &flows[0];
    assert_eq!(
        (&flow["key"], &flow["agent"], &flow["dataSource"]),
        (&json!("10.0.0.162_192.0.2.1"), &json!(SWITCH), &json!("4"))
    );
    is(&flow["value"], 1000.0 / 600.0);
    is(&flow["values"][0], 1_000_000.0 / 600.0);
    assert_eq!(console.run("activeFlows('ALL', 'pairs', 10, 100)"), json!([]), "none is so large");
    assert_eq!(console.run("activeFlows('ALL', 'pairs', 0)"), json!([]));
    for empty in ["'ALL', 'nosuch'", "'TOPOLOGY', 'pairs'", "'ALL', 'pairs', 1, 0, 'edge'"] {
        assert_eq!(console.run(&format!("activeFlows({empty})")), json!([]), "{empty}");
    }
    assert!(console.throws("activeFlows('ALL', 'pairs', 1, 0, 'most')").contains("aggMode \"most\""));
    for (name, key) in
        [("4.pairs", "'10.0.0.162_192.0.2.1'"), ("pairs", "'10.0.0.162_192.0.2.1'"), ("4.pairs", "null")]
    {
        is(&console.run(&format!("flowValue('{SWITCH}', '{name}', {key})")), 1000.0 / 600.0);
    }
    assert_eq!(console.run("flowValue('ALL', '5.pairs', '10.0.0.162_192.0.2.1')"), 0);
    assert_eq!(console.run("flowValue('ALL', 'nosuch', 'x')"), json!(null));
    let places = console.run("flowLocations('ALL', 'pairs', '10.0.0.162_192.0.2.1')");
    assert_eq!(places.as_array().unwrap().len(), 1);
    assert_eq!((&places[0]["agent"], &places[0]["dataSource"]), (&json!(SWITCH), &json!("4")));
    assert_eq!(console.run("flowLocations('ALL', 'pairs', 'x')"), json!([]));
    let keys = console.run("flowKeys()");
    assert!(keys.get("ipsource").is_some() && keys.get("ip6source").is_none(), "{keys}");
    // A definition is a metric too.
    let metric = console.run("metric('ALL', 'max:pairs')[0]");
    assert_eq!(metric["topKeys"][0]["key"], "10.0.0.162_192.0.2.1");
    is(&metric["metricValue"], 1000.0 / 600.0);
}

#[test]
fn a_threshold_is_triggered_until_it_was_below_for_its_time() {
    let mut console = Console::new();
    console.run(
        "var events = [];\n\
         setEventHandler(function(evt) { events.push(evt); }, ['many', 'loaded']);\n\
         setFlow('f', {keys: 'ipsource', value: 'frames', t: 1});\n\
         setThreshold('many', {metric: 'f', value: 100, byFlow: true, timeout: 1});\n\
         setThreshold('loaded', {metric: 'load_one', value: 1, timeout: 1});\n\
         function still(evt) {\n  \
         return thresholdTriggered(evt.thresholdID, evt.agent, evt.dataSource + '.' + evt.metric, evt.flowKey);\n}",
    );
    console.send_packets(10);
    console.send_counters();
    until("both events come", || console.run("events.length") == 2);
    let events = console.run("events.map(function(evt) { return [evt.thresholdID, evt.dataSource, evt.metric, evt.flowKey || null]; })");
    assert_eq!(events, json!([["many", "4", "f", "10.0.0.162"], ["loaded", "2.1", "load_one", null]]));
    assert_eq!(console.run("events.map(still)"), json!([true, true]));
    for (arguments, is) in [
        (format!("'many', '{SWITCH}', '4.f', '10.0.0.163'"), false),
        (format!("'many', '{SWITCH}', '5.f', '10.0.0.162'"), false),
        (format!("'many', '{HOST}', '4.f', '10.0.0.162'"), false),
        (format!("'many', '{SWITCH}', 'f'"), true),
        (format!("'nosuch', '{SWITCH}', '4.f'"), false),
        (format!("'loaded', '{SWITCH}', '2.1.load_one'"), false),
        ("'loaded', 'web1', '2.1.load_one'".to_owned(), true),
        ("'many', 'EDGE', '4.f'".to_owned(), false),
    ] {
        assert_eq!(console.run(&format!("thresholdTriggered({arguments})")), is, "{arguments}");
    }
    // A thousand in a second fall below a hundred after two, and stay triggered for one more.
    until("it is over", || console.run("still(events[0])") == false);
    assert_eq!(console.run("still(events[1])"), true, "a counter stays where it is");
}
