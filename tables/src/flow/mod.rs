//! Flows: definitions of what packets have in common, and live tables of how much of it there is.
//!
//! | module | owns |
//! |---|---|
//! | [`spec`] | a definition as clients write it |
//! | [`expression`] | the language of keys, key functions, filters and values |
//! | [`keys`] | the catalogue of keys |
//! | [`atom`] | what a key evaluates to, packed into a table's key and shown as text |
//! | [`plan`] | a definition compiled |
//! | [`table`] | entries whose values decay |
//! | [`group`] | address groups and maps |

pub mod atom;
pub mod expression;
pub mod group;
pub mod keys;
pub mod plan;
pub mod spec;
pub mod table;

pub use plan::{FlowPlan, Lookups};
pub use spec::{FlowSpec, SpecError};
