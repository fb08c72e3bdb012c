//! An agent of a test's own: the real `finderscope-agent`, ended with the test; and what receives its datagrams.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use decode::flow::{EXTENDED_ENTITIES, SAMPLED_HEADER, SampledHeader};
use decode::layout::Value;
use decode::{CountersSample, DataSource, Datagram, FlowSample, Interface, Sample, counter, flow};

use super::ledger::{Conversation, conversation};
use super::live::{Daemon, enlarge, temporary_folder};
use super::{PATIENCE, build};

/// The agent's program.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build("agent", "finderscope-agent"))
}

/// Runs the agent to its end.
pub(crate) fn finish(arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).output().unwrap()
}

/// A running agent; dropping it kills it.
pub(crate) struct Agent {
    daemon: Daemon,
    _folder: tempfile::TempDir,
    status: SocketAddr,
}

impl Agent {
    /// Starts it in the namespace of this thread, as the agent 127.0.0.1, and waits until it answers with its own counters.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_by(Command::new(program()), arguments)
    }

    /// The same by a command that begins with something else.
    pub(crate) fn start_by(mut command: Command, arguments: &[&str]) -> Self {
        let status = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = temporary_folder();
        command.args(["--agent", "127.0.0.1", "--status", &status.to_string()]).args(arguments);
        let daemon = Daemon::start(folder.path(), "finderscope-agent", command);
        let mut agent = Self { daemon, _folder: folder, status };
        let answers = || ask(status).ok().filter(|answer| answer.starts_with("HTTP/1.0 200"));
        agent.daemon.wait_for("its counters", answers);
        agent
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.daemon.id()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.daemon.log()
    }

    /// The lines of its log with this text.
    pub(crate) fn lines(&self, text: &str) -> Vec<String> {
        self.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    /// Waits until it has logged a line with this text; all lines with it.
    pub(crate) fn wait_for_log(&mut self, text: &str) -> Vec<String> {
        let log = self.daemon.log_file().to_owned();
        let with =
            |all: String| all.lines().filter(|l| l.contains(text)).map(str::to_owned).collect::<Vec<_>>();
        let lines = || Some(with(std::fs::read_to_string(&log).unwrap())).filter(|lines| !lines.is_empty());
        self.daemon.wait_for(&format!("{text:?} in its log"), lines)
    }

    /// The counter of this name, summed over its labels.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        value(&ask(self.status).unwrap_or_else(|e| panic!("{}: {e}", self.status)), name)
    }

    /// Waits until the counter has this value.
    pub(crate) fn wait_for_counter(&mut self, name: &str, wanted: u64) {
        self.wait_for_counter_of(name, |value| value == wanted);
    }

    /// Waits until the counter has a value of this kind.
    pub(crate) fn wait_for_counter_of(&mut self, name: &str, wanted: impl Fn(u64) -> bool) {
        let status = self.status;
        let is = || ask(status).ok().filter(|answer| wanted(value(answer, name))).map(drop);
        self.daemon.wait_for(&format!("{name} as wanted"), is);
    }

    /// Waits until it follows the containers of its engine.
    pub(crate) fn wait_for_engine(&mut self) {
        self.wait_for_counter("finderscope_agent_engine_connected", 1);
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, signal: &str) {
        self.daemon.signal(signal);
    }

    /// Asks it to end, and waits until it has; panics unless it says that all is well.
    pub(crate) fn end(mut self) -> String {
        let status = self.daemon.end("TERM");
        let log = self.daemon.log();
        assert!(status.success(), "the agent ended with {status}: {log}");
        log
    }
}

/// Its counters as an HTTP answer.
fn ask(status: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(status)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn value(answer: &str, name: &str) -> u64 {
    let of = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
    let values: Vec<u64> =
        answer.lines().filter(of).map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert!(!values.is_empty(), "no {name} among the agent's counters: {answer}");
    values.iter().sum()
}

/// A counters sample.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    /// When it arrived.
    pub(crate) at: Instant,
    pub(crate) source: DataSource,
    /// The formats of its records, in their order.
    pub(crate) formats: Vec<u32>,
    pub(crate) name: String,
    pub(crate) uuid: [u8; 16],
    /// The interfaces of its adapters.
    pub(crate) ports: Vec<u32>,
    /// The addresses of its adapters.
    pub(crate) macs: Vec<String>,
    /// Its numbers, by the structures' field names.
    pub(crate) numbers: BTreeMap<&'static str, u64>,
}

impl Counters {
    /// Of a virtual machine or container: 1 it runs, 3 paused, 5 ended.
    pub(crate) fn state(&self) -> u64 {
        self.numbers["vcpu_state"]
    }

    /// Its processor time, ms; all ones when it is not known.
    pub(crate) fn cpu_ms(&self) -> u64 {
        self.numbers["vcpu_cpu_mS"]
    }
}

/// A flow sample.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) source: DataSource,
    pub(crate) rate: u32,
    pub(crate) drops: u32,
    pub(crate) input: Interface,
    pub(crate) output: Interface,
    pub(crate) frame_length: u32,
    pub(crate) conversation: Option<Conversation>,
    /// Class and index of the source's entity and of the destination's, where it has them.
    pub(crate) entities: Option<[u64; 4]>,
}

#[derive(Debug, Default)]
struct Seen {
    counters: Vec<Counters>,
    flows: Vec<Flow>,
    datagrams: u32,
    last: Option<u32>,
    sequences: HashMap<(bool, DataSource), u32>,
    complaints: Vec<String>,
}

/// Receives the datagrams of one run of an agent, and checks each. It may come late, but must miss none from then on.
pub(crate) struct Receiver {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    ended: Arc<AtomicBool>,
}

impl Receiver {
    /// On a port of loopback, in the namespace of this thread.
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        enlarge(&socket);
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let address = socket.local_addr().unwrap();
        let (seen, ended) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let (theirs, end) = (Arc::clone(&seen), Arc::clone(&ended));
        std::thread::spawn(move || {
            let mut buffer = [0; 1 << 16];
            while !end.load(Ordering::Relaxed) {
                if let Ok(length) = socket.recv(&mut buffer) {
                    let at = Instant::now();
                    theirs.lock().unwrap().datagram(&buffer[..length], at);
                }
            }
        });
        Self { address, seen, ended }
    }

    /// For `--collector`.
    pub(crate) fn to(&self) -> String {
        self.address.to_string()
    }

    fn seen<T>(&self, pick: impl FnOnce(&Seen) -> T) -> T {
        let seen = self.seen.lock().unwrap();
        assert!(seen.complaints.is_empty(), "{:#?}", seen.complaints);
        pick(&seen)
    }

    /// The counters samples so far.
    pub(crate) fn counters(&self) -> Vec<Counters> {
        self.seen(|seen| seen.counters.clone())
    }

    /// Those of containers.
    pub(crate) fn containers(&self) -> Vec<Counters> {
        self.seen(|seen| seen.counters.iter().filter(|sample| sample.source.class == 3).cloned().collect())
    }

    /// Those of the container with this id.
    pub(crate) fn of(&self, id: &str) -> Vec<Counters> {
        let id: docker::Id = id.parse().unwrap();
        self.containers().into_iter().filter(|sample| sample.uuid == id.uuid()).collect()
    }

    /// The flow samples so far.
    pub(crate) fn flows(&self) -> Vec<Flow> {
        self.seen(|seen| seen.flows.clone())
    }

    /// How many datagrams have come.
    pub(crate) fn datagrams(&self) -> u32 {
        self.seen(|seen| seen.datagrams)
    }

    /// Waits until the samples of this container are as wanted.
    pub(crate) fn wait_for<T>(&self, id: &str, what: &str, wanted: impl Fn(&[Counters]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let samples = self.of(id);
            if let Some(found) = wanted(&samples) {
                return found;
            }
            assert!(Instant::now() < deadline, "waited for {what} of {id}; it has {samples:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for a sample of the container in this state, the last so far; it.
    pub(crate) fn wait_for_state(&self, id: &str, state: u64) -> Counters {
        let is = |samples: &[Counters]| samples.last().filter(|last| last.state() == state).cloned();
        self.wait_for(id, &format!("state {state}"), is)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

impl Seen {
    fn datagram(&mut self, bytes: &[u8], at: Instant) {
        if bytes.len() > 1400 {
            self.complaints.push(format!("a datagram of {} bytes", bytes.len()));
        }
        let Ok(datagram) = Datagram::parse(bytes) else {
            self.complaints.push(format!("no datagram: {bytes:?}"));
            return;
        };
        self.datagrams += 1;
        let sequence = datagram.header.sequence;
        if let Some(last) = self.last.replace(sequence)
            && sequence != last + 1
        {
            self.complaints.push(format!("datagram {sequence} after {last}"));
        }
        for sample in datagram.samples() {
            match sample {
                Ok(Sample::Counters(sample)) => self.counters_sample(&sample, at),
                Ok(Sample::Flow(sample)) => self.flow_sample(&sample),
                other => self.complaints.push(format!("{other:?}")),
            }
        }
    }

    /// Those of a source follow one another; a source may begin anew.
    fn follows(&mut self, flow: bool, source: DataSource, sequence: u32) {
        let last = self.sequences.insert((flow, source), sequence);
        if let Some(last) = last
            && sequence != last + 1
            && sequence != 1
        {
            self.complaints.push(format!("sample {sequence} of {source} after {last}"));
        }
    }

    fn counters_sample(&mut self, sample: &CountersSample<'_>, at: Instant) {
        self.follows(false, sample.source, sample.sequence);
        let mut counters = Counters {
            at,
            source: sample.source,
            formats: Vec::new(),
            name: String::new(),
            uuid: [0; 16],
            ports: Vec::new(),
            macs: Vec::new(),
            numbers: BTreeMap::new(),
        };
        for record in &sample.records {
            counters.formats.push(record.tag.format());
            let Some(fields) = counter::fields(record) else { continue };
            for (field, value) in fields.iter() {
                match value {
                    Value::Text(text) if field.name == "hostname" => {
                        counters.name = String::from_utf8_lossy(text).into_owned();
                    }
                    Value::Uuid(uuid) => counters.uuid = uuid,
                    Value::Adapters(adapters) => {
                        counters.ports = adapters.iter().map(|(port, _)| port).collect();
                        let macs = adapters.iter().flat_map(|(_, macs)| macs.iter());
                        counters.macs = macs.map(|mac| mac.to_string().to_lowercase()).collect();
                    }
                    value => drop(value.as_u64().map(|number| counters.numbers.insert(field.name, number))),
                }
            }
        }
        self.counters.push(counters);
    }

    fn flow_sample(&mut self, sample: &FlowSample<'_>) {
        self.follows(true, sample.source, sample.sequence);
        let header = sample.records.iter().find(|record| record.tag == SAMPLED_HEADER);
        let Some(header) = header.and_then(|record| SampledHeader::parse(record.body).ok()) else {
            self.complaints.push("a flow sample without a header".to_owned());
            return;
        };
        let entities = sample.records.iter().find(|record| record.tag == EXTENDED_ENTITIES.tag);
        let entities = entities.and_then(flow::fields).map(|fields| {
            [0, 1, 2, 3].map(|field| fields.get(field).and_then(|value| value.as_u64()).unwrap_or(u64::MAX))
        });
        self.flows.push(Flow {
            source: sample.source,
            rate: sample.sampling_rate,
            drops: sample.drops,
            input: sample.input,
            output: sample.output,
            frame_length: header.frame_length,
            conversation: conversation(&header),
            entities,
        });
    }
}
