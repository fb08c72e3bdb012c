//! What answers the endpoints, a file per family. Each turns a request into a question and an answer into a shape.

pub(crate) mod about;
pub(crate) mod actions;
pub(crate) mod agents;
pub(crate) mod definitions;
pub(crate) mod files;
pub(crate) mod flows;
pub(crate) mod live;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod prometheus;
pub(crate) mod scripts;
pub(crate) mod topology;
