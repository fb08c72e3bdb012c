//! Syslog, Graphite and DNS. What is sent goes only to hosts that the operator lets scripts reach, as with `http`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use actions::clock::{now_ms, stamp};
use actions::http::{Url, is_never_asked};
use rquickjs::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

use super::wait;
use crate::call::Call;
use crate::catalogue::Function;
use crate::http::{check_address, check_url};
use crate::script::Script;

/// How long it may take to look a name up, and to connect and send.
const LOOKUP: Duration = Duration::from_secs(2);
const SENDING: Duration = Duration::from_secs(5);

/// Most bytes of a syslog message: what receivers should take (RFC 5424, section 6.1).
const LONGEST_MESSAGE: usize = 2048;

/// Metrics of a call of `graphite` at most.
const MOST_METRICS: usize = 10_000;

/// The ports where a script names none; the facility `local0`, and the severity `notice`.
const SYSLOG_PORT: u16 = 514;
const GRAPHITE_PORT: u16 = 2003;
const FACILITY: u8 = 16;
const SEVERITY: u8 = 5;

pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "syslog",
        parameters: "host, port, facility, severity, message",
        what: "Sends a syslog message (RFC 5424) over UDP: a text, or an object as JSON. `port`, `facility` and `severity` \
               are 514, 16 (local0) and 5 (notice) where they are `null`. The host has to be allowed (`--allow \
               HOST:PORT`). A message has 2048 bytes, its head among them, and is cut beyond; control characters are \
               escaped. Throws when it cannot be sent; nobody knows whether it arrives.",
        example: "try {\n  syslog('10.0.0.9', null, null, 4, {event: 'ddos', target: '192.0.2.1'});\n} \
                  catch (e) { logWarning(e); }",
        call: syslog,
    },
    Function {
        name: "graphite",
        parameters: "host, port, metrics",
        what: "Sends metrics to Graphite, as plain text over TCP, with the time of the call: an object of numbers, up to \
               10,000 of them. `port` is 2003 where it is `null`. The host has to be allowed (`--allow HOST:PORT`). White \
               space in names becomes `_`. It may take 5 s; throws when the metrics cannot be sent.",
        example: "setIntervalHandler(function() {\n  var res = metric('ALL', 'sum:ifinoctets');\n  \
                  if (!res[0].metricN) return;\n  \
                  try { graphite('10.0.0.9', null, {'fabric.ifinoctets': res[0].metricValue}); } \
                  catch (e) { logWarning(e); }\n}, 15);",
        call: graphite,
    },
    Function {
        name: "dnsGetAllByName",
        parameters: "name",
        what: "Gives an array of the addresses of a host, as the system knows or looks them up; empty where there is none, \
               or no answer in 2 s.",
        example: "dnsGetAllByName('localhost').forEach(function(address) { logInfo(address); });",
        call: |script, call| {
            let name = call.text(0)?;
            let mut found: Vec<String> = Vec::new();
            if let Ok(addresses) = wait(script, &call, look_up(&name, 0))? {
                for address in addresses {
                    let address = address.ip().to_string();
                    if !found.contains(&address) {
                        found.push(address);
                    }
                }
            }
            call.give(&found.into())
        },
    },
];

fn syslog<'js>(script: &Rc<Script>, call: Call<'js>) -> rquickjs::Result<Value<'js>> {
    let (host, port) = (call.text(0)?, port(&call, SYSLOG_PORT)?);
    let (facility, severity) = (small(&call, 2, FACILITY, 23)?, small(&call, 3, SEVERITY, 7)?);
    let message = match call.value(4) {
        Some(value) if value.is_object() => call.json(4)?.to_string(),
        _ => call.text(4)?,
    };
    let packet = packet(facility * 8 + severity, &stamp(now_ms()), &script.name, &message);
    let sent = wait(script, &call, async {
        let to = addresses(script, &host, port).await?;
        let to = to.first().ok_or("it has no address")?;
        let from: IpAddr =
            if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((from, 0)).await.map_err(|error| error.to_string())?;
        socket.send_to(packet.as_bytes(), to).await.map_err(|error| error.to_string())
    });
    sent?.map_err(|why| call.fail(format!("{host} port {port}: {why}")))?;
    call.nothing()
}

/// The datagram: RFC 5424 without structured data. The mark in front of the message says that it is UTF-8.
fn packet(priority: u8, at: &str, script: &str, message: &str) -> String {
    let system = rustix::system::uname();
    let plain = |text: &str, most: usize| -> String {
        let text: String = text.chars().filter(char::is_ascii_graphic).take(most).collect();
        if text.is_empty() { "-".to_owned() } else { text }
    };
    let host = plain(&system.nodename().to_string_lossy(), 255);
    let (process, script) = (std::process::id(), plain(script, 32));
    let mut packet = format!("<{priority}>1 {at} {host} finderscope {process} {script} - \u{feff}");
    for c in message.chars() {
        let escaped: String = match c {
            '"' | '\'' | '\\' => c.to_string(),
            _ => c.escape_debug().collect(),
        };
        if packet.len() + escaped.len() > LONGEST_MESSAGE {
            break;
        }
        packet.push_str(&escaped);
    }
    packet
}

fn graphite<'js>(script: &Rc<Script>, call: Call<'js>) -> rquickjs::Result<Value<'js>> {
    let (host, port) = (call.text(0)?, port(&call, GRAPHITE_PORT)?);
    let seconds = now_ms() / 1000;
    let mut lines = String::new();
    for (n, property) in call.object(2)?.props::<String, Value<'_>>().enumerate() {
        let (name, value) = property?;
        let number = match value.as_number() {
            Some(number) => Some(number),
            None => call.to_text(&value)?.trim().parse().ok(),
        };
        let number = number.filter(|number: &f64| number.is_finite());
        let number = number.ok_or_else(|| call.fail(format!("{name:?} is no number")))?;
        if n >= MOST_METRICS {
            return Err(call.fail(format!("{MOST_METRICS} metrics can be sent at once")));
        }
        lines.push_str(&format!("{} {} {seconds}\n", line_name(&name), engine::json::number(number)));
    }
    let sent = wait(script, &call, async {
        let to = addresses(script, &host, port).await?;
        let send = async {
            let mut stream = TcpStream::connect(to.as_slice()).await?;
            stream.write_all(lines.as_bytes()).await?;
            stream.shutdown().await
        };
        let late = |_| format!("it did not take them within {} s", SENDING.as_secs());
        timeout(SENDING, send).await.map_err(late)?.map_err(|error| error.to_string())
    });
    sent?.map_err(|why| call.fail(format!("{host} port {port}: {why}")))?;
    call.nothing()
}

/// A metric's name, which must not end its word or line.
fn line_name(name: &str) -> String {
    name.chars().map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect()
}

/// The port of the second argument.
fn port(call: &Call<'_>, otherwise: u16) -> rquickjs::Result<u16> {
    let Some(number) = call.optional_number(1)? else { return Ok(otherwise) };
    if number.fract() != 0.0 || !(1.0..=65_535.0).contains(&number) {
        return Err(call.wrong(1, "must be 1 to 65535"));
    }
    Ok(number as u16)
}

/// A whole number from 0.
fn small(call: &Call<'_>, at: usize, otherwise: u8, most: u8) -> rquickjs::Result<u8> {
    let Some(number) = call.optional_number(at)? else { return Ok(otherwise) };
    if number.fract() != 0.0 || !(0.0..=f64::from(most)).contains(&number) {
        return Err(call.wrong(at, &format!("must be 0 to {most}")));
    }
    Ok(number as u8)
}

/// The addresses of a host, all of which scripts may reach.
async fn addresses(script: &Script, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let allowed = &script.world.config.allow;
    let shown = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let url = Url::parse(&format!("https://{shown}:{port}/"))?;
    check_url(allowed, &url)?;
    let found = look_up(host, port).await?;
    for address in &found {
        if is_never_asked(address.ip()) {
            return Err(format!("it is at {}, which scripts never reach", address.ip()));
        }
        check_address(allowed, &url, address.ip())?;
    }
    Ok(found)
}

async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let late = |_| format!("its address is not known within {} s", LOOKUP.as_secs());
    let found = timeout(LOOKUP, lookup_host((host, port))).await.map_err(late)?;
    Ok(found.map_err(|error| error.to_string())?.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_as_the_standard_has_it_and_one_line() {
        let at = "2016-09-24T01:00:17.003Z";
        let text = packet(133, at, "elb.js", "set \"4\"\n\u{1b}[0m");
        let (process, system) = (std::process::id(), rustix::system::uname());
        let host = system.nodename().to_string_lossy();
        let expected =
            format!("<133>1 {at} {host} finderscope {process} elb.js - \u{feff}set \"4\"\\n\\u{{1b}}[0m");
        assert_eq!(text, expected);
        let long = packet(133, at, "elb.js", &"ü".repeat(4000));
        assert!((LONGEST_MESSAGE - 1..=LONGEST_MESSAGE).contains(&long.len()), "{}", long.len());
    }

    #[test]
    fn a_name_stays_one_word_of_its_line() {
        assert_eq!(line_name("a b\n2 3.ü"), "a_b_2_3.ü");
    }
}
