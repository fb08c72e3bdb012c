//! The rules of a capture: both directions between two sides, mirrored to an analyzer.

use crate::action::{Action, Erspan};
use crate::error::Invalid;
use crate::interface::Interface;
use crate::prefix::Prefix;
use crate::rule::{Chain, Rule};

/// The rules that mirror what passes between `local` and `remote`, first from the local side, by each of these interfaces.
/// They belong into the table of the addresses' version of IP.
///
/// # Errors
/// There is no interface, the two sides are of different versions of IP, or both are everything.
pub fn capture_pair(
    interfaces: &[Interface],
    local: Prefix,
    remote: Prefix,
    mirror: Erspan,
) -> Result<Vec<Rule>, Invalid> {
    if interfaces.is_empty() {
        return Err(Invalid("a capture needs an interface, such as swp+".to_owned()));
    }
    if local.address().is_ipv4() != remote.address().is_ipv4() {
        return Err(Invalid(format!("{local} and {remote} are of different versions of IP")));
    }
    if local.length() == 0 && remote.length() == 0 {
        return Err(Invalid("a capture from everywhere to everywhere is all traffic".to_owned()));
    }
    let rule = |interface: &Interface, source, destination| Rule {
        input: Some(interface.clone()),
        source: Some(source),
        destination: Some(destination),
        ..Rule::new(Chain::Forward, Action::Erspan(mirror))
    };
    let pair = |interface| [rule(interface, local, remote), rule(interface, remote, local)];
    Ok(interfaces.iter().flat_map(pair).collect())
}
