//! `finderscope capture`: what a running collector has switches mirror, and captures by hand.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use crate::client::{Client, segment};
use crate::escape::escape;

/// Options of `finderscope capture`.
#[derive(Debug, Args)]
#[command(after_help = "\
A collector that wants a token for writes is shown that in FINDERSCOPE_HTTP_TOKEN.\n\n\
Exit codes: 0 done; 1 no collector answers, it refuses, or there is no such capture (the reason is on standard error); \
2 the command line is wrong.")]
pub struct CaptureArgs {
    /// The collector
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8008", global = true)]
    url: String,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show captures and why they are there
    List {
        /// As JSON, with evidence, history and switches
        #[arg(long)]
        json: bool,
    },
    /// Have a switch mirror the packets of two hosts to the analyzer of a policy
    Start {
        /// The host that is ours
        local: IpAddr,
        /// The other one
        remote: IpAddr,
        /// Agent of the switch that is to capture [default: the best one that has seen them]
        #[arg(long, value_name = "ADDRESS")]
        agent: Option<IpAddr>,
        /// For how long [default: as long as the policy's captures last without evidence]
        #[arg(long, value_name = "SECONDS")]
        seconds: Option<u64>,
        /// The policy whose analyzer the packets go to [default: the first one]
        #[arg(long, value_name = "NAME")]
        policy: Option<String>,
    },
    /// End a capture
    Stop {
        /// Its id, as `list` shows it
        id: String,
    },
}

/// Runs the subcommand.
///
/// # Errors
/// No collector answers, it refuses, or there is no such capture.
pub fn run(args: &CaptureArgs) -> anyhow::Result<ExitCode> {
    let client = Client::with_token_of_environment(&args.url)?;
    match &args.what {
        What::List { json } => {
            let captures = client.get("/captures/json")?.unwrap_or_default();
            let text = if *json { format!("{captures:#}\n") } else { table(&captures) };
            std::io::stdout().write_all(text.as_bytes())?;
        }
        What::Start { local, remote, agent, seconds, policy } => {
            let mut start = json!({ "local": local, "remote": remote });
            for (key, value) in [
                ("agent", agent.map(|agent| json!(agent))),
                ("seconds", seconds.map(Json::from)),
                ("policy", policy.clone().map(Json::from)),
            ] {
                if let Some(value) = value {
                    start[key] = value;
                }
            }
            let place = client.begin("/captures/json", &start)?.unwrap_or_default();
            let id = place.strip_prefix("/capture/").and_then(|rest| rest.strip_suffix("/json"));
            println!("{}", escape(id.unwrap_or(&place)));
        }
        What::Stop { id } => {
            if !client.end(&format!("/capture/{}/json", segment(id)))? {
                bail!("there is no capture {id:?}: `finderscope capture list` shows those that there are");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One line for each capture.
fn table(captures: &Json) -> String {
    let sessions = captures["sessions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if sessions.is_empty() {
        return "no captures\n".to_owned();
    }
    let text = |session: &Json, key: &str| match &session[key] {
        Json::String(text) => escape(text),
        _ => "-".to_owned(),
    };
    let mut out = String::new();
    for session in sessions {
        let [id, state, local, remote, agent, until, reason] =
            ["id", "state", "local", "remote", "agent", "deadline", "reason"].map(|key| text(session, key));
        // Writing to a text never fails.
        let _ = writeln!(out, "{id}  {state}  {local} <-> {remote}  on {agent}  until {until}  {reason}");
    }
    out
}
