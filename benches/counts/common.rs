//! What other benches time, that is counted here.

#[path = "../common/lookups.rs"]
pub(crate) mod lookups;
#[path = "../common/random.rs"]
pub(crate) mod random;
#[path = "../common/reading.rs"]
pub(crate) mod reading;
#[path = "../common/updates.rs"]
pub(crate) mod updates;
#[path = "../common/whole.rs"]
pub(crate) mod whole;
