//! What scripts define.

use super::servers::servers;
use super::{Known, Says};

pub(super) fn known() -> Vec<Known> {
    vec![
        Known {
            name: "setFlow",
            first: "setFlow('known_flow', {keys: ['ipsource', 'tcpdestinationport'], value: 'frames', filter: \
                    'ipdestination=198.51.100.1', t: 10});\n\
                    var said = null; try { setFlow('known_wrong', {keys: 'ipsource'}); } catch (e) { said = e.name; }",
            asks: "[said, activeFlows('ALL', 'known_flow').map(flow => flow.key)]",
            says: Says::Json("[\"Error\", [\"10.0.16.11,4444\"]]"),
        },
        Known {
            name: "clearFlow",
            first: "setFlow('known_gone', {keys: 'ipsource', value: 'frames', filter: 'ipsource=192.0.2.1'});\n\
                    var before = flowValue('ALL', 'known_gone');\n\
                    clearFlow('known_gone');",
            asks: "[before, flowValue('ALL', 'known_gone')]",
            says: Says::Json("[0, null]"),
        },
        Known {
            name: "setThreshold",
            first: "setThreshold('known_memory', {metric: 'mem_total', value: 6e10, filter: {host_name: ['host2']}});\n\
                    var said = null; try { setThreshold('known_wrong', {value: 1}); } catch (e) { said = e.name; }",
            asks: "[said, thresholdTriggered('known_memory', '10.0.16.10', '2.1.mem_total')]",
            says: Says::Json("[\"Error\", true]"),
        },
        Known {
            name: "clearThreshold",
            first: "setThreshold('known_over', {metric: 'cpu_num', value: 7});\n\
                    var was = false, still = () => thresholdTriggered('known_over', '10.0.0.10', '2.1.cpu_num');\n\
                    setIntervalHandler(function() { if (still()) { was = true; clearThreshold('known_over'); } }, 0.1);",
            asks: "[was, still()]",
            says: Says::Json("[true, false]"),
        },
        Known {
            name: "setGroups",
            first: "var is = setGroups('known_set', {wide: ['10.0.16.0/20'], narrow: ['10.0.16.11']});\n\
                    var wrong = setGroups('known_wrong', {a: ['10.0.0.300']});\n\
                    setFlow('known_groups', {keys: 'group:ipsource:known_set', value: 'frames', filter: \
                    'ipdestination=198.51.100.1', t: 10});",
            asks: "[is, wrong, activeFlows('ALL', 'known_groups')[0].key]",
            says: Says::Json("[true, false, \"narrow\"]"),
        },
        Known {
            name: "setMap",
            first: "var is = setMap('known_map', {strange: [4444], web: ['80']});\n\
                    setFlow('known_maps', {keys: 'map:tcpdestinationport:known_map', value: 'frames', filter: \
                    'ipdestination=198.51.100.1', t: 10});",
            asks: "[is, activeFlows('ALL', 'known_maps')[0].key]",
            says: Says::Json("[true, \"strange\"]"),
        },
        Known {
            name: "setForward",
            first: "setForward('known_forward', '127.0.0.1', getSystemProperty('known.forward'));",
            asks: "0",
            says: Says::That(|_, _| servers().forwarded.come().map(|_| ())),
        },
        Known {
            name: "clearForward",
            first: "setForward('known_ended', '127.0.0.1', getSystemProperty('known.ended'));\n\
                    setTimeout(function() { clearForward('known_ended'); }, 500);",
            asks: "0",
            says: Says::That(|_, _| servers().ended.came_and_ended()),
        },
    ]
}
