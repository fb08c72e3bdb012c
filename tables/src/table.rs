//! Metrics joined by data source: the rows of [`crate::Question::Table`].

use std::cmp::Ordering;

use crate::metric::MetricValue;
use crate::question::{Column, Metric};

/// A row: as many cells as there are columns; an optional one may be `None`.
pub type Row = Vec<Option<Metric>>;

/// The rows in their order, as many as the sorting column keeps. Without one they are in the order of their data
/// sources.
pub(crate) fn sorted(mut rows: Vec<Row>, columns: &[Column]) -> Vec<Row> {
    let owner = |row: &Row| row.iter().flatten().next().map(|cell| cell.owner.clone());
    rows.sort_by_cached_key(owner);
    let sorting = columns.iter().enumerate().find_map(|(at, column)| Some((at, column.sort?)));
    if let Some((at, (descending, most))) = sorting {
        let cell = |row: &Row| row.get(at).cloned().flatten();
        // The sort is stable: of equal ones the lower data source comes first.
        rows.sort_by(|a, b| {
            let order = compare(cell(a).as_ref(), cell(b).as_ref());
            if descending { order.reverse() } else { order }
        });
        rows.truncate(most);
    }
    rows
}

/// Numbers by size, texts by spelling, numbers before texts, what is absent first.
fn compare(a: Option<&Metric>, b: Option<&Metric>) -> Ordering {
    match (a.map(|a| &a.value), b.map(|b| &b.value)) {
        (Some(MetricValue::Number(a)), Some(MetricValue::Number(b))) => a.total_cmp(b),
        (Some(MetricValue::Text(a)), Some(MetricValue::Text(b))) => a.cmp(b),
        (Some(MetricValue::Number(_)), Some(MetricValue::Text(_))) => Ordering::Less,
        (Some(MetricValue::Text(_)), Some(MetricValue::Number(_))) => Ordering::Greater,
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}
