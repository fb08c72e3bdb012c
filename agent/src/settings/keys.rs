//! Every key of a configuration: one table from which both forms of the file are read and the manual is held to.

use std::net::IpAddr;
use std::time::Duration;

use super::{Collector, DockerSettings, Network, Pattern, PcapSettings, Settings, Speeds};
use crate::host::parse_uuid;

/// Collectors at most.
pub const MOST_COLLECTORS: usize = 16;
/// `pcap` sections at most.
pub const MOST_PCAPS: usize = 64;
/// Speeds with a rate of their own, and preferred networks, at most.
pub const MOST_LISTED: usize = 64;

/// A key.
#[derive(Debug)]
pub struct Key {
    /// Its table in TOML; empty for a key outside of all tables.
    pub section: &'static str,
    /// Its name in TOML.
    pub toml: &'static str,
    /// Its name in hsflowd.conf, lower case, within the module of the section; keys of `agent` stand in `sflow` itself.
    pub hsflowd: &'static str,
    /// What it takes, and where that goes.
    pub takes: Takes,
}

/// What a key takes, with what puts it into the settings (a section's newest element).
#[derive(Debug)]
pub enum Takes {
    /// A whole number.
    Number {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
        /// Puts it there.
        set: fn(&mut Settings, u64),
    },
    /// On or off.
    Switch(fn(&mut Settings, bool)),
    /// A text.
    Text(fn(&mut Settings, &str) -> Result<(), String>),
    /// Several texts: a list in TOML, the key again and again in hsflowd.conf.
    Texts(fn(&mut Settings, &str) -> Result<(), String>),
}

/// Sections that may stand once, and those that may stand several times.
pub const SECTIONS: &[(&str, bool)] =
    &[("agent", false), ("collector", true), ("docker", false), ("pcap", true)];

/// The keys, in the order of the manual.
pub const KEYS: &[Key] = &[
    Key {
        section: "",
        toml: "polling",
        hsflowd: "polling",
        takes: Takes::Number {
            least: 0,
            most: 86_400,
            set: |settings, seconds| settings.polling = Duration::from_secs(seconds),
        },
    },
    Key {
        section: "",
        toml: "sampling",
        hsflowd: "sampling",
        takes: Takes::Number {
            least: 1,
            most: 1 << 24,
            set: |settings, rate| settings.sampling = Some(word(rate)),
        },
    },
    Key {
        section: "",
        toml: "sampling_bps_ratio",
        hsflowd: "sampling.bps_ratio",
        takes: Takes::Number {
            least: 0,
            most: 1_000_000_000_000,
            set: |settings, ratio| settings.bps_ratio = Some(ratio),
        },
    },
    Key {
        section: "",
        toml: "header_bytes",
        hsflowd: "headerbytes",
        takes: Takes::Number {
            least: 18,
            most: 256,
            set: |settings, bytes| settings.header_bytes = word(bytes),
        },
    },
    Key {
        section: "",
        toml: "datagram_bytes",
        hsflowd: "datagrambytes",
        takes: Takes::Number {
            least: 1024,
            most: 1400,
            set: |settings, bytes| settings.datagram_bytes = word(bytes),
        },
    },
    Key {
        section: "",
        toml: "sub_agent",
        hsflowd: "subagentid",
        takes: Takes::Number {
            least: 0,
            most: u32::MAX as u64,
            set: |settings, number| settings.sub_agent = word(number),
        },
    },
    Key {
        section: "",
        toml: "uuid",
        hsflowd: "uuid",
        takes: Takes::Text(|settings, text| {
            let uuid = parse_uuid(text).ok_or_else(|| {
                format!("{text:?} is no identity of a host, which has 32 hexadecimal digits")
            })?;
            settings.uuid = Some(uuid);
            Ok(())
        }),
    },
    Key {
        section: "",
        toml: "status",
        hsflowd: "status",
        takes: Takes::Text(|settings, text| {
            let address = text
                .parse()
                .map_err(|_| format!("{text:?} is no address with a port, such as 127.0.0.1:8009"))?;
            settings.status = Some(address);
            Ok(())
        }),
    },
    Key {
        section: "agent",
        toml: "address",
        hsflowd: "agentip",
        takes: Takes::Text(|settings, text| {
            let ip: IpAddr = text.parse().map_err(|_| format!("{text:?} is no IP address"))?;
            if ip.is_unspecified() || ip.is_multicast() {
                return Err(format!("{ip} is nobody's own address"));
            }
            settings.agent.address = Some(ip);
            Ok(())
        }),
    },
    Key {
        section: "agent",
        toml: "device",
        hsflowd: "agent",
        takes: Takes::Text(|settings, text| {
            settings.agent.device = Some(device(text)?);
            Ok(())
        }),
    },
    Key {
        section: "agent",
        toml: "networks",
        hsflowd: "agent.cidr",
        takes: Takes::Texts(|settings, text| {
            let network = network(text)?;
            push(&mut settings.agent.networks, network, MOST_LISTED, "networks")
        }),
    },
    Key {
        section: "collector",
        toml: "host",
        hsflowd: "ip",
        takes: Takes::Text(|settings, text| {
            let host = host(text)?;
            last(&mut settings.collectors).host = host;
            Ok(())
        }),
    },
    Key {
        section: "collector",
        toml: "port",
        hsflowd: "udpport",
        takes: Takes::Number {
            least: 1,
            most: 65_535,
            set: |settings, port| {
                last(&mut settings.collectors).port = u16::try_from(port).unwrap_or(u16::MAX)
            },
        },
    },
    Key {
        section: "collector",
        toml: "device",
        hsflowd: "dev",
        takes: Takes::Text(|settings, text| {
            let device = device(text)?;
            last(&mut settings.collectors).device = Some(device);
            Ok(())
        }),
    },
    Key {
        section: "docker",
        toml: "endpoint",
        hsflowd: "endpoint",
        takes: Takes::Text(|settings, text| {
            let endpoint = endpoint(text)?;
            docker(settings).endpoint = endpoint;
            Ok(())
        }),
    },
    Key {
        section: "docker",
        toml: "certificates",
        hsflowd: "certificates",
        takes: Takes::Text(|settings, text| {
            docker(settings).certificates = Some(text.into());
            Ok(())
        }),
    },
    Key {
        section: "docker",
        toml: "hostname",
        hsflowd: "hostname",
        takes: Takes::Switch(|settings, on| docker(settings).hostname = on),
    },
    Key {
        section: "pcap",
        toml: "device",
        hsflowd: "dev",
        takes: Takes::Text(|settings, text| {
            let pattern = Pattern(device(text)?);
            last(&mut settings.pcap).device = Some(pattern);
            Ok(())
        }),
    },
    Key {
        section: "pcap",
        toml: "speed",
        hsflowd: "speed",
        takes: Takes::Text(|settings, text| {
            let speeds = speeds(text)?;
            last(&mut settings.pcap).speed = Some(speeds);
            Ok(())
        }),
    },
    Key {
        section: "pcap",
        toml: "promiscuous",
        hsflowd: "promisc",
        takes: Takes::Switch(|settings, on| last(&mut settings.pcap).promiscuous = Some(on)),
    },
    Key {
        section: "pcap",
        toml: "sampling",
        hsflowd: "sampling",
        takes: Takes::Number {
            least: 1,
            most: 1 << 24,
            set: |settings, rate| last(&mut settings.pcap).sampling = Some(word(rate)),
        },
    },
];

/// The key of a section by its TOML name.
pub fn by_toml(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.section == section && key.toml == name)
}

/// Other names of keys of `sflow` itself in hsflowd.conf, lower case: its own of long ago, and one of ours.
const ALIASES: &[(&str, &str)] =
    &[("counterpollinginterval", "polling"), ("packetsamplingrate", "sampling"), ("subagent", "subagentid")];

/// The key by its hsflowd name in lower case: in `sflow` itself (`module` is empty) or in a module.
pub fn by_hsflowd(module: &str, name: &str) -> Option<&'static Key> {
    let alias = ALIASES.iter().find(|(alias, _)| module.is_empty() && *alias == name);
    let name = alias.map_or(name, |(_, name)| *name);
    KEYS.iter().find(|key| module_of(key) == module && key.hsflowd == name)
}

/// The hsflowd module of a key; empty for those of `sflow` itself.
pub fn module_of(key: &Key) -> &'static str {
    if key.section == "agent" { "" } else { key.section }
}

/// Begins a section: what its keys set is a new element.
///
/// # Errors
/// There are too many.
pub fn begin(settings: &mut Settings, section: &str) -> Result<(), String> {
    match section {
        "collector" => push(&mut settings.collectors, Collector::default(), MOST_COLLECTORS, "collectors"),
        "pcap" => push(&mut settings.pcap, PcapSettings::default(), MOST_PCAPS, "pcap sections"),
        "docker" => {
            docker(settings);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What is wrong with a section when all its keys are read.
///
/// # Errors
/// What is missing in it.
pub fn end(settings: &Settings, section: &str) -> Result<(), String> {
    match section {
        "collector" if settings.collectors.last().is_some_and(|c| c.host.is_empty()) => {
            Err("a collector has no address: give it one".to_owned())
        }
        "pcap" if settings.pcap.last().is_some_and(|p| p.device.is_none() && p.speed.is_none()) => {
            Err("which interfaces? Name them by device or by speed".to_owned())
        }
        "docker" => match &settings.docker {
            Some(docker) if !docker.endpoint.starts_with("unix:") && docker.certificates.is_none() => {
                Err(format!(
                    "{} is reached over TLS: name the folder with ca.pem, cert.pem and key.pem (certificates)",
                    docker.endpoint
                ))
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Sets the rate of a speed.
///
/// # Errors
/// What is wrong with the speed or the rate.
pub fn sampling_by_speed(settings: &mut Settings, speed: &str, rate: Option<u64>) -> Result<(), String> {
    let bps = speed_bps(speed)?;
    let rate = rate
        .and_then(|rate| u32::try_from(rate).ok())
        .filter(|rate| (1..=1 << 24).contains(rate))
        .ok_or_else(|| format!("a number from 1 to {} is needed", 1 << 24))?;
    if settings.sampling_by_speed.len() >= MOST_LISTED && !settings.sampling_by_speed.contains_key(&bps) {
        return Err(format!("at most {MOST_LISTED} speeds can have a rate of their own"));
    }
    settings.sampling_by_speed.insert(bps, rate);
    Ok(())
}

fn word(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn push<T>(list: &mut Vec<T>, item: T, most: usize, what: &str) -> Result<(), String> {
    if list.len() >= most {
        return Err(format!("at most {most} {what} can be given"));
    }
    list.push(item);
    Ok(())
}

/// The newest element; `begin` has made it.
fn last<T: Default>(list: &mut Vec<T>) -> &mut T {
    if list.is_empty() {
        list.push(T::default());
    }
    let at = list.len() - 1;
    &mut list[at]
}

fn docker(settings: &mut Settings) -> &mut DockerSettings {
    settings.docker.get_or_insert_default()
}

/// A host: an address, or a name of letters, digits, dots, dashes and underscores.
///
/// # Errors
/// It is neither.
pub fn host(text: &str) -> Result<String, String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return match ip.is_unspecified() {
            true => Err(format!("{ip} is nobody's address")),
            false => Ok(text.to_owned()),
        };
    }
    // What is all digits and dots was meant as an address.
    let named = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    match (1..=253).contains(&text.len()) && named && text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is neither an IP address nor a host's name")),
    }
}

/// An interface's name, or a pattern of names.
///
/// # Errors
/// No interface can be called so.
pub fn device(text: &str) -> Result<String, String> {
    let sound =
        !text.bytes().any(|byte| byte == b'/' || byte.is_ascii_whitespace() || byte.is_ascii_control());
    match sound && (1..=15).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => {
            Err(format!("{text:?} is no interface's name: those have 1 to 15 bytes, without slash and space"))
        }
    }
}

/// The engine's endpoint.
///
/// # Errors
/// It is of no form that is understood.
pub fn endpoint(text: &str) -> Result<String, String> {
    if text.starts_with("unix:///") || text.starts_with("tcp://") || text.starts_with("https://") {
        return Ok(text.to_owned());
    }
    if text.starts_with('/') {
        return Ok(format!("unix://{text}"));
    }
    Err(format!(
        "{text:?} is no endpoint of an engine: unix:///PATH, tcp://HOST:2376 or https://HOST:2376 (both TLS) are"
    ))
}

/// A network, `ADDRESS/BITS`, with a `!` before it if it is to be avoided.
///
/// # Errors
/// It is none.
pub fn network(text: &str) -> Result<Network, String> {
    let (bare, avoided) = text.strip_prefix('!').map_or((text, false), |bare| (bare, true));
    let network = bare.split_once('/').and_then(|(ip, bits)| {
        let ip: IpAddr = ip.parse().ok()?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = bits.parse().ok().filter(|bits| *bits <= most)?;
        Some(Network { ip, prefix, avoided })
    });
    network.ok_or_else(|| format!("{text:?} is no network, such as 10.0.0.0/8"))
}

/// A speed: a number of bits per second, with K, M, G or T for thousands.
///
/// # Errors
/// It is none.
pub fn speed_bps(text: &str) -> Result<u64, String> {
    let bps = number(text).filter(|bps| *bps > 0);
    bps.ok_or_else(|| format!("{text:?} is no speed, such as 100M or 10G"))
}

/// A whole number, with K, M, G or T for thousands.
pub fn number(text: &str) -> Option<u64> {
    let (number, factor) = match text.char_indices().next_back() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => {
            let factor = match unit.to_ascii_uppercase() {
                'K' => Some(1_000),
                'M' => Some(1_000_000),
                'G' => Some(1_000_000_000),
                'T' => Some(1_000_000_000_000),
                _ => None,
            };
            (text.get(..at).unwrap_or_default(), factor)
        }
        _ => (text, Some(1)),
    };
    number.parse::<u64>().ok()?.checked_mul(factor?)
}

/// A range of speeds: `10G`, `1G-10G`, `1G-` (and more), `-1G` (and less).
///
/// # Errors
/// It is none.
pub fn speeds(text: &str) -> Result<Speeds, String> {
    let range = match text.split_once('-') {
        None => speed_bps(text).map(|bps| Speeds { least_bps: bps, most_bps: bps })?,
        Some(("", "")) => return Err(format!("{text:?} is no range of speeds, such as 1G- or 1G-10G")),
        Some((least, most)) => Speeds {
            least_bps: if least.is_empty() { 0 } else { speed_bps(least)? },
            most_bps: if most.is_empty() { u64::MAX } else { speed_bps(most)? },
        },
    };
    match range.least_bps <= range.most_bps {
        true => Ok(range),
        false => Err(format!("{text:?} is a range whose end is below its beginning")),
    }
}
