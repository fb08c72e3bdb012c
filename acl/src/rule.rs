//! One rule: a chain, what packets it is about, and what is done with them.

use std::fmt;
use std::str::FromStr;

use crate::action::Action;
use crate::error::{Invalid, shown};
use crate::file::Table;
use crate::interface::Interface;
use crate::prefix::Prefix;
use crate::protocol::{Ports, Protocol};
use crate::words::{Word, printable, words};

/// Where in the switch a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Chain {
    /// What passes through.
    Forward,
    /// What is for the switch itself.
    Input,
}

/// A rule. Its fields can be put together freely; [`Rule::check`] says whether a table can have it, and a
/// [`crate::File`] has no others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Where it stands.
    pub chain: Chain,
    /// Where packets come in.
    pub input: Option<Interface>,
    /// Where they go out.
    pub output: Option<Interface>,
    /// Whom they are from.
    pub source: Option<Prefix>,
    /// Whom they are for.
    pub destination: Option<Prefix>,
    /// What they carry.
    pub protocol: Option<Protocol>,
    /// The ports that they are from.
    pub source_ports: Option<Ports>,
    /// The ports that they are for.
    pub destination_ports: Option<Ports>,
    /// What is done with them.
    pub action: Action,
}

impl Rule {
    /// A rule about all that this chain has.
    pub fn new(chain: Chain, action: Action) -> Self {
        Self {
            chain,
            input: None,
            output: None,
            source: None,
            destination: None,
            protocol: None,
            source_ports: None,
            destination_ports: None,
            action,
        }
    }

    /// Whether this table can have it.
    ///
    /// # Errors
    /// Addresses or the protocol are of the other version of IP, ports stand without a protocol that has them, or the
    /// chain cannot have what is wanted.
    pub fn check(&self, table: Table) -> Result<(), Invalid> {
        for prefix in [self.source, self.destination].into_iter().flatten() {
            if prefix.address().is_ipv4() != (table == Table::Ipv4) {
                return Err(Invalid(format!("{prefix} does not belong into {table}")));
            }
        }
        let other = match table {
            Table::Ipv4 => Protocol::ICMPV6,
            Table::Ipv6 => Protocol::ICMP,
        };
        if self.protocol == Some(other) {
            return Err(Invalid(format!("the protocol {other} does not belong into {table}")));
        }
        let has_ports = self.source_ports.is_some() || self.destination_ports.is_some();
        if has_ports && !self.protocol.is_some_and(Protocol::has_ports) {
            return Err(Invalid("ports need -p tcp, -p udp or -p sctp".to_owned()));
        }
        self.check_chain()?;
        self.action.check()
    }

    /// What comes in for the switch itself can be policed, dropped and logged; by a named interface, so that no rule
    /// without one cuts off the port by which the switch is managed.
    fn check_chain(&self) -> Result<(), Invalid> {
        if self.chain == Chain::Forward {
            return Ok(());
        }
        if self.action.is_mirror() {
            return Err(Invalid("a mirror belongs into the chain FORWARD".to_owned()));
        }
        if self.output.is_some() {
            return Err(Invalid("what comes into the chain INPUT does not go out".to_owned()));
        }
        if self.input.is_none() {
            return Err(Invalid("a rule of the chain INPUT needs --in-interface".to_owned()));
        }
        Ok(())
    }

    /// Reads the words of a match, and puts its value into its place.
    fn take(&mut self, name: Word<'_>, value: Option<&Word<'_>>) -> Result<(), Invalid> {
        let what = name.text;
        if name.quoted || !is_match(what) {
            let wanted = "-A, -i, -o, -s, -d, -p, --sport, --dport and -j are allowed";
            let why = if what == "!" { "nothing can be negated" } else { wanted };
            return Err(Invalid(format!("{} is not of the grammar: {why}", shown(what))));
        }
        let value = value.ok_or_else(|| Invalid(format!("{what} has no value")))?;
        if value.quoted {
            return Err(Invalid(format!("the value of {what} stands in quotes")));
        }
        match what {
            "-i" | "--in-interface" => set(&mut self.input, what, value.text),
            "-o" | "--out-interface" => set(&mut self.output, what, value.text),
            "-s" | "--source" | "--src" => set(&mut self.source, what, value.text),
            "-d" | "--destination" | "--dst" => set(&mut self.destination, what, value.text),
            "-p" | "--protocol" => set(&mut self.protocol, what, value.text),
            "--sport" | "--source-port" => set(&mut self.source_ports, what, value.text),
            _ => set(&mut self.destination_ports, what, value.text),
        }
    }
}

fn is_match(name: &str) -> bool {
    let names = "-i --in-interface -o --out-interface -s --source --src -d --destination --dst -p --protocol --sport \
                 --source-port --dport --destination-port";
    names.split_whitespace().any(|known| known == name)
}

fn set<V: FromStr<Err = Invalid>>(place: &mut Option<V>, name: &str, text: &str) -> Result<(), Invalid> {
    if place.is_some() {
        return Err(Invalid(format!("{name} is given twice")));
    }
    *place = Some(text.parse()?);
    Ok(())
}

/// Reads a rule: `-A CHAIN MATCHES -j TARGET OPTIONS`, matches and options in any order. Whether a table can have it is
/// left to [`Rule::check`].
impl FromStr for Rule {
    type Err = Invalid;

    fn from_str(line: &str) -> Result<Self, Invalid> {
        printable(line)?;
        let words = words(line)?;
        let plain = |at: usize| words.get(at).filter(|word| !word.quoted).map(|word| word.text);
        if !matches!(plain(0), Some("-A" | "--append")) {
            let first = plain(0).map_or_else(|| "it".to_owned(), shown);
            return Err(Invalid(format!("{first} does not begin a rule, which begins with -A")));
        }
        let chain = match plain(1) {
            Some("FORWARD") => Chain::Forward,
            Some("INPUT") => Chain::Input,
            other => {
                let other = shown(other.unwrap_or_default());
                return Err(Invalid(format!(
                    "the chain {other} is not of the grammar: FORWARD and INPUT are allowed"
                )));
            }
        };
        let jump = words.iter().position(|word| !word.quoted && matches!(word.text, "-j" | "--jump"));
        let matches = words.get(2..jump.unwrap_or(words.len())).unwrap_or_default();
        let mut rule = Self::new(chain, Action::Drop);
        for pair in matches.chunks(2) {
            if let Some(name) = pair.first() {
                rule.take(*name, pair.get(1))?;
            }
        }
        let behind = jump.map(|at| words.get(at + 1..).unwrap_or_default()).unwrap_or_default();
        let Some((target, options)) = behind.split_first() else {
            return Err(Invalid(
                "the rule has no target: -j and ERSPAN, SPAN, POLICE, DROP or LOG".to_owned(),
            ));
        };
        rule.action = Action::parse(*target, options)?;
        Ok(rule)
    }
}

/// The line, in the order and with the names of the article's rules.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = match self.chain {
            Chain::Forward => "FORWARD",
            Chain::Input => "INPUT",
        };
        write!(f, "-A {chain}")?;
        option(f, "--in-interface", self.input.as_ref())?;
        option(f, "--out-interface", self.output.as_ref())?;
        option(f, "-s", self.source.as_ref())?;
        option(f, "-d", self.destination.as_ref())?;
        option(f, "-p", self.protocol.as_ref())?;
        option(f, "--sport", self.source_ports.as_ref())?;
        option(f, "--dport", self.destination_ports.as_ref())?;
        write!(f, " -j {}", self.action)
    }
}

fn option(f: &mut fmt::Formatter<'_>, name: &str, value: Option<&impl fmt::Display>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, " {name} {value}"))
}
