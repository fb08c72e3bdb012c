//! A service as it would be: replicas that take time to start and stop, share a load evenly, and tell its rates by
//! interval. What policies are simulated and tested with.

use std::collections::BTreeMap;
use std::time::Duration;

use super::observation::{Observation, Pool, Replica, Sample, Telemetry};

/// How fine time is simulated.
pub(crate) const STEP: Duration = Duration::from_millis(100);

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// From the change of the number until a new replica runs.
    pub start: Duration,
    /// From the change of the number until an old replica has stopped.
    pub stop: Duration,
    /// Between two samples of a container.
    pub polling: Duration,
    /// From the first sample of a container, at its start, to the second one, with which there are rates.
    pub second: Duration,
}

impl Default for Pace {
    /// What was measured with a real engine, and what `finderscope-agent` does with the article's polling interval.
    fn default() -> Self {
        Self {
            start: Duration::from_millis(1400),
            stop: Duration::from_millis(2000),
            polling: Duration::from_secs(10),
            second: Duration::from_secs(1),
        }
    }
}

/// A service and its replicas.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pace: Pace,
    /// How many are asked for.
    pub(crate) replicas: u64,
    tasks: Vec<Task>,
    next: u64,
    now: Duration,
}

#[derive(Clone, Debug)]
struct Task {
    number: u64,
    begins: Duration,
    ends: Option<Duration>,
    sampled: Duration,
    next_sample: Duration,
    /// What it had of each metric since the last sample.
    had: Vec<f64>,
    /// The rates of the last interval, and when they came.
    rates: Option<(Vec<f64>, Duration)>,
}

impl World {
    /// A service that has run for long.
    pub(crate) fn new(pace: Pace, replicas: u64) -> Self {
        let mut world = Self { pace, replicas: 0, tasks: Vec::new(), next: 0, now: Duration::ZERO };
        world.set(replicas);
        for task in &mut world.tasks {
            task.begins = Duration::ZERO;
            task.next_sample = pace.second + phase(pace, task.number);
            task.sampled = Duration::ZERO;
        }
        world
    }

    /// Asks for another number.
    pub(crate) fn set(&mut self, replicas: u64) {
        self.replicas = replicas;
        let staying = |task: &&mut Task| task.ends.is_none();
        let kept = self.tasks.iter_mut().filter(staying).count() as u64;
        let ends = self.now + self.pace.stop;
        for task in self.tasks.iter_mut().filter(staying).skip(replicas as usize) {
            task.ends = Some(ends);
        }
        for _ in kept..replicas {
            let begins = self.now + self.pace.start;
            self.tasks.push(Task {
                number: self.next,
                begins,
                ends: None,
                sampled: begins,
                next_sample: begins + self.pace.second,
                had: Vec::new(),
                rates: None,
            });
            self.next += 1;
        }
    }

    /// A step of time passes with these total loads, one for each metric.
    pub(crate) fn step(&mut self, loads: &[f64]) {
        self.now += STEP;
        let now = self.now;
        self.tasks.retain(|task| task.ends.is_none_or(|ends| ends > now));
        let running = self.tasks.iter().filter(|task| task.begins < now).count() as f64;
        for task in self.tasks.iter_mut().filter(|task| task.begins < now) {
            task.had.resize(loads.len(), 0.0);
            for (had, load) in task.had.iter_mut().zip(loads) {
                *had += load / running * STEP.as_secs_f64();
            }
            if now >= task.next_sample {
                let over = now.saturating_sub(task.sampled).as_secs_f64();
                task.rates = Some((task.had.iter().map(|had| had / over).collect(), now));
                task.had.fill(0.0);
                let first = task.sampled == task.begins;
                task.sampled = now;
                let wait = if first { phase(self.pace, task.number) } else { self.pace.polling };
                task.next_sample = now + wait;
            }
        }
    }

    /// What engine and telemetry say. Loads that are `None` are told by nobody.
    pub(crate) fn observe(&self, loads: &[Option<f64>]) -> Observation {
        let running = || self.tasks.iter().filter(|task| task.begins < self.now);
        let wanted = running().filter(|task| task.ends.is_none());
        let replica = |task: &Task| {
            let (rates, at) = task.rates.as_ref()?;
            let age = self.now.saturating_sub(*at);
            let sample = |(rate, load): (&f64, &Option<f64>)| load.map(|_| Sample { value: *rate, age });
            let metrics = rates.iter().zip(loads).map(sample).collect();
            Some(Replica { task: name(task), metrics, ..Replica::default() })
        };
        Observation {
            pool: Ok(Pool {
                replicas: Some(self.replicas),
                running: wanted.map(name).collect(),
                updating: false,
            }),
            telemetry: Ok(Telemetry {
                replicas: running().filter_map(replica).collect(),
                totals: loads.iter().map(|load| load.map(|value| Sample { value, age: STEP })).collect(),
                datagrams: BTreeMap::new(),
            }),
        }
    }
}

fn name(task: &Task) -> String {
    format!("{:025}", task.number)
}

/// Agents spread the samples of their containers over the interval; here by the golden ratio.
fn phase(pace: Pace, number: u64) -> Duration {
    pace.polling.mul_f64((number as f64 * 0.618_034).fract().max(0.1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn seen(world: &World) -> (usize, usize, f64) {
        let observation = world.observe(&[Some(0.0)]);
        let replicas = observation.telemetry.unwrap().replicas;
        let values: Vec<f64> = replicas.iter().map(|replica| replica.metrics[0].unwrap().value).collect();
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        (observation.pool.unwrap().running.len(), replicas.len(), mean)
    }

    #[test]
    fn a_load_is_shared_and_told_by_interval() {
        let mut world = World::new(Pace::default(), 1);
        let pass = |world: &mut World, seconds: u32| (0..seconds * 10).for_each(|_| world.step(&[12.0]));
        pass(&mut world, 20);
        let (running, told, mean) = seen(&world);
        assert_eq!((running, told), (1, 1));
        assert!((mean - 12.0).abs() < 1e-6, "{mean}");
        world.set(3);
        pass(&mut world, 1);
        assert_eq!(seen(&world).0, 1, "they start");
        pass(&mut world, 1);
        assert_eq!((seen(&world).0, seen(&world).1), (3, 1), "they have no rate");
        pass(&mut world, 30);
        let (running, told, mean) = seen(&world);
        assert_eq!((running, told), (3, 3));
        assert!((mean - 4.0).abs() < 1e-6, "{mean}");
        world.set(1);
        pass(&mut world, 1);
        assert_eq!((seen(&world).0, seen(&world).1), (1, 3), "they stop");
        pass(&mut world, 2);
        assert_eq!(seen(&world).1, 1);
    }
}
