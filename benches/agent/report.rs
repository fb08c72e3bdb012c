//! The table of a part: what was measured, of each that was, and whether what was promised of our agent holds.

use std::fmt::Write as _;

/// Rows, with a column for each that is compared. Ours is the first.
pub(crate) struct Report {
    title: String,
    who: Vec<String>,
    rows: Vec<(String, Vec<String>, Option<bool>)>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn new(title: String, who: &[&str]) -> Self {
        let who = who.iter().map(|who| (*who).to_owned()).collect();
        Self { title, who, rows: Vec::new(), notes: Vec::new() }
    }

    /// A figure of each, in the order of the columns; nothing is promised of it.
    pub(crate) fn say(&mut self, what: &str, values: impl IntoIterator<Item = String>) {
        self.rows.push((what.to_owned(), values.into_iter().collect(), None));
    }

    /// A figure of each, and whether ours is what was promised.
    pub(crate) fn check(&mut self, what: &str, values: impl IntoIterator<Item = String>, holds: bool) {
        self.rows.push((what.to_owned(), values.into_iter().collect(), Some(holds)));
    }

    /// A sentence below the table.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Prints it; whether all that was promised holds.
    pub(crate) fn print(self) -> bool {
        let mut text = format!("\n{}\n\n| what | {} | holds |\n", self.title, self.who.join(" | "));
        let _ = writeln!(text, "|---{}|---|", "|---".repeat(self.who.len()));
        for (what, values, holds) in &self.rows {
            let holds = holds.map_or("", |holds| if holds { "yes" } else { "**no**" });
            let empty = " |".repeat(self.who.len().saturating_sub(values.len()));
            let _ = writeln!(text, "| {what} | {} |{empty} {holds} |", values.join(" | "));
        }
        if !self.notes.is_empty() {
            let _ = writeln!(text, "\n- {}", self.notes.join("\n- "));
        }
        println!("{text}");
        self.rows.iter().all(|(.., holds)| *holds != Some(false))
    }
}
