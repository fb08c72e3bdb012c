//! The one function through which all datagrams go: production, tests, fuzzing and benches call it. It knows no
//! socket, thread or clock.

use std::net::IpAddr;

use tables::{Outbox, Room, Shard, mem};

use crate::ownership::Ownership;

/// Datagrams that are brought near before their turn.
const AHEAD: usize = 2;

/// A batch, of which each datagram is asked for from memory while those before it are worked on.
pub fn ahead<'b, T>(
    batch: impl IntoIterator<Item = T>,
    bytes: impl Fn(&T) -> &'b [u8],
) -> impl Iterator<Item = T> {
    let mut batch = batch.into_iter().fuse().inspect(move |datagram| mem::prefetch_all(bytes(datagram)));
    let mut near: [Option<T>; AHEAD] = std::array::from_fn(|_| batch.next());
    let mut turn = 0;
    std::iter::from_fn(move || {
        let place = near.get_mut(turn)?;
        turn = (turn + 1) % AHEAD;
        std::mem::replace(place, batch.next())
    })
}

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
    let mut room = Room::default();
    let mut batch = ahead(batch, |(bytes, _)| bytes).peekable();
    while let Some((bytes, sender)) = batch.next() {
        if let Some((next, _)) = batch.peek() {
            shard.bring_near(next);
        }
        if ownership.keeps(bytes, sender) {
            shard.datagram_in(&mut room, bytes, sender, now_us, outbox);
            own += 1;
        }
    }
    shard.flush(now_us, outbox);
    ownership.settle(outbox, now_us);
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_brought_near_keeps_its_order() {
        for many in 0..7_u8 {
            let datagrams: Vec<Vec<u8>> = (0..many).map(|n| vec![n; 1400]).collect();
            let order: Vec<u8> = ahead(&datagrams, |datagram| datagram).map(|datagram| datagram[0]).collect();
            assert_eq!(order, (0..many).collect::<Vec<u8>>());
        }
    }
}
