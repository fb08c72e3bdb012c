//! The first page, and the stream of what it shows: a server-sent event a second.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use engine::{Handle, json};
use hyper::body::{Bytes, Frame};
use script::Scripts;
use serde_json::{Value as Json, json};
use tables::flow::active::FlowAggregation;
use tables::question::Column;
use tables::select::{Agents, Filter, MetricRef};
use tables::{Answer, Question};
use tokio::sync::mpsc;

use crate::counts;
use crate::shared::{Conditions, Failure, Reply, Shared, parameter};

/// Time between two events.
const PERIOD: Duration = Duration::from_secs(1);

/// Agents and interfaces change slowly, and cost more to ask for: they come with every fifth event.
const SLOW: u64 = 5;

/// Rows of each list.
const ROWS: usize = 20;

/// The flow that is shown when none is named.
const DEFAULT_FLOW: &str = "flows";

pub(crate) async fn page() -> Html<&'static str> {
    Html(include_str!("../page/index.html"))
}

pub(crate) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../page/page.css"))
}

pub(crate) async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../page/page.js"))
}

pub(crate) async fn events(State(shared): State<Shared>, Query(query): Conditions) -> Reply {
    let flow = parameter(&query, "flow").map(str::to_owned);
    if let Some(name) = &flow
        && !shared.handle.program().flows.contains_key(name)
    {
        return Err(Failure::not_found("no such flow; /flow/json lists them"));
    }
    let place = shared.place()?;
    let (feed, events) = mpsc::channel(1);
    tokio::spawn(async move {
        let _place = place;
        for tick in 0.. {
            let (flow, version, open) = (flow.clone(), shared.version.clone(), shared.guard.open());
            let (actions, scripts) = (shared.actions.clone(), shared.scripts.clone());
            let look = move |handle: &Handle| {
                let mut seen = look(handle, flow, tick, &version, open)?;
                if let Some(overview) = actions.overview() {
                    seen["actions"] = overview;
                }
                if tick.is_multiple_of(SLOW) {
                    seen["scripts"] = self::scripts(&scripts);
                }
                Ok(seen)
            };
            let seen = shared.aside(look).await;
            // A collector that is too busy to answer says nothing this time.
            let event = match seen {
                Ok(seen) => format!("data: {seen}\n\n"),
                Err(failure) => format!(": {}\n\n", failure.error),
            };
            if feed.send(Bytes::from(event)).await.is_err() {
                return;
            }
            tokio::select! {
                () = feed.closed() => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    Ok::<Response, _>((kind, Body::new(Feed(events))).into_response())
}

/// What the page shows now.
fn look(
    handle: &Handle,
    flow: Option<String>,
    tick: u64,
    version: &str,
    open: bool,
) -> Result<Json, Failure> {
    let status = handle.status()?;
    let program = handle.program();
    let counters = &status.counters;
    let mut seen = json!({
        "version": version,
        "writable": open,
        "uptime_ms": counts::millis(status.uptime),
        "agents": status.agents,
        "datagrams": counters.datagrams,
        "bytes": counters.bytes,
        "flow_samples": counters.flow_samples,
        "counters_samples": counters.counters_samples,
        "errors": counts::errors(&status),
        "drops": status.kernel_drops,
        "live_flows": status.flows,
        "flows": program.flows.keys().collect::<Vec<_>>(),
    });
    let named = flow.or_else(|| {
        let default = program.flows.get_key_value(DEFAULT_FLOW).or_else(|| program.flows.iter().next());
        default.map(|(name, _)| name.clone())
    });
    if let Some((name, plan)) = named.and_then(|name| program.flows.get_key_value(&name)) {
        let top = handle.ask(Question::ActiveFlows {
            agents: Agents::All,
            flow: name.clone(),
            aggregation: FlowAggregation::Max,
            most: ROWS,
            least: 0.0,
            separator: plan.spec.fs.clone(),
        })?;
        let Answer::Flows(top) = top else { return Err(crate::shared::mismatch()) };
        seen["flow"] = json!({
            "name": name, "keys": plan.spec.keys, "value": plan.spec.value, "fs": plan.spec.fs,
            "filter": plan.spec.filter, "top": top.iter().map(json::flow).collect::<Vec<_>>(),
        });
    }
    if tick.is_multiple_of(SLOW) {
        seen["agent_list"] = agents(handle)?;
        seen["interfaces"] = interfaces(handle)?;
    }
    Ok(seen)
}

/// The agents that send most.
fn agents(handle: &Handle) -> Result<Json, Failure> {
    let Answer::Agents(mut agents) = handle.ask(Question::Agents(Agents::All))? else {
        return Err(crate::shared::mismatch());
    };
    agents.sort_by_key(|agent| std::cmp::Reverse(agent.datagrams.received));
    agents.truncate(ROWS);
    let rows = agents.iter().map(|agent| {
        json!({
            "agent": agent.agent.to_string(),
            "datagrams": agent.datagrams.received,
            "lost": agent.datagrams.lost,
            "flow_samples": agent.flow_samples.received,
            "counters_samples": agent.counter_samples.received,
            "last_seen_ms": agent.last_seen_us / 1000,
        })
    });
    Ok(rows.collect())
}

/// Scripts, those in trouble first, and the pages of applications.
fn scripts(scripts: &Scripts) -> Json {
    let all = scripts.json();
    let mut rows: Vec<Json> = all
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, script)| {
            let lost = ["flowsLost", "eventsLost", "requestsLost"];
            json!({
                "name": name,
                "alive": script["alive"],
                "over": script["gracefulExit"],
                "error": script["error"],
                "cpu_ms": script["cpuMs"],
                "lost": lost.iter().filter_map(|name| script[*name].as_u64()).sum::<u64>(),
            })
        })
        .collect();
    rows.sort_by_key(|row| row["error"].is_null());
    let count = rows.len();
    rows.truncate(ROWS);
    let apps = scripts.apps_json();
    let with_pages = apps.as_object().into_iter().flatten().filter(|(_, app)| !app["entry"].is_null());
    let pages: Vec<&String> = with_pages.map(|(name, _)| name).take(ROWS).collect();
    json!({ "all": count, "rows": rows, "pages": pages })
}

/// The interfaces that take in most.
fn interfaces(handle: &Handle) -> Result<Json, Failure> {
    let columns = [
        ("ifinoctets", false),
        ("ifoutoctets", true),
        ("ifspeed", true),
        ("ifname", true),
        ("host_name", true),
    ];
    let columns = columns
        .iter()
        .map(|(name, optional)| {
            let sort = (*name == "ifinoctets").then_some((true, ROWS));
            Ok(Column { metric: name.parse::<MetricRef>()?, optional: *optional, sort })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let question = Question::Table { agents: Agents::All, columns, filter: Filter::default() };
    let Answer::Table(rows) = handle.ask(question)? else { return Err(crate::shared::mismatch()) };
    Ok(rows.iter().map(|row| json::row(row)).collect())
}

/// A body that is what somebody feeds it.
pub(crate) struct Feed(pub(crate) mpsc::Receiver<Bytes>);

impl hyper::body::Body for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
