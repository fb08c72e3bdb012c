//! Senders of whole frames, made by the kernel at the far end of a network: one for each queue of the receiver.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, bail};
use decode::packet::PacketBuilder;
use decode::{Address, Datagram, Mac};
use fabric::stretch::Moving;
use ingest::xdp::generate::{Aim, Generator, PROBES, Template};

use super::cpu;
use super::input;
use super::network::{Network, sender};
use super::offer::{Load, Offer, Offered};

/// How long it is measured what making frames costs by itself.
const ALONE: Duration = Duration::from_millis(150);

/// Runs of which the frames leave together, when each should leave by itself: a call has to do something for each time.
const SINGLY: u32 = 4;

/// From where to where frames go.
#[derive(Clone, Copy, Debug)]
struct Link {
    from: Mac,
    to: Mac,
    /// The sender's interface.
    interface: u32,
}

/// Senders at the far end.
pub(crate) struct Frames<'n> {
    network: &'n Network,
    link: Link,
    generators: Vec<Generator>,
    alone_ns: Option<f64>,
    /// Probes so far; the first of the senders sends them all.
    probes: usize,
}

impl<'n> Frames<'n> {
    /// As many senders, each of `count` datagrams of its own.
    pub(crate) fn new(network: &'n Network, senders: usize, count: usize) -> anyhow::Result<Self> {
        let (from, to_mac, interface) = network.link();
        let link = Link { from, to: to_mac, interface };
        let to = network.destination()?;
        let make = |n| {
            let stretch = input::stretch(count, n);
            let frames: Result<Vec<Template>, _> =
                stretch.datagrams().map(|(bytes, moving)| frame(&link, to, bytes, moving)).collect();
            let (bytes, moving) = input::probe();
            Ok(Generator::new(&frames?, Some(&frame(&link, to, &bytes, &moving)?))?)
        };
        let generators = (0..senders).map(make).collect::<anyhow::Result<_>>()?;
        Ok(Self { network, link, generators, alone_ns: None, probes: 0 })
    }

    /// Has all senders send.
    fn all(&mut self, interface: Option<u32>, load: &Load, stop: &AtomicBool) -> anyhow::Result<Offered> {
        let processors = cpu::processors();
        let senders = self.generators.len();
        let network = self.network;
        let share = Load { per_s: load.per_s.map(|per_s| per_s / senders as f64), ..*load };
        let parts = std::thread::scope(|scope| {
            let begin = |(n, generator)| {
                // From the last processor on: workers begin with the first.
                let processor = processors.iter().rev().cycle().nth(n).copied();
                let share = Load { probe_every: if n == 0 { share.probe_every } else { 0 }, ..share };
                let body = move || {
                    network.enter_far().context("the sender's namespace")?;
                    cpu::keep_to(processor);
                    send(generator, interface, &share, stop)
                };
                std::thread::Builder::new().name(format!("sender-{n}")).spawn_scoped(scope, body)
            };
            let threads: Vec<_> = self.generators.iter_mut().enumerate().map(begin).collect();
            let join = |thread: std::io::Result<std::thread::ScopedJoinHandle<'_, _>>| {
                let thread = thread.context("a sender's thread")?;
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect::<Vec<anyhow::Result<Offered>>>()
        });
        let mut whole = Offered { probes_before: self.probes, ..Offered::default() };
        for part in parts {
            let part = part?;
            whole.sent += part.sent;
            whole.seconds = whole.seconds.max(part.seconds);
            whole.took += part.took;
            whole.probes_ns.extend(part.probes_ns);
        }
        self.probes += whole.probes_ns.len();
        Ok(whole)
    }
}

impl Offer for Frames<'_> {
    fn offer(&mut self, _to: SocketAddr, load: &Load, stop: &AtomicBool) -> anyhow::Result<Offered> {
        self.all(Some(self.link.interface), load, stop)
    }

    fn alone_ns(&mut self) -> anyhow::Result<Option<f64>> {
        if self.alone_ns.is_none() {
            let offered = self.all(None, &Load::most(ALONE), &AtomicBool::new(false))?;
            self.alone_ns = Some(offered.took.as_nanos() as f64 / offered.sent.max(1) as f64);
        }
        Ok(self.alone_ns)
    }

    fn lost_between(&self) -> u64 {
        self.network.dropped()
    }
}

/// What one sender does.
fn send(
    generator: &mut Generator,
    interface: Option<u32>,
    load: &Load,
    stop: &AtomicBool,
) -> anyhow::Result<Offered> {
    let aim = Aim {
        interface,
        per_s: load.per_s,
        time: load.time,
        probe_every: load.probe_every,
        together: if load.singly { SINGLY } else { Aim::default().together },
        ..Aim::default()
    };
    generator.aim(&aim).context("the generator of frames")?;
    let ran = cpu::of_this_thread();
    let sent = generator.send(stop).context(
        "the kernel does not send live frames (BPF_PROG_TEST_RUN): Linux 5.18 is needed, and an interface that takes them",
    )?;
    let took = cpu::of_this_thread().saturating_sub(ran);
    anyhow::ensure!(sent.refused == 0, "the kernel refused to change {} frames", sent.refused);
    let probes = usize::try_from(sent.probes).unwrap_or(usize::MAX).min(PROBES);
    let probes_ns = (0..probes).map(|n| generator.probe_ns(n)).collect::<Result<_, _>>()?;
    Ok(Offered { sent: sent.frames, seconds: sent.time.as_secs_f64(), took, probes_ns, probes_before: 0 })
}

/// A datagram as a frame, from an address of its agent's own.
fn frame(link: &Link, to: SocketAddr, datagram: &[u8], moving: &[Moving]) -> anyhow::Result<Template> {
    let agent = Datagram::parse(datagram).map(|datagram| datagram.header.agent);
    let agent = match agent {
        Ok(Address::V4(address)) => address.to_bits() as usize & 0x7fff,
        _ => 0,
    };
    let IpAddr::V4(collector) = to.ip() else { bail!("{to}: frames are made for IPv4") };
    let headers = 14 + 20 + 8;
    let mut buffer = vec![0; headers + datagram.len()];
    PacketBuilder::new(&mut buffer)
        .ethernet(link.to, link.from)
        .and_then(|packet| packet.ipv4(sender(agent), collector, 0, 64))
        .and_then(|packet| packet.udp(50_000 + (agent % 10_000) as u16, to.port()))
        .and_then(|packet| packet.payload(datagram))
        .and_then(|packet| packet.finish(headers + datagram.len()))
        .ok()
        .context("a datagram too long for a frame")?;
    let at = headers - 2;
    let checksum = udp_checksum(&buffer, headers);
    if let Some(place) = buffer.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = checksum.to_be_bytes();
    }
    let moving = moving.iter().map(|one| ((headers as u32 + one.offset) as u16, one.add)).collect();
    Ok(Template { bytes: buffer, checksum_at: Some(at as u16), moving })
}

/// The checksum of the datagram behind these headers, Ethernet's, IPv4's and UDP's (RFC 768).
fn udp_checksum(frame: &[u8], headers: usize) -> u16 {
    let covered = frame.get(headers - 16..).unwrap_or_default();
    // Protocol and length stand in the header that is only thought of.
    let mut sum = 17 + (frame.len() - headers + 8) as u32;
    let (pairs, rest) = covered.as_chunks::<2>();
    sum += pairs.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum::<u32>();
    sum += rest.first().map_or(0, |byte| u32::from(*byte) << 8);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    match !(sum as u16) {
        0 => 0xffff,
        checksum => checksum,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_frame_carries_its_datagram_with_a_checksum_that_holds() {
        let link = Link { from: Mac([2; 6]), to: Mac([4; 6]), interface: 1 };
        let stretch = input::stretch(10, 0);
        for (datagram, moving) in stretch.datagrams() {
            let template = frame(&link, "10.77.0.1:6343".parse().unwrap(), datagram, moving).unwrap();
            assert_eq!(template.bytes[42..], *datagram);
            assert_eq!(template.checksum_at, Some(40));
            // The sum over all of it, checksum included, is all ones.
            let mut again = template.bytes.clone();
            let told = u16::from_be_bytes([again[40], again[41]]);
            again[40..42].copy_from_slice(&[0, 0]);
            assert_eq!(udp_checksum(&again, 42), told);
            // A number that moves is the same word in both.
            for (moved, (at, add)) in moving.iter().zip(&template.moving) {
                assert_eq!((moved.offset + 42, moved.add), (u32::from(*at), *add));
            }
        }
        let v6 = frame(&link, "[::1]:6343".parse().unwrap(), &[0; 100], &[]);
        assert!(v6.is_err());
    }

    /// Of RFC 1071 and a datagram of known sum.
    #[test]
    fn a_known_checksum() {
        let mut frame = vec![0; 42];
        frame[26..34].copy_from_slice(&[192, 168, 0, 31, 192, 168, 0, 30]);
        frame[34..42].copy_from_slice(&[0, 20, 0, 10, 0, 10, 0, 0]);
        frame.extend(b"Hi");
        assert_eq!(udp_checksum(&frame, 42), 0x35c5);
    }
}
