//! Any bytes as a capture file.
#![no_main]

use std::io::Cursor;
use std::path::Path;

use ingest::capture::{Payloads, Reader};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(reader) = Reader::new(Path::new("fuzz"), Cursor::new(bytes.to_vec())) else { return };
    let mut payloads = Payloads::new(reader, 6343);
    while let Some(payload) = payloads.next_payload() {
        let Ok(payload) = payload else { break };
        assert!(payload.bytes.len() <= bytes.len());
    }
    let statistics = payloads.statistics();
    assert!(statistics.payloads <= statistics.frames);
});
