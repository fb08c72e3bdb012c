//! What one record said, kept until somebody asks.

use decode::layout::{Fields, Kind, Layout, Value};

use super::growth::raw;

/// The fields of one record that have a fixed size, and of other records the numbers.
///
/// Most structures have fields of fixed size alone. Their bytes are kept as they came: one copy, where reading them costs
/// ten times as much, and most are never asked for.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
}

/// Bytes of a number of a record with fields of any size.
const WORD: usize = 8;

impl Kept {
    /// Keeps a record in place of the one before.
    #[inline]
    pub(super) fn keep(&mut self, fields: &Fields<'_>) {
        self.bytes.clear();
        match fields.fixed() {
            Some(bytes) => self.bytes.extend_from_slice(bytes),
            None => {
                let words = fields.iter().map(|(_, value)| word(value).to_be_bytes());
                words.for_each(|word| self.bytes.extend_from_slice(&word));
            }
        }
    }

    /// The field at a place of the structure that the record is of, as it was sent; `None` where it was not.
    pub(super) fn sent(&self, layout: &'static Layout, at: usize) -> Option<Value<'_>> {
        if layout.size.is_some() {
            return Fields::new(layout, &self.bytes).get(at);
        }
        let word = self.bytes.get(at * WORD..)?.first_chunk().map(|word| u64::from_be_bytes(*word))?;
        number(layout.fields.get(at)?.kind, word)
    }

    /// The same, and `None` too where it is all ones: the sender does not know it.
    pub(super) fn get(&self, layout: &'static Layout, at: usize) -> Option<Value<'_>> {
        let is_known = |value: &Value<'_>| !matches!(value, Value::U32(u32::MAX) | Value::U64(u64::MAX));
        self.sent(layout, at).filter(is_known)
    }
}

/// A field as the number that it is kept as.
fn word(value: Value<'_>) -> u64 {
    match value {
        Value::F32(number) => number.to_bits().into(),
        other => raw(other),
    }
}

/// The field that was kept as a number.
fn number(kind: Kind, word: u64) -> Option<Value<'static>> {
    match kind {
        Kind::U32 => u32::try_from(word).ok().map(Value::U32),
        Kind::U64 => Some(Value::U64(word)),
        Kind::F32 => u32::try_from(word).ok().map(|bits| Value::F32(f32::from_bits(bits))),
        Kind::Byte => u8::try_from(word).ok().map(Value::Byte),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use decode::counter;
    use decode::xdr::Writer;

    use super::*;

    fn kept(layout: &'static Layout, values: &[Value<'_>]) -> Kept {
        let mut buffer = [0; 512];
        let mut writer = Writer::new(&mut buffer);
        layout.write(values, &mut writer).unwrap();
        let mut kept = Kept::default();
        kept.keep(&Fields::new(layout, writer.written()));
        kept
    }

    /// Of every structure each field that is a number is given back, whatever stands beside it.
    #[test]
    fn numbers_are_given_back_and_all_ones_are_not() {
        for layout in counter::LAYOUTS {
            let value = |at: usize, ones: bool| match layout.fields.get(at).unwrap().kind {
                Kind::U32 => Value::U32(if ones { u32::MAX } else { 5 + at as u32 }),
                Kind::U64 => Value::U64(if ones { u64::MAX } else { 1 << 40 | at as u64 }),
                Kind::F32 => Value::F32(at as f32 + 0.5),
                Kind::Byte => Value::Byte(at as u8),
                Kind::Text => Value::Text(b"longer than a word"),
                Kind::Uuid => Value::Uuid([7; 16]),
                Kind::Mac => Value::Mac(Default::default()),
                Kind::Adapters => Value::Adapters(Default::default()),
                Kind::Lanes => Value::Lanes(Default::default()),
                other => panic!("{other:?}: no counter has it"),
            };
            let is_number = |value: &Value<'_>| {
                matches!(value, Value::U32(_) | Value::U64(_) | Value::F32(_) | Value::Byte(_))
            };
            for sent in 0..=layout.fields.len() {
                for ones in [false, true] {
                    let values: Vec<Value<'_>> = (0..sent).map(|at| value(at, ones)).collect();
                    let kept = kept(layout, &values);
                    for at in 0..layout.fields.len() {
                        let wanted = values.get(at).copied().filter(is_number);
                        let is_ones = matches!(wanted, Some(Value::U32(u32::MAX) | Value::U64(u64::MAX)));
                        let found = kept.get(layout, at).filter(is_number);
                        assert_eq!(found, wanted.filter(|_| !is_ones), "{} {at}", layout.name);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_appended_to_a_record_takes_no_room() {
        let mut kept = Kept::default();
        kept.keep(&Fields::new(&counter::IF_COUNTERS, &[1; 60_000]));
        assert_eq!((kept.bytes.len(), counter::IF_COUNTERS.size), (88, Some(88)));
    }
}
