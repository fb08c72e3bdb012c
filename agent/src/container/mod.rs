//! Containers: which ones run (`tracker`), what they have used (`cgroup`, `network`), and how that is told (`records`).
//! `population` keeps what is open of each.

pub mod adapters;
pub mod cgroup;
mod limits;
pub mod network;
mod owners;
pub mod place;
pub mod population;
pub mod records;
pub mod tracker;
