//! All actions on one screen: what the first page and `finderscope top` show of them.

use serde_json::{Value as Json, json};

use crate::control::Control;

/// Services and captures that are shown, each; there may be more of them.
const MOST: usize = 50;

impl Control {
    /// Mode, services, captures, switches that are out of order, and feeds, each in a few words; `None` where nothing of
    /// all this is configured.
    pub fn overview(&self) -> Option<Json> {
        let scaling = self.autoscale.brief(MOST);
        let feeds = self.feeds.brief();
        let captures = self.captures.json();
        let list = |name: &str| captures[name].as_array().map(Vec::as_slice).unwrap_or_default();
        let (sessions, switches) = (list("sessions"), list("switches"));
        let scales = scaling.swarms > 0 || scaling.all > 0;
        if !scales && feeds.is_empty() && switches.is_empty() && sessions.is_empty() {
            return None;
        }
        let sessions_shown: Vec<Json> = sessions.iter().take(MOST).map(session).collect();
        let down: Vec<Json> = switches
            .iter()
            .filter(|switch| matches!(switch["state"].as_str(), Some("down" | "failing")))
            .take(MOST)
            .map(|switch| part(switch, &["agent", "state", "reason"]))
            .collect();
        Some(json!({
            "mode": self.mode().to_string(),
            "trouble": self.trouble(),
            "services": scaling.services,
            "servicesAll": scaling.all,
            "swarmsInTrouble": scaling.troubles,
            "captures": sessions_shown,
            "capturesAll": sessions.len(),
            "switches": switches.len(),
            "switchesInTrouble": down,
            "feeds": feeds,
        }))
    }
}

fn session(session: &Json) -> Json {
    part(session, &["id", "state", "reason", "local", "remote", "label", "agent"])
}

/// An object with some of the attributes.
fn part(of: &Json, names: &[&str]) -> Json {
    names.iter().map(|name| ((*name).to_owned(), of[*name].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_what_is_asked_and_null_for_what_is_not_there() {
        let whole = json!({ "id": "a", "state": "active", "evidence": { "samples": 1 } });
        assert_eq!(part(&whole, &["id", "agent"]), json!({ "id": "a", "agent": null }));
        assert_eq!(session(&whole)["state"], "active");
    }
}
