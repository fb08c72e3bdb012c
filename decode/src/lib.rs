//! The sFlow v5 wire. Owns every structure; knows no socket and no clock.
#![forbid(unsafe_code)]
