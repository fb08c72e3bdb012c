//! The HTTP client of switches, feeds and webhooks.
