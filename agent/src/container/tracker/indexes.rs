//! The data sources of containers: an index that comes of the container's id, so that a container is the same data source
//! also after the agent was started anew, whichever were there before it.

use std::collections::BTreeSet;

use docker::Id;

/// The least data source index of a container; virtual machines and containers have class 3.
const FIRST_INDEX: u32 = 100_000;

/// Indexes have 24 bits, which is what collectors that know no expanded samples keep of one.
const END: u32 = 1 << 24;

/// The indexes that are in use.
#[derive(Debug, Default)]
pub(super) struct Indexes(BTreeSet<u32>);

impl Indexes {
    /// The index of a container: that of its id, or the next one that is free. Two of a hundred containers want the same
    /// one in three of ten thousand times.
    pub(super) fn take(&mut self, id: &Id) -> u32 {
        let [a, b, c, d, ..] = *id.bytes();
        let mut index = FIRST_INDEX + u32::from_be_bytes([a, b, c, d]) % (END - FIRST_INDEX);
        // There are thousands of containers at most, and millions of indexes.
        while !self.0.insert(index) {
            index = if index + 1 < END { index + 1 } else { FIRST_INDEX };
        }
        index
    }

    /// Another container may have it.
    pub(super) fn release(&mut self, index: u32) {
        self.0.remove(&index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(first: [u8; 4], last: u8) -> Id {
        let mut bytes = [last; 32];
        bytes[..4].copy_from_slice(&first);
        Id::from_bytes(bytes)
    }

    #[test]
    fn a_container_has_the_same_data_source_whichever_were_there_before() {
        let ids =
            [[0, 0, 0, 0], [0xff, 0xff, 0xff, 0xff], [1, 2, 3, 4], [0x80, 0, 0, 7]].map(|first| id(first, 9));
        let mut one = Indexes::default();
        let forwards = ids.map(|id| one.take(&id));
        let mut other = Indexes::default();
        let mut backwards = ids;
        backwards.reverse();
        let mut backwards = backwards.map(|id| other.take(&id));
        backwards.reverse();
        assert_eq!(forwards, backwards);
        assert_eq!(forwards[0], FIRST_INDEX);
        assert!(forwards.iter().all(|index| (FIRST_INDEX..END).contains(index)), "{forwards:?}");
    }

    #[test]
    fn two_containers_never_have_the_same() {
        let mut indexes = Indexes::default();
        let at_the_end = (END - FIRST_INDEX - 1).to_be_bytes();
        let [one, two, three] = [1, 2, 3].map(|n| indexes.take(&id(at_the_end, n)));
        assert_eq!([one, two, three], [END - 1, FIRST_INDEX, FIRST_INDEX + 1]);
        indexes.release(two);
        assert_eq!(indexes.take(&id(at_the_end, 4)), two, "what was released is free");
    }
}
