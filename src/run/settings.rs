//! The settings of `finderscope run`: one table from which options, configuration keys, help and manual are made.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use clap::builder::{Arg, ArgAction};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use engine::interface::{FEWEST_FRAMES, Ingest, MOST_FRAMES, Mode};
use engine::{EngineOptions, MOST_WORKERS};

use tables::shard::Scale;
use tables::trust::{Foreign, List, Unlisted};

use super::queues::{interface, queues, ranges};
use super::references::Files;
use super::scripts::{self, Scripts};

/// What the collector is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Sockets, workers, limits of the tables.
    pub engine: EngineOptions,
    /// The REST interface.
    pub http: Http,
    /// Which agents are listed, and what becomes of others.
    pub trust: List,
    /// Where definitions set by REST are kept; `None` for the usual place.
    pub state_dir: Option<PathBuf>,
    /// Whether the built-in definitions are there.
    pub defaults: bool,
    /// Files of reference data, and whether names are looked up.
    pub references: Files,
    /// Scripts, and what they may do.
    pub scripts: Scripts,
}

/// Settings of the REST interface.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Names beside the address under which clients may reach it.
    pub hosts: Vec<String>,
    /// A file with the token that a write must show.
    pub token_file: Option<PathBuf>,
    /// Whether every write is refused.
    pub read_only: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            engine: EngineOptions {
                sflow: vec![SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 6343))],
                receive_buffer: 4 << 20,
                ..EngineOptions::default()
            },
            http: Http {
                listen: SocketAddr::from(([127, 0, 0, 1], 8008)),
                hosts: Vec::new(),
                token_file: None,
                read_only: false,
            },
            trust: List::default(),
            state_dir: None,
            defaults: true,
            references: Files::default(),
            scripts: Scripts::default(),
        }
    }
}

impl Settings {
    /// What cannot be together: the setting that asks for what another one does not give, and why.
    pub fn contradiction(&self) -> Option<(&'static str, String)> {
        let without = self.engine.interface.name.is_none();
        let ports = self.engine.dpdk.is_some();
        match self.engine.ingest {
            Ingest::Dpdk if !ports => Some((
                "ingest.mode",
                "DPDK has ports as it is told by the arguments of its environment: give them (ingest.dpdk_eal, --dpdk-eal)".to_owned(),
            )),
            Ingest::Dpdk if !without => Some((
                "ingest.interface",
                "an interface is read by AF_XDP, and DPDK is asked for (ingest.mode, --ingest)".to_owned(),
            )),
            Ingest::Auto | Ingest::Xdp | Ingest::Udp if ports => Some((
                "ingest.dpdk_eal",
                "they are for DPDK, which is not asked for (ingest.mode: dpdk, --ingest dpdk)".to_owned(),
            )),
            Ingest::Xdp if without => Some((
                "ingest.mode",
                "AF_XDP reads the queues of an interface: name it (ingest.interface, --interface)".to_owned(),
            )),
            _ if without && !self.engine.interface.queues.is_empty() => Some((
                "ingest.queues",
                "queues are those of an interface: name it (ingest.interface, --interface)".to_owned(),
            )),
            _ => None,
        }
    }
}

/// One setting.
pub struct Setting {
    /// Its table in the configuration file; empty for a key outside of all tables.
    pub section: &'static str,
    /// Its key there.
    pub key: &'static str,
    /// Its option on the command line.
    pub option: &'static str,
    /// What it does, one sentence without a full stop.
    pub help: &'static str,
    /// What it takes, and where that goes.
    pub(super) kind: Kind,
    /// How its value reads; that of [`Settings::default`] is the default that help and manual show.
    pub shown: fn(&Settings) -> String,
}

/// What a setting takes, with what puts it into the settings.
pub(super) enum Kind {
    Addresses(fn(&mut Settings, Vec<SocketAddr>)),
    Address(fn(&mut Settings, SocketAddr)),
    Names(fn(&mut Settings, Vec<String>)),
    Number { least: u64, most: u64, unit: &'static str, set: fn(&mut Settings, u64) },
    Queues(fn(&mut Settings, Vec<u32>)),
    Interface(fn(&mut Settings, String)),
    Arguments(fn(&mut Settings, String)),
    Path(fn(&mut Settings, PathBuf)),
    Paths(fn(&mut Settings, Vec<PathBuf>)),
    Texts { takes: &'static str, set: fn(&mut Settings, &[String]) -> Result<(), String> },
    Switch(fn(&mut Settings, bool)),
    Choice { names: &'static [&'static str], takes: &'static str, set: fn(&mut Settings, &str) },
}

/// A value as a file or a command line gives it.
#[derive(Clone, Debug)]
pub enum Raw {
    /// A text; from a command line also what will be a number or a switch.
    Text(String),
    /// A whole number.
    Number(i64),
    /// `true` or `false`.
    Switch(bool),
    /// A list.
    List(Vec<Raw>),
    /// Something that no setting takes; its name.
    Other(&'static str),
}

/// Every setting, in the order of help and manual.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().chain(scripts::SETTINGS)
}

/// All but those of scripts.
const SETTINGS: &[Setting] = &[
    Setting {
        section: "",
        key: "defaults",
        option: "defaults",
        help: "Define the flow `flows` and the group set `default` where nothing else of these names is defined",
        kind: Kind::Switch(|settings, on| settings.defaults = on),
        shown: |settings| settings.defaults.to_string(),
    },
    Setting {
        section: "",
        key: "state_dir",
        option: "state-dir",
        help: "Keep what REST defines in this directory, so that it survives a restart; `none` keeps nothing",
        kind: Kind::Path(|settings, path| settings.state_dir = Some(path)),
        shown: |settings| match &settings.state_dir {
            Some(path) => path.display().to_string(),
            None => "$STATE_DIRECTORY, $XDG_STATE_HOME/finderscope or ~/.local/state/finderscope".to_owned(),
        },
    },
    Setting {
        section: "sflow",
        key: "listen",
        option: "sflow",
        help: "Listen for sFlow on UDP addresses; `[::]` takes IPv4 too",
        kind: Kind::Addresses(|settings, addresses| settings.engine.sflow = addresses),
        shown: |settings| listed(&settings.engine.sflow),
    },
    Setting {
        section: "sflow",
        key: "receive_buffer",
        option: "receive-buffer",
        help: "Receive buffer asked for per socket; a smaller one that the kernel grants is warned about",
        kind: Kind::Number {
            least: 4096,
            most: 1 << 30,
            unit: "BYTES",
            set: |settings, bytes| settings.engine.receive_buffer = size(bytes),
        },
        shown: |settings| settings.engine.receive_buffer.to_string(),
    },
    Setting {
        section: "sflow",
        key: "workers",
        option: "workers",
        help: "Workers, each with a socket and tables of its own",
        kind: Kind::Number {
            least: 1,
            most: MOST_WORKERS as u64,
            unit: "N",
            set: |settings, workers| settings.engine.workers = NonZero::new(size(workers)),
        },
        shown: |settings| {
            settings.engine.workers.map_or_else(|| "one per processor".to_owned(), |n| n.to_string())
        },
    },
    Setting {
        section: "sflow",
        key: "pin",
        option: "pin",
        help: "Keep each worker on one processor",
        kind: Kind::Switch(|settings, on| settings.engine.pin = on),
        shown: |settings| settings.engine.pin.to_string(),
    },
    Setting {
        section: "ingest",
        key: "mode",
        option: "ingest",
        help: "How datagrams get in: from the queues of an interface past the kernel's network stack (AF_XDP), by UDP sockets \
               alone, or the former where `--interface` names one and it works; from ports of DPDK in a program that was built \
               with it",
        kind: Kind::Choice {
            names: &["auto", "xdp", "udp", "dpdk"],
            takes: "auto|xdp|udp|dpdk",
            set: |settings, name| {
                settings.engine.ingest = match name {
                    "xdp" => Ingest::Xdp,
                    "udp" => Ingest::Udp,
                    "dpdk" => Ingest::Dpdk,
                    _ => Ingest::Auto,
                };
            },
        },
        shown: |settings| match settings.engine.ingest {
            Ingest::Auto => "auto".to_owned(),
            Ingest::Xdp => "xdp".to_owned(),
            Ingest::Udp => "udp".to_owned(),
            Ingest::Dpdk => "dpdk".to_owned(),
        },
    },
    Setting {
        section: "ingest",
        key: "interface",
        option: "interface",
        help: "The interface whose queues are read by AF_XDP",
        kind: Kind::Interface(|settings, name| settings.engine.interface.name = Some(name)),
        shown: |settings| settings.engine.interface.name.clone().unwrap_or_else(|| "none".to_owned()),
    },
    Setting {
        section: "ingest",
        key: "queues",
        option: "queues",
        help: "The queues of it that are read, as `0-3,6`; worker N takes those that leave N when divided by the workers",
        kind: Kind::Queues(|settings, queues| settings.engine.interface.queues = queues),
        shown: |settings| shown_queues(&settings.engine.interface.queues),
    },
    Setting {
        section: "ingest",
        key: "xdp_mode",
        option: "xdp-mode",
        help: "How frames get from a queue to its worker: the best that works, without a copy, with one, or with one made by \
               the kernel instead of the driver",
        kind: Kind::Choice {
            names: &["auto", "zero-copy", "copy", "generic"],
            takes: "auto|zero-copy|copy|generic",
            set: |settings, name| {
                settings.engine.interface.mode = Mode::named(name).unwrap_or_default();
            },
        },
        shown: |settings| settings.engine.interface.mode.to_string(),
    },
    Setting {
        section: "ingest",
        key: "busy_poll",
        option: "busy-poll",
        help: "Have workers with queues poll the driver and never sleep: the least delay, for a whole processor each",
        kind: Kind::Switch(|settings, on| settings.engine.interface.busy_poll = on),
        shown: |settings| settings.engine.interface.busy_poll.to_string(),
    },
    Setting {
        section: "ingest",
        key: "verify_checksum",
        option: "verify-checksum",
        help: "Verify the UDP checksum of what AF_XDP takes, as the kernel does for its sockets",
        kind: Kind::Switch(|settings, on| settings.engine.interface.verify_checksum = on),
        shown: |settings| settings.engine.interface.verify_checksum.to_string(),
    },
    Setting {
        section: "ingest",
        key: "share_umem",
        option: "share-umem",
        help: "Have all queues share one piece of memory for frames",
        kind: Kind::Switch(|settings, on| settings.engine.interface.share_umem = on),
        shown: |settings| settings.engine.interface.share_umem.to_string(),
    },
    Setting {
        section: "ingest",
        key: "frames",
        option: "frames",
        help: "Frames of memory for each queue, of 2 or 4 KiB: packets that may wait for a worker; a power of two",
        kind: Kind::Number {
            least: FEWEST_FRAMES as u64,
            most: MOST_FRAMES as u64,
            unit: "FRAMES",
            set: |settings, frames| settings.engine.interface.frames = word(frames).next_power_of_two(),
        },
        shown: |settings| settings.engine.interface.frames.to_string(),
    },
    Setting {
        section: "ingest",
        key: "own_addresses",
        option: "own-addresses",
        help: "Have AF_XDP take only what is sent to an address of this machine, as UDP sockets do, and leave the rest to the kernel",
        kind: Kind::Switch(|settings, on| settings.engine.interface.own_addresses = on),
        shown: |settings| settings.engine.interface.own_addresses.to_string(),
    },
    Setting {
        section: "ingest",
        key: "dpdk_eal",
        option: "dpdk-eal",
        help: "Arguments of DPDK's environment, as `-a 0000:03:00.0`: which cards or virtual ports it has, and which memory",
        kind: Kind::Arguments(|settings, arguments| settings.engine.dpdk = Some(arguments)),
        shown: |settings| settings.engine.dpdk.clone().unwrap_or_else(|| "none".to_owned()),
    },
    Setting {
        section: "http",
        key: "listen",
        option: "http",
        help: "Answer REST on an address",
        kind: Kind::Address(|settings, address| settings.http.listen = address),
        shown: |settings| settings.http.listen.to_string(),
    },
    Setting {
        section: "http",
        key: "hosts",
        option: "http-host",
        help: "Names beside the address under which clients reach REST (Host header)",
        kind: Kind::Names(|settings, names| settings.http.hosts = names),
        shown: |settings| {
            if settings.http.hosts.is_empty() { "none".into() } else { settings.http.hosts.join(", ") }
        },
    },
    Setting {
        section: "http",
        key: "token_file",
        option: "http-token-file",
        help: "A file with the token that writes must show; without one ($FINDERSCOPE_HTTP_TOKEN too) they are open on a \
               loopback address and refused on any other",
        kind: Kind::Path(|settings, path| settings.http.token_file = Some(path)),
        shown: |settings| {
            settings.http.token_file.as_ref().map_or("none".into(), |p| p.display().to_string())
        },
    },
    Setting {
        section: "http",
        key: "read_only",
        option: "http-readonly",
        help: "Refuse every write",
        kind: Kind::Switch(|settings, on| settings.http.read_only = on),
        shown: |settings| settings.http.read_only.to_string(),
    },
    Setting {
        section: "tables",
        key: "agents",
        option: "agents",
        help: "Agents that are kept at most; beyond, the one that has been silent for longest gives way",
        kind: Kind::Number {
            least: 1,
            most: 10_000_000,
            unit: "N",
            set: |settings, agents| settings.engine.tables.agents = size(agents),
        },
        shown: |settings| settings.engine.tables.agents.to_string(),
    },
    Setting {
        section: "tables",
        key: "sources",
        option: "sources",
        help: "Data sources of all agents that are kept at most; beyond, agents that were heard but once give way",
        kind: Kind::Number {
            least: 1,
            most: 100000000,
            unit: "N",
            set: |settings, number| settings.engine.tables.sources = size(number),
        },
        shown: |settings| settings.engine.tables.sources.to_string(),
    },
    Setting {
        section: "tables",
        key: "agent_timeout",
        option: "agent-timeout",
        help: "Seconds of silence after which an agent, or one of its data sources, is forgotten",
        kind: Kind::Number {
            least: 1,
            most: 2592000,
            unit: "SECONDS",
            set: |settings, number| settings.engine.tables.agent_timeout_us = number * 1_000_000,
        },
        shown: |settings| (settings.engine.tables.agent_timeout_us / 1_000_000).to_string(),
    },
    Setting {
        section: "tables",
        key: "flow_bytes",
        option: "flow-bytes",
        help: "Largest size of each flow table; beyond, the smallest flows give way",
        kind: Kind::Number {
            least: 64 << 10,
            most: 1 << 40,
            unit: "BYTES",
            set: |settings, bytes| settings.engine.tables.flow_bytes = size(bytes),
        },
        shown: |settings| settings.engine.tables.flow_bytes.to_string(),
    },
    Setting {
        section: "tables",
        key: "metric_timeout",
        option: "metric-timeout",
        help: "Seconds after which the counters of a silent data source are forgotten",
        kind: Kind::Number {
            least: 1,
            most: 86_400,
            unit: "SECONDS",
            set: |settings, seconds| settings.engine.tables.metric_timeout_us = Some(seconds * 1_000_000),
        },
        shown: |settings| match settings.engine.tables.metric_timeout_us {
            Some(timeout) => (timeout / 1_000_000).to_string(),
            None => "3 of its intervals".to_owned(),
        },
    },
    Setting {
        section: "tables",
        key: "scale",
        option: "scale",
        help: "What a sample counts for: the packets that its pool says were sampled from, where that can be believed, or the configured rate",
        kind: Kind::Choice {
            names: &["pool", "rate"],
            takes: "pool|rate",
            set: |settings, name| {
                settings.engine.tables.scale = if name == "rate" { Scale::Rate } else { Scale::Pool };
            },
        },
        shown: |settings| match settings.engine.tables.scale {
            Scale::Pool => "pool".to_owned(),
            Scale::Rate => "rate".to_owned(),
        },
    },
    Setting {
        section: "tables",
        key: "largest_rate",
        option: "largest-rate",
        help: "Largest sampling rate that is believed; samples of a larger one are counted and left out",
        kind: Kind::Number {
            least: 1,
            most: u32::MAX as u64,
            unit: "N",
            set: |settings, rate| settings.engine.tables.largest_rate = word(rate),
        },
        shown: |settings| settings.engine.tables.largest_rate.to_string(),
    },
    Setting {
        section: "tables",
        key: "largest_frame",
        option: "largest-frame",
        help: "Longest frame that is believed; longer ones are counted and cut",
        kind: Kind::Number {
            least: 64,
            most: u32::MAX as u64,
            unit: "BYTES",
            set: |settings, bytes| settings.engine.tables.largest_frame = word(bytes),
        },
        shown: |settings| settings.engine.tables.largest_frame.to_string(),
    },
    Setting {
        section: "agents",
        key: "unlisted",
        option: "unlisted-agents",
        help: "What becomes of datagrams of agents that are not listed: they are taken for analytics, and never lead to an action, \
               or they are refused",
        kind: Kind::Choice {
            names: &["take", "refuse"],
            takes: "take|refuse",
            set: |settings, name| {
                settings.trust.unlisted = if name == "refuse" { Unlisted::Refuse } else { Unlisted::Take };
            },
        },
        shown: |settings| match settings.trust.unlisted {
            Unlisted::Take => "take".to_owned(),
            Unlisted::Refuse => "refuse".to_owned(),
        },
    },
    Setting {
        section: "agents",
        key: "foreign",
        option: "foreign-datagrams",
        help: "What becomes of datagrams of a listed agent that come from elsewhere: they are refused, or they are taken and \
               the agent is not trusted for ten minutes",
        kind: Kind::Choice {
            names: &["refuse", "flag"],
            takes: "refuse|flag",
            set: |settings, name| {
                settings.trust.foreign = if name == "flag" { Foreign::Flag } else { Foreign::Refuse };
            },
        },
        shown: |settings| match settings.trust.foreign {
            Foreign::Refuse => "refuse".to_owned(),
            Foreign::Flag => "flag".to_owned(),
        },
    },
    Setting {
        section: "log",
        key: "flows_max",
        option: "flows-max",
        help: "Records of completed flows that are kept for `/flows/json`",
        kind: Kind::Number {
            least: 1,
            most: 1000000,
            unit: "N",
            set: |settings, number| settings.engine.flows_max = size(number),
        },
        shown: |settings| settings.engine.flows_max.to_string(),
    },
    Setting {
        section: "log",
        key: "events_max",
        option: "events-max",
        help: "Events of thresholds that are kept for `/events/json`",
        kind: Kind::Number {
            least: 1,
            most: 1000000,
            unit: "N",
            set: |settings, number| settings.engine.events_max = size(number),
        },
        shown: |settings| settings.engine.events_max.to_string(),
    },
    Setting {
        section: "geo",
        key: "country",
        option: "geo-country",
        help: "Countries of addresses for `country:` keys, a file in MaxMind's format",
        kind: Kind::Path(|settings, path| settings.references.country = Some(path)),
        shown: |settings| file(&settings.references.country),
    },
    Setting {
        section: "geo",
        key: "asn",
        option: "geo-asn",
        help: "Autonomous systems of addresses for `asn:` keys, a file in MaxMind's format",
        kind: Kind::Path(|settings, path| settings.references.asn = Some(path)),
        shown: |settings| file(&settings.references.asn),
    },
    Setting {
        section: "oui",
        key: "file",
        option: "oui-file",
        help: "Vendors of Ethernet addresses for `oui:` keys, a list of the IEEE's or Wireshark's form",
        kind: Kind::Path(|settings, path| settings.references.oui = Some(path)),
        shown: |settings| file(&settings.references.oui),
    },
    Setting {
        section: "dns",
        key: "enabled",
        option: "dns",
        help: "Look up names of addresses for `dns:` keys",
        kind: Kind::Switch(|settings, on| settings.references.dns = on),
        shown: |settings| settings.references.dns.to_string(),
    },
];

pub(super) fn file(path: &Option<PathBuf>) -> String {
    path.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string())
}

fn word(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(super) fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn shown_queues(queues: &[u32]) -> String {
    if queues.is_empty() { "all".to_owned() } else { ranges(queues) }
}

fn listed(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Setting {
    /// `section.key`.
    pub fn name(&self) -> String {
        if self.section.is_empty() { self.key.to_owned() } else { format!("{}.{}", self.section, self.key) }
    }

    /// Puts a value into the settings; a relative path is one from `folder`.
    ///
    /// # Errors
    /// What the setting takes, where this is something else.
    pub fn apply(&self, settings: &mut Settings, raw: &Raw, folder: &Path) -> Result<(), String> {
        match &self.kind {
            Kind::Addresses(set) => match raw {
                Raw::List(list) if list.is_empty() => {
                    Err("is empty: name an address, or leave it out".to_owned())
                }
                _ => set_all(raw, address).map(|addresses| set(settings, addresses)),
            },
            Kind::Address(set) => address(raw).map(|address| set(settings, address)),
            Kind::Names(set) => set_all(raw, text).map(|names| set(settings, names)),
            Kind::Number { least, most, unit, set } => {
                let number = match raw {
                    Raw::Number(number) => u64::try_from(*number).ok(),
                    Raw::Text(text) => text.parse().ok(),
                    _ => return Err(expected("a number", raw)),
                };
                let number = number.filter(|number| (least..=most).contains(&number)).ok_or_else(|| {
                    let unit = if *unit == "N" { String::new() } else { format!(" {}", unit.to_lowercase()) };
                    format!("a number from {least} to {most}{unit} is needed")
                })?;
                set(settings, number);
                Ok(())
            }
            Kind::Queues(set) => queues(raw).map(|queues| set(settings, queues)),
            Kind::Interface(set) => interface(raw).map(|name| set(settings, name)),
            Kind::Arguments(set) => text(raw).map(|arguments| set(settings, arguments)),
            Kind::Path(set) => path(raw).map(|path| {
                set(settings, if path == Path::new("none") { path } else { folder.join(path) });
            }),
            Kind::Paths(set) => set_all(raw, path)
                .map(|paths| set(settings, paths.into_iter().map(|path| folder.join(path)).collect())),
            Kind::Texts { set, .. } => set(settings, &set_all(raw, text)?),
            Kind::Choice { names, set, .. } => {
                let name = text(raw)?;
                if !names.contains(&name.as_str()) {
                    return Err(format!("{name:?} is not {}", names.join(" or ")));
                }
                set(settings, &name);
                Ok(())
            }
            Kind::Switch(set) => {
                let on = match raw {
                    Raw::Switch(on) => *on,
                    Raw::Text(text) if text == "true" || text == "false" => text == "true",
                    _ => return Err(expected("true or false", raw)),
                };
                set(settings, on);
                Ok(())
            }
        }
    }

    /// What it takes, as help and manual write it.
    pub fn takes(&self) -> &'static str {
        match self.kind {
            Kind::Addresses(_) | Kind::Address(_) => "ADDR:PORT",
            Kind::Names(_) => "NAME",
            Kind::Number { unit, .. } => unit,
            Kind::Queues(_) => "LIST",
            Kind::Interface(_) => "IF",
            Kind::Arguments(_) => "ARGUMENTS",
            Kind::Path(_) => "PATH",
            Kind::Paths(_) => "FILE",
            Kind::Texts { takes, .. } => takes,
            Kind::Switch(_) => "true|false",
            Kind::Choice { takes, .. } => takes,
        }
    }

    /// Whether it takes several values.
    pub fn takes_several(&self) -> bool {
        matches!(self.kind, Kind::Addresses(_) | Kind::Names(_) | Kind::Paths(_) | Kind::Texts { .. })
    }

    fn arg(&self) -> Arg {
        let several = if self.takes_several() { "; may be repeated" } else { "" };
        let default = (self.shown)(&Settings::default());
        let arg = Arg::new(self.option)
            .long(self.option)
            .value_name(self.takes())
            .help(format!("{}{several} [default: {default}]", self.help));
        match self.kind {
            _ if self.takes_several() => arg.action(ArgAction::Append),
            Kind::Switch(_) => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
            // They begin with one.
            Kind::Arguments(_) => arg.allow_hyphen_values(true),
            _ => arg,
        }
    }
}

pub(super) fn expected(what: &str, raw: &Raw) -> String {
    let found = match raw {
        Raw::Text(text) => format!("the text {text:?}"),
        Raw::Number(number) => format!("the number {number}"),
        Raw::Switch(on) => on.to_string(),
        Raw::List(_) => "a list".to_owned(),
        Raw::Other(name) => (*name).to_owned(),
    };
    format!("{what} is needed, not {found}")
}

fn set_all<T>(raw: &Raw, each: fn(&Raw) -> Result<T, String>) -> Result<Vec<T>, String> {
    match raw {
        Raw::List(list) => list.iter().map(each).collect(),
        one => Ok(vec![each(one)?]),
    }
}

pub(super) fn text(raw: &Raw) -> Result<String, String> {
    match raw {
        Raw::Text(text) => Ok(text.clone()),
        _ => Err(expected("a text", raw)),
    }
}

fn path(raw: &Raw) -> Result<PathBuf, String> {
    match text(raw)? {
        empty if empty.is_empty() => Err("is empty: name a path".to_owned()),
        text => Ok(text.into()),
    }
}

fn address(raw: &Raw) -> Result<SocketAddr, String> {
    match raw {
        Raw::Text(text) => text
            .parse()
            .map_err(|_| format!("{text:?} is no address with a port, such as 192.0.2.1:6343 or [::]:6343")),
        _ => Err(expected("an address with a port as a text", raw)),
    }
}

/// What the command line says of settings.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// What `-D` options say.
    defined: Vec<String>,
    /// Names of settings, with what our options say.
    said: Vec<(String, Raw)>,
}

/// The option `-D`, as the incumbent has it.
const DEFINE: &str = "define";

impl Given {
    /// Puts what was said into the settings; our options win over `-D`.
    ///
    /// # Errors
    /// A value is wrong; the message names the option.
    pub fn apply(&self, into: &mut Settings) -> Result<(), String> {
        for text in &self.defined {
            scripts::define(into, text).map_err(|why| format!("-D{text}: {why}"))?;
        }
        for (name, raw) in &self.said {
            let Some(setting) = settings().find(|setting| setting.name() == *name) else { continue };
            setting.apply(into, raw, Path::new("")).map_err(|why| format!("--{}: {why}", setting.option))?;
        }
        Ok(())
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut said = Vec::new();
        for setting in settings() {
            let Some(values) = matches.get_many::<String>(setting.option) else { continue };
            let mut values: Vec<Raw> = values.map(|value| Raw::Text(value.clone())).collect();
            let raw = if setting.takes_several() { Some(Raw::List(values)) } else { values.pop() };
            said.extend(raw.map(|raw| (setting.name(), raw)));
        }
        let defined = matches.get_many::<String>(DEFINE).into_iter().flatten().cloned().collect();
        let given = Self { defined, said };
        let checked = given.apply(&mut Settings::default());
        checked.map_err(|why| clap::Error::raw(clap::error::ErrorKind::ValueValidation, why))?;
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Given {
    fn augment_args(command: Command) -> Command {
        command.args(settings().map(Setting::arg)).arg(define())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn define() -> Arg {
    Arg::new(DEFINE)
        .short('D')
        .value_name("NAME=VALUE")
        .help("The same as --set, and of the names that the manual lists the setting that is meant: -Dscript.file=a.js,b.js; may be repeated")
        .action(ArgAction::Append)
}

/// The manual's table of settings.
pub fn manual_table() -> String {
    let mut page = "| key | option | takes | default | what it does |\n|---|---|---|---|---|\n".to_owned();
    for setting in settings() {
        let several = if setting.takes_several() { ", several" } else { "" };
        page += &format!(
            "| `{}` | `--{}` | {}{several} | {} | {} |\n",
            setting.name(),
            setting.option,
            setting.takes().replace('|', " or "),
            (setting.shown)(&Settings::default()),
            setting.help
        );
    }
    page
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_setting_takes_another_value_and_shows_it() {
        for setting in settings() {
            let name = setting.name();
            let raw = match setting.takes() {
                "ADDR:PORT" => Raw::Text("127.0.0.1:7000".into()),
                "true|false" => Raw::Switch((setting.shown)(&Settings::default()) != "true"),
                "PATH" | "FILE" | "NAME" | "IF" | "HOST[:PORT]" | "CIDR" | "NAME=VALUE" => {
                    let text = match setting.takes() {
                        "IF" => "eth7",
                        "HOST[:PORT]" => "example.org:443",
                        "CIDR" => "192.0.2.0/24",
                        "NAME=VALUE" => "name=value",
                        _ => "/somewhere",
                    };
                    Raw::Text(text.into())
                }
                "LIST" => Raw::Text("3,0-1".into()),
                "ARGUMENTS" => Raw::Text("-a 0000:03:00.0".into()),
                takes if takes.contains('|') => Raw::Text(takes.rsplit('|').next().unwrap().into()),
                "N" | "MIB" => Raw::Number(3),
                _ => Raw::Number(65_537),
            };
            let mut settings = Settings::default();
            setting.apply(&mut settings, &raw, Path::new("")).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert_ne!((setting.shown)(&settings), (setting.shown)(&Settings::default()), "{name}");
            for other in super::settings().filter(|other| other.name() != name) {
                assert_eq!(
                    (other.shown)(&settings),
                    (other.shown)(&Settings::default()),
                    "{name} sets another"
                );
            }
            let wrong = Raw::Other("a table");
            assert!(
                setting.apply(&mut settings, &wrong, Path::new("")).unwrap_err().contains("a table"),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_for_another_way_in_is_a_contradiction() {
        let of = |ingest: Ingest, interface: Option<&str>, dpdk: Option<&str>| {
            let mut settings = Settings::default();
            settings.engine.ingest = ingest;
            settings.engine.interface.name = interface.map(str::to_owned);
            settings.engine.dpdk = dpdk.map(str::to_owned);
            settings.contradiction().map(|(key, _)| key)
        };
        for (ingest, interface, dpdk, key) in [
            (Ingest::Dpdk, None, Some("-a 0000:03:00.0"), None),
            (Ingest::Dpdk, None, None, Some("ingest.mode")),
            (Ingest::Dpdk, Some("eth0"), Some("-a 0000:03:00.0"), Some("ingest.interface")),
            (Ingest::Auto, None, Some("-a 0000:03:00.0"), Some("ingest.dpdk_eal")),
            (Ingest::Xdp, Some("eth0"), Some("-a 0000:03:00.0"), Some("ingest.dpdk_eal")),
            (Ingest::Xdp, Some("eth0"), None, None),
            (Ingest::Xdp, None, None, Some("ingest.mode")),
            (Ingest::Udp, Some("eth0"), None, None),
        ] {
            assert_eq!(of(ingest, interface, dpdk), key, "{ingest:?} {interface:?} {dpdk:?}");
        }
    }

    #[test]
    fn the_manual_has_every_setting() {
        let manual = include_str!("../../manual/configuration.md");
        let table = manual_table();
        assert!(manual.contains(&table), "manual/configuration.md should hold this table:\n{table}");
    }
}
