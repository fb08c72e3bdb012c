//! What calls the script: flows, events, requests, the clock.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rquickjs::function::Args;
use rquickjs::{Ctx, Function as JsFunction, Persistent, Value};

use crate::call::Call;
use crate::catalogue::Function;
use crate::mailbox::Of;
use crate::script::{Interval, Kept};

/// The shortest and the longest interval, seconds.
const SHORTEST_S: f64 = 0.01;
const LONGEST_S: f64 = 1e8;

pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "setFlowHandler",
        parameters: "handler[, names]",
        what: "Calls `handler` with each record of the flow log, as `/flows/json` has them; `names` are the definitions \
               whose records are wanted, an array or separated by commas. Without it they are those of all flows that scripts \
               and clients have defined: the built-in `flows` and those of capture policies have to be named. One is set; a later \
               call replaces it. Records that find 1000 waiting (`queue`) are lost and counted in `flowsLost`.",
        example: "setFlow('pairs', {keys: 'ipsource,ipdestination', value: 'frames', log: true, flowStart: true});\n\
                  setFlowHandler(function(rec) { logInfo(rec.agent + ' sees ' + rec.flowKeys); }, ['pairs']);",
        call: |script, call| {
            let (handler, names) = (kept(&call, 0)?, call.texts(1)?);
            script.handlers.borrow_mut().flow = Some(handler);
            let unasked = &script.world.config.unasked;
            script.wanted.flows.set(named(names).unwrap_or_else(|| Of::AllBut(unasked.clone())));
            call.nothing()
        },
    },
    Function {
        name: "clearFlowHandler",
        parameters: "",
        what: "Calls no handler of flows any more.",
        example: "setFlowHandler(function(rec) { clearFlowHandler(); });\nclearFlowHandler();",
        call: |script, call| {
            script.wanted.flows.clear();
            let former = script.handlers.borrow_mut().flow.take();
            drop(former);
            call.nothing()
        },
    },
    Function {
        name: "setEventHandler",
        parameters: "handler[, thresholds]",
        what: "Calls `handler` with each event of a threshold, as `/events/json` has them; `thresholds` are those whose \
               events are wanted, an array or separated by commas, and all of them without it. Events that find 1000 \
               waiting (`queue`) are lost and counted in `eventsLost`.",
        example: "setThreshold('busy', {metric: 'ifinutilization', value: 80, timeout: 10});\n\
                  setEventHandler(function(evt) { logWarning(evt.agent + ' ' + evt.dataSource + ' is busy'); }, ['busy']);",
        call: |script, call| {
            let (handler, names) = (kept(&call, 0)?, call.texts(1)?);
            script.handlers.borrow_mut().event = Some(handler);
            script.wanted.events.set(named(names).unwrap_or_else(|| Of::AllBut(BTreeSet::new())));
            call.nothing()
        },
    },
    Function {
        name: "clearEventHandler",
        parameters: "",
        what: "Calls no handler of events any more.",
        example: "clearEventHandler();",
        call: |script, call| {
            script.wanted.events.clear();
            let former = script.handlers.borrow_mut().event.take();
            drop(former);
            call.nothing()
        },
    },
    Function {
        name: "setIntervalHandler",
        parameters: "handler[, seconds]",
        what: "Calls `handler` every so many seconds, every second without it, with the time in milliseconds since 1970. \
               Calls never overlap: those that would have come meanwhile are left out.",
        example: "setIntervalHandler(function(now) { logFine('it is ' + new Date(now)); }, 10);",
        call: |script, call| {
            let handler = kept(&call, 0)?;
            let seconds = call.optional_number(1)?.unwrap_or(1.0);
            if !(SHORTEST_S..=LONGEST_S).contains(&seconds) {
                return Err(call.wrong(1, "must be 0.01 seconds at least"));
            }
            let every = Duration::from_secs_f64(seconds);
            let interval = Interval { handler, every, next: Instant::now() + every };
            script.handlers.borrow_mut().interval = Some(interval);
            call.nothing()
        },
    },
    Function {
        name: "clearIntervalHandler",
        parameters: "",
        what: "Calls no handler by the clock any more; timers of `setTimeout` stay.",
        example: "clearIntervalHandler();",
        call: |script, call| {
            let former = script.handlers.borrow_mut().interval.take();
            drop(former);
            call.nothing()
        },
    },
    Function {
        name: "setHttpHandler",
        parameters: "handler",
        what: "Calls `handler` with each request to `/script/NAME/...`: `{method, path, query, body, format}`, where \
               `path` are the parts after the script's name, `query` is an object of arrays, `body` is parsed JSON or the \
               text, and `format` is the last part, `json` or `txt`, say; `error` says why a body is no JSON. What it \
               returns is the answer: a text as it is, anything else as JSON. It may throw `'bad_request'`, \
               `'not_found'`, `'service_unavailable'` or `'internal_server_error'`.",
        example: "var enabled = false;\n\
                  setHttpHandler(function(req) {\n  if (req.query.state) enabled = req.query.state[0] === 'enabled';\n  \
                  return {enabled: enabled};\n});",
        call: |script, call| {
            let handler = kept(&call, 0)?;
            script.handlers.borrow_mut().request = Some(handler);
            script.wanted.requests.store(true, Relaxed);
            call.nothing()
        },
    },
    Function {
        name: "clearHttpHandler",
        parameters: "",
        what: "Answers requests no more: they get the status 404.",
        example: "clearHttpHandler();",
        call: |script, call| {
            script.wanted.requests.store(false, Relaxed);
            let former = script.handlers.borrow_mut().request.take();
            drop(former);
            call.nothing()
        },
    },
    Function {
        name: "setTimeout",
        parameters: "handler[, ms[, argument, ...]]",
        what: "Calls `handler` once, after so many milliseconds, with the arguments that follow. Gives the timer's number; \
               a script has 10,000 timers at most.",
        example: "setTimeout(function(who) { logInfo('hello, ' + who); }, 100, 'fabric');",
        call: |script, call| {
            let handler = kept(&call, 0)?;
            let ms = call.optional_number(1)?.unwrap_or(0.0).clamp(0.0, LONGEST_S * 1000.0);
            let arguments: Vec<_> = (2..call.len())
                .map(|at| {
                    let value = call.value(at).cloned().unwrap_or(Value::new_null(call.ctx.clone()));
                    Persistent::save(&call.ctx, value)
                })
                .collect();
            let later = move |ctx: &Ctx<'_>| {
                let mut args = Args::new(ctx.clone(), arguments.len());
                for argument in arguments {
                    args.push_arg(argument.restore(ctx)?)?;
                }
                handler.restore(ctx)?.call_arg::<()>(args)
            };
            let at = Instant::now() + Duration::from_secs_f64(ms / 1000.0);
            let number = script.handlers.borrow_mut().set_timer(at, Box::new(later));
            call.give_plain(number.map_err(|why| call.fail(why))? as f64)
        },
    },
    Function {
        name: "clearTimeout",
        parameters: "timer",
        what: "Does not call the handler of this timer after all.",
        example: "var late = setTimeout(function() { logWarning('late'); }, 5000);\nclearTimeout(late);",
        call: |script, call| {
            if let Some(number) = call.optional_number(0)? {
                script.handlers.borrow_mut().clear_timer(number as u64);
            }
            call.nothing()
        },
    },
];

fn kept<'js>(call: &Call<'js>, at: usize) -> rquickjs::Result<Kept> {
    let handler: JsFunction<'js> = call.function(at)?;
    Ok(Persistent::save(&call.ctx, handler))
}

/// The definitions that are named; `None` when none is.
fn named(names: Vec<String>) -> Option<Of> {
    (!names.is_empty()).then(|| Of::Named(names.into_iter().collect()))
}
