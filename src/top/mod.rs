//! `finderscope top`: the largest flows of a running collector, live in the terminal or once as text.
//!
//! | module | owns |
//! |---|---|
//! | [`watch`] | the flow that is watched, and what the collector says of it |
//! | [`acting`] | what the collector does about what it sees |
//! | [`table`] | order, numbers, plain text |
//! | [`screen`] | the terminal |

pub mod acting;
pub mod screen;
pub mod table;
pub mod watch;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use watch::{Wanted, Watch};

use crate::client::Client;

/// How long `--once` gives a flow of its own to see some packets.
const FILLING: Duration = Duration::from_secs(3);

/// Rows that are asked for where a screen shows them.
const ROWS: usize = 100;

/// Options of `finderscope top`.
#[derive(Debug, Args)]
#[command(after_help = "\
Keys: q ends; left and right choose the column to sort by, r turns the order round; up and down watch another flow; \
p holds still.\n\n\
A collector that wants a token for a flow of one's own is shown that in FINDERSCOPE_HTTP_TOKEN.\n\n\
Exit codes: 0 done; 1 no collector answers, or it refuses (the reason is on standard error); 2 the command line is wrong.")]
pub struct TopArgs {
    /// The collector
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8008")]
    url: String,
    /// Watch a flow that is defined [default: `flows`, else the first]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["keys", "value", "filter"])]
    flow: Option<String>,
    /// Watch a flow of these keys, defined for as long as this runs
    #[arg(long, value_name = "KEYS")]
    keys: Option<String>,
    /// What is measured of it
    #[arg(long, value_name = "VALUE", default_value = "bytes", requires = "keys")]
    value: String,
    /// Which packets count for it
    #[arg(long, value_name = "FILTER", requires = "keys")]
    filter: Option<String>,
    /// Only these agents: addresses or host names, separated by commas
    #[arg(long, value_name = "AGENTS", default_value = "ALL")]
    agents: String,
    /// Print one table as text, and end
    #[arg(long)]
    once: bool,
    /// Print what the collector acts on after the table, with --once
    #[arg(long, requires = "once")]
    actions: bool,
    /// Flows at most, with --once
    #[arg(long, value_name = "N", default_value_t = 20, requires = "once")]
    rows: usize,
}

/// Runs the subcommand.
///
/// # Errors
/// No collector answers, it refuses, or there is no terminal.
pub fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    let wanted = match &args.keys {
        Some(keys) => {
            Wanted::Own { keys: keys.clone(), value: args.value.clone(), filter: args.filter.clone() }
        }
        None => Wanted::Defined(args.flow.clone()),
    };
    if !args.once && !std::io::stdout().is_terminal() {
        bail!("standard output is no terminal: --once prints one table as text");
    }
    // So that a flow of our own is taken away before the end.
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ended))?;
    }
    let most = if args.once { args.rows } else { ROWS };
    let client = Client::with_token_of_environment(&args.url)?;
    let watch = Watch::start(client, &wanted, &args.agents, most)?;
    if args.once { once(watch, args.actions, &ended) } else { screen::run(watch, &args.url, &ended) }
}

fn once(mut watch: Watch, actions: bool, ended: &AtomicBool) -> anyhow::Result<ExitCode> {
    if watch.is_own() {
        let began = Instant::now();
        while began.elapsed() < FILLING && !ended.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let snapshot = watch.look()?;
    let mut text = table::text(&snapshot);
    for line in snapshot.actions.iter().filter(|_| actions) {
        text.push_str(line);
        text.push('\n');
    }
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
