//! What scripts can call, a file per family. Each has a table of its functions, which say what they do and show it.

mod handlers;
mod log;
mod topology;

use crate::catalogue::Family;

pub(crate) use log::console;

/// All families, in the order of the manual.
pub(crate) const FAMILIES: &[Family] = &[
    Family { title: "Handlers", functions: handlers::FUNCTIONS },
    Family { title: "Log", functions: log::FUNCTIONS },
    Family { title: "Topology", functions: topology::FUNCTIONS },
];
