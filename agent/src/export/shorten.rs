//! Samples too long for a datagram: the lists of adapters and the texts in them are cut, and what still does not fit is
//! left out whole. A host with two hundred adapters comes here, and a container whose name has four thousand letters.

use decode::Tag;
use decode::build::RecordOut;
use decode::layout::{Adapters, Layout, Value};
use decode::xdr::Writer;

/// The longest record that is cut; a longer one is left out.
const LONGEST_RECORD: usize = 65_536;

/// The records with bodies that together take `room` bytes at most, in their order; the longest give way first.
pub(super) fn shorten(records: &[RecordOut<'_>], room: usize) -> Vec<(Tag, Vec<u8>)> {
    let mut kept: Vec<(Tag, Vec<u8>, Option<&RecordOut<'_>>)> =
        records.iter().filter_map(|record| Some((tag(record), body(record)?, Some(record)))).collect();
    loop {
        let total: usize = kept.iter().map(|(_, body, _)| framed(body)).sum();
        let excess = total.saturating_sub(room);
        if excess == 0 {
            break;
        }
        let Some(longest) =
            (0..kept.len()).max_by_key(|&at| kept.get(at).map_or(0, |(_, body, _)| body.len()))
        else {
            break;
        };
        // A record is cut once; when that was not enough it goes.
        let cut = kept.get_mut(longest).and_then(|(_, _, record)| record.take()).and_then(|r| cut(r, excess));
        match (cut, kept.get_mut(longest)) {
            (Some(shorter), Some((_, body, _))) => *body = shorter,
            _ => drop(kept.remove(longest)),
        }
    }
    kept.into_iter().map(|(tag, body, _)| (tag, body)).collect()
}

/// Bytes of a record with its tag, length and pad.
fn framed(body: &[u8]) -> usize {
    8 + body.len().next_multiple_of(4)
}

fn tag(record: &RecordOut<'_>) -> Tag {
    match record {
        RecordOut::Header(_) => decode::flow::SAMPLED_HEADER,
        RecordOut::Fields(layout, _) => layout.tag,
        RecordOut::Raw(tag, _) => *tag,
    }
}

/// The body of a record, unless it is beyond all measure.
fn body(record: &RecordOut<'_>) -> Option<Vec<u8>> {
    match record {
        RecordOut::Header(header) => written(|writer| header.write(writer)),
        RecordOut::Fields(layout, values) => fields(layout, values),
        RecordOut::Raw(_, body) => (body.len() <= LONGEST_RECORD).then(|| body.to_vec()),
    }
}

fn fields(layout: &'static Layout, values: &[Value<'_>]) -> Option<Vec<u8>> {
    written(|writer| layout.write(values, writer))
}

fn written<E>(write: impl FnOnce(&mut Writer<'_>) -> Result<(), E>) -> Option<Vec<u8>> {
    let mut buffer = vec![0; LONGEST_RECORD];
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer).ok()?;
    let length = writer.len();
    buffer.truncate(length);
    buffer.shrink_to_fit();
    Some(buffer)
}

/// The body of a record with at least `excess` bytes less, taken from its first text or list of adapters that has them.
fn cut(record: &RecordOut<'_>, excess: usize) -> Option<Vec<u8>> {
    let excess = excess.next_multiple_of(4);
    match record {
        RecordOut::Header(header) => {
            let left = header.bytes.len().checked_sub(excess)?;
            let header = decode::flow::SampledHeader { bytes: header.bytes.get(..left)?, ..*header };
            written(|writer| header.write(writer))
        }
        RecordOut::Fields(layout, values) => {
            let mut room = Vec::new();
            let mut values = values.to_vec();
            let at = values.iter().position(|value| size(value) >= excess)?;
            let shorter = match values.get(at)? {
                Value::Text(text) => Value::Text(text.get(..text.len().checked_sub(excess)?)?),
                Value::Adapters(adapters) => {
                    let count = first_adapters(adapters, excess, &mut room)?;
                    Value::Adapters(Adapters::from_bytes(count, &room))
                }
                _ => return None,
            };
            *values.get_mut(at)? = shorter;
            fields(layout, &values)
        }
        RecordOut::Raw(..) => None,
    }
}

/// Bytes that a text or a list of adapters can be cut by.
fn size(value: &Value<'_>) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Adapters(adapters) => adapters.iter().map(|(_, macs)| 8 + 8 * macs.iter().len()).sum(),
        _ => 0,
    }
}

/// Puts the first adapters into `room`, as many as leave out `excess` bytes; how many they are.
fn first_adapters(adapters: &Adapters<'_>, excess: usize, room: &mut Vec<u8>) -> Option<u32> {
    let left = size(&Value::Adapters(*adapters)).checked_sub(excess)?;
    let mut count = 0;
    for (index, macs) in adapters.iter() {
        let macs = macs.iter();
        if room.len() + 8 + 8 * macs.len() > left {
            break;
        }
        room.extend_from_slice(&index.to_be_bytes());
        room.extend_from_slice(&u32::try_from(macs.len()).ok()?.to_be_bytes());
        for mac in macs {
            room.extend_from_slice(&mac.0);
            room.extend_from_slice(&[0, 0]);
        }
        count += 1;
    }
    Some(count)
}
