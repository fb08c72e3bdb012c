//! AF_XDP: frames straight from the queues of an interface.
//!
//! | module | owns |
//! |---|---|
//! | [`program`] | the XDP program that steers datagrams to the sockets, and counts |
//! | [`generate`] | frames in great number, for measuring |
//! | [`object`] | BPF objects: programs and maps in the kernel |
//! | `holder` | whose program an interface has |

pub mod generate;
mod holder;
pub mod object;
pub mod program;
