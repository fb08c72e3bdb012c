//! Bytes from and to the kernel: UDP sockets, capture files, the sender that passes datagrams on.
//!
//! Knows nothing of sFlow: what is inside a UDP payload is the business of the rooms above.
//!
//! | module | owns |
//! |---|---|
//! | [`capture`] | capture files: frames, the UDP payloads in them, and writing |
//! | [`udp`] | sockets that receive |
//! | [`send`] | sockets that send |

pub mod capture;
pub mod send;
pub mod udp;
