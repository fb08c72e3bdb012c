//! What was done and refused, as numbers for Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The server's counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Answers by the first digit of their status, from 1 to 5.
    pub(crate) answers: [AtomicU64; 5],
    /// Requests without the token.
    pub(crate) strangers: AtomicU64,
    /// Rules that are not of the grammar, and bodies that are no list of lines.
    pub(crate) not_rules: AtomicU64,
    /// Bodies that are too long.
    pub(crate) too_long: AtomicU64,
    /// Files that found no place.
    pub(crate) full: AtomicU64,
    /// Files that could not be read or written.
    pub(crate) disk: AtomicU64,
    /// Connections that were accepted.
    pub(crate) connections: AtomicU64,
    /// How often all places were taken when a connection wanted one.
    pub(crate) connections_full: AtomicU64,
    /// Connections whose TLS failed.
    pub(crate) tls_refused: AtomicU64,
    /// Connections and bodies that were cut off because the client was too slow.
    pub(crate) slow: AtomicU64,
    /// Files that were written or removed.
    pub(crate) changes: AtomicU64,
    /// Commits that worked.
    pub(crate) commits_done: AtomicU64,
    /// Commits that failed.
    pub(crate) commits_failed: AtomicU64,
    /// Bytes of what commits said that were let go.
    pub(crate) output_lost: AtomicU64,
}

impl Counters {
    /// Counts an answer.
    pub(crate) fn answered(&self, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(answers) = self.answers.get(class) {
            answers.fetch_add(1, Relaxed);
        }
    }

    /// All of them as Prometheus text, with the number of files of rules and whether the last commit failed.
    pub(crate) fn text(&self, files: usize, failing: bool) -> String {
        let mut out = String::new();
        let mut family = |name: &str, kind: &str, help: &str, values: &[(&str, u64)]| {
            // Writing to a text never fails.
            let _ =
                writeln!(out, "# HELP finderscope_acl_{name} {help}\n# TYPE finderscope_acl_{name} {kind}");
            for (label, value) in values {
                let _ = writeln!(out, "finderscope_acl_{name}{label} {value}");
            }
        };
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        let [a, b, c, d, e] = &self.answers;
        let answers = [("1xx", a), ("2xx", b), ("3xx", c), ("4xx", d), ("5xx", e)];
        let answers = answers.map(|(class, counter)| (format!("{{class=\"{class}\"}}"), of(counter)));
        let answers: Vec<(&str, u64)> =
            answers.iter().map(|(label, value)| (label.as_str(), *value)).collect();
        family("answers_total", "counter", "Answers by class of their status.", &answers);
        let refused = [
            ("{reason=\"stranger\"}", of(&self.strangers)),
            ("{reason=\"not_rules\"}", of(&self.not_rules)),
            ("{reason=\"too_long\"}", of(&self.too_long)),
            ("{reason=\"full\"}", of(&self.full)),
            ("{reason=\"disk\"}", of(&self.disk)),
        ];
        family("refused_total", "counter", "Requests that were refused, by reason.", &refused);
        family("connections_total", "counter", "Connections.", &[("", of(&self.connections))]);
        let connections = [
            ("{reason=\"full\"}", of(&self.connections_full)),
            ("{reason=\"tls\"}", of(&self.tls_refused)),
            ("{reason=\"slow\"}", of(&self.slow)),
        ];
        let help = "Connections that waited for a place, whose TLS failed, or that were cut off.";
        family("connections_refused_total", "counter", help, &connections);
        family("changes_total", "counter", "Files of rules written or removed.", &[("", of(&self.changes))]);
        let commits = [
            ("{result=\"done\"}", of(&self.commits_done)),
            ("{result=\"failed\"}", of(&self.commits_failed)),
        ];
        family("commits_total", "counter", "Commits, by result.", &commits);
        let help = "Bytes of what commits said that were let go.";
        family("output_lost_bytes_total", "counter", help, &[("", of(&self.output_lost))]);
        family("files", "gauge", "Files of rules.", &[("", files as u64)]);
        family("failing", "gauge", "1 while the last commit has failed.", &[("", u64::from(failing))]);
        out
    }
}
