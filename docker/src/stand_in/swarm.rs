//! The swarm of the stand-in: services and their tasks as functions of time. It has no socket and reads no clock.

mod answers;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use time::OffsetDateTime;

use super::{Config, Pace, Planned, Replica};
use crate::id::Id;

/// Most replicas of a service; a real engine would take more, and most hosts would not.
const REPLICAS: u64 = 1000;
/// Most tasks that are kept of a slot with those that have ended, as swarms do.
const HISTORY: usize = 5;

/// Why something is not done, as an engine says it: a status and its words.
pub(super) type Refusal = (u16, String);

pub(super) struct Swarm {
    pace: Pace,
    nodes: Vec<String>,
    services: Vec<Service>,
    /// Every change has a number.
    index: u64,
    ids: Ids,
    /// A moment on both clocks.
    epoch: (Instant, OffsetDateTime),
}

struct Service {
    id: String,
    name: String,
    /// Its specification as it was sent last.
    spec: String,
    previous: Option<String>,
    /// The part of the specification that tasks are made of.
    template: Value,
    replicas: u64,
    index: u64,
    made: Instant,
    changed: Instant,
    /// Until when its tasks are being replaced, since the last change of their template.
    rolls: Option<Instant>,
    tasks: Vec<Task>,
}

struct Task {
    id: String,
    slot: u64,
    node: usize,
    container: Id,
    process: u64,
    made: Instant,
    /// When its container runs.
    starts: Instant,
    /// When its container ends, once that is decided, and what the task is to become.
    ends: Option<(Instant, End)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It is one too many, and goes without a trace.
    Remove,
    /// Another one has its slot.
    Shutdown,
    /// Its container was stopped by hand.
    Failed,
}

impl Task {
    fn state(&self, now: Instant) -> &'static str {
        match self.ends {
            Some((at, End::Failed)) if at <= now => "failed",
            Some((at, _)) if at <= now => "shutdown",
            _ if self.starts <= now => "running",
            _ if now < self.made + (self.starts - self.made) / 10 => "pending",
            _ => "preparing",
        }
    }

    fn desired(&self) -> &'static str {
        match self.ends {
            None => "running",
            Some((_, End::Remove)) => "remove",
            Some(_) => "shutdown",
        }
    }

    fn runs(&self, now: Instant) -> bool {
        self.state(now) == "running"
    }

    fn name(&self, service: &Service) -> String {
        format!("{}.{}.{}", service.name, self.slot, self.id)
    }
}

impl Swarm {
    /// A swarm whose services run since ever.
    pub(super) fn new(config: Config, now: Instant, date: OffsetDateTime) -> Self {
        let mut ids = Ids(0);
        let nodes = (0..config.nodes.max(1)).map(|_| ids.text()).collect();
        let mut swarm =
            Self { pace: config.pace, nodes, services: Vec::new(), index: 10, ids, epoch: (now, date) };
        for planned in &config.services {
            swarm.create(planned, now);
        }
        swarm
    }

    fn create(&mut self, planned: &Planned, now: Instant) {
        let spec = planned.specification();
        let template = serde_json::from_str::<Value>(&spec).map(|mut spec| spec["TaskTemplate"].take());
        self.index += 1;
        let mut service = Service {
            id: self.ids.text(),
            name: planned.name.clone(),
            spec,
            previous: None,
            template: template.unwrap_or_default(),
            replicas: planned.replicas.min(REPLICAS),
            index: self.index,
            made: now,
            changed: now,
            rolls: None,
            tasks: Vec::new(),
        };
        for slot in 1..=service.replicas {
            let task = self.task(slot, now, now);
            service.tasks.push(task);
        }
        self.services.push(service);
    }

    fn task(&mut self, slot: u64, now: Instant, starts: Instant) -> Task {
        self.index += 1;
        let node = usize::try_from(slot).unwrap_or_default() % self.nodes.len();
        let (id, container) = (self.ids.text(), self.ids.container());
        Task { id, slot, node, container, process: 1000 + self.index, made: now, starts, ends: None }
    }

    /// Forgets what has ended by now.
    pub(super) fn advance(&mut self, now: Instant) {
        for service in &mut self.services {
            service.tasks.retain(|task| task.ends.is_none_or(|(at, end)| at > now || end != End::Remove));
            let mut newer: BTreeMap<u64, usize> = BTreeMap::new();
            let mut keep: Vec<bool> = Vec::with_capacity(service.tasks.len());
            for task in service.tasks.iter().rev() {
                let newer = newer.entry(task.slot).or_default();
                keep.push(*newer < HISTORY || task.ends.is_none_or(|(at, _)| at > now));
                *newer += 1;
            }
            service.tasks.retain(|_| keep.pop().unwrap_or(true));
        }
    }

    /// Gives a service, by name or id, the specification in `body` if it is still at this version.
    pub(super) fn update(
        &mut self,
        service: &str,
        version: u64,
        body: &[u8],
        now: Instant,
    ) -> Result<(), Refusal> {
        let bad = |why: String| (400, why);
        let spec = std::str::from_utf8(body).map_err(|error| bad(error.to_string()))?;
        let mut value: Value = serde_json::from_str(spec).map_err(|error| bad(error.to_string()))?;
        let at = self.find(service)?;
        let Some(found) = self.services.get_mut(at) else { return Err(unknown(service)) };
        if found.index != version {
            return Err((500, "rpc error: code = Unknown desc = update out of sequence".to_owned()));
        }
        if value["Name"] != found.name.as_str() {
            return Err((501, "rpc error: renaming services is not supported".to_owned()));
        }
        let replicas = value["Mode"]["Replicated"]["Replicas"].as_u64();
        let replicas = replicas.ok_or_else(|| (501, "service mode change is not allowed".to_owned()))?;
        if replicas > REPLICAS {
            return Err(bad(format!("this stand-in has room for {REPLICAS} replicas")));
        }
        self.index += 1;
        found.index = self.index;
        found.changed = now;
        found.replicas = replicas;
        found.rolls = None;
        found.previous = Some(std::mem::replace(&mut found.spec, spec.to_owned()));
        let template = value["TaskTemplate"].take();
        let replaced = template != found.template;
        found.template = template;
        if replaced {
            self.replace_all(at, now);
        }
        self.scale(at, now);
        Ok(())
    }

    /// Stops a container; its slot gets another task after the time that swarms wait before a restart.
    pub(super) fn stop(&mut self, container: &str, now: Instant) -> Result<(), Refusal> {
        let (at, slot) = {
            let mut tasks = self
                .services
                .iter_mut()
                .enumerate()
                .flat_map(|(at, service)| service.tasks.iter_mut().map(move |task| (at, task)));
            let found = tasks.find(|(_, task)| task.container.to_string() == container && task.starts <= now);
            let Some((at, task)) = found else {
                return Err((404, format!("No such container: {container}")));
            };
            if task.ends.is_some() {
                return Ok(());
            }
            task.ends = Some((now, End::Failed));
            (at, task.slot)
        };
        let task = self.task(slot, now, now + self.pace.restart + self.pace.start);
        if let Some(service) = self.services.get_mut(at) {
            service.tasks.push(task);
        }
        Ok(())
    }

    /// All tasks end and others take their slots: what becomes of a service whose template was changed.
    fn replace_all(&mut self, at: usize, now: Instant) {
        let Some(service) = self.services.get_mut(at) else { return };
        let mut slots = Vec::new();
        let mut end = now + self.pace.stop;
        for task in service.tasks.iter_mut().filter(|task| task.ends.is_none()) {
            task.ends = Some((end, End::Shutdown));
            slots.push((task.slot, end + self.pace.start));
            end += self.pace.stop_next;
        }
        service.rolls = slots.last().map(|(_, starts)| *starts);
        for (slot, starts) in slots {
            let task = self.task(slot, now, starts);
            if let Some(service) = self.services.get_mut(at) {
                service.tasks.push(task);
            }
        }
    }

    /// Begins and ends tasks until there are as many as there should be.
    fn scale(&mut self, at: usize, now: Instant) {
        let Some(service) = self.services.get_mut(at) else { return };
        let wanted = usize::try_from(service.replicas).unwrap_or_default();
        let mut slots: Vec<u64> =
            service.tasks.iter().filter(|task| task.ends.is_none()).map(|task| task.slot).collect();
        // Those that do not run yet go first, then those of the last slots.
        let mut staying: Vec<&mut Task> =
            service.tasks.iter_mut().filter(|task| task.ends.is_none()).collect();
        staying.sort_by_key(|task| (task.starts > now, task.slot));
        let mut end = now + self.pace.stop;
        for task in staying.into_iter().skip(wanted) {
            let at = if task.starts > now { now } else { end };
            end += if task.starts > now { Duration::ZERO } else { self.pace.stop_next };
            task.ends = Some((at, End::Remove));
        }
        let mut starts = now + self.pace.start;
        while slots.len() < wanted {
            let free = (1..).find(|slot| !slots.contains(slot)).unwrap_or_default();
            slots.push(free);
            let task = self.task(free, now, starts);
            if let Some(service) = self.services.get_mut(at) {
                service.tasks.push(task);
            }
            starts += self.pace.start_next;
        }
    }

    fn find(&self, name_or_id: &str) -> Result<usize, Refusal> {
        let found =
            self.services.iter().position(|service| service.name == name_or_id || service.id == name_or_id);
        found.ok_or_else(|| unknown(name_or_id))
    }

    /// The replicas whose containers run, in the order of services and slots.
    pub(super) fn running(&self, now: Instant) -> Vec<Replica> {
        let replica = |(service, task): (&Service, &Task)| Replica {
            service: service.name.clone(),
            slot: task.slot,
            name: task.name(service),
            container: task.container,
            node: task.node,
        };
        let mut running: Vec<Replica> = self.running_tasks(now).map(replica).collect();
        running.sort_by(|a, b| (&a.service, a.slot).cmp(&(&b.service, b.slot)));
        running
    }

    fn running_tasks(&self, now: Instant) -> impl Iterator<Item = (&Service, &Task)> {
        let of = move |service| -> Vec<(&Service, &Task)> {
            let service: &Service = service;
            service.tasks.iter().filter(|task| task.runs(now)).map(|task| (service, task)).collect()
        };
        self.services.iter().flat_map(of)
    }
}

fn unknown(service: &str) -> Refusal {
    (404, format!("service {service} not found"))
}

/// Ids as swarms and engines make them, the same ones in each stand-in.
struct Ids(u64);

impl Ids {
    /// The generator `splitmix64`.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 25 letters and digits.
    fn text(&mut self) -> String {
        (0..25).filter_map(|_| char::from_digit((self.next() % 36) as u32, 36)).collect()
    }

    fn container(&mut self) -> Id {
        let mut bytes = [0; 32];
        for part in bytes.chunks_exact_mut(8) {
            part.copy_from_slice(&self.next().to_be_bytes());
        }
        Id::from_bytes(bytes)
    }
}
