//! The language of keys and key functions.
//!
//! A key is a name or a function with arguments separated by colons, `group:ipsource:sites`. Brackets hold an
//! argument that has colons of its own, `prefix:[or:ipsource:ip6source]:.:2`; a backslash takes the character
//! after it as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::atom::Atom;
use super::function::{Function, Literal, Show};
use super::group::{GroupSet, ValueMap};
use super::keys::{self, ALIASES, Key, Named, Sampled};
use super::layout::Form;
use super::learned::ATTRIBUTES;
use super::reference::References;
use super::uri;
use crate::spec_error::{SpecError, wrong};

/// How deep functions and brackets may nest.
pub(super) const DEEPEST: usize = 8;

/// Characters of an expression at most.
pub(super) const LONGEST: usize = 4096;

/// What functions may look up by name.
#[derive(Clone, Debug, Default)]
pub struct Lookups {
    /// Group sets by name.
    pub groups: BTreeMap<String, Arc<GroupSet>>,
    /// Maps by name.
    pub maps: BTreeMap<String, Arc<ValueMap>>,
    /// What the operator's files hold.
    pub references: References,
    /// Whether sets and maps that are not there are empty ones, instead of being refused.
    pub absent_is_empty: bool,
}

impl Lookups {
    /// The same, where what the operator has given no data for is empty, and so is a set or map that nobody has defined.
    pub(crate) fn without_data(&self) -> Self {
        let empty = || Arc::new(GroupSet::from_networks([]));
        let References { country, asn, oui, dns: _ } = self.references.clone();
        let references = References {
            country: Some(country.unwrap_or_else(empty)),
            asn: Some(asn.unwrap_or_else(empty)),
            oui: Some(oui.unwrap_or_default()),
            dns: true,
        };
        Self { references, absent_is_empty: true, ..self.clone() }
    }
}

/// A compiled key expression.
#[derive(Clone, Debug)]
pub enum Expression {
    /// A key of the catalogue, of the nth layer.
    Key(&'static Key, usize),
    /// The field of a custom flow.
    Custom(Box<str>),
    /// A function of other expressions.
    Function(Box<Function>),
}

/// Splits at a character outside brackets, and takes backslashes as they mean.
pub(crate) fn split(text: &str, at: char) -> Result<Vec<String>, String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_usize;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        let Some(part) = parts.last_mut() else { break };
        match c {
            '\\' => {
                part.push(c);
                part.push(characters.next().ok_or("a backslash stands at the end")?);
            }
            '[' => {
                depth += 1;
                part.push(c);
            }
            ']' => {
                depth = depth.checked_sub(1).ok_or("a bracket is closed that was not opened")?;
                part.push(c);
            }
            _ if c == at && depth == 0 => parts.push(String::new()),
            _ => part.push(c),
        }
    }
    if depth > 0 { Err("a bracket is not closed".to_owned()) } else { Ok(parts) }
}

/// Takes backslashes off.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        out.push(if c == '\\' { characters.next().unwrap_or('\\') } else { c });
    }
    out
}

/// The key expressions of a definition.
///
/// # Errors
/// One cannot be understood.
pub(crate) fn list(attribute: &str, text: &str, lookups: &Lookups) -> Result<Vec<Expression>, SpecError> {
    if text.len() > LONGEST {
        return Err(wrong(attribute, format!("longer than {LONGEST} characters")));
    }
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let parts = split(text, ',').map_err(|reason| wrong(attribute, reason))?;
    parts.iter().map(|part| one(part, lookups).map_err(|reason| wrong(attribute, reason))).collect()
}

/// One key expression.
pub(super) fn one(text: &str, lookups: &Lookups) -> Result<Expression, String> {
    compile(text.trim(), lookups, 0)
}

fn compile(text: &str, lookups: &Lookups, depth: usize) -> Result<Expression, String> {
    if depth > DEEPEST {
        return Err(format!("functions are nested more than {DEEPEST} deep"));
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return compile(inner.trim(), lookups, depth + 1);
    }
    let parts = split(text, ':')?;
    let Some((name, arguments)) = parts.split_first() else { return Err("a key is empty".to_owned()) };
    if !arguments.is_empty() {
        let call = Call { name, arguments, lookups, depth };
        return call.compile().map(|function| Expression::Function(Box::new(function)));
    }
    if let Some((_, meaning)) = ALIASES.iter().find(|(alias, _)| alias == name) {
        return compile(meaning, lookups, depth + 1);
    }
    keys::find(&plain(name)).map(Expression::from)
}

/// A function of a definition.
struct Call<'t> {
    name: &'t str,
    arguments: &'t [String],
    lookups: &'t Lookups,
    depth: usize,
}

impl Call<'_> {
    fn argument(&self, n: usize) -> Result<&str, String> {
        let argument = self.arguments.get(n).map(String::as_str);
        argument.ok_or_else(|| format!("{}: needs more arguments", self.name))
    }

    /// An argument that is a key.
    fn key(&self, n: usize) -> Result<Expression, String> {
        compile(self.argument(n)?.trim(), self.lookups, self.depth + 1)
    }

    /// All arguments from one on, as keys.
    fn keys(&self, first: usize) -> Result<Vec<Expression>, String> {
        (first..self.arguments.len().max(first + 1)).map(|n| self.key(n)).collect()
    }

    fn word(&self, n: usize) -> Result<String, String> {
        self.argument(n).map(plain)
    }

    fn number<T: std::str::FromStr>(&self, n: usize) -> Result<T, String> {
        self.word(n)?.trim().parse().map_err(|_| format!("{}: needs a number", self.name))
    }

    fn delimiter(&self, n: usize) -> Result<String, String> {
        let text = self.word(n)?;
        if text.is_empty() { Err(format!("{}: the delimiter is empty", self.name)) } else { Ok(text) }
    }

    /// One of some words; the first one where the argument is left out.
    fn choice<T: Copy>(&self, n: usize, choices: &[(&str, T)]) -> Result<T, String> {
        let Some(word) = self.arguments.get(n) else {
            return choices.first().map(|(_, choice)| *choice).ok_or_else(String::new);
        };
        choices.iter().find(|(name, _)| name == word).map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            format!("{}: {word:?} is none of {}", self.name, names.join(", "))
        })
    }

    /// Refuses arguments beyond the first few.
    fn at_most(&self, many: usize) -> Result<(), String> {
        if self.arguments.len() > many {
            return Err(format!("{}: has more than {many} arguments", self.name));
        }
        Ok(())
    }

    /// What only a file that the operator names can tell.
    fn needs<T>(&self, reference: Option<&Arc<T>>, option: &str) -> Result<Arc<T>, String> {
        reference.cloned().ok_or_else(|| format!("{}: needs the option {option}", self.name))
    }

    fn compile(&self) -> Result<Function, String> {
        let references = &self.lookups.references;
        if let Some((_, many)) = MOST_ARGUMENTS.iter().find(|(name, _)| *name == self.name) {
            self.at_most(*many)?;
        }
        Ok(match self.name {
            "group" => Function::Group(self.key(0)?, self.groups()?),
            "map" => {
                let map = self.word(1)?;
                let found = self.lookups.maps.get(&map).cloned();
                let found = found.or_else(|| self.lookups.absent_is_empty.then(Arc::default));
                Function::Map(self.key(0)?, found.ok_or_else(|| format!("map: no map {map:?}"))?)
            }
            "country" => {
                let shows = [("code", Show::Code), ("name", Show::Name), ("both", Show::Both)];
                let set = self.needs(references.country.as_ref(), "geo.country")?;
                Function::Country(self.key(0)?, set, self.choice(1, &shows)?)
            }
            "asn" => {
                let shows = [("number", Show::Code), ("descr", Show::Name), ("both", Show::Both)];
                let set = self.needs(references.asn.as_ref(), "geo.asn")?;
                Function::System(self.key(0)?, set, self.choice(1, &shows)?)
            }
            "oui" => match self.choice(1, &[("number", false), ("name", true)])? {
                false => Function::Oui(self.key(0)?),
                true => Function::Vendor(self.key(0)?, self.needs(references.oui.as_ref(), "oui.file")?),
            },
            "host" => {
                let places: Vec<(&str, usize)> = ATTRIBUTES.iter().copied().zip(0..).collect();
                self.argument(1)?;
                Function::Host(self.key(0)?, self.choice(1, &places)?)
            }
            "dns" if references.dns => Function::Dns(self.key(0)?),
            "dns" => return Err("dns: needs the option dns.enabled".to_owned()),
            "link" => match self.key(0)? {
                key if key.form() == Form::Interface => Function::Link(key),
                _ => return Err("link: needs an interface, such as inputifindex".to_owned()),
            },
            "uri" => {
                self.argument(1)?;
                Function::Uri(self.key(0)?, self.choice(1, &uri::Part::NAMES)?)
            }
            "prefix" => Function::Prefix(self.key(0)?, self.delimiter(1)?, self.number(2)?),
            "suffix" => Function::Suffix(self.key(0)?, self.delimiter(1)?, self.number(2)?),
            "mask" => {
                let bits: u8 = self.number(1)?;
                if bits > 128 {
                    return Err("mask: at most 128 bits".to_owned());
                }
                Function::Mask(self.key(0)?, bits)
            }
            "range" => {
                let high = if self.arguments.len() > 2 { Some(self.number(2)?) } else { None };
                Function::Range(self.key(0)?, self.number(1)?, high)
            }
            "eq" => Function::Equal(self.key(0)?, self.key(1)?),
            "null" => {
                let key = self.key(0)?;
                let literal = self.word(1).unwrap_or_else(|_| "null".to_owned());
                let literal = Literal::new(key.form(), literal);
                Function::Null(key, literal)
            }
            "or" => Function::Or(self.keys(0)?),
            "if" => Function::If(self.key(0)?, self.word(1)?, self.key(2)?, self.key(3)?),
            "first" => {
                self.argument(2)?;
                let tokens = self.arguments.iter().skip(2).map(|token| plain(token)).collect();
                Function::First(self.key(0)?, self.delimiter(1)?, tokens)
            }
            "concat" => Function::Concat(self.word(0)?, self.keys(1)?),
            "bits" => Function::Bits(self.key(0)?, self.number(1)?),
            name => return Err(format!("{name:?} is no key function")),
        })
    }

    fn groups(&self) -> Result<Vec<Arc<GroupSet>>, String> {
        self.argument(1).map_err(|_| "group: needs the name of a group set".to_owned())?;
        let sets = self.arguments.iter().skip(1).map(|set| {
            let set = plain(set);
            let found = self.lookups.groups.get(&set).cloned();
            let empty = || Arc::new(GroupSet::from_networks([]));
            let found = found.or_else(|| self.lookups.absent_is_empty.then(empty));
            found.ok_or_else(|| format!("group: no group set {set:?}"))
        });
        sets.collect()
    }
}

/// Arguments of functions that take no list.
const MOST_ARGUMENTS: [(&str, usize); 16] = [
    ("map", 2),
    ("country", 2),
    ("asn", 2),
    ("oui", 2),
    ("host", 2),
    ("dns", 1),
    ("uri", 2),
    ("prefix", 3),
    ("suffix", 3),
    ("mask", 2),
    ("range", 3),
    ("eq", 2),
    ("null", 2),
    ("if", 4),
    ("bits", 2),
    ("link", 1),
];

impl From<Named> for Expression {
    fn from(named: Named) -> Self {
        match named {
            Named::Key(key, layer) => Self::Key(key, layer),
            Named::Custom(name) => Self::Custom(name),
        }
    }
}

impl Expression {
    /// What kind of value it has.
    pub fn form(&self) -> Form {
        match self {
            Self::Key(key, _) => key.form,
            Self::Custom(_) => Form::Any,
            Self::Function(function) => function.form(),
        }
    }

    /// Whether it looks something up: most packets of a rare kind are null there, and it is evaluated first.
    pub(crate) fn looks_up(&self) -> bool {
        matches!(self, Self::Function(function) if function.looks_up())
    }

    /// The value for a packet; `None` is null.
    #[inline]
    pub fn evaluate<'a>(&'a self, sampled: &Sampled<'a>) -> Option<Atom<'a>> {
        match self {
            Self::Key(key, layer) if sampled.custom.is_none() => (key.get)(sampled, *layer),
            Self::Key(key, 0) => sampled.custom_field(key.name, key.form),
            Self::Key(..) => None,
            Self::Custom(name) => sampled.custom_field(name, Form::Any),
            Self::Function(function) => function.evaluate(sampled),
        }
    }
}
