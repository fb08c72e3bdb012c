//! The schemas of what is asked and answered (JSON Schema as OpenAPI 3.0 has it). The tests hold real answers to them.

use serde_json::{Map, Value as Json, json};

/// All of them, by name.
pub(crate) fn all() -> Json {
    let mut all = Map::new();
    for part in [general(), metrics(), flows(), definitions(), topology(), actions(), scripts()] {
        if let Json::Object(part) = part {
            all.extend(part);
        }
    }
    all.into()
}

fn list(of: &str) -> Json {
    json!({ "type": "array", "items": { "$ref": format!("#/components/schemas/{of}") } })
}

fn by_name(of: &str) -> Json {
    json!({ "type": "object", "additionalProperties": { "$ref": format!("#/components/schemas/{of}") } })
}

/// An object: name, type and meaning of its attributes; those whose type ends with `?` may be missing.
fn object(attributes: &[(&str, &str, &str)]) -> Json {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, kind, what) in attributes {
        let plain = kind.trim_end_matches('?');
        if plain.len() == kind.len() {
            required.push(Json::from(*name));
        }
        let named = |name: &str| name.starts_with(|c: char| c.is_ascii_uppercase());
        let mut schema = match plain.split_once(' ') {
            Some(("list", of)) if named(of) => list(of),
            Some(("list", of)) => json!({ "type": "array", "items": { "type": of } }),
            None if named(plain) => json!({ "allOf": [{ "$ref": format!("#/components/schemas/{plain}") }] }),
            _ if plain == "value" => value(),
            _ if plain == "topKeys" => list("TopKey"),
            _ => json!({ "type": plain }),
        };
        schema["description"] = (*what).into();
        properties.insert((*name).to_owned(), schema);
    }
    let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        object["required"] = required.into();
    }
    object
}

/// A value is a number, or a text where the metric is one.
fn value() -> Json {
    json!({ "oneOf": [{ "type": "number" }, { "type": "string" }] })
}

/// Texts as one with commas, or as a list.
fn texts() -> Json {
    json!({ "oneOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
}

const AGENT: (&str, &str, &str) = ("agent", "string", "address of the agent");
const SOURCE: (&str, &str, &str) = (
    "dataSource",
    "string?",
    "22 an interface, 2.1 a host, 3.100000 a container; none where a table is per agent",
);
const VALUES: (&str, &str, &str) =
    ("values", "list number?", "the further values of the definition, if it has any");
const TOP_KEYS: (&str, &str, &str) =
    ("topKeys", "topKeys?", "the largest flows, where the metric is that of flows");

fn general() -> Json {
    json!({
        "Error": object(&[("error", "string", "what is wrong, and what to do")]),
        "Object": { "type": "object" },
        "Number": { "type": "number" },
        "Names": { "type": "array", "items": { "type": "string" } },
        "Ages": { "type": "object", "additionalProperties": { "type": "integer" }, "description": "milliseconds" },
        "Agents": by_name("Agent"),
        "Agent": object(&[
            ("sFlowDatagramSource", "list string", "addresses that its datagrams come from, eight at most"),
            ("firstSeen", "integer", "ms ago"),
            ("lastSeen", "integer", "ms ago"),
            ("uptime", "integer", "the agent's own, ms"),
            ("sFlowDatagramsReceived", "integer", "datagrams"),
            ("sFlowDatagramsLost", "integer", "missing in its sequence"),
            ("sFlowDatagramsDuplicates", "integer", "arrived before"),
            ("sFlowDatagramsOutOfOrder", "integer", "overtaken by later ones"),
            ("sFlowCounterDatasources", "integer", "data sources that send counters"),
            ("sFlowCounterSamples", "integer", "their samples"),
            ("sFlowCounterLostSamples", "integer", "missing in their sequences"),
            ("sFlowCounterDuplicateSamples", "integer", "arrived before"),
            ("sFlowCounterOutOfOrderSamples", "integer", "overtaken by later ones"),
            ("sFlowFlowDatasources", "integer", "data sources that send flow samples"),
            ("sFlowFlowSamples", "integer", "their samples"),
            ("sFlowFlowLostSamples", "integer", "missing in their sequences"),
            ("sFlowFlowDuplicateSamples", "integer", "arrived before"),
            ("sFlowFlowOutOfOrderSamples", "integer", "overtaken by later ones"),
            ("sFlowFlowDrops", "integer", "samples that the device says it dropped"),
            ("sFlowForeignDatagrams", "integer", "datagrams from elsewhere than it is listed with"),
            ("listed", "boolean", "whether the configuration lists it"),
            ("trusted", "boolean", "whether actions may use what is known of it"),
        ]),
        "Analyzer": object(&[
            ("version", "string", "of the collector"),
            ("uptime", "integer", "ms"),
            ("sFlowAgents", "integer", "agents that are known"),
            ("sFlowDatagramsReceived", "integer", "datagrams that were read"),
            ("sFlowBytesReceived", "integer", "their bytes"),
            ("sFlowDatagramsDiscarded", "integer?", "datagrams that full socket buffers and rings dropped"),
            ("sFlowParseErrors", "integer", "datagrams and samples that could not be read"),
            ("sFlowUnsupportedVersion", "integer", "datagrams of another version than 5"),
            ("flowsGenerated", "integer", "flow records"),
            ("flowsLost", "integer", "flow records that a full queue dropped"),
            ("eventsGenerated", "integer", "threshold events"),
            ("eventsLost", "integer", "threshold events that a full queue dropped"),
            ("httpConnectionsCurrent", "integer", "open connections"),
            ("httpConnectionsTotal", "integer", "connections so far"),
            ("httpBytesSent", "integer", "bytes"),
            ("httpBytesReceived", "integer", "bytes"),
            ("httpMessagesReceived", "integer", "requests"),
            ("availableProcessors", "integer", "processors that it may use"),
            ("cpuLoadProcess", "number?", "its share of the machine's processors over two seconds, 0 to 1"),
            ("cpuLoadSystem", "number?", "the same for everything that runs"),
            ("cpuTime", "integer?", "its processor time, ms"),
            ("heapUsed", "integer?", "resident memory, bytes"),
            ("heapMax", "integer?", "the control group's limit, else the machine's memory, bytes"),
            ("memTotal", "integer?", "the machine's memory, bytes"),
            ("memFree", "integer?", "of that unused, bytes"),
            ("threadCount", "integer?", "threads"),
            ("threadDaemonCount", "integer?", "threads beside the main one"),
            ("gcTime", "integer", "0: memory is freed as it falls out of use"),
            ("gcCount", "integer", "0"),
            ("ingest", "Ingest", "how datagrams come in"),
        ]),
        "Ingest": object(&[
            ("mode", "string", "zero-copy, copy, generic (AF_XDP), dpdk or udp"),
            ("interface", "string?", "whose queues are read, or were to be; ports of DPDK and their drivers"),
            ("queues", "list Queue", "its queues that are read"),
            ("hugePages", "boolean?", "whether their frames are on huge pages"),
            ("multiBuffer", "boolean?", "whether frames of several buffers are taken"),
            ("busyPoll", "boolean?", "whether the driver is polled"),
            ("why", "list string", "what was tried and did not work, and why"),
            ("gone", "boolean?", "whether the interface went away after the start"),
            ("frames", "object?", "what became of the frames of the interface, by verdict"),
        ]),
        "Queue": object(&[
            ("queue", "integer", "its number"),
            ("worker", "integer", "the worker that reads it"),
            ("bound", "boolean", "whether its interface is still there"),
            ("frames", "integer", "frames of memory"),
            ("fillLevel", "integer", "frames that wait for packets"),
            ("receiveLevel", "integer", "frames whose packets wait for the worker"),
            ("framesLent", "integer", "frames that the worker reads"),
            ("framesFree", "integer", "frames that no ring has"),
            ("rxDropped", "integer", "packets dropped because no frame was free or none was long enough"),
            ("rxRingFull", "integer", "packets dropped because the receive ring was full"),
            ("rxFillRingEmptyDescs", "integer", "times that the kernel found no frame to hold ready"),
            ("rxInvalidDescs", "integer", "descriptions of frames that the kernel refused"),
            ("checksumWrong", "integer", "datagrams dropped for their checksum"),
            ("checksumPartial", "integer", "datagrams taken whose sender is on this machine and made no checksum"),
            ("malformed", "integer", "packets dropped because a length in them is wrong"),
            ("gathered", "integer", "packets put together of several frames"),
        ]),
    })
}

fn metrics() -> Json {
    json!({
        "Flat": { "type": "object", "additionalProperties": value(), "description": "by data source and metric" },
        "TopKey": object(&[("key", "string", "the flow's keys"), ("value", "number", "per second")]),
        "Metrics": list("Metric"),
        "Metric": object(&[
            AGENT,
            SOURCE,
            ("metricName", "string", "as it was asked for"),
            ("metricValue", "value", "counters are rates per second"),
            ("lastUpdate", "integer", "ms ago"),
            TOP_KEYS,
        ]),
        "Table": { "type": "array", "items": { "type": "array", "items": {
            "allOf": [{ "$ref": "#/components/schemas/Metric" }], "nullable": true,
        } } },
        "Statistics": list("Statistic"),
        "Statistic": {
            "type": "object",
            "required": ["metricName", "metricN"],
            "additionalProperties": false,
            "properties": {
                "agent": { "type": "string" },
                "dataSource": { "type": "string" },
                "metricName": { "type": "string", "description": "as it was asked for" },
                "metricValue": value(),
                "metricN": { "type": "integer", "description": "data sources that it is made of" },
                "lastUpdate": { "type": "integer", "description": "ms ago, of the owner's value" },
                "lastUpdateMin": { "type": "integer", "description": "ms ago, of the youngest value" },
                "lastUpdateMax": { "type": "integer", "description": "ms ago, of the oldest value" },
                "quartiles": object(&[
                    ("min", "number", ""), ("q1", "number", ""), ("med", "number", ""), ("q3", "number", ""),
                    ("max", "number", ""),
                ]),
                "topKeys": list("TopKey"),
            },
        },
    })
}

fn flows() -> Json {
    json!({
        "ActiveFlows": list("ActiveFlow"),
        "ActiveFlow": object(&[
            AGENT, SOURCE, ("key", "string", "keys, joined by the definition's separator"),
            ("value", "number", "per second"), VALUES,
        ]),
        "Records": list("Record"),
        "Record": object(&[
            ("flowID", "integer", "from 0, increasing"),
            ("name", "string", "of the definition"),
            AGENT,
            SOURCE,
            ("flowKeys", "string", "keys, joined by the definition's separator"),
            ("value", "number", "a total, not a rate"),
            VALUES,
            ("start", "integer", "ms since 1970"),
            ("end", "integer", "ms since 1970"),
        ]),
        "Events": list("Event"),
        "Event": object(&[
            ("eventID", "integer", "from 0, increasing"),
            ("timestamp", "integer", "ms since 1970"),
            ("thresholdID", "string", "name of the threshold"),
            AGENT,
            SOURCE,
            ("metric", "string", "its metric or flow"),
            ("threshold", "number", "its value"),
            ("value", "number", "what was measured"),
            ("flowKey", "string?", "the flow, where the metric is that of flows"),
            VALUES,
        ]),
    })
}

fn definitions() -> Json {
    json!({
        "Flows": by_name("Flow"),
        "Flow": {
            "type": "object",
            "required": ["value"],
            "additionalProperties": false,
            "description": "the flow language of manual/flows.md; numbers and booleans may be texts",
            "properties": {
                "keys": texts(),
                "value": { "type": "string" },
                "values": texts(),
                "filter": { "type": "string" },
                "t": { "type": "number", "description": "smoothing, seconds; 0.2 to 600, others are adjusted" },
                "n": { "type": "number", "description": "largest flows of a metric; 5 to 20, others are adjusted" },
                "fs": { "type": "string", "description": "separates keys in text" },
                "log": { "type": "boolean", "description": "whether flows are recorded" },
                "flowStart": { "type": "boolean", "description": "whether at their first packet" },
                "activeTimeout": { "type": "number", "description": "seconds; 1 to 86400, others are adjusted" },
                "dropped": { "type": "boolean", "description": "whether dropped packets are meant" },
                "aggMode": { "type": "string", "description": "AGENT: a table for each agent; edge, core: only such ports" },
            },
        },
        "Group": {
            "type": "object",
            "description": "prefixes or addresses by label",
            "additionalProperties": { "type": "array", "items": { "type": "string" } },
        },
        "Map": {
            "type": "object",
            "description": "values by label",
            "additionalProperties": { "type": "array", "items": value() },
        },
        "Thresholds": by_name("Threshold"),
        "Threshold": {
            "type": "object",
            "required": ["metric", "value"],
            "additionalProperties": false,
            "properties": {
                "metric": { "type": "string" },
                "value": { "type": "number" },
                "filter": {
                    "type": "object",
                    "additionalProperties": { "type": "array", "items": value() },
                },
                "byFlow": { "type": "boolean" },
                "timeout": { "type": "number" },
            },
        },
        "Forwardings": by_name("Forwarding"),
        "Forwarding": object(&[
            ("address", "string", "IP address"),
            ("port", "integer?", "6343 by default"),
            ("agents", "list string?", "whose datagrams; everybody's by default"),
        ]),
    })
}

fn topology() -> Json {
    let name = json!({ "oneOf": [{ "type": "string" }, { "type": "integer" }] });
    let mut link = json!({
        "type": "object", "required": ["node1", "port1", "node2", "port2"], "properties": {},
        "description": "other attributes are kept",
    });
    for end in ["node1", "port1", "node2", "port2"] {
        link["properties"][end] = name.clone();
    }
    json!({
        "Topology": {
            "type": "object",
            "additionalProperties": false,
            "properties": { "nodes": by_name("TopologyNode"), "links": by_name("TopologyLink") },
        },
        "TopologyNode": {
            "type": "object",
            "description": "a switch; other attributes are kept",
            "properties": {
                "agent": { "type": "string", "description": "address or host name; the node's name by default" },
                "ports": { "type": "object", "additionalProperties": {
                    "type": "object",
                    "properties": { "ifindex": name.clone(), "ifname": name },
                } },
            },
        },
        "TopologyLink": link,
        "TopologyPorts": list("TopologyPort"),
        "TopologyPort": object(&[
            ("node", "string", "name of the node"),
            ("port", "string", "name of the port"),
            ("agent", "string?", "address of the node's agent, where it is known"),
            ("ifindex", "string?", "the port's interface, where it is known"),
            ("link", "string?", "the link that it belongs to, if any"),
            ("role", "string", "edge, core or unknown"),
        ]),
        "TopologyHosts": list("TopologyHost"),
        "TopologyHost": object(&[
            ("mac", "string", "Ethernet address"),
            ("node", "string?", "the switch that it is attached to"),
            ("port", "string?", "the port there"),
            AGENT,
            ("ifindex", "string", "the interface there"),
            ("vlan", "integer?", "VLAN of a recent packet"),
            ("ouiname", "string?", "vendor of the adapter, with oui.file"),
            ("ipaddress", "string?", "an IPv4 address that its packets came from"),
            ("ip6address", "string?", "an IPv6 address that its packets came from"),
            ("addresses", "list string", "all of them, 16 at most"),
            ("lastSeen", "integer", "ms ago; a minute too much at most"),
        ]),
    })
}

fn actions() -> Json {
    // What may be unknown yet is null then.
    let open = |kind: &str, what: &str| json!({ "type": kind, "nullable": true, "description": what });
    let some = |properties: Json, what: &str| json!({ "type": "object", "description": what, "properties": properties });
    json!({
        "Actions": some(json!({
            "mode": { "type": "string", "description": "observe, act or withdraw" },
            "trouble": open("string", "what keeps actions from being done"),
            "broken": { "type": "array", "items": { "type": "object" }, "description": "components that ended by themselves" },
            "overview": open("object", "all of it in a few words; null where nothing is configured"),
            "notices": { "type": "array", "items": { "type": "object" }, "description": "who is told, and what was lost" },
            "audit": { "type": "object", "description": "what was meant to be done, by what became of it" },
        }), "whether actions are done"),
        "ActionsChange": object(&[("mode", "string", "observe, act or withdraw")]),
        "AuditEntries": list("AuditEntry"),
        "AuditEntry": some(json!({
            "id": { "type": "integer" },
            "at_ms": { "type": "integer", "description": "ms since 1970" },
            "kind": { "type": "string" }, "owner": { "type": "string" }, "name": { "type": "string" },
            "target": { "type": "string", "description": "who is asked" },
            "what": { "type": "string" }, "reason": { "type": "string" },
            "outcome": { "type": "string", "description": "open, done, failed, unknown or observed" },
        }), "an action; evidence and detail are there where they say something"),
        "Autoscale": some(json!({
            "budget": open("integer", "replicas that all services share"),
            "replicas": { "type": "integer", "description": "those that they have" },
            "services": by_name("AutoscaleService"),
            "swarms": { "type": "object", "additionalProperties": { "type": "object" } },
        }), "services that are scaled, and their swarms"),
        "AutoscaleService": some(json!({
            "enabled": { "type": "boolean" },
            "min": { "type": "integer" }, "max": { "type": "integer" },
            "replicas": open("integer", "how many are asked for"),
            "running": open("integer", "tasks that run, as the engine says"),
            "seen": open("integer", "containers that telemetry sees"),
            "want": open("integer", "how many the metrics ask for"),
            "verdict": open("string", "up, down, stay, or why nothing is done"),
            "reason": open("string", "the same in words"),
            "decisions": { "type": "array", "items": { "type": "object" }, "description": "newest first" },
        }), "a service; further attributes are those of its configuration"),
        "AutoscaleChange": object(&[
            ("enabled", "boolean?", "whether it is scaled"),
            ("paused", "value?", "true, false, or for how many seconds"),
            ("dry_run", "boolean?", "whether decisions are only told"),
            ("min", "integer?", "replicas at least"),
            ("max", "integer?", "replicas at most"),
            ("priority", "integer?", "of services that share a budget the higher one has its replicas first"),
            ("metric", "list object?", "thresholds or targets of metrics that it has"),
            ("state", "string?", "enabled or disabled"),
        ]),
        "Captures": {
            "type": "object",
            "nullable": true,
            "properties": {
                "instance": { "type": "string", "description": "in the names of our rules" },
                "mode": { "type": "string" },
                "sessions": list("Capture"),
                "ended": list("Capture"),
                "switches": { "type": "array", "items": { "type": "object" } },
            },
        },
        "Capture": some(json!({
            "id": { "type": "string", "description": "also the name of its rule" },
            "state": { "type": "string", "description": "pending, installing, active, removing or failed" },
            "reason": { "type": "string" },
            "local": { "type": "string" }, "remote": { "type": "string" },
            "agent": open("string", "of the switch that captures"),
            "began": { "type": "string" }, "deadline": { "type": "string" },
            "evidence": { "type": "object" },
            "history": { "type": "array", "items": { "type": "object" } },
        }), "packets of two hosts that a switch mirrors to an analyzer"),
        "CaptureStart": object(&[
            ("local", "string", "address of the host that is ours"),
            ("remote", "string", "address of the other one"),
            ("agent", "string?", "agent of the switch that is to capture; the best one by default"),
            ("seconds", "integer?", "for how long"),
            ("policy", "string?", "the policy whose analyzer it goes to; the first one by default"),
        ]),
        "Feeds": by_name("Feed"),
        "Feed": some(json!({
            "set": { "type": "string", "description": "the group set that it is a label of" },
            "label": { "type": "string" },
            "source": { "type": "string", "description": "its address without query, or its path" },
            "entries": { "type": "integer", "description": "prefixes in use" },
            "coveredIPv4": { "type": "integer", "description": "addresses of IPv4 that they cover" },
            "coveredIPv6Of64": { "type": "number", "description": "networks of 64 bits of IPv6 that they cover" },
            "rejected": { "type": "object", "description": "entries that are not taken, by reason" },
            "ageSeconds": { "type": "integer", "nullable": true },
            "late": { "type": "boolean", "description": "older than three periods" },
            "readings": { "type": "object", "description": "readings by what became of them" },
            "last": { "type": "object", "nullable": true, "description": "what became of the last one" },
        }), "a list of addresses"),
        "FeedRefresh": object(&[
            ("acceptChange", "boolean?", "whatever it changes is right"),
        ]),
    })
}

fn scripts() -> Json {
    json!({
        "Scripts": by_name("Script"),
        "Script": {
            "type": "object",
            "required": ["alive", "flowsReceived", "flowsLost", "eventsReceived", "eventsLost", "requestsReceived", "requestsLost"],
            "properties": {
                "alive": { "type": "boolean", "description": "whether it runs" },
                "gracefulExit": { "type": "boolean", "description": "whether it ended by itself and without an error" },
                "error": { "type": "string", "nullable": true, "description": "what ended it, or its last error" },
                "cpuMs": { "type": "number", "description": "processor time of its thread" },
                "flowsReceived": { "type": "integer", "description": "flow records that it was given" },
                "flowsLost": { "type": "integer", "description": "those that its full queue dropped" },
                "eventsReceived": { "type": "integer", "description": "threshold events that it was given" },
                "eventsLost": { "type": "integer", "description": "those that its full queue dropped" },
                "requestsReceived": { "type": "integer", "description": "requests that it was given" },
                "requestsLost": { "type": "integer", "description": "those that its full queue refused" },
                "exceptions": { "type": "integer", "description": "exceptions that it did not catch" },
                "interrupted": { "type": "integer", "description": "calls that took too long" },
                "starts": { "type": "integer", "description": "how often it was started" },
                "memoryBytes": { "type": "integer", "description": "memory of its values" },
                "file": { "type": "string", "description": "where it is" },
            },
            "description": "a script",
        },
        "Apps": by_name("App"),
        "App": {
            "type": "object",
            "required": ["scripts"],
            "properties": {
                "entry": { "type": "string", "nullable": true, "description": "path of its pages below /app/NAME, where it has some" },
                "scripts": { "type": "array", "items": { "type": "string" }, "description": "names of its files" },
            },
            "description": "an application",
        },
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_described_with_all_their_attributes() {
        let all = definitions();
        for (schema, attributes) in [
            ("Flow", &tables::flow::spec::ATTRIBUTES[..]),
            ("Threshold", &tables::threshold::ATTRIBUTES[..]),
            ("Forwarding", &tables::forwarding::ATTRIBUTES[..]),
        ] {
            let mut described: Vec<&str> =
                all[schema]["properties"].as_object().unwrap().keys().map(String::as_str).collect();
            let mut attributes = attributes.to_vec();
            described.sort_unstable();
            attributes.sort_unstable();
            assert_eq!(described, attributes, "{schema}");
        }
    }
}
