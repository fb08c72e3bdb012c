//! The command line of `finderscope-agent`: one definition from which parser, help, completions and man page come.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};

use crate::settings::{self, Collector, DockerSettings, Pattern, PcapSettings, Read, Settings, Wrong, keys};

/// sFlow agent for Docker hosts: containers followed by events, host counters, sampled packets.
///
/// What an option says wins over the configuration. Exit codes: 0 done, 1 failed (the reason is on standard
/// error), 2 the command line is wrong.
#[derive(Clone, Debug, Parser)]
#[command(name = "finderscope-agent", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub struct Options {
    /// Read the configuration in this file: hsflowd.conf's form or TOML
    #[arg(long, short = 'f', value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Send samples to a collector; may be repeated
    #[arg(long, value_name = "HOST[:PORT]", value_parser = collector)]
    pub collector: Vec<Collector>,

    /// Sample one packet in N on all interfaces; without it the rate of an interface follows its speed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    pub sampling: Option<u32>,

    /// Send counters every so many seconds; 0 sends none
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub polling: Option<u32>,

    /// The agent's address, or the interface whose address it is
    #[arg(long, value_name = "IP|DEVICE")]
    pub agent: Option<String>,

    /// Follow the containers of a Docker engine; without ENDPOINT at unix:///var/run/docker.sock
    #[arg(long, value_name = "ENDPOINT", num_args = 0..=1, value_parser = keys::endpoint)]
    #[allow(clippy::option_option, reason = "clap's way to say an option whose value may be left out")]
    pub docker: Option<Option<String>>,

    /// Sample the packets of an interface, by name or pattern (`veth*`); may be repeated
    #[arg(long, value_name = "DEVICE", value_parser = keys::device)]
    pub pcap: Vec<String>,

    /// Answer the agent's own counters as Prometheus text on this address
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub status: Option<SocketAddr>,

    /// Print what would be sent, and send nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Say whether the configuration is right, and exit
    #[arg(long)]
    pub check_config: bool,

    /// Pass over modules and settings of hsflowd.conf that this agent does not have
    #[arg(long)]
    pub ignore_unknown_modules: bool,

    /// What else to do
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program does besides running.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff)
    Man,
}

impl Options {
    /// The settings: what the options say, else the file, else the defaults. To be called again for a reload.
    ///
    /// # Errors
    /// All that is wrong with the file, or that something is missing which the agent cannot run without.
    pub fn read(&self) -> Result<Read, Wrong> {
        let mut read = match &self.config {
            Some(path) => settings::read(path, self.ignore_unknown_modules)?,
            None => Read { settings: Settings::default(), warnings: Vec::new() },
        };
        self.apply(&mut read.settings).map_err(|why| Wrong { lines: vec![why] })?;
        match read.settings.missing() {
            Some(what) if !self.dry_run => {
                let place =
                    self.config.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default();
                Err(Wrong { lines: vec![format!("{place}{what}")] })
            }
            _ => Ok(read),
        }
    }

    /// Puts what the options say into the settings.
    fn apply(&self, settings: &mut Settings) -> Result<(), String> {
        if !self.collector.is_empty() {
            settings.collectors.clone_from(&self.collector);
        }
        if let Some(rate) = self.sampling {
            settings.sampling = Some(rate);
            // It wins over all that the configuration says of rates.
            (settings.sampling_by_speed, settings.bps_ratio) = Default::default();
            settings.pcap.iter_mut().for_each(|pcap| pcap.sampling = None);
        }
        if let Some(seconds) = self.polling {
            settings.polling = Duration::from_secs(seconds.into());
        }
        if let Some(agent) = &self.agent {
            settings.agent = settings::AgentAddress::default();
            match agent.parse::<IpAddr>() {
                Ok(ip) => settings.agent.address = Some(ip),
                Err(_) => settings.agent.device = Some(keys::device(agent)?),
            }
        }
        if let Some(docker) = &self.docker {
            let settings = settings.docker.get_or_insert_default();
            settings.endpoint = docker.clone().unwrap_or_else(|| DockerSettings::default().endpoint);
        }
        keys::end(settings, "docker")?;
        if !self.pcap.is_empty() {
            let named = |name: &String| PcapSettings {
                device: Some(Pattern(name.clone())),
                ..PcapSettings::default()
            };
            settings.pcap = self.pcap.iter().map(named).collect();
        }
        if let Some(status) = self.status {
            settings.status = Some(status);
        }
        let limits = [
            ("--collector", settings.collectors.len(), keys::MOST_COLLECTORS),
            ("--pcap", settings.pcap.len(), keys::MOST_PCAPS),
        ];
        match limits.iter().find(|(_, number, most)| number > most) {
            Some((option, _, most)) => Err(format!("{option} can be given {most} times at most")),
            None => Ok(()),
        }
    }
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn run(self, out: &mut impl Write) -> std::io::Result<()> {
        let mut command = Options::command();
        match self {
            Self::Completions { shell } => {
                // Into memory first: the generator does not tell of a pipe that is closed.
                let mut text = Vec::new();
                clap_complete::generate(shell, &mut command, "finderscope-agent", &mut text);
                out.write_all(&text)
            }
            Self::Man => clap_mangen::Man::new(command).render(out),
        }
    }
}

/// `HOST`, `HOST:PORT`, `[IPV6]:PORT` or an IPv6 address alone.
fn collector(text: &str) -> Result<Collector, String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or_default())),
        None if text.parse::<IpAddr>().is_ok() => (text, None),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let default = Collector::default();
    let port = match port {
        None => default.port,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| format!("{port:?} is no port, which is a number from 1 to 65535"))?,
    };
    Ok(Collector { host: keys::host(host)?, port, ..default })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::interfaces::Kind;

    fn options(arguments: &[&str]) -> Options {
        Options::try_parse_from([&["finderscope-agent"], arguments].concat()).unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn collectors_are_read_in_every_form() {
        for (text, host, port) in [
            ("10.0.0.1", "10.0.0.1", 6343),
            ("10.0.0.1:7000", "10.0.0.1", 7000),
            ("collector.example", "collector.example", 6343),
            ("collector.example:7000", "collector.example", 7000),
            ("2001:db8::1", "2001:db8::1", 6343),
            ("[2001:db8::1]", "2001:db8::1", 6343),
            ("[2001:db8::1]:7000", "2001:db8::1", 7000),
        ] {
            assert_eq!(
                collector(text),
                Ok(Collector { host: host.to_owned(), port, device: None }),
                "{text}"
            );
        }
        for text in
            ["", ":6343", "x:0", "x:65536", "x:y", "x:", "[::1]x", "[::1]:", "0.0.0.0", "a b", "1.2.3"]
        {
            assert!(collector(text).is_err(), "{text}");
        }
    }

    #[test]
    fn options_win_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.conf");
        let file = "sflow { polling = 20 sampling = 7 agent.cidr = 10.0.0.0/8 collector { ip = a } pcap { dev = x } \
                    pcap { dev = y } docker { hostname = on } }";
        std::fs::write(&path, file).unwrap();
        let path = path.to_str().unwrap();
        let from_file = options(&["-f", path]).read().unwrap().settings;
        assert_eq!((from_file.polling, from_file.sampling), (Duration::from_secs(20), Some(7)));
        let settings = options(&[
            "--config",
            path,
            "--collector",
            "b",
            "--collector",
            "[::1]:7",
            "--polling",
            "5",
            "--sampling",
            "9",
            "--agent",
            "eth0",
            "--docker",
            "unix:///x",
            "--pcap",
            "veth*",
            "--status",
            "127.0.0.1:1",
        ])
        .read()
        .unwrap()
        .settings;
        let hosts: Vec<_> = settings.collectors.iter().map(|c| (c.host.as_str(), c.port)).collect();
        assert_eq!(hosts, [("b", 6343), ("::1", 7)]);
        assert_eq!((settings.polling, settings.sampling), (Duration::from_secs(5), Some(9)));
        assert_eq!(settings.agent.device.as_deref(), Some("eth0"));
        assert!(settings.agent.networks.is_empty());
        let docker = settings.docker.unwrap();
        assert_eq!((docker.endpoint.as_str(), docker.hostname), ("unix:///x", true));
        assert_eq!(settings.pcap.len(), 1);
        assert!(settings.pcap[0].fit("veth1", Kind::Veth, None));
        assert_eq!(settings.status, Some("127.0.0.1:1".parse().unwrap()));
        let rates = "sflow { sampling.10G = 7 sampling.bps_ratio = 9 pcap { dev = x sampling = 8 } collector { ip = a } }";
        std::fs::write(path, rates).unwrap();
        let settings = options(&["--config", path, "--sampling", "5"]).read().unwrap().settings;
        for speed_bps in [None, Some(1_000_000_000), Some(10_000_000_000)] {
            assert_eq!(settings.rate(&settings.pcap[0], speed_bps), 5);
        }
    }

    #[test]
    fn without_a_file_options_are_enough() {
        let settings = options(&["--collector", "a", "--docker"]).read().unwrap().settings;
        assert_eq!(settings.docker, Some(DockerSettings::default()));
        assert_eq!(settings.sampling, None);
        let error = options(&[]).read().unwrap_err().to_string();
        assert_eq!(
            error,
            "no collector is named: use --collector HOST, or a collector section in the configuration"
        );
        assert!(options(&["--dry-run"]).read().is_ok(), "what is only printed needs no collector");
        let error =
            options(&["--collector", "a", "--docker", "tcp://x:2376"]).read().unwrap_err().to_string();
        assert!(error.contains("name the folder with ca.pem"), "{error}");
        let many: Vec<&str> = ["--collector", "a"].repeat(17);
        assert!(
            options(&many)
                .read()
                .unwrap_err()
                .to_string()
                .contains("--collector can be given 16 times at most")
        );
    }

    #[test]
    fn bad_options_are_refused() {
        for arguments in [
            &["--sampling", "0"][..],
            &["--polling", "-1"],
            &["--docker", "http://x"],
            &["--pcap", "a/b"],
            &["--status", "x"],
            &["--collector", "x:y"],
            &["--dry-run", "man"],
        ] {
            let parsed = Options::try_parse_from([&["finderscope-agent"], arguments].concat());
            assert!(parsed.is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn manual_page_and_completions_know_every_option() {
        let text = |command: Command| {
            let mut out = Vec::new();
            command.run(&mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let page = text(Command::Man).replace('\\', "");
        let bash = text(Command::Completions { shell: clap_complete::Shell::Bash });
        let manual = include_str!("../../manual/agent.md");
        for argument in
            Options::command().get_arguments().filter_map(|a| a.get_long()).filter(|n| *n != "help")
        {
            let option = format!("--{argument}");
            assert!(page.contains(&option) && bash.contains(&option), "{option}");
            assert!(manual.contains(&option), "manual/agent.md lacks {option}");
        }
    }
}
