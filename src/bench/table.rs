//! Tables of text, and how numbers stand in them.

use std::fmt::Write;

/// Rows under a title; the first is the head.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(title: impl Into<String>, head: [&str; N]) -> Self {
        Self { title: title.into(), rows: vec![head.iter().map(ToString::to_string).collect()] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Whether there is no row but the head.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// As text: the first column to the left, all others to the right.
    pub(crate) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = format!("{}\n", self.title);
        for row in &self.rows {
            let mut line = String::new();
            for (n, (cell, width)) in row.iter().zip(&widths).enumerate() {
                // Writing to a text does not fail.
                let _ = match n {
                    0 => write!(line, "  {cell:<width$}"),
                    _ => write!(line, "  {cell:>width$}"),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A number with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate, per second: whole, with its thousands apart.
pub(crate) fn rate(per_s: f64) -> String {
    count(per_s.max(0.0).round() as u64)
}

/// Nanoseconds, as exact as they are worth.
pub(crate) fn ns(ns: f64) -> String {
    if ns < 100.0 { format!("{ns:.1}") } else { count(ns.round() as u64) }
}

/// Mebibytes.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Bits per second of the fabric whose samples these are, at the sampling rates that are usual (1 in ifSpeed/10^6): 1 Tbps
/// of packets of 1,000 bytes is 1,250 samples a second.
pub(crate) fn fabric(samples_per_s: f64) -> String {
    let tbps = samples_per_s / SAMPLES_OF_TBPS;
    match tbps {
        tbps if tbps >= 1000.0 => format!("{:.2} Pbps", tbps / 1000.0),
        tbps if tbps >= 10.0 => format!("{tbps:.0} Tbps"),
        tbps => format!("{tbps:.1} Tbps"),
    }
}

/// Samples per second of a fabric of 1 Tbps.
pub(crate) const SAMPLES_OF_TBPS: f64 = 1250.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_one_another() {
        let mut table = Table::new("Title", ["what", "ns"]);
        assert!(table.is_empty());
        table.row(["decode".into(), ns(28.25)]);
        table.row(["täbles".into(), ns(1284.0)]);
        assert!(!table.is_empty());
        assert_eq!(table.text(), "Title\n  what       ns\n  decode   28.2\n  täbles  1,284\n");
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1000, 1_250_000].map(count), ["0", "999", "1,000", "1,250,000"]);
        assert_eq!(rate(-1.0), "0");
        assert_eq!(
            [125.0, 12_500.0, 1_250_000.0, 2_500_000.0].map(fabric),
            ["0.1 Tbps", "10 Tbps", "1.00 Pbps", "2.00 Pbps"]
        );
        assert_eq!(mib(3 << 19), "1.5 MiB");
    }
}
