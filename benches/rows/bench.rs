//! How a row is measured and told: both sides alternate in one run, criterion times each of them beside, and the result
//! is a line of a table.

use std::fmt::Write as _;
use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput};

use crate::common::ratio::{self, Ratio};

/// What a row is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// The row stands beside others, for who looks for the reason.
    None,
}

impl Target {
    fn reached(self, number: f64) -> Option<bool> {
        match self {
            Self::AtMost(most) => Some(number <= most),
            Self::AtLeast(least) => Some(number >= least),
            Self::None => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(most) => format!("at most {most}"),
            Self::AtLeast(least) => format!("at least {least}"),
            Self::None => String::new(),
        }
    }
}

/// What a number of a line is: a ratio of both sides, or a figure of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    /// a / b.
    Cost,
    /// b / a.
    Gain,
    /// Neither: a unit.
    Of(&'static str),
}

/// A line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Its row of the table of targets.
    pub(crate) row: &'static str,
    pub(crate) what: String,
    pub(crate) a: String,
    pub(crate) b: String,
    pub(crate) number: f64,
    pub(crate) kind: Number,
    pub(crate) target: Target,
}

impl Line {
    /// A figure that has no other side.
    pub(crate) fn figure(
        row: &'static str,
        what: impl Into<String>,
        number: f64,
        unit: &'static str,
        target: Target,
    ) -> Self {
        let (a, b) = (String::new(), String::new());
        Self { row, what: what.into(), a, b, number, kind: Number::Of(unit), target }
    }

    /// As a row of a table in Markdown.
    fn markdown(&self) -> String {
        let number = match self.number {
            whole if whole.fract() == 0.0 => format!("{whole}"),
            small if small < 10.0 => format!("{small:.2}"),
            large => format!("{large:.1}"),
        };
        let number = match self.kind {
            Number::Cost => format!("a / b = {number}"),
            Number::Gain => format!("b / a = {number}"),
            Number::Of(unit) => format!("{number} {unit}"),
        };
        let reached = match self.target.reached(self.number) {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        format!(
            "| {} | {} | {} | {} | {number} | {} | {reached} |",
            self.row,
            self.what,
            self.a,
            self.b,
            self.target.text()
        )
    }
}

/// What is measured against what.
pub(crate) struct Sides<'a> {
    pub(crate) row: &'static str,
    /// What a and b are: "decode and dissect / memcpy of the same bytes".
    pub(crate) what: &'a str,
    /// What a pass is divided by, and what one of it is called.
    pub(crate) elements: usize,
    pub(crate) unit: &'static str,
    pub(crate) kind: Number,
    pub(crate) target: Target,
}

/// Measures rows, and gathers what they gave.
pub(crate) struct Bench {
    criterion: Criterion,
    pub(crate) lines: Vec<Line>,
    /// What a row was measured on, and what was seen beside, with the row's name.
    details: Vec<(String, String)>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let criterion = Criterion::default()
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(2))
            .sample_size(10)
            .without_plots();
        Self { criterion, lines: Vec::new(), details: Vec::new() }
    }

    /// Measures `a` against `b`: the ratio by alternating passes, and each by criterion.
    pub(crate) fn compare(
        &mut self,
        sides: &Sides<'_>,
        mut a: impl FnMut() -> u64,
        mut b: impl FnMut() -> u64,
    ) -> Ratio {
        let measured = ratio::compare(sides.elements, &mut a, &mut b);
        let number = if sides.kind == Number::Gain { measured.gain() } else { measured.cost() };
        let (row, kind, target) = (sides.row, sides.kind, sides.target);
        let [a_text, b_text] = [measured.ours, measured.other].map(|ns| per(ns, sides.unit));
        self.line(Line { row, what: sides.what.to_owned(), a: a_text, b: b_text, number, kind, target });
        let (first, second) = sides.what.split_once(" / ").unwrap_or((sides.what, "the other"));
        let mut group = self.criterion.benchmark_group(sides.row);
        group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(sides.elements as u64));
        group.bench_function(first, |bencher| bencher.iter(&mut a));
        group.bench_function(second, |bencher| bencher.iter(&mut b));
        group.finish();
        measured
    }

    /// Takes a line, and says it.
    pub(crate) fn line(&mut self, line: Line) {
        println!("{}", line.markdown());
        self.lines.push(line);
    }

    /// Takes a remark, a sentence.
    pub(crate) fn say(&mut self, row: &str, remark: impl AsRef<str>) {
        println!("{row}: {}", remark.as_ref());
        self.details.push((row.to_owned(), format!("- {row}: {}", remark.as_ref())));
    }

    /// Takes a table of a row's own.
    pub(crate) fn table(&mut self, row: &str, markdown: String) {
        println!("{markdown}");
        self.details.push((row.to_owned(), markdown));
    }

    /// All of it as a part of a page, in the order of the rows.
    pub(crate) fn markdown(mut self) -> String {
        self.lines.sort_by_key(|line| number(line.row));
        self.details.sort_by_key(|(row, _)| number(row));
        let mut text =
            "| row | a / b | a | b | ratio | target | reached |\n|---|---|---|---|---|---|---|\n".to_owned();
        for line in &self.lines {
            let _ = writeln!(text, "{}", line.markdown());
        }
        let reached =
            |wanted| self.lines.iter().filter(|l| l.target.reached(l.number) == Some(wanted)).count();
        let (yes, no) = (reached(true), reached(false));
        let _ = writeln!(text, "\n{yes} of {} targets reached.\n", yes + no);
        let (remarks, tables): (Vec<_>, Vec<_>) =
            self.details.iter().map(|(_, detail)| detail).partition(|detail| detail.starts_with("- "));
        remarks.iter().for_each(|remark| text.push_str(&format!("{remark}\n")));
        tables.iter().for_each(|table| text.push_str(&format!("\n{table}")));
        text
    }
}

/// Where a row stands: promises before targets, each by its number.
fn number(row: &str) -> (bool, u32) {
    let digits: String = row.chars().skip(1).take_while(char::is_ascii_digit).collect();
    (row.starts_with('P'), digits.parse().unwrap_or(0))
}

/// A time with the unit of what it is for: "47.2 ns/sample", and larger ones in milliseconds.
fn per(ns: f64, unit: &str) -> String {
    match ns {
        small if small < 10_000.0 => format!("{small:.1} ns/{unit}"),
        large => format!("{:.2} ms/{unit}", large / 1e6),
    }
}
