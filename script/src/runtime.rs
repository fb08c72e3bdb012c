//! QuickJS with its limits: memory, stack, and the time of a call.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rquickjs::context::EvalOptions;
use rquickjs::object::Property;
use rquickjs::{CatchResultExt, CaughtError, Context, Ctx, Exception, Object, Runtime, Value};
use tokio::sync::watch;

use crate::call::text_of;
use crate::config::Limits;
use crate::lines::cut;
use crate::source::{Columns, Source};

/// Stack of a script, bytes; that of its thread has to be larger.
const STACK: usize = 1 << 20;

/// What promises of one call have thrown, told with its words.
const MOST_TOLD: usize = 16;

/// How long promises that have come to no end within a call are gone on with: after that call, where each that is met is
/// interrupted, and after every further one, as long as there are any.
const BEYOND: Duration = Duration::from_millis(100);

/// The function through which what is thrown goes, see `source`. What is no error has no stack: it is noted here with one.
const THROWN: &str = "__finderscope_thrown";
const NOTES: &str = "((E) => {\n\
    const noted = (value) => {\n\
        if (!(value instanceof E)) { noted.value = value; noted.stack = new E().stack; }\n\
        return value;\n\
    };\n\
    return noted;\n\
})(Error)";

/// A script's runtime and its globals.
pub(crate) struct Js {
    runtime: Runtime,
    context: Context,
    clock: Rc<Clock>,
    rejected: Rc<RefCell<Vec<Rejected>>>,
    promised: RefCell<Promised>,
    /// Whether promises of an earlier call have come to no end.
    endless: Cell<bool>,
}

/// What promises have thrown and nobody has caught.
#[derive(Debug, Default)]
pub(crate) struct Promised {
    pub(crate) thrown: Vec<Thrown>,
    /// How many others there were.
    pub(crate) others: u64,
}

/// A rejection that nobody has handled yet.
struct Rejected {
    /// The promise's identity.
    promise: u64,
    text: String,
}

/// How long the call that runs may take.
struct Clock {
    limit: Duration,
    deadline: Cell<Instant>,
    interrupted: Cell<bool>,
    end: watch::Receiver<bool>,
}

/// An exception that a script did not catch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Thrown {
    /// What it says, after the place where it came from.
    pub(crate) text: String,
    /// The text itself, when a text was thrown.
    pub(crate) value: Option<String>,
    /// The call took too long, or the script was asked to end.
    pub(crate) interrupted: bool,
}

impl Js {
    /// A runtime without our functions.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(crate) fn new(limits: &Limits, end: watch::Receiver<bool>) -> rquickjs::Result<Self> {
        let runtime = Runtime::new()?;
        runtime.set_memory_limit(limits.memory_bytes);
        runtime.set_max_stack_size(STACK);
        let clock = Rc::new(Clock {
            limit: limits.call,
            deadline: Cell::new(Instant::now() + limits.call),
            interrupted: Cell::new(false),
            end,
        });
        let asked = Rc::clone(&clock);
        runtime.set_interrupt_handler(Some(Box::new(move || asked.is_over())));
        let rejected = Rc::<RefCell<Vec<Rejected>>>::default();
        let told = Rc::clone(&rejected);
        runtime.set_host_promise_rejection_tracker(Some(Box::new(
            move |ctx, promise, reason, is_handled| {
                let promise = identity(&promise);
                if is_handled {
                    let mut told = told.borrow_mut();
                    if let Some(at) = told.iter().rposition(|one| one.promise == promise) {
                        told.remove(at);
                    }
                } else if told.borrow().len() < MOST_TOLD {
                    // Making a text of it may run the script, which may reject others.
                    let text = said(&ctx, &reason).unwrap_or_default();
                    let mut told = told.borrow_mut();
                    if told.len() < MOST_TOLD {
                        told.push(Rejected { promise, text });
                    }
                }
            },
        )));
        let context = Context::full(&runtime)?;
        context.with(|ctx| {
            let notes: Value<'_> = ctx.eval(NOTES)?;
            ctx.globals().prop(THROWN, Property::from(notes))
        })?;
        let promised = RefCell::default();
        Ok(Self { runtime, context, clock, rejected, promised, endless: Cell::new(false) })
    }

    /// Runs this with the time of one call, and what it has promised to do afterwards.
    ///
    /// # Errors
    /// What the script did not catch.
    pub(crate) fn call<T>(
        &self,
        work: impl for<'js> FnOnce(&Ctx<'js>) -> rquickjs::Result<T>,
    ) -> Result<T, Thrown> {
        self.call_at(Instant::now(), work)
    }

    /// The same, for who knows what time it is.
    ///
    /// # Errors
    /// What the script did not catch.
    pub(crate) fn call_at<T>(
        &self,
        now: Instant,
        work: impl for<'js> FnOnce(&Ctx<'js>) -> rquickjs::Result<T>,
    ) -> Result<T, Thrown> {
        self.clock.interrupted.set(false);
        self.clock.deadline.set(now + self.clock.limit);
        let came = self.context.with(|ctx| work(&ctx).catch(&ctx).map_err(|error| self.thrown(&ctx, error)));
        if self.runtime.is_job_pending() || !self.rejected.borrow().is_empty() {
            self.jobs();
        }
        came
    }

    /// Runs a script's text; `name` is what its exceptions call it.
    ///
    /// # Errors
    /// It cannot be parsed, or what it and its promises did not catch.
    pub(crate) fn evaluate(&self, name: &str, text: &str) -> Result<(), Thrown> {
        self.call(|ctx| evaluate(ctx, name, text).map(|_| ()))?;
        match self.promised().and_then(|promised| promised.thrown.into_iter().next()) {
            Some(thrown) => Err(thrown),
            None => Ok(()),
        }
    }

    /// What promises have left to do; what they throw is kept for [`Js::promised`].
    fn jobs(&self) {
        let was_endless = self.endless.get();
        let mut promised = Promised::default();
        let mut stop = was_endless.then(|| Instant::now() + BEYOND);
        while self.runtime.is_job_pending() {
            let is_told = self.clock.interrupted.get();
            match stop {
                None if self.clock.is_over() => {
                    if !is_told {
                        promised.add(self.late(None));
                    }
                    stop = Some(Instant::now() + BEYOND);
                }
                Some(stop) if Instant::now() >= stop => break,
                _ => {}
            }
            let Err(error) = self.runtime.execute_pending_job() else { continue };
            let thrown = error.0.with(|ctx| {
                let error = rquickjs::Error::Exception;
                self.thrown(&ctx, CaughtError::from_error(&ctx, error))
            });
            // Beyond the end of a call each is interrupted, and one was told.
            if stop.is_none() {
                promised.add(thrown);
            }
        }
        self.endless.set(self.runtime.is_job_pending());
        let rejected = std::mem::take(&mut *self.rejected.borrow_mut());
        for Rejected { text, .. } in rejected {
            let text = format!("a rejected promise that nobody handled: {text}");
            promised.add(Thrown { text, value: None, interrupted: false });
        }
        // Where promises of an earlier call go on, nobody can tell whose these are: they are no failure of this call.
        if !was_endless {
            *self.promised.borrow_mut() = promised;
        }
    }

    /// What promises of the last call have thrown; `None` where that is nothing.
    pub(crate) fn promised(&self) -> Option<Promised> {
        let mut promised = self.promised.borrow_mut();
        (!promised.thrown.is_empty()).then(|| std::mem::take(&mut *promised))
    }

    fn thrown<'js>(&self, ctx: &Ctx<'js>, error: CaughtError<'js>) -> Thrown {
        if self.clock.interrupted.get() {
            let stack = match error {
                CaughtError::Exception(exception) => exception.stack(),
                _ => None,
            };
            return self.late(stack.as_deref().and_then(place));
        }
        match error {
            CaughtError::Exception(exception) => {
                let text = said(ctx, &exception.into_object().into_value()).unwrap_or_default();
                Thrown { text, value: None, interrupted: false }
            }
            CaughtError::Value(value) => {
                let text = said(ctx, &value).unwrap_or_default();
                let value = value.as_string().and_then(|text| text.to_string().ok());
                Thrown { text, value, interrupted: false }
            }
            CaughtError::Error(error) => Thrown { text: error.to_string(), value: None, interrupted: false },
        }
    }

    /// What is said of a call that was interrupted, at this place where that is known.
    fn late(&self, place: Option<&str>) -> Thrown {
        let what = match *self.clock.end.borrow() {
            true => "was interrupted, because it is to end".to_owned(),
            false => {
                format!("took longer than {} ms and was interrupted", self.clock.limit.as_millis())
            }
        };
        let text = match place {
            Some(place) => format!("{} {what}", written(place)),
            None => what,
        };
        Thrown { text, value: None, interrupted: true }
    }

    /// Memory of the script's values, bytes. This walks all of them.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.runtime.memory_usage().malloc_size.try_into().unwrap_or(0)
    }
}

impl Promised {
    fn add(&mut self, thrown: Thrown) {
        match self.thrown.len() < MOST_TOLD {
            true => self.thrown.push(thrown),
            false => self.others += 1,
        }
    }
}

impl Clock {
    /// Whether what runs has to be interrupted; asked every few thousand steps of the script.
    fn is_over(&self) -> bool {
        let over = *self.end.borrow() || Instant::now() >= self.deadline.get();
        if over {
            self.interrupted.set(true);
        }
        over
    }
}

thread_local! {
    /// The columns of texts that were rewritten, by name. A script has a thread of its own, and all its texts run there.
    static COLUMNS: RefCell<BTreeMap<String, Columns>> = const { RefCell::new(BTreeMap::new()) };
}

/// Runs a text among the globals, as scripts of the field are: sloppy, not strict, and with what `source` takes of Rhino's
/// extensions.
pub(crate) fn evaluate<'js>(ctx: &Ctx<'js>, name: &str, text: &str) -> rquickjs::Result<Value<'js>> {
    let source = match Source::read(text) {
        Ok(source) => source,
        Err(refused) => return Err(Exception::throw_syntax(ctx, &format!("{name}, {refused}"))),
    };
    COLUMNS.with_borrow_mut(|columns| match source.columns.is_empty() {
        true => columns.remove(name),
        false => columns.insert(name.to_owned(), source.columns),
    });
    let mut options = EvalOptions::default();
    options.strict = false;
    options.filename = Some(name.to_owned());
    ctx.eval_with_options(&*source.text, options)
}

/// What tells a value from all others that are there.
fn identity(value: &Value<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// What a thrown value says: `elb.js:12:5 ReferenceError: x is not defined`.
fn said<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> rquickjs::Result<String> {
    let text = text_of(ctx, value)?;
    let text = cut(&text);
    let stack = match value.as_exception() {
        Some(exception) => exception.stack(),
        None => noted(ctx, value),
    };
    Ok(match stack.as_deref().and_then(place) {
        Some(place) => format!("{} {text}", written(place)),
        None => text.into_owned(),
    })
}

/// Where a value that is no error was thrown last; `None` where that was another one.
fn noted<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> Option<String> {
    let notes: Object<'js> = ctx.globals().get(THROWN).ok()?;
    if notes.get::<_, Value<'js>>("value").ok()? != *value {
        return None;
    }
    // The first frame is that of the function that has noted it.
    let stack: String = notes.get("stack").ok()?;
    stack.split_once('\n').map(|(_, callers)| callers.to_owned())
}

/// The place of the innermost frame that is a script's: `    at f (elb.js:12:5)`, `    at elb.js:12:5`.
fn place(stack: &str) -> Option<&str> {
    stack.lines().find_map(|line| {
        let frame = line.trim().strip_prefix("at ")?;
        let place = match frame.rsplit_once('(') {
            Some((_, place)) => place.strip_suffix(')')?,
            None => frame,
        };
        (place != "native").then_some(place)
    })
}

/// A place in the text as its author wrote it.
fn written(place: &str) -> String {
    let mut parts = place.rsplitn(3, ':');
    let (column, line, name) = (parts.next(), parts.next(), parts.next());
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<usize>().ok());
    let (Some(name), Some(line), Some(column)) = (name, number(line), number(column)) else {
        return place.to_owned();
    };
    COLUMNS.with_borrow(|columns| match columns.get(name) {
        Some(columns) => format!("{name}:{line}:{}", columns.original(line, column)),
        None => place.to_owned(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn js(limits: Limits) -> Js {
        let (end, ended) = watch::channel(false);
        // Nobody asks these to end.
        std::mem::forget(end);
        Js::new(&limits, ended).unwrap()
    }

    fn thrown(js: &Js, text: &str) -> Thrown {
        js.evaluate("x.js", text).unwrap_err()
    }

    #[test]
    fn what_was_not_caught_says_where() {
        let js = js(Limits::default());
        for (text, says) in [
            ("let a = 1;\n\nb();", "x.js:3:1 ReferenceError: b is not defined"),
            ("let c = ;", "x.js:1:9 SyntaxError: "),
            ("throw new Error('gone')", "x.js:1:11 Error: gone"),
            ("throw 'not_found'", "x.js:1:7 not_found"),
            // a place in what is thrown
            ("\nif (true) throw 'a' + 1\nelse f()", "x.js:2:23 a1"),
            ("function f(x) {\n  throw x; }\ntry { f(1) } catch (e) { f([2, 3]) }", "x.js:2:9 2,3"),
            ("throw {a: 1}", "x.js:1:7 [object Object]"),
            (
                "(async function () { throw 'later' })()",
                "a rejected promise that nobody handled: x.js:1:28 later",
            ),
            // Nobody knows where this comes from, though another one was thrown before it.
            (
                "try { throw 'a' } catch (e) {} Promise.reject('b')",
                "a rejected promise that nobody handled: b",
            ),
            // One that is handled late, and not the one that came last.
            (
                "var p = Promise.reject('a'); Promise.reject('b'); p.catch(() => 0)",
                "a rejected promise that nobody handled: b",
            ),
            // What is said of one rejects another one.
            (
                "Promise.reject({toString() { Promise.reject(1); return 'c' }})",
                "a rejected promise that nobody handled: ",
            ),
            ("var e = new Error('kept');\n\nthrow e", "x.js:1:13 Error: kept"),
            ("\nfunction f() { null.x; }\nf()", "x.js:2:16 TypeError: "),
            ("Promise.reject(new Error('late'))", "a rejected promise that nobody handled: x.js:1:"),
        ] {
            let told = thrown(&js, text);
            assert!(told.text.starts_with(says), "{text}: {told:?}");
            assert!(!told.interrupted);
        }
        assert_eq!(thrown(&js, "throw 'not_found'").value.as_deref(), Some("not_found"));
        assert_eq!(js.evaluate("x.js", "Promise.reject(1).catch(() => 0)"), Ok(()));
    }

    #[test]
    fn promises_that_throw_are_told_each_and_keep_no_other_one_waiting() {
        let js = js(Limits::default());
        let call = |text: &'static str| {
            js.call(|ctx| ctx.eval::<Value<'_>, _>(text).map(|_| ())).unwrap();
            js.promised().unwrap_or_default()
        };
        let texts = |told: Promised| told.thrown.into_iter().map(|thrown| thrown.text).collect::<Vec<_>>();
        let told = texts(call(
            "var n = 0; queueMicrotask(() => { throw 'a' }); queueMicrotask(() => n++); Promise.reject('b')",
        ));
        assert_eq!(told, ["a", "a rejected promise that nobody handled: b"]);
        assert_eq!(js.evaluate("x.js", "if (n !== 1) throw n"), Ok(()));
        // Handling one does not excuse another one, not even when that one was told before.
        let told = texts(call("var p = Promise.reject('c'), q = Promise.reject('d'); p.catch(() => 0)"));
        assert_eq!(told, ["a rejected promise that nobody handled: d"]);
        let told = texts(call("Promise.reject('e'); q.catch(() => 0)"));
        assert_eq!(told, ["a rejected promise that nobody handled: e"]);
        // A reason that rejects another promise when it is written.
        let told = texts(call("Promise.reject({toString() { Promise.reject('f'); return 'g' }})"));
        assert_eq!(told, ["f", "g"].map(|why| format!("a rejected promise that nobody handled: {why}")));
        let many = call("for (var i = 0; i < 100; i++) queueMicrotask(() => { throw i })");
        assert_eq!((many.thrown.len(), many.others), (MOST_TOLD, 100 - MOST_TOLD as u64));
        // The call's own exception stays, and is told beside the others.
        let own = js.call(|ctx| ctx.eval::<Value<'_>, _>("Promise.reject('h'); throw 'i'").map(|_| ()));
        assert_eq!(own.unwrap_err().text, "i");
        assert_eq!(texts(js.promised().unwrap()), ["a rejected promise that nobody handled: h"]);
    }

    #[test]
    fn places_are_those_of_the_author() {
        let js = js(Limits::default());
        let text = "var f = function (x) x;\nfor each (var x in [1]) f(x); b();";
        assert_eq!(thrown(&js, text).text, "x.js:2:31 ReferenceError: b is not defined");
        let told = thrown(&js, "\nvar a = [x for each (x in y)];");
        assert!(
            told.text.starts_with("SyntaxError: x.js, line 2, column 12: array comprehensions"),
            "{told:?}"
        );
        // another text of this name
        assert!(thrown(&js, "\n/* 3456789012345678901234567890 */ b();").text.starts_with("x.js:2:36 "));
    }

    #[test]
    fn a_call_without_end_is_interrupted_and_the_script_goes_on() {
        let js = js(Limits { call: Duration::from_millis(300), ..Limits::default() });
        let told = thrown(&js, "var n = 1; try { while (true) {} } catch (e) { n = 2; }");
        assert!(told.interrupted, "{told:?}");
        let says = "took longer than 300 ms and was interrupted";
        assert!(told.text.starts_with("x.js:1:") && told.text.ends_with(says), "{told:?}");
        assert_eq!(js.evaluate("x.js", "if (n !== 1) throw 'caught'"), Ok(()));
    }

    #[test]
    fn promises_without_end_take_the_time_of_one_call() {
        let limit = Duration::from_secs(2);
        for text in [
            "(function f() { Promise.resolve().then(f); })()",
            "(async function () { while (true) await 0; })()",
            "function g() { Promise.resolve().then(g); } for (let i = 0; i < 50; i++) g();",
            // More of them with each step: as much as there is memory for.
            "(function h() { Promise.resolve().then(h); Promise.resolve().then(h); })()",
        ] {
            let js = js(Limits { call: limit, memory_bytes: 16 << 20, ..Limits::default() });
            let told = thrown(&js, text);
            assert!(told.interrupted || told.text.contains("out of memory"), "{text}: {told:?}");
            let began = Instant::now();
            for _ in 0..4 {
                assert_eq!(js.evaluate("x.js", "var n = (globalThis.n || 0) + 1"), Ok(()), "{text}");
            }
            assert!(began.elapsed() < limit, "{text}: {:?}", began.elapsed());
            assert_eq!(js.evaluate("x.js", "if (n !== 4) throw n"), Ok(()), "{text}");
        }
    }

    #[test]
    fn memory_and_stack_have_ends() {
        let js = js(Limits { memory_bytes: 8 << 20, ..Limits::default() });
        let told = thrown(&js, "var all = []; while (true) all.push(new Array(1000).fill(0))");
        assert!(told.text.contains("out of memory"), "{told:?}");
        assert!(thrown(&js, "(function f() { f(); })()").text.contains("stack"), "a stack that overflows");
        assert_eq!(js.evaluate("x.js", "all = null; var more = new Array(1000).fill(0)"), Ok(()));
        assert!(js.memory_bytes() < 8 << 20);
    }
}
