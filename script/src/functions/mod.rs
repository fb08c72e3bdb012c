//! What scripts can call, a file per family. Each has a table of its functions, which say what they do and show it.

mod absent;
mod baseline;
mod command;
mod definitions;
mod files;
mod handlers;
mod http;
mod log;
mod network;
mod properties;
mod questions;
mod store;
mod text;
mod topology;

use crate::call::Call;
use crate::catalogue::Family;
use crate::script::Script;

pub(crate) use baseline::Baselines;
pub(crate) use log::console;

/// All families, in the order of the manual.
pub(crate) const FAMILIES: &[Family] = &[
    Family { title: "Handlers", functions: handlers::FUNCTIONS },
    Family { title: "Questions", functions: questions::FUNCTIONS },
    Family { title: "Definitions", functions: definitions::FUNCTIONS },
    Family { title: "Values that are kept", functions: store::FUNCTIONS },
    Family { title: "Files", functions: files::FUNCTIONS },
    Family { title: "Properties", functions: properties::FUNCTIONS },
    Family { title: "Network", functions: network::FUNCTIONS },
    Family { title: "Commands", functions: command::FUNCTIONS },
    Family { title: "Log", functions: log::FUNCTIONS },
    Family { title: "HTTP", functions: http::FUNCTIONS },
    Family { title: "Texts", functions: text::FUNCTIONS },
    Family { title: "Baselines", functions: baseline::FUNCTIONS },
    Family { title: "Topology", functions: topology::FUNCTIONS },
    Family { title: "Not supported", functions: absent::FUNCTIONS },
];

/// Waits for somebody else. Throws when the script is to end before that.
fn wait<T>(script: &Script, call: &Call<'_>, future: impl Future<Output = T>) -> rquickjs::Result<T> {
    script.wait_for(future).ok_or_else(|| call.fail("given up, because the script is to end"))
}
