//! Metrics joined by data source: the columns and rows of [`crate::Question::Table`].

use std::cmp::Ordering;

use decode::Address;

use crate::metric::MetricValue;
use crate::question::{Column, Metric, Source};
use crate::select::{Aggregation, MetricRef, SelectError};

/// A row: as many cells as there are columns; an optional one may be `None`.
pub type Row = Vec<Option<Metric>>;

impl Column {
    /// Columns separated by commas. `null:` before a metric lets a row lack it; `sort:METRIC:10` sorts the rows by it,
    /// smallest first, and keeps ten, `sort:METRIC:-10` those with the largest.
    ///
    /// # Errors
    /// There is no column, one cannot be understood, or two of them sort.
    pub fn list(text: &str) -> Result<Vec<Self>, SelectError> {
        let columns: Vec<Self> = text
            .split(',')
            .map(str::trim)
            .filter(|column| !column.is_empty())
            .map(Self::one)
            .collect::<Result<_, _>>()?;
        let mut sorting = columns.iter().filter(|column| column.sort.is_some());
        match (columns.is_empty(), sorting.nth(1)) {
            (true, _) => Err(SelectError::NoMetric),
            (_, Some(second)) => Err(SelectError::Sort(format!("sort:{}", second.metric.text))),
            _ => Ok(columns),
        }
    }

    fn one(text: &str) -> Result<Self, SelectError> {
        let (mut rest, mut optional, mut sort) = (text, false, None);
        loop {
            if let Some(metric) = rest.strip_prefix("null:") {
                (rest, optional) = (metric, true);
            } else if let Some(metric) = rest.strip_prefix("sort:") {
                let wrong = || SelectError::Sort(text.to_owned());
                // Without a number all rows are kept, the smallest first.
                let (metric, number) = match metric.rsplit_once(':') {
                    Some((metric, number)) if metric != "null" => {
                        (metric, number.parse().map_err(|_| wrong())?)
                    }
                    _ => (metric, i64::MAX),
                };
                let most = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
                if most == 0 || sort.replace((number < 0, most)).is_some() {
                    return Err(wrong());
                }
                rest = metric;
            } else {
                break;
            }
        }
        let metric: MetricRef = rest.parse()?;
        if metric.aggregation != Aggregation::default() {
            return Err(SelectError::NoStatistic(text.to_owned()));
        }
        Ok(Self { metric, optional, sort })
    }
}

/// What orders rows where nothing else does: the data source that a row is of, which is the one that is no host, and
/// then the owners of all cells.
fn place(row: &Row) -> (Option<Address>, Option<Source>, Vec<Option<Source>>) {
    let owners = || row.iter().flatten().map(|cell| &cell.owner);
    let is_host = |source: &Source| matches!(source, Source::Of(source) if source.class == 2);
    let of = owners().find(|owner| !is_host(&owner.source)).or_else(|| owners().next());
    let all = row.iter().map(|cell| cell.as_ref().map(|cell| cell.owner.source.clone())).collect();
    (of.map(|owner| owner.agent), of.map(|owner| owner.source.clone()), all)
}

/// The rows in their order, as many as the sorting column keeps. Without one they are in the order of their data
/// sources.
pub(crate) fn sorted(mut rows: Vec<Row>, columns: &[Column]) -> Vec<Row> {
    rows.sort_by_cached_key(place);
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn columns_of_published_examples() {
        let columns = |text| {
            let columns = Column::list(text).unwrap();
            columns.into_iter().map(|c| (c.metric.text, c.optional, c.sort)).collect::<Vec<_>>()
        };
        let plain = |name: &str| (name.to_owned(), false, None);
        assert_eq!(
            columns("host_name,ifname,ifindex,agg_attachedaggid"),
            ["host_name", "ifname", "ifindex", "agg_attachedaggid"].map(plain)
        );
        assert_eq!(
            columns("sort:ifinoctets:-10, null:ifname,2.1.load_one"),
            [
                ("ifinoctets".to_owned(), false, Some((true, 10))),
                ("ifname".to_owned(), true, None),
                plain("2.1.load_one"),
            ]
        );
        assert_eq!(columns("null:sort:load_one:5"), [("load_one".to_owned(), true, Some((false, 5)))]);
        assert_eq!(columns("sort:null:load_one:5"), columns("null:sort:load_one:5"));
        assert_eq!(
            columns("sort:load_one"),
            [("load_one".to_owned(), false, Some((false, i64::MAX as usize)))]
        );
        assert_eq!(
            columns("sort:null:load_one"),
            [("load_one".to_owned(), true, Some((false, i64::MAX as usize)))]
        );
    }

    #[test]
    fn what_is_no_column_is_named() {
        let error = |text| Column::list(text).unwrap_err().to_string();
        assert_eq!(error(" ,"), "no metric is named");
        for text in ["sort:load_one:ten", "sort:load_one:0", "sort:sort:load_one:1:2"] {
            assert!(error(text).contains(&format!("{text:?}")), "{}", error(text));
            assert!(error(text).contains("sort:METRIC:-10"), "{}", error(text));
        }
        assert!(error("sort:a:1,sort:b:1").contains("sort:b"));
        assert!(error("avg:load_one").contains("one data source"), "{}", error("avg:load_one"));
    }
}
