//! What `replay` and `simulate` share: a collector that datagrams are sent to, an end on request, progress, and what
//! is said at the end.

use std::io::IsTerminal;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use ingest::send::Sender;

/// The value of an option that is a number above 0.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("a number above 0 is needed".to_owned()),
    }
}

/// The value of an option that names a host and a port; whether there is such a host is found out later.
pub(crate) fn host_and_port(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    match port.and_then(|port| port.parse::<u16>().ok()) {
        Some(_) => Ok(text.to_owned()),
        None => Err("give a host and a port, as in collector.example.net:6343".to_owned()),
    }
}

/// The address that `--to` names, and a socket that sends there.
///
/// # Errors
/// The address cannot be found, or no socket can be had.
pub(crate) fn sender(to: &str) -> anyhow::Result<(Sender, SocketAddr)> {
    let address = to
        .to_socket_addrs()
        .with_context(|| format!("--to {to}"))?
        .next()
        .with_context(|| format!("--to {to}: the name has no address"))?;
    Ok((Sender::new(address).with_context(|| format!("--to {address}"))?, address))
}

/// A flag that SIGINT and SIGTERM raise from here on, instead of ending the program.
///
/// # Errors
/// The signals cannot be caught.
pub(crate) fn interrupted() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
    }
    Ok(flag)
}

/// A line of progress in this form, towards `length` where that is known; it is shown to terminals only.
///
/// # Errors
/// The template is wrong.
pub(crate) fn progress(template: &str, length: Option<u64>) -> anyhow::Result<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
    Ok(bar.with_style(ProgressStyle::with_template(template)?))
}

/// Says what was sent.
pub(crate) fn tell(sender: &Sender, to: SocketAddr, took: Duration) {
    let (sent, seconds) = (sender.sent(), took.as_secs_f64().max(1e-6));
    eprintln!("sent {sent} datagrams to {to} in {seconds:.1} s ({:.0} per second)", sent as f64 / seconds);
}

/// What the sender ends with.
///
/// # Errors
/// The kernel refused datagrams.
pub(crate) fn outcome(sender: &Sender, to: SocketAddr) -> anyhow::Result<ExitCode> {
    match sender.failed() {
        0 => Ok(ExitCode::SUCCESS),
        failed => bail!("{failed} datagrams were refused by the kernel: is anyone listening on {to}?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_that_are_none() {
        for text in ["0", "-1", "nan", "inf", "fast"] {
            assert!(positive(text).is_err(), "{text}");
        }
    }
}
