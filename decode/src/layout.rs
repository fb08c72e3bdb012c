//! Structures as tables of fields: one table serves reading, writing, printing and the manual.
//!
//! A record is read by its own length, never by a fixed structure: senders leave out fields at the end and
//! append new ones. Fields that are not there are absent, bytes after the last known field are ignored.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::address::{Address, AddressError, Mac};
use crate::record::Tag;
use crate::xdr::{Full, Reader, Truncated, Writer};

/// How a field stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Unsigned word.
    U32,
    /// Unsigned hyper.
    U64,
    /// IEEE 754 single precision.
    F32,
    /// One of the four bytes of a word.
    Byte,
    /// Ethernet address in two words.
    Mac,
    /// IPv4 address without a type.
    Ip4,
    /// IPv6 address without a type.
    Ip6,
    /// Address with its type.
    Address,
    /// String or opaque.
    Text,
    /// Sixteen bytes.
    Uuid,
    /// Counted words.
    Words,
    /// Counted path segments: type, counted AS numbers.
    AsPath,
    /// Counted adapters: ifIndex, counted MAC addresses.
    Adapters,
    /// Counted optical lanes of ten words.
    Lanes,
}

/// A field of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name that the reference decoder prints.
    pub name: &'static str,
    /// How it stands on the wire.
    pub kind: Kind,
}

/// A structure.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// Its tag.
    pub tag: Tag,
    /// The specification's name of it.
    pub name: &'static str,
    /// Its fields in order.
    pub fields: &'static [Field],
    /// Bytes of all fields, where each has a fixed size, so that no length inside can lie.
    pub size: Option<usize>,
}

impl Layout {
    /// The place of the field with this name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// Whether every length inside `body` is within it.
    pub fn is_sound(&'static self, body: &[u8]) -> bool {
        if self.size.is_some() {
            return true;
        }
        let mut reader = Reader::new(body);
        self.fields.iter().all(|field| match Value::read(field.kind, &mut reader) {
            Ok(_) => true,
            // What is left is shorter than the smallest value of this kind: absent, not lying.
            Err(Truncated) => reader.remaining() < 4,
        })
    }

    /// Writes the values of the first fields; fewer values than fields leave out the tail.
    ///
    /// # Errors
    /// The buffer is full, or a value is not of its field's kind.
    pub fn write(&self, values: &[Value<'_>], writer: &mut Writer<'_>) -> Result<(), Full> {
        self.fields.iter().zip(values).try_for_each(|(field, value)| value.write(field.kind, writer))
    }
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// [`Kind::U32`]
    U32(u32),
    /// [`Kind::U64`]
    U64(u64),
    /// [`Kind::F32`]
    F32(f32),
    /// [`Kind::Byte`]
    Byte(u8),
    /// [`Kind::Mac`]
    Mac(Mac),
    /// [`Kind::Ip4`]
    Ip4(Ipv4Addr),
    /// [`Kind::Ip6`]
    Ip6(Ipv6Addr),
    /// [`Kind::Address`]
    Address(Address),
    /// [`Kind::Text`]: the bytes as sent, in no promised encoding.
    Text(&'a [u8]),
    /// [`Kind::Uuid`]
    Uuid([u8; 16]),
    /// [`Kind::Words`]
    Words(Words<'a>),
    /// [`Kind::AsPath`]
    AsPath(AsPath<'a>),
    /// [`Kind::Adapters`]
    Adapters(Adapters<'a>),
    /// [`Kind::Lanes`]
    Lanes(Lanes<'a>),
}

impl<'a> Value<'a> {
    #[inline]
    fn read(kind: Kind, reader: &mut Reader<'a>) -> Result<Self, Truncated> {
        // A value that does not fit consumes nothing, so that `is_sound` can tell absent from lying.
        let mut ahead = *reader;
        let value = match kind {
            Kind::U32 => Self::U32(ahead.u32()?),
            Kind::U64 => Self::U64(ahead.u64()?),
            Kind::F32 => Self::F32(f32::from_bits(ahead.u32()?)),
            Kind::Byte => ahead.array::<1>().map(|[b]| Self::Byte(b))?,
            Kind::Mac => Self::Mac(Mac::read(&mut ahead)?),
            Kind::Ip4 => Self::Ip4(ahead.array::<4>()?.into()),
            Kind::Ip6 => Self::Ip6(ahead.array::<16>()?.into()),
            Kind::Address => Self::Address(Address::read(&mut ahead).map_err(|e| match e {
                AddressError::Truncated | AddressError::Type => Truncated,
            })?),
            Kind::Text => Self::Text(ahead.opaque()?),
            Kind::Uuid => Self::Uuid(ahead.array()?),
            Kind::Words => Self::Words(Words::read(&mut ahead)?),
            Kind::AsPath => Self::AsPath(AsPath::read(&mut ahead)?),
            Kind::Adapters => Self::Adapters(Adapters::read(&mut ahead)?),
            Kind::Lanes => Self::Lanes(Lanes::read(&mut ahead)?),
        };
        *reader = ahead;
        Ok(value)
    }

    fn write(&self, kind: Kind, writer: &mut Writer<'_>) -> Result<(), Full> {
        match (kind, self) {
            (Kind::U32, Self::U32(v)) => writer.u32(*v),
            (Kind::U64, Self::U64(v)) => writer.u64(*v),
            (Kind::F32, Self::F32(v)) => writer.u32(v.to_bits()),
            (Kind::Byte, Self::Byte(v)) => writer.bytes(&[*v]),
            (Kind::Mac, Self::Mac(v)) => v.write(writer),
            (Kind::Ip4, Self::Ip4(v)) => writer.bytes(&v.octets()),
            (Kind::Ip6, Self::Ip6(v)) => writer.bytes(&v.octets()),
            (Kind::Address, Self::Address(v)) => v.write(writer),
            (Kind::Text, Self::Text(v)) => writer.opaque(v),
            (Kind::Uuid, Self::Uuid(v)) => writer.bytes(v),
            (Kind::Words, Self::Words(v)) => counted(writer, v.bytes.len() / 4, v.bytes),
            (Kind::AsPath, Self::AsPath(v)) => counted(writer, v.segments as usize, v.bytes),
            (Kind::Adapters, Self::Adapters(v)) => counted(writer, v.count as usize, v.bytes),
            (Kind::Lanes, Self::Lanes(v)) => counted(writer, v.bytes.len() / LANE_BYTES, v.bytes),
            _ => Err(Full),
        }
    }

    /// The value as an unsigned number, for the kinds that are one.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::U32(v) => Some(v.into()),
            Self::U64(v) => Some(v),
            Self::Byte(v) => Some(v.into()),
            _ => None,
        }
    }

    /// The value as text, for [`Value::Text`].
    pub fn as_text(&self) -> Option<&'a [u8]> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

fn counted(writer: &mut Writer<'_>, count: usize, bytes: &[u8]) -> Result<(), Full> {
    writer.u32(u32::try_from(count).map_err(|_| Full)?)?;
    writer.bytes(bytes)
}

/// `count * size` bytes, where neither can lie.
fn sized<'a>(reader: &mut Reader<'a>, count: u32, size: usize) -> Result<&'a [u8], Truncated> {
    let bytes = usize::try_from(count).ok().and_then(|n| n.checked_mul(size)).ok_or(Truncated)?;
    reader.take(bytes)
}

/// Counted words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Words<'a> {
    bytes: &'a [u8],
}

impl<'a> Words<'a> {
    /// Words from bytes; what is left of a word at the end is ignored.
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        Self { bytes: bytes.get(..bytes.len() & !3).unwrap_or_default() }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Truncated> {
        let count = reader.u32()?;
        sized(reader, count, 4).map(|bytes| Self { bytes })
    }

    /// The words in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator + use<'a> {
        self.bytes.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.bytes.len() / 4
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// An AS path in segments (sFlow v5, `as_path_type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsPath<'a> {
    segments: u32,
    bytes: &'a [u8],
}

/// `AS_SET`: an unordered segment.
pub const AS_SET: u32 = 1;
/// `AS_SEQUENCE`: an ordered segment.
pub const AS_SEQUENCE: u32 = 2;

impl<'a> AsPath<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Truncated> {
        let segments = reader.u32()?;
        let all = reader.rest();
        for _ in 0..segments {
            reader.u32()?;
            Words::read(reader)?;
        }
        let length = all.len() - reader.remaining();
        Ok(Self { segments, bytes: all.get(..length).unwrap_or_default() })
    }

    /// A path from its segments as they stand on the wire: type, count, AS numbers, for each.
    pub fn from_bytes(segments: u32, bytes: &'a [u8]) -> Self {
        Self { segments, bytes }
    }

    /// Segments in order: type and AS numbers.
    pub fn segments(&self) -> impl Iterator<Item = (u32, Words<'a>)> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        (0..self.segments).map_while(move |_| Some((reader.u32().ok()?, Words::read(&mut reader).ok()?)))
    }

    /// The first AS of the path: the neighbour.
    pub fn first(&self) -> Option<u32> {
        self.segments().next().and_then(|(_, numbers)| numbers.iter().next())
    }

    /// The last AS of the path: the destination.
    pub fn last(&self) -> Option<u32> {
        self.segments().last().and_then(|(_, numbers)| numbers.iter().next_back())
    }
}

/// The adapters of a host (sFlow Host Structures, `host_adapters`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adapters<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> Adapters<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Truncated> {
        let count = reader.u32()?;
        let all = reader.rest();
        for _ in 0..count {
            reader.u32()?;
            let macs = reader.u32()?;
            sized(reader, macs, 8)?;
        }
        let length = all.len() - reader.remaining();
        Ok(Self { count, bytes: all.get(..length).unwrap_or_default() })
    }

    /// Adapters as they stand on the wire: ifIndex, count, MAC addresses in eight bytes, for each.
    pub fn from_bytes(count: u32, bytes: &'a [u8]) -> Self {
        Self { count, bytes }
    }

    /// Each adapter's ifIndex and MAC addresses.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Macs<'a>)> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        (0..self.count).map_while(move |_| {
            let index = reader.u32().ok()?;
            let macs = reader.u32().ok()?;
            Some((index, Macs(sized(&mut reader, macs, 8).ok()?)))
        })
    }

    /// How many adapters.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The MAC addresses of an adapter.
#[derive(Clone, Copy, Debug)]
pub struct Macs<'a>(&'a [u8]);

impl<'a> Macs<'a> {
    /// The addresses in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Mac> + use<'a> {
        self.0.as_chunks::<8>().0.iter().map(|&[a, b, c, d, e, f, ..]| Mac([a, b, c, d, e, f]))
    }
}

const LANE_BYTES: usize = 40;

/// The lanes of an optical module (sFlow Optical Interface Structures, `lane`): ten words each, in the order
/// index, tx bias current, tx power, tx power min, tx power max, tx wavelength, rx power, rx power min, rx
/// power max, rx wavelength.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lanes<'a> {
    bytes: &'a [u8],
}

impl<'a> Lanes<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Truncated> {
        let count = reader.u32()?;
        sized(reader, count, LANE_BYTES).map(|bytes| Self { bytes })
    }

    /// Lanes as they stand on the wire; what is left of a lane at the end is ignored.
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        Self { bytes: bytes.get(..bytes.len() / LANE_BYTES * LANE_BYTES).unwrap_or_default() }
    }

    /// The lanes in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Words<'a>> + use<'a> {
        self.bytes.as_chunks::<LANE_BYTES>().0.iter().map(|lane| Words { bytes: lane })
    }
}

/// A record read through its layout.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// Which structure it is.
    pub layout: &'static Layout,
    body: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of `body`, which is of this layout.
    pub fn new(layout: &'static Layout, body: &'a [u8]) -> Self {
        Self { layout, body }
    }

    /// The bytes of the fields where each has a fixed size: a record of the same fields, without what is appended to it.
    #[inline]
    pub fn fixed(&self) -> Option<&'a [u8]> {
        self.layout.size.map(|size| self.body.get(..size).unwrap_or(self.body))
    }

    /// The fields that are there, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Field, Value<'a>)> + use<'a> {
        let mut reader = Reader::new(self.body);
        self.layout
            .fields
            .iter()
            .map_while(move |field| Value::read(field.kind, &mut reader).ok().map(|value| (field, value)))
    }

    /// The field at this place, when it is there.
    pub fn get(&self, position: usize) -> Option<Value<'a>> {
        self.iter().nth(position).map(|(_, value)| value)
    }

    /// The field with this name, when it is there.
    pub fn named(&self, name: &str) -> Option<Value<'a>> {
        self.iter().find(|(field, _)| field.name == name).map(|(_, value)| value)
    }
}

/// Declares structures: a static for each, `LAYOUTS` with all of them, and `find` by tag.
macro_rules! layouts {
    ($($(#[$doc:meta])* $name:ident = $enterprise:literal : $format:literal $text:literal
        { $($field:literal $kind:ident),* $(,)? })*) => {
        $(
            $(#[$doc])*
            pub static $name: $crate::layout::Layout = $crate::layout::Layout {
                tag: $crate::record::Tag::new($enterprise, $format),
                name: $text,
                fields: &[$($crate::layout::Field { name: $field, kind: $crate::layout::Kind::$kind }),*],
                size: $crate::layout::size(&[$($crate::layout::Kind::$kind),*]),
            };
        )*

        /// Every structure of the table.
        pub static LAYOUTS: &[&$crate::layout::Layout] = &[$(&$name),*];

        /// The structure with this tag.
        #[inline]
        pub fn find(tag: $crate::record::Tag) -> Option<&'static $crate::layout::Layout> {
            match (tag.enterprise(), tag.format()) {
                $(($enterprise, $format) => Some(&$name),)*
                _ => None,
            }
        }
    };
}
pub(crate) use layouts;

/// Bytes of fields of these kinds; `None` where one has no fixed size.
pub(crate) const fn size(kinds: &[Kind]) -> Option<usize> {
    let (mut i, mut bytes) = (0, 0);
    while i < kinds.len() {
        #[allow(
            clippy::indexing_slicing,
            reason = "the index is below the length; const fn has no iterators"
        )]
        let kind = kinds[i];
        bytes += match kind {
            Kind::Byte => 1,
            Kind::U32 | Kind::F32 | Kind::Ip4 => 4,
            Kind::U64 | Kind::Mac => 8,
            Kind::Ip6 | Kind::Uuid => 16,
            Kind::Address | Kind::Text | Kind::Words | Kind::AsPath | Kind::Adapters | Kind::Lanes => {
                return None;
            }
        };
        i += 1;
    }
    Some(bytes)
}
