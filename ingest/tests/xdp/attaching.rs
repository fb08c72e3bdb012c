//! Attaching the program: modes, refusals and their messages, changes while it runs, and what is left of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use ingest::xdp::program::{
    Attach, AttachError, MOST_ADDRESSES, MOST_QUEUES, MOST_SOURCES, Program, Steering, Verdicts,
};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::frames::Frame;
use super::live::run;
use super::netns::{Cable, NEAR, Wire, wait_for};

const MODES: [Attach; 2] = [Attach::Native, Attach::Generic];

/// The port, and no more.
fn plain() -> Steering {
    Steering { ports: vec![6343], ..Steering::default() }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Sends a frame, and what it was counted as.
fn verdict(sender: &Wire, program: &Program, frame: &Frame) -> &'static str {
    let before = program.verdicts().unwrap();
    sender.send(&frame.bytes());
    wait_for("verdict", || {
        let now = program.verdicts().unwrap();
        let counts = before.frames().into_iter().zip(now.frames());
        counts.filter(|(old, new)| old != new).map(|((label, _), _)| label).next()
    })
}

/// How the program is attached, as `ip` says.
fn shown(cable: &Cable) -> Option<&'static str> {
    let text = cable.near.inside(|| run("ip", &["link", "show", "dev", NEAR]));
    ["xdpgeneric", "xdp"].into_iter().find(|mode| text.contains(&format!(" {mode} ")))
}

#[test]
fn it_is_attached_in_the_mode_asked_for_and_gone_when_dropped() {
    let cable = Cable::new("modes", 1, 1500);
    for (mode, name) in MODES.into_iter().zip(["xdp", "xdpgeneric"]) {
        for multi_buffer in [false, true] {
            let program = cable.attach(&plain(), mode, multi_buffer).unwrap();
            assert_eq!(shown(&cable), Some(name));
            assert_eq!((program.mode(), program.interface().name.as_str()), (mode, NEAR));
            drop(program);
            assert_eq!(shown(&cable), None);
        }
    }
}

#[test]
fn a_second_program_is_refused_and_told_whose_the_first_is() {
    let cable = Cable::new("busy", 1, 1500);
    let me = format!("process {},", std::process::id());
    for first in MODES {
        let program = cable.attach(&plain(), first, false).unwrap();
        for second in MODES {
            let error = cable.attach(&plain(), second, false).unwrap_err();
            assert!(matches!(&error, AttachError::Busy { .. }), "{first:?}, {second:?}: {error}");
            let text = error.to_string();
            assert!(text.contains(&me) && text.contains("has interface near"), "{text}");
        }
        assert_eq!(verdict(&cable.sender(), &program, &Frame::v4("")), "no_socket", "the first still works");
    }
    assert!(cable.attach(&plain(), Attach::Native, false).is_ok(), "it is free again");
}

#[test]
fn interfaces_that_cannot_be() {
    let cable = Cable::new("cannot", 1, 1500);
    let error = cable.near.inside(|| Program::attach("nosuch", &plain(), Attach::Native, false).unwrap_err());
    assert!(error.to_string().starts_with("interface nosuch: "), "{error}");
    let error = cable.near.inside(|| {
        run("ip", &["tuntap", "add", "dev", "bare", "mode", "tun"]);
        Program::attach("bare", &plain(), Attach::Generic, false).unwrap_err()
    });
    assert!(matches!(error, AttachError::NotEthernet { .. }), "{error}");
    let error = cable.attach(&Steering::default(), Attach::Native, false).unwrap_err();
    assert!(matches!(error, AttachError::Steering(_)), "{error}");
    assert_eq!(shown(&cable), None);
    let program = cable.attach(&plain(), Attach::Native, false).unwrap();
    // A queue beyond the map, and what is no AF_XDP socket.
    let udp = cable.udp(6343);
    assert!(program.set_socket(MOST_QUEUES, udp.as_fd()).is_err());
    assert!(program.set_socket(0, udp.as_fd()).is_err());
}

#[test]
fn jumbo_frames_take_a_program_for_several_buffers() {
    let cable = Cable::new("jumbo", 1, 9000);
    let error = cable.attach(&plain(), Attach::Native, false).unwrap_err();
    assert!(matches!(error, AttachError::Mtu { mtu: 9000, .. }), "{error}");
    let (sender, udp) = (cable.sender(), cable.udp(6343));
    let mut buffer = vec![0; 1 << 16];
    for (mode, multi_buffer) in [(Attach::Native, true), (Attach::Generic, true), (Attach::Generic, false)] {
        let program = cable.attach(&plain(), mode, multi_buffer).unwrap();
        for size in [8900, 4000, 1400] {
            for mut frame in [Frame::v4(vec![7; size]), Frame::v6(vec![7; size])] {
                assert_eq!(verdict(&sender, &program, &frame), "no_socket", "{mode:?}, {size} bytes");
                assert_eq!(udp.recv(&mut buffer).unwrap(), size);
                // Beyond the first buffer too a length is known to lie.
                frame.ip_length = 1;
                assert_eq!(verdict(&sender, &program, &frame), "truncated", "{mode:?}, {size} bytes");
            }
        }
        let refused = Steering { sources: vec![(address("10.0.0.0"), 8)], ..plain() };
        cable.near.inside(|| program.steer(&refused).unwrap());
        let frame = Frame::v4(vec![7; 8900]);
        assert_eq!(verdict(&sender, &program, &frame), "refused_source");
        assert_eq!(program.verdicts().unwrap().refused_source_bytes, frame.bytes().len() as u64);
    }
}

#[test]
fn what_is_steered_changes_while_it_runs() {
    let cable = Cable::new("changes", 1, 1500);
    let (sender, program) = (cable.sender(), cable.attach(&plain(), Attach::Native, false).unwrap());
    let change = |steering: &Steering| cable.near.inside(|| program.steer(steering));
    let (v4, v6) = (Frame::v4(""), Frame::v6(""));
    let other = Frame { port: 6344, ..v4.clone() };
    let expect = |steering: Steering, wanted: [&str; 3]| {
        change(&steering).unwrap();
        let got = [&v4, &v6, &other].map(|frame| verdict(&sender, &program, frame));
        assert_eq!(got, wanted, "{steering:?}");
    };
    let (ours, not_ours) = ("no_socket", "other_port");
    expect(plain(), [ours, ours, not_ours]);
    expect(Steering { ports: vec![6344, 1, 65_535], ..plain() }, [not_ours, not_ours, ours]);
    expect(Steering { ports: vec![6343, 6344], ..plain() }, [ours; 3]);
    let elsewhere = "other_address";
    expect(Steering { addresses: vec![address("192.0.2.1")], ..plain() }, [ours, elsewhere, not_ours]);
    expect(Steering { addresses: vec![address("2001:db8::1")], ..plain() }, [elsewhere, ours, not_ours]);
    let refused = "refused_source";
    let from = |sources: &[(&str, u8)]| {
        let sources = sources.iter().map(|(prefix, length)| (address(prefix), *length)).collect();
        Steering { sources, ..plain() }
    };
    expect(from(&[("192.0.2.9", 32)]), [ours, refused, not_ours]);
    expect(from(&[("192.0.2.8", 31), ("2001:db8::8", 127)]), [ours, ours, not_ours]);
    expect(from(&[("192.0.2.8", 32), ("2001:db8::", 32)]), [refused, ours, not_ours]);
    expect(from(&[("0.0.0.0", 0)]), [ours, refused, not_ours]);
    expect(from(&[("::", 0)]), [ours, ours, not_ours]);
    expect(from(&[("2001:db9::", 32)]), [refused, refused, not_ours]);
    expect(plain(), [ours, ours, not_ours]);
    // What cannot be changes nothing.
    let error = change(&Steering { sources: vec![(address("10.0.0.0"), 33)], ..from(&[]) }).unwrap_err();
    assert!(error.to_string().contains("10.0.0.0/33"), "{error}");
    assert_eq!(verdict(&sender, &program, &v4), ours);
    // The interface has another address.
    cable.near.inside(|| run("ip", &["link", "set", NEAR, "address", "02:00:00:00:00:07"]));
    let moved = Frame { to_mac: [2, 0, 0, 0, 0, 7], ..v4.clone() };
    assert_eq!([&v4, &moved].map(|frame| verdict(&sender, &program, frame)), [ours, "other_host"]);
    change(&plain()).unwrap();
    assert_eq!([&v4, &moved].map(|frame| verdict(&sender, &program, frame)), ["other_host", ours]);
}

#[test]
fn what_is_ours_before_and_after_a_change_is_ours_while_it_is_made() {
    let cable = Cable::new("between", 1, 1500);
    let both = [
        Steering {
            ports: vec![6343, 6344],
            addresses: vec![address("192.0.2.1"), address("192.0.2.2")],
            sources: vec![(address("192.0.2.0"), 24), (address("10.0.0.0"), 8)],
        },
        plain(),
        Steering {
            ports: vec![6343, 6350],
            addresses: vec![address("192.0.2.1"), address("192.0.2.3")],
            sources: vec![(address("192.0.2.8"), 31), (address("11.0.0.0"), 8)],
        },
    ];
    let program = cable.attach(&both[0], Attach::Native, false).unwrap();
    let (sender, frame) = (cable.sender(), Frame::v4("").bytes());
    let (done, mut sent) = (AtomicBool::new(false), 0_u64);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            cable.near.enter_and(|| {
                for n in 0..300 {
                    program.steer(&both[n % both.len()]).unwrap();
                }
                done.store(true, Ordering::Relaxed);
            });
        });
        while !done.load(Ordering::Relaxed) {
            sender.send(&frame);
            sent += 1;
            // The queue of a veth holds few: none is to be lost on the way.
            wait_for("frame", || (total(&program.verdicts().unwrap()) == sent).then_some(()));
        }
    });
    assert!(sent > 100, "{sent} frames while 300 changes were made");
    let expected = Verdicts { no_socket: sent, ..Verdicts::default() };
    assert_eq!(program.verdicts().unwrap(), expected);
}

fn total(verdicts: &Verdicts) -> u64 {
    verdicts.frames().iter().map(|(_, frames)| frames).sum()
}

#[test]
fn full_lists_are_changed_for_full_lists() {
    let cable = Cable::new("full", 1, 1500);
    let full = |net: u16| Steering {
        ports: vec![6343],
        addresses: (1..=MOST_ADDRESSES as u16)
            .map(|n| Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, n).into())
            .collect(),
        sources: (0..MOST_SOURCES as u32)
            .map(|n| (Ipv4Addr::from(u32::from(net) << 28 | n << 8).into(), 24))
            .collect(),
    };
    let program = cable.attach(&full(1), Attach::Native, false).unwrap();
    cable.near.inside(|| program.steer(&full(2)).unwrap());
    let sender = cable.sender();
    let between = |from, to| Frame::between(from, to, "");
    // Addresses are asked for before sources.
    let verdicts = [
        ("32.9.9.9", "192.0.2.1", "other_address"),
        ("2001:db8::9", "2001:db8:2::77", "refused_source"),
        ("2001:db8::9", "2001:db8:1::77", "other_address"),
    ];
    for (from, to, wanted) in verdicts {
        assert_eq!(verdict(&sender, &program, &between(from, to)), wanted, "{from} to {to}");
    }
    let any = Steering { addresses: Vec::new(), ..full(2) };
    cable.near.inside(|| program.steer(&any).unwrap());
    for (from, wanted) in
        [("32.255.255.9", "no_socket"), ("33.0.0.9", "refused_source"), ("16.0.0.9", "refused_source")]
    {
        assert_eq!(verdict(&sender, &program, &between(from, "192.0.2.1")), wanted, "{from}");
    }
}

#[test]
fn it_stays_while_the_interface_is_down_and_goes_with_it() {
    let cable = Cable::new("updown", 1, 1500);
    let (sender, program) = (cable.sender(), cable.attach(&plain(), Attach::Native, false).unwrap());
    for _ in 0..3 {
        cable.near.inside(|| run("ip", &["link", "set", NEAR, "down"]));
        cable.near.inside(|| run("ip", &["link", "set", NEAR, "up"]));
        cable.wait_for_carrier();
        assert_eq!(verdict(&sender, &program, &Frame::v4("")), "no_socket");
    }
    cable.near.inside(|| run("ip", &["link", "del", NEAR]));
    assert_eq!(program.verdicts().unwrap().no_socket, 3, "what was counted is known still");
    let error = cable.near.inside(|| program.steer(&plain()).unwrap_err());
    assert!(matches!(error, AttachError::Interface { .. }), "{error}");
}

#[test]
fn connections_of_others_are_as_they_were() {
    let cable = Cable::new("others", 1, 1500);
    cable.far.inside(|| run("ip", &["addr", "add", "192.0.2.9/24", "dev", "far"]));
    let listener = cable.near.inside(|| TcpListener::bind("192.0.2.1:0").unwrap());
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    for mode in MODES {
        let before = cable.far.inside(|| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let accepted = listener.accept().unwrap().0;
        // On a connection that is older than the program, and through its end.
        let program = cable.attach(&plain(), mode, false).unwrap();
        exchange(&before, &accepted, &sent);
        assert!(program.verdicts().unwrap().not_udp > 0);
        drop(program);
        exchange(&accepted, &before, &sent);
        let _program = cable.attach(&plain(), mode, true).unwrap();
        let new = cable.far.inside(|| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        exchange(&new, &listener.accept().unwrap().0, &sent);
    }
}

/// Sends all of it there and back.
fn exchange(mut one: &TcpStream, other: &TcpStream, sent: &[u8]) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, mut got) = (other, vec![0; sent.len()]);
            stream.read_exact(&mut got).unwrap();
            stream.write_all(&got).unwrap();
        });
        one.write_all(sent).unwrap();
        let mut back = vec![0; sent.len()];
        one.read_exact(&mut back).unwrap();
        assert!(back == sent);
    });
}

/// Set for this test's own child: it attaches the program, says so, and waits to be killed.
const HOLD: &str = "FINDERSCOPE_TEST_HOLD";

#[test]
fn nothing_is_left_of_a_process_that_is_killed() {
    if std::env::var_os(HOLD).is_some() {
        let _program = Program::attach(NEAR, &plain(), Attach::Native, false).unwrap();
        println!("\nattached");
        // Ends with the parent, which has the other end.
        let _ = std::io::stdin().read(&mut [0]);
        return;
    }
    let cable = Cable::new("killed", 1, 1500);
    let mut child = cable.near.inside(|| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "attaching::nothing_is_left_of_a_process_that_is_killed", "--nocapture"]);
        command.env(HOLD, "1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    });
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "attached"));
    assert_eq!(shown(&cable), Some("xdp"));
    let text = cable.attach(&plain(), Attach::Native, false).unwrap_err().to_string();
    assert!(text.contains(&format!("process {},", child.id())), "{text}");
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    // The kernel lets go of what the process had after it is reported dead.
    wait_for("free interface", || shown(&cable).is_none().then_some(()));
    assert!(cable.attach(&plain(), Attach::Native, false).is_ok());
}

/// Attaches the program on a thread that has only these capabilities.
fn attach_with(cable: &Cable, capabilities: CapabilitySet) -> Result<Program, AttachError> {
    cable.near.inside(|| {
        let sets = CapabilitySets {
            effective: capabilities,
            permitted: capabilities,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, sets).unwrap();
        Program::attach(NEAR, &plain(), Attach::Native, true)
    })
}

#[test]
fn three_capabilities_are_enough_and_less_is_told() {
    let cable = Cable::new("rights", 1, 1500);
    let needed = CapabilitySet::BPF | CapabilitySet::NET_ADMIN | CapabilitySet::PERFMON;
    assert!(attach_with(&cable, needed).is_ok());
    for (missing, name) in [
        (CapabilitySet::BPF, "CAP_BPF"),
        (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
        (CapabilitySet::PERFMON, "CAP_PERFMON"),
    ] {
        let text = attach_with(&cable, needed - missing).unwrap_err().to_string();
        assert!(text.contains("it takes root or capabilities") && text.contains(name), "{text}");
    }
    let text = attach_with(&cable, CapabilitySet::empty()).unwrap_err().to_string();
    assert!(text.contains("CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON"), "{text}");
}
