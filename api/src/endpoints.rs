//! The endpoints: one table, from which the router, the description and the first page are made, and which the tests
//! walk.

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{MethodRouter, any, delete, get, put};

use crate::guard;
use crate::routes::{
    about, actions, agents, definitions, flows, live, log, metrics, prometheus, scripts, topology,
};
use crate::shared::{Failure, Shared};

/// An endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// Its path; names in braces are parameters, [`PATH_PARAMETERS`] says what they are.
    pub path: &'static str,
    /// What belongs together.
    pub family: &'static str,
    /// What it answers.
    pub what: &'static str,
    /// Parameters of the query.
    pub query: &'static [Parameter],
    /// The kind of its answer to GET.
    pub answer: Content,
    /// Name of the schema of what PUT takes; `None` where there is no PUT.
    pub defines: Option<&'static str>,
    /// Whether there is DELETE.
    pub removes: bool,
    /// Whether every method is there, and what it does is a script's.
    pub any: bool,
    read: fn() -> MethodRouter<Shared>,
    write: Option<fn() -> MethodRouter<Shared>>,
}

/// A parameter of a query.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name; that of [`FILTER`] stands for any metric.
    pub name: &'static str,
    /// Its JSON type.
    pub kind: &'static str,
    /// What it means, with its default.
    pub what: &'static str,
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// JSON of a schema.
    Json(&'static str),
    /// Another media type.
    Other(&'static str),
}

/// What the names in paths mean.
pub const PATH_PARAMETERS: &[(&str, &str)] = &[
    (
        "agent",
        "ALL, TOPOLOGY (agents of the topology), EDGE (their ports in no link), CORE (their ports in links), or addresses \
         and host names separated by ; or ,",
    ),
    (
        "metric",
        "a list, separated by commas: load_one, avg:ifinutilization, 2.1.mem_free; a prefix is max, min, sum, avg, var, \
         sdev, med, q1, q2, q3, iqr or any",
    ),
    ("name", "the name of the definition, link or service, or the id of the capture"),
    ("app", "the name of the application, which is that of its folder"),
    (
        "script",
        "the name of the script's file: elb.js; below /script/ that of an application's script is app~file.js",
    ),
    (
        "path",
        "any number of segments; of a request to a script the last one is the format that is wanted: json, txt, html",
    ),
];

/// Any other parameter keeps the data sources whose metric of this name, or whose host's, matches one of the patterns.
pub const FILTER: Parameter = Parameter {
    name: "{metric}",
    kind: "string",
    what: "patterns separated by commas; only data sources whose metric of this name, or whose host's, matches one",
};

const AGENT: Parameter =
    Parameter { name: "agent", kind: "string", what: "only this agent; may be repeated" };
const KEY: Parameter =
    Parameter { name: "key", kind: "string", what: "the flow's keys as activeflows shows them" };
const TIMEOUT: Parameter = Parameter {
    name: "timeout",
    kind: "number",
    what: "seconds to wait when there is nothing newer, 60 at most; 0 by default",
};

const FLOWS_QUERY: &[Parameter] = &[
    Parameter { name: "maxFlows", kind: "integer", what: "how many at most; 100 by default" },
    Parameter { name: "minValue", kind: "number", what: "how large at least, per second; 0 by default" },
    Parameter {
        name: "aggMode",
        kind: "string",
        what: "max (the default), sum, edge (the sum of ports in no link) or core (that of ports in links)",
    },
];

const HOSTS_QUERY: &[Parameter] = &[
    Parameter { name: "address", kind: "string", what: "only this IP address" },
    Parameter { name: "mac", kind: "string", what: "only this Ethernet address" },
    Parameter { name: "maxHosts", kind: "integer", what: "how many at most; 1000 by default" },
];

const RECORDS_QUERY: &[Parameter] = &[
    Parameter {
        name: "flowID",
        kind: "integer",
        what: "only records newer than this one; -1, the default, for all",
    },
    Parameter { name: "name", kind: "string", what: "only of these definitions, separated by commas" },
    Parameter { name: "maxFlows", kind: "integer", what: "how many at most; 1000 by default" },
    TIMEOUT,
];

const EVENTS_QUERY: &[Parameter] = &[
    Parameter {
        name: "eventID",
        kind: "integer",
        what: "only events newer than this one; -1, the default, for all",
    },
    Parameter { name: "thresholdID", kind: "string", what: "only of these thresholds, separated by commas" },
    Parameter { name: "maxEvents", kind: "integer", what: "how many at most; 1000 by default" },
    TIMEOUT,
];

const AUDIT_QUERY: &[Parameter] = &[
    Parameter {
        name: "id",
        kind: "integer",
        what: "only entries newer than this one; -1, the default, for all",
    },
    Parameter { name: "maxEntries", kind: "integer", what: "how many at most; 100 by default" },
];

const TEXT: Content = Content::Other("text/plain");
const HTML: Content = Content::Other("text/html");

/// An endpoint that is only read.
const fn read(
    family: &'static str,
    path: &'static str,
    query: &'static [Parameter],
    answer: Content,
    read: fn() -> MethodRouter<Shared>,
    what: &'static str,
) -> Endpoint {
    Endpoint {
        path,
        family,
        what,
        query,
        answer,
        defines: None,
        removes: false,
        any: false,
        read,
        write: None,
    }
}

/// A definition: GET shows it, PUT makes it, DELETE takes it away.
const fn definition(
    path: &'static str,
    schema: &'static str,
    read: fn() -> MethodRouter<Shared>,
    write: fn() -> MethodRouter<Shared>,
    what: &'static str,
) -> Endpoint {
    let answer = Content::Json(schema);
    Endpoint {
        path,
        family: "definitions",
        what,
        query: &[],
        answer,
        defines: Some(schema),
        removes: true,
        any: false,
        read,
        write: Some(write),
    }
}

/// Something of actions that is shown by GET and changed by PUT.
const fn changed(
    path: &'static str,
    answer: Content,
    schema: &'static str,
    read: fn() -> MethodRouter<Shared>,
    write: fn() -> MethodRouter<Shared>,
    what: &'static str,
) -> Endpoint {
    let (defines, write) = (Some(schema), Some(write));
    Endpoint {
        path,
        family: "actions",
        what,
        query: &[],
        answer,
        defines,
        removes: false,
        any: false,
        read,
        write,
    }
}

/// What a handler of a script answers, by any method.
const fn handled(path: &'static str, read: fn() -> MethodRouter<Shared>, what: &'static str) -> Endpoint {
    let answer = Content::Other("*/*");
    Endpoint {
        path,
        family: "scripts",
        what,
        query: &[],
        answer,
        defines: None,
        removes: false,
        any: true,
        read,
        write: None,
    }
}

/// All endpoints.
#[rustfmt::skip]
pub static ENDPOINTS: &[Endpoint] = &[
    read("pages", "/", &[], HTML, || get(live::page), "a page with the largest flows, the agents and rates, live"),
    read("pages", "/page.css", &[], Content::Other("text/css"), || get(live::style), "how it looks"),
    read("pages", "/page.js", &[], Content::Other("text/javascript"), || get(live::script), "what moves it"),
    read("pages", "/live",
        &[Parameter { name: "flow", kind: "string", what: "the flow to show; `flows`, else the first one, by default" }],
        Content::Other("text/event-stream"), || get(live::events), "what the page shows, once a second, as server-sent events"),
    read("pages", "/api/", &[], HTML, || get(about::list), "this list"),
    read("collector", "/version", &[], TEXT, || get(about::version), "the version"),
    read("collector", "/healthz", &[], TEXT, || get(about::healthz), "OK while every worker answers"),
    read("collector", "/analyzer/json", &[], Content::Json("Analyzer"), || get(about::analyzer),
        "what the collector has counted, and what it uses"),
    read("collector", "/metrics", &[], Content::Other("application/openmetrics-text"), || get(about::metrics),
        "every counter of the collector, for Prometheus"),
    read("collector", "/api-docs", &[], Content::Json("Object"), || get(about::description),
        "the description of all endpoints (OpenAPI 3)"),
    read("agents", "/agents/json", &[AGENT], Content::Json("Agents"), || get(agents::agents),
        "agents: loss, senders, samples"),
    read("metrics", "/metrics/json", &[], Content::Json("Ages"), || get(metrics::names),
        "metrics and the age of their youngest value, ms"),
    read("metrics", "/metric/{agent}/json", &[], Content::Json("Flat"), || get(metrics::of_agent),
        "all metrics of agents, by data source"),
    read("metrics", "/metric/{agent}/{metric}/json", &[FILTER], Content::Json("Statistics"), || get(metrics::statistic),
        "one value per metric over the data sources that the filter lets through"),
    read("metrics", "/table/{agent}/{metric}/json", &[FILTER], Content::Json("Table"), || get(metrics::table),
        "metrics joined by data source; sort:METRIC:-10 sorts and keeps ten, null:METRIC may be missing"),
    read("metrics", "/dump/{agent}/{metric}/json", &[FILTER], Content::Json("Metrics"), || get(metrics::dump),
        "the values of every data source; ALL metrics or a list"),
    read("flows", "/flowkeys/json", &[], Content::Json("Ages"), || get(flows::keys),
        "keys that recent packets had, and the age of the youngest, ms"),
    read("flows", "/activeflows/{agent}/{name}/json", FLOWS_QUERY, Content::Json("ActiveFlows"), || get(flows::active),
        "the largest flows of a definition"),
    read("flows", "/flowvalue/{agent}/{name}/json", &[KEY], Content::Json("Number"), || get(flows::value),
        "the value of one flow, per second; the name may begin with a data source: 22.tcp"),
    read("flows", "/flowlocations/{agent}/{name}/json", &[KEY], Content::Json("ActiveFlows"), || get(flows::locations),
        "every data source that sees a flow, and the value there"),
    read("logs", "/flows/json", RECORDS_QUERY, Content::Json("Records"), || get(log::records),
        "completed flows, newest first; waits for newer ones"),
    read("logs", "/events/json", EVENTS_QUERY, Content::Json("Events"), || get(log::events),
        "threshold events, newest first; waits for newer ones"),
    read("definitions", "/flow/json", &[], Content::Json("Flows"), || get(definitions::flows), "flow definitions by name"),
    definition("/flow/{name}/json", "Flow", || get(definitions::flow),
        || put(definitions::put_flow).merge(delete(definitions::delete_flow)), "a flow definition"),
    Endpoint { path: "/group/json", family: "definitions", query: &[],
        what: "names of group sets; PUT is that of the set `default`, which old clients write here",
        answer: Content::Json("Names"), defines: Some("Group"), removes: false, any: false,
        read: || get(definitions::groups), write: Some(|| put(definitions::put_default_group)) },
    definition("/group/{name}/json", "Group", || get(definitions::group),
        || put(definitions::put_group).merge(delete(definitions::delete_group)), "a group set: prefixes by label"),
    read("definitions", "/map/json", &[], Content::Json("Names"), || get(definitions::maps), "names of maps"),
    definition("/map/{name}/json", "Map", || get(definitions::map),
        || put(definitions::put_map).merge(delete(definitions::delete_map)), "a map: values by label"),
    read("definitions", "/threshold/json", &[], Content::Json("Thresholds"), || get(definitions::thresholds),
        "thresholds by name"),
    definition("/threshold/{name}/json", "Threshold", || get(definitions::threshold),
        || put(definitions::put_threshold).merge(delete(definitions::delete_threshold)), "a threshold"),
    read("definitions", "/forwarding/json", &[], Content::Json("Forwardings"), || get(definitions::forwardings),
        "where datagrams are sent on to, by name"),
    definition("/forwarding/{name}/json", "Forwarding", || get(definitions::forwarding),
        || put(definitions::put_forwarding).merge(delete(definitions::delete_forwarding)),
        "a destination of whole datagrams"),
    definition("/topology/json", "Topology", || get(topology::topology),
        || put(topology::put).merge(delete(topology::delete)), "the topology: nodes, their ports, and links between them"),
    read("topology", "/topology/ports/json", &[], Content::Json("TopologyPorts"), || get(topology::ports),
        "the ports that the topology names: interface, link and role, as far as they are known"),
    read("topology", "/topology/link/{name}/{metric}/json", &[], Content::Json("Statistics"), || get(topology::link),
        "metrics of a link: first all of its first end, then those of the second one"),
    read("topology", "/topology/hosts/json", HOSTS_QUERY, Content::Json("TopologyHosts"), || get(topology::hosts),
        "where hosts are attached, those that were seen last first"),
    changed("/actions/json", Content::Json("Actions"), "ActionsChange", || get(actions::all), || put(actions::put_mode),
        "whether actions are done, what keeps them from it, and what was counted"),
    read("actions", "/audit/json", AUDIT_QUERY, Content::Json("AuditEntries"), || get(actions::audit),
        "what was meant to be done and what came of it, newest first"),
    read("actions", "/autoscale/json", &[], Content::Json("Autoscale"), || get(actions::autoscale),
        "the services that are scaled, with their decisions"),
    changed("/autoscale/{name}/json", Content::Json("AutoscaleService"), "AutoscaleChange",
        || get(actions::service), || put(actions::put_service), "a service that is scaled"),
    changed("/captures/json", Content::Json("Captures"), "CaptureStart",
        || get(actions::captures), || put(actions::start_capture),
        "captures and switches; PUT begins one, and says where it is shown in the header Location"),
    Endpoint { path: "/capture/{name}/json", family: "actions", what: "a capture; DELETE ends it", query: &[],
        answer: Content::Json("Capture"), defines: None, removes: true, any: false,
        read: || get(actions::capture), write: Some(|| delete(actions::stop_capture)) },
    read("actions", "/feeds/json", &[], Content::Json("Feeds"), || get(actions::feeds),
        "feeds of blacklists: what is in use, how old it is, and what became of the last reading"),
    changed("/feed/{name}/json", Content::Json("Feed"), "FeedRefresh", || get(actions::feed), || put(actions::refresh_feed),
        "a feed; PUT reads it now, and answers when that is done"),
    read("scripts", "/scripts/json", &[], Content::Json("Scripts"), || get(scripts::scripts),
        "scripts: whether they run, what ended them, what they have received and lost"),
    read("scripts", "/apps/json", &[], Content::Json("Apps"), || get(scripts::apps),
        "applications: their scripts, and where their pages are"),
    read("scripts", "/app/{app}/status", &[], TEXT, || get(scripts::status),
        "OK while all scripts of an application run, else UNAVAILABLE (503)"),
    handled("/script/{script}/{*path}", || any(scripts::script), "what a script's handler answers (setHttpHandler)"),
    handled("/app/{app}/scripts/{script}/{*path}", || any(scripts::of_app),
        "what the handler of an application's script answers"),
    read("scripts", "/app/{app}/html/", &[], HTML, || get(scripts::page), "the first page of an application"),
    read("scripts", "/app/{app}/html/{*path}", &[], Content::Other("*/*"), || get(scripts::page),
        "a file of an application's pages"),
    read("prometheus", "/prometheus/metrics/{agent}/{metric}/txt", &[FILTER], TEXT, || get(prometheus::metrics),
        "the values of every data source; ALL metrics or a list"),
    read("prometheus", "/prometheus/analyzer/txt", &[], TEXT, || get(prometheus::analyzer),
        "what the collector has counted"),
];

/// Paths of the field's incumbent that are not served, and why: answered 501.
pub const ABSENT: &[(&str, &str)] = &[
    ("/tenant/json", "forwarding by tenant is not supported; /forwarding/ sends whole datagrams on"),
    ("/tenant/{*path}", "forwarding by tenant is not supported; /forwarding/ sends whole datagrams on"),
    ("/bgp/{*path}", "BGP is not supported"),
    ("/of/{*path}", "OpenFlow is not supported"),
    ("/license/json", "there are no licences to ask for"),
];

impl Endpoint {
    /// Its methods beside HEAD and OPTIONS.
    pub fn methods(&self) -> &'static [&'static str] {
        if self.any {
            return &["GET", "PUT", "DELETE", "POST", "PATCH"];
        }
        match (self.defines, self.removes) {
            (None, false) => &["GET"],
            (None, true) => &["GET", "DELETE"],
            (Some(_), false) => &["GET", "PUT"],
            (Some(_), true) => &["GET", "PUT", "DELETE"],
        }
    }
}

pub(crate) fn router(shared: Shared) -> Router {
    let mut router = Router::new();
    for endpoint in ENDPOINTS {
        router = router.route(endpoint.path, (endpoint.read)());
        if let Some(write) = endpoint.write {
            router = router.route(endpoint.path, write());
        }
    }
    for (path, why) in ABSENT {
        let refuse = move || async move { Failure::new(StatusCode::NOT_IMPLEMENTED, *why) };
        router = router.route(path, any(refuse));
    }
    router
        .fallback(|| async { Failure::not_found("no such path; /api/ lists them") })
        .layer(middleware::from_fn_with_state(shared.clone(), guard::check))
        .with_state(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An endpoint, parameter or refusal is done when the manual has it.
    #[test]
    fn the_manual_has_every_endpoint_and_parameter() {
        let rest = include_str!("../../manual/rest.md");
        let compatibility = include_str!("../../manual/compatibility.md");
        for endpoint in ENDPOINTS {
            assert!(rest.contains(&format!("`{}`", endpoint.path)), "{}", endpoint.path);
            for parameter in endpoint.query {
                assert!(rest.contains(parameter.name), "{}: {}", endpoint.path, parameter.name);
            }
        }
        for (path, _) in ABSENT {
            let path = path.trim_end_matches("{*path}").trim_end_matches("json");
            assert!(compatibility.contains(&format!("`{path}")), "{path}");
        }
    }
}
