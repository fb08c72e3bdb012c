//! The command line of `finderscope-acl`: one definition from which parser, help, completions and man page come.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

/// Installs mirror and filter rules on the Cumulus switch it runs on, as REST asks for them.
///
/// PUT, GET and DELETE of /acl/NAME (or /NAME) change a file of rules, and a command has the switch take it over.
/// SIGHUP reads token and certificates again. Exit codes: 0 ended by a signal, 1 failed (the reason is on standard error),
/// 2 the command line is wrong.
#[derive(Clone, Debug, Parser)]
#[command(name = "finderscope-acl", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub struct Options {
    /// Answer on this address
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// The folder of the rules
    #[arg(long, value_name = "FOLDER", default_value = "/etc/cumulus/acl/policy.d")]
    pub policy_dir: PathBuf,

    /// What has the switch take the rules over: a program and its arguments, separated by spaces, without a shell
    #[arg(long, value_name = "COMMAND", default_value = "/usr/cumulus/bin/cl-acltool -i")]
    pub commit_command: String,

    /// How long that may take, after which it is ended and has failed
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub commit_timeout: u64,

    /// Each request must show the token in this file: as a bearer, or as the password of any user
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Speak TLS with this certificate (PEM, with those between it and its authority)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's key (PEM), which only its owner may read
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Clients need a certificate that one of these authorities has signed (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,

    /// Let anybody who reaches the address have rules installed
    #[arg(long, conflicts_with_all = ["token_file", "tls_client_ca"])]
    pub open: bool,

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

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub(crate) fn run(self, out: &mut impl Write) -> std::io::Result<()> {
        let mut command = Options::command();
        match self {
            Self::Completions { shell } => {
                // Into memory first: the generator does not tell of a pipe that is closed.
                let mut text = Vec::new();
                clap_complete::generate(shell, &mut command, "finderscope-acl", &mut text);
                out.write_all(&text)
            }
            Self::Man => clap_mangen::Man::new(command).render(out),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn options_that_do_not_go_together_are_refused() {
        for arguments in [
            &["--tls-cert", "a"][..],
            &["--tls-key", "a"],
            &["--tls-client-ca", "a"],
            &["--open", "--token-file", "a"],
            &["--open", "--tls-cert", "a", "--tls-key", "a", "--tls-client-ca", "a"],
            &["--listen", "8080"],
            &["--commit-timeout", "0"],
            &["--open", "man"],
        ] {
            let parsed = Options::try_parse_from([&["finderscope-acl"], arguments].concat());
            assert!(parsed.is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn the_units_command_line_is_one() {
        let unit = include_str!("../../../packaging/finderscope-acl.service");
        let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/")).unwrap();
        let options = Options::try_parse_from(line.split(' ')).unwrap();
        assert!(options.token_file.is_some() && !options.open);
        let stop: u64 =
            unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap().parse().unwrap();
        assert!(stop > options.commit_timeout, "systemd waits for a commit that runs");
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
        let manual = include_str!("../../../manual/acl.md");
        for argument in
            Options::command().get_arguments().filter_map(|a| a.get_long()).filter(|n| *n != "help")
        {
            let option = format!("--{argument}");
            assert!(page.contains(&option) && bash.contains(&option), "{option}");
            assert!(manual.contains(&option), "manual/acl.md lacks {option}");
        }
    }
}
