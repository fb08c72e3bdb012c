//! Any bytes as a sampled packet; the first byte chooses the header protocol.
#![no_main]

use decode::packet::{DEPTH, Dns, Icmp, LayerKind, dissect};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&protocol, bytes)) = bytes.split_first() else { return };
    let packet = dissect(u32::from(protocol % 16), bytes);
    assert!(packet.layers().len() <= DEPTH);
    let mut offset = 0;
    for layer in packet.layers() {
        assert!(layer.offset >= offset && usize::from(layer.offset) < bytes.len(), "layers go inwards");
        offset = layer.offset;
    }
    let mut text = String::new();
    packet.write_stack(&mut text).expect("a string takes everything");
    if let Some(dns) = packet.nth(LayerKind::Dns, 0) {
        let _ = Dns::new(dns).write_name(&mut text);
        Dns::new(dns).question_type();
    }
    if let Some(icmp) = packet.nth(LayerKind::Icmp, 0) {
        Icmp::new(icmp).unreachable_port();
    }
    if let Some(ip) = packet.ipv6(1) {
        ip.options();
        assert!(ip.extensions().count() < 256);
    }
});
