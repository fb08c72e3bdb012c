//! The agent on a real Docker engine: what arrives of it, seen by our own collector, by Debian's sfcapd and by a plain
//! receiver, is what the kernel and the docker client say.

mod bad_engine;
mod cgroup;
mod churn;
mod engine;
mod life;
mod packaged;
mod packets;
mod privileges;
mod settings;
mod stand_in;
mod swarm;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::agent::{Agent, Receiver};
use crate::support::docker_lab::Lab;
use crate::support::live::wait_until;

/// The engine that all share, without what an earlier test may have left there when it failed.
fn shared() -> &'static Lab {
    let lab = Lab::shared();
    lab.clear();
    lab
}

/// An agent that follows the lab's containers and reports to the receiver, with these further arguments.
fn agent_of(lab: &Lab, receiver: &Receiver, arguments: &[&str]) -> Agent {
    let (endpoint, collector) = (endpoint_of(lab), receiver.to());
    let mut agent = Agent::start(&[&["--docker", &endpoint, "--collector", &collector], arguments].concat());
    agent.wait_for_engine();
    agent
}

/// For `--docker`.
fn endpoint_of(lab: &Lab) -> String {
    format!("unix://{}", lab.socket().display())
}

/// Waits for the next second of the engine's clock: who registers for events is told those of the second that has begun.
fn next_second() {
    let second = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let begun = second();
    wait_until("the next second", || (second() > begun).then_some(()));
}
