//! How the atoms of a key are packed into the fixed number of words that a table's entries have.
//!
//! Each part of a key has a form that is known when the definition is compiled, and is a number of as many bytes as the
//! form needs: source and destination address with both ports are 12 bytes. Texts are numbers of the shard's
//! [`Texts`]. A part whose kind only the packet tells ([`Form::Any`], [`Form::Plain`]) has a byte for the kind beside.
//!
//! The largest parts come first, so that none of up to eight bytes lies in two words: packing is a shift and an or,
//! and the fields of a header need not even become atoms, see [`super::recipe`].

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
    /// Only the packet tells, but it is no text.
    Plain,
    /// Only the packet tells.
    Any,
}

impl Form {
    /// Bytes in a key, but for the kind.
    const fn width(self) -> usize {
        match self {
            Self::U8 | Self::Bool => 1,
            Self::U16 => 2,
            Self::Bits => 3,
            Self::U32 | Self::V4 | Self::Text => 4,
            Self::Mac => 6,
            Self::U64 | Self::Interface => 8,
            Self::V6 | Self::Stack | Self::Plain | Self::Any => WIDE,
        }
    }

    /// Whether only the packet tells the kind.
    pub(super) const fn is_open(self) -> bool {
        matches!(self, Self::Plain | Self::Any)
    }

    /// Whether a value may be a text.
    const fn may_be_text(self) -> bool {
        matches!(self, Self::Text | Self::Any)
    }

    /// The form of a value that is one of two.
    pub(super) fn either(self, other: Self) -> Self {
        if self == other {
            self
        } else if self.may_be_text() || other.may_be_text() {
            Self::Any
        } else {
            Self::Plain
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

/// Bytes of a number that takes two words.
const WIDE: usize = 16;

/// The kinds that an open part may turn out to be: its kind is the place in this list.
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

/// The kind of a float, which is no [`Form`] of its own.
const FLOAT: u64 = 0x80;

/// Bytes of a key at most, which bounds the parts of a definition.
pub const LONGEST_KEY: usize = 512;

/// Words of a key at most.
pub const MOST_WORDS: usize = LONGEST_KEY / 8;

/// Room for any key: the first [`KeyLayout::words`] words count.
pub type KeyBuffer = [u64; MOST_WORDS];

/// Where a number of up to eight bytes is: in which word, and how far to the left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) word: usize,
    pub(super) left: u32,
}

/// A part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) form: Form,
    /// Its number; of a wide one the lower half, whose upper half is the word before.
    pub(super) slot: Slot,
    /// The kind of an open one.
    kind: Slot,
}

impl Slot {
    #[inline]
    pub(super) fn put(self, number: u64, words: &mut [u64]) -> Option<()> {
        *words.get_mut(self.word)? |= number << self.left;
        Some(())
    }
}

impl Part {
    fn is_wide(&self) -> bool {
        self.form.width() == WIDE
    }

    /// Packs a number. Its place is still zero.
    #[inline]
    fn put(&self, number: u128, words: &mut [u64]) -> Option<()> {
        if self.is_wide() {
            *words.get_mut(self.slot.word.checked_sub(1)?)? = (number >> 64) as u64;
        }
        self.slot.put(number as u64, words)
    }

    /// The number.
    fn get(&self, words: &[u64]) -> Option<u128> {
        let low = *words.get(self.slot.word)?;
        if self.is_wide() {
            let high = *words.get(self.slot.word.checked_sub(1)?)?;
            return Some(u128::from(high) << 64 | u128::from(low));
        }
        let bits = self.form.width() as u32 * 8;
        Some(u128::from(low >> self.slot.left & u64::MAX >> (64 - bits)))
    }

    /// Packs the kind where the part is open; `None` where it is that of another form.
    #[inline]
    pub(super) fn put_kind(&self, form: Form, words: &mut [u64]) -> Option<()> {
        if !self.form.is_open() {
            return (self.form == form).then_some(());
        }
        let form = match form {
            Form::U8 | Form::U16 | Form::U32 => Form::U64,
            other => other,
        };
        self.kind.put(KINDS.iter().position(|known| *known == form)? as u64, words)
    }

    /// Packs an atom; `None` where its form is another one, or there is no room for its text.
    #[inline]
    pub(super) fn write(&self, atom: &Atom<'_>, words: &mut [u64], texts: &mut Texts) -> Option<()> {
        if let Atom::Text(text) = atom {
            if !self.form.may_be_text() {
                return None;
            }
            let id = texts.take(text)?;
            self.put_kind(Form::Text, words)?;
            return self.put(id.into(), words);
        }
        if !self.form.is_open() {
            return self.put(number_of(self.form, atom)?, words);
        }
        if let Atom::Float(number) = atom {
            self.kind.put(FLOAT, words)?;
            return self.put(number.to_bits().into(), words);
        }
        let form = Form::of(atom);
        self.put_kind(form, words)?;
        self.put(number_of(form, atom)?, words)
    }

    /// What was packed.
    fn read(&self, words: &[u64]) -> Option<Held> {
        let number = self.get(words)?;
        let kind = *words.get(self.kind.word)? >> self.kind.left & 0xff;
        if self.form.is_open() && kind == FLOAT {
            return Some(Held::Atom(Atom::Float(f64::from_bits(number as u64))));
        }
        let form = if self.form.is_open() { *KINDS.get(kind as usize)? } else { self.form };
        if form == Form::Text {
            return Some(Held::Text(number as u32));
        }
        atom_from(form, number).map(Held::Atom)
    }

    /// Packs the value that shows as this text.
    fn parse(&self, text: &str, words: &mut [u64], texts: &Texts) -> Option<()> {
        let mut one = |form: Form| {
            let number = match form {
                Form::Text => texts.find(text)?.into(),
                form => number_of(form, &atom_of(form, text)?)?,
            };
            self.put_kind(form, words)?;
            self.put(number, words)
        };
        if !self.form.is_open() {
            return one(self.form);
        }
        // An address or a number is one; what could be several kinds of thing is a text when a key has it.
        let kinds = [Form::V4, Form::V6, Form::Text, Form::U64, Form::Bool, Form::Mac, Form::Stack];
        kinds.into_iter().filter(|kind| *kind != Form::Text || self.form.may_be_text()).find_map(one)
    }
}

/// The parts of a definition's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLayout {
    parts: Vec<Part>,
    words: usize,
    has_texts: bool,
}

/// Finds room for numbers, the largest first, so that each lies within a word.
fn arrange(widths: &[usize]) -> (Vec<Slot>, usize) {
    let mut order: Vec<usize> = (0..widths.len()).collect();
    order.sort_by_key(|place| std::cmp::Reverse(widths.get(*place)));
    let mut slots = vec![Slot { word: 0, left: 0 }; widths.len()];
    // Bytes of each word that are taken.
    let mut taken: Vec<usize> = Vec::new();
    for place in order {
        let (Some(width), Some(slot)) = (widths.get(place).copied(), slots.get_mut(place)) else { continue };
        if width == WIDE {
            taken.extend([8, 8]);
            *slot = Slot { word: taken.len() - 1, left: 0 };
            continue;
        }
        let word = taken.iter().position(|taken| taken + width <= 8).unwrap_or_else(|| {
            taken.push(0);
            taken.len() - 1
        });
        if let Some(taken) = taken.get_mut(word) {
            // From the front, as in a header: what is neighbours there may be loaded as one.
            *taken += width;
            *slot = Slot { word, left: (8 - *taken) as u32 * 8 };
        }
    }
    (slots, taken.len())
}

impl KeyLayout {
    /// The layout of these parts; `None` when they are longer than [`LONGEST_KEY`].
    pub fn new(forms: impl IntoIterator<Item = Form>) -> Option<Self> {
        let forms: Vec<Form> = forms.into_iter().collect();
        let open = forms.iter().filter(|form| form.is_open());
        let widths: Vec<usize> = forms.iter().map(|form| form.width()).chain(open.map(|_| 1)).collect();
        let (slots, words) = arrange(&widths);
        let (values, kinds) = slots.split_at_checked(forms.len())?;
        let mut kinds = kinds.iter();
        let part = |(form, slot): (&Form, &Slot)| {
            let kind = if form.is_open() { kinds.next() } else { None };
            Part { form: *form, slot: *slot, kind: *kind.unwrap_or(slot) }
        };
        let parts = forms.iter().zip(values).map(part).collect();
        let has_texts = forms.iter().any(|form| form.may_be_text());
        (words <= MOST_WORDS).then_some(Self { parts, words, has_texts })
    }

    /// Words of a key.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Whether a key may hold texts.
    #[inline]
    pub fn has_texts(&self) -> bool {
        self.has_texts
    }

    /// Packs atoms, one for each part. Each text is counted once more in `texts`, on behalf of the key. `None`, and
    /// nothing counted, when an atom has another form than its part or `texts` is full.
    #[inline]
    pub fn pack(&self, atoms: &[Atom<'_>], key: &mut [u64], texts: &mut Texts) -> Option<()> {
        key.get_mut(..self.words)?.fill(0);
        self.add(self.parts.iter().zip(atoms), key, texts)
    }

    /// Packs atoms into parts whose places are still zero, as [`KeyLayout::pack`] does.
    #[inline]
    pub(super) fn add<'p>(
        &self,
        atoms: impl Iterator<Item = (&'p Part, &'p Atom<'p>)> + Clone,
        key: &mut [u64],
        texts: &mut Texts,
    ) -> Option<()> {
        for (place, (part, atom)) in atoms.clone().enumerate() {
            if part.write(atom, key, texts).is_none() {
                for text in atoms.take(place).filter_map(|(_, atom)| as_text(atom)) {
                    let id = texts.find(text);
                    id.into_iter().for_each(|id| texts.release(id));
                }
                return None;
            }
        }
        Some(())
    }

    /// Whether an atom is a value of this form.
    pub(super) fn holds(form: Form, atom: &Atom<'_>) -> bool {
        number_of(form, atom).is_some()
    }

    /// The part of the key at this place of the definition.
    #[inline]
    pub(super) fn part(&self, place: usize) -> Option<&Part> {
        self.parts.get(place)
    }

    /// Gives back the texts of a key that is no longer needed.
    pub fn release(&self, key: &[u64], texts: &mut Texts) {
        self.texts(key, |id| texts.release(id));
    }

    /// The portable form of a key.
    pub fn portable(&self, key: &[u64], texts: &Texts) -> Box<[u8]> {
        let mut out = Vec::with_capacity(self.words * 8 + self.parts.len());
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
        for part in &self.parts {
            match part.read(key) {
                Some(Held::Text(id)) => Atom::Text(text_of(id)).pack(out),
                Some(Held::Atom(atom)) => atom.pack(out),
                None => {}
            }
        }
    }

    /// The numbers of the texts that a key holds.
    pub(super) fn texts(&self, key: &[u64], mut take: impl FnMut(u32)) {
        for part in self.parts.iter().filter(|part| part.form.may_be_text()) {
            if let Some(Held::Text(id)) = part.read(key) {
                take(id);
            }
        }
    }

    /// The key that shows as this text, if all its texts are known. A part that only a packet tells may be read in
    /// several ways; the first one that is a key is taken.
    pub fn parse(&self, text: &str, separator: &str, texts: &Texts) -> Option<Box<KeyBuffer>> {
        let mut key = Box::new([0; MOST_WORDS]);
        let mut rest = text;
        for (place, part) in self.parts.iter().enumerate() {
            // The last part takes all that is left: a text may hold the separator.
            let shown = if place + 1 == self.parts.len() {
                std::mem::take(&mut rest)
            } else {
                let (shown, following) = rest.split_once(separator)?;
                rest = following;
                shown
            };
            if part.parse(shown, key.as_mut_slice(), texts).is_none() {
                // It may be a text as keys show it, with the separator encoded.
                let encoded = encoded(separator);
                let shown = shown.contains(&encoded).then(|| shown.replace(&encoded, separator))?;
                part.parse(&shown, key.as_mut_slice(), texts)?;
            }
        }
        rest.is_empty().then_some(key)
    }

    /// The forms of the parts.
    pub fn forms(&self) -> impl Iterator<Item = Form> + '_ {
        self.parts.iter().map(|part| part.form)
    }
}

/// A part of a key as it stands there.
enum Held {
    Atom(Atom<'static>),
    Text(u32),
}

fn as_text<'a>(atom: &Atom<'a>) -> Option<&'a str> {
    if let Atom::Text(text) = atom { Some(text) } else { None }
}

/// The number that an atom of a form is in a key.
#[inline]
fn number_of(form: Form, atom: &Atom<'_>) -> Option<u128> {
    Some(match (form, atom) {
        (Form::V4, Atom::V4(address)) => address.to_bits().into(),
        (Form::V6, Atom::V6(address)) => address.to_bits(),
        (Form::U16, Atom::Number(number)) => u16::try_from(*number).ok()?.into(),
        (Form::U8, Atom::Number(number)) => u8::try_from(*number).ok()?.into(),
        (Form::U32, Atom::Number(number)) => u32::try_from(*number).ok()?.into(),
        (Form::U64, Atom::Number(number)) => (*number).into(),
        (Form::Bool, Atom::Bool(flag)) => u128::from(*flag),
        (Form::Mac, Atom::Mac(Mac([a, b, c, d, e, f]))) => {
            u64::from_be_bytes([0, 0, *a, *b, *c, *d, *e, *f]).into()
        }
        (Form::Bits, Atom::Bits(bits, width)) => bits_number(*bits, *width).into(),
        (Form::Interface, Atom::Interface(interface)) => interface_number(*interface).into(),
        (Form::Stack, Atom::Stack(layers)) => u128::from_be_bytes(*layers),
        _ => return None,
    })
}

/// The number of bits and how many they are.
pub(super) fn bits_number(bits: u16, width: u8) -> u64 {
    u64::from(bits) << 8 | u64::from(width)
}

/// The number of an interface.
#[inline]
pub(super) fn interface_number(interface: Interface) -> u64 {
    u64::from(interface.format) << 32 | u64::from(interface.value)
}

/// What [`number_of`] made a number of.
fn atom_from(form: Form, number: u128) -> Option<Atom<'static>> {
    Some(match form {
        Form::U8 | Form::U16 | Form::U32 | Form::U64 => Atom::Number(number as u64),
        Form::Bool => Atom::Bool(number != 0),
        Form::Mac => {
            let [_, _, mac @ ..] = (number as u64).to_be_bytes();
            Atom::Mac(Mac(mac))
        }
        Form::V4 => Atom::V4((number as u32).into()),
        Form::V6 => Atom::V6(number.into()),
        Form::Bits => Atom::Bits((number >> 8) as u16, number as u8),
        Form::Interface => Atom::Interface(Interface { format: (number >> 32) as u32, value: number as u32 }),
        Form::Stack => Atom::Stack(number.to_be_bytes()),
        Form::Text | Form::Plain | Form::Any => return None,
    })
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
        Form::Text | Form::Plain | Form::Any => return None,
    })
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::flow::atom::key_text;

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
            let mut key = [u64::MAX; MOST_WORDS];
            layout.pack(&values, &mut key, &mut texts).unwrap();
            let words = &key[..layout.words()];
            let mut expected = Vec::new();
            values.iter().for_each(|atom| atom.pack(&mut expected));
            assert_eq!(key_text(&layout.portable(words, &texts), ","), key_text(&expected, ","));
            layout.release(words, &mut texts);
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
            let mut key = [0; MOST_WORDS];
            layout.pack(&values, &mut key, &mut texts).unwrap();
            let shown = key_text(&layout.portable(&key, &texts), ",");
            let found = layout.parse(&shown, ",", &texts).unwrap();
            assert_eq!(found[..layout.words()], key[..layout.words()], "{shown}");
            assert_eq!(layout.parse("10.0.0.1", ",", &texts), None, "parts are missing");
        }
    }

    #[test]
    fn addresses_and_ports_are_twelve_bytes() {
        let layout = KeyLayout::new([Form::V4, Form::V4, Form::U16, Form::U16]).unwrap();
        assert_eq!(layout.words(), 2);
        assert_eq!(KeyLayout::new(vec![Form::V6; 33]), None);
    }

    #[test]
    fn an_atom_of_another_form_is_no_key_and_counts_no_text() {
        let mut texts = Texts::new(1 << 20);
        let layout = KeyLayout::new([Form::Text, Form::U16]).unwrap();
        let mut key = [0; MOST_WORDS];
        assert_eq!(layout.pack(&[Atom::Text("a"), Atom::Number(70_000)], &mut key, &mut texts), None);
        assert_eq!(texts.len(), 0);
    }
}
