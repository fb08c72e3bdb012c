//! Lines that leave for others, and names.

use super::servers::servers;
use super::{Known, Says};

pub(super) fn known() -> Vec<Known> {
    vec![
        Known {
            name: "syslog",
            first: "syslog('127.0.0.1', getSystemProperty('known.syslog'), 16, 5, {port: 'swp1'});",
            asks: "0",
            // Facility 16 and severity 5 are 16 * 8 + 5.
            says: Says::That(|_, _| {
                let text =
                    String::from_utf8(servers().syslog.come()?.remove(0)).map_err(|e| e.to_string())?;
                let is = text.starts_with("<133>") && text.contains("swp1");
                if is { Ok(()) } else { Err(text) }
            }),
        },
        Known {
            name: "graphite",
            first: "graphite('127.0.0.1', getSystemProperty('known.graphite'), {'leaf1.load': 0.25});",
            asks: "0",
            says: Says::That(|_, _| {
                let text = servers().graphite.come();
                let words: Vec<&str> = text.split_whitespace().collect();
                let is = words.len() == 3
                    && words[..2] == ["leaf1.load", "0.25"]
                    && words[2].parse::<u64>().is_ok();
                if is { Ok(()) } else { Err(text) }
            }),
        },
        Known {
            name: "dnsGetAllByName",
            first: "",
            asks: "dnsGetAllByName('127.0.0.1')",
            says: Says::Json("[\"127.0.0.1\"]"),
        },
    ]
}
