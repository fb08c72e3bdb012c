//! Text and JSON: every field of every sample.

use std::fmt::{self, Display};

use decode::rt::{FlowValue, MetricValue};
use decode::sample::{
    COUNTERS_SAMPLE, COUNTERS_SAMPLE_EXPANDED, DISCARDED_PACKET, FLOW_SAMPLE, FLOW_SAMPLE_EXPANDED, RT_FLOW,
    RT_METRIC,
};
use decode::{Address, DataSource, Datagram, Interface, Records, Sample, flow};
use time::OffsetDateTime;
use time::macros::format_description;

use super::report::{Hex, Ip, Report, Style};
use super::source::Arrived;
use super::{Output, records};

/// Text or JSON.
pub(super) struct Text {
    style: Style,
}

impl Text {
    pub(super) fn new(style: Style) -> Self {
        Self { style }
    }
}

impl Output for Text {
    fn datagram(&mut self, arrived: &Arrived<'_>, datagram: &Datagram<'_>, out: &mut Vec<u8>) {
        let mut report = Report::new(self.style, out);
        report.note("startDatagram =================================");
        report.object(|report| {
            arrival(arrived, report);
            header(datagram, report);
            report.list("samples", |report| {
                for sample in datagram.samples() {
                    report.note("startSample ----------------------");
                    report.object(|report| match sample {
                        Ok(sample) => self::sample(&sample, report),
                        Err(error) => report.pair("error", error.label()),
                    });
                    report.note("endSample   ----------------------");
                }
            });
        });
        report.note("endDatagram   =================================");
        self.end(out);
    }

    fn refused(&mut self, arrived: &Arrived<'_>, out: &mut Vec<u8>) {
        let mut report = Report::new(self.style, out);
        report.note("startDatagram =================================");
        report.object(|report| {
            arrival(arrived, report);
            if let Some(version) = arrived.bytes.first_chunk::<4>() {
                report.pair("datagramVersion", u32::from_be_bytes(*version));
            }
        });
        report.note("endDatagram   =================================");
        self.end(out);
    }
}

impl Text {
    /// JSON objects stand on lines of their own.
    fn end(&self, out: &mut Vec<u8>) {
        if self.style == Style::Json {
            out.push(b'\n');
        }
    }
}

fn arrival(arrived: &Arrived<'_>, report: &mut Report<'_>) {
    report.pair("datagramSourceIP", Ip(Address::from(arrived.source)));
    report.pair("datagramSize", arrived.bytes.len());
    report.pair("unixSecondsUTC", arrived.time_us / 1_000_000);
    report.pair("unixSecondsUTC_uS", arrived.time_us % 1_000_000);
    report.pair("localtime", Stamp(arrived.time_us));
    if arrived.from_file {
        report.pair("pcapTimestamp", Stamp(arrived.time_us));
        report.pair("pcapTimestamp_uS", arrived.time_us % 1_000_000);
    }
}

fn header(datagram: &Datagram<'_>, report: &mut Report<'_>) {
    let header = &datagram.header;
    report.pair("datagramVersion", decode::datagram::VERSION);
    report.pair("agentSubId", header.sub_agent);
    report.pair("agent", Ip(header.agent));
    report.pair("packetSequenceNo", header.sequence);
    report.pair("sysUpTime", header.uptime_ms);
    report.pair("samplesInPacket", header.samples);
}

fn sample(sample: &Sample<'_>, report: &mut Report<'_>) {
    let pick = |expanded, compact, long| if expanded { long } else { compact };
    match sample {
        Sample::Flow(sample) => {
            report.pair("sampleType_tag", pick(sample.expanded, FLOW_SAMPLE, FLOW_SAMPLE_EXPANDED));
            report.pair("sampleType", "FLOWSAMPLE");
            report.pair("sampleSequenceNo", sample.sequence);
            report.pair("sourceId", Source(sample.source));
            report.pair("meanSkipCount", sample.sampling_rate);
            report.pair("samplePool", sample.sample_pool);
            report.pair("dropEvents", sample.drops);
            report.pair("inputPort", Port(sample.input));
            report.pair("outputPort", Port(sample.output));
            elements(&sample.records, report, records::flow_record);
        }
        Sample::Counters(sample) => {
            report.pair("sampleType_tag", pick(sample.expanded, COUNTERS_SAMPLE, COUNTERS_SAMPLE_EXPANDED));
            report.pair("sampleType", "COUNTERSSAMPLE");
            report.pair("sampleSequenceNo", sample.sequence);
            report.pair("sourceId", Source(sample.source));
            elements(&sample.records, report, records::counter_record);
        }
        Sample::Discarded(sample) => {
            report.pair("sampleType_tag", DISCARDED_PACKET);
            report.pair("sampleType", "DISCARD");
            report.pair("sampleSequenceNo", sample.sequence);
            report.pair("sourceId", Source(sample.source));
            report.pair("dropEvents", sample.drops);
            report.pair("inputPort", sample.input);
            report.pair("outputPort", sample.output);
            report.pair("discardCode", sample.reason);
            report.pair("discardReason", flow::drop_reason(sample.reason).unwrap_or("NotFound"));
            elements(&sample.records, report, |record, report| {
                report.with_prefix("discarded_", |report| records::flow_record(record, report));
            });
        }
        Sample::RtMetric(sample) => {
            report.pair("sampleType_tag", RT_METRIC);
            report.pair("sampleType", "RTMETRIC");
            report.text("rtmetric_datasource_name", sample.source);
            for (name, value) in sample.metrics() {
                let name = String::from_utf8_lossy(name);
                match value {
                    MetricValue::Text(v) => {
                        report.prefixed("rtmetric_string_", &name, String::from_utf8_lossy(v));
                    }
                    MetricValue::Counter32(v) => report.prefixed("rtmetric_counter32_", &name, v),
                    MetricValue::Counter64(v) => report.prefixed("rtmetric_counter64_", &name, v),
                    MetricValue::Gauge32(v) => report.prefixed("rtmetric_gauge32_", &name, v),
                    MetricValue::Gauge64(v) => report.prefixed("rtmetric_gauge64_", &name, v),
                    MetricValue::Float(v) => {
                        report.prefixed("rtmetric_gaugeFloat_", &name, format_args!("{v:.3}"));
                    }
                    MetricValue::Double(v) => {
                        report.prefixed("rtmetric_gaugeDouble_", &name, format_args!("{v:.3}"));
                    }
                }
            }
        }
        Sample::RtFlow(sample) => {
            report.pair("sampleType_tag", RT_FLOW);
            report.pair("sampleType", "RTFLOW");
            report.text("rtflow_datasource_name", sample.source);
            report.pair("rtflow_sampling_rate", sample.sampling_rate);
            report.pair("rtflow_sample_pool", sample.sample_pool);
            for (name, value) in sample.fields() {
                let name = String::from_utf8_lossy(name);
                match value {
                    FlowValue::Text(v) => {
                        report.prefixed("rtflow_string_", &name, String::from_utf8_lossy(v))
                    }
                    FlowValue::Mac(v) => report.prefixed("rtflow_mac_", &name, Hex(&v.0)),
                    FlowValue::Ip4(v) => report.prefixed("rtflow_ip_", &name, v),
                    FlowValue::Ip6(v) => report.prefixed("rtflow_ip6_", &name, Ip(Address::V6(v))),
                    FlowValue::Int32(v) => report.prefixed("rtflow_int32_", &name, v),
                    FlowValue::Int64(v) => report.prefixed("rtflow_int64_", &name, v),
                    FlowValue::Float(v) => report.prefixed("rtflow_float_", &name, format_args!("{v:.3}")),
                    FlowValue::Double(v) => report.prefixed("rtflow_double_", &name, format_args!("{v:.3}")),
                }
            }
        }
        Sample::Unknown { tag, length } => {
            report.pair("sampleType_tag", tag);
            report.note(format_args!("skipping unknown sample: {tag} len={length}"));
        }
    }
}

fn elements(
    records: &Records<'_>,
    report: &mut Report<'_>,
    one: impl Fn(decode::Record<'_>, &mut Report<'_>),
) {
    report.list("elements", |report| {
        for record in records {
            report.object(|report| one(record, report));
        }
    });
}

/// `class:index`
struct Source(DataSource);

impl Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.class, self.0.index)
    }
}

struct Port(Interface);

impl Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0.value;
        match self.0.format {
            0 => write!(f, "{value}"),
            1 => write!(f, "dropCode {value}"),
            2 => write!(f, "multiple {value}"),
            format => write!(f, "format=={format} {value}"),
        }
    }
}

/// Microseconds since 1970 as a UTC time of whole seconds.
struct Stamp(u64);

impl Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+0000");
        let seconds = i64::try_from(self.0 / 1_000_000).unwrap_or(i64::MAX);
        let text =
            OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|time| time.format(&format).ok());
        f.write_str(text.as_deref().unwrap_or("-"))
    }
}
