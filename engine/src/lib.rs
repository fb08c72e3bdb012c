//! The threads.
#![forbid(unsafe_code)]
