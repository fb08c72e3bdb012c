//! Where a client may go when somebody else than the operator says where.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::url::Url;

/// Decides which addresses a client may ask. It is asked about each address twice: before the name of its host is looked
/// up, and with the very address that is about to be connected to, so that a name that changes its mind in between
/// leads nowhere else. Redirects are asked about in the same way.
#[derive(Clone)]
pub struct Reach(Arc<Check>);

type Check = dyn Fn(&Url, Option<IpAddr>) -> Result<(), String> + Send + Sync;

impl Reach {
    /// A decision by this function: an error is why not. What [`is_never_asked`] is refused beside it.
    pub fn new(check: impl Fn(&Url, Option<IpAddr>) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    /// Whether it may be asked, as far as its text tells.
    pub(super) fn of_url(&self, url: &Url) -> Result<(), String> {
        (self.0)(url, None)
    }

    /// Whether its host may be asked at this address.
    pub(super) fn of_address(&self, url: &Url, address: IpAddr) -> Result<(), String> {
        if is_never_asked(address) {
            return Err(format!(
                "{} is at {address}, which is never asked: it is link-local, no host, or a cloud's own",
                url.host()
            ));
        }
        (self.0)(url, Some(address))
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reach").finish()
    }
}

/// Where clouds tell a virtual machine its secrets, beside the link-local 169.254.169.254: Amazon and Google over IPv6,
/// Azure's host, Oracle and Alibaba.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(std::net::Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(std::net::Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(std::net::Ipv4Addr::new(100, 100, 100, 200)),
];

/// Whether an address is link-local, is that of no single host, or is where a cloud tells its secrets. Nothing that
/// comes from a script or from another server leads there.
pub fn is_never_asked(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let special = match address {
        IpAddr::V4(address) => {
            let [first, ..] = address.octets();
            // All of 0.0.0.0/8 is this host, or nothing.
            address.is_link_local() || first == 0 || address.is_broadcast()
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, high, low] = address.segments();
            let [[h1, h2], [l1, l2]] = [high.to_be_bytes(), low.to_be_bytes()];
            // An address of IPv4 behind a translator (RFC 6052).
            let translated = [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0]
                && is_never_asked(IpAddr::V4([h1, h2, l1, l2].into()));
            address.is_unicast_link_local() || address.is_unspecified() || translated
        }
    };
    special || address.is_multicast() || METADATA.contains(&address)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn link_local_and_metadata_addresses_are_never_asked_however_they_are_written() {
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "168.63.129.16",
            "192.0.0.192",
            "100.100.100.200",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert!(is_never_asked(address.parse().unwrap()), "{address}");
        }
        for address in
            ["127.0.0.1", "::1", "10.0.0.1", "192.0.2.1", "2001:db8::1", "64:ff9b::a00:1", "fd00::1"]
        {
            assert!(!is_never_asked(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_reach_is_asked_about_text_and_address_and_forbids_some_by_itself() {
        let reach = Reach::new(|url, address| match address {
            None if url.host() == "a.net" => Ok(()),
            None => Err(format!("{} is not allowed", url.host())),
            Some(address) if address.is_loopback() => Err("loopback".to_owned()),
            Some(_) => Ok(()),
        });
        let url = |text| Url::parse(text).unwrap();
        assert_eq!(reach.of_url(&url("http://a.net/")), Ok(()));
        assert_eq!(reach.of_url(&url("http://b.net/")).unwrap_err(), "b.net is not allowed");
        let at = |text: &str| reach.of_address(&url("http://a.net/"), text.parse().unwrap());
        assert_eq!(at("192.0.2.1"), Ok(()));
        assert_eq!(at("127.0.0.1").unwrap_err(), "loopback");
        assert!(
            at("169.254.169.254").unwrap_err().starts_with("a.net is at 169.254.169.254, which is never")
        );
    }
}
