//! The settings of scripts, and what the `-D` options of the field's incumbent mean here.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use script::NotAllow;
use tables::trust::prefix;

use super::super::settings::{Kind, Raw, Setting, Settings, file, settings, size};
use super::{ACTIONS, SECTION};

/// Settings of scripts, in the order of help and manual.
pub(in crate::run) const SETTINGS: &[Setting] = &[
    Setting {
        section: SECTION,
        key: "files",
        option: "script",
        help: "Run a script (JavaScript)",
        kind: Kind::Paths(|settings, paths| settings.scripts.config.scripts = paths),
        shown: |settings| {
            let files = settings.scripts.config.scripts.iter();
            listed(files.map(|path| path.display().to_string()))
        },
    },
    Setting {
        section: SECTION,
        key: "apps",
        option: "app-dir",
        help: "Run the applications of a folder: scripts `NAME/scripts/*.js`, pages `NAME/html/`",
        kind: Kind::Path(|settings, path| settings.scripts.config.apps = set(path)),
        shown: |settings| file(&settings.scripts.config.apps),
    },
    Setting {
        section: SECTION,
        key: "open",
        option: "script-open",
        help: "Clients that ask scripts without the token, where that would be needed: addresses and prefixes",
        kind: Kind::Texts {
            takes: "CIDR",
            set: |settings, texts| {
                settings.scripts.open = texts.iter().map(|text| prefix(text)).collect::<Result<_, _>>()?;
                Ok(())
            },
        },
        shown: |settings| listed(settings.scripts.open.iter().map(ToString::to_string)),
    },
    Setting {
        section: SECTION,
        key: "allow",
        option: "allow",
        help: "Hosts that scripts may reach over HTTP, each with a port or without: HOST, HOST:PORT, NETWORK/BITS, *.DOMAIN",
        kind: Kind::Texts {
            takes: "HOST[:PORT]",
            set: |settings, texts| {
                let read = |text: &String| text.parse().map_err(|error: NotAllow| error.to_string());
                settings.scripts.config.allow = texts.iter().map(read).collect::<Result<_, _>>()?;
                Ok(())
            },
        },
        shown: |settings| listed(settings.scripts.config.allow.iter().map(ToString::to_string)),
    },
    Setting {
        section: SECTION,
        key: "properties",
        option: "set",
        help: "What scripts read by `getSystemProperty`; in the file a table `[scripts.properties]`",
        kind: Kind::Texts {
            takes: "NAME=VALUE",
            set: |settings, texts| {
                for text in texts {
                    let (name, value) = property(text)?;
                    settings.scripts.config.properties.insert(name.to_owned(), value.to_owned());
                }
                Ok(())
            },
        },
        shown: |settings| {
            listed(settings.scripts.config.properties.iter().map(|(name, value)| format!("{name}={value}")))
        },
    },
    Setting {
        section: SECTION,
        key: "memory_mib",
        option: "script-memory",
        help: "Memory of each script; one that asks for more gets an exception",
        kind: Kind::Number {
            least: 1,
            most: 65_536,
            unit: "MIB",
            set: |settings, mib| settings.scripts.config.limits.memory_bytes = size(mib) << 20,
        },
        shown: |settings| (settings.scripts.config.limits.memory_bytes >> 20).to_string(),
    },
    Setting {
        section: SECTION,
        key: "call_limit_s",
        option: "script-call-limit",
        help: "Seconds that a call of a script's handler may take; one that takes longer is interrupted, and the script goes on",
        kind: Kind::Number {
            least: 1,
            most: 86_400,
            unit: "SECONDS",
            set: |settings, seconds| settings.scripts.config.limits.call = Duration::from_secs(seconds),
        },
        shown: |settings| settings.scripts.config.limits.call.as_secs().to_string(),
    },
    Setting {
        section: SECTION,
        key: "queue",
        option: "script-queue",
        help: "Flow records, events and requests that wait for a script at most, of each kind; further ones are counted as lost",
        kind: Kind::Number {
            least: 1,
            most: 1_000_000,
            unit: "N",
            set: |settings, number| settings.scripts.config.limits.queue = size(number),
        },
        shown: |settings| settings.scripts.config.limits.queue.to_string(),
    },
    Setting {
        section: SECTION,
        key: "reload",
        option: "script-reload",
        help: "Start a script anew when its file changes",
        kind: Kind::Switch(|settings, on| settings.scripts.config.reload = on),
        shown: |settings| settings.scripts.config.reload.to_string(),
    },
    Setting {
        section: SECTION,
        key: "store",
        option: "script-store",
        help: "Where `storeSet` keeps what scripts store",
        kind: Kind::Path(|settings, path| settings.scripts.config.store = Some(path)),
        shown: |settings| match &settings.scripts.config.store {
            Some(path) => path.display().to_string(),
            None => "`store` in the state directory".to_owned(),
        },
    },
    Setting {
        section: ACTIONS,
        key: "docker_version",
        option: "script-docker-version",
        help: "At which version of its API a Docker engine gets service updates of scripts: its own, with what the script left out as it is, or as the script wrote it",
        kind: Kind::Choice {
            names: &["engine", "as-written"],
            takes: "engine|as-written",
            set: |settings, name| settings.scripts.config.docker_version = name.parse().unwrap_or_default(),
        },
        shown: |settings| settings.scripts.config.docker_version.to_string(),
    },
    Setting {
        section: ACTIONS,
        key: "guarded",
        option: "script-guarded",
        help: "Make captures of the collector's own of the rules that scripts have switches install: they are checked, and they end",
        kind: Kind::Switch(|settings, on| settings.scripts.config.actions.guarded = on),
        shown: |settings| settings.scripts.config.actions.guarded.to_string(),
    },
    Setting {
        section: ACTIONS,
        key: "ttl_s",
        option: "script-capture-ttl",
        help: "How long a script's capture lasts without evidence",
        kind: Kind::Number {
            least: 1,
            most: 86_400,
            unit: "SECONDS",
            set: |settings, seconds| settings.scripts.config.actions.ttl_s = seconds,
        },
        shown: |settings| settings.scripts.config.actions.ttl_s.to_string(),
    },
    Setting {
        section: ACTIONS,
        key: "max_s",
        option: "script-capture-max",
        help: "How long a script's capture lasts at most",
        kind: Kind::Number {
            least: 1,
            most: 604_800,
            unit: "SECONDS",
            set: |settings, seconds| settings.scripts.config.actions.max_s = seconds,
        },
        shown: |settings| settings.scripts.config.actions.max_s.to_string(),
    },
    Setting {
        section: ACTIONS,
        key: "run_commands",
        option: "script-run-commands",
        help: "Let scripts run programs of this machine (`runCmd`)",
        kind: Kind::Switch(|settings, on| settings.scripts.config.run_commands = on),
        shown: |settings| settings.scripts.config.run_commands.to_string(),
    },
];

pub(super) fn set(path: PathBuf) -> Option<PathBuf> {
    (path != Path::new("none")).then_some(path)
}

fn listed(all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

fn property(text: &str) -> Result<(&str, &str), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() { Err(format!("{text:?} is no NAME=VALUE")) } else { Ok((name, value)) }
}

/// What a `-D` option of the incumbent's means here.
enum Means {
    /// The setting of this name.
    Same(&'static str),
    /// A list with commas for the setting of this name.
    List(&'static str),
    /// `yes` or `no` for the setting of this name.
    Switch(&'static str),
    /// The address that REST listens on.
    HttpHost,
    /// Its port.
    HttpPort,
    /// The port for sFlow.
    SflowPort,
}

/// Those that are settings; any other is there for scripts to read, as these are too.
const DEFINITIONS: &[(&str, Means)] = &[
    ("script.file", Means::List("scripts.files")),
    ("script.store", Means::Same("scripts.store")),
    ("http.hostname", Means::HttpHost),
    ("http.port", Means::HttpPort),
    ("http.readonly", Means::Switch("http.read_only")),
    ("sflow.port", Means::SflowPort),
    ("flows.max", Means::Same("log.flows_max")),
    ("events.max", Means::Same("log.events_max")),
    ("geo.country", Means::Same("geo.country")),
    ("geo.asn", Means::Same("geo.asn")),
    ("oui.names", Means::Same("oui.file")),
];

/// Takes `NAME=VALUE` of a `-D` option.
///
/// # Errors
/// It is a setting, and its value is none for it.
pub(in crate::run) fn define(into: &mut Settings, text: &str) -> Result<(), String> {
    let (name, value) = property(text)?;
    into.scripts.config.properties.insert(name.to_owned(), value.to_owned());
    let port = || value.parse::<u16>().map_err(|_| format!("{value:?} is no port"));
    let put = |into: &mut Settings, setting: &str, raw: Raw| match settings().find(|s| s.name() == setting) {
        Some(setting) => setting.apply(into, &raw, Path::new("")),
        None => Ok(()),
    };
    match DEFINITIONS.iter().find(|(known, _)| *known == name).map(|(_, means)| means) {
        None => {}
        Some(Means::Same(setting)) => put(into, setting, Raw::Text(value.to_owned()))?,
        Some(Means::List(setting)) => {
            let all = value.split(',').map(str::trim).filter(|one| !one.is_empty());
            put(into, setting, Raw::List(all.map(|one| Raw::Text(one.to_owned())).collect()))?;
        }
        Some(Means::Switch(setting)) => match value {
            "yes" | "true" => put(into, setting, Raw::Switch(true))?,
            "no" | "false" => put(into, setting, Raw::Switch(false))?,
            _ => return Err(format!("{value:?} is not yes or no")),
        },
        Some(Means::HttpHost) => {
            let address: IpAddr = value.parse().map_err(|_| format!("{value:?} is no IP address"))?;
            into.http.listen.set_ip(address);
        }
        Some(Means::HttpPort) => into.http.listen.set_port(port()?),
        Some(Means::SflowPort) => {
            let port = port()?;
            into.engine.sflow.iter_mut().for_each(|address| address.set_port(port));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn defined(text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        define(&mut settings, text).map(|()| settings)
    }

    #[test]
    fn a_definition_of_the_incumbents_is_the_setting_that_it_means_and_a_property() {
        let shown = |text: &str, name: &str| {
            let settings = defined(text).unwrap();
            (super::settings().find(|s| s.name() == name).unwrap().shown)(&settings)
        };
        for (text, name, expected) in [
            ("script.file=a.js, b.js", "scripts.files", "a.js, b.js"),
            ("script.store=/var/store", "scripts.store", "/var/store"),
            ("http.port=8009", "http.listen", "127.0.0.1:8009"),
            ("http.hostname=0.0.0.0", "http.listen", "0.0.0.0:8008"),
            ("http.readonly=yes", "http.read_only", "true"),
            ("sflow.port=7343", "sflow.listen", "[::]:7343"),
            ("flows.max=7", "log.flows_max", "7"),
            ("events.max=7", "log.events_max", "7"),
            ("geo.country=c.mmdb", "geo.country", "c.mmdb"),
            ("geo.asn=a.mmdb", "geo.asn", "a.mmdb"),
            ("oui.names=oui.txt", "oui.file", "oui.txt"),
            ("ddos_protect.enable=a=b", "scripts.properties", "ddos_protect.enable=a=b"),
            ("bare", "scripts.properties", "bare="),
        ] {
            assert_eq!(shown(text, name), expected, "{text}");
        }
        let settings = defined("http.port=8009").unwrap();
        assert_eq!(settings.scripts.config.properties["http.port"], "8009");
        for (name, _) in DEFINITIONS {
            assert!(
                include_str!("../../../manual/configuration.md").contains(&format!("`{name}`")),
                "{name}"
            );
        }
        for wrong in
            ["http.port=many", "sflow.port=70000", "http.readonly=maybe", "http.hostname=here", "=x", ""]
        {
            assert!(defined(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_are_allowed_and_updates_are_as_written_where_that_is_said() {
        let mut settings = Settings::default();
        let mut put = |name: &str, raw: Raw| {
            let setting = super::settings().find(|s| s.name() == name).unwrap();
            setting.apply(&mut settings, &raw, Path::new("")).map(|()| (setting.shown)(&settings))
        };
        let hosts = |all: &[&str]| Raw::List(all.iter().map(|one| Raw::Text((*one).to_owned())).collect());
        let shown = put("scripts.allow", hosts(&["10.0.0.134:2376", "*.Example.org"])).unwrap();
        assert_eq!(shown, "10.0.0.134:2376, *.example.org");
        let wrong = put("scripts.allow", hosts(&["https://a.net/"])).unwrap_err();
        assert!(wrong.contains("name the host alone"), "{wrong}");
        let version = |name: &str| Raw::Text(name.to_owned());
        assert_eq!(put("scripts.actions.docker_version", version("as-written")).unwrap(), "as-written");
        assert!(put("scripts.actions.docker_version", version("1.24")).is_err());
    }
}
