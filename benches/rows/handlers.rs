//! P14: handler calls, with a script's limits, queues and counters, against a bare engine: the same QuickJS without limits,
//! that calls the same handler with the same objects.

#[path = "../../script/tests/host/support.rs"]
#[allow(dead_code, reason = "the room's tests use the rest of it")]
mod host;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use decode::{Address, DataSource};
use engine::{LoggedFlow, News};
use rquickjs::{Context, Ctx, Function, Object, Persistent, Runtime, Value};
use script::Maker;
use serde_json::Value as Json;
use tables::question::{Owner, Source};

use crate::bench::{Bench, Line, Number, Target};
use crate::common::ratio;

/// The script's name.
const SCRIPT: &str = "handler.js";

/// Calls of a pass.
const CALLS: usize = 100_000;

/// Passes of each side.
const PASSES: usize = 11;

/// Different records, which come again and again.
const RECORDS: usize = 1000;

/// How long a pass may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a handler does that has the traffic of a listed address captured, but for the request.
const CAPTURE: &str = "\
var seen = 0, rules = 0;
function handler(rec) {
  seen++;
  var [local, remote, group] = rec.flowKeys.split(',');
  var rule = JSON.stringify([
    '[iptables]', '# ' + group,
    '-A FORWARD --in-interface swp+ -s ' + local + ' -d ' + remote + ' -j ERSPAN --src-ip ' + rec.agent + ' --dst-ip 10.0.0.70',
    '-A FORWARD --in-interface swp+ -s ' + remote + ' -d ' + local + ' -j ERSPAN --src-ip ' + rec.agent + ' --dst-ip 10.0.0.70']);
  rules += rule.length;
}
";

/// What a handler does that only counts.
const COUNT: &str = "var seen = 0; function handler(rec) { seen++; }\n";

/// How the handler of a script is set.
const SET: &str =
    "setFlowHandler(handler, ['emerging']); setHttpHandler(function() { return {seen: seen}; });\n";

pub(crate) fn measure(bench: &mut Bench) {
    let records = records();
    for (what, text, makes, target) in [
        ("a handler like that of a capture", CAPTURE, Makes::Sets, Target::AtLeast(0.8)),
        ("a handler that counts", COUNT, Makes::Sets, Target::AtLeast(0.8)),
        ("the same, with objects made as ours are", COUNT, Makes::Calls, Target::None),
    ] {
        let (host, mut bare) = (Host::start(text), Bare::start(text, makes));
        host.pass(&records);
        bare.pass(&records);
        let (mut ours, mut other) = (Vec::new(), Vec::new());
        for _ in 0..PASSES {
            ours.push(host.pass(&records));
            other.push(ratio::timed(|| bare.pass(&records)));
        }
        let [a, b] = [ours, other].map(|times| ratio::median(times).as_nanos() as f64 / CALLS as f64);
        bench.line(Line {
            row: "P14",
            what: format!("{what}, of a script with its limits / of a bare engine, a call"),
            a: format!("{a:.0} ns/call"),
            b: format!("{b:.0} ns/call"),
            number: b / a,
            kind: Number::Gain,
            target,
        });
    }
}

/// Records of flows towards listed addresses.
fn records() -> Vec<Arc<LoggedFlow>> {
    let name: Arc<str> = "emerging".into();
    let one = |n: usize| {
        let [a, b] = (n as u16).to_be_bytes();
        Arc::new(LoggedFlow {
            id: n as u64,
            name: Arc::clone(&name),
            owner: Owner {
                agent: Address::V4(Ipv4Addr::new(10, 0, a, b)),
                source: Source::Of(DataSource { class: 0, index: n as u32 % 48 + 1 }),
            },
            keys: format!("192.168.{a}.{b},45.9.148.{b},compromised"),
            value: 1000.0 + n as f64,
            values: Vec::new(),
            start_ms: 1_700_000_000_000 + n as u64,
            end_ms: 1_700_000_000_000 + n as u64,
        })
    };
    (0..RECORDS).map(one).collect()
}

/// A script in its host.
struct Host(host::Host);

impl Host {
    fn start(handler: &str) -> Self {
        // All calls of a pass wait for the script at once.
        let host = Self(host::Host::with(&[(SCRIPT, &(handler.to_owned() + SET))], |config| {
            config.limits.queue = CALLS;
        }));
        host.wait_for(0);
        host
    }

    /// Has the script take so many records; the processor time of its thread.
    fn pass(&self, records: &[Arc<LoggedFlow>]) -> Duration {
        let (seen, before) = (self.seen().expect("it runs"), self.cpu());
        for _ in 0..CALLS / records.len() {
            self.0.scripts.take(&News { records, events: &[] });
        }
        self.wait_for(seen + CALLS as u64);
        self.cpu() - before
    }

    /// The processor time of the script when it has counted it.
    fn cpu(&self) -> Duration {
        // It counts when it has nothing to do.
        std::thread::sleep(Duration::from_millis(5));
        Duration::from_millis(self.0.status(SCRIPT)["cpuMs"].as_u64().unwrap())
    }

    fn wait_for(&self, seen: u64) {
        let began = Instant::now();
        while self.seen() != Some(seen) {
            assert!(began.elapsed() < PATIENCE, "the script has seen {:?} of {seen}", self.seen());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How many records its handler was called with.
    fn seen(&self) -> Option<u64> {
        let reply = self.0.ask(SCRIPT, host::get()).ok()?;
        serde_json::from_slice::<Json>(&reply.body).ok()?["seen"].as_u64()
    }
}

/// How the bare engine makes the object of a record.
#[derive(Clone, Copy)]
enum Makes {
    /// Sets its attributes, one by one.
    Sets,
    /// Has it made as ours is.
    Calls,
}

/// QuickJS alone.
struct Bare {
    makes: Makes,
    handler: Persistent<Function<'static>>,
    maker: Maker,
    context: Context,
    /// Ends after what is in it.
    _runtime: Runtime,
}

impl Bare {
    fn start(handler: &str, makes: Makes) -> Self {
        let runtime = Runtime::new().unwrap();
        let context = Context::full(&runtime).unwrap();
        let (handler, maker) = context.with(|ctx| {
            ctx.eval::<(), _>(handler).unwrap();
            let handler: Function<'_> = ctx.globals().get("handler").unwrap();
            (Persistent::save(&ctx, handler), Maker::new(&ctx).unwrap())
        });
        Self { makes, handler, maker, context, _runtime: runtime }
    }

    /// Calls the handler as often as a pass of the other side does.
    fn pass(&mut self, records: &[Arc<LoggedFlow>]) -> u64 {
        self.context.with(|ctx| {
            let handler = self.handler.clone().restore(&ctx).unwrap();
            for n in 0..CALLS {
                let record = &records[n % records.len()];
                let object = match self.makes {
                    Makes::Sets => set(&ctx, record),
                    Makes::Calls => self.maker.make(&ctx, record),
                };
                handler.call::<_, Value<'_>>((object.unwrap(),)).unwrap();
            }
            ctx.globals().get("seen").unwrap()
        })
    }
}

fn set<'js>(ctx: &Ctx<'js>, record: &LoggedFlow) -> rquickjs::Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    object.set("agent", record.owner.agent.to_string())?;
    object.set("dataSource", record.owner.source.to_string())?;
    object.set("flowID", record.id as f64)?;
    object.set("name", &*record.name)?;
    object.set("flowKeys", record.keys.as_str())?;
    object.set("value", record.value)?;
    object.set("start", record.start_ms as f64)?;
    object.set("end", record.end_ms as f64)?;
    Ok(object)
}
