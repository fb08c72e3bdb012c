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
use crate::mailbox::{Asked, Inbox};
use crate::record::Maker;
use crate::request::{Reply, Request, RequestError};
use crate::runtime::{Js, Thrown};
use crate::script::{Kept, Parts, Script, Then};
use crate::source::Header;
use crate::status::Counters;
use crate::{catalogue, functions};

/// Things done one after the other before tasks of the script get a turn.
const TURN: u32 = 64;

/// Records that a script is given one after the other before it looks round, where each takes less than [`SHORT`].
const TOGETHER: u32 = 8;

/// A call that takes less is counted with those that follow.
const SHORT: Duration = Duration::from_millis(1);

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
    match &came {
        Ok(()) => {}
        Err(why) => tracing::error!(about = &*name, "{name}: {why}"),
    }
    counters.end(came);
}

fn start(parts: Parts, inbox: Inbox) -> Result<(), String> {
    let text = std::fs::read_to_string(&parts.file)
        .map_err(|error| format!("{} cannot be read: {error}", parts.file.display()))?;
    let limits = parts.world.config.limits;
    let js = Js::new(&limits, inbox.end.clone()).map_err(|error| error.to_string())?;
    let (script, ends) = Script::new(parts).map_err(|error| format!("no thread of its own: {error}"))?;
    script.world.shared.definitions.begin(&script.name);
    let records = js.call(Maker::new).map_err(|thrown| thrown.text)?;
    let mut thread =
        Thread { js: &js, script: &script, inbox, ends, records, turn: 0, was_due: false, counted: None };
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
    turn: u32,
    /// Whether what was done last was due by the clock.
    was_due: bool,
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
        self.count();
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
                Next::Event(event) => self.told(|handlers| &handlers.event, |ctx| self::event(ctx, &event)),
                Next::Request((request, answer)) => {
                    let reply = self.answer(&request);
                    // Whoever asked may have gone.
                    let _ = answer.send(reply);
                    Ok(())
                }
                Next::Ended(then) => {
                    self.script.handlers.borrow_mut().running -= 1;
                    self.js.call(|ctx| then(ctx))
                }
                Next::Timer(call) => self.js.call(|ctx| call(ctx)),
                Next::Interval => self.interval(),
            };
            if let Err(thrown) = came {
                self.threw(&thrown);
            }
            self.count();
        }
        Ok(())
    }

    /// Calls the handler of records with this one and, as long as that is soon done, with those behind it: looking round for
    /// what else waits takes as long as many a handler.
    fn flows(&mut self, first: Arc<LoggedFlow>) {
        let (mut record, mut taken) = (first, 1);
        loop {
            let came = self.told(|handlers| &handlers.flow, |ctx| self.records.make(ctx, &record));
            if let Err(thrown) = came {
                self.threw(&thrown);
            }
            // So does asking for the thread's time: short calls are counted together.
            if self.js.spent() >= SHORT {
                return self.count();
            }
            if taken == TOGETHER {
                return;
            }
            match self.inbox.flows.try_recv() {
                Ok(next) => (record, taken) = (next, taken + 1),
                Err(_) => return,
            }
        }
    }

    /// What is to be done next. What waits is taken by turns, so that none keeps another one waiting: a handler that takes
    /// longer than its interval is always due, and comes only every second time.
    fn next(&mut self) -> Next {
        self.turn = self.turn.wrapping_add(1);
        // Whoever could say that it is to end has gone, or has said so.
        if !matches!(self.inbox.end.has_changed(), Ok(false)) {
            return Next::End;
        }
        if self.turn.is_multiple_of(TURN) {
            self.script.wait(tokio::task::yield_now());
            self.count();
        }
        if !self.was_due
            && let Some(due) = self.due()
        {
            self.was_due = true;
            return due;
        }
        self.was_due = false;
        for kind in 0..4 {
            let Inbox { flows, events, requests, .. } = &mut self.inbox;
            let found = match (self.turn + kind) % 4 {
                0 => flows.try_recv().ok().map(Next::Flow),
                1 => events.try_recv().ok().map(Next::Event),
                2 => requests.try_recv().ok().map(Next::Request),
                _ => self.ends.try_recv().ok().map(Next::Ended),
            };
            if let Some(found) = found {
                return found;
            }
        }
        // Nothing waits.
        if let Some(due) = self.due() {
            self.was_due = true;
            return due;
        }
        self.count();
        let at = self.script.handlers.borrow().next();
        let Self { inbox: Inbox { flows, events, requests, end }, ends, script, .. } = self;
        let clock = async {
            match at {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        script.wait(async {
            tokio::select! {
                _ = end.changed() => Next::End,
                Some(record) = flows.recv() => Next::Flow(record),
                Some(event) = events.recv() => Next::Event(event),
                Some(asked) = requests.recv() => Next::Request(asked),
                Some(then) = ends.recv() => Next::Ended(then),
                () = clock => Next::Nothing,
                else => Next::End,
            }
        })
    }

    /// What the clock says is to be done, the longest due first.
    fn due(&self) -> Option<Next> {
        let mut handlers = self.script.handlers.borrow_mut();
        let (first, now) = (handlers.next()?, Instant::now());
        if first > now {
            return None;
        }
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

    fn handler(&self, of: impl Fn(&crate::script::Handlers) -> &Option<Kept>) -> Option<Kept> {
        of(&self.script.handlers.borrow()).clone()
    }

    /// Calls a handler with what came.
    fn told(
        &self,
        of: impl Fn(&crate::script::Handlers) -> &Option<Kept>,
        make: impl for<'js> FnOnce(&Ctx<'js>) -> rquickjs::Result<Object<'js>>,
    ) -> Result<(), Thrown> {
        let Some(handler) = self.handler(of) else { return Ok(()) };
        self.js.call(|ctx| {
            let one = make(ctx)?;
            handler.restore(ctx)?.call::<_, Value<'_>>((one,)).map(|_| ())
        })
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

    fn threw(&self, thrown: &Thrown) {
        let Counters { interrupted, .. } = &*self.script.counters;
        interrupted.fetch_add(u64::from(thrown.interrupted), Relaxed);
        self.script.counters.exception(&thrown.text);
        let name = &*self.script.name;
        tracing::warn!(about = name, "{name}: {}", thrown.text);
    }

    /// Counts the thread's time and, now and then, the memory of its values.
    fn count(&mut self) {
        let spent = clock_gettime(ClockId::ThreadCPUTime);
        let ms = spent.tv_sec as u64 * 1000 + spent.tv_nsec as u64 / 1_000_000;
        let counters = &self.script.counters;
        counters.cpu_ms.store(ms, Relaxed);
        let now = Instant::now();
        if self.counted.is_none_or(|at| now.duration_since(at) >= MEMORY_EVERY) {
            self.counted = Some(now);
            counters.memory_bytes.store(self.js.memory_bytes(), Relaxed);
        }
    }
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
