//! What only load and time show, of the real program over loopback: overload, many keys, how soon a capture begins or a
//! script is called. Each gives lines for the table of rows and a table of its own.

pub(crate) mod act;
pub(crate) mod cardinality;
mod floor;
pub(crate) mod handler;
pub(crate) mod overload;
mod pace;
mod switches;
#[allow(dead_code, reason = "the soak prints one")]
mod table;
