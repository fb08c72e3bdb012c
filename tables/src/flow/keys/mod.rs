//! Keys: each reads one field of a sampled packet, of what its sample says about it, or of a custom flow.
//!
//! The catalogue lists those with a name of their own. A suffix `.1`, `.2` reads the field of the next such layer
//! inwards: `ipsource.1` is the inner source address of a tunnel. Any other name is that of a custom flow's field. A
//! key whose field is not there is null.

mod catalogue;
mod read;
mod sampled;
pub(crate) mod wire;

use decode::packet::DEPTH;

use super::atom::Atom;
use super::layout::Form;

pub use catalogue::KEYS;
pub(crate) use read::plain_interface;
pub use sampled::{Basics, Sampled};

/// A key.
pub struct Key {
    /// Its name in definitions.
    pub name: &'static str,
    /// What kind of value it has.
    pub form: Form,
    /// What it reads.
    pub what: &'static str,
    /// Reads it from the `n`th layer of its kind.
    pub get: for<'a> fn(&Sampled<'a>, usize) -> Option<Atom<'a>>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Names that stand for an expression.
pub const ALIASES: [(&str, &str); 2] = [
    ("sourcegroup", "group:[or:ipsource:ip6source]:default"),
    ("destinationgroup", "group:[or:ipdestination:ip6destination]:default"),
];

/// The longest name of a custom flow's field, bytes.
pub const LONGEST_NAME: usize = 64;

/// What a name in a definition means.
#[derive(Clone, Debug)]
pub enum Named {
    /// A key of the catalogue, of the nth layer.
    Key(&'static Key, usize),
    /// The field of a custom flow.
    Custom(Box<str>),
}

/// What a name means.
///
/// # Errors
/// It can be no name, or is likely to be a mistyped one; the message says so.
pub fn find(name: &str) -> Result<Named, String> {
    let key = |name: &str| KEYS.iter().find(|key| key.name == name);
    if let Some(key) = key(name) {
        return Ok(Named::Key(key, 0));
    }
    if let Some((stem, suffix)) = name.rsplit_once('.')
        && let Some(key) = key(stem)
    {
        return match suffix.parse().ok().filter(|n| *n < DEPTH) {
            Some(layer) => Ok(Named::Key(key, layer)),
            None => Err(format!("{name:?} is no key: layers are .0 to .{}", DEPTH - 1)),
        };
    }
    if name.is_empty()
        || name.len() > LONGEST_NAME
        || name.contains(|c: char| c.is_control() || c.is_whitespace())
    {
        return Err(format!("{name:?} is no key"));
    }
    match meant(name) {
        Some(meant) => Err(format!("{name:?} is no key; did you mean {meant:?}?")),
        None => Ok(Named::Custom(name.into())),
    }
}

/// The name that was likely meant: two letters off, one where there are fewer than six, none where there are fewer
/// than three.
fn meant(name: &str) -> Option<&'static str> {
    let stem = name.rsplit_once('.').map_or(name, |(stem, suffix)| {
        if suffix.bytes().all(|byte| byte.is_ascii_digit()) { stem } else { name }
    });
    let allowed = (stem.chars().count() / 3).min(2);
    let names = KEYS.iter().map(|key| key.name).chain(ALIASES.iter().map(|(name, _)| *name));
    let near = names.map(|known| (distance(stem, known), known)).filter(|(distance, _)| *distance <= allowed);
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// Letters that must be put in, taken out or replaced to make one text of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (above, x) in a.chars().enumerate() {
        let mut diagonal = above;
        let mut left = above + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (place, y) in row.iter_mut().skip(1).zip(b.chars()) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *place;
            left = replaced.min(left + 1).min(diagonal + 1);
            *place = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_key_a_field_or_mistyped() {
        assert!(matches!(find("ipsource.1"), Ok(Named::Key(key, 1)) if key.name == "ipsource"));
        assert!(matches!(find("temperature"), Ok(Named::Custom(_))));
        assert!(matches!(find("t1"), Ok(Named::Custom(_))));
        for (name, reason) in [
            ("ipsorce", "\"ipsorce\" is no key; did you mean \"ipsource\"?"),
            ("ipsuorce.1", "\"ipsuorce.1\" is no key; did you mean \"ipsource\"?"),
            ("byte", "\"byte\" is no key; did you mean \"bytes\"?"),
            ("ipsource.16", "\"ipsource.16\" is no key: layers are .0 to .15"),
            ("", "\"\" is no key"),
        ] {
            assert_eq!(find(name).err().as_deref(), Some(reason));
        }
        assert!(find(&"x".repeat(65)).is_err());
    }

    #[test]
    fn distances() {
        for (a, b, n) in [("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("ab", "ba", 2)] {
            assert_eq!((distance(a, b), distance(b, a)), (n, n), "{a} {b}");
        }
    }
}
