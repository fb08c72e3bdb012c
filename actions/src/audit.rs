//! The audit log: what was meant to be done, written before it is asked for, and what came of it.
