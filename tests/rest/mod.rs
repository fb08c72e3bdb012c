//! REST as clients see it.

mod access;
mod catalogue;
mod clients;
mod page;
mod schema;
mod topology;

pub(crate) use access::exchange;
pub(crate) use page::Events;
