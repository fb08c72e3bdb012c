//! `finderscope replay` sends what a capture holds, in its order.

use std::net::UdpSocket;

use ingest::capture::{Writer, link};

use crate::support::{PATIENCE, finderscope};

/// A capture of `count` UDP packets to port 6343, ten milliseconds apart, numbered by their payload.
fn capture(count: u8) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = Writer::new(file.as_file_mut(), link::RAW).unwrap();
    for n in 0..count {
        let mut packet = vec![0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend([0x10, 0, 0x18, 0xc7, 0, 9, 0, 0, n]);
        writer.frame(1_000_000 + u64::from(n) * 10_000, &packet, 29).unwrap();
    }
    file
}

#[test]
fn every_datagram_of_every_turn_in_order() {
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_read_timeout(Some(PATIENCE)).unwrap();
    let to = collector.local_addr().unwrap().to_string();
    let file = capture(20);
    let output = finderscope()
        .arg("replay")
        .arg(file.path())
        .args(["--to", &to, "--speed", "10", "--loop", "2"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut buffer = [0; 100];
    for turn in 0..2 {
        for n in 0..20 {
            let length = collector.recv(&mut buffer).unwrap();
            assert_eq!((length, buffer[0]), (1, n), "turn {turn}");
        }
    }
    assert!(String::from_utf8_lossy(&output.stderr).contains("sent 40 datagrams"));
}

#[test]
fn an_even_rate_takes_its_time() {
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = collector.local_addr().unwrap().to_string();
    let file = capture(20);
    let began = std::time::Instant::now();
    let status =
        finderscope().arg("replay").arg(file.path()).args(["--to", &to, "--rate", "100"]).status().unwrap();
    assert!(status.success());
    assert!(began.elapsed().as_millis() >= 190, "20 datagrams at 100 a second");
}

#[test]
fn a_file_without_datagrams_is_said() {
    let output =
        finderscope().arg("replay").arg(capture(0).path()).args(["--to", "127.0.0.1:9"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("holds no UDP datagram to port 6343"));
}
