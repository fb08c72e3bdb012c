//! A script's thread: it runs the script's text once, and then its handlers, one at a time, as long as something can
//! still call them.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use engine::{LoggedEvent, LoggedFlow};
use rquickjs::function::Rest;
use rquickjs::{Ctx, Function, Object, Value};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::call::Call;
use crate::mailbox::{Asked, Comes, Inbox};
use crate::record::Maker;
use crate::request::{Reply, Request, RequestError};
use crate::runtime::{Js, Thrown};
use crate::script::{Handlers, Kept, Parts, Script, Then};
use crate::source::Header;
use crate::status::Counters;
use crate::{catalogue, functions};

/// Records that a script is given one after the other before it looks round, and how long that takes at most, but for the
/// last of them.
const TOGETHER: usize = 64;
const SHORT: Duration = Duration::from_millis(1);

/// How long a script that has always something to do keeps its tasks waiting, and its counters as they were, but for a call
/// that takes longer.
const ROUND: Duration = Duration::from_millis(10);

/// How often the memory of its values is counted, which walks all of them.
const MEMORY_EVERY: Duration = Duration::from_secs(5);

/// How far scripts stand back from the threads that receive and answer: those come first wherever a processor is wanted by
/// both, and a script that never ends takes what they leave.
const NICE: i32 = 10;

/// What a script is woken by.
enum Next {
    Flow(Arc<LoggedFlow>),
    Event(Arc<LoggedEvent>),
    Request(Asked),
    Ended(Then),
    Timer(Then),
    Interval,
    Nothing,
    End,
}

/// The thread's work, to be run on it.
pub(crate) fn run(parts: Parts, inbox: Inbox) {
    // Of this thread alone, on Linux. Where it is not allowed, all stand alike.
    let _ = rustix::process::nice(NICE);
    let counters = Arc::clone(&parts.counters);
    let name = Arc::clone(&parts.name);
    let came = start(parts, inbox);
    if let Err(why) = &came {
        tracing::error!(about = &*name, "{name}: {why}");
    }
    counters.end(came);
}

fn start(parts: Parts, inbox: Inbox) -> Result<(), String> {
    let text = std::fs::read_to_string(&parts.file)
        .map_err(|error| format!("{} cannot be read: {error}", parts.file.display()))?;
    let limits = parts.world.config.limits;
    let js = Js::new(&limits, inbox.end()).map_err(|error| error.to_string())?;
    let (script, ends) = Script::new(parts).map_err(|error| format!("no thread of its own: {error}"))?;
    script.world.shared.definitions.begin(&script.name);
    let records = js.call(Maker::new).map_err(|thrown| thrown.text)?;
    let mut thread = Thread {
        js: &js,
        script: &script,
        inbox,
        ends,
        records,
        turn: 0,
        was_due: false,
        round: None,
        spent_ms: 0,
        counted: None,
    };
    let came = thread.work(&text);
    // Nothing that holds a value may be left when the runtime ends.
    drop(thread);
    script.close();
    came
}

struct Thread<'t> {
    js: &'t Js,
    script: &'t Rc<Script>,
    inbox: Inbox,
    ends: UnboundedReceiver<Then>,
    records: Maker,
    /// What is looked for first: flows, events, requests and ends of tasks take turns.
    turn: u32,
    /// Whether what was done last was due by the clock.
    was_due: bool,
    /// When its tasks had their turn.
    round: Option<Instant>,
    /// Processor time that was counted, milliseconds.
    spent_ms: u64,
    /// When its memory was counted.
    counted: Option<Instant>,
}

impl Thread<'_> {
    fn work(&mut self, text: &str) -> Result<(), String> {
        let script = self.script;
        let header = Header::read(text).map_err(|refused| format!("{}, {refused}", script.name))?;
        let installed = self.js.call(|ctx| install(ctx, script, header.wrap_globals.as_deref()));
        script.counters.says(header.json());
        let began = installed.and_then(|()| self.js.evaluate(&script.name, text));
        self.count(Instant::now());
        if let Err(thrown) = began {
            return Err(thrown.text);
        }
        script.world.shared.definitions.settle(&script.world.engine, &script.name);
        let has_handler = script.handlers.borrow().request.is_some();
        script.wanted.requests.store(has_handler, Relaxed);
        tracing::info!("{} started", script.name);
        while !self.script.handlers.borrow().is_over() {
            let next = self.next();
            let came = match next {
                Next::End => break,
                Next::Nothing => continue,
                Next::Flow(record) => {
                    self.flows(record);
                    continue;
                }
                Next::Event(event) => {
                    let handler = self.handler(|handlers| &handlers.event);
                    told(self.js, Instant::now(), handler, |ctx| self::event(ctx, &event))
                }
                Next::Request((request, answer)) => {
                    let reply = self.answer(&request);
                    self.came(Ok(()));
                    // Whoever asked may have gone.
                    let _ = answer.send(reply);
                    continue;
                }
                Next::Ended(then) => {
                    self.script.handlers.borrow_mut().running -= 1;
                    self.js.call(|ctx| then(ctx))
                }
                Next::Timer(call) => self.js.call(|ctx| call(ctx)),
                Next::Interval => self.interval(),
            };
            self.came(came);
        }
        self.count(Instant::now());
        Ok(())
    }

    /// Calls the handler of records with this one and with those behind it, for a short time: looking round for what else
    /// waits takes as long as many a handler.
    fn flows(&mut self, first: Arc<LoggedFlow>) {
        let (mut next, mut taken, mut now) = (Some(first), 0, Instant::now());
        let until = now + SHORT;
        while let Some(record) = next {
            let handler = self.handler(|handlers| &handlers.flow);
            let records = &mut self.records;
            let came = told(self.js, now, handler, |ctx| records.make(ctx, &record));
            self.came(came);
            now = Instant::now();
            taken += 1;
            let is_over = taken == TOGETHER || now >= until;
            next = if is_over { None } else { self.inbox.flow() };
        }
    }

    /// What is to be done next. What waits is taken by turns, so that none keeps another one waiting: a handler that takes
    /// longer than its interval is always due, and comes only every second time.
    fn next(&mut self) -> Next {
        if self.inbox.is_over() {
            return Next::End;
        }
        let now = Instant::now();
        if self.round.is_none_or(|at| now.duration_since(at) >= ROUND) {
            self.round = Some(now);
            self.script.wait(tokio::task::yield_now());
            self.count(now);
        }
        if !self.was_due
            && let Some(due) = self.due(now)
        {
            self.was_due = true;
            return due;
        }
        self.was_due = false;
        if let Some(next) = self.waiting() {
            return next;
        }
        if let Some(due) = self.due(now) {
            self.was_due = true;
            return due;
        }
        self.idle(now)
    }

    /// What waits, of each kind in turn.
    fn waiting(&mut self) -> Option<Next> {
        self.turn = self.turn.wrapping_add(1);
        (0..4).find_map(|kind| match self.turn.wrapping_add(kind) % 4 {
            0 => self.inbox.flow().map(Next::Flow),
            1 => self.inbox.event().map(Next::Event),
            2 => self.inbox.request().map(Next::Request),
            _ => self.ends.try_recv().ok().map(Next::Ended),
        })
    }

    /// Waits until something comes or is due.
    fn idle(&mut self, now: Instant) -> Next {
        self.count(now);
        let at = self.script.handlers.borrow().next();
        let Self { inbox, ends, script, .. } = self;
        let Comes { news, requests, end } = inbox.comes();
        let clock = async {
            match at {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let came = script.wait(async {
            tokio::select! {
                _ = end.changed() => Next::End,
                () = news.notified() => Next::Nothing,
                Some(asked) = requests.recv() => Next::Request(asked),
                Some(then) = ends.recv() => Next::Ended(then),
                () = clock => Next::Nothing,
            }
        });
        // Meanwhile its tasks have gone on.
        self.round = Some(Instant::now());
        came
    }

    /// What the clock says is to be done, the longest due first.
    fn due(&self, now: Instant) -> Option<Next> {
        let mut handlers = self.script.handlers.borrow_mut();
        let first = handlers.next().filter(|first| *first <= now)?;
        match handlers.interval.as_mut().filter(|interval| interval.next == first) {
            Some(interval) => {
                interval.next += interval.every;
                if interval.next <= now {
                    interval.next = now + interval.every;
                }
                Some(Next::Interval)
            }
            None => handlers.due(now).map(Next::Timer),
        }
    }

    fn handler(&self, of: impl Fn(&Handlers) -> &Option<Kept>) -> Option<Kept> {
        of(&self.script.handlers.borrow()).clone()
    }

    fn interval(&self) -> Result<(), Thrown> {
        let handler =
            self.script.handlers.borrow().interval.as_ref().map(|interval| interval.handler.clone());
        let Some(handler) = handler else { return Ok(()) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.js.call(|ctx| handler.restore(ctx)?.call::<_, Value<'_>>((now.as_millis() as f64,)).map(|_| ()))
    }

    fn answer(&self, request: &Request) -> Result<Reply, RequestError> {
        let handler = self.handler(|handlers| &handlers.request).ok_or(RequestError::NoHandler)?;
        let came = self.js.call(|ctx| {
            let request_seen = ctx.json_parse(request.json().to_string())?;
            let value: Value<'_> = handler.restore(ctx)?.call((request_seen,))?;
            Reply::of(ctx, request, value)
        });
        Ok(came.unwrap_or_else(|thrown| {
            let reply = Reply::thrown(thrown.value.as_deref(), &thrown.text);
            // What a script throws to say that something is not found is no failure of it.
            if reply.status == 500 {
                self.threw(&thrown);
            }
            reply
        }))
    }

    /// Tells what a call has not caught, and then what its promises have not.
    fn came(&self, came: Result<(), Thrown>) {
        if let Err(thrown) = came {
            self.threw(&thrown);
        }
        let Some(promised) = self.js.promised() else { return };
        for thrown in &promised.thrown {
            self.threw(thrown);
        }
        self.script.counters.exceptions.fetch_add(promised.others, Relaxed);
    }

    fn threw(&self, thrown: &Thrown) {
        let Counters { interrupted, .. } = &*self.script.counters;
        interrupted.fetch_add(u64::from(thrown.interrupted), Relaxed);
        self.script.counters.exception(&thrown.text);
        let name = &*self.script.name;
        tracing::warn!(about = name, "{name}: {}", thrown.text);
    }

    /// Counts the thread's time and, now and then, the memory of its values.
    fn count(&mut self, now: Instant) {
        let spent = clock_gettime(ClockId::ThreadCPUTime);
        let ms = spent.tv_sec as u64 * 1000 + spent.tv_nsec as u64 / 1_000_000;
        let counters = &self.script.counters;
        counters.cpu_ms.fetch_add(ms - self.spent_ms, Relaxed);
        self.spent_ms = ms;
        if self.counted.is_none_or(|at| now.duration_since(at) >= MEMORY_EVERY) {
            self.counted = Some(now);
            counters.memory_bytes.store(self.js.memory_bytes(), Relaxed);
        }
    }
}

/// Calls a handler, where there is one, with what came.
fn told(
    js: &Js,
    now: Instant,
    handler: Option<Kept>,
    make: impl for<'js> FnOnce(&Ctx<'js>) -> rquickjs::Result<Object<'js>>,
) -> Result<(), Thrown> {
    let Some(handler) = handler else { return Ok(()) };
    js.call_at(now, |ctx| {
        let one = make(ctx)?;
        handler.restore(ctx)?.call::<_, Value<'_>>((one,)).map(|_| ())
    })
}

/// Makes our functions globals of a script, or properties of one global object whose name is `wrap`.
fn install<'js>(ctx: &Ctx<'js>, script: &Rc<Script>, wrap: Option<&str>) -> rquickjs::Result<()> {
    let globals = ctx.globals();
    let object = match wrap {
        Some(name) => {
            let object = Object::new(ctx.clone())?;
            globals.set(name, object.clone())?;
            object
        }
        None => globals.clone(),
    };
    for function in catalogue::all() {
        let script = Rc::clone(script);
        let body = move |ctx: Ctx<'js>, arguments: Rest<Value<'js>>| {
            (function.call)(&script, Call::new(ctx, function.name, function.parameters, arguments))
        };
        object.set(function.name, Function::new(ctx.clone(), body)?.with_name(function.name)?)?;
    }
    globals.set("console", functions::console(ctx, script)?)
}

/// An event as handlers see it: that of `/events/json`.
fn event<'js>(ctx: &Ctx<'js>, event: &LoggedEvent) -> rquickjs::Result<Object<'js>> {
    let value = ctx.json_parse(engine::json::event(event).to_string())?;
    value.into_object().ok_or(rquickjs::Error::Unknown)
}
