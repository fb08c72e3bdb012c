//! The one function through which all datagrams go: production, tests, fuzzing and benches call it. It knows no
//! socket, thread or clock.

use std::net::IpAddr;

use tables::{Outbox, Shard};

use crate::ownership::Ownership;

/// Feeds a batch of datagrams, each with the address that sent it, to a shard. What agents of others have sent is
/// put aside for their owners; how many of the datagrams were the shard's own.
///
/// Definitions are not an argument: the shard has compiled them when it adopted its program.
pub fn process_batch<'b>(
    batch: impl IntoIterator<Item = (&'b [u8], IpAddr)>,
    now_us: u64,
    shard: &mut Shard,
    outbox: &mut Outbox,
    ownership: &mut Ownership,
) -> usize {
    let mut own = 0;
    for (bytes, sender) in batch {
        if ownership.keeps(bytes, sender) {
            shard.datagram(bytes, sender, now_us, outbox);
            own += 1;
        }
    }
    shard.flush(now_us, outbox);
    ownership.settle(outbox, now_us);
    own
}
