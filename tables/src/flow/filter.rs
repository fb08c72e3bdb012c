//! Filters: which packets a definition counts.
//!
//! `ipprotocol=6&(tcpsourceport=80,443|stack~.*dns)`: keys and key functions are compared with lists, of which one must
//! be met. What is wanted is read once, when the definition is compiled, so that numbers and addresses of packets are
//! compared as such and no text is made of them.

use std::net::{Ipv4Addr, Ipv6Addr};

use decode::{Interface, Mac};
use regex::{Regex, RegexBuilder};

use super::atom::{Atom, Stack};
use super::expression::{self, DEEPEST, Expression, LONGEST, Lookups};
use super::keys::Sampled;
use super::layout::{Form, atom_of};
use crate::spec_error::{SpecError, wrong};
use crate::topology::role::Role;

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
    /// The data source must be a port of this role.
    At(Role),
}

/// What a key is compared with.
#[derive(Clone, Debug)]
pub enum Comparison {
    /// One of these values.
    OneOf(Box<Wanted>),
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
        let mut parser = Parser { rest: text, lookups };
        let filter = parser.any(0).map_err(|reason| wrong("filter", reason))?;
        let rest = parser.rest.trim();
        if rest.is_empty() { Ok(filter) } else { Err(wrong("filter", format!("{rest:?} is not understood"))) }
    }

    /// Whether a packet passes.
    #[inline]
    pub fn holds(&self, sampled: &Sampled<'_>) -> bool {
        match self {
            Self::Compare { key, with, not } => {
                let value = key.evaluate(sampled);
                let holds = match with {
                    Comparison::OneOf(wanted) => match &value {
                        Some(value) => wanted.has(value),
                        None => wanted.null,
                    },
                    Comparison::Matches(regex) => {
                        value.is_some_and(|value| regex.is_match(value.text(sampled.arena)))
                    }
                };
                holds != *not
            }
            Self::At(role) => sampled.learned.topology().role(*sampled.agent, sampled.source) == *role,
            Self::All(filters) => filters.iter().all(|filter| filter.holds(sampled)),
            Self::Any(filters) => filters.iter().any(|filter| filter.holds(sampled)),
        }
    }
}

/// Lists up to this long are looked through from the front: longer ones are sorted, and halved.
const SHORT: usize = 8;

/// What a key may be, by kinds of values.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Whether it may be null.
    null: bool,
    numbers: Vec<u64>,
    floats: Vec<f64>,
    flags: Vec<bool>,
    macs: Vec<Mac>,
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
    bits: Vec<u16>,
    interfaces: Vec<Interface>,
    stacks: Vec<Stack>,
    texts: Vec<String>,
}

fn find<T: Ord>(list: &[T], value: &T) -> bool {
    if list.len() <= SHORT { list.contains(value) } else { list.binary_search(value).is_ok() }
}

impl Wanted {
    /// Reads the values that a key of a form is compared with.
    fn read(form: Form, values: &[String]) -> Result<Self, String> {
        let mut wanted = Self::default();
        for text in values {
            if text == "null" {
                wanted.null = true;
            }
            if !wanted.add(form, text) && text != "null" {
                return Err(format!("{text:?} is no {}", kind(form)));
            }
        }
        wanted.numbers.sort_unstable();
        wanted.macs.sort_unstable();
        wanted.v4.sort_unstable();
        wanted.v6.sort_unstable();
        wanted.texts.sort_unstable();
        Ok(wanted)
    }

    /// Takes a text as every kind of value of the form that it may be; false when it is none.
    fn add(&mut self, form: Form, text: &str) -> bool {
        let of = |kind: Form| if form == kind || form.is_open() { atom_of(kind, text) } else { None };
        let is_number = form.is_open() || matches!(form, Form::U8 | Form::U16 | Form::U32 | Form::U64);
        let before = self.len();
        if let Some(Atom::Number(number)) = atom_of(Form::U64, text).filter(|_| is_number) {
            self.numbers.push(number);
        }
        if is_number && let Ok(number) = text.parse() {
            self.floats.push(number);
        }
        if form == Form::Bool || form.is_open() {
            // `yes` and `no` are what clients of the incumbent ask for.
            let flag = match text {
                "true" | "yes" => Some(true),
                "false" | "no" => Some(false),
                _ => None,
            };
            self.flags.extend(flag);
        }
        if form == Form::Mac || form.is_open() {
            let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-')).collect();
            self.macs.extend(digits.parse::<Mac>().ok());
        }
        if let Some(Atom::V4(address)) = of(Form::V4) {
            self.v4.push(address);
        }
        if let Some(Atom::V6(address)) = of(Form::V6) {
            self.v6.push(address);
        }
        if let Some(Atom::Bits(bits, _)) = of(Form::Bits) {
            self.bits.push(bits);
        }
        if let Some(Atom::Interface(interface)) = of(Form::Interface) {
            self.interfaces.push(interface);
        }
        if let Some(Atom::Stack(stack)) = of(Form::Stack) {
            self.stacks.push(stack);
        }
        if form == Form::Text || form.is_open() {
            self.texts.push(text.to_owned());
        }
        self.len() > before
    }

    fn len(&self) -> usize {
        self.numbers.len()
            + self.floats.len()
            + self.flags.len()
            + self.macs.len()
            + self.v4.len()
            + self.v6.len()
            + self.bits.len()
            + self.interfaces.len()
            + self.stacks.len()
            + self.texts.len()
    }

    /// Whether a value is among them.
    #[inline]
    fn has(&self, value: &Atom<'_>) -> bool {
        match value {
            Atom::Number(number) => find(&self.numbers, number),
            Atom::V4(address) => find(&self.v4, address),
            Atom::V6(address) => find(&self.v6, address),
            Atom::Mac(mac) => find(&self.macs, mac),
            Atom::Bool(flag) => self.flags.contains(flag),
            Atom::Float(number) => self.floats.contains(number),
            Atom::Bits(bits, _) => self.bits.contains(bits),
            Atom::Interface(interface) => self.interfaces.contains(interface),
            Atom::Stack(stack) => self.stacks.contains(stack),
            Atom::Text(text) => {
                if self.texts.len() <= SHORT {
                    self.texts.iter().any(|wanted| wanted == text)
                } else {
                    self.texts.binary_search_by(|wanted| wanted.as_str().cmp(text)).is_ok()
                }
            }
        }
    }
}

/// What the values of a form are.
fn kind(form: Form) -> &'static str {
    match form {
        Form::U8 | Form::U16 | Form::U32 | Form::U64 => "number",
        Form::Bool => "true or false",
        Form::Mac => "MAC address",
        Form::V4 => "IPv4 address",
        Form::V6 => "IPv6 address",
        Form::Bits => "number of zeros and ones",
        Form::Interface => "interface: an index, internal, multiple, discard or unknown",
        Form::Stack => "list of layers, eth.ip.tcp",
        Form::Text | Form::Plain | Form::Any => "text",
    }
}

struct Parser<'t> {
    rest: &'t str,
    lookups: &'t Lookups,
}

impl Parser<'_> {
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
        let end = operator(self.rest).ok_or("a comparison has no =, != or ~")?;
        let (key, rest) = self.rest.split_at(end);
        let (not, rest) = rest.strip_prefix('!').map_or((false, rest), |rest| (true, rest));
        let (matches, rest) = match rest.strip_prefix('~') {
            Some(rest) => (true, rest),
            None => (false, rest.strip_prefix('=').ok_or("after ! there is neither = nor ~")?),
        };
        let key = expression::one(key, self.lookups)?;
        let (values, rest) = values(rest.trim_start(), matches)?;
        self.rest = rest;
        let with = if matches {
            let either: Vec<String> = values.iter().map(|value| format!("(?:{value})")).collect();
            let whole = format!("^(?:{})$", either.join("|"));
            let regex = RegexBuilder::new(&whole).size_limit(1 << 20).build();
            Comparison::Matches(regex.map_err(|error| error.to_string())?)
        } else {
            Comparison::OneOf(Box::new(Wanted::read(key.form(), &values)?))
        };
        Ok(Filter::Compare { key, with, not })
    }
}

/// Where the operator of a comparison begins: a key may hold its characters in brackets or behind a backslash.
fn operator(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut escaped = false;
    text.find(|c| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match c {
            '\\' => escaped = true,
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && matches!(c, '=' | '~' | '!')
    })
}

/// A list of values or of regular expressions, and what stands behind it.
///
/// Commas separate, also within quotes; quotes keep everything else. Outside quotes a value ends before `&`, `|` or a
/// bracket that closes more than was opened; a regular expression keeps what stands in brackets of its own. A backslash
/// takes the next character as it is, and stays where the value is a regular expression.
fn values(text: &str, regex: bool) -> Result<(Vec<String>, &str), String> {
    let mut values = vec![String::new()];
    // Where it is: within quotes, brackets, the braces and the class of a regular expression.
    let (mut quoted, mut round, mut braces, mut class) = (false, 0_usize, 0_usize, false);
    let mut characters = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = characters.next() {
        let Some(value) = values.last_mut() else { break };
        match c {
            '\\' => {
                let (_, next) = characters.next().ok_or("a backslash stands at the end")?;
                if regex {
                    value.push(c);
                }
                value.push(next);
                continue;
            }
            ']' => class = false,
            _ if class => {}
            '"' => {
                quoted = !quoted;
                continue;
            }
            ',' if round + braces == 0 => {
                values.push(String::new());
                continue;
            }
            '&' | '|' if !quoted && round == 0 => {
                end = at;
                break;
            }
            ')' if !quoted && round == 0 => {
                end = at;
                break;
            }
            '(' if regex || !quoted => round += 1,
            ')' => round = round.saturating_sub(1),
            '[' => class = regex,
            '{' if regex => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            _ => {}
        }
        value.push(c);
    }
    if quoted {
        return Err("a quote is not closed".to_owned());
    }
    let trimmed = values.iter().map(|value| value.trim().to_owned()).collect();
    Ok((trimmed, text.get(end..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_where_they_should_be() {
        for (text, regex, list, rest) in [
            ("80,443&x=1", false, "80|443", "&x=1"),
            (" 80 , 443 )", false, "80|443", ")"),
            ("\"a.com.,b.com.\"&y=2", false, "a.com.|b.com.", "&y=2"),
            ("\"a&b\",\"c|d\"|z=1", false, "a&b|c|d", "|z=1"),
            ("a\\,b,\\\"c\\&", false, "a,b|\"c&", ""),
            ("f(x),g", false, "f(x)|g", ""),
            ("eth\\.(ip|ip6)\\.tcp|x=1", true, "eth\\.(ip|ip6)\\.tcp", "|x=1"),
            ("a{1,3},[&|,]*&x=1", true, "a{1,3}|[&|,]*", "&x=1"),
            ("[)]\\)&x=1", true, "[)]\\)", "&x=1"),
            ("\"a|b\"&x=1", true, "a|b", "&x=1"),
            ("", false, "", ""),
        ] {
            let (values, left) = values(text, regex).unwrap_or_default();
            assert_eq!((values.join("|").as_str(), left), (list, rest), "{text}");
        }
        assert!(values("\"a", false).is_err());
        assert!(values("a\\", false).is_err());
    }

    #[test]
    fn long_lists_are_found_in() {
        let all: Vec<String> = (0..100).map(|n| (n * 3).to_string()).collect();
        for (form, make) in
            [(Form::U16, (|n| Atom::Number(n)) as fn(u64) -> Atom<'static>), (Form::Any, |n| Atom::Number(n))]
        {
            let wanted = Wanted::read(form, &all).unwrap_or_default();
            assert!((0..300).all(|n| wanted.has(&make(n)) == (n % 3 == 0)));
        }
        let wanted = Wanted::read(Form::Text, &all).unwrap_or_default();
        assert!(wanted.has(&Atom::Text("297")) && !wanted.has(&Atom::Text("298")));
    }
}
