//! Triggered capture: sessions from evidence, rules on switches.
//!
//! A pair of hosts that a policy's flows show becomes a session; a session wants one rule on one switch; what the switch
//! has is read, compared with what is wanted, and mended.
//!
//! | module | owns |
//! |---|---|
//! | [`config`] | what the configuration says |
//! | [`evidence`], [`session`] | why a pair is captured, and how far that has come |
//! | [`policy`], `placing`, `known`, [`tick`], [`budget`] | which pairs, where and how long: pure |
//! | [`pair`], [`wanted`], [`rule`], [`reconcile`] | rules, their names, and what a switch has to be told: pure |
//! | [`watch`] | flow definitions, and sightings from what the collector sees |
//! | [`scripts`] | captures that scripts ask for |
//! | [`drivers`], `switches` | how switches are read and written, a task for each |
//! | [`controller`], `poll`, `guarding`, [`control`], `view` | all of it together, and what is shown and asked |

pub mod budget;
pub mod config;
pub mod control;
pub mod controller;
pub mod drivers;
pub mod evidence;
mod guarding;
mod known;
pub mod pair;
mod placing;
pub mod policy;
mod poll;
pub mod reconcile;
pub mod rule;
pub mod scripts;
pub mod session;
mod switches;
pub mod tick;
mod view;
pub mod wanted;
pub mod watch;
