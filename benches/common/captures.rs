//! Capture files for whoever reads them, ours and others: the real ones of the folder that `FINDERSCOPE_CAPTURES` names, or
//! what the simulated fabric makes, repeated until there is enough.

use std::fs::File;
use std::io::BufWriter;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use decode::packet::PacketBuilder;
use decode::{Datagram, Mac};
use fabric::{Fabric, FabricOptions};
use ingest::capture::{Payloads, Reader, Writer, link};

/// Datagrams that the simulated fabric makes; they are then repeated, with numbers that go on.
const SIMULATED: usize = 20_000;

/// Blocks that the file is written in, bytes: the page cache then holds it in pieces as large as those that it reads ahead
/// of a file on a disk.
const BLOCK: usize = 1 << 20;

/// Ethernet, IPv4 and UDP before a datagram.
const HEADERS: usize = 14 + 20 + 8;

/// The port of sFlow.
pub(crate) const PORT: u16 = 6343;

/// Datagrams, and where they are from.
pub(crate) struct Captured {
    pub(crate) name: String,
    pub(crate) datagrams: Vec<Vec<u8>>,
}

impl Captured {
    /// The datagrams of the captures, or of the simulated fabric.
    pub(crate) fn any() -> Self {
        let mut datagrams = Vec::new();
        if let Ok(captures) = std::env::var("FINDERSCOPE_CAPTURES") {
            let folder = std::fs::read_dir(&captures).unwrap_or_else(|error| panic!("{captures}: {error}"));
            let mut paths: Vec<PathBuf> =
                folder.map(|entry| entry.expect("a readable folder").path()).collect();
            paths.retain(|path| path.extension().is_some_and(|end| end == "pcap"));
            paths.sort();
            for path in paths {
                let reader =
                    Reader::open(&path).unwrap_or_else(|error| panic!("FINDERSCOPE_CAPTURES: {error}"));
                let mut payloads = Payloads::new(reader, PORT);
                while let Some(payload) = payloads.next_payload() {
                    match payload {
                        Ok(payload) => datagrams.push(payload.bytes.to_vec()),
                        Err(error) => panic!("FINDERSCOPE_CAPTURES: {error}"),
                    }
                }
            }
            let name = format!("{} datagrams of real captures", datagrams.len());
            return Self { name, datagrams };
        }
        let options = FabricOptions { rate: Some(2000.0), ..FabricOptions::default() };
        let mut fabric = Fabric::new(&options).expect("numbers within their limits");
        while datagrams.len() < SIMULATED {
            let now_us = fabric.now_us() + 1_000_000;
            fabric.step(now_us, &mut |_, datagram| datagrams.push(datagram.to_vec()));
        }
        Self { name: format!("{} datagrams of the simulated fabric", datagrams.len()), datagrams }
    }

    /// How many flow samples the datagrams have.
    fn flow_samples(&self) -> usize {
        let of = |bytes: &Vec<u8>| {
            let samples = Datagram::parse(bytes).map(|datagram| datagram.samples().collect::<Vec<_>>());
            let samples = samples.unwrap_or_default().into_iter();
            samples.filter(|sample| matches!(sample, Ok(decode::Sample::Flow(_)))).count()
        };
        self.datagrams.iter().map(of).sum()
    }

    /// Writes the datagrams often enough for so many flow samples; how many were written.
    pub(crate) fn write(&self, samples: usize, path: &Path) -> usize {
        let each = self.flow_samples();
        assert!(each > 0, "the captures hold no flow samples to port {PORT}");
        let rounds = samples.div_ceil(each);
        let file = BufWriter::with_capacity(BLOCK, File::create(path).expect("a file"));
        let mut writer = Writer::new(file, link::ETHERNET).expect("room");
        for round in 0..rounds {
            for datagram in &self.datagrams {
                let mut frame = vec![0; HEADERS];
                let (from, to) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
                PacketBuilder::new(&mut frame)
                    .ethernet(Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]))
                    .and_then(|packet| packet.ipv4(from, to, 0, 64))
                    .and_then(|packet| packet.udp(50_000, PORT))
                    .expect("room")
                    .finish(HEADERS + datagram.len())
                    .expect("a datagram is below 64 KiB");
                frame.extend_from_slice(datagram);
                renumber(&mut frame[HEADERS..], round as u32);
                writer.frame(round as u64 * 1_000_000, &frame, frame.len() as u32).expect("room on the disk");
            }
        }
        writer.flush().expect("room on the disk");
        rounds * each
    }
}

/// Adds to the number of the datagram and of each sample what `round` repetitions have used up.
fn renumber(datagram: &mut [u8], round: u32) {
    let word = |bytes: &[u8], at: usize| {
        bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_be_bytes(*word))
    };
    let add = |bytes: &mut [u8], at: usize| {
        let number = word(bytes, at).wrapping_add(round << 19);
        if let Some(place) = bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&number.to_be_bytes());
        }
    };
    let after_address = if word(datagram, 4) == 1 { 12 } else { 24 };
    add(datagram, after_address + 4);
    let mut at = after_address + 16;
    while at + 12 <= datagram.len() {
        let length = word(datagram, at + 4) as usize;
        add(datagram, at + 8);
        at += 8 + length;
    }
}
