//! RFC 5424 over UDP (RFC 5426): a datagram for each notice.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

use super::{Counters, Courier, Notice, Severity, Stamped, Syslog};
use crate::clock::stamp;
use crate::stop::Stop;

/// Most bytes of a datagram: what receivers should take (RFC 5424, section 6.1).
const MOST_BYTES: usize = 2048;
/// How long an address of a name is used, and how long asking for it may take.
const KNOWN_FOR: Duration = Duration::from_secs(60);
const LOOKUP: Duration = Duration::from_secs(2);

pub(super) async fn run(mut courier: Courier, to: &Syslog, mut stop: Stop) {
    let mut way: Option<(UdpSocket, Instant)> = None;
    while let Some(notice) = courier.next(&mut stop).await {
        if way.as_ref().is_none_or(|(_, opened)| opened.elapsed() > KNOWN_FOR) {
            way = match open(&to.address).await {
                Ok(socket) => Some((socket, Instant::now())),
                Err(why) => {
                    tracing::warn!("syslog {}: {why}", to.address);
                    None
                }
            };
        }
        let text = message(&notice, to, &courier.host);
        let sent = match &way {
            Some((socket, _)) => socket.send(text.as_bytes()).await.is_ok(),
            None => false,
        };
        if sent {
            Counters::add(&courier.counters.delivered);
        } else {
            // An error may be that of the datagram before, which nobody took.
            Counters::add(&courier.counters.failed_tries);
            Counters::add(&courier.counters.lost_refused);
        }
    }
}

async fn open(address: &str) -> Result<UdpSocket, String> {
    let late = |_| "its address is not known in time".to_owned();
    let found = timeout(LOOKUP, lookup_host(address)).await.map_err(late)?;
    let to = found.map_err(|error| error.to_string())?.next().ok_or("it has no address")?;
    let from: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(from).await.map_err(|error| error.to_string())?;
    socket.connect(to).await.map_err(|error| error.to_string())?;
    Ok(socket)
}

/// The datagram. Control characters and what turns writing round are escaped; it is cut where it is too long.
fn message(notice: &Stamped, to: &Syslog, host: &str) -> String {
    let severity = match notice.notice.severity {
        Severity::Error => 3,
        Severity::Warning => 4,
        Severity::Info => 6,
    };
    let priority = to.facility as u8 * 8 + severity;
    let (at, process) = (stamp(notice.at_ms), std::process::id());
    let Notice { kind, name, what, text, .. } = &notice.notice;
    // The structured data is IANA's; the mark in front of the text says that it is UTF-8.
    let mut message = format!(
        "<{priority}>1 {at} {host} finderscope {process} {kind} [origin software=\"finderscope\" swVersion=\"{}\"] \u{feff}",
        env!("CARGO_PKG_VERSION"),
    );
    for c in format!("{name} {what}: {text}").chars() {
        let escaped: String = match c {
            '"' | '\'' | '\\' => c.to_string(),
            _ => c.escape_debug().collect(),
        };
        if message.len() + escaped.len() > MOST_BYTES {
            break;
        }
        message.push_str(&escaped);
    }
    message
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn stamped(text: &str) -> Stamped {
        let notice = Notice {
            kind: "scale",
            name: "apache".into(),
            what: "scaled",
            text: text.into(),
            severity: Severity::Warning,
            ..Notice::default()
        };
        Stamped { id: "1-0".into(), at_ms: 1_474_678_817_003, notice }
    }

    #[test]
    fn a_message_is_as_the_standard_has_it_and_one_line() {
        let to: Syslog = serde_json::from_str(r#"{"address":"h:514","facility":"local0"}"#).unwrap();
        let text = message(&stamped("set replicas=\"4\"\n\u{1b}[0m"), &to, "leaf1");
        let process = std::process::id();
        let expected = format!(
            "<132>1 2016-09-24T01:00:17.003Z leaf1 finderscope {process} scale \
             [origin software=\"finderscope\" swVersion=\"{}\"] \u{feff}apache scaled: set replicas=\"4\"\\n\\u{{1b}}[0m",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(text, expected);
        let long = message(&stamped(&"ü".repeat(4000)), &to, "leaf1");
        assert!((MOST_BYTES - 1..=MOST_BYTES).contains(&long.len()), "{}", long.len());
    }
}
