//! The learning thread: what every shard must know and only one has seen. Hosts tell the addresses of their adapters;
//! once a second, while a flow asks for hosts, all shards are asked what they know, and the program is published
//! anew when that has changed.

use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError};
use tables::flow::learned::Hosts;
use tables::{Answer, Question};

use crate::handle::Handle;

/// How often the shards are asked.
const EVERY: Duration = Duration::from_secs(1);

/// Learns until the sender of `end` is gone.
pub(crate) fn run(handle: &Handle, end: &Receiver<()>) {
    while end.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        let program = handle.program();
        if !program.asks_for_hosts() {
            continue;
        }
        // A collector that is too busy to answer is asked again in a second.
        let Ok(Answer::Adapters(adapters)) = handle.ask(Question::Adapters) else { continue };
        let hosts = Hosts::new(&adapters);
        if hosts != *program.hosts {
            let _ = handle.learn_hosts(hosts);
        }
    }
}
