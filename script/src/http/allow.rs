//! Which hosts scripts may reach: what the operator wrote after `--allow`, and what follows from it. No I/O.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use actions::http::{Url, is_never_asked};
use actions::text::shown;
use ip_network::IpNetwork;

/// A host, or some, that scripts may reach; with a port only there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// This name, in lower case.
    Name(String),
    /// All names that end so, after a point.
    Under(String),
    Address(IpAddr),
    /// All addresses of a network, where a script names them by address.
    Net(IpNetwork),
}

/// What is wrong with the text, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAllow(String);

/// Letters of the longest name (RFC 1035).
const NAME_LETTERS: usize = 253;

impl FromStr for Allow {
    type Err = NotAllow;

    fn from_str(text: &str) -> Result<Self, NotAllow> {
        let wrong = |why: &str| NotAllow(format!("{:?}: {why}", shown(text)));
        let needed = "HOST, HOST:PORT, [ADDRESS]:PORT, NETWORK/BITS or *.DOMAIN is needed";
        if let Some((_, rest)) = text.split_once("://") {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            return Err(wrong(&format!("name the host alone, without what is asked of it: {}", shown(host))));
        }
        let (host, port) = split(text).ok_or_else(|| wrong(needed))?;
        let port = match port {
            None => None,
            Some(port) => {
                let plain = port.bytes().all(|byte| byte.is_ascii_digit());
                let port = plain.then(|| port.parse().ok()).flatten().filter(|port| *port > 0);
                Some(port.ok_or_else(|| wrong("the port is none from 1 to 65535"))?)
            }
        };
        let host = read_host(host).map_err(|why| wrong(why.unwrap_or(needed)))?;
        Ok(Self { host, port })
    }
}

/// Host and port, not looked at further.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let is_six = host.split('/').next().unwrap_or_default().parse::<std::net::Ipv6Addr>().is_ok();
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
        return is_six.then_some((host, port));
    }
    match text.split_once(':') {
        // An address of IPv6 without brackets has no port.
        Some((_, rest)) if rest.contains(':') => Some((text, None)),
        Some((host, port)) => Some((host, Some(port))),
        None => Some((text, None)),
    }
}

fn read_host(text: &str) -> Result<Host, Option<&'static str>> {
    let never = "that is link-local, no host, or a cloud's own: scripts never reach it";
    if let Ok(address) = text.parse::<IpAddr>() {
        let address = address.to_canonical();
        return if is_never_asked(address) { Err(Some(never)) } else { Ok(Host::Address(address)) };
    }
    if text.contains('/') {
        let network = text
            .parse()
            .map_err(|_| Some("that is no network: its address has bits behind its length, or is none"))?;
        return Ok(Host::Net(network));
    }
    if text == "*" {
        return Err(Some("that would be every host: name each, or those of a domain as *.DOMAIN"));
    }
    let (name, under) = text.strip_prefix("*.").map_or((text, false), |domain| (domain, true));
    if !name.is_ascii() {
        return Err(Some("write the name in its ASCII form, which begins with xn--"));
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let all_digits = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    // A last label of digits is what address parsers take for an address.
    let is_name = name.len() <= NAME_LETTERS
        && name.split('.').all(label)
        && !name.rsplit('.').next().is_some_and(all_digits);
    match (is_name, under) {
        (false, _) => Err(None),
        (true, false) => Ok(Host::Name(name)),
        (true, true) => Ok(Host::Under(name)),
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (Host::Name(name), _) => f.write_str(name)?,
            (Host::Under(name), _) => write!(f, "*.{name}")?,
            (Host::Address(address), Some(_)) if address.is_ipv6() => write!(f, "[{address}]")?,
            (Host::Address(address), _) => write!(f, "{address}")?,
            (Host::Net(network), Some(_)) if network.is_ipv6() => write!(f, "[{network}]")?,
            (Host::Net(network), _) => write!(f, "{network}")?,
        }
        if let Some(port) = self.port { write!(f, ":{port}") } else { Ok(()) }
    }
}

impl Allow {
    /// Whether it lets through what an address of a page has for a host.
    fn names(&self, host: &str, port: u16) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let found = match &self.host {
            Host::Name(name) => name == host,
            Host::Under(domain) => {
                host.strip_suffix(&**domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            Host::Address(address) => literal(host) == Some(*address),
            Host::Net(network) => literal(host).is_some_and(|address| network.contains(address)),
        };
        found && self.port.is_none_or(|own| own == port)
    }

    /// Whether it says that scripts may reach this address of this host itself.
    fn names_loopback(&self, address: IpAddr, port: u16) -> bool {
        let found = match &self.host {
            Host::Name(name) => name == "localhost",
            Host::Under(_) => false,
            Host::Address(own) => *own == address,
            // 0.0.0.0/0 is about other hosts.
            Host::Net(network) => is_of_loopback(network) && network.contains(address),
        };
        found && self.port.is_none_or(|own| own == port)
    }
}

fn is_of_loopback(network: &IpNetwork) -> bool {
    match network {
        IpNetwork::V4(network) => network.netmask() >= 8 && network.network_address().is_loopback(),
        IpNetwork::V6(network) => network.netmask() == 128 && network.network_address().is_loopback(),
    }
}

fn literal(host: &str) -> Option<IpAddr> {
    host.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Whether scripts may ask for what is at this address, as far as its text tells.
///
/// # Errors
/// They may not; the text says which option would let them.
pub(crate) fn check_url(allowed: &[Allow], url: &Url) -> Result<(), String> {
    let (host, port) = (url.host(), url.port());
    if literal(host).is_some_and(is_never_asked) {
        return Err(format!("{host} is link-local, no host, or a cloud's own: scripts never reach it"));
    }
    let loopback = |host| literal(host).is_some_and(|address| address.is_loopback());
    let found = allowed.iter().any(|allow| match literal(host) {
        Some(address) if loopback(host) => allow.names_loopback(address, port) && allow.names(host, port),
        _ => allow.names(host, port),
    });
    if found {
        return Ok(());
    }
    let usual = port == if url.is_secure() { 443 } else { 80 };
    let flag = if usual { host.to_owned() } else { with_port(host, port) };
    Err(format!("{} is not allowed; --allow {flag} lets scripts reach it", with_port(host, port)))
}

/// Whether scripts may reach this address for the host that they may ask.
///
/// # Errors
/// They may not; the text says why.
pub(crate) fn check_address(allowed: &[Allow], url: &Url, address: IpAddr) -> Result<(), String> {
    let (address, port) = (address.to_canonical(), url.port());
    if !address.is_loopback() || allowed.iter().any(|allow| allow.names_loopback(address, port)) {
        return Ok(());
    }
    let flag = with_port(&address.to_string(), port);
    Err(format!("{} is at {address}, which is this host; --allow {flag} lets scripts reach it", url.host()))
}

fn with_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn allowed(texts: &[&str]) -> Vec<Allow> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn hosts_are_written_as_they_are_read() {
        for text in [
            "rules.emergingthreats.net",
            "10.0.0.134:2376",
            "localhost:8008",
            "*.example.org",
            "*.example.org:8443",
            "2001:db8::1",
            "[2001:db8::1]:80",
            "10.0.0.0/24",
            "10.0.0.0/24:8080",
            "2001:db8::/32",
            "[2001:db8::/32]:8080",
            "my_host",
        ] {
            assert_eq!(text.parse::<Allow>().unwrap().to_string(), text);
        }
        for (text, written) in
            [("Example.ORG.", "example.org"), ("[::1]", "::1"), ("::ffff:10.0.0.1", "10.0.0.1")]
        {
            assert_eq!(text.parse::<Allow>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn what_is_no_host_says_what_is_needed() {
        for (text, why) in [
            ("", "\"\": HOST, HOST:PORT, [ADDRESS]:PORT, NETWORK/BITS or *.DOMAIN is needed"),
            (
                "https://a.net:1/x",
                "\"https://a.net:1/x\": name the host alone, without what is asked of it: a.net:1",
            ),
            ("a:0", "\"a:0\": the port is none from 1 to 65535"),
            ("a:65536", "\"a:65536\": the port is none from 1 to 65535"),
            ("a:+80", "\"a:+80\": the port is none from 1 to 65535"),
            ("a:", "\"a:\": the port is none from 1 to 65535"),
            ("*", "\"*\": that would be every host: name each, or those of a domain as *.DOMAIN"),
            ("ä.net", "\"ä.net\": write the name in its ASCII form, which begins with xn--"),
            (
                "169.254.169.254",
                "\"169.254.169.254\": that is link-local, no host, or a cloud's own: scripts never reach it",
            ),
            (
                "10.0.0.1/24",
                "\"10.0.0.1/24\": that is no network: its address has bits behind its length, or is none",
            ),
        ] {
            assert_eq!(text.parse::<Allow>().unwrap_err().to_string(), why);
        }
        for text in [
            "a b", "a..b", ".a", "user@a", "1.2.3", "0x7f.1", "[::1", "[a]:1", "[::1]80", "*a.net", "a.*",
            "*.*",
        ] {
            let error = text.parse::<Allow>().unwrap_err().to_string();
            assert!(error.ends_with("*.DOMAIN is needed"), "{text}: {error}");
        }
        assert!("fe80::1".parse::<Allow>().unwrap_err().to_string().contains("scripts never reach it"));
        assert!(format!("{}.net", "a".repeat(250)).parse::<Allow>().is_err());
    }

    #[test]
    fn an_entry_lets_through_its_host_and_nothing_that_looks_like_it() {
        for (entry, lets, refuses) in [
            (
                "a.net",
                &["http://a.net/", "https://A.net:8443/x", "http://a.net./"][..],
                &["http://b.a.net/", "http://a.net.evil.org/", "http://xa.net/", "http://a.nett/"][..],
            ),
            ("a.net:443", &["https://a.net/"], &["http://a.net/", "https://a.net:444/"]),
            (
                "*.a.net",
                &["http://b.a.net/", "http://c.b.a.net:1/"],
                &["http://a.net/", "http://xa.net/", "http://.a.net/", "http://b.a.net.org/"],
            ),
            (
                "10.0.0.1",
                &["http://10.0.0.1:8080/", "http://[::ffff:10.0.0.1]/"],
                &["http://10.0.0.10/", "http://167772161/"],
            ),
            (
                "10.0.0.0/24:8080",
                &["http://10.0.0.7:8080/acl/x"],
                &["http://10.0.1.7:8080/", "http://10.0.0.7/", "http://ten.net:8080/"],
            ),
            (
                "[2001:db8::1]:80",
                &["http://[2001:db8:0::1]/"],
                &["https://[2001:db8::1]/", "http://[2001:db8::2]/"],
            ),
            (
                "0.0.0.0/0",
                &["http://10.0.0.1/"],
                &["http://127.0.0.1/", "http://169.254.169.254/", "http://a.net/"],
            ),
            ("127.0.0.0/8", &["http://127.3.2.1/"], &["http://127.0.0.1.nip.io/"]),
            ("localhost", &["http://localhost:1/"], &["http://127.0.0.1:1/"]),
        ] {
            let entries = allowed(&[entry]);
            for text in lets {
                assert_eq!(check_url(&entries, &url(text)), Ok(()), "{entry} {text}");
            }
            for text in refuses.iter().filter_map(|text| Url::parse(text).ok()) {
                assert!(check_url(&entries, &text).is_err(), "{entry} {text}");
            }
        }
    }

    #[test]
    fn an_error_names_the_missing_flag() {
        for (text, why) in [
            (
                "https://rules.emergingthreats.net/x.txt?key=1",
                "rules.emergingthreats.net:443 is not allowed; --allow rules.emergingthreats.net lets scripts reach it",
            ),
            (
                "https://10.0.0.134:2376/services/apache",
                "10.0.0.134:2376 is not allowed; --allow 10.0.0.134:2376 lets scripts reach it",
            ),
            ("http://127.0.0.1/", "127.0.0.1:80 is not allowed; --allow 127.0.0.1 lets scripts reach it"),
            (
                "http://[fd00::1]:81/",
                "[fd00::1]:81 is not allowed; --allow [fd00::1]:81 lets scripts reach it",
            ),
            ("https://[fd00::1]/", "[fd00::1]:443 is not allowed; --allow fd00::1 lets scripts reach it"),
            (
                "http://169.254.169.254/latest",
                "169.254.169.254 is link-local, no host, or a cloud's own: scripts never reach it",
            ),
        ] {
            let said = check_url(&[], &url(text)).unwrap_err();
            assert_eq!(said, why);
            if let Some((_, flag)) = said.split_once("--allow ") {
                let flag = flag.split(' ').next().unwrap();
                assert_eq!(check_url(&allowed(&[flag]), &url(text)), Ok(()), "the flag that is named helps");
            }
        }
    }

    #[test]
    fn this_host_is_reached_only_where_it_is_named() {
        let here: IpAddr = "127.0.1.1".parse().unwrap();
        let page = url("http://myhost:8080/");
        let said = check_address(&allowed(&["myhost", "0.0.0.0/0"]), &page, here).unwrap_err();
        assert_eq!(
            said,
            "myhost is at 127.0.1.1, which is this host; --allow 127.0.1.1:8080 lets scripts reach it"
        );
        for entries in [&["myhost", "127.0.1.1:8080"][..], &["myhost", "localhost"], &["127.0.0.0/8"]] {
            assert_eq!(check_address(&allowed(entries), &page, here), Ok(()), "{entries:?}");
        }
        for entries in
            [&["127.0.1.1:81"][..], &["127.0.0.1"], &["localhost:80"], &["*.localhost"], &["0.0.0.0/1"]]
        {
            assert!(check_address(&allowed(entries), &page, here).is_err(), "{entries:?}");
        }
        let mapped = "::ffff:127.0.0.1".parse().unwrap();
        assert!(check_address(&[], &page, mapped).is_err());
        assert_eq!(check_address(&[], &page, "10.0.0.1".parse().unwrap()), Ok(()));
    }
}
