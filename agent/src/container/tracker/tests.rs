//! An engine that is made of the rules of the real one, and every interleaving of it with the tracker.

use proptest::prelude::*;

use super::*;

const POLLING: Duration = Duration::from_secs(10);

fn options() -> Options {
    Options { polling: POLLING, containers: 16, inspects: 2, longest_wait: LONGEST_WAIT, seed: 1 }
}

/// The engine: what it says is decided when it serves a question, and arrives later.
struct World {
    tracker: Tracker,
    start: Instant,
    now: Instant,
    clock: u64,
    containers: Vec<Model>,
    log: Vec<Event>,
    /// Events of the stream that have not arrived; `None` without a stream.
    stream: Option<usize>,
    register: Option<Option<EventTime>>,
    /// When the first stream began.
    since: Option<u64>,
    list_wanted: bool,
    list: Option<Vec<Listed>>,
    inspects: Vec<(Id, Option<Served>)>,
    samples: Vec<Sample>,
    /// Whether events that were not delivered are lost with the stream.
    forgetful: bool,
    sight: Sight,
}

/// What can be seen of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// Their ends, and what they have left.
    All,
    /// Their ends.
    Ends,
    /// That they are there, and what they have left.
    Presence,
    Nothing,
}

fn sight() -> impl Strategy<Value = Sight> {
    prop::sample::select(vec![Sight::All, Sight::Ends, Sight::Presence, Sight::Nothing])
}

enum Served {
    Container(Box<Container>),
    Gone,
}

#[derive(Default)]
struct Model {
    runs: Vec<Run>,
    /// The engine's view.
    state: Option<State>,
    removed: bool,
    name: String,
    /// Which run's process is watched.
    watched: Option<usize>,
}

struct Run {
    started_at: u64,
    alive: bool,
    died_at: Option<u64>,
    /// Whether an event of it has arrived.
    heard: bool,
    /// The engine's answer showed a later run before any event of this one arrived: it can go untold.
    overtaken: bool,
}

fn id(n: usize) -> Id {
    Id::from_bytes([u8::try_from(n).unwrap() + 1; 32])
}

fn container(n: usize, model: &Model) -> Container {
    let run = model.runs.last();
    let state = model.state.unwrap_or(State::Created);
    Container {
        id: id(n),
        name: model.name.clone(),
        pid: matches!(state, State::Running | State::Paused)
            .then(|| u32::try_from(model.runs.len()).unwrap()),
        state,
        started_at: run.map(|run| EventTime::from_nanos(run.started_at)),
        image: String::new(),
        hostname: String::new(),
        nano_cpus: None,
        cpu_quota_us: None,
        cpu_period_us: None,
        cpuset_cpus: String::new(),
        memory_limit_bytes: None,
        network_mode: String::new(),
        networks: Vec::new(),
        labels: BTreeMap::new(),
        cgroup_parent: String::new(),
    }
}

impl World {
    fn new(containers: usize, forgetful: bool, sight: Sight) -> Self {
        let start = Instant::now();
        let model = |n| Model { name: format!("c{n}"), ..Model::default() };
        let mut world = Self {
            tracker: Tracker::new(options()),
            start,
            now: start,
            clock: 5_000_000_000,
            containers: (0..containers).map(model).collect(),
            log: Vec::new(),
            stream: None,
            register: None,
            since: None,
            list_wanted: false,
            list: None,
            inspects: Vec::new(),
            samples: Vec::new(),
            forgetful,
            sight,
        };
        let effects = world.tracker.start();
        world.act(effects);
        world
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn emit(&mut self, n: usize, action: Action) {
        let time = EventTime::from_nanos(self.tick());
        let name = self.containers[n].name.clone();
        self.log.push(Event { id: id(n), action, name, exit_code: None, signal: None, time });
    }

    fn give(&mut self, input: Input) {
        let effects = self.tracker.on(input, self.now);
        self.act(effects);
    }

    fn act(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Register { since, .. } => {
                    assert!(self.register.is_none() && self.stream.is_none(), "two streams");
                    self.register = Some(since);
                }
                Effect::List => self.list_wanted = true,
                Effect::Inspect(id) => {
                    assert!(self.inspects.iter().all(|(asked, _)| *asked != id), "asked twice at once");
                    assert!(self.inspects.len() < 2);
                    self.inspects.push((id, None));
                }
                Effect::Open(container) => self.open(&container),
                Effect::OpenUnseen(container) => {
                    self.give(Input::Opened { id: container.id, watched: false });
                }
                Effect::Sample(sample) => self.samples.push(sample),
                Effect::Close(id) => self.model(id).watched = None,
                Effect::Update(_) | Effect::Release { .. } => {}
            }
        }
    }

    fn model(&mut self, id: Id) -> &mut Model {
        &mut self.containers[usize::from(id.bytes()[0]) - 1]
    }

    fn open(&mut self, container: &Container) {
        let run = container.pid.unwrap() as usize - 1;
        let sight = self.sight;
        let watched = matches!(sight, Sight::All | Sight::Ends);
        let model = self.model(container.id);
        let input = if sight != Sight::Nothing && model.runs[run].alive {
            model.watched = watched.then_some(run);
            Input::Opened { id: container.id, watched }
        } else if matches!(sight, Sight::All | Sight::Presence) {
            Input::NotOpened(container.id)
        } else {
            Input::Unseen(container.id)
        };
        self.give(input);
    }

    /// The ends that a watch shows are told before anything else about the container.
    fn see_exit(&mut self, n: usize) {
        let model = &self.containers[n];
        if model.watched.is_some_and(|run| !model.runs[run].alive) {
            self.give(Input::Exited(id(n)));
        }
    }

    fn start(&mut self, n: usize) {
        let started_at = self.tick();
        let model = &mut self.containers[n];
        if model.removed || matches!(model.state, Some(State::Running | State::Paused)) {
            return;
        }
        model.runs.push(Run { started_at, alive: true, died_at: None, heard: false, overtaken: false });
        model.state = Some(State::Running);
        self.emit(n, Action::Start);
    }

    fn exit(&mut self, n: usize) {
        if let Some(run) = self.containers[n].runs.last_mut() {
            run.alive = false;
        }
    }

    /// The engine sees that a process has ended.
    fn notice(&mut self, n: usize) {
        let model = &mut self.containers[n];
        if model.runs.last().is_some_and(|run| !run.alive && run.died_at.is_none()) {
            model.state = Some(State::Exited);
            self.emit(n, Action::Die);
            let at = self.clock;
            self.containers[n].runs.last_mut().unwrap().died_at = Some(at);
        }
    }

    fn remove(&mut self, n: usize) {
        let model = &mut self.containers[n];
        if model.state == Some(State::Exited) && !model.removed {
            model.removed = true;
            self.emit(n, Action::Destroy);
        }
    }

    fn pause(&mut self, n: usize) {
        let (next, action) = match self.containers[n].state {
            Some(State::Running) => (State::Paused, Action::Pause),
            Some(State::Paused) => (State::Running, Action::Unpause),
            _ => return,
        };
        self.containers[n].state = Some(next);
        self.emit(n, action);
    }

    fn rename(&mut self, n: usize) {
        if !self.containers[n].removed {
            let old = std::mem::take(&mut self.containers[n].name);
            self.containers[n].name = format!("{}'", old.chars().take(20).collect::<String>());
            self.emit(n, Action::Rename { old });
        }
    }

    fn deliver(&mut self) {
        let Some(at) = self.stream.filter(|at| *at < self.log.len()) else { return };
        self.stream = Some(at + 1);
        let event = self.log[at].clone();
        self.see_exit(usize::from(event.id.bytes()[0]) - 1);
        let began = |run: &&mut Run| run.started_at < event.time.as_nanos();
        if let Some(run) = self.model(event.id).runs.iter_mut().rev().find(began)
            && matches!(event.action, Action::Start | Action::Die)
        {
            run.heard = true;
        }
        self.give(Input::Event(event));
    }

    fn deliver_all(&mut self) {
        while self.stream.is_some_and(|at| at < self.log.len()) {
            self.deliver();
        }
    }

    fn register(&mut self) {
        let Some(since) = self.register.take() else { return };
        let from = |since: EventTime| {
            self.log.iter().position(|event| event.time >= since).unwrap_or(self.log.len())
        };
        self.stream = Some(since.map_or(self.log.len(), from));
        // Ends of the second before the first stream may be told too; here there are none.
        if self.since.is_none() {
            self.clock += 2_000_000_000;
        }
        let at = self.tick();
        self.since.get_or_insert(at);
        (0..self.containers.len()).for_each(|n| self.see_exit(n));
        self.give(Input::Registered(Some(EventTime::from_nanos(at))));
    }

    fn lose(&mut self) {
        if self.stream.take().is_some() {
            if self.forgetful {
                // Times stay; what is not delivered is replaced by nothing.
                self.log.clear();
            }
            self.list = None;
            self.list_wanted = false;
            self.give(Input::StreamLost);
        }
    }

    fn serve_list(&mut self) {
        if std::mem::take(&mut self.list_wanted) {
            let running = self.containers.iter().enumerate().filter_map(|(n, model)| {
                let state = model.state.filter(|state| matches!(state, State::Running | State::Paused))?;
                Some(Listed { id: id(n), name: model.name.clone(), state })
            });
            self.list = Some(running.collect());
        }
    }

    fn return_list(&mut self) {
        if let Some(list) = self.list.take() {
            (0..self.containers.len()).for_each(|n| self.see_exit(n));
            self.give(Input::Listed(list));
        }
    }

    fn serve_inspect(&mut self, at: usize) {
        let Some(at) = at.checked_rem(self.inspects.len()) else { return };
        let n = usize::from(self.inspects[at].0.bytes()[0]) - 1;
        let model = &self.containers[n];
        let served =
            if model.removed { Served::Gone } else { Served::Container(Box::new(container(n, model))) };
        self.inspects[at].1.get_or_insert(served);
    }

    fn return_inspect(&mut self, at: usize) {
        let Some(at) = at.checked_rem(self.inspects.len()) else { return };
        if self.inspects[at].1.is_some() {
            let (id, served) = self.inspects.remove(at);
            if let Some(Served::Container(container)) = &served {
                let shown = container.started_at.map_or(0, EventTime::as_nanos);
                for run in self.model(id).runs.iter_mut().filter(|run| run.started_at < shown && !run.heard) {
                    run.overtaken = true;
                }
            }
            self.give(match served.unwrap() {
                Served::Container(container) => Input::Inspected(container),
                Served::Gone => Input::Gone(id),
            });
        }
    }

    fn fail_inspect(&mut self, at: usize) {
        if let Some(at) = at.checked_rem(self.inspects.len()) {
            let (id, _) = self.inspects.remove(at);
            self.give(Input::InspectFailed(id));
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        if self.tracker.due().is_some_and(|due| due <= self.now) {
            self.give(Input::Due);
        }
    }

    /// Everything that is on its way arrives.
    fn settle(&mut self) {
        for _ in 0..200 {
            for n in 0..self.containers.len() {
                self.notice(n);
                self.see_exit(n);
            }
            self.register();
            self.deliver_all();
            self.serve_list();
            self.return_list();
            while !self.inspects.is_empty() {
                self.serve_inspect(0);
                self.return_inspect(0);
            }
            self.pass(Duration::from_secs(11));
        }
    }

    fn causes(&self, n: usize) -> Vec<Cause> {
        let own = self.samples.iter().filter(|sample| sample.id == id(n));
        own.map(|sample| sample.cause).filter(|cause| matches!(cause, Cause::First | Cause::Last)).collect()
    }

    /// What holds whatever was lost.
    fn check_order(&self) {
        for (n, model) in self.containers.iter().enumerate() {
            let causes = self.causes(n);
            assert!(
                !causes.windows(2).any(|two| two == [Cause::First; 2]),
                "two firsts without a last: {causes:?}"
            );
            let runs = model.runs.last().is_some_and(|run| run.alive);
            let tracked = causes.last() == Some(&Cause::First);
            assert_eq!(tracked, runs, "container {n} runs: {runs}; {causes:?}");
            let own: Vec<&Sample> = self.samples.iter().filter(|sample| sample.id == id(n)).collect();
            assert!(
                own.iter().all(|sample| (sample.state == RunState::Stopped) == (sample.cause == Cause::Last))
            );
            if let Some(last) = own.last().filter(|_| runs) {
                let paused = model.state == Some(State::Paused);
                assert_eq!(last.state == RunState::Paused, paused, "container {n}");
                assert_eq!(last.name, model.name);
            }
        }
        let running =
            self.containers.iter().filter(|model| model.runs.last().is_some_and(|run| run.alive)).count();
        assert_eq!(self.tracker.alive(), running);
        assert_eq!(self.tracker.timers.len(), running, "a timer for each that runs, and no other");
    }

    /// What holds when every event came at last.
    fn check_counts(&self) {
        for (n, model) in self.containers.iter().enumerate() {
            let since = self.since.unwrap();
            let ended = model.runs.iter().filter(|run| run.died_at.is_some_and(|at| at > since));
            let sure = ended.clone().filter(|run| !run.overtaken).count();
            let causes = self.causes(n);
            let lasts = causes.iter().filter(|cause| **cause == Cause::Last).count();
            assert!((sure..=ended.clone().count()).contains(&lasts), "container {n}: {causes:?}");
            // Only the run that was there before the agent can have its last sample alone.
            let alone = lasts - causes.windows(2).filter(|two| *two == [Cause::First, Cause::Last]).count();
            let before = ended.filter(|run| run.started_at < since).count();
            assert!(alone <= before.min(1), "container {n}: {causes:?}");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Start(usize),
    Exit(usize),
    Notice(usize),
    Remove(usize),
    Pause(usize),
    Rename(usize),
    SeeExit(usize),
    Deliver,
    Register,
    Lose,
    ServeList,
    ReturnList,
    ServeInspect(usize),
    ReturnInspect(usize),
    FailInspect(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let n = 0..3_usize;
    prop_oneof![
        4 => n.clone().prop_map(Step::Start),
        4 => n.clone().prop_map(Step::Exit),
        4 => n.clone().prop_map(Step::Notice),
        1 => n.clone().prop_map(Step::Remove),
        1 => n.clone().prop_map(Step::Pause),
        1 => n.clone().prop_map(Step::Rename),
        3 => n.clone().prop_map(Step::SeeExit),
        8 => Just(Step::Deliver),
        3 => Just(Step::Register),
        1 => Just(Step::Lose),
        2 => Just(Step::ServeList),
        2 => Just(Step::ReturnList),
        4 => n.clone().prop_map(Step::ServeInspect),
        4 => n.clone().prop_map(Step::ReturnInspect),
        1 => n.prop_map(Step::FailInspect),
        1 => (1..15_000_u64).prop_map(Step::Pass),
    ]
}

fn run(steps: &[Step], forgetful: bool, sight: Sight) -> World {
    let mut world = World::new(3, forgetful, sight);
    for step in steps {
        match *step {
            Step::Start(n) => world.start(n),
            Step::Exit(n) => world.exit(n),
            Step::Notice(n) => world.notice(n),
            Step::Remove(n) => world.remove(n),
            Step::Pause(n) => world.pause(n),
            Step::Rename(n) => world.rename(n),
            Step::SeeExit(n) => world.see_exit(n),
            Step::Deliver => world.deliver(),
            Step::Register => world.register(),
            Step::Lose => world.lose(),
            Step::ServeList => world.serve_list(),
            Step::ReturnList => world.return_list(),
            Step::ServeInspect(at) => world.serve_inspect(at),
            Step::ReturnInspect(at) => world.return_inspect(at),
            Step::FailInspect(at) => world.fail_inspect(at),
            Step::Pass(ms) => world.pass(Duration::from_millis(ms)),
        }
    }
    world.settle();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn every_run_has_one_first_and_one_last_sample(
        steps in prop::collection::vec(step(), 1..120), sight in sight(),
    ) {
        let world = run(&steps, false, sight);
        world.check_order();
        world.check_counts();
    }

    #[test]
    fn none_is_left_behind_when_events_are_lost(
        steps in prop::collection::vec(step(), 1..120), sight in sight(),
    ) {
        run(&steps, true, sight).check_order();
    }
}

/// A world that has registered and listed.
fn ready() -> World {
    let mut world = World::new(3, false, Sight::All);
    world.register();
    world.serve_list();
    world.return_list();
    world
}

fn answer(world: &mut World) {
    world.serve_inspect(0);
    world.return_inspect(0);
}

#[test]
fn the_list_waits_for_the_registration_and_inspection_for_the_list() {
    let mut world = World::new(3, false, Sight::All);
    world.start(0);
    assert!(world.register.is_some() && !world.list_wanted && world.inspects.is_empty());
    world.register();
    assert!(world.list_wanted && world.inspects.is_empty());
    world.serve_list();
    world.return_list();
    assert_eq!(world.inspects.len(), 1);
    answer(&mut world);
    assert_eq!(world.causes(0), [Cause::First]);
}

#[test]
fn samples_come_at_once_after_a_second_and_then_by_the_interval() {
    let mut world = ready();
    world.start(1);
    world.deliver();
    answer(&mut world);
    let mut at = Vec::new();
    for _ in 0..5 {
        let due = world.tracker.due().unwrap();
        world.pass(due - world.now);
        at.push((due - world.start).as_secs_f64());
    }
    assert_eq!(at[0], 1.0);
    assert!(at[1] - at[0] >= 1.0 && at[1] - at[0] <= 10.0, "{at:?}");
    assert!(at.windows(2).skip(1).all(|two| (two[1] - two[0] - 10.0).abs() < 1e-6), "{at:?}");
    assert_eq!(world.samples.len(), 6);
    let index = Indexes::default().take(&id(1));
    assert!(world.samples.iter().all(|sample| sample.index == index && sample.name == "c1"));
}

#[test]
fn phases_are_spread_over_half_of_the_interval() {
    let mut timers = Timers::new(1);
    let phases: Vec<f64> = (0..1000).map(|_| timers.phase(POLLING).as_secs_f64()).collect();
    let within = |from: f64, to: f64| phases.iter().filter(|at| (from..to).contains(*at)).count();
    assert_eq!(within(5.0, 10.01), 1000);
    assert!(
        (5..10).all(|second| (140..270).contains(&within(f64::from(second), f64::from(second + 1)))),
        "{phases:?}"
    );
}

#[test]
fn another_interval_holds_at_once() {
    let mut world = ready();
    // As without counters: a day.
    world.tracker.set_polling(Duration::from_secs(86_400), world.now);
    for n in 0..3 {
        world.start(n);
        world.deliver();
        answer(&mut world);
    }
    world.pass(SECOND_SAMPLE);
    assert!(world.tracker.due().unwrap() > world.now + POLLING);
    world.tracker.set_polling(POLLING, world.now);
    let sampled = world.samples.len();
    world.pass(POLLING);
    assert_eq!(world.samples.len(), sampled + 3);
    let due = world.tracker.due().unwrap();
    world.tracker.set_polling(Duration::from_secs(86_400), world.now);
    assert_eq!(world.tracker.due(), Some(due), "the next one is sent all the same");
}

#[test]
fn of_runs_that_were_over_before_an_answer_the_last_is_the_newest() {
    let mut world = ready();
    for _ in 0..3 {
        world.start(0);
        world.exit(0);
        world.notice(0);
    }
    world.deliver();
    while !world.inspects.is_empty() {
        answer(&mut world);
    }
    let newest: Vec<bool> = world.samples.iter().map(|sample| sample.newest).collect();
    let (last, earlier) = newest.split_last().unwrap();
    assert!(*last && !earlier.is_empty() && !earlier.contains(&true), "{newest:?}");
    let causes = world.causes(0);
    assert!(causes.chunks(2).all(|run| run == [Cause::First, Cause::Last]), "{causes:?}");
}

#[test]
fn of_a_container_that_was_over_before_it_was_opened_beginning_and_end_are_told() {
    let mut world = ready();
    world.start(0);
    world.exit(0);
    world.deliver();
    answer(&mut world);
    world.notice(0);
    world.deliver();
    assert_eq!(world.causes(0), [Cause::First, Cause::Last]);
    let counts = world.tracker.counts();
    assert_eq!((counts.firsts, counts.lasts, counts.unopened), (1, 1, 1));
}

#[test]
fn a_run_from_before_the_agent_came_has_its_end_told_alone() {
    let mut world = World::new(3, false, Sight::All);
    world.start(0);
    let events = world.log.len();
    world.register();
    world.serve_list();
    world.exit(0);
    world.notice(0);
    world.remove(0);
    assert_eq!(world.stream, Some(events), "its start was before the stream");
    world.deliver();
    answer(&mut world);
    assert_eq!(world.causes(0), [Cause::Last]);
    assert_eq!(world.tracker.counts().firsts, 0);
}

#[test]
fn a_container_whose_process_is_hidden_runs_as_the_engine_says() {
    let mut world = World::new(3, false, Sight::Nothing);
    world.start(0);
    world.register();
    world.serve_list();
    world.return_list();
    answer(&mut world);
    assert_eq!(world.causes(0), [], "the engine is asked again");
    answer(&mut world);
    assert_eq!((world.causes(0), world.tracker.alive()), (vec![Cause::First], 1));
    // Of one that is over the second answer says so.
    world.start(1);
    world.deliver();
    answer(&mut world);
    world.exit(1);
    world.notice(1);
    answer(&mut world);
    world.settle();
    assert_eq!((world.causes(0), world.causes(1)), (vec![Cause::First], vec![Cause::First, Cause::Last]));
    world.exit(0);
    world.settle();
    world.check_order();
    world.check_counts();
    assert_eq!(world.causes(0), [Cause::First, Cause::Last]);
}

#[test]
fn a_restart_keeps_the_data_source() {
    let mut world = ready();
    for _ in 0..2 {
        world.start(0);
        world.deliver();
        answer(&mut world);
        world.exit(0);
        world.see_exit(0);
        world.notice(0);
        world.deliver();
    }
    assert_eq!(world.causes(0), [Cause::First, Cause::Last, Cause::First, Cause::Last]);
    let index = Indexes::default().take(&id(0));
    assert!(world.samples.iter().all(|sample| sample.index == index));
}

#[test]
fn a_container_is_followed_through_a_clock_that_was_set_back() {
    const HOUR_NS: u64 = 3_600_000_000_000;
    // Told by the first event after it, or by the engine's time when the stream begins anew.
    for lost in [false, true] {
        let mut world = World::new(3, false, Sight::All);
        world.clock += 2 * HOUR_NS;
        world.register();
        world.serve_list();
        world.return_list();
        for set_back in [true, false, true] {
            world.start(0);
            world.deliver_all();
            answer(&mut world);
            world.pause(0);
            world.deliver_all();
            assert_eq!(world.samples.last().unwrap().state, RunState::Paused);
            if set_back {
                world.clock -= HOUR_NS / 2;
            }
            if lost {
                world.lose();
                world.register();
                world.serve_list();
                world.return_list();
            }
            world.pause(0);
            world.deliver_all();
            assert_eq!(world.samples.last().unwrap().state, RunState::Running);
            world.exit(0);
            world.see_exit(0);
            world.notice(0);
            world.deliver_all();
            assert_eq!(world.causes(0).last(), Some(&Cause::Last));
        }
        world.start(0);
        world.settle();
        world.check_order();
        assert_eq!(world.causes(0).len(), 7, "{:?}", world.causes(0));
    }
}

#[test]
fn an_engine_that_hangs_is_asked_again_and_what_ended_is_told_without_it() {
    let mut world = ready();
    world.start(0);
    world.deliver();
    for n in 0..8 {
        world.fail_inspect(0);
        let wait = world.tracker.due().unwrap() - world.now;
        assert!(wait <= LONGEST_WAIT && wait >= SHORTEST_WAIT * (1 << n.min(4)), "{wait:?}");
        world.pass(wait);
    }
    world.exit(0);
    world.notice(0);
    world.deliver();
    world.fail_inspect(0);
    assert_eq!(world.causes(0), [Cause::First, Cause::Last]);
    assert_eq!(world.tracker.alive(), 0);
}

#[test]
fn a_lost_stream_is_awaited_longer_and_longer_until_it_is_back() {
    let mut tracker = Tracker::new(options());
    let now = Instant::now();
    let mut wait = || {
        let effects = tracker.on(Input::StreamLost, now);
        let [Effect::Register { after, .. }] = effects[..] else { panic!("{effects:?}") };
        after.as_millis()
    };
    let waits: Vec<u128> = (0..8).map(|_| wait()).collect();
    assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    tracker.on(Input::Registered(Some(EventTime::from_nanos(7_000_000_000))), now);
    tracker.on(Input::Listed(Vec::new()), now);
    let effects = tracker.on(Input::StreamLost, now);
    let [Effect::Register { after, since }] = effects[..] else { panic!("{effects:?}") };
    assert_eq!((after.as_millis(), since.unwrap().as_nanos()), (200, 6_000_000_000));
}

#[test]
fn containers_beyond_the_limit_are_refused_and_past_ones_let_go() {
    let mut tracker = Tracker::new(Options { containers: 2, ..options() });
    let now = Instant::now();
    let event = |n: usize, action, at| {
        let time = EventTime::from_nanos(at);
        Input::Event(Event { id: id(n), action, name: String::new(), exit_code: None, signal: None, time })
    };
    for n in 0..3 {
        tracker.on(event(n, Action::Start, n as u64 + 1), now);
    }
    assert_eq!((tracker.alive(), tracker.counts().refused), (2, 1));
    tracker.on(Input::Gone(id(0)), now);
    tracker.on(Input::Gone(id(1)), now);
    let mut released = Vec::new();
    for n in 2..100 {
        tracker.on(event(n, Action::Start, 100 + n as u64), now);
        let effects = tracker.on(Input::Gone(id(n)), now);
        let index =
            |effect: &Effect| if let Effect::Release { index } = effect { Some(*index) } else { None };
        released.extend(effects.iter().filter_map(index));
    }
    assert_eq!((tracker.alive(), tracker.entries.len(), tracker.past.len()), (0, 2, 2));
    let mut indexes = Indexes::default();
    assert!(released.iter().copied().eq((0..98).map(|n| indexes.take(&id(n)))), "{released:?}");
}
