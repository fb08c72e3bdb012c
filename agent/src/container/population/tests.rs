//! Control groups in the trees that drivers and namespaces make, from files of real ones.

use std::collections::BTreeMap;
use std::path::Path;

use docker::State;

use super::super::cgroup::Blocks;
use super::*;

const ID: &str = "4b1c0e9a7d52f8336f0a1c22d94e57b86a13f0d9c8e7b6a5948372615f4e3d2c";

const V2_MOUNT: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 \
                        rw,nsdelegate,memory_recursiveprot\n";

/// Each controller mounted by itself, and version 2 beside them without any.
const V1_MOUNTS: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
                         32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
                         35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                         38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio\n\
                         40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
                         41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

fn id() -> Id {
    ID.parse().unwrap()
}

fn recorded(version: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cgroups").join(version)
}

/// A tree in which a container's files are in these folders.
struct Tree {
    folder: tempfile::TempDir,
}

impl Tree {
    fn new(mounts: &str, membership: &str) -> Self {
        let tree = Self { folder: tempfile::tempdir().unwrap() };
        tree.write("proc/self/mountinfo", mounts);
        tree.write("proc/4711/cgroup", &membership.replace("ID", ID));
        tree
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Copies the recorded files whose names begin so.
    fn copy(&self, version: &str, names: &str, to: &str) {
        for entry in fs::read_dir(recorded(version)).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with(names) {
                self.write(
                    &format!("{}/{name}", to.replace("ID", ID)),
                    &fs::read_to_string(entry.path()).unwrap(),
                );
            }
        }
    }

    fn usage(&self) -> Option<Usage> {
        let root = Root::new(self.folder.path());
        let hierarchies = Hierarchies::read(&root).unwrap();
        let text = fs::read_to_string(root.of_process(4711, "cgroup")).unwrap();
        let membership = Membership::parse(&text, &id(), false).ok()?;
        Some(Files::open(&root, &hierarchies, &membership).read(&mut Scratch::default()))
    }
}

/// What the recorded files of version 2 say.
fn of_v2() -> Usage {
    Usage {
        cpu_ns: Some(123_456_789_000),
        memory_bytes: Some(73_400_320 - 31_457_280),
        memory_limit_bytes: None,
        blocks: Some(Blocks { reads: 131, read_bytes: 8_392_704, writes: 1, written_bytes: 4_096 }),
    }
}

/// What the recorded files of version 1 say: the container had a limit of 64 MiB and had written 8 MiB.
fn of_v1() -> Usage {
    Usage {
        cpu_ns: Some(23_899_843),
        memory_bytes: Some(9_035_776 - 8_388_608),
        memory_limit_bytes: Some(64 << 20),
        blocks: Some(Blocks { reads: 13, read_bytes: 135_168, writes: 8, written_bytes: 8_388_608 }),
    }
}

#[test]
fn version_2_with_both_drivers_a_parent_and_groups_inside() {
    for (membership, folder) in [
        ("0::/system.slice/docker-ID.scope\n", "system.slice/docker-ID.scope"),
        ("0::/docker/ID\n", "docker/ID"),
        (
            "0::/tenants.slice/tenants-a.slice/docker-ID.scope\n",
            "tenants.slice/tenants-a.slice/docker-ID.scope",
        ),
        ("0::/docker/ID/init.scope\n", "docker/ID"),
    ] {
        let tree = Tree::new(V2_MOUNT, membership);
        tree.copy("v2", "", &format!("sys/fs/cgroup/{folder}"));
        assert_eq!(tree.usage(), Some(of_v2()), "{membership}");
    }
}

#[test]
fn version_1_and_hybrid_with_both_drivers() {
    for (membership, folder) in [
        ("4:memory:/docker/ID\n3:blkio:/docker/ID\n2:cpu,cpuacct:/docker/ID\n0::/docker/ID\n", "docker/ID"),
        (
            "9:name=systemd:/system.slice/docker-ID.scope\n4:memory:/system.slice/docker-ID.scope\n\
             3:blkio:/system.slice/docker-ID.scope\n2:cpu,cpuacct:/system.slice/docker-ID.scope\n",
            "system.slice/docker-ID.scope",
        ),
    ] {
        let tree = Tree::new(V1_MOUNTS, membership);
        for (names, controller) in [("cpuacct", "cpu,cpuacct"), ("memory", "memory"), ("blkio", "blkio")] {
            tree.copy("v1", names, &format!("sys/fs/cgroup/{controller}/{folder}"));
        }
        assert_eq!(tree.usage(), Some(of_v1()), "{membership}");
    }
}

#[test]
fn an_agent_in_a_container_of_its_own_finds_the_others() {
    // Its own group is two below the root, which is mounted; the name of the group between is hidden from it.
    let mounts = V2_MOUNT.replace(" / /sys/fs/cgroup ", " /../.. /sys/fs/cgroup ");
    for membership in ["0::/../docker-ID.scope\n", "0::/../../system.slice/docker-ID.scope\n"] {
        let tree = Tree::new(&mounts, membership);
        tree.write("sys/fs/cgroup/user.slice/cpu.stat", "usage_usec 1\n");
        tree.copy("v2", "", "sys/fs/cgroup/system.slice/docker-ID.scope");
        assert_eq!(tree.usage(), Some(of_v2()), "{membership}");
    }
    // Without the host's folder it sees nothing, and says nothing.
    let tree = Tree::new(V2_MOUNT, "0::/../docker-ID.scope\n");
    assert_eq!(tree.usage(), Some(Usage::default()));
}

#[test]
fn what_is_missing_or_no_number_is_not_known() {
    let tree = Tree::new(V2_MOUNT, "0::/docker/ID\n");
    tree.copy("v2", "cpu", "sys/fs/cgroup/docker/ID");
    tree.copy("v2", "memory.current", "sys/fs/cgroup/docker/ID");
    let usage = tree.usage().unwrap();
    assert_eq!((usage.cpu_ns, usage.memory_bytes, usage.blocks), (of_v2().cpu_ns, None, None));
    tree.write(&format!("sys/fs/cgroup/docker/{ID}/cpu.stat"), "usage_usec many\n");
    assert_eq!(tree.usage().unwrap().cpu_ns, None);
    let other = Tree::new(V2_MOUNT, "0::/user.slice\n");
    assert_eq!(other.usage(), None, "the number is another process's");
}

#[test]
fn files_that_were_opened_are_read_after_their_folder_is_gone() {
    let tree = Tree::new(V2_MOUNT, "0::/docker/ID\n");
    tree.copy("v2", "", "sys/fs/cgroup/docker/ID");
    let root = Root::new(tree.folder.path());
    let membership = Membership::parse(&format!("0::/docker/{ID}"), &id(), false).unwrap();
    let files = Files::open(&root, &Hierarchies::read(&root).unwrap(), &membership);
    fs::remove_dir_all(tree.folder.path().join("sys")).unwrap();
    assert_eq!(files.read(&mut Scratch::default()), of_v2());
}

pub(in super::super) fn container() -> Container {
    Container {
        id: id(),
        name: "web".to_owned(),
        pid: Some(std::process::id()),
        state: State::Running,
        started_at: None,
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

#[test]
fn what_is_left_of_a_container_that_was_not_opened_is_told_when_nobody_is_in_it() {
    let capacity = Capacity { processors: 2, memory_bytes: None };
    let tree = Tree::new(V2_MOUNT, "0::/elsewhere/ID\n");
    let mut population =
        Population::new(Root::new(tree.folder.path()), capacity, String::new(), false).unwrap();
    assert_eq!(population.left_over(&id()), None, "nothing is left");
    tree.copy("v2", "", "sys/fs/cgroup/elsewhere/ID");
    let events = |text| tree.write(&format!("sys/fs/cgroup/elsewhere/{ID}/cgroup.events"), text);
    events("populated 0\nfrozen 0\n");
    assert_eq!(population.left_over(&id()), None, "nobody has shown the place");
    let text = format!("0::/elsewhere/{}\n", Id::from_bytes([1; 32]));
    let other = Id::from_bytes([1; 32]);
    population.remember(&Membership::parse(&text, &other, false).unwrap(), &other);
    assert_eq!(population.left_over(&id()), Some(of_v2()));
    events("populated 1\nfrozen 0\n");
    assert_eq!(population.left_over(&id()), None, "a later run is in it");
    for n in 2..40 {
        let other = Id::from_bytes([n; 32]);
        let text = format!("0::/{n}/{other}\n");
        population.remember(&Membership::parse(&text, &other, false).unwrap(), &other);
    }
    assert_eq!(population.places.len(), PLACES);
}

#[test]
fn a_process_is_looked_for_where_others_were() {
    let capacity = Capacity { processors: 2, memory_bytes: None };
    let tree = Tree::new(V2_MOUNT, "0::/elsewhere/ID\n");
    let population = Population::new(Root::new(tree.folder.path()), capacity, String::new(), false).unwrap();
    let found = |population: &Population| population.membership(&id(), 4711).unwrap();
    let elsewhere = Membership::parse(&format!("0::/elsewhere/{ID}"), &id(), false).unwrap();
    assert_eq!(found(&population), elsewhere, "what the kernel says");
    let folder = format!("sys/fs/cgroup/docker/{ID}");
    tree.write(&format!("{folder}/cgroup.procs"), "12\n47\n");
    assert_eq!(found(&population), elsewhere, "another process is in the usual place");
    tree.write(&format!("{folder}/cgroup.procs"), "12\n4711\n");
    assert_eq!(found(&population), Place::usual()[0].of(&id()));
}

#[test]
fn version_1_tells_what_is_left_when_its_group_is_empty() {
    let capacity = Capacity { processors: 2, memory_bytes: None };
    let tree = Tree::new(V1_MOUNTS, "");
    let mut population =
        Population::new(Root::new(tree.folder.path()), capacity, String::new(), false).unwrap();
    for (names, controller) in [("cpuacct", "cpu,cpuacct"), ("memory", "memory"), ("blkio", "blkio")] {
        tree.copy("v1", names, &format!("sys/fs/cgroup/{controller}/docker/ID"));
    }
    let processes = |text| tree.write(&format!("sys/fs/cgroup/cpu,cpuacct/docker/{ID}/cgroup.procs"), text);
    assert_eq!(population.left_over(&id()), None, "it cannot be told whether it is empty");
    processes("4711\n");
    assert_eq!(population.left_over(&id()), None);
    let gone = Container { pid: Some(u32::MAX >> 2), ..container() };
    assert_eq!(population.open(&gone, 100_000), Opened::Unseen, "a later run may be in it");
    processes("");
    assert_eq!(population.left_over(&id()), Some(of_v1()));
    assert_eq!(population.open(&gone, 100_000), Opened::Ended);
}

#[test]
fn of_a_container_that_cannot_be_seen_the_engines_word_is_taken() {
    let capacity = Capacity { processors: 2, memory_bytes: None };
    let tree = Tree::new(V2_MOUNT, "");
    let mut population =
        Population::new(Root::new(tree.folder.path()), capacity, String::new(), false).unwrap();
    let attached =
        docker::Attached { name: String::new(), mac: Some([2, 0, 0, 0, 0, 9]), ipv4: None, ipv6: None };
    let hidden = Container { pid: Some(u32::MAX >> 2), networks: vec![attached], ..container() };
    assert_eq!(population.open(&hidden, 100_000), Opened::Unseen);
    population.open_unseen(&hidden, 100_000);
    assert_eq!(population.by_mac(&[2, 0, 0, 0, 0, 9]), Some(records::source(100_000)));
    let processors = |population: &Population| population.open[&id()].processors;
    assert_eq!(processors(&population), u32::MAX, "those of another host perhaps");
    population.update(&Container { nano_cpus: Some(12_000_000_000), ..hidden });
    assert_eq!(processors(&population), 12, "more than this host has");
    population.close(&id());
    assert!(population.is_empty() && population.by_mac(&[2, 0, 0, 0, 0, 9]).is_none());
}

#[test]
fn a_process_that_is_not_the_containers_is_not_opened() {
    let capacity = Capacity { processors: 2, memory_bytes: None };
    let mut population = Population::new(Root::new("/"), capacity, String::new(), false).unwrap();
    // The pid is that of another process of this test, whose groups do not have the container's id.
    let own_group = fs::read_to_string("/proc/self/cgroup").unwrap();
    let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let stranger = Container { pid: Some(other.id()), ..container() };
    let opened = population.open(&stranger, 100_000);
    other.kill().and_then(|()| other.wait()).unwrap();
    assert!(!own_group.contains(ID));
    assert_eq!(opened, Opened::Unseen);
    let gone = Container { pid: Some(u32::MAX >> 2), ..container() };
    assert_eq!(population.open(&gone, 100_000), Opened::Unseen);
    assert_eq!((population.len(), population.unseen()), (0, 2));
    assert!(population.ended().is_empty());
}

#[test]
fn a_network_that_two_containers_use_is_of_one_of_them() {
    let capacity = Capacity { processors: 2, memory_bytes: None };
    let tree = Tree::new(V2_MOUNT, "");
    let mut population =
        Population::new(Root::new(tree.folder.path()), capacity, String::new(), false).unwrap();
    let mac = [2, 0, 0, 0, 0, 9];
    let adapter = || vec![Adapter { mac, peer: Some(77) }];
    let joins =
        Container { network_mode: format!("container:{ID}"), id: Id::from_bytes([7; 32]), ..container() };
    population.open_unseen(&container(), 100_000);
    population.open_unseen(&joins, 100_001);
    population.set_adapters(id(), adapter());
    population.set_adapters(joins.id, adapter());
    let owner = Some(records::source(100_000));
    assert_eq!((population.by_mac(&mac), population.by_ifindex(77)), (owner, owner));
    population.close(&joins.id);
    assert_eq!((population.by_mac(&mac), population.by_ifindex(77)), (owner, owner));
}

fn sample(id: Id, index: u32) -> Sample {
    let (state, cause) = (RunState::Running, Cause::Interval);
    Sample { id, index, name: String::new(), state, cause, newest: true }
}

#[test]
fn of_a_container_that_joins_the_hosts_network_no_traffic_is_told() {
    let capacity = Capacity { processors: 2, memory_bytes: None };
    let tree = Tree::new(V2_MOUNT, "");
    let traffic = "Inter-|\n face |\n eth0: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n";
    tree.write(&format!("proc/{}/net/dev", std::process::id()), traffic);
    for name in [id(), Id::from_bytes([7; 32])] {
        tree.write(
            &format!("sys/fs/cgroup/docker/{name}/cgroup.procs"),
            &format!("{}\n", std::process::id()),
        );
    }
    let mut population =
        Population::new(Root::new(tree.folder.path()), capacity, String::new(), false).unwrap();
    let joins =
        Container { network_mode: format!("container:{ID}"), id: Id::from_bytes([7; 32]), ..container() };
    let sample = sample(joins.id, 100_001);
    // The list of an engine has the newest first.
    assert_eq!(population.open(&joins, 100_001), Opened::Watched);
    for (mode, told) in [("bridge", Some(3)), ("host", None)] {
        let joined = Container { network_mode: mode.to_owned(), ..container() };
        assert_eq!(population.open(&joined, 100_000), Opened::Watched);
        let sent = population.read(&sample).traffic.map(|traffic| traffic.sent.bytes);
        assert_eq!(sent, told, "the other's network is {mode}");
        population.close(&id());
    }
}

#[test]
fn where_namespaces_may_not_be_entered_the_engine_is_asked_when_interfaces_change() {
    let capacity = Capacity { processors: 2, memory_bytes: None };
    let own = std::process::id();
    let tree = Tree::new(V2_MOUNT, "");
    let interfaces = |names: &[&str]| {
        let line = |name: &&str| format!(" {name}: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n");
        let lines: String = names.iter().map(line).collect();
        tree.write(&format!("proc/{own}/net/dev"), &format!("Inter-|\n face |\n{lines}"));
    };
    interfaces(&["eth0"]);
    tree.write(&format!("sys/fs/cgroup/docker/{ID}/cgroup.procs"), &format!("{own}\n"));
    let mut population =
        Population::new(Root::new(tree.folder.path()), capacity, String::new(), false).unwrap();
    population.lacks.namespaces = true;
    let attached = |last| docker::Attached {
        name: String::new(),
        mac: Some([2, 0, 0, 0, 0, last]),
        ipv4: None,
        ipv6: None,
    };
    let of = |networks| Container { networks, ..container() };
    assert_eq!(population.open(&of(vec![attached(1)]), 100_000), Opened::Watched);
    let sample = sample(id(), 100_000);
    assert!(!population.read(&sample).ask, "it was asked just before");
    interfaces(&["eth0", "eth1"]);
    assert!(population.read(&sample).ask);
    assert!(!population.read(&sample).ask, "once");
    population.update(&of(vec![attached(1), attached(2)]));
    assert_eq!(population.by_mac(&[2, 0, 0, 0, 0, 2]), Some(records::source(100_000)));
    assert_eq!(population.open[&id()].adapters.len(), 2);
}
