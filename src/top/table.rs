//! The table of flows: order, numbers, and plain text.

use std::cmp::Ordering;

use super::watch::{Row, Snapshot};

/// The column by which rows are sorted, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// 0 is the value, then come the keys, the agent and the data source.
    pub column: usize,
    /// Largest first.
    pub descending: bool,
}

impl Default for Order {
    fn default() -> Self {
        Self { column: 0, descending: true }
    }
}

/// The names of the columns.
pub fn columns(snapshot: &Snapshot) -> Vec<String> {
    let mut names = vec![snapshot.flow.value.clone()];
    names.extend(snapshot.flow.keys.iter().cloned());
    names.extend(["agent".to_owned(), "data source".to_owned()]);
    names
}

/// The rows in that order.
pub fn sorted(snapshot: &Snapshot, order: Order) -> Vec<&Row> {
    let keys = snapshot.flow.keys.len();
    let mut rows: Vec<&Row> = snapshot.rows.iter().collect();
    rows.sort_by(|a, b| {
        let by_column = match order.column {
            0 => a.value.total_cmp(&b.value),
            n if n <= keys => by_text(a.keys.get(n - 1), b.keys.get(n - 1)),
            n if n == keys + 1 => by_text(Some(&a.agent), Some(&b.agent)),
            _ => by_text(Some(&a.data_source), Some(&b.data_source)),
        };
        let by_column = if order.descending { by_column.reverse() } else { by_column };
        by_column.then_with(|| b.value.total_cmp(&a.value))
    });
    rows
}

/// Runs of digits are compared as numbers, so that 10.0.0.9 comes before 10.0.0.10.
fn by_text(a: Option<&String>, b: Option<&String>) -> Ordering {
    let (mut a, mut b) = (a.map_or("", String::as_str), b.map_or("", String::as_str));
    loop {
        let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (of_a, of_b) = (digits(a), digits(b));
        let order = if of_a > 0 && of_b > 0 {
            let (number_a, number_b) = (a[..of_a].trim_start_matches('0'), b[..of_b].trim_start_matches('0'));
            (a, b) = (&a[of_a..], &b[of_b..]);
            number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b))
        } else {
            let (mut rest_a, mut rest_b) = (a.chars(), b.chars());
            let (next_a, next_b) = (rest_a.next(), rest_b.next());
            if next_a.is_none() && next_b.is_none() {
                return Ordering::Equal;
            }
            (a, b) = (rest_a.as_str(), rest_b.as_str());
            next_a.cmp(&next_b)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// A row's cells, the value as given.
pub fn cells(row: &Row, columns: usize, value: String) -> Vec<String> {
    let mut cells = vec![value];
    cells.extend(row.keys.iter().cloned());
    cells.resize(columns.saturating_sub(2).max(1), String::new());
    cells.extend([row.agent.clone(), row.data_source.clone()]);
    cells
}

/// Three digits and a prefix: `12.3M`.
pub fn short(value: f64) -> String {
    let mut value = value;
    for prefix in ["", "k", "M", "G", "T", "P"] {
        if value.abs() < 999.5 || prefix == "P" {
            let decimals = match value.abs() {
                small if small < 9.995 => 2,
                middling if middling < 99.95 => 1,
                _ => 0,
            };
            return format!("{value:.decimals$}{prefix}");
        }
        value /= 1000.0;
    }
    String::new()
}

/// The table as text: a line of names, then the largest flows, columns two blanks apart.
pub fn text(snapshot: &Snapshot) -> String {
    let names = columns(snapshot);
    let mut lines = vec![names.clone()];
    lines.extend(
        sorted(snapshot, Order::default())
            .into_iter()
            .map(|row| cells(row, names.len(), format!("{:.1}", row.value))),
    );
    let widths: Vec<usize> = (0..names.len())
        .map(|n| {
            lines.iter().filter_map(|line| line.get(n)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for line in lines {
        let mut text = String::new();
        for (n, (cell, width)) in line.iter().zip(&widths).enumerate() {
            // Numbers end in one column, texts begin in one.
            text += &if n == 0 { format!("{cell:>width$}") } else { format!("  {cell:<width$}") };
        }
        out += text.trim_end();
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::watch::Flow;

    fn snapshot() -> Snapshot {
        let row = |value, source: &str, agent: &str| Row {
            value,
            keys: vec![source.to_owned(), "tcp".to_owned()],
            agent: agent.to_owned(),
            data_source: "3".to_owned(),
        };
        Snapshot {
            flow: Flow {
                name: "f".to_owned(),
                keys: vec!["ipsource".to_owned(), "stack".to_owned()],
                value: "bytes/s".to_owned(),
                ..Flow::default()
            },
            flows: vec!["f".to_owned()],
            rows: vec![
                row(20.0, "10.0.0.9", "a"),
                row(1500.25, "10.0.0.10", "b"),
                row(3.0, "10.0.0.10", "a"),
            ],
            agents: 2,
            datagram_rate: None,
            actions: Vec::new(),
        }
    }

    #[test]
    fn plain_text() {
        let expected = "bytes/s  ipsource   stack  agent  data source\n \
                        1500.2  10.0.0.10  tcp    b      3\n   \
                        20.0  10.0.0.9   tcp    a      3\n    \
                        3.0  10.0.0.10  tcp    a      3\n";
        assert_eq!(text(&snapshot()), expected);
    }

    #[test]
    fn every_column_sorts_both_ways() {
        let snapshot = snapshot();
        let values = |column, descending| {
            let rows = sorted(&snapshot, Order { column, descending });
            rows.into_iter().map(|row| row.value as u32).collect::<Vec<_>>()
        };
        assert_eq!(values(0, true), [1500, 20, 3]);
        assert_eq!(values(0, false), [3, 20, 1500]);
        assert_eq!(values(1, false), [20, 1500, 3], "addresses by their numbers, then by value");
        assert_eq!(values(1, true), [1500, 3, 20]);
        assert_eq!(values(3, false), [20, 3, 1500]);
        assert_eq!(values(4, true), [1500, 20, 3]);
    }

    #[test]
    fn short_numbers() {
        for (value, text) in [
            (0.0, "0.00"),
            (9.994, "9.99"),
            (12.34, "12.3"),
            (999.4, "999"),
            (999.6, "1.00k"),
            (123_456.0, "123k"),
            (9.5e6, "9.50M"),
            (1e18, "1000P"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
