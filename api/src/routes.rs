//! The endpoints: one table, from which the router and the first page are made.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use engine::{AskError, DefineError, Handle, Status};
use serde_json::{Map, Value as Json, json};
use tables::flow::active::FlowAggregation;
use tables::select::{Agents, Filter, MetricRef, SelectError};
use tables::{Answer, Change, ChangeError, Question};

use crate::{Hosts, json, lenient, prometheus};

/// An endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// Its path; names in braces are parameters.
    pub path: &'static str,
    /// What it answers.
    pub what: &'static str,
    route: fn() -> MethodRouter<Shared>,
}

/// Bodies at most, bytes.
const LARGEST_BODY: usize = 1 << 20;

/// All endpoints; each answers GET, definitions PUT and DELETE too.
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
    Endpoint { path: "/flow/json", what: "flow definitions", route: || get(flows) },
    Endpoint {
        path: "/flow/{name}/json",
        what: "one of them; PUT defines it, DELETE takes it away",
        route: || get(flow).put(put_flow).delete(delete_flow),
    },
    Endpoint {
        path: "/activeflows/{agent}/{name}/json",
        what: "its largest flows; ?maxFlows=100&minValue=0&aggMode=max",
        route: || get(active_flows),
    },
    Endpoint { path: "/group/json", what: "names of group sets", route: || get(groups) },
    Endpoint {
        path: "/group/{name}/json",
        what: "one of them; PUT defines it, DELETE takes it away",
        route: || get(group).put(put_group).delete(delete_group),
    },
    Endpoint { path: "/map/json", what: "names of maps", route: || get(maps) },
    Endpoint {
        path: "/map/{name}/json",
        what: "one of them; PUT defines it, DELETE takes it away",
        route: || get(map).put(put_map).delete(delete_map),
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
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
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

impl From<DefineError> for Failure {
    fn from(error: DefineError) -> Self {
        match error {
            DefineError::Ask(error) => error.into(),
            DefineError::Change(ChangeError::Unknown(_)) => Self::not_found(error.to_string()),
            DefineError::Change(_) => Self { status: StatusCode::BAD_REQUEST, error: error.to_string() },
        }
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

    /// Changes a definition, where writes are open.
    async fn define(&self, change: Change) -> Result<StatusCode, Failure> {
        if !self.hosts.own.is_loopback() {
            let error = "writes are open on a loopback address only".to_owned();
            return Err(Failure { status: StatusCode::FORBIDDEN, error });
        }
        let handle = self.handle.clone();
        tokio::task::spawn_blocking(move || handle.define(change)).await.map_err(|_| AskError::Ended)??;
        Ok(StatusCode::NO_CONTENT)
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
    page.push_str("PUT a flow: curl -X PUT -d \"{keys:'ipsource,ipdestination',value:'bytes'}\" localhost:8008/flow/pairs/json\n");
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
        .map(|metric| (format!("{}.{}", metric.owner.source, metric.name), json::value(&metric.value)))
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

async fn flows(State(shared): State<Shared>) -> axum::Json<Json> {
    let program = shared.handle.program();
    let flows: Map<String, Json> =
        program.flows.iter().map(|(name, plan)| (name.clone(), plan.spec.to_json())).collect();
    axum::Json(flows.into())
}

async fn flow(State(shared): State<Shared>, Path(name): Path<String>) -> Reply {
    let program = shared.handle.program();
    let plan = program.flows.get(&name).ok_or_else(|| Failure::not_found("no such flow"))?;
    Ok(axum::Json(plan.spec.to_json()))
}

async fn groups(State(shared): State<Shared>) -> axum::Json<Json> {
    axum::Json(shared.handle.program().lookups.groups.keys().cloned().collect())
}

async fn group(State(shared): State<Shared>, Path(name): Path<String>) -> Reply {
    let program = shared.handle.program();
    let set = program.lookups.groups.get(&name).ok_or_else(|| Failure::not_found("no such group set"))?;
    Ok(axum::Json(set.to_json().clone()))
}

async fn maps(State(shared): State<Shared>) -> axum::Json<Json> {
    axum::Json(shared.handle.program().lookups.maps.keys().cloned().collect())
}

async fn map(State(shared): State<Shared>, Path(name): Path<String>) -> Reply {
    let program = shared.handle.program();
    let map = program.lookups.maps.get(&name).ok_or_else(|| Failure::not_found("no such map"))?;
    Ok(axum::Json(map.to_json().clone()))
}

/// A body as JSON, whatever its content type says.
fn body(bytes: &Bytes) -> Result<Json, Failure> {
    let wrong = |error: String| Failure { status: StatusCode::BAD_REQUEST, error };
    let text = std::str::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
    lenient::parse(text).map_err(wrong)
}

type Defined = Result<StatusCode, Failure>;

async fn put_flow(State(shared): State<Shared>, Path(name): Path<String>, bytes: Bytes) -> Defined {
    shared.define(Change::Flow(name, Some(body(&bytes)?))).await
}

async fn delete_flow(State(shared): State<Shared>, Path(name): Path<String>) -> Defined {
    shared.define(Change::Flow(name, None)).await
}

async fn put_group(State(shared): State<Shared>, Path(name): Path<String>, bytes: Bytes) -> Defined {
    shared.define(Change::Group(name, Some(body(&bytes)?))).await
}

async fn delete_group(State(shared): State<Shared>, Path(name): Path<String>) -> Defined {
    shared.define(Change::Group(name, None)).await
}

async fn put_map(State(shared): State<Shared>, Path(name): Path<String>, bytes: Bytes) -> Defined {
    shared.define(Change::Map(name, Some(body(&bytes)?))).await
}

async fn delete_map(State(shared): State<Shared>, Path(name): Path<String>) -> Defined {
    shared.define(Change::Map(name, None)).await
}

async fn active_flows(
    State(shared): State<Shared>,
    Path((agent, name)): Path<(String, String)>,
    Query(query): Conditions,
) -> Reply {
    let program = shared.handle.program();
    let plan = program.flows.get(&name).ok_or_else(|| Failure::not_found("no such flow"))?;
    let wrong = |error: String| Failure { status: StatusCode::BAD_REQUEST, error };
    let number = |wanted: &str, otherwise: f64| {
        let given = query.iter().find(|(name, _)| name == wanted);
        let number = given.map_or(Ok(otherwise), |(_, text)| text.parse::<f64>());
        number.map_err(|_| wrong(format!("{wanted} is no number")))
    };
    let mode = query.iter().find(|(name, _)| name == "aggMode").map(|(_, mode)| mode.to_ascii_lowercase());
    let aggregation = match mode.as_deref() {
        None | Some("max") => FlowAggregation::Max,
        Some("sum") => FlowAggregation::Sum,
        Some(mode @ ("edge" | "core")) => return Err(wrong(format!("aggMode {mode} needs topology"))),
        Some(mode) => return Err(wrong(format!("aggMode {mode:?} is not max or sum"))),
    };
    let question = Question::ActiveFlows {
        agents: agent.parse()?,
        flow: name,
        aggregation,
        most: number("maxFlows", 100.0)?.max(0.0) as usize,
        least: number("minValue", 0.0)?,
        separator: plan.spec.fs.clone(),
    };
    let Answer::Flows(flows) = shared.ask(question).await? else { return Ok(empty()) };
    Ok(axum::Json(flows.iter().map(json::flow).collect()))
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
