//! All flow tables of a shard, and what they share.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::{AHashSet, RandomState};
use bumpalo::Bump;
use decode::flow::SampledHeader;
use decode::packet::{Packet, dissect};
use decode::rt::RtFlow;
use decode::{Address, DataSource, DiscardedPacket, FlowSample, Interface, Records};

use super::active::{ActivePartial, Asked, FlowAggregation};
use super::cookbook::{Cookbook, Found};
use super::keys::{Basics, Sampled};
use super::learned::Learned;
use super::owners::{Known, Owners};
use super::plan::FlowPlan;
use super::recipe::{Outcome, Recipe};
use super::seen::Seen;
use super::spec::Per;
use super::table::{Context, Draft, FlowTable, Hit, Limit};
use super::texts::Texts;
use crate::agent::Emitter;
use crate::outbox::Outbox;
use crate::owner::{Owner, Source};
use crate::program::Program;
use crate::topology::locate::{Locator, Sighting};
use crate::watch::Watch;

/// Owners without flows are forgotten after this long, microseconds.
const OWNER_TIMEOUT_US: u64 = 60_000_000;

/// Samples whose texts lie in the arena together.
const SAMPLES_OF_ARENA: u32 = 64;

/// The numbers that flow tables know an agent and its data source by, kept with them so that nothing is looked up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    /// The data source's.
    pub(crate) source: Known,
    /// The agent's.
    pub(crate) agent: Known,
}

/// Whose packet it is, and how many it stands for.
#[derive(Debug)]
pub(crate) struct By<'b> {
    /// The agent.
    pub(crate) agent: &'b Address,
    /// The numbers of agent and data source.
    pub(crate) numbers: &'b mut Numbers,
    /// How many.
    pub(crate) frames: f64,
}

/// A packet that was dissected, for [`Flows::sampled`].
#[derive(Debug, Default)]
pub(crate) struct Prepared<'a> {
    packet: Packet<'a>,
    found: Option<Found>,
}

/// What the tables of a shard share.
#[derive(Debug)]
struct Shared {
    texts: Texts,
    owners: Owners,
    /// Flows that rose above limits since they were last taken.
    hits: Vec<Hit>,
}

impl Shared {
    /// What a table works with.
    fn context<'c>(&'c mut self, outbox: &'c mut Outbox) -> Context<'c> {
        Context {
            texts: &mut self.texts,
            owners: &mut self.owners,
            records: &mut outbox.records,
            hits: &mut self.hits,
        }
    }
}

/// All flow tables of a shard.
#[derive(Debug)]
pub(crate) struct Flows {
    /// Definitions by the place of their tables.
    plans: Vec<Arc<FlowPlan>>,
    names: Vec<Arc<str>>,
    tables: Vec<FlowTable>,
    shared: Shared,
    seen: Seen,
    learned: Learned,
    locator: Locator,
    hasher: RandomState,
    /// Texts of the last few samples.
    arena: Bump,
    /// How many more may come before it is emptied.
    until_emptied: u32,
    cookbook: Cookbook,
    table_bytes: usize,
    /// The largest frame that is believed, bytes (promise A2).
    largest_frame: u32,
    /// Frames that were said to be longer than any is, and were cut.
    pub(crate) outliers: u64,
    evicted: u64,
}

impl Flows {
    /// No tables; each will take at most `table_bytes`, and their texts a quarter of that together.
    pub(crate) fn new(table_bytes: usize, largest_frame: u32) -> Self {
        Self {
            plans: Vec::new(),
            names: Vec::new(),
            tables: Vec::new(),
            shared: Shared {
                texts: Texts::new(table_bytes / 4),
                owners: Owners::default(),
                hits: Vec::new(),
            },
            seen: Seen::default(),
            learned: Learned::default(),
            locator: Locator::default(),
            hasher: RandomState::new(),
            arena: Bump::new(),
            until_emptied: 0,
            cookbook: Cookbook::default(),
            table_bytes,
            largest_frame,
            outliers: 0,
            evicted: 0,
        }
    }

    /// Live flows in all tables.
    pub(crate) fn len(&self) -> usize {
        self.tables.iter().map(FlowTable::len).sum()
    }

    /// What all tables and their texts take, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.tables.iter().map(FlowTable::bytes).sum::<usize>() + self.shared.texts.bytes()
    }

    /// Flows that gave way to others.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted + self.tables.iter().map(|table| table.evicted).sum::<u64>()
    }

    /// Packets that were left out because there was no room for their texts.
    pub(crate) fn texts_refused(&self) -> u64 {
        self.shared.texts.refused
    }

    /// Addresses whose names could not be asked for because too many were already.
    pub(crate) fn names_refused(&self) -> u64 {
        self.learned.refused
    }

    /// Host locations beyond those that are remembered.
    pub(crate) fn locations_refused(&self) -> u64 {
        self.locator.refused
    }

    /// Who was seen where since a time.
    pub(crate) fn sightings(&self, since_us: u64) -> Vec<Sighting> {
        self.locator.told_since(since_us)
    }

    /// Takes new definitions. A flow whose definition did not change keeps its table; the live flows of others end
    /// with their records.
    pub(crate) fn adopt(&mut self, program: &Program, watch: &Watch, now_us: u64, outbox: &mut Outbox) {
        self.flush(now_us, outbox);
        self.learned.adopt(&program.hosts, &program.names, &program.topology);
        self.locator.adopt(&program.topology);
        self.cookbook.clear();
        let mut old: BTreeMap<Arc<str>, FlowTable> =
            self.names.drain(..).zip(self.tables.drain(..)).collect();
        self.plans.clear();
        for (name, plan) in &program.flows {
            let name: Arc<str> = Arc::from(name.as_str());
            let kept = old.remove(&name);
            let (kept, ended) = match kept {
                Some(table) if table.plan.spec == plan.spec => (Some(table), None),
                other => (None, other),
            };
            self.end(ended, outbox);
            let mut table = kept.unwrap_or_else(|| {
                FlowTable::new(Arc::clone(&name), Arc::clone(plan), self.table_bytes, now_us)
            });
            table.plan = Arc::clone(plan);
            table.limits = watch
                .thresholds
                .iter()
                .filter(|numbered| numbered.threshold.metric.name() == &*name)
                .map(|numbered| Limit {
                    id: numbered.id,
                    value: numbered.threshold.value,
                    by_flow: numbered.threshold.by_flow,
                })
                .collect();
            self.plans.push(Arc::clone(plan));
            self.names.push(name);
            self.tables.push(table);
        }
        for (_, table) in old {
            self.end(Some(table), outbox);
        }
    }

    fn end(&mut self, table: Option<FlowTable>, outbox: &mut Outbox) {
        let Some(mut table) = table else { return };
        self.evicted += table.evicted;
        table.end(&mut self.shared.context(outbox));
    }

    /// Ends all flows: those that are being recorded with their records.
    pub(crate) fn end_all(&mut self, now_us: u64, outbox: &mut Outbox) {
        self.flush(now_us, outbox);
        self.plans.clear();
        self.names.clear();
        for table in std::mem::take(&mut self.tables) {
            self.end(Some(table), outbox);
        }
    }

    /// Dissects the packet of a sample that is taken soon, in place of the one before, and brings near what it is looked up
    /// in.
    #[inline(always)]
    pub(crate) fn prepare<'a>(&mut self, sample: &FlowSample<'a>, prepared: &mut Prepared<'a>, now_us: u64) {
        let Some(header) = &sample.noted.header else {
            *prepared = Prepared::default();
            return;
        };
        let Prepared { packet, found } = prepared;
        packet.dissect(header.protocol, header.bytes);
        *found = None;
        let has_switch = sample.noted.switch.is_some();
        if let Some((place, gates)) = self.cookbook.find(&self.plans, packet, has_switch, now_us) {
            *found = Some(place);
            gates.iter().for_each(|gate| gate.bring_near(packet.bytes()));
        }
    }

    /// Takes a sampled packet that was prepared.
    #[inline(always)]
    pub(crate) fn sampled(
        &mut self,
        by: By<'_>,
        sample: &FlowSample<'_>,
        prepared: &Prepared<'_>,
        now_us: u64,
        outbox: &mut Outbox,
    ) {
        match &sample.noted.header {
            Some(header) => self.packet(by, sample, (header, None, prepared), None, now_us, outbox),
            None => self.without_header(by, sample, prepared, None, now_us, outbox),
        }
    }

    /// Takes the notification of a dropped packet.
    pub(crate) fn discarded(
        &mut self,
        by: By<'_>,
        sample: &DiscardedPacket<'_>,
        now_us: u64,
        outbox: &mut Outbox,
    ) {
        let packet = FlowSample {
            source: sample.source,
            input: Interface::index(sample.input),
            output: Interface::index(sample.output),
            records: sample.records,
            noted: sample.noted,
            ..FlowSample::default()
        };
        let mut prepared = Prepared::default();
        self.prepare(&packet, &mut prepared, now_us);
        let reason = Some(sample.reason);
        match &packet.noted.header {
            Some(header) => self.packet(by, &packet, (header, None, &prepared), reason, now_us, outbox),
            None => self.without_header(by, &packet, &prepared, reason, now_us, outbox),
        }
    }

    /// Takes a packet whose header was not sampled: other records may say something of it.
    #[cold]
    fn without_header(
        &mut self,
        by: By<'_>,
        sample: &FlowSample<'_>,
        prepared: &Prepared<'_>,
        reason: Option<u32>,
        now_us: u64,
        outbox: &mut Outbox,
    ) {
        let basics = Basics::of(&sample.records);
        let frame_length = basics.map_or(0, |basics| basics.length());
        let header = SampledHeader { frame_length, ..SampledHeader::default() };
        self.packet(by, sample, (&header, basics.as_ref(), prepared), reason, now_us, outbox);
    }

    /// Takes a custom flow that stands for `events` of them.
    pub(crate) fn custom(
        &mut self,
        (agent, agent_number): (Address, &mut Known),
        emitter: &mut Emitter,
        sample: RtFlow<'_>,
        events: f64,
        now_us: u64,
        outbox: &mut Outbox,
    ) {
        let nothing = dissect(0, &[]);
        let sampled = Sampled {
            agent: &agent,
            source: DataSource::default(),
            input: Interface::default(),
            output: Interface::default(),
            frame_length: 0,
            stripped: 0,
            reason: None,
            packet: &nothing,
            basics: None,
            records: Records::default(),
            switch: None,
            custom: Some(sample),
            learned: &self.learned,
            arena: &self.arena,
        };
        self.seen.custom(&sample, now_us);
        let source = Source::Named(Arc::clone(&emitter.name));
        let mut numbers = Numbers { source: emitter.number, agent: *agent_number };
        let by = By { agent: &agent, numbers: &mut numbers, frames: events };
        let mut target = Target {
            plans: &self.plans,
            tables: &mut self.tables,
            hasher: &self.hasher,
            now_us,
            context: self.shared.context(outbox),
        };
        target.add_at_length(&sampled, by, &source);
        self.learned.ask(now_us, &mut outbox.names_wanted);
        self.empty_arena();
        (emitter.number, *agent_number) = (numbers.source, numbers.agent);
    }

    /// Takes a packet that was sampled, or dropped for a `reason`.
    #[inline(always)]
    fn packet(
        &mut self,
        by: By<'_>,
        sample: &FlowSample<'_>,
        (header, basics, prepared): (&SampledHeader<'_>, Option<&Basics>, &Prepared<'_>),
        reason: Option<u32>,
        now_us: u64,
        outbox: &mut Outbox,
    ) {
        let packet = &prepared.packet;
        self.outliers += u64::from(header.frame_length > self.largest_frame);
        if self.locator.looks(now_us) {
            self.locator.packet(*by.agent, sample.input, packet, sample.noted.switch, now_us);
        }
        // What no definition and nobody else looks at is not even described.
        let is_wanted = self.seen.wants(packet.path(), sample.noted.kinds, now_us);
        let recipes = prepared.found.and_then(|found| self.cookbook.recipes(found));
        // The first recipe that does not shut the packet out, and those behind.
        let mut open = recipes.unwrap_or_default();
        while let [(_, recipe), rest @ ..] = open
            && recipe.shuts_out(packet)
        {
            open = rest;
        }
        if open.is_empty() && recipes.is_some() && !is_wanted {
            return;
        }
        let sampled = Sampled {
            agent: by.agent,
            source: sample.source,
            input: sample.input,
            output: sample.output,
            frame_length: header.frame_length.min(self.largest_frame),
            stripped: header.stripped,
            reason,
            packet,
            basics,
            records: sample.records,
            switch: sample.noted.switch,
            custom: None,
            learned: &self.learned,
            arena: &self.arena,
        };
        if is_wanted {
            self.seen.look(&sampled, now_us);
        }
        let source = Source::Of(sample.source);
        let mut target = Target {
            plans: &self.plans,
            tables: &mut self.tables,
            hasher: &self.hasher,
            now_us,
            context: self.shared.context(outbox),
        };
        match recipes {
            Some(_) => target.add(&sampled, by, &source, open),
            None => target.add_at_length(&sampled, by, &source),
        }
        self.learned.ask(now_us, &mut outbox.names_wanted);
        self.empty_arena();
    }

    /// Empties the arena after some samples: emptying it after each one costs as much as a key does.
    #[inline]
    fn empty_arena(&mut self) {
        match self.until_emptied.checked_sub(1) {
            Some(fewer) => self.until_emptied = fewer,
            None => {
                self.arena.reset();
                self.until_emptied = SAMPLES_OF_ARENA;
            }
        }
    }

    /// Makes all updates that wait.
    pub(crate) fn flush(&mut self, now_us: u64, outbox: &mut Outbox) {
        let mut context = self.shared.context(outbox);
        self.tables.iter_mut().for_each(|table| table.flush(now_us, &mut context));
    }

    /// Flows that rose above limits since the last call, and for each how long it stays there when nothing more comes,
    /// microseconds.
    pub(crate) fn hits(&mut self, watch: &Watch) -> Vec<(Hit, Owner, u64)> {
        std::mem::take(&mut self.shared.hits)
            .into_iter()
            .filter_map(|hit| {
                let threshold = &watch.numbered(hit.id)?.threshold;
                let table = self.table(threshold.metric.name())?;
                let stays_us = table.stays_above_us(hit.value, threshold.value);
                let owner = self.shared.owners.owner(hit.owner)?.clone();
                Some((hit, owner, stays_us))
            })
            .collect()
    }

    /// Forgets and flushes what is due. Owners that something else needs are `kept`.
    pub(crate) fn tick(&mut self, now_us: u64, outbox: &mut Outbox, kept: &AHashSet<u32>) {
        let mut context = self.shared.context(outbox);
        self.tables.iter_mut().for_each(|table| table.tick(now_us, &mut context));
        self.shared.owners.forget_before(now_us.saturating_sub(OWNER_TIMEOUT_US), kept);
        self.locator.tick(now_us);
    }

    /// The number of a data source, for thresholds on its counters.
    pub(crate) fn number(&mut self, owner: &Owner, now_us: u64) -> u32 {
        self.shared.owners.number(&mut Known::default(), &owner.agent, &owner.source, now_us)
    }

    /// The data sources that have a number, with it.
    pub(crate) fn owners(&self) -> impl Iterator<Item = (u32, &Owner)> {
        self.shared.owners.all()
    }

    /// The keys that recent packets had, and the age of the youngest packet of each, microseconds.
    pub(crate) fn keys(&self, now_us: u64) -> BTreeMap<String, u64> {
        self.seen.keys(now_us)
    }

    /// The table of a definition.
    pub(crate) fn table(&self, name: &str) -> Option<&FlowTable> {
        let place = self.names.iter().position(|known| **known == *name)?;
        self.tables.get(place)
    }

    /// Names of the definitions.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// The largest flows of a definition, at the owners that are wanted.
    pub(crate) fn active(
        &self,
        name: &str,
        aggregation: FlowAggregation,
        most: usize,
        wanted: Option<&dyn Fn(&Owner) -> bool>,
        now_us: u64,
    ) -> ActivePartial {
        let Some(table) = self.table(name) else { return ActivePartial::default() };
        let wanted = wanted.map(|wanted| self.which(wanted));
        table.active(aggregation, most, wanted.as_deref(), self.asked(now_us))
    }

    /// For each owner by number whether it is wanted.
    fn which(&self, wanted: &dyn Fn(&Owner) -> bool) -> Vec<bool> {
        let mut which = vec![false; self.shared.owners.numbers()];
        for (number, owner) in self.shared.owners.all() {
            if let Some(place) = which.get_mut(number as usize) {
                *place = wanted(owner);
            }
        }
        which
    }

    fn asked(&self, now_us: u64) -> Asked<'_> {
        Asked { texts: &self.shared.texts, owners: &self.shared.owners, now_us }
    }

    /// Where a flow is seen: every wanted owner that has it.
    pub(crate) fn locations(
        &self,
        name: &str,
        key: &str,
        wanted: &dyn Fn(&Owner) -> bool,
        now_us: u64,
    ) -> ActivePartial {
        let Some(table) = self.table(name) else { return ActivePartial::default() };
        let wanted = self.shared.owners.all().filter(|(_, owner)| wanted(owner)).map(|(number, _)| number);
        table.locations(key, wanted, self.asked(now_us))
    }

    /// The value of a flow at the wanted owner that has most of it; of the largest flow when no key is given. `None` when
    /// there is none.
    pub(crate) fn value(
        &self,
        name: &str,
        key: Option<&str>,
        wanted: &dyn Fn(&Owner) -> bool,
        now_us: u64,
    ) -> Option<f64> {
        let found = match key {
            Some(key) => self.locations(name, key, wanted, now_us).places(""),
            None => self.active(name, FlowAggregation::Max, 1, Some(wanted), now_us).largest(1, 0.0, ""),
        };
        found.first().map(|flow| flow.value)
    }

    /// The value of the metric that a definition is: the largest flow of each wanted owner, and the names and values of
    /// its `n` largest.
    pub(crate) fn metric(&self, name: &str, wanted: &dyn Fn(&Owner) -> bool, now_us: u64) -> Vec<FlowMetric> {
        let Some(table) = self.table(name) else { return Vec::new() };
        let separator = &table.plan.spec.fs;
        let mut found = Vec::new();
        for (number, top) in table.by_owner(table.plan.spec.n as usize, &self.which(wanted), now_us) {
            let Some(owner) = self.shared.owners.owner(number) else { continue };
            let shown = |(at, value): &(usize, f64)| {
                let (_, key) = table.entry(*at)?;
                let key = table.plan.layout.portable(key, &self.shared.texts);
                Some((super::atom::key_text(&key, separator), *value))
            };
            let top: Vec<(String, f64)> = top.iter().filter_map(shown).collect();
            let value = top.first().map_or(0.0, |(_, value)| *value);
            let age_us = now_us.saturating_sub(self.shared.owners.seen_us(number));
            found.push(FlowMetric { owner: owner.clone(), value, top, age_us });
        }
        found
    }
}

/// The largest flow of an owner, as a metric.
#[derive(Clone, Debug)]
pub(crate) struct FlowMetric {
    pub(crate) owner: Owner,
    pub(crate) value: f64,
    /// The largest flows and their values, largest first.
    pub(crate) top: Vec<(String, f64)>,
    /// Since the owner's last packet, microseconds.
    pub(crate) age_us: u64,
}

/// The tables that a sample is added to.
struct Target<'t> {
    plans: &'t [Arc<FlowPlan>],
    tables: &'t mut [FlowTable],
    hasher: &'t RandomState,
    now_us: u64,
    context: Context<'t>,
}

impl Target<'_> {
    /// Adds a sample by its recipes, of which the first one is known not to shut it out.
    #[inline(always)]
    fn add(&mut self, sampled: &Sampled<'_>, mut by: By<'_>, source: &Source, recipes: &[(usize, Recipe)]) {
        let Some(((place, recipe), rest)) = recipes.split_first() else { return };
        self.add_to(*place, Some(recipe), sampled, &mut by, source);
        for (place, recipe) in rest {
            if !recipe.shuts_out(sampled.packet) {
                self.add_to(*place, Some(recipe), sampled, &mut by, source);
            }
        }
    }

    /// Adds a sample that has no recipes.
    #[cold]
    fn add_at_length(&mut self, sampled: &Sampled<'_>, mut by: By<'_>, source: &Source) {
        (0..self.plans.len()).for_each(|place| self.add_to(place, None, sampled, &mut by, source));
    }

    #[inline]
    fn add_to(
        &mut self,
        place: usize,
        recipe: Option<&Recipe>,
        sampled: &Sampled<'_>,
        by: &mut By<'_>,
        source: &Source,
    ) {
        let (Some(plan), Some(table)) = (self.plans.get(place), self.tables.get_mut(place)) else { return };
        if plan.spec.dropped != sampled.reason.is_some() {
            return;
        }
        let (context, hasher) = (&mut self.context, self.hasher);
        let Some(mut draft) = table.draft() else { return };
        let Draft { key, measures, .. } = &mut draft;
        let outcome = recipe.map_or(Outcome::Unlike, |recipe| {
            recipe.follow(plan, sampled, hasher, key, measures, context.texts)
        });
        let made = match outcome {
            Outcome::Made => true,
            Outcome::Nothing => false,
            Outcome::Unlike => plan.pack(sampled, hasher, key, measures, context.texts).is_some(),
        };
        if !made {
            return;
        }
        let (known, source) = match plan.spec.per {
            Per::DataSource | Per::Port(_) => (&mut by.numbers.source, source),
            Per::Agent => (&mut by.numbers.agent, &Source::Agent),
        };
        let owner = context.owners.number(known, by.agent, source, self.now_us);
        let hash = draft.finish(owner, by.frames);
        table.take(hash, self.now_us, context);
    }
}
