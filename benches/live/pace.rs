//! A sender on a processor of its own, which offers datagrams at a rate.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ingest::send::Sender;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::support::traffic::Traffic;

/// Datagrams between two looks at the clock.
const BURST: usize = 32;

/// What was offered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offered {
    pub(crate) sent: u64,
    pub(crate) seconds: f64,
}

impl Offered {
    pub(crate) fn per_s(self) -> f64 {
        self.sent as f64 / self.seconds
    }
}

/// Keeps the calling thread on the last of its processors; workers keep to the first ones.
pub(crate) fn keep_to_last_processor() {
    let allowed = sched_getaffinity(None).unwrap();
    let last = (0..CpuSet::MAX_CPU).rev().find(|processor| allowed.is_set(*processor)).unwrap();
    let mut only = CpuSet::new();
    only.set(last);
    sched_setaffinity(None, &only).unwrap();
}

/// Sends this many datagrams a second, evenly in bursts of 32, for a time; as fast as it can for an infinite rate. A
/// sender that is late hurries.
pub(crate) fn offer(to: SocketAddr, traffic: &mut Traffic, per_s: f64, time: Duration) -> Offered {
    let mut sender = Sender::new(to).unwrap();
    let began = Instant::now();
    while began.elapsed() < time {
        let due = began.elapsed().as_secs_f64() * per_s;
        if (sender.sent() as f64) < due {
            traffic.next(BURST, |datagrams| sender.send_all(datagrams));
        } else {
            std::hint::spin_loop();
        }
    }
    assert_eq!(sender.failed(), 0, "the kernel refused datagrams");
    Offered { sent: sender.sent(), seconds: began.elapsed().as_secs_f64() }
}

/// The same until told to end, by a sender that sleeps between two bursts: it leaves its processor to others.
pub(crate) fn offer_gently(to: SocketAddr, traffic: &mut Traffic, per_s: f64, ended: &AtomicBool) -> Offered {
    let mut sender = Sender::new(to).unwrap();
    let began = Instant::now();
    while !ended.load(Ordering::Relaxed) {
        let due_s = sender.sent() as f64 / per_s;
        let early_s = due_s - began.elapsed().as_secs_f64();
        if early_s <= 0.0 {
            traffic.next(BURST, |datagrams| sender.send_all(datagrams));
        } else {
            std::thread::sleep(Duration::from_secs_f64(early_s));
        }
    }
    assert_eq!(sender.failed(), 0, "the kernel refused datagrams");
    Offered { sent: sender.sent(), seconds: began.elapsed().as_secs_f64() }
}
