//! What there is to say of an interface: its driver, queues and rings, and what would spread sFlow better over them.

use std::num::NonZero;

use ingest::interface::Interface;
use serde_json::json;

use super::prospect::LARGEST_SINGLE_MTU;
use super::report::{Level, Report};
use crate::run::queues::ranges;
use crate::run::settings::Settings;

/// Adds what there is to say of the interface.
pub(super) fn report(report: &mut Report, interface: &Interface, settings: &Settings) {
    let name = interface.name.as_str();
    report.topic(format!("interface {name}"));
    report.fact("interface", facts(interface));
    let driver = interface.driver.as_deref().unwrap_or("unknown");
    report.add(Level::Ok, "driver", driver);
    let level = if interface.up { Level::Ok } else { Level::Note };
    report.add(level, "state", if interface.up { "up" } else { "down" });
    mtu(report, interface);
    report.add(Level::Ok, "XDP", modes(interface));
    queues(report, interface, settings);
    steering(report, interface, settings);
    if let Some(rings) = interface.rings.filter(|rings| rings.receive < rings.receive_max) {
        let found = format!(
            "{} descriptors of {}: longer ones hold more of a burst",
            rings.receive, rings.receive_max
        );
        report.advise(
            Level::Note,
            "receive rings",
            found,
            vec![format!("ethtool -G {name} rx {}", rings.receive_max)],
        );
    } else if let Some(rings) = interface.rings {
        report.add(Level::Ok, "receive rings", format_args!("{} descriptors", rings.receive));
    }
    report.add(
        Level::Note,
        "firewall",
        "nftables and iptables do not see datagrams that AF_XDP takes: who may send is [[agents.listed]] with\n\
         agents.unlisted = \"refuse\", and ingest.own_addresses keeps to the addresses of this machine",
    );
}

/// The one line that lists an interface.
pub(super) fn line(interface: &Interface) -> String {
    let driver = interface.driver.as_deref().unwrap_or("unknown driver");
    let queues =
        if interface.queues == 1 { "1 queue".to_owned() } else { format!("{} queues", interface.queues) };
    let state = if interface.up { "" } else { ", down" };
    format!("{driver}, {queues}, MTU {}{state}: {}", interface.mtu, modes(interface))
}

fn modes(interface: &Interface) -> &'static str {
    match interface.features {
        Some(can) if can.zero_copy() => "zero-copy, copy, generic",
        Some(can) if can.native() => "copy, generic; its driver has no zero-copy",
        Some(_) => "generic: its driver runs no programs",
        None => "this kernel does not tell what its driver can do: --try finds out",
    }
}

fn facts(interface: &Interface) -> serde_json::Value {
    json!({
        "name": interface.name,
        "driver": interface.driver,
        "up": interface.up,
        "mtu": interface.mtu,
        "queues": interface.queues,
        "channels": interface.channels.map(|c| json!({
            "combined": c.combined, "combinedMax": c.combined_max,
            "receive": c.receive, "receiveMax": c.receive_max,
        })),
        "rings": interface.rings.map(|r| json!({"receive": r.receive, "receiveMax": r.receive_max})),
        "program": interface.attached.map(|a| json!({"mode": a.mode, "id": a.program})),
        "xdp": interface.features.map(|f| json!({
            "native": f.native(), "redirect": f.redirect(),
            "zeroCopy": f.zero_copy(), "multiBuffer": f.multi_buffer(),
        })),
    })
}

fn mtu(report: &mut Report, interface: &Interface) {
    let mtu = interface.mtu;
    if mtu <= LARGEST_SINGLE_MTU {
        report.add(Level::Ok, "MTU", format_args!("{mtu}, a frame fits into one buffer"));
    } else if interface.features.is_some_and(|can| can.native() && !can.multi_buffer()) {
        let found =
            format!("{mtu}, of which a frame needs several buffers, and its driver gives a program but one");
        report.advise(
            Level::Note,
            "MTU",
            found,
            vec![format!("ip link set {} mtu {LARGEST_SINGLE_MTU}", interface.name)],
        );
    } else {
        report.add(Level::Ok, "MTU", format_args!("{mtu}, of which a frame needs several buffers"));
    }
}

/// Workers and queues: one for one is best.
fn queues(report: &mut Report, interface: &Interface, settings: &Settings) {
    let (name, has) = (&interface.name, interface.queues);
    let workers = workers(settings);
    let wanted = &settings.engine.interface.queues;
    let read = if wanted.is_empty() { has } else { u32::try_from(wanted.len()).unwrap_or(u32::MAX) };
    let which = if wanted.is_empty() { format!("all {has}") } else { format!("{} of {has}", ranges(wanted)) };
    let found = format!("{which}, for {workers} workers");
    let most = interface.channels.map_or(0, |channels| channels.combined_max.max(channels.receive_max));
    let better = workers.min(most);
    if read >= workers || better <= has || !wanted.is_empty() {
        report.add(Level::Ok, "queues", found);
        return;
    }
    let kind =
        if interface.channels.is_some_and(|channels| channels.combined_max > 0) { "combined" } else { "rx" };
    report.advise(
        Level::Note,
        "queues",
        format_args!("{found}: some of them have none"),
        vec![format!("ethtool -L {name} {kind} {better}")],
    );
}

fn workers(settings: &Settings) -> u32 {
    let all = || std::thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(settings.engine.workers.map_or_else(all, NonZero::get)).unwrap_or(u32::MAX)
}

/// What brings sFlow to the queues that are read.
fn steering(report: &mut Report, interface: &Interface, settings: &Settings) {
    let name = &interface.name;
    if interface.queues <= 1 {
        return;
    }
    let ports = settings.engine.sflow.iter().map(std::net::SocketAddr::port);
    let rules = |action: String| {
        ports.clone().flat_map(move |port| {
            let action = action.clone();
            ["udp4", "udp6"]
                .map(|kind| format!("ethtool -N {name} flow-type {kind} dst-port {port} {action}"))
        })
    };
    let found = match settings.engine.interface.queues.as_slice() {
        [] => {
            "a card that hashes UDP by addresses alone brings a relay's datagrams to one queue: by ports too"
        }
        [_] => "the other queues are the kernel's: a rule brings sFlow to this one",
        _ => {
            "the other queues are the kernel's: a context of its own spreads sFlow over these (ethtool tells its number)"
        }
    };
    let ntuple = format!("ethtool -K {name} ntuple on");
    let commands = match settings.engine.interface.queues.as_slice() {
        [] => ["udp4", "udp6"].map(|kind| format!("ethtool -N {name} rx-flow-hash {kind} sdfn")).to_vec(),
        [one] => std::iter::once(ntuple).chain(rules(format!("action {one}"))).collect(),
        [first, .., last] => {
            let context = format!("ethtool -X {name} context new start {first} equal {}", last - first + 1);
            [ntuple, context].into_iter().chain(rules("context NUMBER".to_owned())).collect()
        }
    };
    report.advise(Level::Note, "spreading", found, commands);
}

#[cfg(test)]
mod tests {
    use engine::interface::InterfaceOptions;
    use ingest::interface::{Channels, Rings};

    use super::*;

    fn commands(interface: &Interface, queues: &[u32], workers: usize) -> Vec<String> {
        let mut settings = Settings::default();
        settings.engine.workers = NonZero::new(workers);
        settings.engine.interface =
            InterfaceOptions { queues: queues.to_vec(), ..InterfaceOptions::default() };
        let mut report = Report::default();
        super::report(&mut report, interface, &settings);
        assert!(report.works());
        report.findings().iter().flat_map(|finding| finding.commands.clone()).collect()
    }

    #[test]
    fn what_would_be_better_is_told_as_commands() {
        let channels = Some(Channels { combined: 4, combined_max: 16, ..Channels::default() });
        let rings = Some(Rings { receive: 512, receive_max: 8192 });
        let eth0 = Interface {
            name: "eth0".into(),
            queues: 4,
            mtu: 1500,
            up: true,
            channels,
            rings,
            ..Interface::default()
        };
        let ring = "ethtool -G eth0 rx 8192";
        let hash = |kind| format!("ethtool -N eth0 rx-flow-hash {kind} sdfn");
        let rule = |kind, action| format!("ethtool -N eth0 flow-type {kind} dst-port 6343 {action}");
        assert_eq!(
            commands(&eth0, &[], 8),
            ["ethtool -L eth0 combined 8".to_owned(), hash("udp4"), hash("udp6"), ring.to_owned()]
        );
        assert_eq!(commands(&eth0, &[], 4), [hash("udp4"), hash("udp6"), ring.to_owned()]);
        let ntuple = "ethtool -K eth0 ntuple on".to_owned();
        assert_eq!(
            commands(&eth0, &[2], 1),
            [ntuple.clone(), rule("udp4", "action 2"), rule("udp6", "action 2"), ring.to_owned()]
        );
        let context = "ethtool -X eth0 context new start 2 equal 2".to_owned();
        let number = "context NUMBER";
        assert_eq!(
            commands(&eth0, &[2, 3], 2),
            [ntuple, context, rule("udp4", number), rule("udp6", number), ring.to_owned()]
        );
        let one = Interface { queues: 1, channels: None, rings: None, ..eth0 };
        assert_eq!(commands(&one, &[], 8), Vec::<String>::new(), "a card that has no say is left alone");
    }
}
