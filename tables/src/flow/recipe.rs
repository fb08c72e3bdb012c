//! What a definition does with the packets of one shape, compiled when the first of them comes.
//!
//! The layers of a packet and where they begin decide most of what its keys are: which alternative of an `or` is there,
//! what is null, which definitions it cannot meet. That is worked out once for each [`Shape`]. What is left for each
//! packet are loads of eight bytes at places that are known, each turned and masked into a word of the key: no key is
//! asked, no atom is made, no branch depends on the packet. Keys that are not bits of a header are evaluated beside.
//!
//! Where a packet does not hold what its shape promises (it is cut within a header, the switch says nothing of its
//! VLAN), it goes the long way of [`FlowPlan::pack`], which gives the same.

use ahash::RandomState;
use bumpalo::collections::Vec as ArenaVec;
use decode::packet::{LayerKind, Outline, Packet};

use super::expression::Expression;
use super::function::Function;
use super::gate::Gate;
use super::keys::wire::{self, Place, Wire};
use super::keys::{Sampled, plain_interface};
use super::layout::{self, Form, Part};
use super::plan::FlowPlan;
use super::texts::Texts;

/// What packets have in common that are treated alike: their layers, and whether the switch says their VLANs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    outline: Outline,
    has_switch: bool,
}

impl Shape {
    /// The shape of a packet; `None` where it has none that can be told apart from others.
    #[inline]
    pub fn of(packet: &Packet<'_>, has_switch: bool) -> Option<Self> {
        Some(Self { outline: packet.outline()?, has_switch })
    }

    /// A number that differs for most shapes, for a place in a table.
    #[inline]
    pub(super) fn mixed(&self) -> u64 {
        self.outline.mixed() ^ u64::from(self.has_switch) << 26
    }
}

/// A load of eight bytes, of which some bits are those of a word of the key.
#[derive(Clone, Copy, Debug)]
struct Load {
    mask: u64,
    at: u16,
    word: u8,
    rotate: u8,
}

/// Loads that are made without looking whether there are more: shapes have different numbers of them, and a branch that
/// is mispredicted costs more than a load that changes nothing.
const STRIDE: usize = 4;

/// A part of the key that the sample says beside the packet.
#[derive(Clone, Copy, Debug)]
enum Beside {
    /// Where the packet came in.
    Input,
    /// Where it went out.
    Output,
    /// A word of the `extended_switch` record.
    Switch(usize),
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Key and measures are made.
    Made,
    /// It contributes nothing.
    Nothing,
    /// It is not what its shape promises.
    Unlike,
}

/// How a definition's keys are made of packets of one shape.
#[derive(Debug)]
pub struct Recipe {
    /// The words of the key as far as they are the same for all of them.
    template: Box<[u64]>,
    loads: Box<[[Load; STRIDE]]>,
    beside: Box<[(Beside, layout::Slot)]>,
    /// Places of the keys that are evaluated, in that order.
    evaluated: Box<[usize]>,
    /// What is asked before all else.
    gates: Box<[Gate]>,
}

/// What is known of a key before a packet is looked at.
enum Known<'p> {
    Null,
    /// At an offset in the sampled bytes.
    Wire(u16, Wire, Form),
    Beside(Beside, Form),
    Literal(&'p super::function::Literal),
    /// Only evaluating it tells.
    Unknown,
}

/// A packet whose shape is being compiled.
struct Example<'e> {
    packet: &'e Packet<'e>,
    has_switch: bool,
}

impl Example<'_> {
    /// Where the `n`th layer of a kind begins, and the one behind it.
    fn nth(&self, kind: LayerKind, n: usize) -> Option<(u16, Option<u16>)> {
        let layers = self.packet.layers();
        let mut places = (0..).zip(layers).filter(|(_, layer)| layer.kind == kind);
        let (place, layer): (usize, _) = places.nth(n)?;
        Some((layer.offset, layers.get(place + 1).map(|next| next.offset)))
    }

    /// A key that is in a header.
    fn wired(&self, wire: Wire, n: usize, form: Form) -> Option<Known<'static>> {
        let (offset, next) = self.nth(wire.layer, n)?;
        // Where something stands behind the header, or could not be noted, the key has to look for itself.
        if wire.unextended && next != Some(offset + 40) {
            return Some(Known::Unknown);
        }
        Some(Known::Wire(offset + wire.at, wire, form))
    }

    fn switch(&self, word: usize, n: usize, form: Form) -> Known<'static> {
        if self.has_switch && n == 0 { Known::Beside(Beside::Switch(word), form) } else { Known::Null }
    }

    /// What a key that is the group of an address asks of a packet.
    fn gate(&self, key: &Expression) -> Option<Gate> {
        let Expression::Function(function) = key else { return None };
        let Function::Group(address, sets) = &**function else { return None };
        let Known::Wire(at, wire, form) = self.known(address) else { return None };
        Gate::new(at + (wire.skip / 8) as u16, form, sets)
    }

    fn known<'p>(&self, expression: &'p Expression) -> Known<'p> {
        match expression {
            Expression::Custom(_) => Known::Null,
            Expression::Key(key, n) => {
                let wired = |wire: Wire| self.wired(wire, *n, key.form);
                match wire::place(key.name) {
                    Place::Wire(wire) => wired(wire).unwrap_or(Known::Null),
                    Place::WireOrSwitch(wire, word) => {
                        wired(wire).unwrap_or_else(|| self.switch(word, *n, key.form))
                    }
                    Place::Switch(word) => self.switch(word, 0, key.form),
                    Place::Input => Known::Beside(Beside::Input, key.form),
                    Place::Output => Known::Beside(Beside::Output, key.form),
                    Place::Anywhere => Known::Unknown,
                }
            }
            Expression::Function(function) => match &**function {
                Function::Or(keys) => {
                    let mut known = keys.iter().map(|key| self.known(key));
                    known.find(|known| !matches!(known, Known::Null)).unwrap_or(Known::Null)
                }
                Function::Null(key, literal) => match self.known(key) {
                    Known::Null => Known::Literal(literal),
                    known => known,
                },
                function if function.needs().any(|key| matches!(self.known(key), Known::Null)) => Known::Null,
                _ => Known::Unknown,
            },
        }
    }
}

impl Recipe {
    /// Compiles what a definition does with packets of the same shape as this one; `None` where they contribute nothing.
    pub fn like(packet: &Packet<'_>, has_switch: bool, plan: &FlowPlan) -> Option<Self> {
        let example = Example { packet, has_switch };
        let mut template = vec![0; plan.layout.words()];
        let (mut loads, mut beside, mut evaluated) = (Vec::new(), Vec::new(), Vec::new());
        let mut gates = Vec::new();
        for place in plan.order() {
            let (key, part) = (plan.key(*place)?, plan.layout.part(*place)?);
            match example.known(key) {
                Known::Null => return None,
                Known::Wire(at, wire, form) if put(part, form, at, wire, &mut template, &mut loads) => {}
                Known::Beside(what, form) if part.put_kind(form, &mut template).is_some() => {
                    beside.push((what, part.slot));
                }
                // An empty store serves for literals that are no texts.
                Known::Literal(literal)
                    if part.write(&literal.atom(), &mut template, &mut Texts::new(0)).is_some() => {}
                _ => {
                    gates.extend(example.gate(key));
                    evaluated.push(*place);
                }
            }
        }
        Some(Self {
            template: template.into(),
            loads: strides(loads),
            beside: beside.into(),
            evaluated: evaluated.into(),
            gates: gates.into(),
        })
    }

    /// Whether a packet contributes nothing, as far as that is seen at once; to be asked before [`Recipe::follow`].
    #[inline(always)]
    pub fn shuts_out(&self, packet: &Packet<'_>) -> bool {
        for gate in &self.gates {
            if gate.shuts_out(packet.bytes()) {
                return true;
            }
        }
        false
    }

    /// What it asks before all else.
    pub(super) fn gates(&self) -> &[Gate] {
        &self.gates
    }

    /// Makes the key and the measures of a packet. Texts are then counted once more in `texts`.
    #[inline]
    pub fn follow(
        &self,
        plan: &FlowPlan,
        sampled: &Sampled<'_>,
        hasher: &RandomState,
        key: &mut [u64],
        measures: &mut [u64],
        texts: &mut Texts,
    ) -> Outcome {
        if !plan.passes(sampled) {
            return Outcome::Nothing;
        }
        if !self.evaluated.is_empty() {
            return self.evaluate(plan, sampled, hasher, key, measures, texts);
        }
        match self.fill(sampled, key) {
            None => Outcome::Unlike,
            Some(()) if plan.measure(sampled, hasher, measures).is_none() => Outcome::Nothing,
            Some(()) => Outcome::Made,
        }
    }

    /// The same where some keys are evaluated, before all else: most packets that are left out are null in one of them.
    #[inline(never)]
    fn evaluate(
        &self,
        plan: &FlowPlan,
        sampled: &Sampled<'_>,
        hasher: &RandomState,
        key: &mut [u64],
        measures: &mut [u64],
        texts: &mut Texts,
    ) -> Outcome {
        let mut atoms = ArenaVec::new_in(sampled.arena);
        for place in &self.evaluated {
            let Some(atom) = plan.key(*place).and_then(|key| key.evaluate(sampled)) else {
                return Outcome::Nothing;
            };
            atoms.push(atom);
        }
        if self.fill(sampled, key).is_none() {
            return Outcome::Unlike;
        }
        if plan.measure(sampled, hasher, measures).is_none() {
            return Outcome::Nothing;
        }
        let parts = self.evaluated.iter().filter_map(|place| plan.layout.part(*place));
        match plan.layout.add(parts.zip(&atoms), key, texts) {
            Some(()) => Outcome::Made,
            None => Outcome::Nothing,
        }
    }

    /// Packs all that is not evaluated; `None` where the packet is not what its shape promises.
    #[inline(always)]
    fn fill(&self, sampled: &Sampled<'_>, key: &mut [u64]) -> Option<()> {
        let key = key.get_mut(..self.template.len())?;
        match (&mut *key, &*self.template) {
            // Most keys: a call that copies two words takes longer than all else here.
            ([a, b], [first, second]) => (*a, *b) = (*first, *second),
            (key, template) => key.copy_from_slice(template),
        }
        let bytes = sampled.packet.bytes();
        for loads in &self.loads {
            for load in loads {
                let at = usize::from(load.at);
                let eight = bytes.get(at..at + 8)?.first_chunk()?;
                let bits = u64::from_be_bytes(*eight).rotate_left(load.rotate.into()) & load.mask;
                *key.get_mut(usize::from(load.word))? |= bits;
            }
        }
        for (what, slot) in &self.beside {
            let number = match what {
                Beside::Input => layout::interface_number(plain_interface(sampled.input)),
                Beside::Output => layout::interface_number(plain_interface(sampled.output)),
                Beside::Switch(word) => {
                    let words = sampled.switch?.as_chunks::<4>().0;
                    let word = u32::from_be_bytes(*words.get(*word)?);
                    // All ones are unknown.
                    u64::from(if word == u32::MAX { return None } else { word })
                }
            };
            slot.put(number, key)?;
        }
        Some(())
    }
}

/// Adds the loads of a field, and what of it is always the same; false where the part is of another form.
fn put(part: &Part, form: Form, at: u16, wire: Wire, template: &mut [u64], loads: &mut Vec<Load>) -> bool {
    if part.put_kind(form, template).is_none() {
        return false;
    }
    let slot = part.slot;
    if wire.bits == 128 {
        load(loads, slot.word - 1, at, 0, 64, 0);
        load(loads, slot.word, at + 8, 0, 64, 0);
        return true;
    }
    let mut left = slot.left;
    if form == Form::Bits {
        left += 8;
        let _ = slot.put(layout::bits_number(0, wire.bits as u8), template);
    }
    load(loads, slot.word, at, wire.skip, wire.bits, left);
    true
}

/// Adds a load of some bits, `left` from the end of a word; to one that is there where both are as far from their
/// places: addresses and ports that are neighbours in both.
fn load(loads: &mut Vec<Load>, word: usize, at: u16, skip: u32, bits: u32, left: u32) {
    let mask = u64::MAX >> (64 - bits) << left;
    let rotate = |skip: u32| (left as u8).wrapping_sub((64 - skip - bits) as u8) % 64;
    for load in loads.iter_mut().filter(|load| usize::from(load.word) == word) {
        let skip = i64::from(skip) + 8 * (i64::from(at) - i64::from(load.at));
        let within = u32::try_from(skip).ok().filter(|skip| skip + bits <= 64);
        if within.is_some_and(|skip| rotate(skip) == load.rotate) {
            load.mask |= mask;
            return;
        }
    }
    loads.push(Load { mask, at, word: word as u8, rotate: rotate(skip) });
}

/// Loads in strides, the last one filled with such that change nothing.
fn strides(mut loads: Vec<Load>) -> Box<[[Load; STRIDE]]> {
    if let Some(first) = loads.first().copied() {
        let nothing = Load { mask: 0, ..first };
        loads.resize(loads.len().next_multiple_of(STRIDE), nothing);
    }
    loads.as_chunks().0.into()
}
