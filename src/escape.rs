//! Names from the network on their way into lines of text, by the same rules as in answers.

pub use api::escape::{escape, is_hidden};
