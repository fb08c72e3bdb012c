//! What an agent sends of containers, with the time at which it came.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use decode::counter::{self, HOST_DESCR, VIRT_CPU};
use decode::layout::Value;
use decode::{Datagram, Sample};
use rustix::process::setpriority_process;

use crate::support::live::enlarge;
use crate::watch::now_ns;

/// The class of containers among data sources.
const CONTAINERS: u32 = 3;

/// A sample of a container.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// When, by the host's clock.
    pub(crate) at_ns: u64,
    /// The first half of the container's id.
    pub(crate) uuid: [u8; 16],
    /// 1 it runs, 3 paused; what is above has ended.
    state: u64,
    /// Its time of processors, milliseconds.
    pub(crate) cpu_ms: Option<u64>,
}

impl Arrival {
    /// Whether it says that the container has ended.
    pub(crate) fn is_last(&self) -> bool {
        self.state > 3
    }
}

/// Receives until it is dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    ended: Arc<AtomicBool>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        enlarge(&socket);
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let address = socket.local_addr().unwrap();
        let (arrivals, ended) = (Arc::<Mutex<Vec<Arrival>>>::default(), Arc::<AtomicBool>::default());
        let (theirs, end) = (Arc::clone(&arrivals), Arc::clone(&ended));
        std::thread::spawn(move || {
            // The clock is looked at when a datagram comes, not when the machine has a moment for it.
            setpriority_process(None, -20).unwrap();
            let mut buffer = [0; 1 << 16];
            while !end.load(Ordering::Relaxed) {
                if let Ok(length) = socket.recv(&mut buffer) {
                    let at_ns = now_ns();
                    theirs.lock().unwrap().extend(samples(&buffer[..length], at_ns));
                }
            }
        });
        Self { address, arrivals, ended }
    }

    /// What came so far.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// The samples of containers in a datagram.
fn samples(bytes: &[u8], at_ns: u64) -> Vec<Arrival> {
    let datagram = Datagram::parse(bytes).expect("agents send datagrams");
    let mut arrivals = Vec::new();
    for sample in datagram.samples() {
        let Ok(Sample::Counters(sample)) = sample else { continue };
        if sample.source.class != CONTAINERS {
            continue;
        }
        let mut arrival = Arrival { at_ns, uuid: [0; 16], state: 0, cpu_ms: None };
        for record in &sample.records {
            let Some(fields) = counter::fields(record) else { continue };
            let number = |name| fields.named(name).and_then(|value: Value<'_>| value.as_u64());
            if record.tag == HOST_DESCR.tag {
                if let Some(Value::Uuid(uuid)) = fields.named("UUID") {
                    arrival.uuid = uuid;
                }
            } else if record.tag == VIRT_CPU.tag {
                arrival.state = number("vcpu_state").unwrap_or(0);
                arrival.cpu_ms = number("vcpu_cpu_mS").filter(|ms| *ms != u64::from(u32::MAX));
            }
        }
        arrivals.push(arrival);
    }
    arrivals
}
