//! What scripts ask: counters, flows, who is there.

use super::{Known, Says};

/// Bytes of a container's answers in a second, at the port of its host: 1,100 of the 1,250 bytes of a question and its answer,
/// and half of the service's 100,000 in a second.
const RESPONSES_PER_S: f64 = 44_000.0;

const fn ask(name: &'static str, asks: &'static str, is: &'static str) -> Known {
    Known { name, first: "", asks, says: Says::Json(is) }
}

pub(super) fn known() -> Vec<Known> {
    vec![
        ask("version", "version()", "\"1.2.3\""),
        ask("analyzer", "analyzer().uptime", "5"),
        ask(
            "agents",
            "[Object.keys(agents()).sort(), agents(['host3'])['10.0.0.11'].sFlowDatagramSource]",
            "[[\"10.0.0.10\", \"10.0.0.11\", \"10.0.16.10\", \"10.0.16.11\", \"10.254.0.1\", \"10.255.0.1\", \"10.255.0.2\"], \
              [\"127.0.0.1\"]]",
        ),
        ask("metrics", "[metrics('10.0.0.10')['2.1.cpu_num'], 'vir_host_name' in metrics()]", "[8, true]"),
        ask(
            "metric",
            "metric('ALL', ['sum:cpu_num', 'avg:mem_total'], {host_name: 'host*'}).map(m => [m.metricName, m.metricN, m.metricValue])",
            "[[\"sum:cpu_num\", 4, 32], [\"avg:mem_total\", 4, 68719476736]]",
        ),
        ask(
            "table",
            "table('10.0.0.11', 'host_name,cpu_num').map(row => row.map(cell => cell.metricValue))",
            "[[\"host3\", 8]]",
        ),
        ask(
            "dump",
            "dump('10.0.16.11', 'cpu_num;disk_total').map(m => [m.dataSource, m.metricName, m.metricValue]).sort()",
            "[[\"2.1\", \"cpu_num\", 8], [\"2.1\", \"disk_total\", 480000000000]]",
        ),
        ask(
            "flowKeys",
            "['ipsource', 'tcpdestinationport', 'arpoperation'].map(key => key in flowKeys())",
            "[true, true, false]",
        ),
        Known {
            name: "activeFlows",
            first: "setFlow('known_active', {keys: 'ipsource', value: 'bytes', filter: 'ipsource=10.200.0.10'});",
            asks: "activeFlows('ALL', 'known_active', 5, 1, 'max').map(flow => flow.value)[0]",
            says: Says::Near(|_| RESPONSES_PER_S, 0.15),
        },
        Known {
            name: "flowValue",
            first: "setFlow('known_value', {keys: 'ipsource', value: 'bytes', filter: 'ipsource=10.200.0.10'});",
            asks: "flowValue('10.255.0.1', '1.known_value', '10.200.0.10')",
            says: Says::Near(|_| RESPONSES_PER_S, 0.15),
        },
        Known {
            name: "flowLocations",
            first: "setFlow('known_locations', {keys: 'ipsource,ipdestination', value: 'frames', t: 10});",
            asks: "flowLocations('ALL', 'known_locations', '10.0.16.11,198.51.100.1')\
                   .map(at => at.agent + ' ' + at.dataSource).sort()",
            says: Says::Json("[\"10.254.0.1 2\", \"10.255.0.1 3\", \"10.255.0.2 2\"]"),
        },
        ask("ifName", "ifName('10.255.0.2', 2)", "\"swp2\""),
        ask("agentForName", "[agentForName('host3'), agentForName('host9')]", "[\"10.0.0.11\", null]"),
        ask(
            "datasourceInfo",
            "(i => [i.agent, i.dataSource, i.samplingRate, i.flowSamples > 0])(datasourceInfo('10.255.0.1', '1'))",
            "[\"10.255.0.1\", \"1\", 1, true]",
        ),
        Known {
            name: "thresholdTriggered",
            first: "setThreshold('known_still', {metric: 'cpu_num', value: 7, timeout: 60, filter: {host_name: ['host1']}});",
            asks: "['10.0.0.10', '10.0.0.11'].map(agent => thresholdTriggered('known_still', agent, '2.1.cpu_num'))",
            says: Says::Json("[true, false]"),
        },
    ]
}
