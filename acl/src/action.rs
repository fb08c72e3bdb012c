//! What is done with the packets of a rule: the targets behind `-j`, with their options.

use std::fmt;
use std::net::Ipv4Addr;
use std::num::{NonZeroU8, NonZeroU32};
use std::str::FromStr;

use crate::error::{Invalid, shown};
use crate::interface::Interface;
use crate::number::number;
use crate::words::Word;

/// Longest prefix of log lines that a kernel takes, bytes.
const LONGEST_PREFIX: usize = 29;

/// What is done with the packets of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A copy of each goes through a GRE tunnel.
    Erspan(Erspan),
    /// A copy of each leaves by another port of the switch.
    Span {
        /// The port, or a bond; no pattern.
        port: Interface,
    },
    /// Those beyond a rate are dropped.
    Police(Police),
    /// They are dropped.
    Drop,
    /// They are logged by the kernel.
    Log {
        /// What the lines begin with.
        prefix: Option<LogPrefix>,
    },
}

/// A mirror through a tunnel. Its outer packets are IPv4, whatever is mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Erspan {
    source: Ipv4Addr,
    analyzer: Ipv4Addr,
    ttl: Option<NonZeroU8>,
}

impl Erspan {
    /// A mirror from `source`, which the switch need not have, to `analyzer`.
    ///
    /// # Errors
    /// One of them is no address of one host.
    pub fn new(source: Ipv4Addr, analyzer: Ipv4Addr, ttl: Option<NonZeroU8>) -> Result<Self, Invalid> {
        for (what, address) in [("--src-ip", source), ("--dst-ip", analyzer)] {
            if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
                return Err(Invalid(format!("{what} {address} is no address of a host")));
            }
        }
        Ok(Self { source, analyzer, ttl })
    }

    /// Where the tunnel begins.
    pub fn source(self) -> Ipv4Addr {
        self.source
    }

    /// Where the copies go.
    pub fn analyzer(self) -> Ipv4Addr {
        self.analyzer
    }

    /// The time to live of the outer packets; none is the switch's own.
    pub fn ttl(self) -> Option<NonZeroU8> {
        self.ttl
    }
}

/// A rate that packets may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Police {
    /// In what the two are counted.
    pub mode: PoliceMode,
    /// Packets or kilobytes per second.
    pub rate: NonZeroU32,
    /// Packets or kilobytes at once.
    pub burst: NonZeroU32,
}

/// In what a rate is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoliceMode {
    /// Packets (`pkt`).
    Packets,
    /// Kilobytes (`KB`).
    Kilobytes,
}

/// What log lines begin with: letters, digits, spaces and `-_.:,/=()[]`, which need no escaping anywhere; 29 at most.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogPrefix(String);

impl LogPrefix {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LogPrefix {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let of_prefix = |byte: u8| byte.is_ascii_alphanumeric() || b" -_.:,/=()[]".contains(&byte);
        if (1..=LONGEST_PREFIX).contains(&text.len()) && text.bytes().all(of_prefix) {
            return Ok(Self(text.to_owned()));
        }
        let wanted = format!("letters, digits, spaces and -_.:,/=()[] are one, {LONGEST_PREFIX} at most");
        Err(Invalid(format!("{} is no log prefix: {wanted}", shown(text))))
    }
}

impl Action {
    /// Reads the target and its options: the words behind `-j`.
    pub(crate) fn parse(target: Word<'_>, options: &[Word<'_>]) -> Result<Self, Invalid> {
        let allowed: &[&str] = match target.text {
            "ERSPAN" => &["--src-ip", "--dst-ip", "--ttl"],
            "SPAN" => &["--dport"],
            "POLICE" => &["--set-mode", "--set-rate", "--set-burst"],
            "DROP" => &[],
            "LOG" => &["--log-prefix"],
            other => {
                let wanted = "ERSPAN, SPAN, POLICE, DROP and LOG are allowed";
                return Err(Invalid(format!("the target {} is not of the grammar: {wanted}", shown(other))));
            }
        };
        let given = Options::read(target.text, allowed, options)?;
        Ok(match target.text {
            "ERSPAN" => {
                let address = |name| {
                    let text = given.needed(name)?;
                    text.parse().map_err(|_| {
                        Invalid(format!("{name} {} is no IPv4 address, and a tunnel is IPv4", shown(text)))
                    })
                };
                let ttl = given.optional("--ttl").map(|text| number(text, "time to live: 1 to 255 is one"));
                Self::Erspan(Erspan::new(address("--src-ip")?, address("--dst-ip")?, ttl.transpose()?)?)
            }
            "SPAN" => {
                let port: Interface = given.needed("--dport")?.parse()?;
                if port.is_pattern() {
                    return Err(Invalid(format!("SPAN goes to one port, not to all of {port}")));
                }
                Self::Span { port }
            }
            "POLICE" => {
                let mode = match given.needed("--set-mode")? {
                    "pkt" => PoliceMode::Packets,
                    "KB" => PoliceMode::Kilobytes,
                    other => return Err(Invalid(format!("--set-mode is pkt or KB, not {}", shown(other)))),
                };
                let number =
                    |name| number(given.needed(name)?, "rate or burst: a number from 1 to 4294967295 is one");
                Self::Police(Police { mode, rate: number("--set-rate")?, burst: number("--set-burst")? })
            }
            "DROP" => Self::Drop,
            _ => Self::Log { prefix: given.optional("--log-prefix").map(str::parse).transpose()? },
        })
    }

    /// Whether it is a mirror.
    pub fn is_mirror(&self) -> bool {
        matches!(self, Self::Erspan(_) | Self::Span { .. })
    }

    /// What cannot have come from a text: a mirror to a pattern of ports.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        match self {
            Self::Span { port } if port.is_pattern() => {
                Err(Invalid(format!("SPAN goes to one port, not to all of {port}")))
            }
            _ => Ok(()),
        }
    }
}

/// The target and its options.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Erspan(Erspan { source, analyzer, ttl }) => {
                write!(f, "ERSPAN --src-ip {source} --dst-ip {analyzer}")?;
                ttl.map_or(Ok(()), |ttl| write!(f, " --ttl {ttl}"))
            }
            Self::Span { port } => write!(f, "SPAN --dport {port}"),
            Self::Police(Police { mode, rate, burst }) => {
                let mode = match mode {
                    PoliceMode::Packets => "pkt",
                    PoliceMode::Kilobytes => "KB",
                };
                write!(f, "POLICE --set-mode {mode} --set-rate {rate} --set-burst {burst}")
            }
            Self::Drop => f.write_str("DROP"),
            Self::Log { prefix: None } => f.write_str("LOG"),
            Self::Log { prefix: Some(LogPrefix(prefix)) } => write!(f, "LOG --log-prefix \"{prefix}\""),
        }
    }
}

/// Options of a target, each given once.
struct Options<'l> {
    target: &'l str,
    given: Vec<(&'l str, &'l str)>,
}

impl<'l> Options<'l> {
    fn read(target: &'l str, allowed: &[&str], words: &[Word<'l>]) -> Result<Self, Invalid> {
        let mut options = Self { target, given: Vec::new() };
        for pair in words.chunks(2) {
            let Some(name) = pair.first().filter(|name| !name.quoted && allowed.contains(&name.text)) else {
                let what = pair.first().map_or("", |name| name.text);
                let wanted = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
                return Err(Invalid(format!("{target} has no {}; its options: {wanted}", shown(what))));
            };
            let value = pair.get(1).ok_or_else(|| Invalid(format!("{} has no value", name.text)))?;
            if value.quoted && name.text != "--log-prefix" {
                return Err(Invalid(format!("the value of {} stands in quotes", name.text)));
            }
            if options.optional(name.text).is_some() {
                return Err(Invalid(format!("{} is given twice", name.text)));
            }
            options.given.push((name.text, value.text));
        }
        Ok(options)
    }

    fn optional(&self, name: &str) -> Option<&'l str> {
        self.given.iter().find(|(given, _)| *given == name).map(|(_, value)| *value)
    }

    fn needed(&self, name: &str) -> Result<&'l str, Invalid> {
        self.optional(name).ok_or_else(|| Invalid(format!("{} needs {name}", self.target)))
    }
}
