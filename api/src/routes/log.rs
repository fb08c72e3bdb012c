//! Completed flows and threshold events, newest first. A client that has seen the newest waits for the next.

use std::time::Duration;

use axum::extract::{Query, State};
use engine::{Handle, json};
use serde_json::Value as Json;
use tokio::time::{Instant, sleep, timeout_at};

use crate::escape::JsonAnswer;
use crate::shared::{Conditions, Failure, Reply, Shared, number, parameter};

/// Longest wait of a long poll.
const LONGEST_WAIT_S: f64 = 60.0;

/// Records and events that an answer has at most, and by default.
const MOST: f64 = 1000.0;

/// News that come within this time wake a long poll once.
const BREATH: Duration = Duration::from_millis(20);

pub(crate) async fn records(State(shared): State<Shared>, Query(query): Conditions) -> Reply<JsonAnswer> {
    let (after, most, names) = wanted(&query, "flowID", "maxFlows", "name")?;
    poll(&shared, &query, move |handle| {
        let newest = handle.records(None, 1, &[]).first().map(|record| record.id);
        let records = handle.records(known(after, newest), most, &names);
        records.iter().map(|record| json::record(record)).collect()
    })
    .await
}

pub(crate) async fn events(State(shared): State<Shared>, Query(query): Conditions) -> Reply<JsonAnswer> {
    let (after, most, thresholds) = wanted(&query, "eventID", "maxEvents", "thresholdID")?;
    poll(&shared, &query, move |handle| {
        let newest = handle.events(None, 1, &[]).first().map(|event| event.id);
        let events = handle.events(known(after, newest), most, &thresholds);
        events.iter().map(|event| json::event(event)).collect()
    })
    .await
}

/// After which one, how many at most, and of which definitions.
fn wanted(
    query: &[(String, String)],
    id: &str,
    most: &str,
    name: &str,
) -> Result<(Option<u64>, usize, Vec<String>), Failure> {
    let after = number(query, id, -1.0)?;
    let names = query.iter().filter(|(known, _)| known == name).flat_map(|(_, names)| names.split(','));
    Ok((
        (after >= 0.0).then_some(after as u64),
        number(query, most, MOST)?.clamp(0.0, MOST) as usize,
        names.map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
    ))
}

/// Whoever has seen a newer one than there is has seen those of a collector that has ended: all are new to it.
fn known(after: Option<u64>, newest: Option<u64>) -> Option<u64> {
    after.filter(|after| newest.is_some_and(|newest| *after <= newest))
}

/// What `read` finds, at once or as soon as there is something, within the timeout.
async fn poll(
    shared: &Shared,
    query: &[(String, String)],
    read: impl Fn(&Handle) -> Vec<Json> + Clone + Send + 'static,
) -> Reply<JsonAnswer> {
    let wait_s = number(query, "timeout", 0.0)?.clamp(0.0, LONGEST_WAIT_S);
    if parameter(query, "timeout").is_none() || wait_s == 0.0 {
        return Ok(JsonAnswer(shared.aside(move |handle| Ok(read(handle))).await?.into()));
    }
    let deadline = Instant::now() + Duration::from_secs_f64(wait_s);
    let _place = shared.place()?;
    let mut news = shared.news.subscribe();
    loop {
        let read = read.clone();
        let found = shared.aside(move |handle| Ok(read(handle))).await?;
        if !found.is_empty() || Instant::now() >= deadline {
            return Ok(JsonAnswer(found.into()));
        }
        // Nothing new by the deadline: the records are looked at for the last time.
        let _ = timeout_at(deadline, news.changed()).await;
        sleep(BREATH).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_of_a_former_collector_gets_everything() {
        assert_eq!(known(None, Some(7)), None);
        assert_eq!(known(Some(7), Some(7)), Some(7));
        assert_eq!(known(Some(8), Some(7)), None);
        assert_eq!(known(Some(0), None), None);
    }

    #[test]
    fn what_is_wanted() {
        let query = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let given = query(&[("flowID", "-1"), ("name", "a,b"), ("name", "c"), ("maxFlows", "10")]);
        let names = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
        assert_eq!(wanted(&given, "flowID", "maxFlows", "name").ok(), Some((None, 10, names)));
        let given = query(&[("flowID", "5"), ("maxFlows", "1e9")]);
        assert_eq!(wanted(&given, "flowID", "maxFlows", "name").ok(), Some((Some(5), 1000, Vec::new())));
        let wrong = wanted(&query(&[("flowID", "x")]), "flowID", "maxFlows", "name");
        assert_eq!(wrong.map_err(|failure| failure.status.as_u16()), Err(400));
    }
}
