//! Any text as a flow definition; one that compiles takes packets, operations and custom flows.
//!
//! Input that is no JSON object is taken as keys, a line break, and a value.
#![no_main]

mod samples;

use serde_json::{Value, json};
use tables::flow::{FlowPlan, FlowSpec};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let json: Value = serde_json::from_str(text).ok().filter(Value::is_object).unwrap_or_else(|| {
        let (keys, value) = text.split_once('\n').unwrap_or((text, "bytes"));
        json!({"keys": keys, "value": value})
    });
    let Ok(spec) = FlowSpec::from_json(&json) else { return };
    let again = FlowSpec::from_json(&spec.to_json()).expect("what is shown is understood");
    assert_eq!(again, spec);
    let Ok(plan) = FlowPlan::compile(spec, &samples::lookups()) else { return };
    samples::each(|sampled| samples::take(&plan, sampled));
});
