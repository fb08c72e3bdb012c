//! What is not sFlow is undisturbed, what is refused is counted, and of what is lost it is known where.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::lab::{ADDRESS, Lab, frames, ingest, send, taken, to, wait_for_taken};
use crate::support::PATIENCE;
use crate::support::live::{run, wait_until};
use crate::support::observer::Account;
use crate::support::traffic::Traffic;

fn some(count: usize) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    Traffic::of_fabric(count).next(count, |some| datagrams.extend(some.iter().map(|bytes| bytes.to_vec())));
    datagrams
}

/// Sends an echo request, and waits for the reply.
fn ping(from: &Lab) {
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket};
    from.far.inside(|| {
        let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).unwrap();
        // Type 8, with a checksum that makes the sum of all words ffff.
        let request = [8, 0, 0xf7, 0xfd, 0, 1, 0, 1];
        sendto(&socket, &request, SendFlags::empty(), &SocketAddr::from((ADDRESS, 0))).unwrap();
        let reply = || {
            let mut packet = [0; 100];
            let (length, _) = recv(&socket, &mut packet, RecvFlags::DONTWAIT).ok()?;
            (length >= 28 && packet[20] == 0).then_some(())
        };
        wait_until("the reply to a ping", reply);
    });
}

/// A TCP connection that was there before, new ones, other UDP and ICMP, while sFlow is steered past them all.
#[test]
fn other_traffic_is_undisturbed() {
    let lab = Lab::new("other", 2);
    lab.on_near(|| {
        let listener = TcpListener::bind((ADDRESS, 22)).unwrap();
        let echo = UdpSocket::bind((ADDRESS, 7)).unwrap();
        let connect = || {
            let there = lab.far.inside(|| TcpStream::connect((ADDRESS, 22)).unwrap());
            there.set_read_timeout(Some(PATIENCE)).unwrap();
            (listener.accept().unwrap().0, there)
        };
        let say = |pair: &mut (TcpStream, TcpStream), what: &[u8]| {
            pair.1.write_all(what).unwrap();
            let mut heard = vec![0; what.len()];
            pair.0.read_exact(&mut heard).unwrap();
            pair.0.write_all(&heard).unwrap();
            pair.1.read_exact(&mut heard).unwrap();
            assert_eq!(heard, what);
        };
        let mut before = connect();
        say(&mut before, b"before");
        let collector = Lab::collector(&["--ingest", "xdp"]);
        say(&mut before, b"while it is read");
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let flood = lab.senders([192, 0, 2, 2], 4);
            let ended = &ended;
            scope.spawn(move || {
                let datagrams = some(200);
                for n in 0.. {
                    let _ = flood[n % 4].send_to(&datagrams[n % 200], to());
                    if ended.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            let body: Vec<u8> = (0..1 << 18).map(|n| (n * 7) as u8).collect();
            // Half a megabyte each way would fill both ends: a piece at a time.
            for piece in body.chunks(1 << 14) {
                say(&mut before, piece);
            }
            let mut new = connect();
            say(&mut new, b"as ssh does");
            ping(&lab);
            let client = lab.senders([192, 0, 2, 2], 1).remove(0);
            client.send_to(b"other UDP", (ADDRESS, 7)).unwrap();
            let mut heard = [0; 100];
            echo.set_read_timeout(Some(PATIENCE)).unwrap();
            let (length, from) = echo.recv_from(&mut heard).unwrap();
            assert_eq!((&heard[..length], from), (&b"other UDP"[..], client.local_addr().unwrap()));
            wait_until("sFlow that is taken meanwhile", || (taken(&collector) > 100).then_some(()));
            ended.store(true, Ordering::Relaxed);
        });
        assert!(frames(&collector, "not_udp") > 40 && frames(&collector, "other_port") > 0);
        assert_eq!(collector.end(), Some(0));
        say(&mut before, b"after");
    });
}

/// A datagram that does not fit the MTU comes in fragments, which are the kernel's: it puts them together.
#[test]
fn fragments_come_by_the_udp_socket_beside() {
    let lab = Lab::new("fragments", 1);
    lab.on_near(|| {
        let collector = Lab::collector(&["--ingest", "xdp"]);
        let mut large = some(1).remove(0);
        // What follows the samples is not read.
        large.resize(4000, 0);
        let sockets = lab.senders([192, 0, 2, 2], 1);
        for n in 1..=10 {
            sockets[0].send_to(&large, to()).unwrap();
            wait_until("a datagram in fragments", || {
                let account = Account::read(&collector);
                (account.all() >= n).then_some(())
            });
        }
        assert_eq!((frames(&collector, "fragment"), frames(&collector, "steered")), (30, 0));
        let account = Account::read(&collector);
        assert_eq!((account.decoded, account.dropped), (10, 0), "{account:?}");
    });
}

/// Where only listed agents are taken, the program lets nobody else in, because no firewall of the host sees what it takes.
#[test]
fn only_listed_agents_get_past_the_program() {
    let lab = Lab::new("sources", 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("finderscope.toml");
    let agents = "[agents]\nunlisted = 'refuse'\n[[agents.listed]]\naddress = '0.0.0.0/0'\nsources = ['192.0.2.2/32']\n";
    std::fs::write(&file, agents).unwrap();
    lab.on_near(|| {
        let collector = Lab::collector(&["--ingest", "xdp", "--config", file.to_str().unwrap()]);
        let datagrams = some(50);
        let stranger = lab.senders([192, 0, 2, 3], 1);
        for datagram in &datagrams {
            stranger[0].send_to(datagram, to()).unwrap();
        }
        send(&collector, &lab.senders([192, 0, 2, 2], 1), to(), &datagrams);
        assert_eq!((frames(&collector, "refused_source"), frames(&collector, "steered")), (50, 50));
        assert_eq!(taken(&collector), 50);
        collector.wait_for_log("Datagrams dropped by the XDP program: 50 from where no listed agent sends");
    });
}

/// Datagrams to others are left to the kernel, and an address that this machine gets later is its own soon.
#[test]
fn own_addresses_are_known_as_they_come() {
    let lab = Lab::new("own", 1);
    lab.on_near(|| {
        let collector = Lab::collector(&["--ingest", "xdp", "--own-addresses"]);
        let later = IpAddr::from([192, 0, 2, 77]);
        lab.far.inside(|| {
            let link = "02:00:00:00:00:01";
            run(
                "ip",
                &["neigh", "replace", &later.to_string(), "lladdr", link, "dev", "far", "nud", "permanent"],
            );
        });
        let sockets = lab.senders([192, 0, 2, 2], 1);
        let datagrams = some(200);
        send(&collector, &sockets, to(), &datagrams[..10]);
        sockets[0].send_to(&datagrams[10], (later, 6343)).unwrap();
        wait_until("a datagram to another's address", || {
            (frames(&collector, "other_address") == 1).then_some(())
        });
        assert_eq!((taken(&collector), frames(&collector, "steered")), (10, 10));
        run("ip", &["addr", "add", "192.0.2.77/24", "dev", "near"]);
        // By UDP at first, which knows it at once.
        let mut sent = 10;
        wait_until("a datagram that is steered to the new address", || {
            sockets[0].send_to(&datagrams[sent as usize % 200], (later, 6343)).unwrap();
            sent += 1;
            wait_for_taken(&collector, sent);
            (frames(&collector, "steered") > 10).then_some(())
        });
    });
}

/// Few frames, and datagrams without a pause: sent = decoded + dropped, each by its place.
#[test]
fn under_overload_every_datagram_is_accounted_for() {
    let lab = Lab::new("overload", 2);
    lab.on_near(|| {
        let collector = Lab::collector(&["--ingest", "xdp", "--frames", "256", "--workers", "2"]);
        let sent = AtomicU64::new(0);
        let dropped = || {
            let queues = ingest(&collector)["queues"].clone();
            let of = |queue: &serde_json::Value| {
                queue["rxDropped"].as_u64().unwrap() + queue["rxRingFull"].as_u64().unwrap()
            };
            queues.as_array().unwrap().iter().map(of).sum::<u64>()
        };
        let ended = &AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let sockets = lab.senders([192, 0, 2, 2], 8);
                let sent = &sent;
                scope.spawn(move || {
                    let mut traffic = Traffic::of_fabric(1000);
                    while !ended.load(Ordering::Relaxed) {
                        traffic.next(64, |datagrams| {
                            for (n, datagram) in datagrams.iter().enumerate() {
                                sockets[n % 8].send_to(datagram, to()).unwrap();
                                sent.fetch_add(1, Ordering::Relaxed);
                            }
                        });
                    }
                });
            }
            wait_until("a ring that is full", || (dropped() > 0).then_some(()));
            ended.store(true, Ordering::Relaxed);
        });
        let sent = sent.into_inner();
        // What the cable had no room for never came to the interface.
        let came = sent - lab.lost_on_the_cable();
        let account = Account::wait_for(&collector, came);
        assert_eq!(account.all(), came, "{sent} were sent: {account:?} {:#}", ingest(&collector));
        assert!(account.decoded > 0 && account.dropped > 0);
        collector.wait_for_log("Datagrams dropped at the queues of the interface: ");
    });
}
