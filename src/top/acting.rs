//! What the collector does about what it sees, as lines: the mode, services, captures, and what is out of order.

use serde_json::Value as Json;

use crate::escape::escape;

/// The lines of an overview, as `/actions/json` has it; none where nothing is configured.
pub fn lines(overview: &Json) -> Vec<String> {
    if !overview.is_object() {
        return Vec::new();
    }
    let list = |name: &str| overview[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines = vec![format!("actions: {}", text(overview, "mode"))];
    if !overview["trouble"].is_null() {
        lines.push(text(overview, "trouble"));
    }
    for (swarm, why) in overview["swarmsInTrouble"].as_object().into_iter().flatten() {
        lines.push(format!("swarm {}: {}", escape(swarm), escape(why.as_str().unwrap_or_default())));
    }
    let switches = list("switchesInTrouble").iter();
    lines.extend(switches.map(|one| format!("switch {} is {}", text(one, "agent"), reasoned(one, "state"))));
    for feed in list("feeds") {
        let how = match (feed["late"] == true, feed["failing"] == true) {
            (true, _) => "late".to_owned(),
            (false, true) => text(feed, "last"),
            (false, false) => continue,
        };
        lines.push(format!("feed {}: {how}", text(feed, "name")));
    }
    for one in list("services") {
        let [name, replicas, seen, least, most] =
            ["name", "replicas", "seen", "min", "max"].map(|attribute| text(one, attribute));
        let verdict = reasoned(one, "verdict");
        lines.push(format!("{name}: replicas {replicas} ({least} to {most}), seen {seen}, {verdict}"));
    }
    lines.extend(beyond(overview, "services"));
    for one in list("captures") {
        let (local, remote) = (text(one, "local"), text(one, "remote"));
        let label = some(one, "label").map(|label| format!(" ({label})")).unwrap_or_default();
        let place = some(one, "agent").map(|agent| format!(" on {agent}")).unwrap_or_default();
        lines.push(format!("{local} <-> {remote}{label}{place}: {}", reasoned(one, "state")));
    }
    lines.extend(beyond(overview, "captures"));
    lines
}

/// How many of a list were left out, where any were.
fn beyond(overview: &Json, name: &str) -> Option<String> {
    let shown = overview[name].as_array().map_or(0, Vec::len) as u64;
    let all = overview[format!("{name}All")].as_u64().unwrap_or(shown);
    (all > shown).then(|| format!("and {} more {name}", all - shown))
}

/// An attribute on one line; `-` where there is none.
fn text(of: &Json, attribute: &str) -> String {
    match &of[attribute] {
        Json::Null => "-".to_owned(),
        Json::String(text) => escape(text),
        other => other.to_string(),
    }
}

/// An attribute that says something.
fn some(of: &Json, attribute: &str) -> Option<String> {
    of[attribute].as_str().filter(|text| !text.is_empty()).map(escape)
}

/// An attribute, and why it is so.
fn reasoned(of: &Json, attribute: &str) -> String {
    let what = text(of, attribute);
    some(of, "reason").map_or(what.clone(), |reason| format!("{what}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn services_captures_and_what_is_out_of_order_are_lines() {
        assert!(lines(&Json::Null).is_empty());
        let overview = json!({
            "mode": "act", "trouble": null, "swarmsInTrouble": { "main": "no manager\nanswers" },
            "services": [
                { "name": "web", "min": 1, "max": 10, "replicas": 2, "seen": 1, "verdict": "differ", "reason": "1 is seen" },
                { "name": "new", "min": 1, "max": 10, "replicas": null, "seen": null, "verdict": null, "reason": null },
            ],
            "servicesAll": 3,
            "captures": [
                { "local": "10.0.0.162", "remote": "192.0.2.1", "label": "bad", "agent": null, "state": "pending",
                  "reason": "a switch is waited for" },
            ],
            "capturesAll": 1,
            "switchesInTrouble": [{ "agent": "10.0.0.253", "state": "down", "reason": "connect" }],
            "feeds": [
                { "name": "a", "late": true, "failing": true, "last": "no answer" },
                { "name": "b", "late": false, "failing": true, "last": "HTML" },
                { "name": "c", "late": false, "failing": false, "last": "taken" },
            ],
        });
        let expected = [
            "actions: act",
            "swarm main: no manager\\u{a}answers",
            "switch 10.0.0.253 is down: connect",
            "feed a: late",
            "feed b: HTML",
            "web: replicas 2 (1 to 10), seen 1, differ: 1 is seen",
            "new: replicas - (1 to 10), seen -, -",
            "and 1 more services",
            "10.0.0.162 <-> 192.0.2.1 (bad): pending: a switch is waited for",
        ];
        assert_eq!(lines(&overview), expected);
    }
}
