//! The JavaScript host.
#![forbid(unsafe_code)]
