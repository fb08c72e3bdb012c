//! The endpoints: one table, from which the router and the first page are made.

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use engine::{AskError, Handle, Status};
use serde_json::{Map, Value as Json, json};
use tables::select::{Agents, Filter, MetricRef, SelectError};
use tables::{Answer, Question};

use crate::{Hosts, json, prometheus};

/// An endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// Its path; names in braces are parameters.
    pub path: &'static str,
    /// What it answers.
    pub what: &'static str,
    route: fn() -> MethodRouter<Shared>,
}

/// All endpoints; each answers GET.
pub static ENDPOINTS: &[Endpoint] = &[
    Endpoint { path: "/version", what: "the version, as text", route: || get(version) },
    Endpoint { path: "/healthz", what: "OK while the worker answers", route: || get(healthz) },
    Endpoint { path: "/analyzer/json", what: "what the collector has counted", route: || get(analyzer) },
    Endpoint { path: "/agents/json", what: "agents: loss, senders, samples", route: || get(agents) },
    Endpoint { path: "/metrics/json", what: "metrics and their age, ms", route: || get(metric_names) },
    Endpoint {
        path: "/metric/{agent}/json",
        what: "all metrics of agents, by data source",
        route: || get(agent_metrics),
    },
    Endpoint {
        path: "/metric/{agent}/{metric}/json",
        what: "one value per metric over the data sources that the query's filter lets through",
        route: || get(metric),
    },
    Endpoint {
        path: "/dump/{agent}/{metric}/json",
        what: "the values of every data source; ALL metrics or a list",
        route: || get(dump),
    },
    Endpoint {
        path: "/prometheus/metrics/{agent}/{metric}/txt",
        what: "the same for Prometheus",
        route: || get(prometheus_metrics),
    },
    Endpoint {
        path: "/prometheus/analyzer/txt",
        what: "what the collector has counted, for Prometheus",
        route: || get(prometheus_analyzer),
    },
];

#[derive(Clone)]
struct Shared {
    handle: Handle,
    hosts: Hosts,
    version: String,
}

pub(crate) fn router(handle: Handle, hosts: Hosts, version: String) -> Router {
    let shared = Shared { handle, hosts, version };
    let mut router = Router::new().route("/", get(first_page));
    for endpoint in ENDPOINTS {
        router = router.route(endpoint.path, (endpoint.route)());
    }
    router
        .fallback(|| async { Failure::not_found("no such path; / lists them") })
        .layer(middleware::from_fn_with_state(shared.clone(), check_host))
        .with_state(shared)
}

async fn check_host(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    if shared.hosts.allow(host) {
        next.run(request).await
    } else {
        Failure { status: StatusCode::FORBIDDEN, error: "the Host header names another host".to_owned() }
            .into_response()
    }
}

/// A request that cannot be answered: status, and a JSON object that says why.
struct Failure {
    status: StatusCode,
    error: String,
}

impl Failure {
    fn not_found(error: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, error: error.into() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, axum::Json(json!({ "error": self.error }))).into_response()
    }
}

impl From<SelectError> for Failure {
    fn from(error: SelectError) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error: error.to_string() }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, error: error.to_string() }
    }
}

type Reply<T = axum::Json<Json>> = Result<T, Failure>;
type Conditions = Query<Vec<(String, String)>>;

impl Shared {
    /// Asks on a thread that may wait.
    async fn ask(&self, question: Question) -> Result<Answer, Failure> {
        let handle = self.handle.clone();
        let asked = tokio::task::spawn_blocking(move || handle.ask(question)).await;
        Ok(asked.map_err(|_| AskError::Ended)??)
    }

    async fn status(&self) -> Result<Status, Failure> {
        let handle = self.handle.clone();
        let asked = tokio::task::spawn_blocking(move || handle.status()).await;
        Ok(asked.map_err(|_| AskError::Ended)??)
    }

    /// 404 when none of the named agents is known.
    async fn must_know(&self, agents: &Agents) -> Result<(), Failure> {
        match self.ask(Question::Agents(agents.clone())).await? {
            Answer::Agents(known) if known.is_empty() && *agents != Agents::All => {
                Err(Failure::not_found("no such agent"))
            }
            _ => Ok(()),
        }
    }
}

/// Names and the patterns of which one must match: repeated parameters and commas both separate patterns.
fn filter(conditions: &[(String, String)]) -> Result<Filter, SelectError> {
    let mut names: Vec<(&str, Vec<String>)> = Vec::new();
    for (name, patterns) in conditions {
        let patterns = patterns.split(',').map(str::to_owned);
        match names.iter_mut().find(|(known, _)| known == name) {
            Some((_, all)) => all.extend(patterns),
            None => names.push((name, patterns.collect())),
        }
    }
    Filter::new(names)
}

async fn first_page(State(shared): State<Shared>) -> impl IntoResponse {
    let mut page = format!("finderscope {}\n\n", shared.version);
    for endpoint in ENDPOINTS {
        page.push_str(&format!("{:44}{}\n", endpoint.path, endpoint.what));
    }
    page.push_str("\n{agent} is ALL, or addresses and host names separated by ;\n");
    page.push_str("{metric} is a list: load_one,avg:ifinutilization,2.1.mem_free\n");
    page.push_str("?name=pattern keeps the data sources whose metric, or whose host's, matches\n");
    page
}

async fn version(State(shared): State<Shared>) -> String {
    shared.version
}

async fn healthz(State(shared): State<Shared>) -> Reply<&'static str> {
    shared.status().await.map(|_| "OK\n")
}

async fn analyzer(State(shared): State<Shared>) -> Reply {
    Ok(axum::Json(json::analyzer(&shared.version, &shared.status().await?)))
}

async fn agents(State(shared): State<Shared>, Query(query): Conditions) -> Reply {
    let named: Vec<String> =
        query.into_iter().filter(|(name, _)| name == "agent").map(|(_, agent)| agent).collect();
    let agents = if named.is_empty() { Agents::All } else { Agents::Named(named) };
    let Answer::Agents(agents) = shared.ask(Question::Agents(agents)).await? else { return Ok(empty()) };
    Ok(axum::Json(json::agents(&agents)))
}

async fn metric_names(State(shared): State<Shared>) -> Reply {
    let Answer::MetricNames(names) = shared.ask(Question::MetricNames).await? else { return Ok(empty()) };
    let names: Map<String, Json> = names.into_iter().map(|(name, age)| (name, (age / 1000).into())).collect();
    Ok(axum::Json(names.into()))
}

async fn agent_metrics(State(shared): State<Shared>, Path(agent): Path<String>) -> Reply {
    let agents: Agents = agent.parse()?;
    shared.must_know(&agents).await?;
    let Answer::Metrics(metrics) = shared.ask(Question::AgentMetrics(agents)).await? else {
        return Ok(empty());
    };
    let flat: Map<String, Json> = metrics
        .into_iter()
        .map(|metric| (format!("{}.{}", metric.source, metric.name), json::value(&metric.value)))
        .collect();
    Ok(axum::Json(flat.into()))
}

async fn metric(
    State(shared): State<Shared>,
    Path((agent, metrics)): Path<(String, String)>,
    Query(query): Conditions,
) -> Reply {
    let (agents, metrics, filter) = (agent.parse()?, MetricRef::list(&metrics)?, filter(&query)?);
    let question = Question::Metric { agents, metrics, filter };
    let Answer::Statistics(statistics) = shared.ask(question).await? else { return Ok(empty()) };
    Ok(axum::Json(statistics.iter().map(json::statistic).collect()))
}

/// The metrics of a path where `ALL` means all, and `;` separates as `,` does.
fn listed(metrics: &str) -> Result<Vec<MetricRef>, SelectError> {
    if metrics == "ALL" { Ok(Vec::new()) } else { MetricRef::list(&metrics.replace(';', ",")) }
}

async fn dump(
    State(shared): State<Shared>,
    Path((agent, metrics)): Path<(String, String)>,
    Query(query): Conditions,
) -> Reply {
    let question =
        Question::Dump { agents: agent.parse()?, metrics: listed(&metrics)?, filter: filter(&query)? };
    let Answer::Metrics(metrics) = shared.ask(question).await? else { return Ok(empty()) };
    Ok(axum::Json(metrics.iter().map(json::metric).collect()))
}

async fn prometheus_metrics(
    State(shared): State<Shared>,
    Path((agent, metrics)): Path<(String, String)>,
    Query(query): Conditions,
) -> Reply<impl IntoResponse> {
    let agents: Agents = agent.parse()?;
    let question =
        Question::Dump { agents: agents.clone(), metrics: listed(&metrics)?, filter: filter(&query)? };
    let Answer::Metrics(metrics) = shared.ask(question).await? else { return Ok(text(String::new())) };
    let names = MetricRef::list("host_name,ifname,vir_host_name")?;
    let question = Question::Dump { agents, metrics: names, filter: Filter::default() };
    let Answer::Metrics(names) = shared.ask(question).await? else { return Ok(text(String::new())) };
    Ok(text(prometheus::metrics(&metrics, &names)))
}

async fn prometheus_analyzer(State(shared): State<Shared>) -> Reply<impl IntoResponse> {
    Ok(text(prometheus::analyzer(&shared.status().await?)))
}

fn text(text: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

/// An answer to another question: the worker never gives one.
fn empty() -> axum::Json<Json> {
    axum::Json(json!({}))
}
