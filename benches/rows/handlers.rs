//! P14: handler calls, with a script's limits, queues and counters, against a bare engine: the same QuickJS without limits,
//! that calls the same handler with the same objects.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actions::control::{Control, Start};
use actions::feeds::Feeds;
use actions::thread::Actions;
use decode::{Address, DataSource};
use engine::{Engine, EngineOptions, LoggedFlow, News};
use rquickjs::function::Args;
use rquickjs::{Context, Ctx, Function, Object, Persistent, Runtime, Value};
use script::{Config, Own, Scripts};
use serde_json::{Value as Json, json};
use tables::question::{Owner, Source};

use crate::bench::{Bench, Line, Number, Target};
use crate::common::ratio;

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
struct Host {
    scripts: Scripts,
    runtime: tokio::runtime::Runtime,
    engine: Option<Engine>,
    actions: Option<Actions>,
    _folder: tempfile::TempDir,
}

impl Host {
    fn start(handler: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("handler.js");
        std::fs::write(&file, handler.to_owned() + SET).unwrap();
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let engine =
            Engine::start(&EngineOptions { sflow: vec![loopback], ..EngineOptions::default() }).unwrap();
        let (actions, control) = actions(&engine, folder.path());
        let mut config = Config { scripts: vec![file], ..Config::default() };
        // All calls of a pass wait for the script at once.
        config.limits.queue = CALLS;
        let scripts = Scripts::new(config, engine.handle(), control, "0.0.0");
        scripts.run(Own { address: loopback, analyzer: Box::new(|| json!({})) }).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let host = Self { scripts, runtime, engine: Some(engine), actions: Some(actions), _folder: folder };
        host.wait_for(0);
        host
    }

    /// Has the script take so many records; the processor time of its thread.
    fn pass(&self, records: &[Arc<LoggedFlow>]) -> Duration {
        let (seen, before) = (self.seen().expect("it runs"), self.cpu());
        for _ in 0..CALLS / records.len() {
            self.scripts.take(&News { records, events: &[] });
        }
        self.wait_for(seen + CALLS as u64);
        self.cpu() - before
    }

    /// The processor time of the script when it has counted it.
    fn cpu(&self) -> Duration {
        // It counts when it has nothing to do.
        std::thread::sleep(Duration::from_millis(5));
        Duration::from_millis(self.scripts.json()["handler.js"]["cpuMs"].as_u64().unwrap())
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
        let request = script::Request { method: "GET".into(), format: "json".into(), ..Default::default() };
        let reply = self.runtime.block_on(self.scripts.request("handler.js", request)).ok()?;
        serde_json::from_slice::<Json>(&reply.body).ok()?["seen"].as_u64()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.scripts.shutdown();
        if let Some(actions) = self.actions.take() {
            let _ = actions.shutdown();
        }
        if let Some(engine) = self.engine.take() {
            engine.shutdown();
        }
    }
}

/// Actions that have nothing to do.
fn actions(engine: &Engine, folder: &Path) -> (Actions, Control) {
    let state = folder.join("state");
    std::fs::create_dir(&state).unwrap();
    let start = Start {
        engine: engine.handle(),
        state: Some(&state),
        changed: Json::Null,
        keep: Arc::new(|_| true),
        feeds: Feeds::new(&Default::default(), &[], Some(&state)),
        owner: "bench".to_owned(),
    };
    actions::control::start(actions::config::Config::default(), start).unwrap()
}

/// How the bare engine makes the object of a record.
#[derive(Clone, Copy)]
enum Makes {
    /// Sets its attributes, one by one.
    Sets,
    /// Calls a function that makes it.
    Calls,
}

/// A function that makes the object of a record.
const MAKER: &str = "(function(agent, dataSource, flowID, name, flowKeys, value, start, end) {
  return {agent, dataSource, flowID, name, flowKeys, value, start, end};
})";

/// QuickJS alone.
struct Bare {
    makes: Makes,
    handler: Persistent<Function<'static>>,
    maker: Persistent<Function<'static>>,
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
            let maker: Function<'_> = ctx.eval(MAKER).unwrap();
            (Persistent::save(&ctx, handler), Persistent::save(&ctx, maker))
        });
        Self { makes, handler, maker, context, _runtime: runtime }
    }

    /// Calls the handler as often as a pass of the other side does.
    fn pass(&mut self, records: &[Arc<LoggedFlow>]) -> u64 {
        self.context.with(|ctx| {
            let [handler, maker] = [&self.handler, &self.maker].map(|f| f.clone().restore(&ctx).unwrap());
            for n in 0..CALLS {
                let record = &records[n % records.len()];
                let object = match self.makes {
                    Makes::Sets => set(&ctx, record),
                    Makes::Calls => called(&ctx, &maker, record),
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

fn called<'js>(ctx: &Ctx<'js>, maker: &Function<'js>, record: &LoggedFlow) -> rquickjs::Result<Object<'js>> {
    let mut args = Args::new(ctx.clone(), 8);
    args.push_arg(record.owner.agent.to_string())?;
    args.push_arg(record.owner.source.to_string())?;
    args.push_arg(record.id as f64)?;
    args.push_arg(&*record.name)?;
    args.push_arg(record.keys.as_str())?;
    args.push_arg(record.value)?;
    args.push_arg(record.start_ms as f64)?;
    args.push_arg(record.end_ms as f64)?;
    maker.call_arg(args)
}
