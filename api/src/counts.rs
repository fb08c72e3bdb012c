//! What the engine, HTTP and the process have counted, as JSON.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use engine::Status;
use engine::interface::Reached;
use serde_json::{Map, Value as Json, json};

use crate::process::Reading;
use crate::serve::HttpCounters;

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Datagrams and samples that could not be read, those of another version aside.
pub(crate) fn errors(status: &Status) -> u64 {
    let [truncated, _, address] = status.counters.datagram_errors;
    truncated + address + status.counters.sample_errors.iter().sum::<u64>()
}

/// How datagrams come in.
fn ingest(status: &Status) -> Json {
    let Reached { interface, mode, queues: _, huge_pages, multi_buffer, busy_poll, why, gone } =
        &status.reached;
    let queues = status.workers.iter().flat_map(|worker| {
        worker.queues.iter().map(|queue| {
            json!({
                "queue": queue.queue,
                "worker": worker.worker,
                "bound": queue.bound,
                "frames": queue.frames,
                "fillLevel": queue.fill_level,
                "receiveLevel": queue.receive_level,
                "framesLent": queue.frames_lent,
                "framesFree": queue.frames_free,
                "rxDropped": queue.rx_dropped,
                "rxRingFull": queue.rx_ring_full,
                "rxFillRingEmptyDescs": queue.rx_fill_ring_empty_descs,
                "rxInvalidDescs": queue.rx_invalid_descs,
                "checksumWrong": queue.checksum_wrong,
                "checksumPartial": queue.checksum_partial,
                "malformed": queue.malformed,
                "gathered": queue.gathered,
            })
        })
    });
    let mut object = json!({
        "mode": status.reached.label(),
        "queues": queues.collect::<Vec<_>>(),
        "why": why,
    });
    if let Some(interface) = interface {
        object["interface"] = interface.as_str().into();
    }
    if mode.is_some() {
        let frames =
            status.verdicts.iter().map(|(verdict, frames)| ((*verdict).to_owned(), (*frames).into()));
        object["hugePages"] = (*huge_pages).into();
        object["multiBuffer"] = (*multi_buffer).into();
        object["busyPoll"] = (*busy_poll).into();
        object["gone"] = (*gone).into();
        object["frames"] = frames.collect::<Map<_, _>>().into();
    }
    object
}

pub(crate) fn analyzer(version: &str, status: &Status, http: &HttpCounters, process: &Reading) -> Json {
    let counters = &status.counters;
    let [_, unsupported, _] = counters.datagram_errors;
    let mut object = json!({
        "version": version,
        "uptime": millis(status.uptime),
        "sFlowAgents": status.agents,
        "sFlowDatagramsReceived": counters.datagrams,
        "sFlowBytesReceived": counters.bytes,
        "sFlowDatagramsDiscarded": status.kernel_drops,
        "sFlowParseErrors": errors(status),
        "sFlowUnsupportedVersion": unsupported,
        "flowsGenerated": status.told.records_generated,
        "flowsLost": status.told.records_lost,
        "eventsGenerated": status.told.events_generated,
        "eventsLost": status.told.events_lost,
        "httpConnectionsCurrent": http.current.load(Relaxed),
        "httpConnectionsTotal": http.total.load(Relaxed),
        "httpBytesSent": http.sent.load(Relaxed),
        "httpBytesReceived": http.received.load(Relaxed),
        "httpMessagesReceived": http.messages.load(Relaxed),
        "availableProcessors": std::thread::available_parallelism().map_or(1, usize::from),
        "cpuLoadProcess": process.load_process,
        "cpuLoadSystem": process.load_system,
        "cpuTime": process.cpu_ms,
        "heapUsed": process.resident,
        "heapMax": process.may_use,
        "memTotal": process.memory_total,
        "memFree": process.memory_free,
        "threadCount": process.threads,
        "threadDaemonCount": process.threads.map(|threads| threads.saturating_sub(1)),
        "gcTime": 0,
        "gcCount": 0,
        "ingest": ingest(status),
    });
    // What this machine does not tell is left out.
    if let Some(object) = object.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    object
}
