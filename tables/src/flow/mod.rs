//! Flows: definitions of what packets have in common, and live tables of how much of it there is.
//!
//! | module | owns |
//! |---|---|
//! | [`spec`] | a definition as clients write it |
//! | [`expression`] | the language of keys and key functions |
//! | [`filter`] | the language of filters |
//! | [`keys`] | the catalogue of keys, and what they read |
//! | [`function`], [`uri`] | what key functions make of keys |
//! | [`atom`] | what a key evaluates to, packed into a table's key and shown as text |
//! | [`layout`], [`texts`], `hash` | keys packed into words, the texts that they hold, and how they are found |
//! | [`plan`] | a definition compiled |
//! | [`recipe`], `gate`, `cookbook` | what it does with packets of one shape, what it asks first, all shapes |
//! | [`measure`] | what is measured of packets, and how many become one value |
//! | [`table`], `entries`, `index`, `lanes` | entries whose values decay, how they are found, and what they need beside |
//! | [`owners`] | whose entries they are |
//! | [`active`], `copied` | the largest flows: of what is largest somewhere, of all together |
//! | `flows`, `seen` | all tables of a shard; the keys that recent packets had |
//! | [`group`], `prefixes` | address groups and maps; longest prefix match |
//! | [`reference`] | countries, autonomous systems and vendors from the operator's files |
//! | [`learned`] | hosts that own addresses, and names of addresses |

pub mod active;
pub mod atom;
pub(crate) mod cookbook;
pub(crate) mod copied;
mod entries;
pub mod expression;
pub mod filter;
pub(crate) mod flows;
pub mod function;
pub(crate) mod gate;
pub mod group;
pub(crate) mod hash;
mod index;
pub mod keys;
pub(crate) mod lanes;
pub mod layout;
pub mod learned;
pub mod measure;
pub mod owners;
pub mod plan;
pub(crate) mod prefixes;
pub mod recipe;
pub mod reference;
pub(crate) mod seen;
pub mod spec;
pub mod table;
pub mod texts;
pub mod uri;

pub use plan::{FlowPlan, Lookups};
pub use spec::FlowSpec;

pub use crate::spec_error::SpecError;
