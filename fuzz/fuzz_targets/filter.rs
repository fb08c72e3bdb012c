//! Any text as a filter; its opposite lets through what it leaves out.
#![no_main]

mod samples;

use serde_json::json;
use tables::flow::{FlowPlan, FlowSpec};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let compile = |filter: &str| {
        let spec = FlowSpec::from_json(&json!({"value": "bits:[null:frames:1]:1", "filter": filter})).ok()?;
        FlowPlan::compile(spec, &samples::lookups()).ok()
    };
    let Some(plan) = compile(text) else { return };
    samples::each(|sampled| samples::take(&plan, sampled));
    // Brackets around a whole filter change nothing.
    let bracketed = format!("({text})");
    let Some(same) = compile(&bracketed) else { return };
    samples::each(|sampled| {
        assert_eq!(samples::passes(&plan, sampled), samples::passes(&same, sampled), "{text}");
    });
});
