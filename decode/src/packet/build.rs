//! Writes the first bytes of a packet, outermost layer first, into a caller's buffer.
//!
//! Each layer fills in the type field of the one before it; [`PacketBuilder::finish`] fills in lengths and
//! IPv4 checksums for a frame of a stated length, of which the buffer may hold only the beginning.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{DEPTH, Layer, LayerKind, ether, ip};
use crate::address::Mac;
use crate::xdr::{Full, Writer};

/// A packet under construction.
#[derive(Debug)]
pub struct PacketBuilder<'b> {
    writer: Writer<'b>,
    layers: [Layer; DEPTH],
    count: usize,
}

impl<'b> PacketBuilder<'b> {
    /// An empty packet.
    pub fn new(buffer: &'b mut [u8]) -> Self {
        let nothing = Layer { kind: LayerKind::Ethernet, offset: 0 };
        Self { writer: Writer::new(buffer), layers: [nothing; DEPTH], count: 0 }
    }

    fn last(&self) -> Option<Layer> {
        self.count.checked_sub(1).and_then(|last| self.layers.get(last)).copied()
    }

    /// Tells the layer before that a layer with this ethertype and IP protocol follows, and writes `header`.
    fn layer(&mut self, kind: LayerKind, ethertype: u16, protocol: u8, header: &[u8]) -> Result<(), Full> {
        if let Some(last) = self.last() {
            let at = usize::from(last.offset);
            match last.kind {
                LayerKind::Ethernet => self.patch(at + 12, &ethertype.to_be_bytes())?,
                LayerKind::Vlan | LayerKind::Gre | LayerKind::Geneve => {
                    self.patch(at + 2, &ethertype.to_be_bytes())?;
                }
                LayerKind::Ipv4 => self.patch(at + 9, &[protocol])?,
                LayerKind::Ipv6 => self.patch(at + 6, &[protocol])?,
                _ => {}
            }
        }
        let offset = u16::try_from(self.writer.len()).map_err(|_| Full)?;
        self.writer.bytes(header)?;
        *self.layers.get_mut(self.count).ok_or(Full)? = Layer { kind, offset };
        self.count += 1;
        Ok(())
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) -> Result<(), Full> {
        self.writer.patch(at, bytes)
    }

    /// Ethernet header.
    ///
    /// # Errors
    /// The buffer is full, as in all of these.
    pub fn ethernet(mut self, destination: Mac, source: Mac) -> Result<Self, Full> {
        let mut header = [0; 14];
        header[..6].copy_from_slice(&destination.0);
        header[6..12].copy_from_slice(&source.0);
        self.layer(LayerKind::Ethernet, ether::BRIDGED, ip::ETHERNET_IN_IP, &header)?;
        Ok(self)
    }

    /// 802.1Q tag.
    ///
    /// # Errors
    /// The buffer is full.
    pub fn vlan(mut self, id: u16, priority: u8) -> Result<Self, Full> {
        let [a, b] = ((u16::from(priority & 7) << 13) | (id & 0x0fff)).to_be_bytes();
        self.layer(LayerKind::Vlan, ether::VLAN, 0, &[a, b, 0, 0])?;
        Ok(self)
    }

    /// IPv4 header without options.
    ///
    /// # Errors
    /// The buffer is full.
    pub fn ipv4(mut self, source: Ipv4Addr, destination: Ipv4Addr, tos: u8, ttl: u8) -> Result<Self, Full> {
        let mut header = [0; 20];
        header[0] = 0x45;
        header[1] = tos;
        header[6] = 0x40;
        header[8] = ttl;
        header[12..16].copy_from_slice(&source.octets());
        header[16..].copy_from_slice(&destination.octets());
        self.layer(LayerKind::Ipv4, ether::IPV4, ip::IPV4_IN_IP, &header)?;
        Ok(self)
    }

    /// IPv6 header without extension headers.
    ///
    /// # Errors
    /// The buffer is full.
    pub fn ipv6(mut self, source: Ipv6Addr, destination: Ipv6Addr, flow: u32, ttl: u8) -> Result<Self, Full> {
        let mut header = [0; 40];
        header[..4].copy_from_slice(&(0x6000_0000 | (flow & 0x000f_ffff)).to_be_bytes());
        header[7] = ttl;
        header[8..24].copy_from_slice(&source.octets());
        header[24..].copy_from_slice(&destination.octets());
        self.layer(LayerKind::Ipv6, ether::IPV6, ip::IPV6_IN_IP, &header)?;
        Ok(self)
    }

    /// TCP header without options.
    ///
    /// # Errors
    /// The buffer is full.
    pub fn tcp(mut self, source: u16, destination: u16, flags: u16) -> Result<Self, Full> {
        let mut header = [0; 20];
        header[..2].copy_from_slice(&source.to_be_bytes());
        header[2..4].copy_from_slice(&destination.to_be_bytes());
        header[12..14].copy_from_slice(&(0x5000 | (flags & 0x01ff)).to_be_bytes());
        self.layer(LayerKind::Tcp, 0, ip::TCP, &header)?;
        Ok(self)
    }

    /// UDP header; its checksum is left out (0).
    ///
    /// # Errors
    /// The buffer is full.
    pub fn udp(mut self, source: u16, destination: u16) -> Result<Self, Full> {
        let mut header = [0; 8];
        header[..2].copy_from_slice(&source.to_be_bytes());
        header[2..4].copy_from_slice(&destination.to_be_bytes());
        self.layer(LayerKind::Udp, 0, ip::UDP, &header)?;
        Ok(self)
    }

    /// ICMP header; after IPv6, ICMPv6.
    ///
    /// # Errors
    /// The buffer is full.
    pub fn icmp(mut self, kind: u8, code: u8, id: u16, sequence: u16) -> Result<Self, Full> {
        let ([a, b], [c, d]) = (id.to_be_bytes(), sequence.to_be_bytes());
        let after_ipv6 = self.last().is_some_and(|last| last.kind == LayerKind::Ipv6);
        let (layer, protocol) =
            if after_ipv6 { (LayerKind::Icmpv6, ip::ICMPV6) } else { (LayerKind::Icmp, ip::ICMP) };
        self.layer(layer, 0, protocol, &[kind, code, 0, 0, a, b, c, d])?;
        Ok(self)
    }

    /// VXLAN header.
    ///
    /// # Errors
    /// The buffer is full.
    pub fn vxlan(mut self, vni: u32) -> Result<Self, Full> {
        let [a, b, c, d] = (vni << 8).to_be_bytes();
        self.layer(LayerKind::Vxlan, 0, 0, &[0x08, 0, 0, 0, a, b, c, d])?;
        Ok(self)
    }

    /// GRE header, with a key when one is given.
    ///
    /// # Errors
    /// The buffer is full.
    pub fn gre(mut self, key: Option<u32>) -> Result<Self, Full> {
        let mut header = [0; 8];
        if let Some(key) = key {
            header[0] = 0x20;
            header[4..].copy_from_slice(&key.to_be_bytes());
        }
        let length = if key.is_some() { 8 } else { 4 };
        self.layer(LayerKind::Gre, 0, ip::GRE, header.get(..length).unwrap_or(&header))?;
        Ok(self)
    }

    /// Any bytes: options, payload, the layers that have no function here.
    ///
    /// # Errors
    /// The buffer is full.
    pub fn payload(mut self, bytes: &[u8]) -> Result<Self, Full> {
        self.writer.bytes(bytes)?;
        Ok(self)
    }

    /// Fills in lengths and IPv4 checksums for a frame of `frame_length` bytes (without frame check
    /// sequence), and gives how many bytes were written.
    ///
    /// # Errors
    /// A layer would be longer than its length field can say.
    pub fn finish(mut self, frame_length: usize) -> Result<usize, Full> {
        let word = |length: usize| u16::try_from(length).map(u16::to_be_bytes).map_err(|_| Full);
        for place in 0..self.count {
            let Some(layer) = self.layers.get(place).copied() else { break };
            let at = usize::from(layer.offset);
            let length = frame_length.saturating_sub(at);
            match layer.kind {
                LayerKind::Ipv4 => {
                    self.patch(at + 2, &word(length)?)?;
                    let sum = self.writer.written().get(at..at + 20).map_or(0, ones_complement);
                    self.patch(at + 10, &(!sum).to_be_bytes())?;
                }
                LayerKind::Ipv6 => self.patch(at + 4, &word(length.saturating_sub(40))?)?,
                LayerKind::Udp => self.patch(at + 4, &word(length)?)?,
                _ => {}
            }
        }
        Ok(self.writer.len())
    }
}

/// The internet checksum's sum (RFC 1071).
fn ones_complement(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.as_chunks::<2>().0.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    ((folded & 0xffff) + (folded >> 16)) as u16
}
