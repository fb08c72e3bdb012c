//! Blacklists by URL or path, into group sets.
