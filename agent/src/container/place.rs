//! Where the kernel keeps a process's control groups: `/proc/PID/cgroup` says in which group it is, `/proc/self/mountinfo`
//! where the hierarchies are mounted. Version 1, version 2 and both at once; whatever driver named the groups.
//!
//! What is in the groups is left to `cgroup`.

use std::fs;
use std::io;
use std::path::PathBuf;

use docker::Id;

/// How many entries of folders are looked at to find the name of a group that the kernel does not tell.
const LOOKED_AT: usize = 4_096;

/// The file system as the agent sees it: `/`, or the folder of a recorded one.
#[derive(Clone, Debug)]
pub struct Root {
    folder: PathBuf,
}

impl Root {
    /// The file system under this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// A file of a process.
    pub fn of_process(&self, pid: u32, name: &str) -> PathBuf {
        self.folder.join("proc").join(pid.to_string()).join(name)
    }

    /// A place that the kernel named by an absolute path.
    pub fn at(&self, absolute: &str) -> PathBuf {
        self.folder.join(absolute.trim_start_matches('/'))
    }
}

/// The mounted hierarchies of control groups.
#[derive(Debug, Default)]
pub struct Hierarchies {
    mounts: Vec<Mount>,
}

#[derive(Debug)]
struct Mount {
    /// The group that is at the mount point, from the root of the agent's own cgroup namespace.
    root: GroupPath,
    point: String,
    /// Empty for version 2.
    controllers: Vec<String>,
}

/// Which counters of a group are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Time of processors.
    Cpu,
    /// Memory.
    Memory,
    /// Block devices.
    Blocks,
}

impl Controller {
    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpuacct",
            Self::Memory => "memory",
            Self::Blocks => "blkio",
        }
    }
}

/// Which form the files of a group have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy per controller.
    V1,
    /// One hierarchy.
    V2,
}

impl Hierarchies {
    /// The hierarchies that are mounted where the agent can see them.
    ///
    /// # Errors
    /// `/proc/self/mountinfo` cannot be read.
    pub fn read(root: &Root) -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string(root.at("/proc/self/mountinfo"))?))
    }

    /// From the text of `/proc/self/mountinfo` (proc(5)); lines of other file systems are passed over.
    pub fn parse(text: &str) -> Self {
        Self { mounts: text.lines().filter_map(Mount::parse).collect() }
    }

    /// Whether the group that accounts for a container's processors is there and no process is in it.
    pub fn is_deserted(&self, root: &Root, membership: &Membership) -> bool {
        self.folders(root, Controller::Cpu, membership).into_iter().next().is_some_and(deserted)
    }

    /// Whether a process is in the group that accounts for a container's processors, not in one below.
    pub fn holds(&self, root: &Root, membership: &Membership, pid: u32) -> bool {
        let folder = self.folders(root, Controller::Cpu, membership).into_iter().next();
        let processes = folder.and_then(|(_, folder)| fs::read_to_string(folder.join("cgroup.procs")).ok());
        let pid = pid.to_string();
        processes.is_some_and(|processes| processes.lines().any(|line| line == pid))
    }

    /// The folders that may hold the counters of the group that a process is in, the likeliest first.
    pub fn folders(
        &self,
        root: &Root,
        controller: Controller,
        membership: &Membership,
    ) -> Vec<(Version, PathBuf)> {
        let v1 = self.mounts.iter().filter(|mount| mount.controllers.iter().any(|c| c == controller.name()));
        let v2 = self.mounts.iter().filter(|mount| mount.controllers.is_empty());
        v1.map(|mount| (Version::V1, mount))
            .chain(v2.map(|mount| (Version::V2, mount)))
            .filter_map(|(version, mount)| {
                let name = (version == Version::V1).then(|| controller.name());
                let steps = membership.path(name)?.below(&mount.root)?;
                let mut left = LOOKED_AT;
                Some((version, walk(root.at(&mount.point), &steps, &mut left)?))
            })
            .collect()
    }
}

/// Whether no process is in the group of this folder or in one below (version 1: in the group itself); `false` when that
/// cannot be told.
fn deserted((version, folder): (Version, PathBuf)) -> bool {
    match version {
        Version::V1 => fs::read_to_string(folder.join("cgroup.procs")).is_ok_and(|text| text.is_empty()),
        Version::V2 => fs::read_to_string(folder.join("cgroup.events"))
            .is_ok_and(|text| text.lines().any(|line| line == "populated 0")),
    }
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
        let mut kind = kind.split(' ');
        let controllers = match kind.next()? {
            "cgroup" => kind.nth(1)?.split(',').map(str::to_owned).collect(),
            "cgroup2" => Vec::new(),
            _ => return None,
        };
        Some(Self { root: GroupPath::parse(&root), point, controllers })
    }
}

/// Blanks and backslashes of a path are three octal digits in mountinfo.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                out.push_str(part.get(3..).unwrap_or_default());
            }
            None => {
                out.push('\\');
                out.push_str(part);
            }
        }
    }
    out
}

/// A group's path from the root of a cgroup namespace, which may be above: `/../x`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct GroupPath {
    up: usize,
    names: Vec<String>,
}

/// A step down from a mount point.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Named(String),
    /// A group between the mount point and the agent's own, whose name a namespace hides.
    Hidden,
}

impl GroupPath {
    fn parse(path: &str) -> Self {
        let mut parsed = Self::default();
        for name in path.split('/').filter(|name| !name.is_empty() && *name != ".") {
            if name == ".." {
                if parsed.names.pop().is_none() {
                    parsed.up += 1;
                }
            } else {
                parsed.names.push(name.to_owned());
            }
        }
        parsed
    }

    fn is_top(&self) -> bool {
        self.up == 0 && self.names.is_empty()
    }

    /// The way from the group `root` down to this one; `None` when it is not below.
    fn below(&self, root: &Self) -> Option<Vec<Step>> {
        let hidden = root.up.checked_sub(self.up)?;
        // What the root names after going up are some of the groups that are hidden from this path.
        let still_hidden = hidden.saturating_sub(root.names.len());
        let shared = root.names.get(hidden.min(root.names.len())..)?;
        let rest = self.names.strip_prefix(shared)?;
        let steps = std::iter::repeat_n(Step::Hidden, still_hidden);
        Some(steps.chain(rest.iter().cloned().map(Step::Named)).collect())
    }
}

/// The existing folder at the end of the steps. Hidden ones are looked for: a folder with what follows inside.
fn walk(at: PathBuf, steps: &[Step], left: &mut usize) -> Option<PathBuf> {
    match steps.split_first() {
        None => at.is_dir().then_some(at),
        Some((Step::Named(name), rest)) => walk(at.join(name), rest, left),
        // Anything could be meant.
        Some((Step::Hidden, rest)) if !rest.iter().any(|step| matches!(step, Step::Named(_))) => None,
        Some((Step::Hidden, rest)) => fs::read_dir(&at).ok()?.flatten().find_map(|entry| {
            *left = left.checked_sub(1)?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                walk(entry.path(), rest, left)
            } else {
                None
            }
        }),
    }
}

/// The groups of a process, cut where the container's own group is: what a container makes of groups below that (an
/// init system, an engine inside) counts as the container's.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Controllers (none for version 2) and the path.
    groups: Vec<(Vec<String>, GroupPath)>,
}

/// A process that is not, or no longer, the first one of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stranger;

impl Membership {
    /// The groups of a container from its first process's `/proc/PID/cgroup` (cgroups(7)).
    ///
    /// With `own`, the process is the agent itself: in a cgroup namespace of its own it sees its own group as `/`.
    ///
    /// # Errors
    /// No group has the container's id in its name: the number is by now that of another process.
    pub fn parse(text: &str, id: &Id, own: bool) -> Result<Self, Stranger> {
        let id = id.to_string();
        let groups = text.lines().filter_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let mut path = GroupPath::parse(path);
            let at = path.names.iter().position(|name| name.contains(&id));
            if at.is_none() && !(own && path.is_top()) {
                return None;
            }
            path.names.truncate(at.map_or(0, |at| at + 1));
            let controllers = controllers.split(',').filter(|c| !c.is_empty()).map(str::to_owned).collect();
            Some((controllers, path))
        });
        let groups: Vec<_> = groups.collect();
        if groups.is_empty() { Err(Stranger) } else { Ok(Self { groups }) }
    }

    /// With another text in the place of this one in each group's name.
    fn renamed(&self, from: &str, to: &str) -> Self {
        let rename = |path: &GroupPath| {
            let names = path.names.iter().map(|name| name.replace(from, to)).collect();
            GroupPath { up: path.up, names }
        };
        let groups = self.groups.iter().map(|(controllers, path)| (controllers.clone(), rename(path)));
        Self { groups: groups.collect() }
    }

    /// The path in the hierarchy of a controller, or in that of version 2.
    fn path(&self, controller: Option<&str>) -> Option<&GroupPath> {
        let found = self.groups.iter().find(|(controllers, _)| match controller {
            Some(name) => controllers.iter().any(|c| c == name),
            None => controllers.is_empty(),
        });
        found.map(|(_, path)| path)
    }
}

/// Where an engine makes the groups of its containers: a membership in which each container's id can stand.
#[derive(Debug, PartialEq, Eq)]
pub struct Place(Membership);

/// Stands for the id of a container; no name of a group has a slash.
const ANY: &str = "/";

impl Place {
    /// Where this container's groups are; `None` where they are not named by its id.
    pub fn new(membership: &Membership, id: &Id) -> Option<Self> {
        let place = membership.renamed(&id.to_string(), ANY);
        (place != *membership).then_some(Self(place))
    }

    /// Where engines' drivers make them when nothing else was said: cgroupfs and systemd.
    pub fn usual() -> Vec<Self> {
        let controllers = ["cpuacct", "memory", "blkio"].map(str::to_owned).to_vec();
        let ways = [
            vec!["docker".to_owned(), ANY.to_owned()],
            vec!["system.slice".to_owned(), format!("docker-{ANY}.scope")],
        ];
        let of = |names: Vec<String>| {
            let path = GroupPath { up: 0, names };
            Self(Membership { groups: vec![(controllers.clone(), path.clone()), (Vec::new(), path)] })
        };
        ways.map(of).into()
    }

    /// The groups that a container has there.
    pub fn of(&self, id: &Id) -> Membership {
        self.0.renamed(ANY, &id.to_string())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const ID: &str = "4b1c0e9a7d52f8336f0a1c22d94e57b86a13f0d9c8e7b6a5948372615f4e3d2c";

    fn id() -> Id {
        ID.parse().unwrap()
    }

    fn steps(path: &str, root: &str) -> Option<String> {
        let steps = GroupPath::parse(path).below(&GroupPath::parse(root))?;
        let name = |step: &Step| match step {
            Step::Named(name) => name.clone(),
            Step::Hidden => "?".to_owned(),
        };
        Some(steps.iter().map(name).collect::<Vec<_>>().join("/"))
    }

    #[test]
    fn paths_are_told_from_the_mount_point() {
        assert_eq!(steps("/docker/x", "/").as_deref(), Some("docker/x"));
        assert_eq!(steps("/docker/x", "/docker").as_deref(), Some("x"));
        assert_eq!(steps("/docker/x", "/docker/y"), None, "another group is mounted");
        assert_eq!(
            steps("/../x", "/../..").as_deref(),
            Some("?/x"),
            "the agent's parent has a name that it cannot see"
        );
        assert_eq!(steps("/../../system.slice/x", "/../..").as_deref(), Some("system.slice/x"));
        assert_eq!(
            steps("/../x", "/"),
            None,
            "a sibling of the agent's group is not below the agent's mount"
        );
        assert_eq!(steps("/../x", "/../../docker").as_deref(), Some("x"));
        assert_eq!(steps("/", "/").as_deref(), Some(""));
    }

    #[test]
    fn a_process_that_has_left_for_a_group_below_counts_for_the_container() {
        let text = format!("0::/system.slice/docker-{ID}.scope/init.scope\n");
        let membership = Membership::parse(&text, &id(), false).unwrap();
        let path = membership.path(None).unwrap();
        assert_eq!(path.names, ["system.slice".to_owned(), format!("docker-{ID}.scope")]);
    }

    #[test]
    fn the_place_of_one_container_tells_that_of_another() {
        let membership =
            Membership::parse(&format!("2:cpuacct:/a/docker-{ID}.scope\n"), &id(), false).unwrap();
        let other = Id::from_bytes([0xab; 32]);
        let found = Place::new(&membership, &id()).unwrap().of(&other);
        let names = &found.path(Some("cpuacct")).unwrap().names;
        assert_eq!(names, &["a".to_owned(), format!("docker-{other}.scope")]);
        let own = Membership::parse("0::/\n", &id(), true).unwrap();
        assert_eq!(Place::new(&own, &id()), None, "the agent's own group says nothing of others");
    }

    #[test]
    fn another_process_is_no_container() {
        for text in
            ["0::/user.slice/session-1.scope\n", "0::/\n", "", "nonsense\n::\n", "0::/docker/4b1c0e9a7d52\n"]
        {
            assert_eq!(Membership::parse(text, &id(), false), Err(Stranger), "{text}");
        }
        assert!(Membership::parse("0::/\n", &id(), true).is_ok(), "the agent's own container");
    }

    #[test]
    fn mounts_have_blanks_and_options() {
        let text = "33 25 0:29 /../a\\040b /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                    34 25 0:30 / /mnt/back\\134slash rw - cgroup2 cgroup2 rw,nsdelegate\n\
                    35 25 0:31 / /tmp rw - tmpfs tmpfs rw\nnonsense\n1 2 3 - cgroup\n";
        let hierarchies = Hierarchies::parse(text);
        let [first, second] = hierarchies.mounts.as_slice() else { panic!("{hierarchies:?}") };
        assert_eq!((first.root.up, first.root.names.as_slice()), (1, ["a b".to_owned()].as_slice()));
        assert_eq!(first.controllers, ["rw", "cpu", "cpuacct"]);
        assert_eq!((second.point.as_str(), second.controllers.len()), ("/mnt/back\\slash", 0));
    }
}
