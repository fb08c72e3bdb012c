//! A specification as an engine wrote it, with what a script wrote laid over it. No I/O.
//!
//! It is JSON Merge Patch (RFC 7396) on the engine's text: values that the script wrote win, `null` takes a member away,
//! and what it left out stays. Where both have the same value the engine's text stays, byte by byte, because a script's
//! numbers are doubles: it cannot write 9223372036854775807, even when it changes nothing.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value as Json;
use serde_json::value::RawValue;

/// The deepest nesting that is looked into; no specification comes near.
const DEPTH: usize = 64;

/// What both together are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Laid {
    /// The specification's JSON.
    pub(super) text: String,
    /// Which members differ from the engine's, each as its path: `Mode.Replicated.Replicas`.
    pub(super) changed: Vec<String>,
}

/// Lays what a script wrote over what an engine has.
///
/// # Errors
/// One of them is no object of JSON, or it is not clear which member the script means; the text says what is wrong.
pub(super) fn overlay(engine: &[u8], script: &[u8]) -> Result<Laid, String> {
    let engine = parsed(engine)?;
    let script = parsed(script)?;
    if !is_object(engine) || !is_object(script) {
        return Err("it is no object".to_owned());
    }
    let mut laid = Laying { path: Vec::new(), changed: Vec::new() };
    let text = laid.object(engine, script)?.into_owned();
    Ok(Laid { text, changed: laid.changed })
}

fn parsed(text: &[u8]) -> Result<&RawValue, String> {
    serde_json::from_slice(text).map_err(|error| error.to_string())
}

/// Members whose own members have names of the operator's making, which engines compare letter by letter. All others
/// are fields, whose case engines do not mind.
const MAPS: [&str; 4] = ["Labels", "Sysctls", "Options", "DriverOpts"];

struct Laying<'t> {
    path: Vec<Cow<'t, str>>,
    changed: Vec<String>,
}

impl<'t> Laying<'t> {
    fn value(&mut self, engine: &'t RawValue, script: &'t RawValue) -> Result<Cow<'t, str>, String> {
        if is_object(engine) && is_object(script) {
            return self.object(engine, script);
        }
        if same(engine, script) {
            return Ok(engine.get().into());
        }
        self.note();
        Ok(if is_array(engine) && is_array(script) { list(engine, script)? } else { script.get().into() })
    }

    /// The engine's members in its order, then those that only the script has.
    fn object(&mut self, engine: &'t RawValue, script: &'t RawValue) -> Result<Cow<'t, str>, String> {
        if self.path.len() == DEPTH {
            return Err(format!("it is nested more than {DEPTH} deep"));
        }
        let before = self.changed.len();
        let is_map = self.path.last().is_some_and(|name| MAPS.contains(&&**name));
        let Members(mut wanted) = members(script)?;
        let mut parts: Vec<(Cow<'t, str>, Cow<'t, str>)> = Vec::new();
        for (name, value) in members(engine)?.0 {
            let found = meant(&mut wanted, &name, is_map)?;
            self.path.push(name.clone());
            match found {
                None => parts.push((name, value.get().into())),
                Some(found) if found.get() == "null" && value.get() != "null" => self.note(),
                Some(found) => parts.push((name, self.value(value, found)?)),
            }
            self.path.pop();
        }
        for (name, value) in wanted.into_iter().filter(|(_, value)| value.get() != "null") {
            self.path.push(name.clone());
            self.note();
            self.path.pop();
            parts.push((name, value.get().into()));
        }
        if self.changed.len() == before {
            return Ok(engine.get().into());
        }
        let member = |(name, value): (Cow<'_, str>, Cow<'_, str>)| format!("{}:{value}", Json::from(&*name));
        Ok(format!("{{{}}}", parts.into_iter().map(member).collect::<Vec<_>>().join(",")).into())
    }

    fn note(&mut self) {
        self.changed.push(self.path.join("."));
    }
}

/// Takes the member that a script means by the engine's `name` out of those that it wrote.
fn meant<'t>(
    wanted: &mut Vec<(Cow<'t, str>, &'t RawValue)>,
    name: &str,
    is_map: bool,
) -> Result<Option<&'t RawValue>, String> {
    let alike = |other: &str| if is_map { other == name } else { folded(other) == folded(name) };
    let Some(at) = wanted.iter().position(|(other, _)| alike(other)) else { return Ok(None) };
    let (_, value) = wanted.remove(at);
    if wanted.iter().any(|(other, _)| alike(other)) {
        return Err(format!("it is not clear which of its members is {name}"));
    }
    Ok(Some(value))
}

/// A name as engines compare those of fields.
fn folded(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        })
        .collect()
}

/// A list is the script's, with the engine's own text for elements that stayed at its beginning or its end.
fn list<'t>(engine: &'t RawValue, script: &'t RawValue) -> Result<Cow<'t, str>, String> {
    let (engine, mut script) = (elements(engine)?, elements(script)?);
    let from_start = engine.iter().zip(&script).take_while(|(a, b)| same(a, b)).count();
    for (own, element) in script.iter_mut().zip(&engine).take(from_start) {
        *own = element;
    }
    let rest = script.len().min(engine.len()) - from_start;
    for (own, element) in script.iter_mut().rev().zip(engine.iter().rev()).take(rest) {
        if !same(own, element) {
            break;
        }
        *own = element;
    }
    let texts: Vec<&str> = script.into_iter().map(RawValue::get).collect();
    Ok(format!("[{}]", texts.join(",")).into())
}

/// Whether both are the same value to a script, whose numbers are doubles.
fn same(a: &RawValue, b: &RawValue) -> bool {
    a.get() == b.get() || same_within(a, b, DEPTH)
}

fn same_within(a: &RawValue, b: &RawValue, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    let first = |value: &RawValue| value.get().bytes().next().unwrap_or_default();
    match (first(a), first(b)) {
        (b'{', b'{') => {
            let (Ok(Members(mut a)), Ok(Members(mut b))) = (members(a), members(b)) else { return false };
            a.sort_by(|(a, _), (b, _)| a.cmp(b));
            b.sort_by(|(a, _), (b, _)| a.cmp(b));
            let pairs = a.iter().zip(&b);
            a.len() == b.len() && pairs.into_iter().all(|(a, b)| a.0 == b.0 && same_within(a.1, b.1, depth))
        }
        (b'[', b'[') => {
            let (Ok(a), Ok(b)) = (elements(a), elements(b)) else { return false };
            a.len() == b.len() && a.into_iter().zip(b).all(|(a, b)| same_within(a, b, depth))
        }
        (b'"', b'"') => {
            let read = |value: &RawValue| serde_json::from_str::<String>(value.get()).ok();
            read(a).is_some_and(|a| read(b) == Some(a))
        }
        // The standard library reads the nearest double, which is what a script has.
        (b'-' | b'0'..=b'9', b'-' | b'0'..=b'9') => {
            let read = |value: &RawValue| value.get().parse::<f64>().ok();
            read(a).is_some_and(|a| read(b) == Some(a))
        }
        _ => a.get() == b.get(),
    }
}

fn elements(list: &RawValue) -> Result<Vec<&RawValue>, String> {
    serde_json::from_str(list.get()).map_err(|error| error.to_string())
}

fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

fn is_array(value: &RawValue) -> bool {
    value.get().starts_with('[')
}

/// The members of an object in their order, with the text of their values.
struct Members<'t>(Vec<(Cow<'t, str>, &'t RawValue)>);

fn members(object: &RawValue) -> Result<Members<'_>, String> {
    serde_json::from_str(object.get()).map_err(|error| error.to_string())
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((Cow::Owned(name), value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn laid(engine: &str, script: &str) -> (String, Vec<String>) {
        let Laid { text, changed } = overlay(engine.as_bytes(), script.as_bytes()).unwrap();
        (text, changed)
    }

    #[test]
    fn what_a_script_left_out_stays_and_what_it_wrote_wins() {
        let engine = r#"{"Name":"a","Labels":{"x":"1"},"T":{"C":{"Image":"i:1","Sysctls":{"k":"1"},"Caps":["A"]},"F":0}}"#;
        for (script, text, changed) in [
            (r#"{"Name":"a"}"#, engine.to_owned(), vec![]),
            (r#"{"T":{"C":{"Image":"i:2"}}}"#, engine.replace("i:1", "i:2"), vec!["T.C.Image"]),
            (
                r#"{"T":{"F":1},"Name":"b"}"#,
                engine.replace("\"a\"", "\"b\"").replace(":0}", ":1}"),
                vec!["Name", "T.F"],
            ),
            (r#"{"T":{"C":{"Caps":["B"]}}}"#, engine.replace("[\"A\"]", "[\"B\"]"), vec!["T.C.Caps"]),
            (
                r#"{"Labels":{"y":"2"}}"#,
                engine.replace("\"1\"},\"T", "\"1\",\"y\":\"2\"},\"T"),
                vec!["Labels.y"],
            ),
            (r#"{"T":{"C":{"Caps":null}}}"#, engine.replace(",\"Caps\":[\"A\"]", ""), vec!["T.C.Caps"]),
            (r#"{"Labels":null}"#, engine.replace("\"Labels\":{\"x\":\"1\"},", ""), vec!["Labels"]),
            (r#"{"New":null,"T":{"C":{}}}"#, engine.to_owned(), vec![]),
            (r#"{"Labels":[]}"#, engine.replace("{\"x\":\"1\"}", "[]"), vec!["Labels"]),
        ] {
            assert_eq!(
                laid(engine, script),
                (text, changed.iter().map(|path| (*path).to_owned()).collect()),
                "{script}"
            );
        }
    }

    #[test]
    fn numbers_that_a_script_cannot_hold_stay() {
        let engine = r#"{"A":9223372036854775807,"B":[{"n":9007199254740993},{"n":2}], "C" : 1.0,"D":0.1,"E":18446744073709551615}"#;
        // What JSON.stringify(JSON.parse(...)) makes of it.
        let same = r#"{"A":9223372036854776000,"B":[{"n":9007199254740992},{"n":2}],"C":1,"D":0.1,"E":18446744073709552000}"#;
        assert_eq!(laid(engine, same), (engine.to_owned(), vec![]));
        let (text, changed) = laid(engine, &same.replace("{\"n\":2}", "{\"n\":3},{\"n\":4}"));
        let wanted = r#"{"A":9223372036854775807,"B":[{"n":9007199254740993},{"n":3},{"n":4}],"C":1.0,"D":0.1,"E":18446744073709551615}"#;
        assert_eq!((text.as_str(), changed), (wanted, vec!["B".to_owned()]));
        let (text, _) = laid(engine, &same.replace("[{", "[{\"n\":0},{"));
        assert!(text.contains(r#"[{"n":0},{"n":9007199254740993},{"n":2}]"#), "{text}");
        let (text, _) = laid(engine, &same.replace("{\"n\":9007199254740992},", ""));
        assert!(text.contains(r#""B":[{"n":2}]"#), "{text}");
    }

    #[test]
    fn fields_have_no_case_and_labels_have() {
        let engine = r#"{"Mode":{"Replicated":{"Replicas":1}},"Labels":{"Foo":"1"}}"#;
        let (text, changed) = laid(engine, r#"{"mode":{"REPLICATED":{"replicas":2}},"labels":{"foo":"2"}}"#);
        assert_eq!(text, r#"{"Mode":{"Replicated":{"Replicas":2}},"Labels":{"Foo":"1","foo":"2"}}"#);
        assert_eq!(changed, ["Mode.Replicated.Replicas", "Labels.foo"]);
        for script in [
            r#"{"Mode":{},"mode":{}}"#,
            r#"{"Mode":{},"Mode":{}}"#,
            r#"{"Mode":{"Replicated":{"Replicas":1,"replica\u017f":2}}}"#,
        ] {
            let error = overlay(engine.as_bytes(), script.as_bytes()).unwrap_err();
            assert!(error.starts_with("it is not clear which of its members is "), "{error}");
        }
    }

    #[test]
    fn what_is_no_specification_is_refused() {
        for script in ["", "[]", "1", "{", "{}x", "null"] {
            assert!(overlay(b"{}", script.as_bytes()).is_err(), "{script}");
        }
        assert!(overlay(b"[]", b"{}").is_err());
        let deep = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
        assert_eq!(overlay(deep.as_bytes(), deep.as_bytes()).unwrap_err(), "it is nested more than 64 deep");
    }

    fn value() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            "[a-c\"\\\\ü]{0,3}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::hash_map("[a-d]", inner, 0..4)
                    .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    fn object() -> impl Strategy<Value = Json> {
        prop::collection::hash_map("[a-d]", value(), 0..4)
            .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into())
    }

    /// A value as a script that reads and writes it leaves it.
    fn rounded(value: &Json) -> Json {
        match value {
            Json::Number(number) => json!(number.as_f64().unwrap()),
            Json::Array(values) => values.iter().map(rounded).collect(),
            Json::Object(members) => {
                Json::Object(members.iter().map(|(name, value)| (name.clone(), rounded(value))).collect())
            }
            other => other.clone(),
        }
    }

    /// The patch of RFC 7396, without its nulls.
    fn patched(target: &Json, patch: &Json) -> Json {
        let (Json::Object(target), Json::Object(patch)) = (target, patch) else { return patch.clone() };
        let mut all = target.clone();
        for (name, value) in patch {
            let was = target.get(name).cloned().unwrap_or_default();
            all.insert(name.clone(), patched(&was, value));
        }
        Json::Object(all)
    }

    proptest! {
        #[test]
        fn a_script_that_changes_nothing_changes_no_byte(engine in object()) {
            let text = serde_json::to_string_pretty(&engine).unwrap();
            let laid = overlay(text.as_bytes(), rounded(&engine).to_string().as_bytes()).unwrap();
            prop_assert_eq!(laid, Laid { text, changed: Vec::new() });
        }

        #[test]
        fn it_is_a_merge_patch(engine in object(), script in object()) {
            let laid = overlay(engine.to_string().as_bytes(), script.to_string().as_bytes()).unwrap();
            let got: Json = serde_json::from_str(&laid.text).unwrap();
            prop_assert_eq!(rounded(&got), rounded(&patched(&engine, &script)));
            prop_assert_eq!(laid.changed.is_empty(), got == engine);
        }
    }
}
