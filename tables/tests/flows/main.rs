//! The flow language: every key and every function is made to answer with a value that is known otherwise.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod catalogue;
mod custom;
mod errors;
mod filters;
mod functions;
mod hosts;
mod manual;
mod mmdb;
mod records;
mod specimen;
