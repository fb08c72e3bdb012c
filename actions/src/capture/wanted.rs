//! What a switch is to have, and what it was found to have.

use std::collections::{BTreeMap, BTreeSet};
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
    /// A script's, with our mark: its lines, whatever they say.
    Script(Vec<String>),
    /// There is a rule of this name, at which nobody has looked: it has none of our names.
    Unread,
}

/// What a switch was found to have, by name. What has none of our names is not in it, unless scripts have captures there.
pub type Observed = BTreeMap<String, Found>;

/// What a switch is to have, by name.
pub type Desired = BTreeMap<String, Wanted>;

/// What scripts want a switch to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// The lines of each rule, by its name.
    pub wanted: BTreeMap<String, Vec<String>>,
    /// Rules that are neither put nor taken away yet: that they are wanted is not on the disk.
    pub held: BTreeSet<String>,
}

/// Which rules of a switch are looked at, beside those that have our names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Rules of scripts.
    pub names: BTreeSet<String>,
    /// Whether there may be rules of scripts that nobody knows of: all are looked at.
    pub all: bool,
}

impl Interest {
    /// Whether scripts have anything to do with the switch.
    pub fn is_none(&self) -> bool {
        self.names.is_empty() && !self.all
    }
}

/// What has to be done at a switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The rule of this name is to be this.
    Put(String, Wanted),
    /// The rule of this name is to be a script's, of these lines.
    PutLines(String, Vec<String>),
    /// There is to be no rule of this name.
    Delete(String),
}

impl Change {
    /// Name of the rule.
    pub fn name(&self) -> &str {
        match self {
            Self::Put(name, _) | Self::PutLines(name, _) | Self::Delete(name) => name,
        }
    }
}
