//! The one function through which all datagrams go, without sockets and threads.

use std::net::IpAddr;
use std::sync::Arc;

use engine::ownership::Ownership;
use engine::process_batch;
use serde_json::json;
use tables::{Change, Options, Outbox, Program, Shard};

use crate::support::{Agent, answers_of, assert_same};

const SENDER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A shard that was fed batches, a second apart.
fn fed(batches: &[Vec<Vec<u8>>]) -> Shard {
    let flow = json!({"keys": "ipsource", "value": "frames", "t": 600});
    let program = Program::default().changed(Change::Flow("sources".into(), Some(flow))).unwrap();
    let (mut shard, mut outbox) = (Shard::new(Options::default()), Outbox::default());
    shard.adopt(&Arc::new(program), 0, &mut outbox);
    for (n, batch) in batches.iter().enumerate() {
        let datagrams = batch.iter().map(|bytes| (bytes.as_slice(), SENDER));
        let now_us = n as u64 * 1_000_000;
        let own = process_batch(datagrams, now_us, &mut shard, &mut outbox, &mut Ownership::alone());
        assert_eq!(own, batch.len(), "there are no others to own them");
    }
    shard
}

fn answers(shard: &Shard) -> String {
    answers_of(|question| shard.ask(&question, 30_000_000).finish(&question))
}

/// Ways in which a datagram can be wrong as a whole, of which the `n`th.
fn wrong(n: usize, good: &[u8]) -> Vec<u8> {
    match n % 5 {
        0 => good[..n % 28].to_vec(),
        1 => [&[0, 0, 0, 4], &good[4..]].concat(),
        2 => [&good[..4], &[0, 0, 0, 9], &good[8..]].concat(),
        3 => b"GET / HTTP/1.1\r\n\r\n".repeat(n % 50),
        _ => vec![0xff; n * 7 % 1400],
    }
}

/// Of an agent of its own: a header that holds, samples that lie about their lengths in every way.
fn lying(n: usize, good: &[u8]) -> Vec<u8> {
    let mut bytes = [&good[..8], &[192, 168, 0, 1], &good[12..28]].concat();
    let lies = [0_u32, 3, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff];
    bytes[16..20].copy_from_slice(&(n as u32).to_be_bytes());
    bytes[24..28].copy_from_slice(&lies[n % 6].to_be_bytes());
    for (tag, lie) in [(1_u32, lies[n % 6]), (2, lies[n / 6 % 6]), (3, lies[n / 36 % 6])] {
        bytes.extend(tag.to_be_bytes());
        bytes.extend(lie.to_be_bytes());
    }
    bytes
}

#[test]
fn a_fifth_of_malformed_datagrams_changes_nothing_for_the_rest() {
    let mut agents: Vec<Agent> = (0..50).filter(|n| n % 4 != 3).map(Agent::new).collect();
    let good: Vec<Vec<Vec<u8>>> = (0..20).map(|_| agents.iter_mut().map(Agent::datagram).collect()).collect();
    let (mut number, mut wrong_ones) = (0, 0);
    let mixed: Vec<Vec<Vec<u8>>> = good
        .iter()
        .map(|batch| {
            let mut mixed = Vec::new();
            for datagram in batch {
                mixed.push(datagram.clone());
                number += 1;
                if number % 10 == 0 {
                    mixed.push(wrong(number / 10, datagram));
                    mixed.push(lying(number / 10, datagram));
                    wrong_ones += 1;
                }
            }
            mixed
        })
        .collect();
    let (clean, dirty) = (fed(&good), fed(&mixed));
    let without_liar: String = answers(&dirty)
        .lines()
        .filter(|line| !line.starts_with("192.168.0.1 "))
        .map(|l| l.to_owned() + "\n")
        .collect();
    assert_same(&without_liar, &answers(&clean), "with malformed datagrams");
    let (clean, dirty) = (clean.counters(), dirty.counters());
    assert_eq!(dirty.datagram_errors.iter().sum::<u64>(), wrong_ones);
    assert!(dirty.datagram_errors.iter().all(|errors| *errors > 0), "{:?}", dirty.datagram_errors);
    assert!(dirty.sample_errors.iter().sum::<u64>() >= wrong_ones / 2, "{:?}", dirty.sample_errors);
    assert_eq!((dirty.flow_samples, dirty.counters_samples), (clean.flow_samples, clean.counters_samples));
}
