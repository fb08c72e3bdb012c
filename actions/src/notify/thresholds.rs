//! Threshold events of the engine, told as they come.

use std::sync::Arc;

use engine::{Handle, LoggedEvent};
use serde_json::json;
use tokio::sync::Notify;

use super::{Notice, Notices, Severity};
use crate::stop::Stop;

/// The kind of their notices.
pub(super) const KIND: &str = "threshold";

/// Events that are fetched at once.
const AT_ONCE: usize = 1000;

/// Tells every event that the engine has, and every one that comes, until it is stopped.
pub(crate) async fn watch(engine: Handle, notices: Notices, mut stop: Stop) {
    let bell = Arc::new(Notify::new());
    let ring = Arc::clone(&bell);
    // The call stays with the engine; where nobody waits, ringing costs nothing.
    engine.on_news(Box::new(move |_| ring.notify_one()));
    let mut after = None;
    loop {
        let mut news = engine.events(after, AT_ONCE, &[]);
        news.reverse();
        for event in news {
            let missed = event.id - after.map_or(0, |after| after + 1);
            if missed > 0 {
                tracing::warn!(
                    "{missed} threshold events were not told: they came faster than they are kept"
                );
            }
            after = Some(event.id);
            notices.tell(notice(&event));
        }
        tokio::select! {
            () = bell.notified() => {}
            () = stop.asked() => return,
        }
    }
}

fn notice(logged: &LoggedEvent) -> Notice {
    let event = &logged.event;
    let (agent, source) = (event.owner.agent.to_string(), event.owner.source.to_string());
    let flow = event.flow_key.as_ref().map(|key| format!(" ({key})")).unwrap_or_default();
    Notice {
        kind: KIND,
        name: event.threshold.to_string(),
        what: "raised",
        text: format!(
            "{} of agent {agent} data source {source}{flow} is {}, above {}",
            event.metric, event.value, event.limit
        ),
        // The names are those of /events/json.
        detail: json!({
            "eventID": logged.id, "timestamp": logged.at_ms, "thresholdID": &*event.threshold, "agent": agent,
            "dataSource": source, "metric": event.metric, "threshold": event.limit, "value": event.value,
            "flowKey": event.flow_key, "values": event.values,
        }),
        severity: Severity::Warning,
    }
}
