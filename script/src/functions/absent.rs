//! Functions of the incumbent's scripts that this collector does not have: they say so by their names, so that a script
//! that needs one tells its operator, and one that catches errors goes on.

use rquickjs::Value;

use crate::call::Call;
use crate::catalogue::Function;

const BGP: &str = "not supported: this collector does not speak BGP";
const OPENFLOW: &str = "not supported: this collector does not speak OpenFlow";
const LICENSE: &str = "not supported: there are no licences to ask for";

macro_rules! absent {
    ($($name:literal ( $parameters:literal ) $why:ident;)*) => {
        &[$(Function {
            name: $name,
            parameters: $parameters,
            what: concat!("Is not supported: throws `Error: ", $name, ": not supported`, and says why."),
            example: concat!("try { ", $name, "(); } catch (e) { logWarning(e); }"),
            call: |_, call| fail(&call, $why),
        }),*]
    };
}

pub(crate) const FUNCTIONS: &[Function] = absent! {
    "license"("") LICENSE;
    "bgpAddNeighbor"("address, as, id[, options[, opened[, closed]]]") BGP;
    "bgpAddSource"("agent, router[, t[, value]]") BGP;
    "bgpAddRoute"("router, route") BGP;
    "bgpRemoveRoute"("router, prefix") BGP;
    "bgpRouteCount"("router") BGP;
    "bgpAddFlow"("router, flow") BGP;
    "bgpRemoveFlow"("router, flow") BGP;
    "bgpFlowCount"("router") BGP;
    "bgpSetNextHops"("nexthops") BGP;
    "bgpTopPrefixes"("router, maxPrefixes[, minValue[, direction[, includeCovered[, minPrefix[, pruneCovered]]]]]") BGP;
    "bgpTopPrefixes6"("router, maxPrefixes[, minValue[, direction[, includeCovered[, minPrefix[, pruneCovered]]]]]") BGP;
    "ofSwitch"("dpid") OPENFLOW;
    "getOfRule"("dpid, name") OPENFLOW;
    "setOfRule"("dpid, name, rule") OPENFLOW;
    "deleteOfRule"("dpid, name") OPENFLOW;
    "ofInterfaceToPort"("agent, dataSource") OPENFLOW;
    "ofIfNamePort"("agent, ifname") OPENFLOW;
};

fn fail<'js>(call: &Call<'js>, why: &str) -> rquickjs::Result<Value<'js>> {
    Err(call.fail(why))
}
