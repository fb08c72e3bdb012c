//! How the atoms of a key are packed into the fixed number of words that a table's entries have.
//!
//! Each part of a key has a form that is known when the definition is compiled, and takes as many bytes as the
//! form needs: source and destination address with both ports are 12 bytes. Texts are numbers of the shard's
//! [`Texts`]. A part whose kind only the packet tells ([`Form::Any`]) carries a byte for the kind.

use decode::packet::LayerKind;
use decode::{Interface, Mac};

use super::atom::{Atom, Stack, encoded};
use super::texts::Texts;

/// What kind of value a part of a key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A number below 2^8.
    U8,
    /// A number below 2^16.
    U16,
    /// A number below 2^32.
    U32,
    /// Any number.
    U64,
    /// A flag.
    Bool,
    /// An Ethernet address.
    Mac,
    /// An IPv4 address.
    V4,
    /// An IPv6 address.
    V6,
    /// Bits and how many.
    Bits,
    /// An interface.
    Interface,
    /// The layers of a packet.
    Stack,
    /// A text.
    Text,
    /// Only the packet tells.
    Any,
}

impl Form {
    /// Bytes in a key.
    const fn width(self) -> usize {
        match self {
            Self::U8 | Self::Bool => 1,
            Self::U16 => 2,
            Self::Bits => 3,
            Self::U32 | Self::V4 | Self::Text => 4,
            Self::Mac => 6,
            Self::U64 | Self::Interface => 8,
            Self::V6 | Self::Stack => 16,
            Self::Any => 17,
        }
    }

    /// The form that holds this atom alone.
    const fn of(atom: &Atom<'_>) -> Self {
        match atom {
            Atom::Number(_) | Atom::Float(_) => Self::U64,
            Atom::Bool(_) => Self::Bool,
            Atom::Mac(_) => Self::Mac,
            Atom::V4(_) => Self::V4,
            Atom::V6(_) => Self::V6,
            Atom::Bits(..) => Self::Bits,
            Atom::Interface(_) => Self::Interface,
            Atom::Stack(_) => Self::Stack,
            Atom::Text(_) => Self::Text,
        }
    }
}

/// The kinds that a part of [`Form::Any`] may turn out to be: its first byte is the place in this list.
const KINDS: [Form; 9] = [
    Form::U64,
    Form::Bool,
    Form::Mac,
    Form::V4,
    Form::V6,
    Form::Bits,
    Form::Interface,
    Form::Stack,
    Form::Text,
];

/// The first byte of a float, which is no [`Form`] of its own.
const FLOAT: u8 = 0x80;

/// Bytes of a key at most, which bounds the parts of a definition.
pub const LONGEST_KEY: usize = 512;

/// A key under construction: the first [`KeyLayout::words`] words of it count.
pub type KeyBuffer = [u8; LONGEST_KEY];

/// The parts of a definition's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLayout {
    /// Each form, and where it begins.
    parts: Vec<(Form, usize)>,
    width: usize,
    has_texts: bool,
}

/// A key that is being packed.
pub(super) struct Parts<'p> {
    parts: std::slice::Iter<'p, (Form, usize)>,
    key: &'p mut KeyBuffer,
    texts: &'p mut Texts,
}

impl Parts<'_> {
    /// Packs the next part; `None` where the atom has another form, or there is no further part.
    #[inline]
    pub(super) fn put(&mut self, atom: &Atom<'_>) -> Option<()> {
        let (form, at) = self.parts.next()?;
        write(*form, atom, self.key.get_mut(*at..)?, self.texts)
    }
}

impl KeyLayout {
    /// The layout of these parts; `None` when they are longer than [`LONGEST_KEY`].
    pub fn new(forms: impl IntoIterator<Item = Form>) -> Option<Self> {
        let mut width = 0;
        let parts: Vec<_> = forms
            .into_iter()
            .map(|form| {
                let begins = width;
                width += form.width();
                (form, begins)
            })
            .collect();
        let has_texts = parts.iter().any(|(form, _)| matches!(form, Form::Text | Form::Any));
        (width <= LONGEST_KEY).then_some(Self { parts, width, has_texts })
    }

    /// Words of a key.
    pub fn words(&self) -> usize {
        self.width.div_ceil(8)
    }

    /// Whether a key may hold texts.
    #[inline]
    pub fn has_texts(&self) -> bool {
        self.has_texts
    }

    /// Packs atoms, one for each part. Each text is counted once more in `texts`, on behalf of the key. `None`, and
    /// nothing counted, when an atom has another form than its part or `texts` is full.
    #[inline]
    pub fn pack(&self, atoms: &[Atom<'_>], key: &mut KeyBuffer, texts: &mut Texts) -> Option<()> {
        key.get_mut(..self.words() * 8)?.fill(0);
        for (place, ((form, at), atom)) in self.parts.iter().zip(atoms).enumerate() {
            if write(*form, atom, key.get_mut(*at..)?, texts).is_none() {
                let packed = self.parts.iter().zip(atoms).take(place);
                for text in packed.filter_map(|(_, atom)| as_text(atom)) {
                    let id = texts.find(text);
                    id.into_iter().for_each(|id| texts.release(id));
                }
                return None;
            }
        }
        Some(())
    }

    /// Packs atoms one by one, in the order of the parts. Only for layouts without texts, of which nothing is left behind
    /// when one cannot be packed.
    #[inline]
    pub(super) fn parts<'p>(&'p self, key: &'p mut KeyBuffer, texts: &'p mut Texts) -> Option<Parts<'p>> {
        key.get_mut(..self.words() * 8)?.fill(0);
        Some(Parts { parts: self.parts.iter(), key, texts })
    }

    /// Gives back the texts of a key that is no longer needed.
    pub fn release(&self, key: &[u64], texts: &mut Texts) {
        if self.has_texts() {
            self.each(key, |part| {
                if let Part::Text(id) = part {
                    texts.release(id);
                }
            });
        }
    }

    /// The portable form of a key.
    pub fn portable(&self, key: &[u64], texts: &Texts) -> Box<[u8]> {
        let mut out = Vec::with_capacity(self.width + self.parts.len());
        self.append_portable(key, |id| texts.text(id), &mut out);
        out.into_boxed_slice()
    }

    /// Appends the portable form of a key.
    pub(super) fn append_portable<'t>(
        &self,
        key: &[u64],
        text_of: impl Fn(u32) -> &'t str,
        out: &mut Vec<u8>,
    ) {
        self.each(key, |part| match part {
            Part::Text(id) => Atom::Text(text_of(id)).pack(out),
            Part::Atom(atom) => atom.pack(out),
        });
    }

    /// The numbers of the texts that a key holds.
    pub(super) fn texts(&self, key: &[u64], mut take: impl FnMut(u32)) {
        self.each(key, |part| {
            if let Part::Text(id) = part {
                take(id);
            }
        });
    }

    /// The key that shows as this text, if all its texts are known. A part that only a packet tells may be read in
    /// several ways; the first one that is a key is taken.
    pub fn parse(&self, text: &str, separator: &str, texts: &Texts) -> Option<Box<KeyBuffer>> {
        let mut key = Box::new([0; LONGEST_KEY]);
        let mut rest = text;
        for (place, (form, at)) in self.parts.iter().enumerate() {
            // The last part takes all that is left: a text may hold the separator.
            let part = if place + 1 == self.parts.len() {
                std::mem::take(&mut rest)
            } else {
                let (part, following) = rest.split_once(separator)?;
                rest = following;
                part
            };
            let out = key.get_mut(*at..)?;
            if read_text(*form, part, out, texts).is_none() {
                // It may be a text as keys show it, with the separator encoded.
                let encoded = encoded(separator);
                let part = part.contains(&encoded).then(|| part.replace(&encoded, separator))?;
                read_text(*form, &part, out, texts)?;
            }
        }
        rest.is_empty().then_some(key)
    }

    /// The forms of the parts.
    pub fn forms(&self) -> impl Iterator<Item = Form> + '_ {
        self.parts.iter().map(|(form, _)| *form)
    }

    fn each(&self, key: &[u64], mut take: impl FnMut(Part)) {
        let mut bytes: KeyBuffer = [0; LONGEST_KEY];
        for (place, word) in bytes.chunks_exact_mut(8).zip(key) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        for (form, at) in &self.parts {
            if let Some(part) = bytes.get(*at..).and_then(|bytes| read(*form, bytes)) {
                take(part);
            }
        }
    }
}

/// A part of a key as it stands there.
enum Part {
    Atom(Atom<'static>),
    Text(u32),
}

fn as_text<'a>(atom: &Atom<'a>) -> Option<&'a str> {
    if let Atom::Text(text) = atom { Some(text) } else { None }
}

/// Writes an atom as its form has it.
#[inline]
fn write(form: Form, atom: &Atom<'_>, out: &mut [u8], texts: &mut Texts) -> Option<()> {
    fn put<const N: usize>(out: &mut [u8], bytes: [u8; N]) -> Option<()> {
        *out.first_chunk_mut::<N>()? = bytes;
        Some(())
    }
    match (form, atom) {
        (Form::V4, Atom::V4(address)) => put(out, address.octets()),
        (Form::V6, Atom::V6(address)) => put(out, address.octets()),
        (Form::U16, Atom::Number(number)) => put(out, u16::try_from(*number).ok()?.to_ne_bytes()),
        (Form::U8, Atom::Number(number)) => put(out, [u8::try_from(*number).ok()?]),
        (Form::U32, Atom::Number(number)) => put(out, u32::try_from(*number).ok()?.to_ne_bytes()),
        (Form::U64, Atom::Number(number)) => put(out, number.to_ne_bytes()),
        (Form::Bool, Atom::Bool(flag)) => put(out, [u8::from(*flag)]),
        (Form::Mac, Atom::Mac(mac)) => put(out, mac.0),
        (Form::Bits, Atom::Bits(bits, width)) => {
            let [a, b] = bits.to_ne_bytes();
            put(out, [a, b, *width])
        }
        (Form::Interface, Atom::Interface(interface)) => {
            put(out, (u64::from(interface.format) << 32 | u64::from(interface.value)).to_ne_bytes())
        }
        (Form::Stack, Atom::Stack(layers)) => put(out, *layers),
        (Form::Text, Atom::Text(text)) => put(out, texts.take(text)?.to_ne_bytes()),
        (Form::Any, atom) => {
            let (kind, rest) = out.split_first_mut()?;
            if let Atom::Float(number) = atom {
                *kind = FLOAT;
                return put(rest, number.to_bits().to_ne_bytes());
            }
            let form = Form::of(atom);
            *kind = KINDS.iter().position(|known| *known == form)? as u8;
            write(form, atom, rest, texts)
        }
        _ => None,
    }
}

/// The value of a text, for forms whose values are no texts.
pub(super) fn atom_of(form: Form, text: &str) -> Option<Atom<'static>> {
    Some(match form {
        Form::U8 | Form::U16 | Form::U32 | Form::U64 => Atom::Number(text.parse().ok()?),
        Form::Bool => Atom::Bool(text.parse().ok()?),
        Form::Mac => Atom::Mac(text.parse().ok()?),
        Form::V4 => Atom::V4(text.parse().ok()?),
        Form::V6 => Atom::V6(text.parse().ok()?),
        Form::Bits => Atom::Bits(u16::from_str_radix(text, 2).ok()?, u8::try_from(text.len()).ok()?),
        Form::Interface => Atom::Interface(match text {
            "internal" => Interface { format: 0, value: decode::sample::INTERNAL },
            "multiple" => Interface { format: 2, value: 0 },
            "discard" => Interface { format: 1, value: 0 },
            "unknown" => Interface { format: 0, value: 0 },
            index => Interface::index(index.parse().ok()?),
        }),
        Form::Stack => Atom::Stack(stack(text)?),
        Form::Text | Form::Any => return None,
    })
}

/// Writes the value of a text as its form has it.
fn read_text(form: Form, text: &str, out: &mut [u8], texts: &Texts) -> Option<()> {
    match form {
        Form::Text => {
            *out.first_chunk_mut()? = texts.find(text)?.to_ne_bytes();
            Some(())
        }
        Form::Any => {
            // An address or a number is one; what could be several kinds of thing is a text when a key has it.
            let kinds = [Form::V4, Form::V6, Form::Text, Form::U64, Form::Bool, Form::Mac, Form::Stack];
            kinds.iter().find_map(|form| {
                let (kind, rest) = out.split_first_mut()?;
                read_text(*form, text, rest, texts)?;
                *kind = KINDS.iter().position(|known| known == form)? as u8;
                Some(())
            })
        }
        // No text is among these atoms: an empty store serves.
        _ => write(form, &atom_of(form, text)?, out, &mut Texts::new(0)),
    }
}

fn stack(text: &str) -> Option<Stack> {
    let mut stack = Stack::default();
    let mut places = stack.iter_mut();
    for token in text.split('.') {
        let kind = LayerKind::ALL.iter().find(|kind| kind.token() == token)?;
        *places.next()? = *kind as u8 + 1;
    }
    Some(stack)
}

/// Reads what [`write`] wrote.
fn read(form: Form, bytes: &[u8]) -> Option<Part> {
    fn get<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
        bytes.first_chunk::<N>().copied()
    }
    Some(Part::Atom(match form {
        Form::U8 => Atom::Number(u64::from(*bytes.first()?)),
        Form::U16 => Atom::Number(u64::from(u16::from_ne_bytes(get(bytes)?))),
        Form::U32 => Atom::Number(u64::from(u32::from_ne_bytes(get(bytes)?))),
        Form::U64 => Atom::Number(u64::from_ne_bytes(get(bytes)?)),
        Form::Bool => Atom::Bool(*bytes.first()? != 0),
        Form::Mac => Atom::Mac(Mac(get(bytes)?)),
        Form::V4 => Atom::V4(get::<4>(bytes)?.into()),
        Form::V6 => Atom::V6(get::<16>(bytes)?.into()),
        Form::Bits => {
            let [a, b, width] = get(bytes)?;
            Atom::Bits(u16::from_ne_bytes([a, b]), width)
        }
        Form::Interface => {
            let word = u64::from_ne_bytes(get(bytes)?);
            Atom::Interface(Interface { format: (word >> 32) as u32, value: word as u32 })
        }
        Form::Stack => Atom::Stack(get::<{ size_of::<Stack>() }>(bytes)?),
        Form::Text => return Some(Part::Text(u32::from_ne_bytes(get(bytes)?))),
        Form::Any => {
            let (kind, rest) = bytes.split_first()?;
            if *kind == FLOAT {
                return Some(Part::Atom(Atom::Float(f64::from_bits(u64::from_ne_bytes(get(rest)?)))));
            }
            return read(*KINDS.get(usize::from(*kind))?, rest);
        }
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::flow::atom::key_text;

    fn words(layout: &KeyLayout, key: &KeyBuffer) -> Vec<u64> {
        let words = key.as_chunks::<8>().0.iter().take(layout.words());
        words.map(|bytes| u64::from_ne_bytes(*bytes)).collect()
    }

    #[test]
    fn every_form_is_packed_and_read_back_alone_and_as_any() {
        let atoms = [
            (Form::U8, Atom::Number(6)),
            (Form::U16, Atom::Number(65_535)),
            (Form::U32, Atom::Number(70_000)),
            (Form::U64, Atom::Number(u64::MAX)),
            (Form::Bool, Atom::Bool(true)),
            (Form::Mac, Atom::Mac(Mac([1, 2, 3, 4, 5, 6]))),
            (Form::V4, Atom::V4([10, 0, 0, 1].into())),
            (Form::V6, Atom::V6([7; 16].into())),
            (Form::Bits, Atom::Bits(5, 9)),
            (Form::Interface, Atom::Interface(Interface::index(3))),
            (Form::Stack, Atom::Stack([1; 16])),
            (Form::Text, Atom::Text("a")),
            (Form::Any, Atom::Float(0.5)),
        ];
        let mut texts = Texts::new(1 << 20);
        for any in [false, true] {
            let layout =
                KeyLayout::new(atoms.iter().map(|(form, _)| if any { Form::Any } else { *form })).unwrap();
            let values: Vec<Atom<'_>> = atoms.iter().map(|(_, atom)| *atom).collect();
            let mut key = [0xff; LONGEST_KEY];
            layout.pack(&values, &mut key, &mut texts).unwrap();
            let words = words(&layout, &key);
            let mut expected = Vec::new();
            values.iter().for_each(|atom| atom.pack(&mut expected));
            assert_eq!(key_text(&layout.portable(&words, &texts), ","), key_text(&expected, ","));
            layout.release(&words, &mut texts);
            assert_eq!(texts.len(), 0);
        }
    }

    #[test]
    fn what_is_shown_is_found() {
        let atoms = [
            Atom::V4([10, 0, 0, 1].into()),
            Atom::V6("2001:db8::1".parse().unwrap()),
            Atom::Number(443),
            Atom::Bool(false),
            Atom::Mac(Mac([0xa, 2, 3, 4, 5, 6])),
            Atom::Bits(5, 9),
            Atom::Interface(Interface { format: 2, value: 0 }),
            Atom::Stack({
                let mut stack = Stack::default();
                stack[0] = 1;
                stack
            }),
            Atom::Text("a,b"),
        ];
        let mut texts = Texts::new(1 << 20);
        for any in [false, true] {
            let forms =
                atoms.iter().filter(|atom| !any || !matches!(atom, Atom::Bits(..) | Atom::Interface(_)));
            let values: Vec<Atom<'_>> = forms.copied().collect();
            let form = |atom: &Atom<'_>| if any { Form::Any } else { Form::of(atom) };
            let layout = KeyLayout::new(values.iter().map(form)).unwrap();
            let mut key = [0; LONGEST_KEY];
            layout.pack(&values, &mut key, &mut texts).unwrap();
            let shown = key_text(&layout.portable(&words(&layout, &key), &texts), ",");
            let found = layout.parse(&shown, ",", &texts).unwrap();
            assert_eq!(found[..layout.words() * 8], key[..layout.words() * 8], "{shown}");
            assert_eq!(layout.parse("10.0.0.1", ",", &texts), None, "parts are missing");
        }
    }

    #[test]
    fn addresses_and_ports_are_twelve_bytes() {
        let layout = KeyLayout::new([Form::V4, Form::V4, Form::U16, Form::U16]).unwrap();
        assert_eq!((layout.width, layout.words()), (12, 2));
        assert_eq!(KeyLayout::new(vec![Form::V6; 33]), None);
    }

    #[test]
    fn an_atom_of_another_form_is_no_key_and_counts_no_text() {
        let mut texts = Texts::new(1 << 20);
        let layout = KeyLayout::new([Form::Text, Form::U16]).unwrap();
        let mut key = [0; LONGEST_KEY];
        assert_eq!(layout.pack(&[Atom::Text("a"), Atom::Number(70_000)], &mut key, &mut texts), None);
        assert_eq!(texts.len(), 0);
    }
}
