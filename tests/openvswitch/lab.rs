//! The laboratory: two hosts, and Open vSwitch between them.

use std::net::SocketAddr;
use std::path::Path;

use super::{POLLING_S, SAMPLING};
use crate::support::PATIENCE;
use crate::support::live::{Daemon, command, run};
use crate::support::netns::Namespace;

const MAC_A: &str = "02:00:00:00:00:0a";
const MAC_B: &str = "02:00:00:00:00:0b";

/// Two hosts, each with an `eth0`, and a switch with `port-a` and `port-b`.
pub(super) struct Lab {
    pub(super) switch: Namespace,
    pub(super) a: Namespace,
    pub(super) b: Namespace,
}

impl Lab {
    pub(super) fn new() -> Self {
        let lab = Self { switch: Namespace::new("s"), a: Namespace::new("a"), b: Namespace::new("b") };
        for (host, port, mac) in [(&lab.a, "port-a", MAC_A), (&lab.b, "port-b", MAC_B)] {
            let link = ["link", "add", port, "netns", lab.switch.name(), "type", "veth"];
            let peer = ["peer", "name", "eth0", "address", mac, "netns", host.name()];
            run("ip", &[&link[..], &peer[..]].concat());
        }
        lab.a.inside(|| furnish("10.77.0.1/24", "10.77.0.2", MAC_B));
        lab.b.inside(|| furnish("10.77.0.2/24", "10.77.0.1", MAC_A));
        lab.switch.inside(|| ["port-a", "port-b"].into_iter().for_each(up));
        [&lab.switch, &lab.a, &lab.b].into_iter().for_each(Namespace::hide);
        lab
    }
}

/// Sets up the host whose namespace this is. It need not ask for its neighbour, so that only the test's packets flow.
fn furnish(address: &str, neighbour: &str, mac: &str) {
    up("eth0");
    run("ip", &["addr", "add", address, "dev", "eth0"]);
    run("ip", &["neigh", "add", neighbour, "lladdr", mac, "dev", "eth0", "nud", "permanent"]);
}

/// Brings an interface up that sends what is on the wire: no checksums left to hardware that is not there, no
/// frames longer than the wire's.
fn up(interface: &str) {
    run("ethtool", &["-K", interface, "tx", "off", "tso", "off", "gso", "off", "gro", "off"]);
    run("ip", &["link", "set", interface, "up"]);
}

/// Open vSwitch with its database and sockets in a folder of its own, in the namespace of this thread.
pub(super) struct OpenVswitch {
    _database: Daemon,
    _switch: Daemon,
}

impl OpenVswitch {
    /// Starts it with both ports in a bridge that sends sFlow to `collectors`.
    pub(super) fn start(folder: &Path, collectors: &[SocketAddr]) -> Self {
        let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let (database, socket) = (file("conf.db"), file("db.sock"));
        run("ovsdb-tool", &["create", &database, "/usr/share/openvswitch/vswitch.ovsschema"]);
        let daemon = |program: &str, arguments: &[String]| {
            let mut command = command(program);
            for folder_of in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
                command.env(folder_of, folder);
            }
            let control = format!("--unixctl={}", file(&format!("{program}.ctl")));
            let pidfile = format!("--pidfile={}", file(&format!("{program}.pid")));
            command.args(arguments).args([control, pidfile]);
            Daemon::start(folder, program, command)
        };
        let mut database = daemon("ovsdb-server", &[database, format!("--remote=punix:{socket}")]);
        database.wait_for("its socket", || Path::new(&socket).exists().then_some(()));
        let switch = daemon("ovs-vswitchd", &[format!("unix:{socket}")]);
        let targets: Vec<String> = collectors.iter().map(|to| format!("\"{to}\"")).collect();
        let (to, timeout) = (format!("--db=unix:{socket}"), format!("--timeout={}", PATIENCE.as_secs()));
        let mut arguments = vec![to, timeout];
        let words = "add-br br0 -- set bridge br0 datapath_type=netdev -- add-port br0 port-a \
                     -- add-port br0 port-b -- --id=@sflow create sflow agent=lo header=128";
        arguments.extend(words.split_whitespace().map(str::to_owned));
        arguments.push(format!("sampling={SAMPLING}"));
        arguments.push(format!("polling={POLLING_S}"));
        arguments.push(format!("targets=[{}]", targets.join(",")));
        arguments.extend("-- set bridge br0 sflow=@sflow".split_whitespace().map(str::to_owned));
        run("ovs-vsctl", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        Self { _database: database, _switch: switch }
    }
}
