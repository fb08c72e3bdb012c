//! What is shown of captures of scripts, and what was counted of them.

use super::policy::Scripts;
use crate::row::Row;

/// What was counted, as metrics.
pub(in crate::capture) fn rows(scripts: &Scripts) -> Vec<Row> {
    let counts = scripts.counts();
    let mut rows = Vec::new();
    for (outcome, count) in [
        ("placed", counts.placed),
        ("refreshed", counts.refreshed),
        ("refused", counts.refused),
        ("deleted", counts.deleted),
    ] {
        let help = "Rules that scripts asked for or took back, by what came of that";
        let row = Row::new("finderscope_capture_script_requests_total", help, count as f64);
        rows.push(row.with("outcome", outcome));
    }
    for (event, count) in [
        ("restored", counts.restored),
        ("confirmed", counts.confirmed),
        ("failed", counts.failed),
        ("mended", counts.mended),
        ("shed", counts.shed),
        ("ended", counts.ended),
    ] {
        let help = "What happened to captures of scripts";
        let row = Row::new("finderscope_capture_script_events_total", help, count as f64);
        rows.push(row.with("event", event));
    }
    rows
}
