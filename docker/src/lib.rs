//! The Docker engine's API: transport, version, containers and their events.
#![forbid(unsafe_code)]
