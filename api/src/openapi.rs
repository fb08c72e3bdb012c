//! The description of the interface (OpenAPI 3.0), made from the table of endpoints and the schemas.

use serde_json::{Map, Value as Json, json};

use crate::endpoints::{Content, ENDPOINTS, Endpoint, FILTER, PATH_PARAMETERS, Parameter};
use crate::schemas;

/// The document.
pub(crate) fn description(version: &str) -> Json {
    let paths: Map<String, Json> =
        ENDPOINTS.iter().map(|endpoint| (plain(endpoint.path), path(endpoint))).collect();
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "finderscope",
            "version": version,
            "description": "A live sFlow collector: agents, metrics, flows. Values of counters and flows are rates per second.",
            "license": { "name": "Apache-2.0 OR MIT", "url": "https://www.apache.org/licenses/LICENSE-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "responses": {
                "error": {
                    "description": "it cannot be answered, and why",
                    "content": content(Content::Json("Error")),
                },
            },
        },
    })
}

/// A path as the document writes it, which knows no parameter of several segments.
fn plain(path: &str) -> String {
    path.replace("{*", "{")
}

fn path(endpoint: &Endpoint) -> Json {
    let mut path = Map::new();
    let named: Vec<Json> = PATH_PARAMETERS
        .iter()
        .filter(|(name, _)| plain(endpoint.path).contains(&format!("{{{name}}}")))
        .map(|(name, what)| {
            json!({
                "name": name, "in": "path", "required": true, "description": what,
                "schema": { "type": "string", "minLength": 1 },
            })
        })
        .collect();
    if !named.is_empty() {
        path.insert("parameters".to_owned(), named.into());
    }
    if endpoint.any {
        for method in endpoint.methods() {
            path.insert(method.to_ascii_lowercase(), handled(endpoint, method));
        }
        return path.into();
    }
    path.insert("get".to_owned(), get(endpoint));
    if endpoint.defines.is_some() || endpoint.removes {
        let done = |what: &str, body: bool| {
            json!({
                "operationId": format!("{what}{}", identifier(endpoint)),
                "tags": [endpoint.family],
                "summary": format!("{what}s {}", endpoint.what),
                "security": [{}, { "token": [] }],
                "responses": define_errors(json!({ "204": { "description": "done" } }), body),
            })
        };
        if let Some(schema) = endpoint.defines {
            let mut put = done("define", true);
            put["requestBody"] = json!({ "required": true, "content": content(Content::Json(schema)) });
            path.insert("put".to_owned(), put);
        }
        if endpoint.removes {
            path.insert("delete".to_owned(), done("remove", false));
        }
    }
    path.into()
}

fn get(endpoint: &Endpoint) -> Json {
    let found = json!({ "200": { "description": endpoint.what, "content": content(endpoint.answer) } });
    let mut get = json!({
        "operationId": format!("get{}", identifier(endpoint)),
        "tags": [endpoint.family],
        "summary": endpoint.what,
        "responses": errors(found, false),
    });
    if !endpoint.query.is_empty() {
        get["parameters"] = endpoint.query.iter().map(query).collect();
    }
    get
}

/// A method of a script's handler.
fn handled(endpoint: &Endpoint, method: &str) -> Json {
    let method = method.to_ascii_lowercase();
    let body = method != "get";
    let found = json!({ "200": { "description": endpoint.what, "content": content(endpoint.answer) } });
    let mut handled = json!({
        "operationId": format!("{method}{}", identifier(endpoint)),
        "tags": [endpoint.family],
        "summary": endpoint.what,
        "security": [{}, { "token": [] }],
        "responses": errors(found, body),
    });
    if body {
        handled["requestBody"] = json!({ "required": false, "content": content(Content::Other("*/*")) });
    }
    handled
}

/// A path as one word.
fn identifier(endpoint: &Endpoint) -> String {
    let words = endpoint.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let word: String = words
        .map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_ascii_uppercase() + rest
        })
        .collect();
    if word.is_empty() { "Page".to_owned() } else { word }
}

fn query(parameter: &Parameter) -> Json {
    if parameter.name == FILTER.name {
        return json!({
            "name": "filter", "in": "query", "style": "form", "explode": true, "description": parameter.what,
            "schema": { "type": "object", "additionalProperties": { "type": "string" } },
        });
    }
    json!({
        "name": parameter.name, "in": "query", "description": parameter.what,
        "schema": { "type": parameter.kind },
    })
}

fn content(content: Content) -> Json {
    match content {
        Content::Json(schema) => json!({
            "application/json": { "schema": { "$ref": format!("#/components/schemas/{schema}") } },
        }),
        Content::Other(kind) => json!({ (kind): { "schema": { "type": "string" } } }),
    }
}

/// What else may be answered: 408 and 413 only where there is a body.
fn errors(mut responses: Json, body: bool) -> Json {
    let always = ["400", "401", "403", "404", "405", "503"];
    let with_body = ["408", "413"];
    for status in always.iter().chain(with_body.iter().filter(|_| body)) {
        responses[*status] = json!({ "$ref": "#/components/responses/error" });
    }
    responses
}

/// What else a definition may be answered: it may be in effect and not saved.
fn define_errors(responses: Json, body: bool) -> Json {
    let mut responses = errors(responses, body);
    responses["507"] = json!({ "$ref": "#/components/responses/error" });
    responses
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn references(json: &Json, found: &mut BTreeSet<String>) {
        match json {
            Json::Object(object) => {
                for (name, value) in object {
                    match value.as_str() {
                        Some(target) if name == "$ref" => drop(found.insert(target.to_owned())),
                        _ => references(value, found),
                    }
                }
            }
            Json::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_description_is_whole() {
        let document = description("1.2.3");
        assert_eq!(document["info"]["version"], "1.2.3");
        let mut identifiers = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            let named: BTreeSet<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
            let described: BTreeSet<&str> = item
                .get("parameters")
                .and_then(Json::as_array)
                .into_iter()
                .flatten()
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            assert_eq!(named, described, "{path}");
            for method in ["get", "put", "delete", "post", "patch"] {
                let Some(operation) = item.get(method) else { continue };
                assert!(identifiers.insert(operation["operationId"].as_str().unwrap().to_owned()), "{path}");
                let responses = operation["responses"].as_object().unwrap();
                let handled = operation["tags"] == json!(["scripts"]);
                let done = if method == "get" || handled { "200" } else { "204" };
                assert!(responses.contains_key(done), "{path}");
                let body = method == "put" || (handled && method != "get");
                assert_eq!(operation.get("requestBody").is_some(), body, "{path}");
            }
        }
        let mut targets = BTreeSet::new();
        references(&document, &mut targets);
        for target in &targets {
            assert!(document.pointer(target.strip_prefix('#').unwrap()).is_some(), "{target} is missing");
        }
        for schema in document["components"]["schemas"].as_object().unwrap().keys() {
            assert!(
                targets.contains(&format!("#/components/schemas/{schema}")),
                "{schema} is used by nobody"
            );
        }
    }
}
