//! The collector itself: version, health, counters, and the description of its endpoints.

use std::fmt::Write;
use std::sync::OnceLock;

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use engine::AskError;
use serde_json::Value as Json;

use crate::endpoints::{ABSENT, Content, ENDPOINTS, PATH_PARAMETERS};
use crate::shared::{Reply, Shared};
use crate::{counts, exposition, openapi};

pub(crate) async fn version(State(shared): State<Shared>) -> String {
    shared.version.to_string()
}

pub(crate) async fn healthz(State(shared): State<Shared>) -> Reply<&'static str> {
    shared.status().await.map(|_| "OK\n")
}

pub(crate) async fn analyzer(State(shared): State<Shared>) -> Reply<impl IntoResponse> {
    let told = shared.clone();
    let text = shared.aside(move |_| Ok(analyzer_json(&told)?.to_string())).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text))
}

/// What the collector has counted.
pub(crate) fn analyzer_json(shared: &Shared) -> Result<Json, AskError> {
    let status = shared.handle.status()?;
    Ok(counts::analyzer(&shared.version, &status, &shared.http, &shared.process.read()))
}

pub(crate) async fn metrics(State(shared): State<Shared>) -> Reply<impl IntoResponse> {
    let (version, http, process) = (shared.version.clone(), shared.http.clone(), shared.process.clone());
    let (actions, scripts) = (shared.actions.clone(), shared.scripts.clone());
    let text = shared
        .aside(move |handle| {
            let (status, program) = (handle.status()?, handle.program());
            let rows = [actions.metrics(), scripts.metrics()].concat();
            Ok(exposition::text(&version, &status, &program, &rows, &http, &process.read()))
        })
        .await?;
    Ok(([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], text))
}

pub(crate) async fn description(State(shared): State<Shared>) -> impl IntoResponse {
    axum::Json(openapi::description(&shared.version))
}

/// The endpoints by family, as a page without scripts.
pub(crate) async fn list() -> Html<&'static str> {
    static PAGE: OnceLock<String> = OnceLock::new();
    Html(PAGE.get_or_init(page))
}

fn page() -> String {
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>finderscope: REST</title><link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"/page.css\"><main class=\"list\">\
         <h1>finderscope: REST</h1><p><a href=\"/\">live page</a> · <a href=\"/api-docs\">OpenAPI</a></p>",
    );
    let mut family = "";
    for endpoint in ENDPOINTS {
        if endpoint.family != family {
            page.push_str(if family.is_empty() { "" } else { "</dl></section>" });
            family = endpoint.family;
            let _ = write!(page, "<section><h2>{family}</h2><dl>");
        }
        let path = escaped(endpoint.path);
        let is_link = !endpoint.path.contains('{') && endpoint.answer != Content::Other("text/event-stream");
        let path = if is_link { format!("<a href=\"{path}\">{path}</a>") } else { path };
        let _ = write!(
            page,
            "<dt><code>{} {path}</code></dt><dd>{}",
            endpoint.methods().join(" "),
            escaped(endpoint.what)
        );
        for parameter in endpoint.query {
            let _ =
                write!(page, "<br><code>?{}=</code> {}", escaped(parameter.name), escaped(parameter.what));
        }
        page.push_str("</dd>");
    }
    page.push_str("</dl></section><section><h2>in paths</h2><dl>");
    for (name, what) in PATH_PARAMETERS {
        let _ = write!(page, "<dt><code>{{{name}}}</code></dt><dd>{}</dd>", escaped(what));
    }
    page.push_str("</dl></section><section><h2>not served</h2><dl>");
    for (path, why) in ABSENT {
        let _ = write!(page, "<dt><code>{}</code></dt><dd>{}</dd>", escaped(path), escaped(why));
    }
    page.push_str(
        "</dl></section><section><h2>a flow</h2><pre>curl -X PUT --data \"{keys:'ipsource,ipdestination',value:'bytes'}\" \
         http://localhost:8008/flow/pairs/json\ncurl http://localhost:8008/activeflows/ALL/pairs/json</pre></section></main>",
    );
    page
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
