//! Rules by NVUE's REST interface of Cumulus Linux 5: changes are collected in a revision, which is applied as a whole. An
//! apply takes seconds, so that all that has to be changed goes into one.
//!
//! An access list cannot have a comment; its mark is the remark of its first rule.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use tokio::time::{Instant, sleep};

use super::super::pair::Pair;
use super::super::wanted::{Change, Found, Observed, Wanted};
use super::{Done, Reading, Trouble};
use crate::http::hyper::Method;
use crate::http::{Answer, Client};
use crate::text::shown;

/// How long an apply may take, and how often it is asked for.
const APPLIED_WITHIN: Duration = Duration::from_secs(60);
const ASKED_EVERY: Duration = Duration::from_millis(200);

/// The driver.
#[derive(Debug)]
pub struct CumulusNvue {
    client: Client,
    base: String,
    instance: String,
}

impl CumulusNvue {
    pub(super) fn new(client: Client, instance: &str) -> Self {
        let base = client.url().path().split('?').next().unwrap_or_default().trim_end_matches('/').to_owned();
        Self { client, base, instance: instance.to_owned() }
    }

    pub(super) async fn read(&mut self) -> Result<Reading, String> {
        let lists = self.json(Method::GET, "/acl?rev=applied", None).await?;
        let ports = self.json(Method::GET, "/interface?rev=applied", None).await?;
        let mut observed = Observed::new();
        for (name, list) in lists.as_object().into_iter().flatten() {
            match Pair::of_rule(name) {
                Some((instance, _)) if instance == self.instance => {
                    observed.insert(name.clone(), body::found(&self.instance, name, list, &ports));
                }
                Some(_) => drop(observed.insert(name.clone(), Found::Others)),
                None => {}
            }
        }
        Ok(Reading { observed, failing: None })
    }

    pub(super) async fn apply(&mut self, changes: &[Change]) -> Done {
        let one = |result: Result<(), Trouble>| vec![result; changes.len()];
        match self.revision(changes).await {
            Ok(()) => one(Ok(())),
            // Which of them it was is not said: each is tried by itself, so that one does not keep the others away.
            Err(Trouble::Refused(_)) if changes.len() > 1 => {
                let mut done = Done::new();
                for change in changes {
                    let single = self.revision(std::slice::from_ref(change)).await;
                    let lost = matches!(single, Err(Trouble::Unreachable(_)));
                    done.push(single);
                    if lost {
                        break;
                    }
                }
                done
            }
            Err(trouble) => one(Err(trouble)),
        }
    }

    /// Makes changes in a revision of their own and waits until it is applied.
    async fn revision(&self, changes: &[Change]) -> Result<(), Trouble> {
        let lost = Trouble::Unreachable;
        let current = self.json(Method::GET, "/interface?rev=applied", None).await.map_err(lost)?;
        let created = self.json(Method::POST, "/revision", Some(json!({}))).await.map_err(lost)?;
        let id = created.as_object().and_then(|object| object.keys().next()).map(|id| encoded(id));
        let id = id.ok_or_else(|| Trouble::Unreachable("a new revision has no id".to_owned()))?;
        for change in changes {
            match change {
                Change::Put(name, wanted) => {
                    self.edit(
                        Method::PATCH,
                        &format!("/acl?rev={id}"),
                        json!({ name: body::list(&self.instance, wanted) }),
                    )
                    .await?;
                    for port in
                        body::ports(name, &current).iter().filter(|port| !wanted.interfaces.contains(port))
                    {
                        let place = format!("/interface/{}/acl/{name}?rev={id}", encoded(port));
                        self.edit(Method::DELETE, &place, Json::Null).await?;
                    }
                    for port in &wanted.interfaces {
                        let bound = json!({ "acl": { name: { "inbound": {} } } });
                        self.edit(Method::PATCH, &format!("/interface/{}?rev={id}", encoded(port)), bound)
                            .await?;
                    }
                }
                Change::PutLines(name, _) => {
                    let why = format!("{name}: a script's lines are for the driver cumulus-acl");
                    return Err(Trouble::Refused(why));
                }
                Change::Delete(name) => {
                    for port in body::ports(name, &current) {
                        let place = format!("/interface/{}/acl/{name}?rev={id}", encoded(&port));
                        self.edit(Method::DELETE, &place, Json::Null).await?;
                    }
                    self.edit(Method::DELETE, &format!("/acl/{name}?rev={id}"), Json::Null).await?;
                }
            }
        }
        let apply = json!({ "state": "apply", "auto-prompt": { "ays": "ays_yes" } });
        self.edit(Method::PATCH, &format!("/revision/{id}"), apply).await?;
        let deadline = Instant::now() + APPLIED_WITHIN;
        loop {
            let revision = self.json(Method::GET, &format!("/revision/{id}"), None).await.map_err(lost)?;
            match revision.get("state").and_then(Json::as_str) {
                Some("applied" | "applied_and_saved" | "saved") => return Ok(()),
                Some(state @ ("ays_fail" | "invalid" | "failed" | "apply_error" | "apply_fail")) => {
                    return Err(Trouble::Refused(format!("the revision is {state}: {}", issues(&revision))));
                }
                _ if Instant::now() >= deadline => {
                    let limit = APPLIED_WITHIN.as_secs();
                    return Err(Trouble::Unreachable(format!("the revision was not applied in {limit} s")));
                }
                _ => sleep(ASKED_EVERY).await,
            }
        }
    }

    /// A change of a revision: what the switch does not want is refused.
    async fn edit(&self, method: Method, path: &str, body: Json) -> Result<(), Trouble> {
        let gone_already = method == Method::DELETE;
        let answer =
            self.ask(method, path, (!body.is_null()).then_some(body)).await.map_err(Trouble::Unreachable)?;
        match answer.status {
            200..=299 => Ok(()),
            404 if gone_already => Ok(()),
            400 | 404 | 409 | 422 => Err(Trouble::Refused(said(&answer))),
            _ => Err(Trouble::Unreachable(said(&answer))),
        }
    }

    async fn json(&self, method: Method, path: &str, body: Option<Json>) -> Result<Json, String> {
        let answer = self.ask(method, path, body).await?;
        match answer.status {
            200..=299 => {
                let json = serde_json::from_slice(&answer.body);
                json.map_err(|error| format!("{}: no JSON: {error}", answer.url))
            }
            // What does not exist has nothing in it.
            404 => Ok(Json::Object(Map::new())),
            _ => Err(said(&answer)),
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Json>) -> Result<Answer, String> {
        let path = format!("{}{path}", self.base);
        let headers: &[_] = if body.is_some() { &[("content-type", "application/json")] } else { &[] };
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        self.client.request(method, &path, headers, body).await.map_err(|error| error.to_string())
    }
}

fn said(answer: &Answer) -> String {
    format!("{} answers {} {}", answer.url, answer.status, answer.words())
}

/// What a revision says is wrong with it.
fn issues(revision: &Json) -> String {
    let issues = revision.pointer("/transition/issue").unwrap_or(&Json::Null);
    let mut texts: Vec<String> = Vec::new();
    for issue in issues.as_object().into_iter().flat_map(Map::values) {
        let message = issue.get("message").or_else(|| issue.get("description"));
        texts.extend(message.and_then(Json::as_str).map(shown));
    }
    if texts.is_empty() { "it does not say why".to_owned() } else { texts.join("; ") }
}

/// A part of a path with what is none escaped: revisions are called `changeset/cumulus/2026-11-26_03.20.15_abcd`.
fn encoded(part: &str) -> String {
    let mut out = String::new();
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The shape of an access list, in this place only: it follows the command line's tree.
mod body {
    use std::net::IpAddr;

    use serde_json::{Value as Json, json};

    use super::{Found, Wanted};

    /// Mirrored packets live this many hops.
    const TTL: u8 = 64;

    /// What a rule's remark says before the policy's name.
    fn mark(instance: &str) -> String {
        format!("finderscope owner={instance} policy=")
    }

    /// The access list of a capture: a rule for each direction.
    pub(super) fn list(instance: &str, wanted: &Wanted) -> Json {
        let kind = if wanted.local.is_ipv4() { "ipv4" } else { "ipv6" };
        let rule = |from: IpAddr, to: IpAddr| {
            json!({
                "remark": format!("{}{}", mark(instance), wanted.policy),
                "match": { "ip": { "source-ip": prefix(from), "dest-ip": prefix(to) } },
                "action": { "erspan": {
                    "source-ip": wanted.erspan_source.to_string(), "dest-ip": wanted.analyzer.to_string(), "ttl": TTL,
                } },
            })
        };
        let rules =
            json!({ "10": rule(wanted.local, wanted.remote), "20": rule(wanted.remote, wanted.local) });
        json!({ "type": kind, "rule": rules })
    }

    /// What was found under one of our names.
    pub(super) fn found(instance: &str, name: &str, list: &Json, ports: &Json) -> Found {
        let remark = list.pointer("/rule/10/remark").and_then(Json::as_str).unwrap_or_default();
        let Some(policy) = remark.strip_prefix(&mark(instance)) else { return Found::Unmarked };
        let read =
            read(name, list, ports, policy).filter(|wanted| holds(list, &self::list(instance, wanted)));
        read.map_or(Found::Changed, Found::Ours)
    }

    fn read(name: &str, list: &Json, ports: &Json, policy: &str) -> Option<Wanted> {
        let text = |pointer: &str| list.pointer(pointer)?.as_str();
        let host = |pointer: &str| text(pointer)?.split('/').next()?.parse().ok();
        Some(Wanted {
            local: host("/rule/10/match/ip/source-ip")?,
            remote: host("/rule/10/match/ip/dest-ip")?,
            erspan_source: text("/rule/10/action/erspan/source-ip")?.parse().ok()?,
            analyzer: text("/rule/10/action/erspan/dest-ip")?.parse().ok()?,
            interfaces: self::ports(name, ports),
            policy: policy.to_owned(),
        })
    }

    /// Ports that an access list is bound to, in the order of their numbers.
    pub(super) fn ports(name: &str, ports: &Json) -> Vec<String> {
        let bound = |port: &Json| port.get("acl").and_then(|lists| lists.get(name)).is_some();
        let all = ports.as_object().into_iter().flatten();
        all.filter(|(_, port)| bound(port)).map(|(port, _)| port.clone()).collect()
    }

    /// Whether all that is wanted is there; the switch may say more, such as its defaults.
    fn holds(there: &Json, wanted: &Json) -> bool {
        match wanted {
            Json::Object(wanted) => {
                wanted.iter().all(|(key, value)| there.get(key).is_some_and(|t| holds(t, value)))
            }
            _ => there == wanted,
        }
    }

    fn prefix(host: IpAddr) -> String {
        format!("{host}/{}", if host.is_ipv4() { 32 } else { 128 })
    }
}
