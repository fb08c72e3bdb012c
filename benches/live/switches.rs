//! Switches that take rules as `finderscope-acl` does and note when the first byte of a rule arrives. All are one server,
//! each has a path of its own and so a connection of its own. And the configuration of a collector that captures at them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Where the agents of the switches are.
pub(crate) fn agent(switch: usize) -> Ipv4Addr {
    Ipv4Addr::new(172, 16, 9, switch as u8 + 1)
}

/// A list of so many entries that has 45.9.148.0/24, the others in 45.10.0.0 and on; each number gives another one, of which
/// most is the same.
pub(crate) fn list(number: u32, entries: u32) -> String {
    let mut text = "45.9.148.0/24\n".to_owned();
    for n in 0..entries - 1 {
        // Every second address, so that none makes one prefix with another.
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(45, 10, 0, 0)) + 2 * (n + number));
        let _ = writeln!(text, "{address}");
    }
    text
}

/// A collector's configuration in a folder: that list as a feed, and captures at these switches.
pub(crate) fn configure(folder: &Path, switches: &Switches, count: usize, entries: u32) {
    fs::write(folder.join("list.txt"), list(0, entries)).unwrap();
    let mut text = "[actions]\nmode = 'act'\nowner = 'main'\n\
        [feed.bad]\npath = 'list.txt'\nset = 'emerging'\n\
        [capture.emerging]\ngroup = 'emerging'\nanalyzer = '10.0.0.70'\nttl_s = 1\nhold_s = 0\n\
        [capture_limits]\nsessions = 4096\nsessions_per_switch = 1000\nsessions_per_analyzer = 4096\n\
        begun_per_minute = 100000\nbegun_per_minute_per_switch = 100000\n\
        bits_per_second = 1e12\nbits_per_second_per_switch = 1e12\nbits_per_second_per_analyzer = 1e12\n"
        .to_owned();
    for switch in 0..count {
        let (agent, url) = (agent(switch), switches.url(switch));
        let _ = write!(
            text,
            "[[agents.listed]]\naddress = '{agent}'\nsources = ['127.0.0.1']\n[[switch]]\nagent = '{agent}'\nurl = '{url}'\n"
        );
    }
    fs::write(folder.join("finderscope.toml"), text).unwrap();
}

/// A rule that was put: its name, and when the first byte of the request could be read.
pub(crate) type Put = (String, Instant);

/// Rules of a switch by their names, as the bodies that put them.
type Rules = BTreeMap<String, Vec<u8>>;

/// The server; it goes with the process.
pub(crate) struct Switches {
    address: SocketAddr,
    pub(crate) puts: Receiver<Put>,
}

impl Switches {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (send, puts) = channel();
        let rules = Arc::<Mutex<HashMap<String, Rules>>>::default();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (send, rules) = (send.clone(), Arc::clone(&rules));
                // One that the collector has closed is no matter.
                std::thread::spawn(move || serve(stream?, &send, &rules));
            }
        });
        Self { address, puts }
    }

    /// Where a switch's rules are written.
    pub(crate) fn url(&self, switch: usize) -> String {
        format!("http://{}/{switch}", self.address)
    }
}

fn serve(
    stream: TcpStream,
    puts: &Sender<Put>,
    rules: &Mutex<HashMap<String, Rules>>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while !reader.fill_buf()?.is_empty() {
        let at = Instant::now();
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut length = 0;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (switch, name) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
        let switch = switch.trim_start_matches('/');
        if method == "PUT" {
            puts.send((name.to_owned(), at)).unwrap();
        }
        let (status, body) =
            answer(rules.lock().unwrap().entry(switch.to_owned()).or_default(), method, name, body);
        let mut answer =
            format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        if status == 204 {
            answer = b"HTTP/1.1 204 X\r\n\r\n".to_vec();
        }
        answer.extend(body);
        out.write_all(&answer)?;
    }
    Ok(())
}

fn answer(rules: &mut Rules, method: &str, name: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
    match (method, name) {
        ("GET", "") => (200, serde_json::to_vec(&rules.keys().collect::<Vec<_>>()).unwrap()),
        ("GET", "lasterror") => (204, Vec::new()),
        ("GET", name) => match rules.get(name) {
            Some(body) => (200, body.clone()),
            None => (404, Vec::new()),
        },
        ("PUT", name) => {
            rules.insert(name.to_owned(), body);
            (202, Vec::new())
        }
        _ => {
            rules.remove(name);
            (204, Vec::new())
        }
    }
}
