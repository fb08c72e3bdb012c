//! Tests of the whole collector: one binary, a module for each promise it looks at.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests say what broke by panicking")]

mod layering;
