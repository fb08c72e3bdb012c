//! Scripts in the running collector.

mod rest;
