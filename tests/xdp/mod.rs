//! Reading the queues of an interface past the kernel's network stack (AF_XDP), with the real program, in network
//! namespaces of the tests' own.
//!
//! | module | what it looks at |
//! |---|---|
//! | `lab` | two machines and a cable |
//! | `tables` | the same traffic gives the same tables, whichever way it comes |
//! | `beside` | what is not sFlow, what is refused, what is lost |
//! | `life` | interfaces and collectors that come and go, and privileges |
//! | `check` | `finderscope check` |

mod beside;
mod check;
mod lab;
mod life;
mod tables;
