//! What this collector does not have says so.

use super::{Known, Says};

macro_rules! absent {
    ($($name:literal $why:literal;)*) => {
        vec![$(Known {
            name: $name,
            first: "",
            asks: concat!("(function() { try { return ", $name, "(); } catch (e) { return String(e); } })()"),
            says: Says::Json(concat!("\"Error: ", $name, ": not supported: ", $why, "\"")),
        }),*]
    };
}

pub(super) fn known() -> Vec<Known> {
    absent! {
        "license" "there are no licences to ask for";
        "bgpAddNeighbor" "this collector does not speak BGP";
        "bgpAddSource" "this collector does not speak BGP";
        "bgpAddRoute" "this collector does not speak BGP";
        "bgpRemoveRoute" "this collector does not speak BGP";
        "bgpRouteCount" "this collector does not speak BGP";
        "bgpAddFlow" "this collector does not speak BGP";
        "bgpRemoveFlow" "this collector does not speak BGP";
        "bgpFlowCount" "this collector does not speak BGP";
        "bgpSetNextHops" "this collector does not speak BGP";
        "bgpTopPrefixes" "this collector does not speak BGP";
        "bgpTopPrefixes6" "this collector does not speak BGP";
        "ofSwitch" "this collector does not speak OpenFlow";
        "getOfRule" "this collector does not speak OpenFlow";
        "setOfRule" "this collector does not speak OpenFlow";
        "deleteOfRule" "this collector does not speak OpenFlow";
        "ofInterfaceToPort" "this collector does not speak OpenFlow";
        "ofIfNamePort" "this collector does not speak OpenFlow";
    }
}
