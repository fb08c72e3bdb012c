//! A flow definition compiled: which keys are read, which packets count, what is measured.

use std::borrow::Cow;

use ahash::RandomState;
use bumpalo::collections::Vec as ArenaVec;

use super::atom::Atom;
pub use super::expression::Lookups;
use super::expression::{self, Expression};
use super::filter::Filter;
use super::keys::Sampled;
use super::layout::{KeyLayout, LONGEST_KEY};
use super::measure::{self, Measure};
use super::reference::References;
use super::spec::{FlowSpec, Per};
use super::texts::Texts;
use crate::owner::Owner;
use crate::spec_error::{SpecError, wrong};

/// A compiled definition.
#[derive(Clone, Debug)]
pub struct FlowPlan {
    /// As it was defined.
    pub spec: FlowSpec,
    keys: Vec<Expression>,
    /// The places of the keys in the order in which they are evaluated.
    order: Vec<usize>,
    /// How keys are packed in a table.
    pub layout: KeyLayout,
    filter: Option<Filter>,
    /// What is measured: `value` first, then `values`.
    pub measures: Vec<Measure>,
}

/// For each measure the bits of a number; what is beyond the definition's is not looked at.
pub type Measured = [u64; measure::MOST];

/// What a definition makes of a packet: its keys and measures.
pub type Evaluated<'a> = (ArenaVec<'a, Atom<'a>>, Measured);

/// The filter of a definition. Which ports count is a part of it, so that it costs nothing where all do.
fn filter(spec: &FlowSpec, lookups: &Lookups) -> Result<Option<Filter>, SpecError> {
    let filter = spec.filter.as_deref().map(|filter| Filter::compile(filter, lookups)).transpose()?;
    let Per::Port(role) = spec.per else { return Ok(filter) };
    Ok(Some(Filter::All([Filter::At(role)].into_iter().chain(filter).collect())))
}

impl FlowPlan {
    /// Compiles a definition.
    ///
    /// # Errors
    /// A key, function, filter or value cannot be understood; the message names it.
    pub fn compile(spec: FlowSpec, lookups: &Lookups) -> Result<Self, SpecError> {
        let lookups =
            &*if spec.without_data { Cow::Owned(lookups.without_data()) } else { Cow::Borrowed(lookups) };
        let keys = expression::list("keys", &spec.keys, lookups)?;
        let layout = KeyLayout::new(keys.iter().map(Expression::form))
            .ok_or_else(|| wrong("keys", format!("take more than {LONGEST_KEY} bytes together")))?;
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_by_key(|place| !keys.get(*place).is_some_and(Expression::looks_up));
        Ok(Self {
            order,
            layout,
            filter: filter(&spec, lookups)?,
            measures: Measure::list(&spec.value, spec.values.as_deref(), lookups)?,
            keys,
            spec,
        })
    }

    /// The options that would give the data that it looks up and that is not there.
    pub fn missing(&self, references: &References) -> Vec<&'static str> {
        let looks_up = [
            ("country:", references.country.is_none(), "geo.country"),
            ("asn:", references.asn.is_none(), "geo.asn"),
            ("oui:", references.oui.is_none() && self.names(":name"), "oui.file"),
            ("dns:", !references.dns, "dns.enabled"),
        ];
        looks_up
            .into_iter()
            .filter(|(word, is_absent, _)| *is_absent && self.names(word))
            .map(|(.., option)| option)
            .collect()
    }

    /// Whether it may look something up in group sets, maps or files.
    pub(crate) fn looks_up(&self) -> bool {
        ["group", "map:", "country:", "asn:", "oui:", "dns:"].iter().any(|word| self.names(word))
    }

    /// Whether a word, such as the name of a function, stands somewhere in the definition.
    pub(crate) fn names(&self, word: &str) -> bool {
        let spec = &self.spec;
        let texts = [
            Some(spec.keys.as_str()),
            Some(spec.value.as_str()),
            spec.values.as_deref(),
            spec.filter.as_deref(),
        ];
        texts.iter().flatten().any(|text| text.contains(word))
    }

    /// The keys of a packet, and what it counts for. `None` when the filter leaves it out, or a key or a measure is
    /// null: then it contributes nothing.
    #[inline]
    pub fn evaluate<'a>(&'a self, sampled: &Sampled<'a>, hasher: &RandomState) -> Option<Evaluated<'a>> {
        if !self.passes(sampled) {
            return None;
        }
        let mut atoms = ArenaVec::new_in(sampled.arena);
        for place in &self.order {
            let atom = self.keys.get(*place)?.evaluate(sampled)?;
            // Most packets that are left out are null in the key that is evaluated first: nothing is made for them.
            if atoms.is_empty() {
                atoms.resize(self.keys.len(), Atom::Bool(false));
            }
            *atoms.get_mut(*place)? = atom;
        }
        let mut measured = [0; measure::MOST];
        self.measure(sampled, hasher, &mut measured)?;
        Some((atoms, measured))
    }

    /// Whether the filter lets a packet through.
    #[inline]
    pub(super) fn passes(&self, sampled: &Sampled<'_>) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.holds(sampled))
    }

    /// What a packet counts for, one number for each measure.
    #[inline]
    pub(super) fn measure(
        &self,
        sampled: &Sampled<'_>,
        hasher: &RandomState,
        measures: &mut [u64],
    ) -> Option<()> {
        for (place, measure) in measures.iter_mut().zip(&self.measures) {
            *place = measure.of(sampled, hasher)?;
        }
        Some(())
    }

    /// The places of the keys in the order in which they are evaluated.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    #[inline]
    pub(super) fn key(&self, place: usize) -> Option<&Expression> {
        self.keys.get(place)
    }

    /// Packs the keys of a packet, whose texts are then counted once more in `texts`, and says what it counts for.
    /// `None`, and nothing counted, where [`FlowPlan::evaluate`] is that, or where the keys cannot be packed.
    pub fn pack(
        &self,
        sampled: &Sampled<'_>,
        hasher: &RandomState,
        key: &mut [u64],
        measures: &mut [u64],
        texts: &mut Texts,
    ) -> Option<()> {
        let (atoms, measured) = self.evaluate(sampled, hasher)?;
        self.layout.pack(&atoms, key, texts)?;
        measures.iter_mut().zip(measured).for_each(|(place, bits)| *place = bits);
        Some(())
    }
}

/// One flow of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveFlow {
    /// Who reports the value.
    pub owner: Owner,
    /// The keys as text.
    pub key: String,
    /// The value, per second.
    pub value: f64,
    /// The definition's further values.
    pub values: Vec<f64>,
}
