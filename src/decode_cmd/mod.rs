//! `finderscope decode`: sFlow from a capture file or a socket, as text, JSON, lines, or sampled packets.
//!
//! Names, order and values of the text formats are those of the field's reference decoder, so that scripts
//! written for its output read ours. The tool answers an operator's first question: does sFlow arrive?

mod header;
mod line;
mod packets;
mod records;
mod report;
mod source;
mod summary;
mod text;

use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{ArgGroup, Args, ValueEnum};
use decode::Datagram;
use ingest::send::Sender;

use source::{Arrived, Source};
use summary::Summary;

use crate::sending::host_and_port;

/// Options of `finderscope decode`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("from").required(true).args(["read", "listen"]))]
#[command(after_help = "\
Exit codes: 0 datagrams were decoded; 1 the file or the socket failed; 2 the command line is wrong; 3 no \
sFlow was found.")]
pub struct DecodeArgs {
    /// Read a capture file (pcap or pcapng)
    #[arg(long, value_name = "FILE")]
    read: Option<PathBuf>,
    /// Listen on a UDP address, until interrupted
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// The UDP port of sFlow in a capture file
    #[arg(long, default_value_t = 6343, conflicts_with = "listen")]
    port: u16,
    /// What is written to standard output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Also send each datagram on to another collector; may be repeated
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    forward: Vec<String>,
    /// End after this many datagrams
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line per field
    Text,
    /// A JSON object per datagram, one per line
    Json,
    /// A comma-separated line per flow sample (FLOW) and counters sample (CNTR)
    Line,
    /// The sampled packets as a capture file for Wireshark
    Pcap,
}

/// Turns datagrams into bytes of one format.
trait Output {
    /// Appends what this datagram is in the format.
    fn datagram(&mut self, arrived: &Arrived<'_>, datagram: &Datagram<'_>, out: &mut Vec<u8>);

    /// Appends what is to be said of a datagram whose header cannot be read.
    fn refused(&mut self, _arrived: &Arrived<'_>, _out: &mut Vec<u8>) {}
}

/// What may gather before it is written, bytes.
const GATHERED: usize = 256 << 10;

/// Runs the subcommand.
///
/// # Errors
/// The file or socket cannot be opened or read, or a collector to forward to cannot be found.
pub fn run(args: &DecodeArgs) -> anyhow::Result<ExitCode> {
    let mut forwards = args.forward.iter().map(|to| open_forward(to)).collect::<Result<Vec<_>, _>>()?;
    let mut source = match (&args.read, args.listen) {
        (Some(path), _) => Source::open_file(path, args.port)?,
        (None, Some(address)) => Source::open_socket(address)?,
        (None, None) => bail!("one of --read and --listen is needed"),
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&interrupted))?;
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let mut output: Box<dyn Output> = match args.format {
        Format::Text => Box::new(text::Text::new(report::Style::Text)),
        Format::Json => Box::new(text::Text::new(report::Style::Json)),
        Format::Line => Box::new(line::Lines),
        Format::Pcap => Box::new(packets::Packets::default()),
    };
    let mut summary = Summary::default();
    let mut out = Vec::with_capacity(GATHERED * 2);
    let mut stdout = io::stdout().lock();
    let live = args.listen.is_some();
    let mut failed = None;
    while !interrupted.load(Ordering::Relaxed) && args.count.is_none_or(|most| summary.datagrams < most) {
        match source.next(Duration::from_millis(100)) {
            Ok(Some(arrived)) => {
                for forward in &mut forwards {
                    forward.send(arrived.bytes);
                }
                match Datagram::parse(arrived.bytes) {
                    Ok(datagram) => {
                        summary.datagram(&datagram);
                        output.datagram(&arrived, &datagram, &mut out);
                    }
                    Err(error) => {
                        summary.refused(error);
                        output.refused(&arrived, &mut out);
                    }
                }
            }
            Ok(None) if live => {}
            Ok(None) => break,
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
        // A socket's output is seen at once, a file's in large pieces.
        if (live || out.len() >= GATHERED) && !write_out(&mut stdout, &mut out)? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    if !write_out(&mut stdout, &mut out)? {
        return Ok(ExitCode::SUCCESS);
    }
    summary.print(&source, &forwards, &mut io::stderr().lock())?;
    match failed {
        Some(error) => Err(error),
        None if summary.datagrams == 0 => Ok(ExitCode::from(3)),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// False when the reader of standard output has gone, as `head` does: that is no failure.
fn write_out(stdout: &mut impl Write, out: &mut Vec<u8>) -> anyhow::Result<bool> {
    let written = stdout.write_all(out).and_then(|()| stdout.flush());
    out.clear();
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("standard output"),
    }
}

fn open_forward(to: &str) -> anyhow::Result<Sender> {
    let address = to
        .to_socket_addrs()
        .with_context(|| format!("--forward {to}"))?
        .next()
        .with_context(|| format!("--forward {to}: the name has no address"))?;
    Sender::new(address).with_context(|| format!("--forward {to}"))
}
