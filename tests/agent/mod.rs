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

use crate::support::agent::{Agent, Receiver};
use crate::support::docker_lab::Lab;

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
