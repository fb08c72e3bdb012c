//! Rules by `PUT` and `DELETE` of `/acl/NAME`: `finderscope-acl`, and the wrapper of Cumulus Linux 3 whose interface it
//! has. A `PUT` is answered before anything is installed; what a commit failed with is told by a `Warning` header and at
//! `/acl/lasterror`.

use serde::Deserialize;

use super::super::pair::Pair;
use super::super::rule;
use super::super::scripts::rules;
use super::super::wanted::{Change, Found, Interest, Observed};
use super::{Done, Reading, Trouble};
use crate::http::hyper::Method;
use crate::http::{Answer, Client};
use crate::text::shown;

/// Rules of a switch that are looked at because scripts may have captures there; of more only the names are known.
const MOST_NAMES: usize = 1000;

/// The driver.
#[derive(Debug)]
pub struct CumulusAcl {
    client: Client,
    /// Path of the list, without a slash at its end.
    base: String,
    instance: String,
}

/// What a failed commit said.
#[derive(Deserialize)]
struct LastError {
    #[serde(default)]
    lines: Vec<String>,
    #[serde(default)]
    returncode: i64,
}

impl CumulusAcl {
    pub(super) fn new(client: Client, instance: &str) -> Self {
        let path = client.url().path().split('?').next().unwrap_or_default();
        let base = path.trim_end_matches('/').to_owned();
        Self { client, base, instance: instance.to_owned() }
    }

    pub(super) async fn read(&mut self, interest: &Interest) -> Result<Reading, String> {
        let list = if self.base.is_empty() { "/".to_owned() } else { self.base.clone() };
        let answer = self.ask(Method::GET, &list, Vec::new()).await?;
        let names: Vec<String> = of_json(&answer, "a list of names")?;
        let mut observed = Observed::new();
        let mut failing = answer.header("warning").is_some();
        for name in names {
            let native = match Pair::of_rule(&name) {
                Some((instance, _)) if instance != self.instance => {
                    observed.insert(name, Found::Others);
                    continue;
                }
                Some(_) => true,
                // What has none of our names is nothing to us, whatever else its name has in it, where no script is.
                None if interest.is_none() => continue,
                None if !is_read(interest, &name, observed.len()) => {
                    observed.insert(name, Found::Unread);
                    continue;
                }
                None => false,
            };
            let answer = self.ask(Method::GET, &self.place(&name), Vec::new()).await?;
            failing |= answer.header("warning").is_some();
            if answer.status != 404 {
                let lines: Vec<String> = of_json(&answer, "a list of lines")?;
                let found = if native {
                    rule::found(&self.instance, &lines)
                } else {
                    rules::found(&self.instance, &lines)
                };
                observed.insert(name, found);
            }
        }
        // The header may be lost on its way through a proxy: where it is missing the place itself is asked.
        let failing = self.failing().await?.or(failing.then(|| "it does not say with what".to_owned()));
        Ok(Reading { observed, failing })
    }

    pub(super) async fn apply(&mut self, changes: &[Change]) -> Done {
        let mut done = Done::new();
        for change in changes {
            let one = match change {
                Change::Put(name, wanted) => match rule::file(&self.instance, wanted) {
                    Ok(file) => self.change(Method::PUT, name, Some(&file.lines())).await,
                    Err(why) => Err(Trouble::Refused(why)),
                },
                Change::PutLines(name, lines) => self.change(Method::PUT, name, Some(lines)).await,
                Change::Delete(name) => self.change(Method::DELETE, name, None).await,
            };
            let lost = matches!(one, Err(Trouble::Unreachable(_)));
            done.push(one);
            if lost {
                break;
            }
        }
        done
    }

    async fn change(&self, method: Method, name: &str, lines: Option<&[String]>) -> Result<(), Trouble> {
        let body = lines.map(serde_json::to_vec).transpose();
        let body = body.map_err(|error| Trouble::Refused(error.to_string()))?.unwrap_or_default();
        let answer = self.ask(method, &self.place(name), body).await.map_err(Trouble::Unreachable)?;
        match answer.status {
            200..=299 => Ok(()),
            400 | 404 | 406 | 413 | 422 | 507 => Err(Trouble::Refused(said(&answer))),
            _ => Err(Trouble::Unreachable(said(&answer))),
        }
    }

    /// What the last commit failed with.
    async fn failing(&self) -> Result<Option<String>, String> {
        let answer = self.ask(Method::GET, &self.place("lasterror"), Vec::new()).await?;
        if answer.status == 204 {
            return Ok(None);
        }
        let error: LastError = of_json(&answer, "what the last commit said")?;
        let lines = error.lines.join(" ");
        Ok(Some(format!("code {}: {}", error.returncode, shown(lines.trim()))))
    }

    fn place(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }

    async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Answer, String> {
        let headers: &[_] = if body.is_empty() { &[] } else { &[("content-type", "application/json")] };
        self.client.request(method, path, headers, body).await.map_err(|error| error.to_string())
    }
}

/// Whether a rule that has none of our names is looked at. A name that is none of the grammar has no place to ask at.
fn is_read(interest: &Interest, name: &str, known: usize) -> bool {
    let is_of_interest = interest.names.contains(name) || (interest.all && known < MOST_NAMES);
    is_of_interest && name.parse::<acl::Name>().is_ok()
}

/// Status and words of an answer.
fn said(answer: &Answer) -> String {
    format!("{} answers {} {}", answer.url, answer.status, answer.words())
}

fn of_json<T: for<'a> Deserialize<'a>>(answer: &Answer, what: &str) -> Result<T, String> {
    if answer.status != 200 {
        return Err(said(answer));
    }
    serde_json::from_slice(&answer.body).map_err(|error| format!("{}: no {what}: {error}", answer.url))
}
