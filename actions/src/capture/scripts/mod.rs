//! Captures that scripts ask for: what a script would have a switch do by itself becomes a session, which lasts while there
//! is evidence, is counted in the budgets, and goes for certain.
//!
//! A script writes a rule by a name of its own. The rule is read, checked against the inventory and the budgets, kept in the
//! state directory under (script, name), and only then put; its script is answered as the switch would have answered.
//!
//! | module | owns |
//! |---|---|
//! | [`rules`] | what a script may have put: pure |
//! | [`place`] | which switch a script means: pure |
//! | [`session`], [`policy`], `asked` | sessions, and how long they last: pure |
//! | [`kept`] | what survives a crash |
//! | `traffic` | packets of these pairs, as evidence |
//! | `shown` | what is shown of them |

mod asked;
pub mod kept;
pub mod place;
pub mod policy;
pub mod rules;
pub mod session;
mod shown;
pub(super) mod traffic;

use place::Place;
use session::Limits;
pub(super) use shown::rows;

/// A rule that a script wants a switch to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptRule {
    /// Who wants it: the script's file name.
    pub script: String,
    /// What the script calls it, `emrg0`.
    pub name: String,
    /// Where the script would send it. The caller has checked that the operator allows this address.
    pub switch: Place,
    /// The lines.
    pub lines: Vec<String>,
    /// How long it lasts.
    pub limits: Limits,
}

/// What became of a script's rule that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Id of the session, `emerging.js:emrg0`.
    pub session: String,
    /// Whether the same rule was wanted there already: there is none more.
    pub refreshed: bool,
}
