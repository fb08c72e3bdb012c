//! The grammar of a capture rule, typed: parse and emit. What is not a rule of the grammar cannot be said.
#![forbid(unsafe_code)]
