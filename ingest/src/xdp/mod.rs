//! AF_XDP: frames straight from the queues of an interface.
//!
//! | module | owns |
//! |---|---|
//! | `options` | what is asked for, what is reached, and why nothing is |
//! | `open` | sockets on the queues of an interface, in the best mode that can be had |
//! | `socket` | one of them: datagrams out of the frames that arrive, where they lie |
//! | `umem` | the memory, the frames and the rings; that no frame is in two places |
//! | `gather` | packets that span several frames |
//! | `near` | bytes that will be read soon |
//! | [`program`] | the XDP program that steers datagrams to the sockets, and counts |
//! | `steering` | what that program is told |
//! | [`generate`] | frames in great number, for measuring |
//! | [`object`] | BPF objects: programs and maps in the kernel |
//! | `holder` | whose program an interface has |

mod gather;
pub mod generate;
mod holder;
mod near;
pub mod object;
mod open;
mod options;
pub mod program;
mod socket;
mod steering;
mod umem;

pub use open::{frame_bytes, open};
pub use options::{OpenError, Opened, Options, Reached};
pub(crate) use socket::QueueSocket;
