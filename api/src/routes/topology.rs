//! The topology: its definition, what its ports are, metrics of links, and where hosts are.

use std::net::IpAddr;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use engine::json;
use serde_json::{Map, Value as Json};
use tables::question::Mac;
use tables::select::MetricRef;
use tables::topology::{Place, PortState};
use tables::{Answer, Change};

use crate::escape::JsonAnswer;
use crate::shared::{Conditions, Failure, Reply, Shared, json_body_of, mismatch, number, parameter};

/// Largest body of a topology, bytes: ten thousand links are about one megabyte.
const LARGEST_BODY: usize = 16 << 20;

fn none() -> Failure {
    Failure::not_found("no topology is defined; PUT /topology/json defines one")
}

pub(crate) async fn topology(State(shared): State<Shared>) -> Reply<JsonAnswer> {
    let program = shared.handle.program();
    program.topology.definition().map(|one| JsonAnswer(one.to_json().clone())).ok_or_else(none)
}

pub(crate) async fn put(State(shared): State<Shared>, body: Body) -> Reply<StatusCode> {
    let json = json_body_of(body, LARGEST_BODY).await?;
    shared.define(Change::Topology(Some(json))).await
}

pub(crate) async fn delete(State(shared): State<Shared>) -> Reply<StatusCode> {
    shared.define(Change::Topology(None)).await
}

pub(crate) async fn ports(State(shared): State<Shared>) -> Reply<JsonAnswer> {
    shared
        .aside(|handle| {
            let topology = &handle.program().topology;
            if !topology.is_defined() {
                return Err(none());
            }
            Ok(JsonAnswer(topology.ports().iter().map(port).collect()))
        })
        .await
}

fn port(state: &PortState) -> Json {
    let mut object = Map::new();
    object.insert("node".into(), (*state.node).into());
    object.insert("port".into(), (*state.port).into());
    let agent = state.agent.map(|agent| agent.to_string());
    let ifindex = state.ifindex.map(|ifindex| ifindex.to_string());
    let link = state.link.as_ref().map(ToString::to_string);
    for (name, value) in [("agent", agent), ("ifindex", ifindex), ("link", link)] {
        object.extend(value.map(|value| (name.to_owned(), value.into())));
    }
    object.insert("role".into(), state.role.label().into());
    object.into()
}

pub(crate) async fn link(
    State(shared): State<Shared>,
    Path((name, metrics)): Path<(String, String)>,
) -> Reply<JsonAnswer> {
    let metrics = MetricRef::list(&metrics)?;
    shared
        .aside(move |handle| {
            let program = handle.program();
            if !program.topology.is_defined() {
                return Err(none());
            }
            let questions = program.link_metrics(&name, &metrics);
            let questions =
                questions.ok_or_else(|| Failure::not_found("no such link; /topology/json lists them"))?;
            let mut found = Vec::new();
            for question in questions {
                let Answer::Statistics(statistics) = handle.ask(question)? else { return Err(mismatch()) };
                found.extend(statistics.iter().map(json::statistic));
            }
            Ok(JsonAnswer(found.into()))
        })
        .await
}

pub(crate) async fn hosts(State(shared): State<Shared>, Query(query): Conditions) -> Reply<JsonAnswer> {
    let most = number(&query, "maxHosts", 1000.0)?.max(0.0) as usize;
    let mac = parameter(&query, "mac").map(mac).transpose()?;
    let address = parameter(&query, "address").map(address).transpose()?;
    shared
        .aside(move |handle| {
            let (program, now_us) = (handle.program(), handle.now_us());
            if !program.topology.is_defined() {
                return Err(none());
            }
            let (located, topology) = (&program.located, &program.topology);
            let shown = |place: &Place| json::host(&program, place, now_us);
            let is_meant = |place: &&Place| mac.is_none_or(|mac| mac == place.location.mac);
            let hosts: Vec<Json> = match (address, mac) {
                (Some(address), _) => {
                    program.locate(address).filter(is_meant).take(most).map(shown).collect()
                }
                (None, Some(mac)) => located.by_mac(topology, mac).take(most).map(shown).collect(),
                (None, None) => located.all(topology).take(most).map(shown).collect(),
            };
            Ok(JsonAnswer(hosts.into()))
        })
        .await
}

/// An Ethernet address, with or without separators.
fn mac(text: &str) -> Result<Mac, Failure> {
    let plain: String = text.chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    plain.parse().map_err(|()| Failure::wrong(format!("mac: {text:?} is no Ethernet address")))
}

fn address(text: &str) -> Result<IpAddr, Failure> {
    text.parse().map_err(|_| Failure::wrong(format!("address: {text:?} is no IP address")))
}
