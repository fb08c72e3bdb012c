//! Lists of addresses as feeds write them: addresses and prefixes a line, with comments, or an object with `cidr` a line.
//! Bytes to prefixes, nothing else.

use std::net::IpAddr;

use ip_network::IpNetwork;
use serde::Deserialize;

/// Most bytes of a line that is read.
const LINE_BYTES: usize = 4096;

/// What was in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Its prefixes in their order, host bits cleared, duplicates and all.
    pub networks: Vec<IpNetwork>,
    /// Lines that should be entries and are none.
    pub unparsed: usize,
    /// The first of them: its number from 1, and its beginning.
    pub first_unparsed: Option<(usize, String)>,
    /// Entries whose address had bits beyond the prefix.
    pub host_bits: usize,
}

impl Parsed {
    /// The share of entries among the lines that should be some, 0 to 1.
    pub fn share(&self) -> f64 {
        let all = self.networks.len() + self.unparsed;
        if all == 0 { 0.0 } else { self.networks.len() as f64 / all as f64 }
    }
}

/// Why bytes are no list at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoList {
    /// It begins as HTML or XML does.
    #[error("it is a page of HTML or XML and no list")]
    Page,
    /// It is compressed, in UTF-16, or something else that is no text.
    #[error("it is no text: compressed lists and UTF-16 are not read")]
    NoText,
    /// It has more entries than the limit.
    #[error("it has more than {0} entries")]
    TooMany(usize),
}

/// Reads a list of at most `most` entries.
///
/// # Errors
/// It is none at all; lines that are no entries are counted, not errors.
pub fn parse(bytes: &[u8], most: usize) -> Result<Parsed, NoList> {
    // The mark of UTF-8.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.contains(&0)
        || bytes.starts_with(b"\xff\xfe")
        || bytes.starts_with(b"\xfe\xff")
        || bytes.starts_with(b"\x1f\x8b")
    {
        return Err(NoList::NoText);
    }
    if bytes.trim_ascii_start().starts_with(b"<") {
        return Err(NoList::Page);
    }
    let mut parsed = Parsed::default();
    // A carriage return before the line feed makes an empty line; alone it ends a line too.
    let mut number = 1;
    for line in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
        match entry(line.trim_ascii()) {
            Line::Nothing => {}
            Line::Entry(network, host_bits) => {
                if parsed.networks.len() >= most {
                    return Err(NoList::TooMany(most));
                }
                parsed.networks.push(network);
                parsed.host_bits += usize::from(host_bits);
            }
            Line::Wrong => {
                parsed.unparsed += 1;
                parsed.first_unparsed.get_or_insert_with(|| {
                    let start = line.trim_ascii();
                    let start = start.get(..start.len().min(60)).unwrap_or_default();
                    (number, crate::text::shown(&String::from_utf8_lossy(start)))
                });
            }
        }
        number += usize::from(line.ends_with(b"\n"));
    }
    Ok(parsed)
}

enum Line {
    Nothing,
    Entry(IpNetwork, bool),
    Wrong,
}

fn entry(line: &[u8]) -> Line {
    if line.len() > LINE_BYTES {
        return Line::Wrong;
    }
    if line.starts_with(b"{") {
        return object(line);
    }
    // What follows a mark is a comment, on an entry's line too.
    let end = line.iter().position(|byte| matches!(byte, b'#' | b';')).unwrap_or(line.len());
    let text = line.get(..end).unwrap_or_default().trim_ascii();
    if text.is_empty() {
        return Line::Nothing;
    }
    match std::str::from_utf8(text).ok().and_then(prefix) {
        Some((network, host_bits)) => Line::Entry(network, host_bits),
        None => Line::Wrong,
    }
}

/// A line of newline-delimited JSON.
fn object(line: &[u8]) -> Line {
    #[derive(Deserialize)]
    struct Object {
        cidr: Option<String>,
        #[serde(rename = "type")]
        kind: Option<String>,
    }
    match serde_json::from_slice(line) {
        Ok(Object { cidr: Some(cidr), .. }) => match prefix(cidr.trim()) {
            Some((network, host_bits)) => Line::Entry(network, host_bits),
            None => Line::Wrong,
        },
        // Such lists end with an object about themselves.
        Ok(Object { cidr: None, kind: Some(kind) }) if kind == "metadata" => Line::Nothing,
        _ => Line::Wrong,
    }
}

/// An address or a prefix, and whether it had bits beyond the prefix.
pub(super) fn prefix(text: &str) -> Option<(IpNetwork, bool)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => longest,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok()?
        }
        Some(_) => return None,
    };
    let network = IpNetwork::new_truncate(address, length).ok()?;
    Some((network, network.network_address() != address))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(parsed: &Parsed) -> Vec<String> {
        parsed.networks.iter().map(ToString::to_string).collect()
    }

    fn read(text: &str) -> Parsed {
        parse(text.as_bytes(), 1000).unwrap()
    }

    #[test]
    fn every_form_of_a_list_is_read() {
        let netset = "#\n# firehol_level1\n#\n192.0.2.0/24\n\n198.51.100.7\n";
        let drop = "; Spamhaus DROP List\r\n192.0.2.0/24 ; SBL1\r\n198.51.100.7 ; SBL2\r\n";
        let ndjson = "{\"cidr\":\"192.0.2.0/24\",\"sblid\":\"SBL1\"}\n{\"cidr\": \"198.51.100.7\"}\n{\"type\":\"metadata\",\"size\":2}\n";
        let marked = "\u{feff}192.0.2.9/24\n  198.51.100.7/32  # one\r";
        for (text, host_bits) in [(netset, 0), (drop, 0), (ndjson, 0), (marked, 1)] {
            let parsed = read(text);
            assert_eq!(texts(&parsed), ["192.0.2.0/24", "198.51.100.7/32"], "{text}");
            assert_eq!((parsed.unparsed, parsed.host_bits, parsed.share()), (0, host_bits, 1.0));
        }
        assert_eq!(
            texts(&read("2001:DB8::1\n2001:db8::/32\n::/0\n0.0.0.0/0")),
            ["2001:db8::1/128", "2001:db8::/32", "::/0", "0.0.0.0/0"]
        );
    }

    #[test]
    fn what_is_no_address_is_none() {
        let wrong = [
            "999.1.1.1",
            "1.2.3.4/99",
            "1.2.3.4/",
            "1.2.3.4/+8",
            "1.2.3.4/-1",
            "1.2.3",
            "01.2.3.4",
            "1.2.3.4/8/8",
            "1.2.3.4 5.6.7.8",
            "1.2.3.4,80",
            "1.2.3.4-1.2.3.9",
            "2001:db8::/129",
            "fe80::1%eth0",
            "example.net",
            "{\"cidr\":1}",
            "{\"cidr\":\"x\"}",
            "{",
            "{\"ip\":\"1.2.3.4\"}",
            "[\"1.2.3.4\"]",
            "1.2.3.4\u{a0}",
            "\u{ff11}.2.3.4",
        ];
        for line in wrong {
            let parsed = read(&format!("192.0.2.1\n{line}\n"));
            assert_eq!((parsed.networks.len(), parsed.unparsed), (1, 1), "{line}");
            assert_eq!(parsed.first_unparsed.unwrap().0, 2);
        }
        let long = format!("192.0.2.1\r\n\r\n{}\r\n", "9".repeat(1 << 20));
        let (number, start) = read(&long).first_unparsed.unwrap();
        assert_eq!((number, start.len()), (3, 60));
    }

    #[test]
    fn pages_binaries_and_endless_lists_are_none() {
        assert_eq!(parse(b" \r\n<!DOCTYPE html><p>192.0.2.1", 9), Err(NoList::Page));
        for bytes in [&b"\x1f\x8b\x08xyz"[..], b"\xff\xfe1\x002\x00", b"192.0.2.1\n\0"] {
            assert_eq!(parse(bytes, 9), Err(NoList::NoText));
        }
        assert_eq!(parse(b"1.1.1.1\n1.1.1.1\n1.1.1.1\n", 2), Err(NoList::TooMany(2)));
        assert_eq!(parse(b"1.1.1.1\n1.1.1.1\n", 2).unwrap().networks.len(), 2);
        assert_eq!(read("# nothing\n\n;\n"), Parsed::default());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            if let Ok(parsed) = parse(&bytes, 100) {
                prop_assert!(parsed.networks.len() + parsed.unparsed <= bytes.len());
            }
        }

        #[test]
        fn what_is_written_is_read(
            entries in proptest::collection::vec((any::<IpAddr>(), 0..=32_u8), 0..50),
            end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r"), Just(" # x\n"), Just(" ; y\r\n")],
            mark: bool,
        ) {
            let networks: Vec<IpNetwork> =
                entries.iter().map(|(address, length)| IpNetwork::new_truncate(*address, *length).unwrap()).collect();
            let mut text = if mark { "\u{feff}".to_owned() } else { String::new() };
            for (address, length) in &entries {
                text.push_str(&format!("{address}/{length}{end}"));
            }
            let parsed = parse(text.as_bytes(), 50).unwrap();
            prop_assert_eq!(parsed.networks, networks);
            prop_assert_eq!(parsed.unparsed, 0);
        }
    }
}
