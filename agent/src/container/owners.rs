//! Whom an address or an interface of the host belongs to, for packets that are seen.

use std::collections::HashMap;

use super::adapters::Adapter;

/// The data source's index of each container by its adapters.
#[derive(Debug, Default)]
pub(super) struct Owners {
    macs: HashMap<[u8; 6], u32>,
    peers: HashMap<u32, u32>,
}

impl Owners {
    /// The adapters are those of the container with this index from now on, whosever they were.
    pub(super) fn add(&mut self, index: u32, adapters: &[Adapter]) {
        for adapter in adapters {
            self.macs.insert(adapter.mac, index);
            if let Some(peer) = adapter.peer {
                self.peers.insert(peer, index);
            }
        }
    }

    /// The adapters are not of the container with this index any more; they may be another's by now.
    pub(super) fn forget(&mut self, index: u32, adapters: &[Adapter]) {
        for adapter in adapters {
            if self.macs.get(&adapter.mac) == Some(&index) {
                self.macs.remove(&adapter.mac);
            }
            if let Some(peer) = adapter.peer.filter(|peer| self.peers.get(peer) == Some(&index)) {
                self.peers.remove(&peer);
            }
        }
    }

    /// Whose this address is.
    pub(super) fn by_mac(&self, mac: &[u8; 6]) -> Option<u32> {
        self.macs.get(mac).copied()
    }

    /// Whose other half the interface with this ifIndex on the host is.
    pub(super) fn by_peer(&self, ifindex: u32) -> Option<u32> {
        self.peers.get(&ifindex).copied()
    }
}
