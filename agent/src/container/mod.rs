//! Containers: which ones run (`tracker`), what they have used (`cgroup`, `network`), and how that is told (`records`).

pub mod cgroup;
pub mod network;
pub mod place;
pub mod tracker;
