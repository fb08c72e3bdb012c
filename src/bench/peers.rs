//! Runs other programs, and ourselves as one, and sees what processor time they took.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use ingest::send::Sender;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// How long a program may take for what it should have done long ago.
const PATIENCE: Duration = Duration::from_secs(300);

/// Between two looks at a program.
const LOOK: Duration = Duration::from_millis(2);

/// Datagrams that are sent before the receiver is asked whether it has read them.
const CHUNK: usize = 64;

/// Bytes that may wait in its socket.
const MAY_WAIT: u64 = 32 << 10;

/// Where a program is: in PATH, or where system programs are.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(beside).map(|at| at.join(program)).find(|at| at.is_file())
}

/// A program that runs; it ends with this.
pub(crate) struct Running(Child);

impl Running {
    /// Starts it; its output goes to `out`, what it complains of to `log`.
    pub(crate) fn start(command: &mut Command, out: &Path, log: &Path) -> anyhow::Result<Self> {
        let file = |path: &Path| File::create(path).with_context(|| path.display().to_string());
        command.stdin(Stdio::null()).stdout(file(out)?).stderr(file(log)?);
        let name = command.get_program().to_string_lossy().into_owned();
        Ok(Self(command.spawn().with_context(|| format!("{name} cannot be started"))?))
    }

    fn pid(&self) -> anyhow::Result<Pid> {
        i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).context("a process without a number")
    }

    /// Whether it has ended. It is not waited for with this: its time is told until it is.
    fn has_ended(&self) -> anyhow::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        Ok(waitid(WaitId::Pid(self.pid()?), options).map_or(true, |status| status.is_some()))
    }

    /// The processor time that it and the children it has waited for took so far.
    pub(crate) fn took(&self) -> anyhow::Result<Duration> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).context("/proc is needed")?;
        ticks(&text).context("/proc/PID/stat is not as it should be").map(|ticks| {
            Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
        })
    }

    /// Waits until it ends; what it took in all.
    pub(crate) fn finish(mut self, stop: &AtomicBool) -> anyhow::Result<Duration> {
        let deadline = Instant::now() + PATIENCE;
        while !self.has_ended()? {
            self.check(deadline, stop)?;
            std::thread::sleep(LOOK);
        }
        let took = self.took()?;
        let status = self.0.wait()?;
        ensure!(status.success(), "it ended with {status}");
        Ok(took)
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn end(mut self, stop: &AtomicBool) -> anyhow::Result<()> {
        kill_process(self.pid()?, Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        while self.0.try_wait()?.is_none() {
            self.check(deadline, stop)?;
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn check(&mut self, deadline: Instant, stop: &AtomicBool) -> anyhow::Result<()> {
        ensure!(!stop.load(Ordering::Relaxed), "interrupted");
        ensure!(Instant::now() < deadline, "it does not end");
        Ok(())
    }

    /// Sends it these datagrams, no faster than it reads them.
    pub(crate) fn feed<'d>(
        &mut self,
        port: u16,
        datagrams: impl Iterator<Item = &'d [u8]>,
        stop: &AtomicBool,
    ) -> anyhow::Result<()> {
        self.wait_for(stop, || waits_in(port).is_some()).context("its port")?;
        let mut sender = Sender::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        let mut chunk = Vec::with_capacity(CHUNK);
        for datagram in datagrams {
            chunk.push(datagram);
            if chunk.len() == CHUNK {
                sender.send_all(&chunk);
                chunk.clear();
                self.wait_for(stop, || waits_in(port).is_none_or(|waits| waits < MAY_WAIT))?;
            }
        }
        sender.send_all(&chunk);
        self.wait_for(stop, || waits_in(port).is_none_or(|waits| waits == 0))
    }

    fn wait_for(&mut self, stop: &AtomicBool, mut until: impl FnMut() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !until() {
            self.check(deadline, stop)?;
            // One that is told how much to read ends by itself when it has: its socket is then gone, too.
            if self.has_ended()? && !until() {
                bail!("it ended with {}", self.0.wait()?);
            }
            std::thread::yield_now();
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already when all went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ticks of a line of `/proc/PID/stat`: user and system, its own and its children's. The name in it may hold anything.
fn ticks(line: &str) -> Option<u64> {
    let (_, rest) = line.rsplit_once(") ")?;
    let numbers: Vec<u64> =
        rest.split_whitespace().skip(11).take(4).filter_map(|word| word.parse().ok()).collect();
    (numbers.len() == 4).then(|| numbers.iter().sum())
}

/// Bytes that wait in the UDP socket at this port of IPv4; `None` where there is none.
fn waits_in(port: u16) -> Option<u64> {
    let sockets = fs::read_to_string("/proc/thread-self/net/udp").ok()?;
    waiting(&sockets, port)
}

fn waiting(sockets: &str, port: u16) -> Option<u64> {
    let local = format!(":{port:04X}");
    sockets.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let at = words.next()?;
        let (_, waits) = words.nth(2)?.split_once(':')?;
        at.ends_with(&local).then(|| u64::from_str_radix(waits, 16).ok())?
    })
}

/// A UDP port of loopback that nobody uses now.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("a free port")?.local_addr()?.port())
}

/// Lines of a file.
pub(crate) fn lines(path: &Path) -> anyhow::Result<u64> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path).context("its output")?);
    let mut count = 0;
    loop {
        let read = reader.fill_buf()?;
        if read.is_empty() {
            return Ok(count);
        }
        count += read.iter().filter(|byte| **byte == b'\n').count() as u64;
        let length = read.len();
        reader.consume(length);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_proc_says_is_read() {
        let line = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 100 20 3 4 20 0 1";
        assert_eq!(ticks(line), Some(127));
        assert_eq!(ticks("12 (a) S 1 2"), None);
        let sockets = "  sl  local_address rem_address   st tx_queue rx_queue tr\n\
            5: 0100007F:18C7 00000000:0000 07 00000000:00000A00 00:00000000 00000000 0 0 9 2 f 0\n";
        assert_eq!((waiting(sockets, 6343), waiting(sockets, 6344)), (Some(0xa00), None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_program_is_seen_to_have_worked_and_one_that_fails_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (out, log) = (folder.path().join("out"), folder.path().join("log"));
        let stop = AtomicBool::new(false);
        let run = |script: &str| {
            Running::start(Command::new("sh").args(["-c", script]), &out, &log).unwrap().finish(&stop)
        };
        assert!(
            run("n=0; while [ $n -lt 300000 ]; do n=$((n+1)); done; echo a; echo b").unwrap()
                > Duration::ZERO
        );
        assert_eq!(lines(&out).unwrap(), 2);
        assert!(run("exit 3").unwrap_err().to_string().contains("3"));
        assert!(find("sh").is_some() && find("no such program").is_none());
        let began = Instant::now();
        drop(Running::start(Command::new("sleep").arg("100"), &out, &log).unwrap());
        assert!(began.elapsed() < Duration::from_secs(20), "it ends with its handle");
        assert!(free_port().unwrap() > 0);
    }
}
