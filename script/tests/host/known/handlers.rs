//! Handlers and timers.

use super::{Known, Says};

pub(super) fn known() -> Vec<Known> {
    vec![
        Known {
            name: "setIntervalHandler",
            first: "var at = []; setIntervalHandler(function(now) { at.push(now); }, 0.3);",
            asks: "at.length > 5 ? (at[at.length - 1] - at[0]) / (at.length - 1) : null",
            says: Says::Near(|_| 300.0, 0.1),
        },
        Known {
            name: "clearIntervalHandler",
            first: "var n = 0, began = Date.now();\n\
                    setIntervalHandler(function() { if (++n === 3) clearIntervalHandler(); }, 0.05);",
            asks: "Date.now() > began + 2000 ? n : null",
            says: Says::Json("3"),
        },
        Known {
            name: "setHttpHandler",
            first: "",
            asks: "[req.method, req.path, req.query, req.format, req.body]",
            says: Says::Json("[\"GET\", [\"a\"], {}, \"json\", null]"),
        },
        Known {
            name: "clearHttpHandler",
            first: "setIntervalHandler(function() {});",
            asks: "clearHttpHandler()",
            says: Says::That(|_, answer| match answer {
                Err(why) if why.contains("no handler") => Ok(()),
                other => Err(format!("{other:?}")),
            }),
        },
        Known {
            name: "setTimeout",
            first: "var came = [];\n\
                    setTimeout(function(a, b) { came.push(a + b); }, 80, 'la', 'te');\n\
                    setTimeout(function() { came.push('soon'); }, 10);",
            asks: "came",
            says: Says::Json("[\"soon\", \"late\"]"),
        },
        Known {
            name: "clearTimeout",
            first: "var came = [], began = Date.now();\n\
                    clearTimeout(setTimeout(function() { came.push('no'); }, 20));\n\
                    setTimeout(function() { came.push('yes'); }, 40);",
            asks: "Date.now() > began + 1000 ? came : null",
            says: Says::Json("[\"yes\"]"),
        },
        Known {
            name: "setFlowHandler",
            first: "var seen = {};\n\
                    setFlow('known_records', {keys: 'ipsource,ipdestination,tcpdestinationport', value: 'frames', log: true, \
                    activeTimeout: 1, filter: 'ipdestination=198.51.100.1'});\n\
                    setFlowHandler(function(rec) { seen[rec.agent + ' ' + rec.dataSource] = rec.flowKeys; }, ['known_records']);",
            asks: "seen",
            says: Says::Json(
                "{\"10.255.0.2 2\": \"10.0.16.11,198.51.100.1,4444\", \
                \"10.254.0.1 2\": \"10.0.16.11,198.51.100.1,4444\", \
                \"10.255.0.1 3\": \"10.0.16.11,198.51.100.1,4444\"}",
            ),
        },
        Known {
            name: "clearFlowHandler",
            first: "var n = 0, since = 0;\n\
                    setFlow('known_end', {keys: 'ipsource,ipdestination', value: 'frames', log: true, activeTimeout: 1});\n\
                    setFlowHandler(function(rec) { n++; since = Date.now(); clearFlowHandler(); }, ['known_end']);",
            asks: "since && Date.now() > since + 2500 ? n : null",
            says: Says::Json("1"),
        },
        Known {
            name: "setEventHandler",
            first: "var seen = {};\n\
                    setEventHandler(function(e) { seen[e.agent + ' ' + e.dataSource] = [e.metric, e.value, e.thresholdID]; }, \
                    ['known_processors']);\n\
                    setThreshold('known_processors', {metric: 'cpu_num', value: 7, filter: {host_name: ['host3']}});",
            asks: "seen",
            says: Says::Json("{\"10.0.0.11 2.1\": [\"cpu_num\", 8, \"known_processors\"]}"),
        },
        Known {
            name: "clearEventHandler",
            first: "var n = 0, since = 0;\n\
                    setEventHandler(function(e) { n++; since = Date.now(); clearEventHandler(); }, ['known_once', 'known_twice']);\n\
                    setThreshold('known_once', {metric: 'cpu_num', value: 7});\n\
                    setTimeout(function() { setThreshold('known_twice', {metric: 'cpu_num', value: 6}); }, 1000);",
            asks: "since && Date.now() > since + 3500 ? n : null",
            says: Says::Json("1"),
        },
    ]
}
