//! Which worker an agent's datagrams go to, where the kernel can choose among sockets by what is inside.
//!
//! The same choice is written twice: as a program that the kernel runs on each datagram, and as a function for
//! the few datagrams that arrive before the program is in place. Agents are spread by their address alone, so that
//! all sub-agents of one are together.

use decode::Address;
use ingest::receiver::Instruction;

/// 2^32 divided by the golden ratio: multiples of it are spread evenly, so that agents with addresses in a row are.
const SPREAD: u32 = 0x9e37_79b1;

/// The worker of an agent.
pub(crate) fn home(agent: Address, workers: usize) -> usize {
    let one = |spread: u32, word: [u8; 4]| (spread ^ u32::from_be_bytes(word)).wrapping_mul(SPREAD);
    let spread = match agent {
        Address::Unknown => return 0,
        Address::V4(address) => one(0, address.octets()),
        Address::V6(address) => {
            address.octets().as_chunks().0.iter().fold(0, |spread, word| one(spread, *word))
        }
    };
    // The upper half times the workers, of which the upper half is the worker: there are at most 2^16.
    ((spread >> 16).wrapping_mul(workers as u32) >> 16) as usize
}

/// The program that gives [`home`] for a datagram: its agent's address has its type at byte 4 and begins at byte 8.
/// A datagram that is too short for it goes to the first worker.
pub(crate) fn program(workers: usize) -> Vec<Instruction> {
    let step = |code, value| Instruction { code, jump_true: 0, jump_false: 0, value };
    // Names as in the kernel's documentation of the classic packet filter.
    let load = |at| step(0x20, at);
    let multiply = |by| step(0x24, by);
    let shift_right = |by| step(0x74, by);
    let (tax, xor_x, return_a) = (step(0x07, 0), step(0xac, 0), step(0x16, 0));
    let jump = |over: usize| step(0x05, over as u32);
    let return_0 = step(0x06, 0);
    let equal = |value, jump_true| Instruction { code: 0x15, jump_true, jump_false: 0, value };

    let v4 = [load(8), multiply(SPREAD)];
    let mut v6 = vec![load(8), multiply(SPREAD)];
    for at in [12, 16, 20] {
        v6.extend([tax, load(at), xor_x, multiply(SPREAD)]);
    }
    let to_v6 = 2 + v4.len() as u8 + 1;
    let mut program = vec![load(4), equal(2, to_v6), equal(1, 1), return_0];
    program.extend(v4);
    program.push(jump(v6.len()));
    program.extend(v6);
    program.extend([shift_right(16), multiply(workers as u32), shift_right(16), return_a]);
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_of_a_subnet_are_spread() {
        for workers in [2_usize, 3, 4, 8] {
            let mut v4 = vec![0; workers];
            let mut v6 = vec![0; workers];
            for n in 0..1000_u32 {
                v4[home(Address::V4((0x0a00_0000 + n).into()), workers)] += 1;
                v6[home(Address::V6(((0x2001_0db8_u128 << 96) + u128::from(n)).into()), workers)] += 1;
            }
            let even = 1000 / workers;
            for share in v4.into_iter().chain(v6) {
                assert!(share > even * 9 / 10 && share < even * 11 / 10, "{share} of 1000 among {workers}");
            }
        }
        assert_eq!(home(Address::Unknown, 4), 0);
    }
}
