//! What a switch is to have, and what it was found to have.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// A rule as it is wanted: both directions between two hosts, mirrored to an analyzer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The host that is ours.
    pub local: IpAddr,
    /// The host that is listed.
    pub remote: IpAddr,
    /// Source address of what is mirrored.
    pub erspan_source: Ipv4Addr,
    /// Where it goes.
    pub analyzer: Ipv4Addr,
    /// Interfaces whose packets are looked at.
    pub interfaces: Vec<String>,
    /// Name of the policy that wants it.
    pub policy: String,
}

/// A rule as it was found, under a name that is one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It has our mark, and says this.
    Ours(Wanted),
    /// It has our mark, and cannot be read: someone has changed it.
    Changed,
    /// It has our name and not our mark: it is somebody else's.
    Unmarked,
    /// Another instance's, by its name.
    Others,
}

/// What a switch was found to have, by name; what has none of our names is not in it.
pub type Observed = BTreeMap<String, Found>;

/// What a switch is to have, by name.
pub type Desired = BTreeMap<String, Wanted>;

/// What has to be done at a switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The rule of this name is to be this.
    Put(String, Wanted),
    /// There is to be no rule of this name.
    Delete(String),
}

impl Change {
    /// Name of the rule.
    pub fn name(&self) -> &str {
        match self {
            Self::Put(name, _) | Self::Delete(name) => name,
        }
    }
}
