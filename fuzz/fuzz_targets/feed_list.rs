//! Any bytes as a feed's list: what is read and taken reaches nowhere that it must not, and is read again as it was written.
#![no_main]

use actions::feeds::accept::{Limits, Rules, accept, covered};
use actions::feeds::parse::parse;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(parsed) = parse(bytes, 1000) else { return };
    assert!(parsed.networks.len() <= 1000 && (0.0..=1.0).contains(&parsed.share()));
    let text: String = parsed.networks.iter().map(|network| format!("{network}\n")).collect();
    let again = parse(text.as_bytes(), 1000).expect("a list");
    assert_eq!((&again.networks, again.unparsed, again.host_bits), (&parsed.networks, 0, 0));
    let own = parsed.networks.iter().take(1).copied().collect();
    let rules = Rules { own, ..Rules::default() };
    if let Ok(accepted) = accept(parsed, &rules, &Limits::default(), None) {
        assert!(!accepted.networks.is_empty());
        for network in &accepted.networks {
            assert!(network.netmask() >= if network.is_ipv4() { 8 } else { 19 }, "{network}");
            assert!(!rules.own.iter().any(|own| own.contains(network.network_address())), "{network}");
        }
        let (four, six) = covered(&accepted.networks);
        assert!(four > 0 || six > 0.0);
    }
});
