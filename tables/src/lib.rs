//! All that one shard knows, and the questions that can be asked of it.
#![deny(unsafe_code)]
