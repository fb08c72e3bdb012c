//! What `finderscope run` would come to with an interface, as far as that can be said without attaching anything: the mode,
//! or what stands in the way.

use engine::interface::{InterfaceOptions, Mode};
use ingest::interface::Interface;
use ingest::machine::Machine;

/// The largest MTU of which a frame fits into one buffer of 4 KiB, beside what the kernel keeps in there: drivers differ by
/// some bytes.
pub(super) const LARGEST_SINGLE_MTU: u32 = 3498;

/// What would come of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prospect {
    /// `zero-copy`, `copy` or `generic`: the best that may be expected, where nothing is in the way.
    pub(super) mode: Option<&'static str>,
    /// What is in the way of AF_XDP.
    pub(super) blockers: Vec<String>,
}

/// Whether this program has AF_XDP in it.
pub(super) const BUILT: bool = cfg!(feature = "xdp");

/// What is to be expected of an interface.
pub(super) fn prospect(interface: &Interface, machine: &Machine, wanted: &InterfaceOptions) -> Prospect {
    let mut blockers = Vec::new();
    if !BUILT {
        blockers.push("this program was built without AF_XDP (feature xdp)".to_owned());
    }
    let missing = machine.missing();
    if !missing.is_empty() {
        blockers.push(format!("{} is missing", missing.join(", ")));
    }
    if machine.own_users {
        blockers
            .push("programs cannot be loaded from a user namespace (PrivateUsers=no in a unit)".to_owned());
    }
    if !interface.up {
        blockers.push(format!("it is down: ip link set {} up", interface.name));
    }
    if let Some(attached) = interface.attached {
        let program = attached.program.map(|id| format!(" {id}")).unwrap_or_default();
        blockers
            .push(format!("it has the {} XDP program{program} already, and one is the most", attached.mode));
    }
    let beyond: Vec<String> =
        wanted.queues.iter().filter(|queue| **queue >= interface.queues).map(u32::to_string).collect();
    if !beyond.is_empty() {
        blockers.push(format!(
            "it has queues 0 to {}, and no {}",
            interface.queues.saturating_sub(1),
            beyond.join(", ")
        ));
    }
    let mode = mode(interface, wanted.mode).map_err(|why| blockers.push(why)).ok();
    Prospect { mode: mode.filter(|_| blockers.is_empty()), blockers }
}

/// The best mode that the driver has, of those that are wanted.
fn mode(interface: &Interface, wanted: Mode) -> Result<&'static str, String> {
    let driver = interface.driver.as_deref().unwrap_or("the driver");
    let jumbo = interface.mtu > LARGEST_SINGLE_MTU;
    // A kernel that does not say has to be tried.
    let native = interface.features.is_none_or(|can| can.native() && (!jumbo || can.multi_buffer()));
    let zero_copy = native && interface.features.is_some_and(|can| can.zero_copy());
    let large = if jumbo { format!(" with an MTU of {}", interface.mtu) } else { String::new() };
    match wanted {
        Mode::Auto | Mode::ZeroCopy if zero_copy => Ok("zero-copy"),
        Mode::ZeroCopy => Err(format!("{driver} has no zero-copy{large}")),
        Mode::Auto | Mode::Copy if native => Ok("copy"),
        Mode::Copy => Err(format!("{driver} runs no XDP programs itself{large}")),
        Mode::Auto | Mode::Generic => Ok("generic"),
    }
}

#[cfg(test)]
mod tests {
    use ingest::interface::{Attached, Features};

    use super::*;

    fn machine() -> Machine {
        Machine { capabilities: [true; 5], ..Machine::default() }
    }

    fn interface(features: u64) -> Interface {
        let driver = Some("mlx5_core".to_owned());
        let features = Some(Features(features));
        Interface {
            name: "eth0".to_owned(),
            up: true,
            mtu: 1500,
            queues: 4,
            driver,
            features,
            ..Interface::default()
        }
    }

    fn mode_of(interface: &Interface, mode: Mode) -> Prospect {
        prospect(interface, &machine(), &InterfaceOptions { mode, ..InterfaceOptions::default() })
    }

    #[test]
    fn the_best_mode_that_the_driver_has_is_expected() {
        if !BUILT {
            return assert_eq!(mode_of(&interface(0), Mode::Auto).mode, None);
        }
        let jumbo = |features| Interface { mtu: 9000, ..interface(features) };
        let unknown = Interface { features: None, ..interface(0) };
        for (interface, wanted, expected) in [
            (interface(0b10_1011), Mode::Auto, Some("zero-copy")),
            (interface(0b10_1011), Mode::Copy, Some("copy")),
            (interface(0b10_1011), Mode::Generic, Some("generic")),
            (interface(0b11), Mode::Auto, Some("copy")),
            (interface(0b11), Mode::ZeroCopy, None),
            (interface(0), Mode::Auto, Some("generic")),
            (interface(0), Mode::Copy, None),
            (jumbo(0b10_1011), Mode::Auto, Some("zero-copy")),
            (jumbo(0b1011), Mode::Auto, Some("generic")),
            (jumbo(0b1011), Mode::ZeroCopy, None),
            (unknown.clone(), Mode::Auto, Some("copy")),
            (unknown, Mode::ZeroCopy, None),
        ] {
            let found = mode_of(&interface, wanted);
            assert_eq!(found.mode, expected, "{interface:?} {wanted:?}");
            assert_eq!(found.blockers.is_empty(), expected.is_some());
        }
    }

    #[test]
    fn all_that_is_in_the_way_is_told() {
        let attached = Some(Attached { mode: "native", program: Some(7) });
        let busy = Interface { up: false, attached, ..interface(3) };
        let unprivileged = Machine { own_users: true, ..Machine::default() };
        let queues = vec![1, 4, 9];
        let found =
            prospect(&busy, &unprivileged, &InterfaceOptions { queues, ..InterfaceOptions::default() });
        assert_eq!(found.mode, None);
        let told = found.blockers.join("\n");
        for said in [
            "CAP_NET_RAW",
            "CAP_BPF",
            "PrivateUsers=no",
            "ip link set eth0 up",
            "native XDP program 7",
            "no 4, 9",
        ] {
            assert!(told.contains(said), "{said}: {told}");
        }
    }
}
