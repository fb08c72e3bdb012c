//! The table that a part prints: what was measured, and whether what was promised of it holds.

use std::fmt::Write as _;
use std::time::Duration;

/// Rows of one part.
pub(crate) struct Table {
    rows: Vec<(String, String, Option<bool>)>,
    title: String,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { rows: Vec::new(), title: title.into() }
    }

    /// A figure that nothing is promised of.
    pub(crate) fn say(&mut self, what: &str, value: impl ToString) {
        self.rows.push((what.to_owned(), value.to_string(), None));
    }

    /// A figure, and whether it is what was promised.
    pub(crate) fn check(&mut self, what: &str, value: impl ToString, holds: bool) {
        self.rows.push((what.to_owned(), value.to_string(), Some(holds)));
    }

    /// As Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("{}\n\n| what | measured | holds |\n|---|---|---|\n", self.title);
        for (what, value, holds) in &self.rows {
            let holds = holds.map_or("", |holds| if holds { "yes" } else { "**no**" });
            let _ = writeln!(text, "| {what} | {value} | {holds} |");
        }
        text
    }

    /// Prints it; whether all that was promised holds.
    pub(crate) fn print(self) -> bool {
        println!("\n{}", self.markdown());
        self.rows.iter().all(|(.., holds)| *holds != Some(false))
    }
}

/// Milliseconds, for a table.
pub(crate) fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// Mebibytes, for a table.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
