//! A script that runs what it is asked to, and agents that send what is known.

use std::net::UdpSocket;

use decode::build::{DatagramBuilder, RecordOut};
use decode::flow::SampledHeader;
use decode::layout::Value;
use decode::{Address, CountersSample, DataSource, FlowSample, Header, counter};
use script::{Config, Request};
use serde_json::{Value as Json, json};

use crate::support::{Host, get, until};

/// The switch, and the host.
pub(crate) const SWITCH: &str = "10.0.0.254";
pub(crate) const HOST: &str = "10.0.0.200";

const CONSOLE: &str = "setHttpHandler(function(req) {\n\
                       try { var came = (0, eval)(req.body.run); return {came: came === undefined ? null : came}; }\n\
                       catch (e) { return {error: String(e)}; }\n});";

/// A host whose one script runs what it is asked to.
pub(crate) struct Console {
    pub(crate) host: Host,
    sent: u32,
}

impl Console {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let host = Host::with(&[("console.js", CONSOLE)], change);
        until("it answers", || host.ask("console.js", get()).is_ok());
        Self { host, sent: 0 }
    }

    /// What a text comes to, as JSON has it, or what it throws.
    pub(crate) fn attempt(&self, text: &str) -> Result<Json, String> {
        let body = json!({ "run": text }).to_string().into_bytes();
        let reply = self.host.ask("console.js", Request { method: "PUT".into(), body, ..get() }).unwrap();
        let mut came: Json = serde_json::from_slice(&reply.body).unwrap();
        match came.get("error") {
            Some(error) => Err(error.as_str().unwrap().to_owned()),
            None => Ok(came["came"].take()),
        }
    }

    pub(crate) fn run(&self, text: &str) -> Json {
        self.attempt(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// What it throws.
    pub(crate) fn throws(&self, text: &str) -> String {
        match self.attempt(text) {
            Err(error) => error,
            Ok(came) => panic!("{text} gives {came}"),
        }
    }

    /// Sends a datagram of an agent, and waits until it is taken.
    pub(crate) fn send(&mut self, agent: &str, fill: impl FnOnce(&mut DatagramBuilder<'_>, u32)) {
        self.sent += 1;
        let header = Header {
            agent: Address::V4(agent.parse().unwrap()),
            sequence: self.sent,
            uptime_ms: self.sent * 1000,
            ..Header::default()
        };
        let mut buffer = vec![0; 9000];
        let mut builder = DatagramBuilder::new(&mut buffer, &header).unwrap();
        fill(&mut builder, self.sent);
        let length = builder.finish().unwrap();
        let engine = self.host.engine.as_ref().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&buffer[..length], engine.addresses()[0]).unwrap();
        let (handle, sent) = (engine.handle(), u64::from(self.sent));
        until("it is taken", || handle.status().unwrap().counters.datagrams == sent);
    }

    /// Interfaces 4 (`swp4`, up, 1 Gbit/s) and 5 (`swp5`, down, 10 Gbit/s) of the switch, and its host `leaf1`: Linux
    /// with a load of 0.5; another host, `web1`, whose load is 1.5.
    pub(crate) fn send_counters(&mut self) {
        self.send(SWITCH, |builder, n| {
            for (index, name, speed, up) in [(4, b"swp4", 1_000_000_000, 3), (5, b"swp5", 10_000_000_000, 1)]
            {
                let interface = [
                    Value::U32(index),
                    Value::U32(6),
                    Value::U64(speed),
                    Value::U32(1),
                    Value::U32(up),
                    Value::U64(0),
                ];
                let named = [Value::Text(name)];
                let records = [
                    RecordOut::Fields(&counter::IF_COUNTERS, &interface),
                    RecordOut::Fields(&counter::PORT_NAME, &named),
                ];
                let source = DataSource { class: 0, index };
                let sample = CountersSample { sequence: n, source, ..Default::default() };
                builder.counters_sample(&sample, &records).unwrap();
            }
            host(builder, n, b"leaf1", 0.5);
        });
        self.send(HOST, |builder, n| host(builder, n, b"web1", 1.5));
    }

    /// Packets of 1000 bytes from 10.0.0.162 to 192.0.2.1, each of them sampled at interface 4 of the switch as one of 100.
    pub(crate) fn send_packets(&mut self, count: u32) {
        self.send(SWITCH, |builder, n| {
            for k in 0..count {
                let packet = packet();
                let header = SampledHeader { protocol: 1, frame_length: 1000, stripped: 4, bytes: &packet };
                let sample = FlowSample {
                    sequence: n * 1000 + k,
                    source: DataSource { class: 0, index: 4 },
                    sampling_rate: 100,
                    ..Default::default()
                };
                builder.flow_sample(&sample, &[RecordOut::Header(header)]).unwrap();
            }
        });
    }
}

fn host(builder: &mut DatagramBuilder<'_>, n: u32, name: &[u8], load: f32) {
    // Two is Linux.
    let described =
        [Value::Text(name), Value::Uuid([0; 16]), Value::U32(3), Value::U32(2), Value::Text(b"6.1")];
    let processor = [Value::F32(load), Value::F32(load), Value::F32(load)];
    let records = [
        RecordOut::Fields(&counter::HOST_DESCR, &described),
        RecordOut::Fields(&counter::HOST_CPU, &processor),
    ];
    let source = DataSource { class: 2, index: 1 };
    let sample = CountersSample { sequence: n, source, ..Default::default() };
    builder.counters_sample(&sample, &records).unwrap();
}

/// An Ethernet frame with a UDP packet.
fn packet() -> Vec<u8> {
    let mut bytes = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 8, 0];
    bytes.extend([0x45, 0, 0x03, 0xd2, 0, 0, 0, 0, 64, 17, 0, 0]);
    bytes.extend([10, 0, 0, 162, 192, 0, 2, 1]);
    bytes.extend([0x10, 0, 0, 53, 0x03, 0xbe, 0, 0]);
    bytes.resize(128, 0);
    bytes
}
