//! Definitions: flows, thresholds, groups, maps, forwarding.

use std::rc::Rc;

use engine::DefineError;
use rquickjs::Value;
use serde_json::{Value as Json, json};
use tables::{Change, wording};

use crate::call::Call;
use crate::catalogue::Function;
use crate::lines::Level;
use crate::script::Script;

pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "setFlow",
        parameters: "name, spec",
        what: "Defines a flow; `spec` is what `PUT /flow/NAME/json` takes. All workers have taken it when this returns. \
               Throws when the definition is wrong, and says what is. A function whose data the operator has not given, \
               such as `country:`, finds nothing, and a line of the log names the option; so does a group set or map that is \
               not there yet. What a script defines is there \
               as long as the script is one that is to run, though it may have come to its end: it goes when the operator \
               takes the script away, or the script starts anew and does not define it again, and is in no state file. A \
               definition that was there before and is not a script's is changed, and stays.",
        example: "try {\n  setFlow('dns', {keys: 'ipsource,dnsqname', value: 'frames', filter: 'dnsqr=false'});\n} \
                  catch (e) { logWarning(e); }",
        call: |script, call| {
            let defined = define(script, &call, Change::Flow)?;
            tell_missing(script, &call.text(0)?);
            Ok(defined)
        },
    },
    Function {
        name: "clearFlow",
        parameters: "name",
        what: "Takes a flow away, whoever has defined it; its live flows end with their records.",
        example: "setFlow('now', {keys: 'stack', value: 'frames'});\nclearFlow('now');",
        call: |script, call| clear(script, &call, Change::Flow),
    },
    Function {
        name: "setThreshold",
        parameters: "name, spec",
        what: "Defines a threshold; `spec` is what `PUT /threshold/NAME/json` takes: `{metric, value[, filter[, byFlow[, \
               timeout]]]}`. Throws when the definition is wrong, and says what is.",
        example: "setThreshold('elephant', {metric: 'flows', value: 1e8, byFlow: true, timeout: 10});",
        call: |script, call| define(script, &call, Change::Threshold),
    },
    Function {
        name: "clearThreshold",
        parameters: "name",
        what: "Takes a threshold away, whoever has defined it.",
        example: "setThreshold('t', {metric: 'load_one', value: 1});\nclearThreshold('t');",
        call: |script, call| clear(script, &call, Change::Threshold),
    },
    Function {
        name: "setGroups",
        parameters: "[name, ]groups",
        what: "Defines a set of groups, of which the function `group:KEY:NAME` of flows tells the one that an address is \
               in: `{group: ['10.0.0.0/8', '2001:db8::1']}`. The whole set is swapped at once. Without a name it is the \
               set `default`. Gives whether it could be defined; why not is a line of the log.",
        example: "var ok = setGroups('sites', {london: ['10.1.0.0/16'], oslo: ['10.2.0.0/16', '192.0.2.1']});\n\
                  if (ok) setFlow('traffic', {keys: 'group:ipsource:sites,group:ipdestination:sites', value: 'bytes'});",
        call: |script, call| {
            let is_old_form = call.value(0).is_some_and(Value::is_object);
            let at = usize::from(!is_old_form);
            let name = if is_old_form { "default".to_owned() } else { call.text(0)? };
            attempt(script, &call, name, at, Change::Group)
        },
    },
    Function {
        name: "setMap",
        parameters: "name, map",
        what: "Defines a map, of which the function `map:KEY:NAME` of flows tells the label that a value has: `{label: \
               [values]}`; values are compared as text. The whole map is swapped at once. Gives whether it could be \
               defined; why not is a line of the log.",
        example: "setMap('service', {web: ['80', '443'], mail: [25]});\n\
                  setFlow('services', {keys: 'map:tcpdestinationport:service', value: 'bytes'});",
        call: |script, call| {
            let name = call.text(0)?;
            attempt(script, &call, name, 1, Change::Map)
        },
    },
    Function {
        name: "setForward",
        parameters: "name, address[, port]",
        what: "Sends all datagrams on to this IP address and port, 6343 without one. Throws when they cannot be sent \
               there.",
        example: "setForward('archive', '127.0.0.1', 6344);",
        call: |script, call| {
            let (name, address) = (call.text(0)?, call.text(1)?);
            let port = call.optional_number(2)?;
            let mut spec = json!({ "address": address });
            if let Some(port) = port {
                spec["port"] = engine::json::number(port);
            }
            defined(script, &call, &name, Change::Forwarding(name.clone(), Some(spec)))
        },
    },
    Function {
        name: "clearForward",
        parameters: "name",
        what: "Sends them there no more.",
        example: "setForward('archive', '127.0.0.1');\nclearForward('archive');",
        call: |script, call| clear(script, &call, Change::Forwarding),
    },
];

type Of = fn(String, Option<Json>) -> Change;

/// Says which data a flow looks up that is not there.
fn tell_missing(script: &Rc<Script>, name: &str) {
    let program = script.world.engine.program();
    let Some(plan) = program.flows.get(name) else { return };
    let missing = plan.missing(&program.lookups.references);
    if !missing.is_empty() {
        let options = missing.join(", ");
        script
            .log(Level::Warning, &format!("setFlow: {name}: what needs the options {options} finds nothing"));
    }
}

/// Defines what the first two arguments say.
fn define<'js>(script: &Rc<Script>, call: &Call<'js>, of: Of) -> rquickjs::Result<Value<'js>> {
    let (name, spec) = (call.text(0)?, call.json(1)?);
    defined(script, call, &name, of(name.clone(), Some(spec)))
}

fn defined<'js>(
    script: &Rc<Script>,
    call: &Call<'js>,
    name: &str,
    change: Change,
) -> rquickjs::Result<Value<'js>> {
    make(script, name, change).map_err(|error| call.fail(error))?;
    call.nothing()
}

/// Defines what the argument at this place says, and gives whether that could be.
fn attempt<'js>(
    script: &Rc<Script>,
    call: &Call<'js>,
    name: String,
    at: usize,
    of: Of,
) -> rquickjs::Result<Value<'js>> {
    let spec = call.json(at)?;
    let came = make(script, &name, of(name.clone(), Some(spec)));
    if let Err(why) = &came {
        script.log(Level::Warning, &format!("{}: {name}: {why}", call.name()));
    }
    call.give_plain(came.is_ok())
}

fn make(script: &Rc<Script>, name: &str, change: Change) -> Result<(), DefineError> {
    wording::check_name(name).map_err(|error| DefineError::Change(error.into()))?;
    let world = &script.world;
    world.shared.definitions.define(&world.engine, &script.name, change)
}

fn clear<'js>(script: &Rc<Script>, call: &Call<'js>, of: Of) -> rquickjs::Result<Value<'js>> {
    let change = of(call.text(0)?, None);
    let world = &script.world;
    world.shared.definitions.clear(&world.engine, change).map_err(|error| call.fail(error))?;
    call.nothing()
}
