//! What this machine and this process's rights are good for.

use ingest::machine::{CAPABILITIES, Machine};
use serde_json::json;

use super::report::{Level, Report};
use crate::run::settings::Settings;

/// Adds what there is to say of the machine.
pub(super) fn report(report: &mut Report, machine: &Machine, settings: &Settings, wants_xdp: bool) {
    report.topic("machine");
    let Machine { release, processors, capabilities, own_users, memlock, rmem_max, huge_pages } = machine;
    report.fact(
        "machine",
        json!({
            "kernel": release,
            "processors": processors,
            "capabilities": CAPABILITIES.iter().zip(capabilities).filter(|(_, held)| **held)
                .map(|((name, _), _)| *name).collect::<Vec<_>>(),
            "userNamespace": own_users,
            "memlockBytes": memlock,
            "rmemMaxBytes": rmem_max,
            "hugePages": {"total": huge_pages.total, "free": huge_pages.free, "bytes": huge_pages.bytes},
        }),
    );
    report.add(Level::Ok, "kernel", format_args!("{release}, {processors} processors"));
    rights(report, machine, wants_xdp);
    receive_buffer(report, machine, settings);
    if !wants_xdp {
        return;
    }
    match *memlock {
        Some(limit) if machine.missing().contains(&"CAP_IPC_LOCK") => {
            let found = format!(
                "{} KiB may be locked without CAP_IPC_LOCK, and frames are locked memory",
                limit / 1024
            );
            let command = "systemctl edit finderscope   # [Service] LimitMEMLOCK=infinity".to_owned();
            report.advise(Level::Note, "locked memory", found, vec![command]);
        }
        _ => report.add(Level::Ok, "locked memory", "not limited"),
    }
}

/// Whether frames of so many bytes in all will be on huge pages.
pub(super) fn frames(report: &mut Report, machine: &Machine, bytes: u64) {
    let pages = &machine.huge_pages;
    let needed = bytes.div_ceil(pages.bytes.max(1));
    let kib = bytes >> 10;
    if pages.bytes == 0 {
        report.add(Level::Ok, "frames", format_args!("{kib} KiB of memory; this kernel has no huge pages"));
    } else if pages.free >= needed {
        report.add(
            Level::Ok,
            "frames",
            format_args!("{kib} KiB of memory, on {needed} of {} free huge pages", pages.free),
        );
    } else {
        let found = format!(
            "{kib} KiB of memory, which {needed} huge pages would hold: {} are free, and without them it costs a little more",
            pages.free
        );
        let more = pages.total - pages.free.min(pages.total) + needed;
        report.advise(Level::Note, "frames", found, vec![format!("sysctl -w vm.nr_hugepages={more}")]);
    }
}

fn rights(report: &mut Report, machine: &Machine, wants_xdp: bool) {
    let level = if wants_xdp { Level::Note } else { Level::Ok };
    if machine.own_users {
        let found = "in a user namespace of its own, where no capability lets a program into the kernel";
        report.add(level, "capabilities", found);
    }
    let missing = machine.missing();
    if missing.is_empty() {
        report.add(Level::Ok, "capabilities", "all that AF_XDP needs");
        return;
    }
    let what = |name: &&str| CAPABILITIES.iter().find(|(known, _)| known == name).map(|(_, what)| *what);
    let each: Vec<String> =
        missing.iter().map(|name| format!("{name} ({})", what(name).unwrap_or_default())).collect();
    let found = format!("AF_XDP needs also {}", each.join(", "));
    let unit = "/etc/systemd/system/finderscope.service.d/xdp.conf";
    let command = format!("install -D -m 644 packaging/finderscope-xdp.conf {unit}");
    report.advise(level, "capabilities", found, vec![command]);
}

fn receive_buffer(report: &mut Report, machine: &Machine, settings: &Settings) {
    let asked = settings.engine.receive_buffer as u64;
    let beyond = machine.capabilities.get(1).copied().unwrap_or(false) && !machine.own_users;
    match machine.rmem_max {
        Some(most) if most < asked && !beyond => {
            let found = format!("net.core.rmem_max grants {most} bytes of {asked} (sflow.receive_buffer)");
            report.advise(
                Level::Note,
                "receive buffer",
                found,
                vec![format!("sysctl -w net.core.rmem_max={asked}")],
            );
        }
        _ => report.add(Level::Ok, "receive buffer", format_args!("{asked} bytes for each socket")),
    }
}
