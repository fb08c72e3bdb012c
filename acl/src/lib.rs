//! The grammar of the rules that a Cumulus switch is given, typed: parse and emit are inverse, and what is emitted is canonical.
//!
//! A [`File`] is what a file of `/etc/cumulus/acl/policy.d` holds: tables, comments and rules that mirror, police, drop or
//! log. What is not of the grammar cannot be said, so that whoever may have rules installed cannot have anything else done
//! with the rights of the program that installs them. No I/O but in `server` (feature `server`): `finderscope-acl`, which runs on
//! the switch.
#![forbid(unsafe_code)]

mod action;
mod capture;
mod comment;
mod error;
mod file;
mod interface;
mod name;
mod number;
mod prefix;
mod protocol;
mod rule;
#[cfg(feature = "server")]
pub mod server;
mod words;

pub use action::{Action, Erspan, LogPrefix, Police, PoliceMode};
pub use capture::capture_pair;
pub use comment::{Comment, Owner};
pub use error::{Invalid, Wrong};
pub use file::{File, LONGEST_LINE, Line, MOST_LINES, Table};
pub use interface::Interface;
pub use name::Name;
pub use prefix::Prefix;
pub use protocol::{Ports, Protocol};
pub use rule::{Chain, Rule};
