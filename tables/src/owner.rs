//! Whose a value or a flow is: an agent's, and one of its data sources'.

use std::sync::Arc;

use decode::{Address, DataSource};

/// Whose value it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The agent.
    pub agent: Address,
    /// Its data source.
    pub source: Source,
}

/// A data source of an agent as answers name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// One of the agent's own: `22`, `2.1`, `3.100001`.
    Of(DataSource),
    /// One that custom metrics or flows name.
    Named(Arc<str>),
    /// None of its own: the definition keeps one table per agent. It shows as an empty text.
    Agent,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Of(source) => source.fmt(f),
            Self::Named(name) => f.write_str(name),
            Self::Agent => Ok(()),
        }
    }
}
