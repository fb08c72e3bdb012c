//! Baselines: whether a value is like those before it. Each script has its own, by name.

use std::collections::BTreeMap;

use rquickjs::{Coerced, FromJs};
use serde_json::{Value as Json, json};

use crate::call::Call;
use crate::catalogue::Function;
use crate::script::Script;
use crate::text::baseline::{Baseline, LARGEST_WINDOW, REPEAT, SENSITIVITY, WINDOW};

/// Baselines of a script, and values in the windows of all of them, at most.
const MOST_BASELINES: usize = 10_000;
const MOST_VALUES: usize = 1_000_000;

/// The baselines of a script.
pub(crate) type Baselines = BTreeMap<String, Baseline>;

pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "baselineCreate",
        parameters: "name[, window[, sensitivity[, repeat]]]",
        what: "Makes a baseline that knows nothing yet, or makes one of this name anew. It compares with the last `window` values \
               (180; 10,000 at most); a value is outside when it is more than `sensitivity` standard deviations (2) from their \
               mean, and so many of them in a row on one side, `repeat` (3), are an anomaly. A script has 10,000 baselines at \
               most, with a million values in all windows.",
        example: "baselineCreate('load', 20, 2, 2);\n\
                  setIntervalHandler(function() {\n  \
                  if (baselineCheck('load', Math.random()) === 'high') logWarning('unusual load');\n});",
        call: |script, call| {
            let name = call.text(0)?;
            let window = call.optional_number(1)?.unwrap_or(WINDOW as f64);
            if !(1.0..=LARGEST_WINDOW as f64).contains(&window) {
                return Err(call.wrong(1, "must be 1 to 10000 values"));
            }
            let sensitivity = call.optional_number(2)?.unwrap_or(SENSITIVITY);
            if sensitivity < 0.0 {
                return Err(call.wrong(2, "must not be negative"));
            }
            let repeat =
                call.optional_number(3)?.unwrap_or(f64::from(REPEAT)).clamp(1.0, f64::from(u32::MAX));
            let mut baselines = script.baselines.borrow_mut();
            let others =
                || baselines.iter().filter(|(other, _)| **other != name).map(|(_, one)| one.window());
            if others().count() >= MOST_BASELINES || others().sum::<usize>() + window as usize > MOST_VALUES {
                let why = "a script has 10,000 baselines at most, with 1,000,000 values in all their windows: \
                           take away what is not needed with baselineDelete";
                return Err(call.fail(why));
            }
            baselines.insert(name, Baseline::new(window as usize, sensitivity, repeat as u32));
            call.nothing()
        },
    },
    Function {
        name: "baselineCheck",
        parameters: "name, value",
        what: "Takes the next value and gives what it is: `'learning'` until the window is full, then `'normal'`, or `'high'` or \
               `'low'` when it and enough values before it were outside. Every value joins the window, so that a lasting change becomes \
               normal. What is no finite number changes nothing and gives the state as it was. Throws an error for a name that was \
               not made.",
        example: "baselineCreate('flows', 3, 1, 1);\n\
                  [10, 10, 10, 10].forEach(function(value) { baselineCheck('flows', value); });\n\
                  logInfo(baselineCheck('flows', 50));",
        call: |script, call| {
            let value = match call.value(1) {
                Some(value) => Coerced::<f64>::from_js(&call.ctx, value.clone())?.0,
                None => f64::NAN,
            };
            let state = known(script, &call, |baseline| baseline.check(value))?;
            call.give_plain(state.label())
        },
    },
    Function {
        name: "baselineStatistics",
        parameters: "name",
        what: "What the values of a window are like: `{mean, variance, sdev, min, max}`, where `sdev` is the root of the mean squared \
               distance from the mean, and `min` and `max` are the smallest and largest value; null while it is learning. Throws \
               an error for a name that was not made.",
        example: "baselineCreate('flows', 3);\n\
                  [10, 20, 30].forEach(function(value) { baselineCheck('flows', value); });\n\
                  logInfo(baselineStatistics('flows').mean);",
        call: |script, call| {
            let statistics = known(script, &call, |baseline| baseline.statistics())?;
            let json = statistics.map_or(Json::Null, |found| {
                json!({
                    "mean": found.mean,
                    "variance": found.variance,
                    "sdev": found.sdev,
                    "min": found.min,
                    "max": found.max,
                })
            });
            call.give(&json)
        },
    },
    Function {
        name: "baselineReset",
        parameters: "name",
        what: "Has a baseline forget its values and learn anew. Throws an error for a name that was not made.",
        example: "baselineCreate('flows', 3);\nbaselineReset('flows');",
        call: |script, call| {
            known(script, &call, Baseline::reset)?;
            call.nothing()
        },
    },
    Function {
        name: "baselineDelete",
        parameters: "name",
        what: "Takes a baseline away. One that is not there stays away.",
        example: "baselineCreate('flows', 3);\nbaselineDelete('flows');",
        call: |script, call| {
            let name = call.text(0)?;
            script.baselines.borrow_mut().remove(&name);
            call.nothing()
        },
    },
];

/// Does something with the baseline of the first argument.
fn known<T>(script: &Script, call: &Call<'_>, work: impl FnOnce(&mut Baseline) -> T) -> rquickjs::Result<T> {
    let name = call.text(0)?;
    let mut baselines = script.baselines.borrow_mut();
    match baselines.get_mut(&name) {
        Some(baseline) => Ok(work(baseline)),
        None => Err(call.fail(format!("there is no baseline {name:?}: make it with baselineCreate"))),
    }
}
