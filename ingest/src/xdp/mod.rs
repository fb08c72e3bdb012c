//! AF_XDP: frames straight from the queues of an interface.
//!
//! | module | owns |
//! |---|---|
//! | [`program`] | the XDP program that steers datagrams to the sockets, and counts |
//! | [`generate`] | frames in great number, for measuring |
//! | [`object`] | BPF objects: programs and maps in the kernel |
//! | [`interface`] | what is asked of an interface |

pub mod interface;
pub mod generate;
pub mod object;
pub mod program;
