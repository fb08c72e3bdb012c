//! Scripts in a whole host: an engine that receives, actions that do nothing, and threads of their own.
#![allow(clippy::unwrap_used, reason = "tests")]

mod asking;
mod catalogue;
mod definitions;
mod http;
mod keeping;
mod known;
mod manual;
mod network;
mod questions;
mod running;
mod scene;
mod source;
mod support;
mod texts;
mod topology;
