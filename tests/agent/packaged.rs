//! The agent as a container: `packaging/Dockerfile.agent`'s image, run by the command that manual/agent.md has.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::shared;
use crate::support::agent::{self, Receiver};
use crate::support::docker_lab::Lab;
use crate::support::live::{temporary_folder, turn, wait_until};

const DOCKERFILE: &str = include_str!("../../packaging/Dockerfile.agent");
const MANUAL: &str = include_str!("../../manual/agent.md");

/// Writes a program's libraries to stdout as tar, at the paths where it looks for them.
const LIBRARIES: &str = r#"set -e
cd "$2"
for file in $(ldd "$1" | grep -o '/[^ )]*'); do
    mkdir -p ".${file%/*}"
    cp -L "$file" ".$file"
done
tar -c ."#;

/// The words of the manual's `docker run`, and of what is given to the agent in it.
fn command() -> Vec<String> {
    let at = MANUAL.find("docker run -d").expect("the manual has the command");
    let mut words = Vec::new();
    for line in MANUAL[at..].lines() {
        let (line, goes_on) = line.strip_suffix('\\').map_or((line, false), |line| (line, true));
        words.extend(line.split_whitespace().map(str::to_owned));
        if !goes_on {
            break;
        }
    }
    words
}

/// Builds the image: the last stage as it is in the file, on a base that has the libraries alone, with the program that
/// the tests have built in place of the first stage's.
fn build(lab: &Lab) {
    let (libraries, context) = (temporary_folder(), temporary_folder());
    let mut files = Command::new("sh");
    files.args(["-c", LIBRARIES, "libraries"]).arg(agent::program()).arg(libraries.path());
    let mut files = files.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let (first, last) = DOCKERFILE.split_once("\n\n").expect("two stages");
    let base = last.lines().find_map(|line| line.strip_prefix("FROM ")).unwrap();
    let import =
        lab.client().args(["import", "-", base]).stdin(files.stdout.take().unwrap()).output().unwrap();
    assert!(import.status.success(), "{}", String::from_utf8_lossy(&import.stderr));
    assert!(files.wait().unwrap().success());
    assert!(first.contains("FROM rust:") && first.contains(" AS build\n"), "{first}");
    let built = "FROM scratch AS build\nCOPY finderscope-agent /src/target/release/finderscope-agent";
    fs::write(context.path().join("Dockerfile"), format!("{built}\n{last}")).unwrap();
    fs::copy(agent::program(), context.path().join("finderscope-agent")).unwrap();
    // The older builder needs no plugin of the client's.
    let mut build = lab.client();
    let build = build.env("DOCKER_BUILDKIT", "0").args(["build", "--tag", "finderscope-agent"]);
    let build = build.arg(context.path()).output().unwrap();
    assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
}

/// Runs the manual's command with this collector, for packets of docker0 too; the container.
fn run(lab: &Lab, collector: &str) -> String {
    let socket = format!("{}:/", lab.socket().display());
    let ours =
        |word: String| word.replace("/var/run/docker.sock:/", &socket).replace("10.0.0.162", collector);
    let words: Vec<String> = command().into_iter().skip(1).map(ours).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let further = ["--agent", "127.0.0.1", "--pcap", "docker0", "--sampling", "1", "--polling", "1"];
    lab.docker(&[&words[..], &further].concat())
}

#[test]
fn as_a_container_it_follows_samples_and_ends_as_the_manual_says() {
    let _turn = turn();
    // Docker would make a folder of what is not there.
    assert!(
        fs::exists("/etc/machine-id").unwrap(),
        "no /etc/machine-id; `systemd-machine-id-setup` makes it"
    );
    let lab = shared();
    build(lab);
    let receiver = lab.network().inside(Receiver::start);
    let id = run(lab, &receiver.to());
    let said = || {
        let output = lab.client().args(["logs", "finderscope-agent"]).output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
    };
    // It follows itself, too.
    assert_eq!(receiver.wait_for_state(&id, 1).name, "finderscope-agent", "{}", said());

    let process = lab.docker(&["inspect", "--format", "{{.State.Pid}}", &id]);
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    let raw = "0000000000002000";
    assert_eq!((line("CapPrm:"), line("CapEff:"), line("CapBnd:")), (raw, raw, raw));
    assert_eq!(line("NoNewPrivs:"), "1");

    let server = lab.run(&["--name", "server"], &["httpd", "-f", "-p", "80", "-h", "/www"]);
    let template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = lab.docker(&["inspect", "--format", template, &server]);
    let load = format!(
        "for n in 1 2 3 4 5 6 7 8 9 10; do wget -q -O /dev/null http://{address}/; done; burn 0.3; true"
    );
    // Where the machine is too busy to read all of it in time, something of a last sample is not known.
    let is_whole = |n: usize| {
        let name = format!("client{n}");
        let client = lab.run(&["--name", &name], &["sh", "-c", &load]);
        let last = receiver.wait_for_state(&client, 5);
        lab.remove(&[&client]);
        assert_eq!(last.name, name);
        let Some(bytes) = last.numbers.get("vnio_bytes_in").copied() else { return false };
        // Ten pages of 10,000 bytes.
        assert!(bytes > 100_000 && bytes < 200_000, "{last:#?}");
        assert!(last.cpu_ms() > 20, "{last:#?}");
        last.cpu_ms() < 60_000
    };
    assert!((0..10).any(is_whole), "none of ten is whole");
    let first = &receiver.of(&server)[0];
    assert!(first.state() == 1 && first.numbers["vmem_memory"] > 0 && first.macs.len() == 1, "{first:#?}");
    let host =
        receiver.counters().into_iter().find(|sample| (sample.source.class, sample.source.index) == (2, 1));
    let host = host.expect("the host's counters");
    assert_eq!(host.name, fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim());

    // Each packet between the two, marked by the container that it is from.
    let from = u64::from(first.source.index);
    let large = |flow: &agent::Flow| {
        flow.frame_length > 1000 && flow.entities.is_some_and(|entities| entities[..2] == [3, from])
    };
    wait_until("the server's packets", || {
        (receiver.flows().iter().filter(|f| large(f)).count() > 10).then_some(())
    });

    let asked = Instant::now();
    lab.docker(&["stop", "finderscope-agent"]);
    assert!(asked.elapsed() < Duration::from_secs(8), "it was killed after ten seconds");
    let code = lab.docker(&["inspect", "--format", "{{.State.ExitCode}}", &id]);
    let said = said();
    assert_eq!(code, "0", "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() <= 6 && lines.iter().all(|line| line.contains(" INFO: ")), "{said}");
    assert!(lines.last().unwrap().ends_with(" INFO: ended"), "{said}");
    lab.remove(&[&server, &id]);
}
