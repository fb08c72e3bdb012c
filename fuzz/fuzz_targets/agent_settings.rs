//! Any text as hsflowd.conf and as TOML: what is refused has a line and a column, what is taken stays within its limits,
//! and passing over unknown modules never refuses more.
#![no_main]

use std::path::Path;

use finderscope_agent::interfaces::Kind;
use finderscope_agent::settings::{keys, parse};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for name in ["a.conf", "a.toml", "a"] {
        let strict = parse(Path::new(name), text, false);
        let lenient = parse(Path::new(name), text, true);
        match &strict {
            Ok(read) => {
                assert!(read.warnings.is_empty(), "{text:?}");
                assert!(read.settings.collectors.len() <= keys::MOST_COLLECTORS);
                assert!(read.settings.pcap.len() <= keys::MOST_PCAPS);
                assert!(read.settings.agent.networks.len() <= keys::MOST_LISTED);
                assert!(read.settings.sampling != Some(0) && read.settings.datagram_bytes <= 1400);
                for pcap in &read.settings.pcap {
                    pcap.fit("veth1a2b3c4", Kind::Veth, Some(10_000_000_000));
                    assert!(read.settings.rate(pcap, None) > 0);
                }
                assert_eq!(lenient.as_ref(), Ok(read), "{text:?}");
            }
            Err(wrong) => {
                assert!(!wrong.lines.is_empty() && wrong.lines.len() <= 101);
                for line in &wrong.lines {
                    assert!(line.starts_with(&format!("{name}:")), "{line:?}");
                }
                if let Err(still) = &lenient {
                    assert!(still.lines.len() <= wrong.lines.len(), "{text:?} {still:?}");
                }
            }
        }
    }
});
