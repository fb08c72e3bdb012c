//! Whether JSON is as a schema says: the part of JSON Schema that our description uses. A word that it does not know
//! panics, so that nothing goes unchecked.

use serde_json::Value as Json;

/// Panics with the place where `value` is not as `schema` says; `document` holds what `$ref` names.
pub(super) fn holds(document: &Json, schema: &Json, value: &Json) {
    if let Err(wrong) = check(document, schema, value, "$") {
        panic!("{wrong}\nin {value:#}");
    }
}

fn check(document: &Json, schema: &Json, value: &Json, at: &str) -> Result<(), String> {
    let words = schema.as_object().unwrap();
    if value.is_null() && words.get("nullable") == Some(&true.into()) {
        return Ok(());
    }
    let none = serde_json::Map::new();
    let properties = words.get("properties").and_then(Json::as_object).unwrap_or(&none);
    for (word, meaning) in words {
        match word.as_str() {
            "$ref" => {
                let target = document.pointer(meaning.as_str().unwrap().strip_prefix('#').unwrap());
                check(document, target.unwrap(), value, at)?;
            }
            "type" => {
                let kind = meaning.as_str().unwrap();
                let is = match kind {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "number" => value.is_number(),
                    "integer" => value.is_i64() || value.is_u64(),
                    other => panic!("type {other}"),
                };
                if !is {
                    return Err(format!("{at} is no {kind}: {value}"));
                }
            }
            "required" => {
                for name in meaning.as_array().unwrap() {
                    if value.get(name.as_str().unwrap()).is_none() {
                        return Err(format!("{at} lacks {name}"));
                    }
                }
            }
            "properties" => {
                for (name, schema) in properties {
                    if let Some(inner) = value.get(name) {
                        check(document, schema, inner, &format!("{at}.{name}"))?;
                    }
                }
            }
            "additionalProperties" => {
                let Some(object) = value.as_object() else { continue };
                for (name, inner) in object.iter().filter(|(name, _)| !properties.contains_key(*name)) {
                    if meaning == &Json::Bool(false) {
                        return Err(format!("{at} has {name}, which the description does not know"));
                    }
                    check(document, meaning, inner, &format!("{at}.{name}"))?;
                }
            }
            "items" => {
                for (n, inner) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, meaning, inner, &format!("{at}[{n}]"))?;
                }
            }
            "oneOf" => {
                let schemas = meaning.as_array().unwrap();
                if schemas.iter().filter(|schema| check(document, schema, value, at).is_ok()).count() != 1 {
                    return Err(format!("{at} is not one of {meaning}: {value}"));
                }
            }
            "allOf" => {
                for schema in meaning.as_array().unwrap() {
                    check(document, schema, value, at)?;
                }
            }
            "description" | "nullable" => {}
            other => panic!("the schema says {other}, which this test cannot check"),
        }
    }
    Ok(())
}

#[test]
fn what_is_wrong_is_found() {
    use serde_json::json;
    let document = json!({"n": {"type": "number"}});
    let schema = json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {"a": {"type": "array", "items": {"$ref": "#/n"}}, "b": {"oneOf": [{"type": "string"}]}},
    });
    let wrong = |value: Json| check(&document, &schema, &value, "$").unwrap_err();
    assert!(check(&document, &schema, &json!({"a": [1, 2.5], "b": "x"}), "$").is_ok());
    assert!(wrong(json!({})).contains("lacks"));
    assert!(wrong(json!({"a": [1, "x"]})).contains("$.a[1] is no number"));
    assert!(wrong(json!({"a": [], "b": 1})).contains("not one of"));
    assert!(wrong(json!({"a": [], "c": 1})).contains("has c"));
}
