//! P6, P7: datagrams over a pair of veth, by AF_XDP and by UDP. `finderscope bench` makes the network and the frames, and
//! accounts for them; here its report becomes rows.

use std::process::Command;

use serde_json::Value;

use crate::bench::{Bench, Line, Number, Target};

/// How long the run without a pause takes, seconds.
const SECONDS: &str = "60";

/// The rate of a fabric of 1 Pbps, millions of samples per second.
const PBPS: f64 = 1.25;

pub(crate) fn measure(bench: &mut Bench) {
    let report = match report() {
        Ok(report) => report,
        Err(why) => return bench.say("P6, P7", format!("**not measured**: {why}")),
    };
    let ways = report["ways"].as_array().cloned().unwrap_or_default();
    let way = |name: &str| ways.iter().find(|way| way["way"] == name);
    for left_out in report["left_out"].as_array().into_iter().flatten() {
        bench.say("P6, P7", format!("left out: {}: {}", text(&left_out["what"]), text(&left_out["why"])));
    }
    let (xdp, udp) = (way("af_xdp"), way("udp"));
    if let Some(xdp) = xdp {
        sustained(bench, "P6", "AF_XDP", xdp, Target::AtLeast(PBPS));
        overload(bench, xdp);
    }
    if let Some(udp) = udp {
        sustained(bench, "P7", "UDP", udp, Target::None);
    }
    let cost = |way: &Value| way.pointer("/receive_only/cost/ns_per_datagram")?.as_f64();
    if let (Some(a), Some(b)) = (xdp.and_then(cost), udp.and_then(cost)) {
        bench.line(Line {
            row: "P7",
            what: "CPU of both processors for a datagram that is received: AF_XDP / recvmmsg".to_owned(),
            a: format!("{a:.0} ns"),
            b: format!("{b:.0} ns"),
            number: a / b,
            kind: Number::Cost,
            target: Target::AtMost(0.5),
        });
    }
}

/// The rate without loss, and the run without a pause, of one way.
fn sustained(bench: &mut Bench, row: &'static str, name: &str, way: &Value, target: Target) {
    let reached = text(&way["reached"]);
    let per_s = |at: &str| way.pointer(at).and_then(Value::as_f64);
    if let Some(most) = per_s("/pipeline/0/sustainable/samples_per_s") {
        let what = format!("{name} ({reached}), one worker and one sender: the highest rate without loss");
        bench.line(Line::figure(row, what, most / 1e6, "M samples/s", target));
    }
    let one = &way["sustained"];
    if let (Some(offered), Some(seconds)) =
        (per_s("/sustained/offered/samples_per_s"), one["seconds"].as_f64())
    {
        let count = |name: &str| one["account"][name].as_f64().unwrap_or(f64::NAN);
        let lost = count("lost_datagrams_by_sequence") + count("missing");
        let what = format!(
            "{name}: datagrams lost by sequence numbers in {seconds:.0} s at {:.2} M samples/s",
            offered / 1e6
        );
        let whole = if target == Target::None { Target::None } else { Target::AtMost(0.0) };
        bench.line(Line::figure(row, what, lost, "datagrams", whole));
    }
}

/// P8 over AF_XDP.
fn overload(bench: &mut Bench, way: &Value) {
    let per_s = |at: &str| way.pointer(at).and_then(Value::as_f64);
    let (accepted, sustainable) =
        (per_s("/overload/accepted/samples_per_s"), per_s("/overload/sustainable/samples_per_s"));
    if let (Some(a), Some(b)) = (accepted, sustainable) {
        bench.line(Line {
            row: "P8",
            what: "AF_XDP: accepted at 2 x the sustainable rate / the sustainable rate".to_owned(),
            a: format!("{:.2} M samples/s", a / 1e6),
            b: format!("{:.2} M samples/s", b / 1e6),
            number: a / b,
            kind: Number::Cost,
            target: Target::AtLeast(0.95),
        });
    }
}

/// What `finderscope bench` reports; or why there is nothing.
fn report() -> Result<Value, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_finderscope"))
        .args(["bench", "--only", "udp,xdp", "--seconds", SECONDS, "--format", "json"])
        .output()
        .map_err(|error| error.to_string())?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        format!("finderscope bench: {}: {first}", output.status)
    })
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
