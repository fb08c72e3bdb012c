//! Where datagrams may be sent to, as the sockets beside have it.

use std::net::{IpAddr, SocketAddr};

/// The ports that datagrams may be sent to.
pub(super) fn ports(sockets: &[SocketAddr]) -> Vec<u16> {
    let mut ports: Vec<u16> = sockets.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The addresses that datagrams may be sent to, as the sockets beside have it: any where one listens on all.
pub(super) fn addresses(sockets: &[SocketAddr]) -> Result<Vec<IpAddr>, String> {
    if sockets.iter().any(|address| address.ip().is_unspecified()) {
        return Ok(Vec::new());
    }
    let mut found: Vec<IpAddr> = sockets.iter().map(|address| address.ip().to_canonical()).collect();
    found.retain(|address| !address.is_loopback());
    found.sort();
    found.dedup();
    if found.is_empty() {
        return Err("sFlow is listened for on loopback addresses alone (sflow.listen, --sflow)".to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_may_come_to_what_is_listened_on() {
        let of = |texts: &[&str]| {
            addresses(&texts.iter().filter_map(|text| text.parse().ok()).collect::<Vec<_>>())
        };
        assert_eq!(of(&["192.0.2.1:1", "[::]:2"]), Ok(Vec::new()), "any");
        let two: Vec<IpAddr> = vec![[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
        assert_eq!(of(&["192.0.2.2:1", "[::ffff:192.0.2.1]:1", "192.0.2.2:9", "127.0.0.1:1"]), Ok(two));
        assert!(of(&["127.0.0.1:1", "[::1]:1"]).is_err_and(|why| why.contains("loopback")));
    }
}
