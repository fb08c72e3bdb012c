//! Bytes from and to the kernel. Knows nothing of sFlow.
