//! `finderscope replay`: sends the sFlow of a capture file to a collector.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Args;
use ingest::capture::{Payloads, Reader};

use crate::sending::{self, host_and_port, positive};

/// Options of `finderscope replay`.
#[derive(Debug, Args)]
#[command(after_help = "\
The datagrams are sent as they were captured: a second turn (--loop 2) repeats their sequence numbers, and a \
collector sees an agent that restarted.\n\n\
Exit codes: 0 all datagrams were sent; 1 the file or the socket failed, or the kernel refused datagrams; 2 the \
command line is wrong; 3 the file holds no datagram.")]
pub struct ReplayArgs {
    /// The capture file (pcap or pcapng)
    file: PathBuf,
    /// The collector
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    to: String,
    /// The UDP port of sFlow in the file
    #[arg(long, default_value_t = 6343)]
    port: u16,
    /// Times as fast as it was captured
    #[arg(long, value_name = "X", default_value_t = 1.0, conflicts_with = "rate", value_parser = positive)]
    speed: f64,
    /// Datagrams per second, whatever the capture's pace
    #[arg(long, value_name = "DATAGRAMS_PER_S", value_parser = positive)]
    rate: Option<f64>,
    /// Send the file this many times
    #[arg(long = "loop", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    turns: u64,
}

/// When the datagrams of one turn are due, from the turn's start.
#[derive(Debug)]
enum Pace {
    /// As captured, this many times faster.
    Captured { speed: f64, first_us: Option<u64> },
    /// Evenly.
    Even { rate: f64 },
}

impl Pace {
    /// When the `n`th datagram of a turn, captured at `time_us`, is due.
    fn due(&mut self, n: u64, time_us: u64) -> Duration {
        let seconds = match self {
            Self::Captured { speed, first_us } => {
                let first = *first_us.get_or_insert(time_us);
                time_us.saturating_sub(first) as f64 / 1e6 / *speed
            }
            Self::Even { rate } => n as f64 / *rate,
        };
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

/// Runs the subcommand.
///
/// # Errors
/// The file cannot be read or the collector's address cannot be found.
pub fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let (mut sender, to) = sending::sender(&args.to)?;
    // A first pass tells how many there are, and refuses a damaged file before anything is sent.
    let whole = count(args)?;
    if whole == 0 {
        eprintln!("finderscope: {} holds no UDP datagram to port {}", args.file.display(), args.port);
        return Ok(ExitCode::from(3));
    }
    let interrupted = sending::interrupted()?;
    let template = "{bar:40} {pos}/{len} datagrams, {per_sec}, {eta} left";
    let progress = sending::progress(template, Some(whole.saturating_mul(args.turns)))?;
    let began = Instant::now();
    'turns: for _ in 0..args.turns {
        let mut pace = match args.rate {
            Some(rate) => Pace::Even { rate },
            None => Pace::Captured { speed: args.speed, first_us: None },
        };
        let turn = Instant::now();
        let mut payloads = Payloads::new(Reader::open(&args.file)?, args.port);
        let mut n = 0;
        while let Some(payload) = payloads.next_payload() {
            let payload = payload?;
            let due = pace.due(n, payload.time_us.unwrap_or(0));
            while let Some(left) = due.checked_sub(turn.elapsed()) {
                if interrupted.load(Ordering::Relaxed) {
                    break 'turns;
                }
                std::thread::sleep(left.min(Duration::from_millis(100)));
            }
            sender.send(payload.bytes);
            n += 1;
            progress.inc(1);
        }
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
    }
    progress.finish_and_clear();
    sending::tell(&sender, to, began.elapsed());
    sending::outcome(&sender, to)
}

/// How many datagrams the file holds.
fn count(args: &ReplayArgs) -> anyhow::Result<u64> {
    let mut payloads = Payloads::new(Reader::open(&args.file)?, args.port);
    while let Some(payload) = payloads.next_payload() {
        payload?;
    }
    Ok(payloads.statistics().payloads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_of_the_capture_and_an_even_one() {
        let mut captured = Pace::Captured { speed: 2.0, first_us: None };
        assert_eq!(captured.due(0, 5_000_000), Duration::ZERO);
        assert_eq!(captured.due(1, 7_000_000), Duration::from_secs(1));
        assert_eq!(captured.due(2, 4_000_000), Duration::ZERO, "a clock that fell back delays nothing");
        assert_eq!(Pace::Even { rate: 50.0 }.due(100, 0), Duration::from_secs(2));
    }
}
