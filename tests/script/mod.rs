//! Scripts in the running collector.

mod examples;
mod rest;
