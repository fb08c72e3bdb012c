//! Tests of the whole program: one binary, a module for each promise it looks at.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests say what broke by panicking")]

mod agent;
mod autoscale;
mod bench;
mod capture;
mod captures;
mod collector;
mod configuration;
mod demo;
mod docker_engine;
mod docker_services;
mod feeds;
mod layering;
mod learned;
mod names;
mod openvswitch;
mod overload;
mod packaging;
mod peers;
mod reference;
mod replay;
mod rest;
mod scaling;
mod script;
mod simulate;
mod support;
mod top;
mod trust;
#[cfg(feature = "xdp")]
mod xdp;
