//! What a port is in a fabric.

/// What a port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A port of a switch of the topology that is in no link: packets enter and leave the fabric there.
    Edge,
    /// A port of a link between switches.
    Core,
    /// Not a port of the topology, or its name is not known yet and a link may mean it.
    Unknown,
}

impl Role {
    /// Its name in answers.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Core => "core",
            Self::Unknown => "unknown",
        }
    }
}
