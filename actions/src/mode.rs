//! Whether actions are done, only observed, or withdrawn.
