//! AF_XDP: frames straight from the queues of an interface.
//!
//! | module | owns |
//! |---|---|
//! | [`object`] | BPF objects: programs and maps in the kernel |

pub mod object;
