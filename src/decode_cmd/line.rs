//! One comma-separated line per flow sample and per counters sample.
//!
//! This is the format in which a fabric's samples are piped into scripts, so it is written without allocation.

use decode::flow::{ExtendedSwitch, SampledEthernet, SampledHeader, SampledIp};
use decode::layout::{Fields, Value};
use decode::{Address, CountersSample, Datagram, FlowSample, Mac, Record, Sample, counter, flow};

use super::Output;
use super::header::{Network, Outer};
use super::source::Arrived;

/// Lines.
pub(super) struct Lines;

impl Output for Lines {
    fn datagram(&mut self, _: &Arrived<'_>, datagram: &Datagram<'_>, out: &mut Vec<u8>) {
        for sample in datagram.samples().flatten() {
            match sample {
                Sample::Flow(sample) => Flow::of(&sample).write(datagram.header.agent, &sample, out),
                Sample::Counters(sample) => counters(datagram.header.agent, &sample, out),
                _ => {}
            }
        }
    }
}

/// The columns that come from records; the later of two records wins where both say a thing.
#[derive(Default)]
struct Flow {
    source_mac: Mac,
    destination_mac: Mac,
    ethertype: u32,
    source_vlan: u32,
    destination_vlan: u32,
    source: Address,
    destination: Address,
    protocol: u32,
    tos: u32,
    ttl: u8,
    source_port: u32,
    destination_port: u32,
    tcp_flags: u32,
    frame_length: u32,
    stripped: u32,
    ipv4_offset: usize,
    has_header: bool,
}

impl Flow {
    fn of(sample: &FlowSample<'_>) -> Self {
        let mut flow = Self::default();
        for record in &sample.records {
            match (record.tag.enterprise(), record.tag.format()) {
                (0, 1) => {
                    if let Ok(header) = SampledHeader::parse(record.body) {
                        flow.header(&header);
                    }
                }
                (0, 2) => {
                    if let Some(ethernet) = SampledEthernet::parse(record.body) {
                        flow.source_mac = ethernet.source;
                        flow.destination_mac = ethernet.destination;
                        flow.ethertype = ethernet.ethertype;
                    }
                }
                (0, 3) => {
                    if let Some(ip) = SampledIp::<std::net::Ipv4Addr>::parse(record.body) {
                        flow.ip(&ip, Address::V4(ip.source), Address::V4(ip.destination));
                    }
                }
                (0, 4) => {
                    if let Some(ip) = SampledIp::<std::net::Ipv6Addr>::parse(record.body) {
                        // Its priority is no type of service.
                        let tos = flow.tos;
                        flow.ip(&ip, Address::V6(ip.source), Address::V6(ip.destination));
                        flow.tos = tos;
                    }
                }
                (0, 2100 | 2101) => flow.socket(record),
                (0, 1001) => {
                    let switch = ExtendedSwitch::parse(record.body);
                    flow.source_vlan = switch.source_vlan;
                    flow.destination_vlan = switch.destination_vlan;
                }
                _ => {}
            }
        }
        flow
    }

    /// The frame's length is the sampled header's; other records have it only where there is no header.
    fn length(&mut self, length: u32) {
        if !self.has_header {
            self.frame_length = length;
        }
    }

    fn ip<A>(&mut self, ip: &SampledIp<A>, source: Address, destination: Address) {
        self.source = source;
        self.destination = destination;
        self.protocol = ip.protocol;
        self.tos = ip.tos;
        self.source_port = ip.source_port;
        self.destination_port = ip.destination_port;
        self.tcp_flags = if ip.protocol == 6 { ip.tcp_flags } else { self.tcp_flags };
        self.length(ip.length);
    }

    /// The addresses of a host's socket; the reference decoder has no ports of it on its lines.
    fn socket(&mut self, record: Record<'_>) {
        let Some(fields) = flow::fields(record) else { return };
        for (field, value) in fields.iter() {
            let address = match value {
                Value::Ip4(ip) => Address::V4(ip),
                Value::Ip6(ip) => Address::V6(ip),
                _ => continue,
            };
            let local = field.name.ends_with("local_ip");
            *(if local { &mut self.source } else { &mut self.destination }) = address;
        }
    }

    fn header(&mut self, header: &SampledHeader<'_>) {
        self.has_header = true;
        self.frame_length = header.frame_length;
        self.stripped = header.stripped;
        let outer = Outer::new(header);
        if let Some(ethernet) = outer.ethernet() {
            self.source_mac = ethernet.source().unwrap_or_default();
            self.destination_mac = ethernet.destination().unwrap_or_default();
        }
        if let Some((vlan, _)) = outer.tags().last() {
            self.source_vlan = vlan.into();
        }
        self.ethertype = outer.ethertype.map_or(self.ethertype, u32::from);
        let Some((at, network)) = &outer.ip else { return };
        match network {
            Network::V4(ip) => {
                self.ipv4_offset = *at;
                self.source = ip.source().map_or(Address::Unknown, Address::V4);
                self.destination = ip.destination().map_or(Address::Unknown, Address::V4);
                self.tos = ip.tos().unwrap_or(0).into();
                self.ttl = ip.ttl().unwrap_or(0);
            }
            Network::V6(ip) => {
                self.source = ip.source().map_or(Address::Unknown, Address::V6);
                self.destination = ip.destination().map_or(Address::Unknown, Address::V6);
                self.tos = ip.traffic_class().unwrap_or(0).into();
                self.ttl = ip.hop_limit().unwrap_or(0);
            }
        }
        self.protocol = outer.protocol().unwrap_or(0).into();
        if let Some(transport) = outer.transport() {
            self.source_port = transport.source.into();
            self.destination_port = transport.destination.into();
            self.tcp_flags = transport.tcp_flags.unwrap_or(0).into();
        }
    }

    fn write(&self, agent: Address, sample: &FlowSample<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"FLOW,");
        address(agent, out);
        out.push(b',');
        signed(sample.input.value, out);
        signed(sample.output.value, out);
        mac(self.source_mac, out);
        mac(self.destination_mac, out);
        out.extend_from_slice(b"0x");
        hex(self.ethertype, 4, out);
        out.push(b',');
        signed(self.source_vlan, out);
        signed(self.destination_vlan, out);
        address(self.source, out);
        out.push(b',');
        address(self.destination, out);
        out.push(b',');
        signed(self.protocol, out);
        out.extend_from_slice(b"0x");
        hex(self.tos, 2, out);
        out.push(b',');
        signed(self.ttl.into(), out);
        signed(self.source_port, out);
        signed(self.destination_port, out);
        out.extend_from_slice(b"0x");
        hex(self.tcp_flags, 2, out);
        out.push(b',');
        signed(self.frame_length, out);
        let size = self.frame_length.wrapping_sub(self.stripped).wrapping_sub(self.ipv4_offset as u32);
        signed(size, out);
        signed(sample.sampling_rate, out);
        out.pop();
        out.push(b'\n');
    }
}

/// The generic interface counters, or zeros where the sample has none.
fn counters(agent: Address, sample: &CountersSample<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"CNTR,");
    address(agent, out);
    let layout = &counter::IF_COUNTERS;
    let record = sample.records.iter().filter(|record| record.tag == layout.tag).last();
    let mut values = record.map(|record| Fields::new(layout, record.body).iter()).into_iter().flatten();
    for _ in layout.fields {
        out.push(b',');
        let value = values.next().and_then(|(_, value): (_, Value<'_>)| value.as_u64()).unwrap_or(0);
        decimal(value, out);
    }
    out.push(b'\n');
}

/// A decimal number.
fn decimal(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A word as the reference decoder shows it, signed, and a comma.
fn signed(value: u32, out: &mut Vec<u8>) {
    let value = value.cast_signed();
    if value < 0 {
        out.push(b'-');
    }
    decimal(value.unsigned_abs().into(), out);
    out.push(b',');
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// At least `width` hexadecimal digits.
fn hex(value: u32, width: usize, out: &mut Vec<u8>) {
    let needed = (8 - value.leading_zeros() as usize / 4).max(width);
    for place in (0..needed.min(8)).rev() {
        out.push(DIGITS[(value >> (4 * place)) as usize & 15]);
    }
}

/// Twelve hexadecimal digits and a comma.
fn mac(mac: Mac, out: &mut Vec<u8>) {
    let mut text = [b','; 13];
    for (pair, byte) in text.chunks_exact_mut(2).zip(mac.0) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    out.extend_from_slice(&text);
}

fn address(address: Address, out: &mut Vec<u8>) {
    match address {
        Address::Unknown => out.push(b'-'),
        Address::V4(ip) => {
            for (place, byte) in ip.octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                decimal(byte.into(), out);
            }
        }
        Address::V6(ip) => {
            for (place, word) in ip.segments().into_iter().enumerate() {
                if place > 0 {
                    out.push(b':');
                }
                hex(word.into(), 4, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    #[test]
    fn numbers_and_addresses() {
        assert_eq!(text(|o| decimal(0, o)), "0");
        assert_eq!(text(|o| decimal(u64::MAX, o)), "18446744073709551615");
        assert_eq!(text(|o| signed(u32::MAX, o)), "-1,");
        assert_eq!(text(|o| hex(0x800, 4, o)), "0800");
        assert_eq!(text(|o| hex(0x12345, 4, o)), "12345");
        assert_eq!(text(|o| mac(Mac([0, 0x1f, 0xa0, 4, 5, 0xff]), o)), "001fa00405ff,");
        assert_eq!(text(|o| address(Address::V4([10, 0, 0, 254].into()), o)), "10.0.0.254");
        let v6 = "2001:db8::1".parse().map_or(Address::Unknown, Address::V6);
        assert_eq!(text(|o| address(v6, o)), "2001:0db8:0000:0000:0000:0000:0000:0001");
    }
}
