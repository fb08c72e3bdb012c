//! Any bytes as the body of a PUT: what strict JSON accepts reads the same, and what is read can be written and read again.
#![no_main]

use serde_json::Value;
use tables::lenient::parse;

/// Numbers, names that occur twice and depth are where the two may rightly differ.
fn plain(value: &Value, depth: usize) -> bool {
    match value {
        Value::Number(number) => number.is_i64(),
        Value::Array(list) => depth > 0 && list.iter().all(|value| plain(value, depth - 1)),
        Value::Object(object) => depth > 0 && object.values().all(|value| plain(value, depth - 1)),
        _ => true,
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let lenient = parse(text);
    if let Ok(strict) = serde_json::from_str::<Value>(text)
        && plain(&strict, 30)
    {
        assert_eq!(lenient.as_ref(), Ok(&strict), "{text:?}");
    }
    if let Ok(value) = lenient {
        let again = parse(&value.to_string()).expect("what is written can be read");
        assert_eq!(plain(&value, 30), plain(&again, 30));
        if plain(&value, 30) {
            assert_eq!(again, value);
        }
    }
});
