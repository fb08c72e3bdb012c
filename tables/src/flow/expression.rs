//! The language of keys, key functions and filters.
//!
//! A key is a name or a function with arguments separated by colons, `group:ipsource:sites`. Brackets hold an
//! argument that has colons of its own, `prefix:[or:ipsource:ip6source]:.:2`; a backslash takes the character
//! after it as it is. A filter compares keys with lists: `ipprotocol=6&(tcpsourceport=80,443|stack~.*dns)`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::atom::Atom;
use super::group::{GroupSet, ValueMap};
use super::keys::{self, KEYS, Sampled};
use super::layout::Form;
use super::spec::{SpecError, wrong};

/// How deep functions and brackets may nest.
const DEEPEST: usize = 8;

/// Characters of an expression at most.
const LONGEST: usize = 4096;

/// Group sets and maps that functions may name.
#[derive(Clone, Debug, Default)]
pub struct Lookups {
    /// Group sets by name.
    pub groups: BTreeMap<String, Arc<GroupSet>>,
    /// Maps by name.
    pub maps: BTreeMap<String, Arc<ValueMap>>,
}

/// A compiled key expression.
#[derive(Clone, Debug)]
pub enum Expression {
    /// A key of the catalogue, of the nth layer.
    Key(usize, usize),
    /// A function of other expressions.
    Function(Box<Function>),
}

/// A key function.
#[derive(Clone, Debug)]
pub enum Function {
    /// Name of the group that holds an address; sets are tried in order.
    Group(Expression, Vec<Arc<GroupSet>>),
    /// Label of a value.
    Map(Expression, Arc<ValueMap>),
    /// The first tokens of a text.
    Prefix(Expression, String, usize),
    /// The last tokens of a text.
    Suffix(Expression, String, usize),
    /// The network of an address.
    Mask(Expression, u8),
    /// Whether a number is within bounds.
    Range(Expression, f64, Option<f64>),
    /// Whether two keys are equal.
    Equal(Expression, Expression),
    /// A text where the key is null.
    Null(Expression, String),
    /// The first key that is not null.
    Or(Vec<Expression>),
    /// One of two keys, by a value of another.
    If(Expression, String, Expression, Expression),
    /// Which of some tokens comes first in a text.
    First(Expression, String, Vec<String>),
    /// Keys joined by a text.
    Concat(String, Vec<Expression>),
    /// Bits of a number.
    Bits(Expression, u64),
}

/// Functions of the language that this collector does not have yet.
const NOT_YET: [&str; 7] = ["country", "asn", "oui", "host", "dns", "uri", "link"];

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
    parts
        .iter()
        .map(|part| compile(part.trim(), lookups, 0).map_err(|reason| wrong(attribute, reason)))
        .collect()
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
    if arguments.is_empty() {
        let (place, layer) = keys::find(name).ok_or_else(|| format!("{name:?} is no key"))?;
        return Ok(Expression::Key(place, layer));
    }
    if NOT_YET.contains(&name.as_str()) {
        return Err(format!("{name}: is not supported yet"));
    }
    let key = |n: usize| {
        let argument = arguments.get(n).ok_or_else(|| format!("{name}: needs more arguments"))?;
        compile(argument, lookups, depth + 1)
    };
    let word = |n: usize| {
        arguments.get(n).map(|text| plain(text)).ok_or_else(|| format!("{name}: needs more arguments"))
    };
    let count = |n: usize| word(n)?.parse::<usize>().map_err(|_| format!("{name}: needs a number"));
    let from = |n: usize| arguments.get(n..).unwrap_or_default();
    let function = match name.as_str() {
        "group" => {
            let sets = from(1).iter().map(|set| {
                lookups
                    .groups
                    .get(set.as_str())
                    .cloned()
                    .ok_or_else(|| format!("group: no group set {set:?}"))
            });
            let sets = sets.collect::<Result<Vec<_>, _>>()?;
            if sets.is_empty() {
                return Err("group: needs the name of a group set".to_owned());
            }
            Function::Group(key(0)?, sets)
        }
        "map" => {
            let map = word(1)?;
            let map = lookups.maps.get(&map).cloned().ok_or_else(|| format!("map: no map {map:?}"))?;
            Function::Map(key(0)?, map)
        }
        "prefix" => Function::Prefix(key(0)?, delimiter(word(1)?)?, count(2)?),
        "suffix" => Function::Suffix(key(0)?, delimiter(word(1)?)?, count(2)?),
        "mask" => Function::Mask(key(0)?, u8::try_from(count(1)?).map_err(|_| "mask: at most 128 bits")?),
        "range" => {
            let bound = |text: String| text.parse::<f64>().map_err(|_| "range: needs numbers".to_owned());
            let high = if arguments.len() > 2 { Some(bound(word(2)?)?) } else { None };
            Function::Range(key(0)?, bound(word(1)?)?, high)
        }
        "eq" => Function::Equal(key(0)?, key(1)?),
        "null" => Function::Null(key(0)?, word(1).unwrap_or_else(|_| "null".to_owned())),
        "or" => Function::Or((0..arguments.len()).map(key).collect::<Result<_, _>>()?),
        "if" => Function::If(key(0)?, word(1)?, key(2)?, key(3)?),
        "first" => {
            Function::First(key(0)?, delimiter(word(1)?)?, from(2).iter().map(|token| plain(token)).collect())
        }
        "concat" => Function::Concat(word(0)?, (1..arguments.len()).map(key).collect::<Result<_, _>>()?),
        "bits" => {
            let mask = word(1)?;
            Function::Bits(key(0)?, mask.parse().map_err(|_| "bits: needs a number".to_owned())?)
        }
        _ => return Err(format!("{name:?} is no key function")),
    };
    Ok(Expression::Function(Box::new(function)))
}

fn delimiter(text: String) -> Result<String, String> {
    if text.is_empty() { Err("a delimiter is empty".to_owned()) } else { Ok(text) }
}

impl Expression {
    /// What kind of value it has.
    pub fn form(&self) -> Form {
        match self {
            Self::Key(place, _) => KEYS.get(*place).map_or(Form::Any, |key| key.form),
            Self::Function(function) => function.form(),
        }
    }

    /// Whether it looks something up: most packets of a rare kind are null there, and it is evaluated first.
    pub(crate) fn looks_up(&self) -> bool {
        matches!(self, Self::Function(function) if matches!(**function, Function::Group(..) | Function::Map(..)))
    }

    /// The value for a packet; `None` is null.
    pub fn evaluate<'a>(&'a self, sampled: &Sampled<'a>) -> Option<Atom<'a>> {
        match self {
            Self::Key(place, layer) => (KEYS.get(*place)?.get)(sampled, *layer),
            Self::Function(function) => function.evaluate(sampled),
        }
    }
}

fn shared<'a>(label: &'a Arc<str>) -> Atom<'a> {
    Atom::Text(label)
}

/// A network as text: `10.0.0.0/8`, `2001:DB8::/32`.
fn network_text<'a>(sampled: &Sampled<'a>, network: Atom<'a>, bits: u8) -> Atom<'a> {
    let mut out = bumpalo::collections::String::new_in(sampled.arena);
    network.write(&mut out);
    // An arena takes everything.
    let _ = write!(out, "/{bits}");
    Atom::Text(out.into_bump_str())
}

impl Function {
    fn form(&self) -> Form {
        let same = |a: Form, b: Form| if a == b { a } else { Form::Any };
        match self {
            Self::Range(..) | Self::Equal(..) => Form::Bool,
            Self::Bits(..) => Form::U64,
            Self::Null(key, _) => same(key.form(), Form::Text),
            Self::Or(keys) => keys.iter().map(Expression::form).reduce(same).unwrap_or(Form::Any),
            Self::If(_, _, then, otherwise) => same(then.form(), otherwise.form()),
            Self::Group(..)
            | Self::Map(..)
            | Self::Prefix(..)
            | Self::Suffix(..)
            | Self::Mask(..)
            | Self::First(..)
            | Self::Concat(..) => Form::Text,
        }
    }

    fn evaluate<'a>(&'a self, sampled: &Sampled<'a>) -> Option<Atom<'a>> {
        match self {
            Self::Group(key, sets) => {
                let address: IpAddr = match key.evaluate(sampled)? {
                    Atom::V4(address) => address.into(),
                    Atom::V6(address) => address.into(),
                    _ => return None,
                };
                sets.iter().find_map(|set| set.group(address)).map(shared)
            }
            Self::Map(key, map) => map.label(key.evaluate(sampled)?.text(sampled.arena)).map(shared),
            Self::Prefix(key, delimiter, n) => {
                let text = key.evaluate(sampled)?.text(sampled.arena);
                let ends = text.match_indices(delimiter.as_str()).map(|(at, _)| at).nth(n.checked_sub(1)?);
                Some(Atom::Text(ends.and_then(|end| text.get(..end)).unwrap_or(text)))
            }
            Self::Suffix(key, delimiter, n) => {
                let text = key.evaluate(sampled)?.text(sampled.arena);
                let begins = text.rmatch_indices(delimiter.as_str()).nth(n.checked_sub(1)?);
                let begins = begins.map(|(at, found)| at + found.len());
                Some(Atom::Text(begins.and_then(|begins| text.get(begins..)).unwrap_or(text)))
            }
            Self::Mask(key, bits) => match key.evaluate(sampled)? {
                Atom::V4(address) => {
                    let bits = (*bits).min(32);
                    let network = ip_network::Ipv4Network::new_truncate(address, bits).ok()?;
                    Some(network_text(sampled, Atom::V4(network.network_address()), bits))
                }
                Atom::V6(address) => {
                    let bits = (*bits).min(128);
                    let network = ip_network::Ipv6Network::new_truncate(address, bits).ok()?;
                    Some(network_text(sampled, Atom::V6(network.network_address()), bits))
                }
                _ => None,
            },
            Self::Range(key, low, high) => {
                let number = key.evaluate(sampled)?.number()?;
                Some(Atom::Bool(number >= *low && high.is_none_or(|high| number <= high)))
            }
            Self::Equal(a, b) => Some(Atom::Bool(a.evaluate(sampled)? == b.evaluate(sampled)?)),
            Self::Null(key, text) => Some(key.evaluate(sampled).unwrap_or(Atom::Text(text.as_str()))),
            Self::Or(keys) => keys.iter().find_map(|key| key.evaluate(sampled)),
            Self::If(key, wanted, then, otherwise) => {
                let holds =
                    key.evaluate(sampled).is_some_and(|value| value.text(sampled.arena) == wanted.as_str());
                if holds { then } else { otherwise }.evaluate(sampled)
            }
            Self::First(key, delimiter, tokens) => {
                let text = key.evaluate(sampled)?.text(sampled.arena);
                let found =
                    text.split(delimiter.as_str()).find_map(|token| tokens.iter().find(|t| *t == token))?;
                Some(Atom::Text(found.as_str()))
            }
            Self::Concat(separator, keys) => {
                let mut out = bumpalo::collections::String::new_in(sampled.arena);
                for (place, key) in keys.iter().enumerate() {
                    out.push_str(if place == 0 { "" } else { separator });
                    key.evaluate(sampled)?.write(&mut out);
                }
                Some(Atom::Text(out.into_bump_str()))
            }
            Self::Bits(key, mask) => Some(Atom::Number(key.evaluate(sampled)?.number()? as u64 & mask)),
        }
    }
}

/// A compiled filter.
#[derive(Clone, Debug)]
pub enum Filter {
    /// All must hold.
    All(Vec<Filter>),
    /// One must hold.
    Any(Vec<Filter>),
    /// A comparison.
    Compare {
        /// What is compared.
        key: Expression,
        /// With what.
        with: Comparison,
        /// Whether it must not hold.
        not: bool,
    },
}

/// What a key is compared with.
#[derive(Clone, Debug)]
pub enum Comparison {
    /// One of these texts; `null` stands for a key that is null.
    OneOf(Vec<String>),
    /// A regular expression over the whole text.
    Matches(Regex),
}

impl Filter {
    /// Compiles a filter.
    ///
    /// # Errors
    /// It cannot be understood; the message says where.
    pub(crate) fn compile(text: &str, lookups: &Lookups) -> Result<Self, SpecError> {
        if text.len() > LONGEST {
            return Err(wrong("filter", format!("longer than {LONGEST} characters")));
        }
        let mut parser = FilterParser { rest: text, lookups };
        let filter = parser.any(0).map_err(|reason| wrong("filter", reason))?;
        let rest = parser.rest.trim();
        if rest.is_empty() { Ok(filter) } else { Err(wrong("filter", format!("{rest:?} is not understood"))) }
    }

    /// Whether a packet passes.
    pub fn holds(&self, sampled: &Sampled<'_>) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.holds(sampled)),
            Self::Any(filters) => filters.iter().any(|filter| filter.holds(sampled)),
            Self::Compare { key, with, not } => {
                let value = key.evaluate(sampled);
                let holds = match with {
                    Comparison::OneOf(texts) => match &value {
                        Some(value) => {
                            let text = value.text(sampled.arena);
                            texts.iter().any(|wanted| wanted == text)
                        }
                        None => texts.iter().any(|wanted| wanted == "null"),
                    },
                    Comparison::Matches(regex) => {
                        value.is_some_and(|value| regex.is_match(value.text(sampled.arena)))
                    }
                };
                holds != *not
            }
        }
    }
}

struct FilterParser<'t> {
    rest: &'t str,
    lookups: &'t Lookups,
}

impl FilterParser<'_> {
    fn take(&mut self, wanted: char) -> bool {
        self.rest = self.rest.trim_start();
        self.rest.strip_prefix(wanted).map(|rest| self.rest = rest).is_some()
    }

    /// `&` binds tighter than `|`.
    fn any(&mut self, depth: usize) -> Result<Filter, String> {
        let mut filters = vec![self.all(depth)?];
        while self.take('|') {
            filters.push(self.all(depth)?);
        }
        Ok(if filters.len() == 1 { filters.swap_remove(0) } else { Filter::Any(filters) })
    }

    fn all(&mut self, depth: usize) -> Result<Filter, String> {
        let mut filters = vec![self.one(depth)?];
        while self.take('&') {
            filters.push(self.one(depth)?);
        }
        Ok(if filters.len() == 1 { filters.swap_remove(0) } else { Filter::All(filters) })
    }

    fn one(&mut self, depth: usize) -> Result<Filter, String> {
        if depth > DEEPEST {
            return Err(format!("brackets are nested more than {DEEPEST} deep"));
        }
        if self.take('(') {
            let filter = self.any(depth + 1)?;
            return if self.take(')') { Ok(filter) } else { Err("a bracket is not closed".to_owned()) };
        }
        let end = self.rest.find(['=', '~', '!']).ok_or("a comparison has no =, != or ~")?;
        let (key, rest) = self.rest.split_at(end);
        let (not, rest) = rest.strip_prefix('!').map_or((false, rest), |rest| (true, rest));
        let (matches, rest) = match rest.strip_prefix('~') {
            Some(rest) => (true, rest),
            None => (false, rest.strip_prefix('=').ok_or("after ! there is neither = nor ~")?),
        };
        let key = compile(key.trim(), self.lookups, 0)?;
        let rest = rest.trim_start();
        let (text, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or("a quote is not closed")?,
            None => {
                // A regular expression keeps its brackets: only an unbalanced one ends it.
                let mut open = 0_i32;
                let end = rest.find(|c| {
                    open += i32::from(c == '(') - i32::from(c == ')');
                    matches!(c, '&' | '|') && open <= 0 || open < 0
                });
                rest.split_at(end.unwrap_or(rest.len()))
            }
        };
        self.rest = rest;
        let with = if matches {
            let regex = RegexBuilder::new(&format!("^(?:{})$", text.trim())).size_limit(1 << 20).build();
            Comparison::Matches(regex.map_err(|error| error.to_string())?)
        } else {
            Comparison::OneOf(text.split(',').map(|text| text.trim().to_owned()).collect())
        };
        Ok(Filter::Compare { key, with, not })
    }
}
