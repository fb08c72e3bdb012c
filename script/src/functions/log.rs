//! Lines of the collector's log.

use std::rc::Rc;

use rquickjs::function::Rest;
use rquickjs::{Ctx, Function as JsFunction, Object, Value};

use crate::call::{Call, text_of};
use crate::catalogue::Function;
use crate::lines::Level;
use crate::script::Script;

pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "logFine",
        parameters: "text",
        what: "Takes a line that is not written: the log has no level below INFO.",
        example: "logFine('looked at ' + 3 + ' ports');",
        call: |_, call| call.nothing(),
    },
    Function {
        name: "logInfo",
        parameters: "text",
        what: "Writes a line of the level INFO.",
        example: "logInfo('web set replicas=' + 4);",
        call: |script, call| write(script, &call, Level::Info),
    },
    Function {
        name: "logWarning",
        parameters: "text",
        what: "Writes a line of the level WARNING.",
        example: "logWarning('no active members for service=web');",
        call: |script, call| write(script, &call, Level::Warning),
    },
    Function {
        name: "logSevere",
        parameters: "text",
        what: "Writes a line of the level SEVERE.",
        example: "logSevere('gave up after 3 tries');",
        call: |script, call| write(script, &call, Level::Severe),
    },
];

fn write<'js>(script: &Rc<Script>, call: &Call<'js>, level: Level) -> rquickjs::Result<Value<'js>> {
    let text = call.written(0)?;
    script.log(level, &text);
    call.nothing()
}

/// The object `console`, which the incumbent's scripts do not have and everybody expects.
pub(crate) fn console<'js>(ctx: &Ctx<'js>, script: &Rc<Script>) -> rquickjs::Result<Object<'js>> {
    let console = Object::new(ctx.clone())?;
    for (name, level) in
        [("log", Level::Info), ("info", Level::Info), ("warn", Level::Warning), ("error", Level::Severe)]
    {
        let script = Rc::clone(script);
        let write = move |ctx: Ctx<'js>, words: Rest<Value<'js>>| -> rquickjs::Result<()> {
            let words = words.0.iter().map(|word| shown(&ctx, word)).collect::<rquickjs::Result<Vec<_>>>()?;
            script.log(level, &words.join(" "));
            Ok(())
        };
        console.set(name, JsFunction::new(ctx.clone(), write)?)?;
    }
    console.set("debug", JsFunction::new(ctx.clone(), |_: Rest<Value<'js>>| {})?)?;
    Ok(console)
}

/// A word: objects as JSON, all else as text.
fn shown<'js>(ctx: &Ctx<'js>, word: &Value<'js>) -> rquickjs::Result<String> {
    if word.is_object()
        && !word.is_function()
        && !word.is_error()
        && let Some(text) = ctx.json_stringify(word.clone())?
    {
        return text.to_string();
    }
    text_of(ctx, word)
}
