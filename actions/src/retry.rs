//! When to ask again: backoff with jitter, and a breaker for each endpoint.
