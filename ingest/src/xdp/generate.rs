//! A generator of frames, for measuring: an XDP program that the kernel runs on frames it holds ready, so that one
//! processor makes a million and more of them in a second. Needs root, and Linux 5.18.
//!
//! The other end of the interface must take XDP frames: for a veth, its peer has an XDP program or GRO on, see
//! [`receive_offload`].

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libxdp_sys as bpf;

use super::object::{LoadError, Object};

static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/generate.bpf.o"));

/// Templates at most. This and the following stand in `generate.bpf.c` too.
pub const MOST_TEMPLATES: usize = 16_384;

/// The longest frame, bytes; and the shortest.
pub const LONGEST_FRAME: usize = 1536;
const SHORTEST_FRAME: usize = 60;

/// Numbers that grow in one frame at most.
pub const MOST_MOVING: usize = 24;

/// Probes whose times are kept.
pub const PROBES: usize = 65_536;

/// Sizes of the program's structures: words of 32 bits before a template's frame, bytes of the whole.
const BEFORE_FRAME: usize = 3 + 2 * MOST_MOVING;
const TEMPLATE: usize = BEFORE_FRAME * 4 + LONGEST_FRAME + 4;
const SETTINGS: usize = 48;
const STATE: usize = 72;

/// Where in the settings the time is, and in the state the place in the turn.
const TIME: usize = 32;
const PLACE: usize = 64;

/// A frame that is sent again and again.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// All of it from the Ethernet header on.
    pub bytes: Vec<u8>,
    /// Where its UDP checksum is, when it has one.
    pub checksum_at: Option<u16>,
    /// Numbers of 32 bits that grow: where they are, an even number of bytes from the begin, and by how much each time it
    /// is sent.
    pub moving: Vec<(u16, u32)>,
}

/// Why there is no generator.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The program cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its maps cannot be filled.
    #[error("the generator's templates: {0}")]
    Templates(#[source] io::Error),
}

/// What is to be sent, and where.
#[derive(Clone, Copy, Debug)]
pub struct Aim {
    /// The number of the interface, in the network namespace of the thread that calls; nowhere when `None`, to see what
    /// making frames costs by itself.
    pub interface: Option<u32>,
    /// Frames per second, evenly; as fast as it can when `None`.
    pub per_s: Option<f64>,
    /// This long after the first frame nothing is sent any more.
    pub time: Duration,
    /// Frames at most.
    pub most: u64,
    /// Every so many frames one is the probe; none when 0.
    pub probe_every: u32,
    /// Runs after which the frames among them leave, 64 at most: they are received together.
    pub together: u32,
}

impl Default for Aim {
    fn default() -> Self {
        Self {
            interface: None,
            per_s: None,
            time: Duration::from_secs(1 << 30),
            most: u64::MAX,
            probe_every: 0,
            together: MOST_TOGETHER,
        }
    }
}

/// What was sent since the last [`Generator::aim`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Frames, probes among them. How many of them the interface had no room for, it tells itself.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Probes.
    pub probes: u64,
    /// Runs of the program that came before a frame was due.
    pub early: u64,
    /// Frames that the kernel would not change.
    pub refused: u64,
    /// From the first frame to the last.
    pub time: Duration,
}

/// Runs of which the frames leave together, unless an aim says less.
const MOST_TOGETHER: u32 = 64;

/// How long a run that comes too early waits at least, before it sends nothing (`WAIT_NS` in the program).
const WAIT: Duration = Duration::from_micros(1);

/// What making and sending a frame takes at least, nanoseconds; and what is assumed until it is known.
const LEAST_NS: f64 = 150.0;
const ASSUMED_NS: f64 = 300.0;

/// What one call is to last at most: what is left of it when it is to stop takes a tenth of that.
const CALL: Duration = Duration::from_secs(10);

/// How often is looked whether it is to stop.
const WATCH: Duration = Duration::from_millis(50);

/// Who is later than this does not hurry after it: a switch does not either.
const LATE: Duration = Duration::from_millis(1);

/// Templates in the kernel, and a program that sends them.
#[derive(Debug)]
pub struct Generator {
    object: Object,
    /// What the kernel makes its frames of: as long as the longest.
    frame: Vec<u8>,
    templates: u32,
    aim: Aim,
    /// What a run took of late.
    run_ns: f64,
}

impl Generator {
    /// A generator that sends these in turn, and `probe` where it is asked for.
    ///
    /// # Errors
    /// The process lacks a privilege, the kernel is too old, or a template is too long.
    pub fn new<'t>(
        templates: impl IntoIterator<Item = &'t Template>,
        probe: Option<&Template>,
    ) -> Result<Self, GenerateError> {
        let object = Object::load(PROGRAM)?;
        let map = object.map("templates")?;
        let (mut count, mut longest) = (0_u32, SHORTEST_FRAME);
        let mut put = |number: u32, template: &Template| -> Result<(), GenerateError> {
            longest = longest.max(template.bytes.len());
            let value = packed(template).map_err(GenerateError::Templates)?;
            map.update(&number.to_ne_bytes(), &value).map_err(GenerateError::Templates)
        };
        for template in templates {
            put(count, template)?;
            count += 1;
        }
        if let Some(probe) = probe {
            put(count, probe)?;
        }
        let (frame, aim) = (vec![0; longest], Aim::default());
        Ok(Self { object, frame, templates: count, aim, run_ns: ASSUMED_NS })
    }

    /// Says what the next calls send. Where it is in the turn of the templates stays as it is.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn aim(&mut self, aim: &Aim) -> io::Result<()> {
        let apart = aim.per_s.map_or(0, |per_s| (65_536e9 / per_s).max(1.0) as u64);
        let late = u64::try_from(LATE.as_nanos()).unwrap_or(0) << 16;
        let time_ns = u64::try_from(aim.time.as_nanos()).unwrap_or(u64::MAX);
        let mut settings = Vec::with_capacity(SETTINGS);
        for word in [aim.interface.unwrap_or(0), self.templates, aim.probe_every, 0] {
            settings.extend(word.to_ne_bytes());
        }
        for word in [apart, late, time_ns, aim.most] {
            settings.extend(word.to_ne_bytes());
        }
        // The place in the turn is the only thing that goes on.
        let mut next = [0; STATE];
        let place = self.state()?.get(PLACE..PLACE + 4).and_then(|place| place.first_chunk().copied());
        next[PLACE..PLACE + 4].copy_from_slice(&place.unwrap_or([0; 4]));
        self.map("state")?.update(&[0; 4], &next)?;
        self.map("settings")?.update(&[0; 4], &settings)?;
        self.aim = *aim;
        Ok(())
    }

    /// Sends as the aim says, until its time is over, it has sent enough, or `stop` is raised, which is seen within a
    /// moment. The network namespace is that of the thread.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn send(&mut self, stop: &AtomicBool) -> io::Result<Sent> {
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let this = &*self;
            // A call to the kernel cannot be taken back, but what it is to do can be.
            scope.spawn(|| {
                while !ended.load(Ordering::Acquire) {
                    if stop.load(Ordering::Relaxed) {
                        let _ = this.halt();
                        return;
                    }
                    std::thread::park_timeout(WATCH);
                }
            });
            let result = this.send_all(stop);
            ended.store(true, Ordering::Release);
            result
        })
        .and_then(|run_ns| {
            self.run_ns = run_ns;
            self.sent()
        })
    }

    /// Calls the kernel until all is sent; what a run took.
    fn send_all(&self, stop: &AtomicBool) -> io::Result<f64> {
        let (began, mut run_ns) = (Instant::now(), self.run_ns);
        loop {
            let sent = self.sent()?;
            let left = self.aim.time.saturating_sub(began.elapsed()).min(CALL);
            if stop.load(Ordering::Relaxed) || left.is_zero() || sent.frames >= self.aim.most {
                return Ok(run_ns);
            }
            let runs = match self.aim.per_s {
                Some(per_s) => left.as_secs_f64() * per_s + left.as_nanos() as f64 / WAIT.as_nanos() as f64,
                None => left.as_nanos() as f64 / run_ns,
            };
            let most = (self.aim.most - sent.frames) as f64;
            let runs = if self.aim.per_s.is_none() { runs.min(most) } else { runs };
            let runs = runs.clamp(1.0, f64::from(i32::MAX)) as u32;
            let calling = Instant::now();
            match self.run(runs) {
                // A signal ends a call early.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => result?,
            }
            let frames = self.sent()?.frames - sent.frames;
            if self.aim.per_s.is_none() && frames > 0 {
                run_ns = (calling.elapsed().as_nanos() as f64 / frames as f64).max(LEAST_NS);
            }
        }
    }

    /// Has the program send nothing any more.
    fn halt(&self) -> io::Result<()> {
        let mut settings = self.map("settings")?.lookup(&[0; 4])?.unwrap_or_default();
        if let Some(time) = settings.get_mut(TIME..TIME + 8) {
            time.fill(0);
        }
        self.map("settings")?.update(&[0; 4], &settings)
    }

    /// Runs the program so many times: as many frames are sent, but for those that are not due. The network namespace is
    /// that of the thread.
    ///
    /// # Errors
    /// Those of the kernel; a signal came when it is [`io::ErrorKind::Interrupted`].
    pub fn run(&self, runs: u32) -> io::Result<()> {
        // SAFETY: all-zero bytes are a valid value: numbers and null pointers.
        let mut options: bpf::bpf_test_run_opts = unsafe { zeroed() };
        options.sz = size_of::<bpf::bpf_test_run_opts>();
        options.data_in = self.frame.as_ptr().cast();
        options.data_size_in = self.frame.len() as u32;
        options.repeat = i32::try_from(runs).unwrap_or(i32::MAX);
        options.batch_size = self.aim.together.clamp(1, MOST_TOGETHER);
        options.flags = bpf::BPF_F_TEST_XDP_LIVE_FRAMES;
        let program = self.object.program("generate").map_err(io::Error::other)?;
        // SAFETY: the program is loaded; the options say their own size, and point to a buffer of the length beside the
        // pointer, which the kernel only reads; both live until the call returns.
        let result = unsafe { bpf::bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut options) };
        super::object::done(result)
    }

    /// What was sent since the last [`Generator::aim`].
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn sent(&self) -> io::Result<Sent> {
        let state = self.state()?;
        let word = |n: usize| {
            state.get(n * 8..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_ne_bytes(*word))
        };
        let time = Duration::from_nanos(word(7).saturating_sub(word(6)));
        Ok(Sent { frames: word(1), bytes: word(2), early: word(3), probes: word(4), refused: word(5), time })
    }

    /// When the `n`th probe since the last [`Generator::aim`] was sent, as [`now_ns`] counts.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn probe_ns(&self, n: usize) -> io::Result<u64> {
        let value = self.map("probes")?.lookup(&((n % PROBES) as u32).to_ne_bytes())?.unwrap_or_default();
        Ok(value.first_chunk().map_or(0, |word| u64::from_ne_bytes(*word)))
    }

    fn state(&self) -> io::Result<Vec<u8>> {
        self.map("state")?.lookup(&[0; 4])?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn map(&self, name: &str) -> io::Result<super::object::Map<'_>> {
        self.object.map(name).map_err(io::Error::other)
    }
}

/// The clock of [`Generator::probe_ns`], nanoseconds.
pub fn now_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// Has an interface of the thread's network namespace put what it receives together (GRO), or not: with it on, a veth takes
/// XDP frames without an XDP program of its own.
///
/// # Errors
/// Those of the kernel.
pub fn receive_offload(interface: &str, on: bool) -> io::Result<()> {
    /// `ETHTOOL_SGRO`, and the structure that it takes.
    const SET_GRO: u32 = 0x2c;
    let mut value = [SET_GRO, u32::from(on)];
    // SAFETY: all-zero bytes are a valid value: numbers, and a pointer that is set below.
    let mut request: libc::ifreq = unsafe { zeroed() };
    let name = interface.as_bytes();
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: the request names an interface and points to the structure of this command, two words; both live until the
    // call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A template as the program has it.
fn packed(template: &Template) -> io::Result<Vec<u8>> {
    let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
    let length = template.bytes.len();
    if !(SHORTEST_FRAME..=LONGEST_FRAME).contains(&length) {
        return Err(wrong(format!(
            "a frame of {length} bytes: {SHORTEST_FRAME} to {LONGEST_FRAME} are possible"
        )));
    }
    if template.moving.len() > MOST_MOVING {
        return Err(wrong(format!(
            "{} numbers that grow: {MOST_MOVING} are possible",
            template.moving.len()
        )));
    }
    let mut value = Vec::with_capacity(TEMPLATE);
    let checksum_at = template.checksum_at.map_or(0, u32::from);
    for word in [length as u32, template.moving.len() as u32, checksum_at] {
        value.extend(word.to_ne_bytes());
    }
    for (at, add) in template.moving.iter().copied().chain(std::iter::repeat((0, 0))).take(MOST_MOVING) {
        value.extend(u32::from(at).to_ne_bytes());
        value.extend(add.to_ne_bytes());
    }
    value.extend([0; 2]);
    value.extend(&template.bytes);
    value.resize(TEMPLATE, 0);
    Ok(value)
}
