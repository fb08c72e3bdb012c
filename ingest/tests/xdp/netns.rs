//! A collector's interface and the cable to it: two namespaces, a veth between them, and frames sent as they are.

use std::io::{self, Read};
use std::mem::{size_of, zeroed};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use ingest::xdp::program::{Attach, AttachError, Program, Steering};
use socket2::{Domain, SockAddr, Socket, Type};

use super::live::run;
use super::namespace::Namespace;

/// What is waited for comes in less, on the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The interface that the program is attached to.
pub(crate) const NEAR: &str = "near";

/// Its Ethernet address.
pub(crate) const NEAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// That of the other end.
pub(crate) const FAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// `near` (192.0.2.1, 2001:db8::1) and, in a namespace that says nothing by itself, its other end.
pub(crate) struct Cable {
    pub(crate) near: Namespace,
    pub(crate) far: Namespace,
}

impl Cable {
    /// With as many queues each way.
    pub(crate) fn new(role: &str, queues: u32, mtu: u32) -> Self {
        let (near, far) = (Namespace::new(&format!("{role}-near")), Namespace::new(&format!("{role}-far")));
        let (queues, mtu) = (queues.to_string(), mtu.to_string());
        let words = |text: &str| {
            let text = text.replace("QUEUES", &queues).replace("MTU", &mtu).replace("FAR", far.name());
            run("ip", &text.split_whitespace().collect::<Vec<_>>());
        };
        near.inside(|| {
            words(
                "link add near address 02:00:00:00:00:01 mtu MTU numtxqueues QUEUES numrxqueues QUEUES type veth \
                 peer name far address 02:00:00:00:00:02 mtu MTU numtxqueues QUEUES numrxqueues QUEUES netns FAR",
            );
            std::fs::write("/proc/sys/net/ipv6/conf/near/disable_ipv6", "0").unwrap();
            words("link set near up");
            for address in ["192.0.2.1/24", "2001:db8::1/64 nodad"] {
                words(&format!("addr add {address} dev near"));
            }
        });
        far.inside(|| run("ip", &["link", "set", "far", "up"]));
        near.hide();
        far.hide();
        let cable = Self { near, far };
        cable.wait_for_carrier();
        cable.wait_for_address("2001:db8::1");
        cable
    }

    /// Until the kernel takes datagrams for an address of IPv6, which it sees to after it has added it.
    pub(crate) fn wait_for_address(&self, address: &str) {
        wait_for(address, || {
            let routes = self.near.inside(|| run("ip", &["-6", "route", "show", "table", "local"]));
            routes.contains(&format!("local {address} ")).then_some(())
        });
    }

    /// Until the far end knows that the near one is up: before, the kernel throws its frames away and says nothing.
    pub(crate) fn wait_for_carrier(&self) {
        wait_for("carrier", || {
            let text = self.far.inside(|| run("ip", &["link", "show", "dev", "far"]));
            text.contains("state UP").then_some(())
        });
    }

    /// The program on `near`.
    pub(crate) fn attach(
        &self,
        steering: &Steering,
        mode: Attach,
        multi_buffer: bool,
    ) -> Result<Program, AttachError> {
        self.near.inside(|| Program::attach(NEAR, steering, mode, multi_buffer))
    }

    /// A socket of the kernel beside it, for both versions of IP.
    pub(crate) fn udp(&self, port: u16) -> UdpSocket {
        let socket = self.near.inside(|| UdpSocket::bind(("::", port)).unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// Sees all frames that the program has left to the kernel, as they were.
    pub(crate) fn tap(&self) -> Wire {
        self.near.inside(|| Wire::new(NEAR, libc::ETH_P_ALL).unwrap())
    }

    /// The other end.
    pub(crate) fn sender(&self) -> Wire {
        self.far.inside(|| Wire::new("far", 0).unwrap())
    }
}

/// A packet socket for whole frames.
pub(crate) struct Wire(Socket);

impl Wire {
    /// Of an interface; it gets frames of a protocol, or none.
    fn new(interface: &str, protocol: i32) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        let index = rustix::net::netdevice::name_to_index(&socket, interface)?;
        // SAFETY: all-zero bytes are a value of `sockaddr_ll`, which the storage has room for.
        let (_, address) = unsafe {
            SockAddr::try_init(|storage, length| {
                let mut address: libc::sockaddr_ll = zeroed();
                address.sll_family = libc::AF_PACKET as u16;
                address.sll_protocol = (protocol as u16).to_be();
                address.sll_ifindex = i32::try_from(index).map_err(io::Error::other)?;
                storage.cast::<libc::sockaddr_ll>().write(address);
                *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
                Ok(())
            })
        }?;
        socket.bind(&address)?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    pub(crate) fn send(&self, frame: &[u8]) {
        let sent = self.0.send(frame).unwrap_or_else(|e| panic!("{} bytes: {e}", frame.len()));
        assert_eq!(sent, frame.len());
    }

    /// The frames that have come in, not those that went out.
    pub(crate) fn seen(&self) -> Vec<Vec<u8>> {
        let mut seen = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length) = (&self.0).read(&mut buffer) {
            // What goes out comes from here.
            if buffer[6..12] != NEAR_MAC {
                seen.push(buffer[..length].to_vec());
            }
        }
        seen
    }
}

/// Asks until there is an answer.
pub(crate) fn wait_for<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < deadline, "no {what} in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
