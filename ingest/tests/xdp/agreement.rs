//! The program in the kernel and the finder of payloads read a frame alike, however it is spoilt.

use ingest::payload;
use ingest::xdp::program::Attach;

use super::steering::{cable, counted, matrix, steering};

/// Frames that are judged, each spoilt in its own way.
const FRAMES: usize = 30_000;

/// Verdicts on frames that have a payload for somebody else, or one that is left to the kernel all the same.
const NOT_OURS: [&str; 8] = [
    "no_socket",
    "refused_source",
    "other_host",
    "other_port",
    "other_address",
    "martian_source",
    "extension_headers",
    "fragment",
];

/// Numbers without pattern, the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// Changes some bytes, most of them in headers, and where it ends.
fn spoil(frame: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..numbers.below(4) {
        let at = numbers.below(frame.len().min(70));
        frame[at] = match numbers.below(4) {
            0 => frame[at] ^ 1 << numbers.below(8),
            1 => frame[at].wrapping_add(1),
            2 => [0, 1, 6, 17, 43, 44, 51, 60, 0x45, 0x60, 0x81, 0x88, 0xff][numbers.below(13)],
            _ => numbers.below(256) as u8,
        };
    }
    match numbers.below(4) {
        0 => frame.truncate(14 + numbers.below(frame.len() - 13)),
        1 => frame.resize(frame.len() + numbers.below(20), 0),
        _ => {}
    }
}

/// What the program does not look beneath: three tags and more, and those of old.
fn is_deep(frame: &[u8]) -> bool {
    let kind = |at: usize| frame.get(at..at + 2).map(|pair| [pair[0], pair[1]]);
    let tags = (12..).step_by(4).take_while(|at| matches!(kind(*at), Some([0x81, 0] | [0x88, 0xa8])));
    let tags = tags.count();
    tags > 2 || matches!(kind(12 + tags * 4), Some([0x91..=0x93, 0]))
}

#[test]
fn what_is_steered_has_a_payload_and_what_has_one_is_not_called_spoilt() {
    let cable = cable("agreement");
    let whole: Vec<_> = matrix().into_iter().map(|case| case.frame).collect();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for multi_buffer in [false, true] {
        let program = cable.attach(&steering(), Attach::Native, multi_buffer).unwrap();
        let mut before = program.verdicts().unwrap();
        let mut ours = 0;
        for _ in 0..FRAMES / 2 {
            let mut frame = whole[numbers.below(whole.len())].clone();
            spoil(&mut frame, &mut numbers);
            program.judge(&frame).unwrap();
            let after = program.verdicts().unwrap();
            let verdict = counted("spoilt", &before, &after);
            before = after;
            let found = payload::find(&frame, false);
            if ["no_socket", "refused_source"].contains(&verdict) {
                ours += 1;
                assert!(found.is_ok(), "{verdict}, and no payload: {frame:02x?}");
            }
            if found.is_ok() && !is_deep(&frame) {
                assert!(NOT_OURS.contains(&verdict), "{verdict}, and a payload: {frame:02x?}");
            }
        }
        assert!(ours > FRAMES / 20, "{ours} frames were ours");
    }
}
