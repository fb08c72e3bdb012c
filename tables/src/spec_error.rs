//! What is wrong with a definition.

/// A definition cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The definition is no JSON object.
    #[error("a flow is an object with keys and value")]
    NotAnObject,
    /// An attribute that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// An attribute has a value that it cannot have.
    #[error("{attribute}: {reason}")]
    Attribute {
        /// Which.
        attribute: String,
        /// What is wrong with it.
        reason: String,
    },
}

pub(crate) fn wrong(attribute: &str, reason: impl Into<String>) -> SpecError {
    SpecError::Attribute { attribute: attribute.to_owned(), reason: reason.into() }
}
