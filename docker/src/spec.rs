//! The number of replicas inside the JSON of a service, found and changed as bytes.
//!
//! An engine replaces a service's whole specification by what it is sent, and starts all of its tasks anew when that
//! differs in anything but their number. So nothing is read into values and written again: every byte beside these
//! digits stays as it came.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::IgnoredAny;

/// Where the value of `Spec` stands in what an engine answers about a service.
///
/// # Errors
/// The text is no JSON, or has no single `Spec`; the error says what is wrong.
pub(crate) fn of_answer(answer: &[u8]) -> Result<Range<usize>, String> {
    valid(answer)?;
    member(answer, 0..answer.len(), "Spec")?.ok_or_else(|| "it has no Spec".to_owned())
}

/// Where the digits of `Mode.Replicated.Replicas` stand in a specification.
///
/// # Errors
/// They are not there, or it is not clear which they are; the error says why.
pub(crate) fn replicas(spec: &[u8]) -> Result<Range<usize>, String> {
    valid(spec)?;
    let mode = member(spec, 0..spec.len(), "Mode")?.ok_or("it has no Mode")?;
    let replicated = member(spec, mode, "Replicated")?.filter(|place| bytes(spec, place) != b"null");
    let replicated = replicated.ok_or("its mode is not Replicated: it has no number of replicas")?;
    let digits = member(spec, replicated, "Replicas")?.ok_or("its mode does not say how many Replicas")?;
    let plain = bytes(spec, &digits).iter().all(u8::is_ascii_digit);
    plain.then_some(digits).ok_or_else(|| "its Replicas are no plain number".to_owned())
}

/// The specification with another number of replicas, and not one other byte changed.
///
/// # Errors
/// As [`replicas`].
pub(crate) fn with_replicas(spec: &[u8], number: u64) -> Result<Vec<u8>, String> {
    let digits = replicas(spec)?;
    let (before, after) = (bytes(spec, &(0..digits.start)), bytes(spec, &(digits.end..spec.len())));
    Ok([before, number.to_string().as_bytes(), after].concat())
}

/// Refuses what is no JSON, and what is nested deeper than any service: the walk below need only look for ends.
fn valid(text: &[u8]) -> Result<(), String> {
    serde_json::from_slice::<IgnoredAny>(text).map(drop).map_err(|error| error.to_string())
}

fn bytes<'a>(text: &'a [u8], place: &Range<usize>) -> &'a [u8] {
    text.get(place.clone()).unwrap_or_default()
}

/// Where the value of a member stands in the object at this place.
///
/// Engines read names without regard to case, and take the last of those that are alike: one that is there twice, or is
/// written otherwise, is refused rather than guessed.
fn member(text: &[u8], object: Range<usize>, name: &str) -> Result<Option<Range<usize>>, String> {
    let mut walk = Walk { text: bytes(text, &(0..object.end)), at: object.start };
    walk.space();
    walk.expect(b'{').map_err(|_| format!("where {name} should be is no object"))?;
    let mut found = None;
    loop {
        walk.space();
        if walk.expect(b'}').is_ok() {
            return Ok(found);
        }
        let key = walk.string()?;
        walk.space();
        walk.expect(b':')?;
        walk.space();
        let value = walk.value()?;
        walk.space();
        // Absent after the last one.
        let _ = walk.expect(b',');
        // What is no text is not the name of anything here.
        let Ok(key) = serde_json::from_slice::<String>(bytes(text, &key)) else { continue };
        if folded(&key) != folded(name) {
            continue;
        }
        if key != name || found.is_some() {
            return Err(format!("it is not clear which of its members is {name}"));
        }
        found = Some(value);
    }
}

/// A name as engines compare it: without case, and with the two letters that have an ASCII one as their other case.
fn folded(name: &str) -> Cow<'_, str> {
    let lower = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    if name.chars().any(|c| lower(c) != c) { name.chars().map(lower).collect() } else { name.into() }
}

/// A place in valid JSON.
struct Walk<'a> {
    text: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn next(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while self.next().is_some_and(|byte| b" \t\r\n".contains(&byte)) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.next() != Some(byte) {
            return Err(format!("{:?} is missing at byte {}", char::from(byte), self.at));
        }
        self.at += 1;
        Ok(())
    }

    /// Passes a string; where it stands, with its quotes.
    fn string(&mut self) -> Result<Range<usize>, String> {
        let start = self.at;
        self.expect(b'"')?;
        loop {
            match self.next() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(start..self.at);
                }
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => return Err("a string has no end".to_owned()),
            }
        }
    }

    /// Passes a value; where it stands, without the white space around it.
    fn value(&mut self) -> Result<Range<usize>, String> {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match self.next().ok_or("a value has no end")? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1).ok_or("a value is missing")?;
                    self.at += 1;
                }
                b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => {
                    self.at += 1;
                    continue;
                }
                // A number or a word.
                _ => {
                    while self.next().is_some_and(|byte| !b",:]} \t\r\n".contains(&byte)) {
                        self.at += 1;
                    }
                }
            }
            if depth == 0 {
                return Ok(start..self.at);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_specification_without_a_clear_number_is_refused() {
        for (spec, why) in [
            (r#"{"Name":"a"}"#, "no Mode"),
            (r#"{"Mode":{"Global":{}}}"#, "not Replicated"),
            (r#"{"Mode":{"Replicated":null}}"#, "not Replicated"),
            (r#"{"Mode":{"ReplicatedJob":{"MaxConcurrent":1,"Replicas":1}}}"#, "not Replicated"),
            (r#"{"Mode":{"Replicated":{}}}"#, "how many Replicas"),
            (r#"{"Mode":{"Replicated":{"Replicas":null}}}"#, "no plain number"),
            (r#"{"Mode":{"Replicated":{"Replicas":1e1}}}"#, "no plain number"),
            (r#"{"Mode":{"Replicated":{"Replicas":-1}}}"#, "no plain number"),
            (r#"{"Mode":{"Replicated":{"Replicas":"1"}}}"#, "no plain number"),
            (r#"{"Mode":{"Replicated":{"Replicas":1,"Replicas":2}}}"#, "not clear"),
            (r#"{"Mode":{"Replicated":{"Replicas":1,"R\u0065plicas":2}}}"#, "not clear"),
            (r#"{"Mode":{"Replicated":{"Replicas":1,"replicas":2}}}"#, "not clear"),
            (r#"{"Mode":{"Replicated":{"Replicas":1,"Replica\u017f":2}}}"#, "not clear"),
            (r#"{"Mode":{"Replicated":{"Replicas":1}},"MODE":{}}"#, "not clear"),
            (r#"{"mode":{"Replicated":{"Replicas":1}}}"#, "not clear"),
            (r#"{"Mode":[{"Replicated":{"Replicas":1}}]}"#, "no object"),
            (r#"{"Mode":{"Replicated":{"Replicas":1}}"#, "EOF"),
            (r#"{"Mode":{"Replicated":{"Replicas":01}}}"#, "invalid number"),
            ("[]", "no object"),
            ("", "EOF"),
        ] {
            let said = with_replicas(spec.as_bytes(), 7).unwrap_err();
            assert!(said.contains(why), "{spec}: {said}");
        }
    }

    #[test]
    fn the_specification_of_an_answer_is_not_the_previous_one() {
        let answer =
            br#"{"PreviousSpec":{"Spec":1}, "A":"\"Spec\":2", "Spec" : {"x": [1 ,2]} ,"B":{"Spec":3}}"#;
        let place = of_answer(answer).unwrap();
        assert_eq!(&answer[place], br#"{"x": [1 ,2]}"#);
        assert_eq!(of_answer(br#"{"PreviousSpec":{"Spec":1}}"#).unwrap_err(), "it has no Spec");
    }

    /// White space of any kind, most often none.
    fn space() -> impl Strategy<Value = String> {
        prop_oneof![4 => Just(String::new()), 1 => "[ \t\r\n]{1,3}"]
    }

    /// A value as text: numbers in every form, strings that look like members, and nested members that are called
    /// like those that are looked for.
    fn value() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            "0",
            "-0",
            "1",
            "1e3",
            "1.50",
            "-2E-7",
            "123456789012345678901234567890",
            "true",
            "null",
            "\"\"",
            r#""\"Replicas\":3""#,
            r#""}]{[,:\\""#,
            r#""{\"Mode\":{\"Replicated\":{\"Replicas\":4}}}""#,
            r#""\u003cReplicas\u003e""#,
            r#""\ud83d\ude00 ü\\""#,
            r#""Replicas""#,
            r#""\\\\\"""#,
        ]);
        leaf.prop_map(str::to_owned).prop_recursive(3, 24, 4, |inner| {
            let names = prop::sample::select(vec![
                "Spec",
                "Mode",
                "Replicated",
                "Replicas",
                "replicas",
                "R\\u0065plicas",
                "",
                "\\\"Replicas",
            ]);
            let members = prop::collection::vec((names, space(), inner.clone()), 0..4);
            let object = members.prop_map(|members| {
                let text = |(name, space, value)| format!("{space}\"{name}\"{space}:{space}{value}{space}");
                format!("{{{}}}", members.into_iter().map(text).collect::<Vec<_>>().join(","))
            });
            let array = prop::collection::vec((space(), inner), 0..4).prop_map(|values| {
                let text = |(space, value)| format!("{space}{value}{space}");
                format!("[{}]", values.into_iter().map(text).collect::<Vec<_>>().join(","))
            });
            prop_oneof![object, array]
        })
    }

    /// Members of an object, none of which is called `name`.
    fn others(name: &'static str) -> impl Strategy<Value = Vec<String>> {
        let names = vec![
            "Name",
            "Labels",
            "Spec",
            "Mode",
            "Replicated",
            "Replicas",
            "Global",
            "ReplicatedJob",
            "M\\u006fde ",
        ];
        let names = names.into_iter().filter(|other| *other != name).collect::<Vec<_>>();
        let member = (prop::sample::select(names), space(), value());
        let text = |(name, space, value)| format!("{space}\"{name}\"{space}:{value}{space}");
        prop::collection::vec(member.prop_map(text), 0..4)
    }

    /// What stands before and after a value in an object, where it is the only one that is called `name`, perhaps with
    /// an escape in it.
    fn around(name: &'static str) -> impl Strategy<Value = (String, String)> {
        (others(name), others(name), space(), any::<bool>()).prop_map(
            move |(before, after, space, escaped)| {
                let first = name.chars().next().unwrap_or_default();
                let name =
                    if escaped { format!("\\u{:04x}{}", u32::from(first), &name[1..]) } else { name.into() };
                let before: String = before.iter().map(|member| format!("{member},")).collect();
                let after: String = after.iter().map(|member| format!(",{member}")).collect();
                (format!("{space}{{{before}\"{name}\"{space}:{space}"), format!("{space}{after}}}{space}"))
            },
        )
    }

    /// A specification in three pieces, the middle one being the digits.
    fn specification() -> impl Strategy<Value = (String, u64, String)> {
        (around("Mode"), around("Replicated"), around("Replicas"), any::<u64>())
            .prop_map(|(a, b, c, digits)| ([a.0, b.0, c.0].concat(), digits, [c.1, b.1, a.1].concat()))
    }

    proptest! {
        #[test]
        fn only_the_digits_are_changed((before, digits, after) in specification(), number in any::<u64>()) {
            let spec = format!("{before}{digits}{after}");
            let changed = with_replicas(spec.as_bytes(), number).unwrap();
            prop_assert_eq!(String::from_utf8(changed).unwrap(), format!("{before}{number}{after}"));
            let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
            let mut wanted = value(spec.as_bytes());
            wanted["Mode"]["Replicated"]["Replicas"] = number.into();
            prop_assert_eq!(value(format!("{before}{number}{after}").as_bytes()), wanted);

            let mut answer = format!("{{\"PreviousSpec\":{spec},\"Spec\":").into_bytes();
            let start = answer.len();
            answer.extend_from_slice(spec.trim().as_bytes());
            answer.extend_from_slice(b" ,\"Endpoint\":{\"Spec\":{}}}");
            prop_assert_eq!(of_answer(&answer).unwrap(), start..start + spec.trim().len());
        }

        /// A second member that an engine would take for one of the three is never chosen between.
        #[test]
        fn what_is_there_twice_is_refused(
            (before, digits, after) in specification(),
            twin in prop::sample::select(vec!["Mode", "mode", "MODE", "M\\u006fde", "m\\u004fde"]),
            value in value(),
            first in any::<bool>(),
        ) {
            let spec = format!("{before}{digits}{after}");
            let inner = spec.trim().strip_prefix('{').unwrap().strip_suffix('}').unwrap();
            let spec = if first {
                format!("{{\"{twin}\":{value},{inner}}}")
            } else {
                format!("{{{inner},\"{twin}\":{value}}}")
            };
            prop_assert!(with_replicas(spec.as_bytes(), 1).unwrap_err().contains("not clear"), "{spec}");
        }

        /// Whatever becomes of the bytes, they are refused, or nothing but digits is changed.
        #[test]
        fn no_bytes_are_a_panic(
            (before, digits, after) in specification(),
            cut in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let mut spec = format!("{before}{digits}{after}").into_bytes();
            for (at, byte) in changes {
                let at = at.index(spec.len());
                spec[at] = byte;
            }
            spec.truncate(cut.index(spec.len() * 2));
            let _ = of_answer(&spec);
            if let Ok(place) = replicas(&spec) {
                let changed = with_replicas(&spec, 1).unwrap();
                prop_assert_eq!(&changed[..place.start], &spec[..place.start]);
                prop_assert_eq!(&changed[place.start + 1..], &spec[place.end..]);
            }
        }
    }
}
