//! Any bytes as a frame off a wire: its payload is within it, and a capture of it is read alike.
#![no_main]

use std::io::Cursor;
use std::path::Path;

use ingest::capture::{Payloads, Reader, Writer, link};
use ingest::payload::find;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(found) = find(bytes, false) else {
        assert!(find(bytes, true).is_err());
        return;
    };
    if let Ok(verified) = find(bytes, true) {
        assert_eq!((verified.bytes, verified.sender), (found.bytes, found.sender));
    }
    let at = found.bytes.as_ptr().addr() - bytes.as_ptr().addr();
    assert!(at >= 42 && at + found.bytes.len() <= bytes.len());
    let port = u16::from_be_bytes([bytes[at - 6], bytes[at - 5]]);
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file, link::ETHERNET).unwrap();
    writer.frame(0, bytes, bytes.len() as u32).unwrap();
    let reader = Reader::new(Path::new("fuzz"), Cursor::new(file)).unwrap();
    let mut payloads = Payloads::new(reader, port);
    let payload = payloads.next_payload().unwrap().unwrap();
    assert_eq!((payload.bytes, payload.source.ip().to_canonical()), (found.bytes, found.sender));
});
