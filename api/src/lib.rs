//! REST on port 8008.
#![forbid(unsafe_code)]
