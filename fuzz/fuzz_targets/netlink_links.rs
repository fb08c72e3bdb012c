//! Any bytes as a datagram of route netlink: attributes never leave their message, nor messages their datagram.
#![no_main]

use finderscope_agent::interfaces::{Change, changes};
use ingest::netlink::{Attributes, Messages};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut within = 0;
    for message in Messages::new(bytes) {
        within += message.body.len() + 16;
        let values: usize = Attributes::new(message.body).map(|(_, value)| value.len() + 4).sum();
        assert!(values <= message.body.len());
    }
    assert!(within <= bytes.len());
    for change in changes(bytes) {
        if let Change::Link(interface) = change {
            assert!(interface.link != Some(0) && interface.master != Some(0));
        }
    }
});
