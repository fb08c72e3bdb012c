//! The recipes of a shard: for each shape of which packets came lately, what all definitions do with it.

use std::sync::Arc;

use decode::packet::Packet;

use super::gate::Gate;
use super::plan::FlowPlan;
use super::recipe::{Recipe, Shape};

/// Shapes that have recipes at a time.
const SHAPES: usize = 256;

/// Places where a shape may be.
const WAYS: usize = 4;

/// A shape gives its place to another one no sooner than this, microseconds: compiling costs as much as a hundred packets.
const TURN_US: u64 = 50_000;

/// The recipes of all definitions for one shape.
#[derive(Debug, Default)]
struct Course {
    shape: Option<Shape>,
    /// Until when it keeps its place; 0 for one that is free.
    ends_us: u64,
    /// Places of the definitions that its packets may count in.
    recipes: Vec<(usize, Recipe)>,
    /// The gates of all of them in one row: shapes differ in recipes and in gates of each, and a branch for each of these
    /// would be mispredicted.
    gates: Vec<Gate>,
}

impl Course {
    #[inline(always)]
    fn is_for(&self, shape: Shape) -> bool {
        self.shape == Some(shape)
    }
}

/// Where the recipes for a shape were.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    place: usize,
    shape: Shape,
}

/// The recipes of a shard.
#[derive(Debug)]
pub(super) struct Cookbook {
    courses: Vec<Course>,
}

impl Default for Cookbook {
    fn default() -> Self {
        Self { courses: std::iter::repeat_with(Course::default).take(SHAPES).collect() }
    }
}

impl Cookbook {
    /// Forgets all recipes: definitions have changed.
    pub(super) fn clear(&mut self) {
        self.courses.fill_with(Course::default);
    }

    /// Where the recipes for a packet are, and the gates that they ask; `None` where its shape has no recipes.
    #[inline(always)]
    pub(super) fn find(
        &mut self,
        plans: &[Arc<FlowPlan>],
        packet: &Packet<'_>,
        has_switch: bool,
        now_us: u64,
    ) -> Option<(Found, &[Gate])> {
        let shape = Shape::of(packet, has_switch)?;
        let first = (shape.mixed() >> 24) as usize;
        let is_there =
            |place: usize| self.courses.get(place % SHAPES).is_some_and(|course| course.is_for(shape));
        let place = if is_there(first) {
            first
        } else {
            match (first + 1..first + WAYS).find(|place| is_there(*place)) {
                Some(place) => place,
                None => self.make(first, shape, (plans, packet, has_switch), now_us)?,
            }
        };
        let place = place % SHAPES;
        let course = self.courses.get(place)?;
        Some((Found { place, shape }, &course.gates))
    }

    /// The definitions that a packet may count in, and how; `None` where another shape has got the place meanwhile.
    #[inline(always)]
    pub(super) fn recipes(&self, found: Found) -> Option<&[(usize, Recipe)]> {
        let course = self.courses.get(found.place).filter(|course| course.is_for(found.shape))?;
        Some(&course.recipes)
    }

    /// Compiles recipes for a shape in the place of the oldest of those where it may be; `None` where that is too young.
    #[cold]
    fn make(
        &mut self,
        first: usize,
        shape: Shape,
        (plans, packet, has_switch): (&[Arc<FlowPlan>], &Packet<'_>, bool),
        now_us: u64,
    ) -> Option<usize> {
        let age = |place: &usize| self.courses.get(*place).map(|course| course.ends_us);
        let oldest = (first..first + WAYS).map(|place| place % SHAPES).min_by_key(age)?;
        let course = self.courses.get_mut(oldest).filter(|course| now_us >= course.ends_us)?;
        let recipe =
            |(place, plan): (usize, &Arc<FlowPlan>)| Some((place, Recipe::like(packet, has_switch, plan)?));
        let recipes: Vec<_> = plans.iter().enumerate().filter_map(recipe).collect();
        *course = Course {
            shape: Some(shape),
            ends_us: now_us.saturating_add(TURN_US),
            gates: recipes.iter().flat_map(|(_, recipe)| recipe.gates()).cloned().collect(),
            recipes,
        };
        Some(oldest)
    }
}
