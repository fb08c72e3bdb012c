//! Sockets on the queues of an interface: each datagram that is sent is received or counted.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ingest::capture::{Payloads, Reader, Writer, link};
use ingest::machine::Machine;
use ingest::queue::{FEWEST_FRAMES, Mode, QueueStatus};
use ingest::receiver::Receiver;
use ingest::wake::wait;
use ingest::xdp::program::Steering;
use ingest::xdp::{self, OpenError, Opened, Options};

use super::frames::Frame;
use super::live::run;
use super::netns::{Cable, NEAR, NEAR_MAC, PATIENCE};

/// A payload, and who sent it.
type Datagram = (Vec<u8>, IpAddr);

pub(crate) fn options() -> Options {
    let steering = Steering { ports: vec![6343], ..Steering::default() };
    Options { frames_per_queue: 1024, ..Options::new(NEAR, steering) }
}

pub(crate) fn open(cable: &Cable, options: &Options) -> Opened {
    try_open(cable, options).unwrap_or_else(|e| panic!("{e}"))
}

fn try_open(cable: &Cable, options: &Options) -> Result<Opened, OpenError> {
    cable.near.inside(|| xdp::open(options))
}

/// Receives until there are as many.
pub(crate) fn receive(receivers: &mut [Receiver], many: usize) -> Vec<Datagram> {
    let mut received = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while received.len() < many {
        assert!(Instant::now() < deadline, "{} of {many}: {:?}", received.len(), rings(receivers));
        wait(receivers, None, Duration::from_millis(100)).unwrap();
        for receiver in &mut *receivers {
            let batch = receiver.receive().unwrap();
            received.extend(batch.datagrams().map(|(bytes, sender)| (bytes.to_vec(), sender)));
        }
    }
    received
}

/// All that has arrived; what was sent before is there, because the peer of a veth delivers before it returns.
fn drain(receiver: &mut Receiver) -> Vec<Datagram> {
    let mut received = Vec::new();
    while let batch = receiver.receive().unwrap()
        && !batch.is_empty()
    {
        received.extend(batch.datagrams().map(|(bytes, sender)| (bytes.to_vec(), sender)));
    }
    received
}

fn rings(receivers: &mut [Receiver]) -> Vec<QueueStatus> {
    receivers.iter_mut().filter_map(Receiver::rings).collect()
}

/// Waits until the program has steered so many frames: they are with their sockets, or were counted there.
fn steered(opened: &Opened, many: u64) {
    super::netns::wait_for("verdict on each frame", || {
        (opened.program.verdicts().unwrap().steered == many).then_some(())
    });
}

#[test]
fn datagrams_come_out_of_their_frames() {
    let cable = Cable::new("datagrams", 1, 1500);
    // The frames of one queue are one of them.
    let pages = Machine::read().huge_pages;
    let huge = pages.free > 0 && pages.bytes == 2 << 20;
    for (order, mode) in [(Mode::Auto, Mode::Copy), (Mode::Copy, Mode::Copy), (Mode::Generic, Mode::Generic)]
    {
        let mut opened = open(&cable, &Options { order, ..options() });
        assert_eq!((opened.reached.mode, opened.reached.queues.as_slice()), (mode, [0].as_slice()));
        let sender = cable.sender();
        let mut sent = Vec::new();
        for n in 0..200_usize {
            let payload = vec![n as u8; n * 6];
            let frame = match n % 4 {
                0 => Frame::v4(payload),
                1 => Frame { tags: vec![(0x8100, 20)], ..Frame::v4(payload) },
                2 => Frame { tags: vec![(0x88a8, 20), (0x8100, 30)], padding: n % 50, ..Frame::v6(payload) },
                _ => Frame { extensions: vec![(0, vec![0; 6])], ..Frame::v6(payload) },
            };
            sender.send(&frame.bytes());
            sent.push((frame.payload.clone(), frame.from));
        }
        assert_eq!(receive(&mut opened.receivers, sent.len()), sent, "{mode}");
        let rings = rings(&mut opened.receivers)[0];
        assert_eq!((rings.drops(), rings.frames_in_driver()), (0, Some(0)), "{rings:?}");
        assert_eq!(opened.program.verdicts().unwrap().steered, 200);
        assert!(opened.receivers[0].local_address().is_err());
        assert_eq!(opened.receivers[0].receive_buffer(), 1024 * 2048);
        assert_eq!(opened.reached.huge_pages, huge);
    }
}

#[test]
fn zero_copy_is_tried_first_and_why_not_is_told() {
    let cable = Cable::new("refused", 1, 1500);
    let opened = open(&cable, &options());
    assert_eq!(opened.reached.mode, Mode::Copy);
    let [why] = &opened.reached.why.clone()[..] else { panic!("{:?}", opened.reached) };
    assert!(why.starts_with("zero-copy: queue 0: Operation not supported"), "{why}");
    // A second one on the interface.
    let second = try_open(&cable, &options()).unwrap_err().to_string();
    assert!(second.starts_with("AF_XDP on near: the XDP program "), "{second}");
    assert_eq!(second.matches("end it").count(), 1, "whatever the mode: {second}");
    drop(opened);
    let only = try_open(&cable, &Options { order: Mode::ZeroCopy, ..options() }).unwrap_err().to_string();
    assert_eq!(only, format!("AF_XDP on near: {why}"));
    // Everything that was refused has been taken away again.
    assert_eq!(open(&cable, &Options { order: Mode::Generic, ..options() }).reached.why, [""; 0]);

    let none = try_open(&cable, &Options { queues: vec![0, 3], ..options() }).unwrap_err().to_string();
    assert!(none.starts_with("interface near has no queue 3: it has 1, numbered from 0"), "{none}");
    let other = Options { interface: "nowhere".to_owned(), ..options() };
    let none = try_open(&cable, &other).unwrap_err().to_string();
    assert!(none.starts_with("interface nowhere: entity not found; `ip link` lists"), "{none}");
}

#[test]
fn without_privileges_it_says_which_are_needed() {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let cable = Cable::new("privileges", 1, 1500);
    let refusal = cable.near.inside(|| {
        let none = CapabilitySet::empty();
        // Of this thread, which ends here.
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
            .unwrap();
        xdp::open(&options()).unwrap_err().to_string()
    });
    for word in ["AF_XDP on near: ", "not permitted", "CAP_BPF", "CAP_NET_ADMIN"] {
        assert_eq!(refusal.matches(word).count(), 1, "{refusal}");
    }
    assert_eq!(open(&cable, &options()).reached.mode, Mode::Copy);
}

/// Somebody else's socket, without a program.
#[test]
fn a_queue_that_is_taken_is_named() {
    use xsk_rs::config::{LibxdpFlags, SocketConfig, UmemConfig};
    let cable = Cable::new("taken", 2, 1500);
    let (umem, _frames) = cable
        .near
        .inside(|| xsk_rs::Umem::new(UmemConfig::default(), 64.try_into().unwrap(), false).unwrap());
    let theirs =
        SocketConfig::builder().libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD).build();
    // SAFETY: no program is loaded, which is what is asked for where a queue is bound twice.
    let socket = cable
        .near
        .inside(|| unsafe { xsk_rs::Socket::new(theirs, &umem, &NEAR.parse().unwrap(), 1).unwrap() });
    let refusal = try_open(&cable, &options()).unwrap_err().to_string();
    let told =
        "; copy: queue 1: Device or resource busy (os error 16) (another program has an AF_XDP socket on it";
    assert!(refusal.contains(told) && !refusal.contains("generic"), "{refusal}");
    assert_eq!(open(&cable, &Options { queues: vec![0], ..options() }).reached.queues, [0]);
    drop((socket, umem));
    assert_eq!(open(&cable, &options()).reached.queues, [0, 1]);
}

#[test]
fn two_queues_with_their_own_memory_and_with_one_of_both() {
    let cable = Cable::new("queues", 2, 1500);
    for share_umem in [false, true] {
        for order in [Mode::Copy, Mode::Generic] {
            let mut opened = open(&cable, &Options { share_umem, order, ..options() });
            assert_eq!(opened.reached.queues, [0, 1]);
            let sender = cable.sender();
            let mut sent = BTreeSet::new();
            // The senders' addresses spread them over the queues.
            for n in 0..3000_u32 {
                let address = format!("192.0.2.{}", 2 + n % 200);
                let frame = Frame::between(&address, "192.0.2.1", n.to_be_bytes().repeat(100));
                sender.send(&frame.bytes());
                sent.insert((frame.payload, frame.from));
                if n % 500 == 0 {
                    let arrived = opened.receivers.iter_mut().flat_map(drain);
                    arrived.for_each(|datagram| assert!(sent.remove(&datagram)));
                }
            }
            let rest = sent.len();
            for datagram in receive(&mut opened.receivers, rest) {
                assert!(sent.remove(&datagram));
            }
            for (n, rings) in rings(&mut opened.receivers).into_iter().enumerate() {
                assert_eq!((rings.queue, rings.frames), (n as u32, 1024));
                assert_eq!((rings.drops(), rings.frames_in_driver()), (0, Some(0)), "{rings:?}");
            }
        }
    }
}

/// Whoever reads slowly loses what has no room, and knows how much. What he was lent stays as it is.
#[test]
fn sent_is_received_and_dropped() {
    let cable = Cable::new("slow", 1, 1500);
    for order in [Mode::Copy, Mode::Generic] {
        let small = Options { order, frames_per_queue: 1, ..options() };
        let mut opened = open(&cable, &small);
        let sender = cable.sender();
        let mut sent = 0_u64;
        let mut send = |many: u64| {
            for _ in 0..many {
                sender.send(&Frame::v4(sent.to_be_bytes().repeat(50)).bytes());
                sent += 1;
            }
            sent
        };
        let mut received = 0;
        for round in 0..5 {
            send(100);
            let receiver = &mut opened.receivers[0];
            let lent: Vec<Vec<u8>> =
                receiver.receive().unwrap().datagrams().map(|(bytes, _)| bytes.to_vec()).collect();
            assert_eq!(lent.len(), 64, "{round}");
            let all = send(2000);
            steered(&opened, all);
            let receiver = &mut opened.receivers[0];
            let still: Vec<&[u8]> = receiver.received().datagrams().map(|(bytes, _)| bytes).collect();
            assert_eq!(still, lent, "nothing is written where somebody reads");
            let rings = receiver.rings().unwrap();
            assert_eq!((rings.frames, rings.frames_lent), (FEWEST_FRAMES, 64));
            assert_eq!((rings.fill_level, rings.receive_level), (0, FEWEST_FRAMES - 64));
            assert!(rings.rx_dropped > 0 && rings.rx_fill_ring_empty_descs > 0, "{rings:?}");
            received += lent.len() as u64 + drain(receiver).len() as u64;
            assert_eq!(received + receiver.drops().unwrap(), all, "{rings:?}");
            let rings = receiver.rings().unwrap();
            assert_eq!((rings.fill_level, rings.frames_in_driver()), (FEWEST_FRAMES, Some(0)), "{rings:?}");
        }
        assert_eq!(received, 5 * u64::from(FEWEST_FRAMES));
    }
}

#[test]
fn jumbo_datagrams_come_whole_out_of_several_frames() {
    let cable = Cable::new("jumbo", 1, 9000);
    for order in [Mode::Copy, Mode::Generic] {
        let mut opened = open(&cable, &Options { order, ..options() });
        assert!(opened.reached.multi_buffer, "{:?}", opened.reached);
        let sender = cable.sender();
        let mut sent = Vec::new();
        // Batches end in the middle of a packet.
        for n in 0..200_usize {
            let length = [8972, 100, 3798, 3799, 7000, 1, 5000][n % 7];
            let payload: Vec<u8> = (0..length).map(|at| (at * 31 + n * 7) as u8).collect();
            sender.send(&Frame::v4(payload.clone()).bytes());
            sent.push((payload, IpAddr::from([192, 0, 2, 9])));
        }
        let received = receive(&mut opened.receivers, sent.len());
        for (n, (received, sent)) in received.iter().zip(&sent).enumerate() {
            assert!(received == sent, "{order} {n}: {} of {}", received.0.len(), sent.0.len());
        }
        let rings = rings(&mut opened.receivers)[0];
        assert_eq!((rings.drops(), rings.frames_in_driver()), (0, Some(0)), "{rings:?}");
        assert!(rings.gathered > 80, "{rings:?}");
    }
}

#[test]
fn wrong_checksums_are_dropped_and_counted() {
    let cable = Cable::new("checksums", 1, 1500);
    // Where the checksum of UDP is in a frame of either version.
    let spoil = |frame: &Frame, at: usize, with: [u8; 2]| {
        let mut bytes = frame.bytes();
        bytes[at..at + 2].copy_from_slice(&with);
        bytes
    };
    let (four, six) = (Frame::v4([7; 100]), Frame::v6([7; 100]));
    let frames = [
        (four.bytes(), true),
        (six.bytes(), true),
        (spoil(&four, 40, [0, 0]), true),
        (spoil(&four, 40, [1, 2]), false),
        (spoil(&six, 60, [0, 0]), false),
        (spoil(&six, 60, [1, 2]), false),
        // The header's own.
        (spoil(&four, 24, [1, 2]), false),
        // A payload that was damaged on the way.
        (spoil(&four, 80, [9, 9]), false),
        (spoil(&six, 150, [9, 9]), false),
    ];
    for verify_checksum in [true, false] {
        let mut opened = open(&cable, &Options { verify_checksum, ..options() });
        let sender = cable.sender();
        frames.iter().for_each(|(frame, _)| sender.send(frame));
        let good = frames.iter().filter(|(_, good)| *good || !verify_checksum).count();
        assert_eq!(receive(&mut opened.receivers, good).len(), good);
        let wrong = (frames.len() - good) as u64;
        let rings = rings(&mut opened.receivers)[0];
        assert_eq!((rings.checksum_wrong, rings.drops()), (wrong, wrong), "{rings:?}");
        assert_eq!((rings.malformed, rings.checksum_partial, rings.frames_in_driver()), (0, 0, Some(0)));
    }
}

/// The kernel's own sender leaves the checksum to a card, which a veth does not have: nothing of it is lost.
#[test]
fn checksums_that_were_left_to_a_card_are_told() {
    let cable = Cable::new("partial", 1, 1500);
    let mut opened = open(&cable, &options());
    let socket = cable.far.inside(|| {
        run("ip", &["addr", "add", "192.0.2.9/24", "dev", "far"]);
        run("ip", &["neigh", "add", "192.0.2.1", "lladdr", "02:00:00:00:00:01", "dev", "far"]);
        UdpSocket::bind("192.0.2.9:0").unwrap()
    });
    assert_eq!(NEAR_MAC, [2, 0, 0, 0, 0, 1]);
    let mut sent = Vec::new();
    for n in 0..100_u8 {
        let payload = vec![n; usize::from(n) * 11];
        socket.send_to(&payload, "192.0.2.1:6343").unwrap();
        sent.push((payload, IpAddr::from([192, 0, 2, 9])));
    }
    assert_eq!(receive(&mut opened.receivers, 100), sent);
    let rings = rings(&mut opened.receivers)[0];
    assert_eq!((rings.checksum_partial, rings.drops()), (100, 0), "{rings:?}");
}

#[test]
fn an_interface_goes_down_and_comes_up_again() {
    let cable = Cable::new("down", 2, 1500);
    for order in [Mode::Copy, Mode::Generic] {
        let mut opened = open(&cable, &Options { order, ..options() });
        for round in 0..3_u8 {
            for n in 0..100 {
                cable.sender().send(&Frame::v4(vec![round, n]).bytes());
            }
            assert_eq!(receive(&mut opened.receivers, 100).len(), 100, "{order} {round}");
            cable.near.inside(|| run("ip", &["link", "set", NEAR, "down"]));
            for receiver in &mut opened.receivers {
                assert!(receiver.receive().is_ok_and(|batch| batch.is_empty()));
            }
            wait(&opened.receivers, None, Duration::from_millis(10)).unwrap();
            cable.near.inside(|| run("ip", &["link", "set", NEAR, "up"]));
            cable.wait_for_carrier();
        }
        let all: u64 = rings(&mut opened.receivers).iter().map(QueueStatus::drops).sum();
        assert_eq!(all, 0);
    }
}

/// One that is taken away gives nothing more, and does not keep whoever waits for it busy.
#[test]
fn an_interface_that_is_gone_lets_sleep() {
    let cable = Cable::new("gone", 1, 1500);
    let mut opened = open(&cable, &options());
    cable.sender().send(&Frame::v4([1; 9]).bytes());
    assert_eq!(receive(&mut opened.receivers, 1).len(), 1);
    assert!(rings(&mut opened.receivers)[0].bound);
    cable.near.inside(|| run("ip", &["link", "del", NEAR]));
    let began = Instant::now();
    let mut turns = 0;
    while began.elapsed() < Duration::from_millis(300) {
        wait(&opened.receivers, None, Duration::from_millis(50)).unwrap();
        assert!(opened.receivers[0].receive().unwrap().is_empty());
        turns += 1;
    }
    assert!(turns <= 12, "{turns} turns in 300 ms");
    assert!(!rings(&mut opened.receivers)[0].bound);
}

/// The same frames through the kernel's socket, through AF_XDP and out of a capture file.
#[test]
fn the_same_datagrams_whichever_way_they_come() {
    let cable = Cable::new("same", 1, 1500);
    let frames: Vec<Vec<u8>> = (0..400_usize)
        .map(|n| {
            let payload: Vec<u8> = (0..n * 3).map(|at| (at * 7 + n) as u8).collect();
            let frame = match n % 5 {
                0 | 1 => Frame::between(&format!("192.0.2.{}", 2 + n % 200), "192.0.2.1", payload),
                2 => Frame { options: vec![1; 12], padding: n % 40, ..Frame::v4(payload) },
                3 => Frame { extensions: vec![(60, vec![1, 4, 0, 0, 0, 0])], ..Frame::v6(payload) },
                _ => Frame::between(&format!("2001:db8::{n}"), "2001:db8::1", payload),
            };
            frame.bytes()
        })
        .collect();

    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file, link::ETHERNET).unwrap();
    for frame in &frames {
        writer.frame(0, frame, frame.len() as u32).unwrap();
    }
    let mut payloads = Payloads::new(Reader::new(Path::new("same"), Cursor::new(file)).unwrap(), 6343);
    let mut from_file = Vec::new();
    while let Some(payload) = payloads.next_payload() {
        let payload = payload.unwrap();
        from_file.push((payload.bytes.to_vec(), payload.source.ip()));
    }
    assert_eq!(from_file.len(), frames.len());

    let sender = cable.sender();
    let mut socket = [cable.near.inside(|| Receiver::open("[::]:6343".parse().unwrap(), 4 << 20).unwrap())];
    frames.iter().for_each(|frame| sender.send(frame));
    assert_eq!(receive(&mut socket, frames.len()), from_file);
    for order in [Mode::Copy, Mode::Generic] {
        let mut opened = open(&cable, &Options { order, ..options() });
        frames.iter().for_each(|frame| sender.send(frame));
        assert_eq!(receive(&mut opened.receivers, frames.len()), from_file, "{order}");
        assert!(drain(&mut socket[0]).is_empty(), "the socket beside it gets nothing of it");
    }
}

/// A driver that is asked gives what it has.
#[test]
fn busy_polling_receives_as_well() {
    let cable = Cable::new("busy", 1, 1500);
    let mut opened = open(&cable, &Options { busy_poll: true, ..options() });
    assert!(opened.reached.busy_poll, "{:?}", opened.reached);
    let sender = cable.sender();
    for n in 0..500_u32 {
        sender.send(&Frame::v4(n.to_be_bytes()).bytes());
    }
    let received = receive(&mut opened.receivers, 500);
    assert!(received.iter().enumerate().all(|(n, (bytes, _))| *bytes == (n as u32).to_be_bytes()));
}

/// A million datagrams later each frame is where it can be found, and nothing was allocated on the way.
#[test]
fn no_frame_is_lost_in_a_million_datagrams() {
    const MANY: u64 = 1_000_000;
    let cable = Cable::new("million", 1, 1500);
    let mut opened = open(&cable, &options());
    let (sender, program) = (cable.sender(), Arc::clone(&opened.program));
    // No more at once than a veth passes on.
    let send = move || {
        let frame = Frame::v4([5; 32]).bytes();
        for sent in 0..MANY {
            sender.send(&frame);
            while sent % 128 == 127 && program.verdicts().unwrap().steered <= sent {
                std::thread::yield_now();
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(send);
        let receiver = &mut opened.receivers[0];
        let (mut received, mut drops) = (0_u64, 0);
        let deadline = Instant::now() + 6 * PATIENCE;
        let allocated = super::allocations::of_this_thread();
        while received + drops < MANY {
            let batch = receiver.receive().unwrap();
            received += batch.datagrams().filter(|(bytes, _)| *bytes == [5; 32]).count() as u64;
            if batch.is_empty() {
                drops = receiver.drops().unwrap();
                assert!(Instant::now() < deadline, "{received} {drops}");
                wait(std::slice::from_ref(&*receiver), None, Duration::from_millis(10)).unwrap();
            }
        }
        assert_eq!(super::allocations::of_this_thread(), allocated, "nothing is allocated for a datagram");
        assert_eq!(received + receiver.drops().unwrap(), MANY);
        let rings = receiver.rings().unwrap();
        assert_eq!(rings.frames_in_driver(), Some(0), "{rings:?}");
        assert_eq!((rings.rx_invalid_descs, rings.malformed), (0, 0));
    });
}
