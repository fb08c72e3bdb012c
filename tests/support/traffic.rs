//! Traffic of the simulated fabric that goes on for ever from memory: what a sender that must be fast sends.

use fabric::{Fabric, FabricOptions, Stretch};

/// A stretch of datagrams, and where in it the sender is.
pub(crate) struct Traffic(Stretch);

impl Traffic {
    /// A stretch of `count` datagrams of a fabric whose agents send full ones.
    pub(crate) fn of_fabric(count: usize) -> Self {
        let options = FabricOptions {
            spines: 4,
            leaves: 16,
            hosts: 256,
            flows: 20_000,
            rate: Some(20_000.0),
            ..FabricOptions::default()
        };
        let mut fabric = Fabric::new(&options).unwrap();
        let mut datagrams: Vec<Vec<u8>> = Vec::new();
        while datagrams.len() < count {
            fabric.step(fabric.now_us() + 100_000, &mut |_, bytes| datagrams.push(bytes.to_vec()));
        }
        datagrams.truncate(count);
        Self(Stretch::new(datagrams))
    }

    /// Gives the next `count` datagrams, which lie one after another, to `send`: fewer where the stretch ends.
    pub(crate) fn next(&mut self, count: usize, send: impl FnOnce(&[&[u8]])) {
        self.0.next(count, send);
    }
}
