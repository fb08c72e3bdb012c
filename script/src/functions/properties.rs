//! Properties that the operator has set for scripts.

use serde_json::Value as Json;

use crate::catalogue::Function;

pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "getSystemProperty",
        parameters: "name",
        what: "Gives the text of a property that the operator has set, `--set NAME=VALUE`, and `null` where there is none.",
        example: "var limit = parseInt(getSystemProperty('ddos.threshold') || '1000');",
        call: |script, call| {
            let name = call.text(0)?;
            call.give_plain(script.world.config.properties.get(&name).map(String::as_str))
        },
    },
    Function {
        name: "getSystemPropertyNames",
        parameters: "",
        what: "Gives an array of the names of all properties, sorted.",
        example: "getSystemPropertyNames().forEach(function(name) { logInfo(name + '=' + getSystemProperty(name)); });",
        call: |script, call| {
            let names: Json = script.world.config.properties.keys().cloned().collect();
            call.give(&names)
        },
    },
];
