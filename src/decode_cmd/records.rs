//! Flow and counter records under the reference decoder's names.

use std::fmt::{self, Display, Write as _};

use decode::flow::SampledHeader;
use decode::layout::{AS_SET, AsPath, Fields, Value, Words};
use decode::{Address, Record, counter, flow};

use super::header;
use super::report::{Hex, Ip, Joined, Report};

/// The pair that begins a flow record, by its format: its name and value.
fn kind(format: u32) -> Option<(&'static str, &'static str)> {
    Some(match format {
        2 => ("flowSampleType", "ETHERNET"),
        3 => ("flowSampleType", "IPV4"),
        4 => ("flowSampleType", "IPV6"),
        1001 => ("extendedType", "SWITCH"),
        1002 => ("extendedType", "ROUTER"),
        1003 => ("extendedType", "GATEWAY"),
        1004 => ("extendedType", "USER"),
        1005 => ("extendedType", "URL"),
        1006 => ("extendedType", "MPLS"),
        1007 => ("extendedType", "NAT"),
        1020 => ("extendedType", "NAT PORT"),
        1021 => ("flowSampleType", "tunnel_l2_out_ETHERNET"),
        1022 => ("flowSampleType", "tunnel_l2_in_ETHERNET"),
        1023 => ("flowSampleType", "tunnel_ipv4_out_IPV4"),
        1024 => ("flowSampleType", "tunnel_ipv4_in_IPV4"),
        1025 => ("flowSampleType", "tunnel_ipv6_out_IPV6"),
        1026 => ("flowSampleType", "tunnel_ipv6_in_IPV6"),
        1027 => ("extendedType", "out_decap"),
        1028 => ("extendedType", "in_decap"),
        1029 => ("extendedType", "out_VNI"),
        1030 => ("extendedType", "in_VNI"),
        1036 => ("extendedType", "egress_queue"),
        1037 => ("extendedType", "acl"),
        1038 => ("extendedType", "function"),
        1039 => ("extendedType", "transit_delay"),
        1040 => ("extendedType", "queue_depth"),
        1041 => ("extendedType", "hw_trap"),
        1042 => ("extendedType", "linux_reason"),
        1043 => ("extendedType", "timestamp"),
        2100 => ("extendedType", "socket4"),
        2101 => ("extendedType", "socket6"),
        2102 => ("extendedType", "proxy_socket4"),
        2103 => ("extendedType", "proxy_socket6"),
        2200 => ("flowSampleType", "memcache"),
        2201 | 2206 => ("flowSampleType", "http"),
        2202 => ("flowSampleType", "applicationOperation"),
        2207 => ("extendedType", "proxy_request"),
        2210 => ("extendedType", "entities"),
        _ => return None,
    })
}

/// The prefix of a tunnel record's names.
fn prefix(format: u32) -> &'static str {
    match format {
        1021 => "tunnel_l2_out_",
        1022 => "tunnel_l2_in_",
        1023 => "tunnel_ipv4_out_",
        1024 => "tunnel_ipv4_in_",
        1025 => "tunnel_ipv6_out_",
        1026 => "tunnel_ipv6_in_",
        1027 | 1029 => "out_",
        1028 | 1030 => "in_",
        _ => "",
    }
}

/// Reports a flow record.
pub(super) fn flow_record(record: Record<'_>, report: &mut Report<'_>) {
    report.pair("flowBlock_tag", record.tag);
    if record.tag == flow::SAMPLED_HEADER {
        if let Ok(sampled) = SampledHeader::parse(record.body) {
            header::report(&sampled, report);
        }
        return;
    }
    let Some(fields) = flow::fields(record) else {
        let length = record.body.len();
        report.note(format_args!("skipping unknown flow_sample_element: {} len={length}", record.tag));
        return;
    };
    let format = record.tag.format();
    if let Some((name, value)) = kind(format) {
        report.pair(name, value);
    }
    match format {
        2 | 1021 | 1022 => ethernet(&fields, prefix(format), report),
        3 | 4 | 1023..=1026 => ip(&fields, prefix(format), report),
        1003 => gateway(&fields, report),
        1004 => user(&fields, report),
        1005 => {
            for (field, value) in fields.iter() {
                match value {
                    Value::Text(text) => report.pair(field.name, String::from_utf8_lossy(text)),
                    other => plain("", field.name, other, report),
                }
            }
        }
        1006 => {
            for (field, value) in fields.iter() {
                match value {
                    Value::Words(stack) if stack.is_empty() => {}
                    Value::Words(stack) => report.pair(field.name, LabelStack(stack)),
                    other => plain("", field.name, other, report),
                }
            }
        }
        1012 => {
            if let Some(Value::Words(stack)) = fields.get(0).filter(|_| !record.body.is_empty())
                && !stack.is_empty()
            {
                report.pair("vlan_tunnel", TagStack(stack));
            }
        }
        1013 => {
            if let Some(cipher) = fields.get(0) {
                plain("", "cipher_suite", cipher, report);
            }
        }
        _ => {
            for (field, value) in fields.iter() {
                let named = named_value(field.name, &value);
                match named {
                    Some(text) => report.pair(field.name, text),
                    None => plain(prefix(format), field.name, value, report),
                }
            }
        }
    }
}

/// Values that the reference decoder shows by name.
fn named_value(name: &str, value: &Value<'_>) -> Option<String> {
    match (name, value) {
        ("tcpinfo_direction", Value::U32(direction)) => Some(
            ["unknown", "received", "sent"].get(*direction as usize).unwrap_or(&"<bad value>").to_string(),
        ),
        ("status", Value::U32(status)) => Some(
            APP_STATUS
                .get(*status as usize)
                .map_or_else(|| format!("<out-of-range={status}>"), |name| (*name).to_owned()),
        ),
        ("memcache_op_key", Value::Text(key)) if !key.is_empty() => Some(url_encoded(key)),
        _ => None,
    }
}

/// Statuses of an application's operation (sFlow Application Structures, `status`), spelt as the reference
/// decoder spells them.
const APP_STATUS: [&str; 11] = [
    "SUCCESS",
    "OTHER",
    "TIMEOUT",
    "INTERNAL_ERROR",
    "BAD_REQUEST",
    "FORBIDDEN",
    "TOO_LARGE",
    "NOT_IMPLEMENTED",
    "NOT_FOUND",
    "UNAVAILABLE",
    "UNATHORIZED",
];

fn url_encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, &byte| {
        match byte {
            b' ' | b'\t'..=b'\r' => text.push('+'),
            _ if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
        text
    })
}

/// A value of no special form.
fn plain(prefix: &str, name: &str, value: Value<'_>, report: &mut Report<'_>) {
    match value {
        Value::U32(v) => report.prefixed(prefix, name, v),
        Value::U64(v) => report.prefixed(prefix, name, v),
        Value::F32(v) => report.prefixed(prefix, name, format_args!("{v:.3}")),
        Value::Byte(v) => report.prefixed(prefix, name, v),
        Value::Mac(v) => report.prefixed(prefix, name, Hex(&v.0)),
        Value::Ip4(v) => report.prefixed(prefix, name, Ip(Address::V4(v))),
        Value::Ip6(v) => report.prefixed(prefix, name, Ip(Address::V6(v))),
        Value::Address(v) => report.prefixed(prefix, name, Ip(v)),
        Value::Text(v) => report.text(name, v),
        Value::Uuid(v) => report.prefixed(prefix, name, Uuid(v)),
        Value::Words(v) => {
            report.prefixed(prefix, name, Joined(v.iter().collect::<Vec<_>>().into_iter(), '-'))
        }
        Value::AsPath(v) => report.prefixed(prefix, name, Path(v)),
        Value::Adapters(_) | Value::Lanes(_) => {}
    }
}

fn ethernet(fields: &Fields<'_>, prefix: &str, report: &mut Report<'_>) {
    for name in ["ethernet_type", "ethernet_len", "ethernet_src", "ethernet_dst"] {
        if let Some(value) = fields.named(name) {
            plain(prefix, name, value, report);
        }
    }
}

fn ip(fields: &Fields<'_>, prefix: &str, report: &mut Report<'_>) {
    let number = |name| fields.named(name).and_then(|value| value.as_u64());
    if let Some(size) = number("IPSize") {
        report.prefixed(prefix, "sampledPacketSize", size);
        report.prefixed(prefix, "IPSize", size);
    }
    for name in ["srcIP", "dstIP", "srcIP6", "dstIP6", "IPProtocol", "IPTOS", "priority"] {
        if let Some(value) = fields.named(name) {
            plain(prefix, name, value, report);
        }
    }
    let (Some(source), Some(destination)) = (number("srcPort"), number("dstPort")) else { return };
    match number("IPProtocol") {
        Some(1) => report.prefixed(prefix, "ICMPType", destination),
        Some(6) => {
            report.prefixed(prefix, "TCPSrcPort", source);
            report.prefixed(prefix, "TCPDstPort", destination);
            if let Some(flags) = number("TCPFlags") {
                report.prefixed(prefix, "TCPFlags", flags);
            }
        }
        Some(17) => {
            report.prefixed(prefix, "UDPSrcPort", source);
            report.prefixed(prefix, "UDPDstPort", destination);
        }
        _ => {}
    }
}

fn gateway(fields: &Fields<'_>, report: &mut Report<'_>) {
    for (field, value) in fields.iter() {
        match value {
            // A route of the AS itself has no path, and no AS at its ends.
            Value::AsPath(path) => {
                if path.segments().next().is_some() {
                    report.pair("dst_as_path", Path(path));
                }
                report.pair("dst_as", path.last().unwrap_or(0));
                report.pair("dst_peer_as", path.first().unwrap_or(0));
            }
            Value::Words(communities) if communities.is_empty() => {}
            other => plain("", field.name, other, report),
        }
    }
}

fn user(fields: &Fields<'_>, report: &mut Report<'_>) {
    for name in ["src_user_charset", "dst_user_charset"] {
        if let Some(value) = fields.named(name) {
            plain("", name, value, report);
        }
    }
    for name in ["src_user", "dst_user"] {
        if let Some(text) = fields.named(name).and_then(|value| value.as_text()) {
            report.pair(name, String::from_utf8_lossy(text));
        }
    }
}

/// Reports a counter record.
pub(super) fn counter_record(record: Record<'_>, report: &mut Report<'_>) {
    report.pair("counterBlock_tag", record.tag);
    let Some(fields) = counter::fields(record) else {
        let length = record.body.len();
        report.note(format_args!("skipping unknown counters_sample_element: {} len={length}", record.tag));
        return;
    };
    for (field, value) in fields.iter() {
        match (field.name, value) {
            ("5s_cpu" | "1m_cpu" | "5m_cpu" | "disk_partition_max_used", Value::U32(hundredths)) => {
                report.pair(field.name, Percent(hundredths));
            }
            ("openflow_datapath_id", Value::U64(id)) => report.pair(field.name, format_args!("{id:016x}")),
            (_, Value::Adapters(adapters)) if report.is_json() => report.list("adaptor_list", |report| {
                for (index, macs) in adapters.iter() {
                    report.object(|report| {
                        report.pair("ifIndex", index);
                        report.pair("MACs", macs.iter().len());
                        report.list("mac_list", |report| {
                            for mac in macs.iter() {
                                report.item(Hex(&mac.0));
                            }
                        });
                    });
                }
            }),
            (_, Value::Adapters(adapters)) => {
                for (place, (index, macs)) in adapters.iter().enumerate() {
                    let prefix = format!("adaptor_{place}_");
                    report.prefixed(&prefix, "ifIndex", index);
                    report.prefixed(&prefix, "MACs", macs.iter().len());
                    for (n, mac) in macs.iter().enumerate() {
                        report.prefixed(&prefix, &format!("MAC_{n}"), Hex(&mac.0));
                    }
                }
            }
            (_, Value::Lanes(lanes)) => {
                report.pair("sfp_module_active_lanes", lanes.iter().len());
                if report.is_json() {
                    report.list("sfp_lanes", |report| {
                        for (n, lane) in lanes.iter().enumerate() {
                            report.object(|report| {
                                for (name, word) in LANE_FIELDS.into_iter().zip(lane.iter()) {
                                    report.pair(name, word);
                                    report.prefixed("sfp_lane_", &format!("{name}.{n}"), word);
                                }
                            });
                        }
                    });
                } else {
                    for (n, lane) in lanes.iter().enumerate() {
                        for (name, word) in LANE_FIELDS.into_iter().zip(lane.iter()) {
                            report.prefixed("sfp_lane_", &format!("{name}.{n}"), word);
                        }
                    }
                }
            }
            (name, value) => plain("", name, value, report),
        }
    }
}

/// The names of the reference decoder, which leaves its own `%u` in them; scripts look for just these.
const LANE_FIELDS: [&str; 10] = [
    "index",
    "tx_bias_current_uA",
    "tx_power_uW.%u",
    "tx_power_min_uW.%u",
    "tx_power_max_uW.%u",
    "tx_wavelength_nM.%u",
    "rx_power_uW.%u",
    "rx_power_min_uW.%u",
    "rx_power_max_uW.%u",
    "rx_wavelength_nM.%u",
];

/// Hundredths of a percent; all ones are unknown.
struct Percent(u32);

impl Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            u32::MAX => f.write_str("unknown"),
            hundredths => write!(f, "{:.2}", hundredths as f32 / 100.0),
        }
    }
}

struct Uuid([u8; 16]);

impl Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_char('-')?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// AS numbers joined by dashes, sets in parentheses.
struct Path<'a>(AsPath<'a>);

impl Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, numbers) in self.0.segments().filter(|(_, numbers)| !numbers.is_empty()) {
            let joined = Joined(numbers.iter().collect::<Vec<_>>().into_iter(), '-');
            if kind == AS_SET { write!(f, "({joined})")? } else { write!(f, "{joined}")? }
        }
        Ok(())
    }
}

/// Label, experimental bits, bottom of stack and time to live of each entry.
struct LabelStack<'a>(Words<'a>);

impl Display for LabelStack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, entry) in self.0.iter().enumerate() {
            let dash = if place > 0 { "-" } else { "" };
            write!(f, "{dash}{}.{}.{}.{}", entry >> 12, (entry >> 9) & 7, (entry >> 8) & 1, entry & 255)?;
        }
        Ok(())
    }
}

/// Type, priority, format bit and VLAN of each stripped tag.
struct TagStack<'a>(Words<'a>);

impl Display for TagStack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, tag) in self.0.iter().enumerate() {
            let dash = if place > 0 { "-" } else { "" };
            write!(f, "{dash}0x{:04x}{}.{}.{}", tag >> 16, (tag >> 13) & 7, (tag >> 12) & 1, tag & 4095)?;
        }
        Ok(())
    }
}
