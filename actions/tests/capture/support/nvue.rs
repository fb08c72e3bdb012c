//! A stand-in for NVUE's REST interface: revisions, edits, applies that take a while and may fail.

use std::sync::{Arc, Mutex};

use serde_json::{Map, Value as Json, json};

use super::http::{Answer, Request, Server};

#[derive(Debug, Default)]
struct State {
    applied: Json,
    revisions: Vec<Revision>,
    /// What applies fail with: the state and the text.
    fails: Option<(&'static str, &'static str)>,
    /// An access list of this name is not wanted.
    unwanted: Option<String>,
}

#[derive(Debug)]
struct Revision {
    tree: Json,
    state: &'static str,
    issue: &'static str,
    /// Questions until it is done.
    asked: u32,
}

/// The stand-in; dropping it ends it.
pub(crate) struct Nvue {
    pub(crate) server: Server,
    state: Arc<Mutex<State>>,
}

impl Nvue {
    pub(crate) fn start() -> Self {
        let applied = json!({ "acl": {}, "interface": { "swp1": {}, "swp2": { "acl": { "own": { "inbound": {} } } }, "swp3": {} } });
        let state = Arc::new(Mutex::new(State { applied, ..State::default() }));
        let shared = Arc::clone(&state);
        Self { server: Server::start(move |request| answer(&mut shared.lock().unwrap(), request)), state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/nvue_v1", self.server.address)
    }

    pub(crate) fn applied(&self) -> Json {
        self.state.lock().unwrap().applied.clone()
    }

    pub(crate) fn revisions(&self) -> usize {
        self.state.lock().unwrap().revisions.len()
    }

    pub(crate) fn fail(&self, with: Option<(&'static str, &'static str)>) {
        self.state.lock().unwrap().fails = with;
    }

    pub(crate) fn refuse(&self, name: &str) {
        self.state.lock().unwrap().unwanted = Some(name.to_owned());
    }

    /// Someone else changes what is applied.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut Json)) {
        change(&mut self.state.lock().unwrap().applied);
    }
}

fn answer(state: &mut State, request: &Request) -> Answer {
    let (status, body) = content(state, request);
    (status, String::new(), body.to_string())
}

fn content(state: &mut State, request: &Request) -> (u16, Json) {
    let Some(path) = request.path.strip_prefix("/nvue_v1/") else { return (404, Json::Null) };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<String> = path.split('/').map(decoded).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let revision = decoded(query.strip_prefix("rev=").unwrap_or_default());
    let number = |id: &str| id.rsplit('_').next().and_then(|n| n.parse::<usize>().ok());
    let body: Json = serde_json::from_str(&request.body).unwrap_or(Json::Null);
    match (request.method.as_str(), &parts[..]) {
        ("POST", ["revision"]) => {
            let tree = state.applied.clone();
            state.revisions.push(Revision { tree, state: "pending", issue: "", asked: 0 });
            let id = format!("changeset/cumulus/2026-11-26_{}", state.revisions.len() - 1);
            (200, json!({ id: { "state": "pending" } }))
        }
        ("GET", ["revision", id]) => {
            let applied = &mut state.applied;
            let Some(one) = number(id).and_then(|n| state.revisions.get_mut(n)) else {
                return (404, Json::Null);
            };
            one.asked += 1;
            if one.state == "apply" && one.asked > 2 {
                match state.fails {
                    Some((failed, issue)) => (one.state, one.issue) = (failed, issue),
                    None => {
                        one.state = "applied";
                        *applied = one.tree.clone();
                    }
                }
            }
            let issue = json!({ "00000": { "message": one.issue, "severity": "error" } });
            (200, json!({ "state": one.state, "transition": { "issue": issue } }))
        }
        ("PATCH", ["revision", id]) => {
            let wanted = json!({ "state": "apply", "auto-prompt": { "ays": "ays_yes" } });
            let Some(one) = number(id).and_then(|n| state.revisions.get_mut(n)) else {
                return (404, Json::Null);
            };
            if body != wanted {
                return (400, json!({ "detail": "what?" }));
            }
            (one.state, one.asked) = ("apply", 0);
            (200, json!({ "state": "apply" }))
        }
        ("GET", [place @ ("acl" | "interface")]) if revision == "applied" => {
            (200, state.applied[*place].clone())
        }
        ("PATCH", ["acl"]) => {
            let unwanted = state.unwanted.clone();
            if body.as_object().is_some_and(|lists| lists.keys().any(|name| Some(name) == unwanted.as_ref()))
            {
                return (422, json!({ "detail": "it is not wanted" }));
            }
            edit(state, number(&revision), &["acl"], &body)
        }
        ("PATCH", ["interface", port]) => edit(state, number(&revision), &["interface", port], &body),
        ("DELETE", [way @ .., name]) => {
            let Some(one) = number(&revision).and_then(|n| state.revisions.get_mut(n)) else {
                return (404, Json::Null);
            };
            let pointer: String = way.iter().map(|part| format!("/{part}")).collect();
            let removed =
                one.tree.pointer_mut(&pointer).and_then(Json::as_object_mut).and_then(|o| o.remove(*name));
            (if removed.is_some() { 204 } else { 404 }, Json::Null)
        }
        _ => (405, Json::Null),
    }
}

fn edit(state: &mut State, revision: Option<usize>, way: &[&str], body: &Json) -> (u16, Json) {
    let Some(one) = revision.and_then(|n| state.revisions.get_mut(n)) else { return (404, Json::Null) };
    let mut place = &mut one.tree;
    for part in way {
        place = place
            .as_object_mut()
            .unwrap()
            .entry((*part).to_owned())
            .or_insert_with(|| Json::Object(Map::new()));
    }
    merge(place, body);
    (200, body.clone())
}

fn merge(place: &mut Json, body: &Json) {
    match (place.as_object_mut(), body) {
        (Some(object), Json::Object(more)) => {
            for (key, value) in more {
                merge(object.entry(key.clone()).or_insert_with(|| Json::Object(Map::new())), value);
            }
        }
        _ => *place = body.clone(),
    }
}

fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
            out.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).unwrap()
}
