//! What would be sent, as text: a line per datagram and one per record of it.

use std::fmt::{self, Display};
use std::io::Write;

use decode::flow::SampledHeader;
use decode::layout::{Fields, Value};
use decode::{Datagram, Interface, InterfaceKind, Record, Sample, counter, flow};

use super::Sink;

/// Prints datagrams instead of sending them.
pub struct DryRun {
    out: Box<dyn Write>,
    /// Whether the reader is gone.
    over: bool,
}

impl DryRun {
    /// Prints to `out`.
    pub fn new(out: Box<dyn Write>) -> Self {
        Self { out, over: false }
    }
}

impl fmt::Debug for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DryRun")
    }
}

impl Sink for DryRun {
    fn send(&mut self, datagram: &[u8]) {
        let mut text = Vec::new();
        // Writing to memory never fails.
        let _ = print(datagram, &mut text);
        self.over |= self.out.write_all(&text).and_then(|()| self.out.flush()).is_err();
    }

    fn is_over(&self) -> bool {
        self.over
    }
}

fn print(bytes: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    let Ok(datagram) = Datagram::parse(bytes) else { return Ok(()) };
    let header = datagram.header;
    writeln!(
        out,
        "datagram agent={} sub_agent={} sequence={} uptime_ms={} samples={} bytes={}",
        header.agent,
        header.sub_agent,
        header.sequence,
        header.uptime_ms,
        header.samples,
        bytes.len()
    )?;
    for sample in datagram.samples().flatten() {
        match sample {
            Sample::Counters(sample) => {
                let head = format!("counters source={} sequence={}", sample.source, sample.sequence);
                for record in &sample.records {
                    writeln!(out, "  {head} {}", Shown(record, counter::fields(record)))?;
                }
            }
            Sample::Flow(sample) => {
                let head = format!(
                    "flow source={} sequence={} sampling_rate={} sample_pool={} drops={} input={} output={}",
                    sample.source,
                    sample.sequence,
                    sample.sampling_rate,
                    sample.sample_pool,
                    sample.drops,
                    Port(sample.input),
                    Port(sample.output)
                );
                for record in &sample.records {
                    match SampledHeader::parse(record.body) {
                        Ok(header) if record.tag == flow::SAMPLED_HEADER => {
                            writeln!(out, "  {head} record={} {}", record.tag, Sampled(header))?;
                        }
                        _ => writeln!(out, "  {head} {}", Shown(record, flow::fields(record)))?,
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// A record's tag, name, and fields by name.
struct Shown<'a>(Record<'a>, Option<Fields<'a>>);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record={}", self.0.tag)?;
        let Some(fields) = &self.1 else { return write!(f, " bytes={}", Hex(self.0.body)) };
        write!(f, " {}", fields.layout.name)?;
        fields.iter().try_for_each(|(field, value)| write!(f, " {}={}", field.name, Plain(value)))
    }
}

/// A sampled packet's header, whose bytes are no field of its layout.
struct Sampled<'a>(SampledHeader<'a>);

impl Display for Sampled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SampledHeader { protocol, frame_length, stripped, bytes } = &self.0;
        write!(
            f,
            "sampled_header header_protocol={protocol} frame_length={frame_length} stripped={stripped} header={}",
            Hex(bytes)
        )
    }
}

/// A value on one line, whatever it holds.
struct Plain<'a>(Value<'a>);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::U32(v) => v.fmt(f),
            Value::U64(v) => v.fmt(f),
            Value::F32(v) => v.fmt(f),
            Value::Byte(v) => v.fmt(f),
            Value::Mac(v) => v.fmt(f),
            Value::Ip4(v) => v.fmt(f),
            Value::Ip6(v) => v.fmt(f),
            Value::Address(v) => v.fmt(f),
            Value::Text(v) => write!(f, "{:?}", String::from_utf8_lossy(v)),
            Value::Uuid(v) => Hex(&v).fmt(f),
            Value::Adapters(adapters) => {
                f.write_str("[")?;
                for (place, (index, macs)) in adapters.iter().enumerate() {
                    write!(f, "{}{index}:", if place > 0 { " " } else { "" })?;
                    for (place, mac) in macs.iter().enumerate() {
                        write!(f, "{}{mac}", if place > 0 { "," } else { "" })?;
                    }
                }
                f.write_str("]")
            }
            Value::Words(words) => f.debug_list().entries(words.iter()).finish(),
            Value::Lanes(lanes) => write!(f, "{} lanes", lanes.iter().len()),
            Value::AsPath(path) => write!(f, "{} segments", path.segments().count()),
        }
    }
}

struct Hex<'a>(&'a [u8]);

impl Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An ifIndex, or what is said instead of one.
struct Port(Interface);

impl Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind() {
            InterfaceKind::Unknown => f.write_str("unknown"),
            InterfaceKind::Internal => f.write_str("host"),
            InterfaceKind::Index(index) => index.fmt(f),
            InterfaceKind::Discarded(reason) => write!(f, "discarded:{reason}"),
            InterfaceKind::Multiple(count) => write!(f, "multiple:{count}"),
        }
    }
}
