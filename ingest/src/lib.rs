//! Bytes from and to the kernel: UDP sockets, packet sockets, capture files, the sender that passes datagrams on.
//!
//! Knows nothing of sFlow: what is inside a UDP payload is the business of the rooms above.
//!
//! | module | owns |
//! |---|---|
//! | [`capture`] | capture files: frames, the UDP payloads in them, and writing |
//! | [`queue`] | how queues of an interface are read, and what is counted of one |
//! | [`receiver`] | what receives datagrams, one interface to the back ends, and groups of one address |
//! | [`batch`] | the datagrams that one call takes from the kernel, and how they are lent |
//! | [`payload`] | the UDP payload of a frame that came off a wire, checked as the kernel would |
//! | `layers`, `checksum` | the layers of a frame down to UDP, of a capture too; the Internet checksum |
//! | `linux`, `plain` | the back ends: many datagrams per call, and what every system has |
//! | `port` | whose port it is |
//! | `interface`, `machine` | what an interface and this machine can do (Linux) |
//! | `namespace` | network namespaces of our own (Linux) |
//! | `netlink` | asking the kernel about interfaces (Linux) |
//! | `packets` | packet sockets that sample an interface (Linux) |
//! | `dpdk` | ports of DPDK, with the feature of that name (Linux) |
//! | `xdp` | AF_XDP, with the feature of that name (Linux) |
//! | [`wake`] | sleep until a datagram comes or another thread calls |
//! | [`send`] | sockets that send |

pub mod batch;
pub mod capture;
mod checksum;
#[cfg(all(target_os = "linux", feature = "dpdk"))]
pub mod dpdk;
#[cfg(target_os = "linux")]
pub mod interface;
mod layers;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub mod machine;
#[cfg(target_os = "linux")]
pub mod namespace;
#[cfg(target_os = "linux")]
pub mod netlink;
#[cfg(target_os = "linux")]
pub mod packets;
pub mod payload;
mod plain;
mod port;
pub mod queue;
pub mod receiver;
pub mod send;
pub mod wake;
#[cfg(all(target_os = "linux", feature = "xdp"))]
pub mod xdp;
