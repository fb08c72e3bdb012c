//! The interface that the collector receives at, and the one that is sent from: a pair of our own in two namespaces, which go
//! with the process however it ends, or interfaces that are there.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use decode::Mac;
use engine::interface::InterfaceOptions;
use ingest::interface;
use ingest::namespace::Namespace;

use super::collector::Entry;
use super::frames::Frames;
use super::way::{Extent, Runs};

/// The names of our own pair, and the near end's address.
const NEAR: &str = "fs-near";
const FAR: &str = "fs-far";
const NEAR_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const PORT: u16 = 6343;

/// An end of the network: where it is, and its interface there.
#[derive(Debug)]
struct End {
    /// The namespace of this process when `None`.
    namespace: Option<Namespace>,
    interface: String,
    index: u32,
    mac: Mac,
}

/// Both ends.
#[derive(Debug)]
pub(crate) struct Network {
    near: End,
    far: End,
    /// Where the collector listens.
    address: SocketAddr,
}

impl End {
    /// Runs `body` there, on a thread of its own.
    fn inside<T: Send>(&self, body: impl FnOnce() -> T + Send) -> io::Result<T> {
        match &self.namespace {
            Some(namespace) => namespace.inside(body),
            None => Ok(body()),
        }
    }

    /// An interface that is there.
    fn found(name: &str) -> anyhow::Result<Self> {
        let (index, mac) = interface::identity(name)
            .with_context(|| format!("interface {name}; `ip link` lists those there are"))?;
        let mac = Mac(mac.with_context(|| format!("{name} has no Ethernet address"))?);
        Ok(Self { namespace: None, interface: name.to_owned(), index, mac })
    }
}

impl Network {
    /// A pair of our own, with so many queues in each direction.
    pub(crate) fn own(queues: usize) -> anyhow::Result<Self> {
        let needs = "network namespaces need root (CAP_SYS_ADMIN)";
        let [near, far] = [Namespace::new().context(needs)?, Namespace::new().context(needs)?];
        let [near_mac, far_mac] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];
        let to = far.path();
        let near_index = near.inside(|| {
            let end = |interface: &str, mac: Mac| {
                let mac = mac.0.map(|byte| format!("{byte:02x}")).join(":");
                format!("{interface} address {mac} numtxqueues {queues} numrxqueues {queues}")
            };
            ip(&format!("link add {} type veth peer name {}", end(NEAR, near_mac), end(FAR, far_mac)))?;
            ip(&format!("link set {FAR} netns {}", to.display()))?;
            ip(&format!("address add {NEAR_ADDRESS}/16 dev {NEAR}"))?;
            ip(&format!("link set {NEAR} up"))?;
            ip("link set lo up")?;
            // Without an XDP program too the near end then takes what the generator makes.
            ingest::xdp::generate::receive_offload(NEAR, true).context(NEAR)?;
            index(NEAR)
        });
        let near_index = near_index.context("a thread in the receiver's namespace")??;
        let far_index = far.inside(|| {
            ip(&format!("link set {FAR} up"))?;
            index(FAR)
        });
        let far_index = far_index.context("a thread in the sender's namespace")??;
        let end = |namespace, interface: &str, index, mac| End {
            namespace: Some(namespace),
            interface: interface.to_owned(),
            index,
            mac,
        };
        Ok(Self {
            near: end(near, NEAR, near_index, near_mac),
            far: end(far, FAR, far_index, far_mac),
            address: (NEAR_ADDRESS, PORT).into(),
        })
    }

    /// Two interfaces that are there, with a cable between them.
    pub(crate) fn between(near: &str, far: &str, address: SocketAddr) -> anyhow::Result<Self> {
        ensure!(near != far, "--peer is the interface at the other end of the cable, not {near} itself");
        Ok(Self { near: End::found(near)?, far: End::found(far)?, address })
    }

    /// What goes over it: from which Ethernet address to which, and out of the interface of which number.
    pub(crate) fn link(&self) -> (Mac, Mac, u32) {
        (self.far.mac, self.near.mac, self.far.index)
    }

    /// Where frames are addressed to: where the collector listens on all addresses, to that of our own pair.
    pub(crate) fn destination(&self) -> anyhow::Result<SocketAddr> {
        match self.address.ip() {
            IpAddr::V4(any) if any.is_unspecified() => Ok((NEAR_ADDRESS, self.address.port()).into()),
            IpAddr::V4(_) => Ok(self.address),
            IpAddr::V6(_) => bail!("{}: frames are made for IPv4", self.address),
        }
    }

    /// Moves this thread to the sender's end.
    pub(crate) fn enter_far(&self) -> io::Result<()> {
        self.far.namespace.as_ref().map_or(Ok(()), Namespace::enter)
    }

    /// Runs one way over it; the senders are as many as the workers, so that each queue has one.
    pub(crate) fn runs(
        &self,
        runs: &mut Runs<'_>,
        workers: usize,
        options: Option<InterfaceOptions>,
        extent: Extent,
    ) -> anyhow::Result<()> {
        let name = Some(self.near.interface.clone());
        let interface = options.map(|options| InterfaceOptions { name, ..options });
        let entry = Entry { address: self.address, workers, interface };
        let mut offer = Frames::new(self, workers, runs.plan.stretch)?;
        self.near
            .inside(|| runs.all(&entry, &mut offer, extent))
            .context("a thread in the receiver's namespace")?
    }

    /// Frames that the near end has dropped so far: those for which there was no room, and those that an AF_XDP socket had
    /// none for.
    pub(crate) fn dropped(&self) -> u64 {
        let path = "/proc/thread-self/net/dev";
        self.near.inside(|| of_interface(path, &self.near.interface)).unwrap_or(0)
    }
}

/// Where the `n`th agent's datagrams come from.
pub(crate) fn sender(n: usize) -> Ipv4Addr {
    let [_, _, high, low] = (n as u32).to_be_bytes();
    Ipv4Addr::new(10, 77, 128 | (high & 127), low)
}

fn index(name: &str) -> anyhow::Result<u32> {
    Ok(interface::identity(name).with_context(|| format!("interface {name}"))?.0)
}

/// What an interface has received and dropped, as its namespace says.
fn of_interface(path: &str, interface: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(interface)?.strip_prefix(':'));
    let number = |line: &str| line.split_whitespace().nth(3)?.parse().ok();
    line.and_then(number).unwrap_or(0)
}

/// Runs `ip` in the namespace of this thread.
fn ip(arguments: &str) -> anyhow::Result<()> {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .context("`ip` is missing: install iproute2")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {arguments}: {}", said.trim());
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn dropped_frames_are_read_as_the_kernel_writes_them() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "Inter-|   Receive\n face |bytes packets errs drop\n    lo:  1 2 3 4 5\n fs-near: 10 20 30 40 50 60\n";
        fs::write(file.path(), text).unwrap();
        let path = file.path().to_str().unwrap();
        let of = |interface| of_interface(path, interface);
        assert_eq!((of(NEAR), of("lo"), of("eth0")), (40, 4, 0));
    }

    #[test]
    fn agents_are_in_the_network_and_none_is_the_collector() {
        assert_eq!(sender(0).to_string(), "10.77.128.0");
        assert_eq!(sender(300).to_string(), "10.77.129.44");
        assert_ne!(sender(40_000), NEAR_ADDRESS);
    }

    #[test]
    fn interfaces_that_are_not_there_are_named() {
        let address = "0.0.0.0:6343".parse().unwrap();
        let error = Network::between("no-such-if", "lo", address).unwrap_err().to_string();
        assert!(error.contains("no-such-if"), "{error}");
        assert!(Network::between("lo", "lo", address).unwrap_err().to_string().contains("--peer"));
    }
}
