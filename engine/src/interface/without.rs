//! What there is of an interface in a program without AF_XDP: the reason.

use std::net::SocketAddr;

use ingest::receiver::Receiver;

use super::{InterfaceOptions, News, Reached, Verdicts};
use crate::options::EngineOptions;

const WITHOUT: &str = "this program was built without AF_XDP (feature xdp)";

/// Receivers of queues: none.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) receivers: Vec<(u32, Receiver)>,
    pub(crate) reached: Reached,
    pub(crate) watch: Watch,
}

/// Says why not.
pub(crate) fn open(_options: &EngineOptions, _addresses: &[SocketAddr]) -> Result<Opened, String> {
    Err(WITHOUT.to_owned())
}

/// Says why not.
///
/// # Errors
/// Always.
pub fn attempt(_options: &InterfaceOptions) -> Result<Reached, String> {
    Err(WITHOUT.to_owned())
}

/// The memory of the frames: there are none.
pub fn memory_bytes(_options: &InterfaceOptions, _queues: u32, _mtu: u32) -> u64 {
    0
}

/// An interface that is never there.
#[derive(Debug)]
pub(crate) struct Watch(std::convert::Infallible);

impl Watch {
    pub(crate) fn tend(&self) -> Option<News> {
        match self.0 {}
    }

    pub(crate) fn is_gone(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn verdicts(&self) -> Verdicts {
        match self.0 {}
    }
}
