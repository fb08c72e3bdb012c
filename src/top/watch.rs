//! What is watched: a flow that the collector has, or one that is defined for as long as `top` runs; and the rows that it
//! has at a moment.

use std::time::Instant;

use anyhow::{Context, bail};
use ratatui::text::Span;
use serde_json::{Value as Json, json};

use super::acting;
use crate::client::{Client, segment};
use crate::escape::escape;

/// Which flow is meant.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// One that is defined, or the usual one.
    Defined(Option<String>),
    /// One of our own.
    Own {
        /// Key expressions.
        keys: String,
        /// What is measured.
        value: String,
        /// Which packets count.
        filter: Option<String>,
    },
}

/// A flow as its definition describes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flow {
    /// Its name.
    pub name: String,
    /// Its key expressions, one for each column.
    pub keys: Vec<String>,
    /// What is measured, with its unit.
    pub value: String,
    /// What stands between keys in text.
    pub separator: String,
}

/// One flow of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its value; per second, unless the definition says otherwise.
    pub value: f64,
    /// Its keys, one for each column.
    pub keys: Vec<String>,
    /// Who saw the most of it.
    pub agent: String,
    /// And where.
    pub data_source: String,
}

/// What a collector says at a moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The flow that is watched.
    pub flow: Flow,
    /// All that are defined.
    pub flows: Vec<String>,
    /// Largest first.
    pub rows: Vec<Row>,
    /// Agents that it knows.
    pub agents: u64,
    /// Datagrams per second, from the second snapshot on.
    pub datagram_rate: Option<f64>,
    /// What it does about what it sees, in lines.
    pub actions: Vec<String>,
}

/// Watches a flow; what was defined for it is taken away when it is dropped.
pub struct Watch {
    client: Client,
    agents: String,
    most: usize,
    own: Option<(String, Json)>,
    name: String,
    datagrams: Option<(Instant, f64)>,
}

impl Watch {
    /// Finds the flow, or defines it.
    ///
    /// # Errors
    /// Nobody answers, there is no such flow, or it is refused.
    pub fn start(client: Client, wanted: &Wanted, agents: &str, most: usize) -> anyhow::Result<Self> {
        let mut watch =
            Self { client, agents: agents.to_owned(), most, own: None, name: String::new(), datagrams: None };
        match wanted {
            Wanted::Own { keys, value, filter } => {
                let name = format!("top-{}", std::process::id());
                let mut definition = json!({ "keys": keys, "value": value });
                if let Some(filter) = filter {
                    definition["filter"] = filter.as_str().into();
                }
                watch.client.put(&flow_path(&name), &definition)?;
                watch.own = Some((name.clone(), definition));
                watch.name = name;
            }
            Wanted::Defined(Some(name)) => {
                if watch.client.get(&flow_path(name))?.is_none() {
                    let known = watch.defined()?.join(", ");
                    bail!("no flow {name:?} is defined; defined are: {known}");
                }
                watch.name = name.clone();
            }
            Wanted::Defined(None) => {
                let defined = watch.defined()?;
                let usual = defined.iter().find(|name| *name == "flows").or(defined.first());
                watch.name =
                    usual.context("no flow is defined: say what to watch with --keys and --value")?.clone();
            }
        }
        Ok(watch)
    }

    /// Whether the flow was defined for this.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Watches another of the collector's flows from now on.
    pub fn select(&mut self, name: String) {
        self.name = name;
    }

    fn defined(&self) -> anyhow::Result<Vec<String>> {
        let flows = self.client.get("/flow/json")?.unwrap_or_default();
        Ok(flows.as_object().map(|flows| flows.keys().cloned().collect()).unwrap_or_default())
    }

    /// What the collector says now.
    ///
    /// # Errors
    /// Nobody answers, or the flow is gone.
    pub fn look(&mut self) -> anyhow::Result<Snapshot> {
        let flows = self.defined()?;
        let definition = match (self.client.get(&flow_path(&self.name))?, &self.own) {
            (Some(definition), _) => definition,
            // The collector was restarted without its state.
            (None, Some((name, definition))) if *name == self.name => {
                self.client.put(&flow_path(name), definition)?;
                self.client.get(&flow_path(name))?.unwrap_or_default()
            }
            (None, _) => bail!("the flow {:?} is no longer defined", self.name),
        };
        let flow = Flow::from_json(&self.name, &definition);
        let path = format!(
            "/activeflows/{}/{}/json?maxFlows={}",
            segment(&self.agents),
            segment(&self.name),
            self.most
        );
        let rows = self.client.get(&path)?.unwrap_or_default();
        let rows = rows.as_array().into_iter().flatten().map(|row| flow.row(row)).collect();
        let analyzer = self.client.get("/analyzer/json")?.unwrap_or_default();
        let number = |name: &str| analyzer[name].as_f64().unwrap_or(0.0);
        let now = (Instant::now(), number("sFlowDatagramsReceived"));
        let datagram_rate = self.datagrams.replace(now).and_then(|before| {
            let seconds = now.0.duration_since(before.0).as_secs_f64();
            (seconds > 0.0 && now.1 >= before.1).then(|| (now.1 - before.1) / seconds)
        });
        let actions = self.client.get("/actions/json")?.unwrap_or_default();
        let actions = acting::lines(&actions["overview"]);
        Ok(Snapshot { flow, flows, rows, agents: number("sFlowAgents") as u64, datagram_rate, actions })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some((name, _)) = &self.own
            && let Err(error) = self.client.delete(&flow_path(name))
        {
            eprintln!("finderscope: the flow {name} is left behind: {}", escape(&format!("{error:#}")));
        }
    }
}

impl Flow {
    fn from_json(name: &str, definition: &Json) -> Self {
        let text = |attribute: &str| definition[attribute].as_str().unwrap_or_default().to_owned();
        let (keys, value) = (text("keys"), text("value"));
        let keys = keys.split(',').map(str::trim).filter(|key| !key.is_empty());
        let unit = if matches!(value.as_str(), "bytes" | "frames" | "requests") { "/s" } else { "" };
        Self {
            name: name.to_owned(),
            keys: keys.map(ToOwned::to_owned).collect(),
            value: format!("{value}{unit}"),
            separator: text("fs"),
        }
    }

    fn row(&self, json: &Json) -> Row {
        let text = |name: &str| shown(json[name].as_str().unwrap_or_default());
        let key = json["key"].as_str().unwrap_or_default();
        let parts = if self.keys.len() < 2 || self.separator.is_empty() {
            vec![shown(key)]
        } else {
            key.splitn(self.keys.len(), &self.separator).map(shown).collect()
        };
        Row {
            value: json["value"].as_f64().unwrap_or(0.0),
            keys: parts,
            agent: text("agent"),
            data_source: text("dataSource"),
        }
    }
}

/// A text from the network as a cell. A mark that combines with the character before it would change the cell to its
/// left, and stay there: it gets the circle that stands for any character.
fn shown(text: &str) -> String {
    let text = escape(text);
    let combines = text.chars().next().is_some_and(|first| Span::raw(first.to_string()).width() == 0);
    if combines { format!("\u{25cc}{text}") } else { text }
}

fn flow_path(name: &str) -> String {
    format!("/flow/{}/json", segment(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_columns_and_names_from_the_network_stay_on_their_line() {
        let flow =
            Flow::from_json("f", &json!({"keys": "ipsource, httpurl", "value": "bytes", "fs": "_SEP_"}));
        assert_eq!((flow.keys.len(), flow.value.as_str()), (2, "bytes/s"));
        let row = flow.row(
            &json!({"key": "10.0.0.1_SEP_/a\n_SEP_b", "value": 1.5, "agent": "10.0.0.9", "dataSource": "3"}),
        );
        assert_eq!(row.keys, ["10.0.0.1", "/a\\u{a}_SEP_b"]);
        let marks = flow.row(&json!({"key": "\u{301}x_SEP_漢\u{feff}"}));
        assert_eq!(marks.keys, ["\u{25cc}\u{301}x", "漢\\u{feff}"]);
        let total = Flow::from_json("f", &json!({"value": "fps", "fs": ","}));
        assert_eq!(
            (total.value.as_str(), total.row(&json!({"value": 3})).keys),
            ("fps", vec![String::new()])
        );
    }
}
