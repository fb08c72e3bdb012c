//! Application layers that keys look into: DNS questions, the InfiniBand base transport header of RoCE v2.

use core::fmt;

use super::{u8_at, u16_at, u24_at};

/// DNS message (RFC 1035).
#[derive(Clone, Copy, Debug)]
pub struct Dns<'a>(&'a [u8]);

/// Labels of a name that are written; a name has 127 at most.
const MOST_LABELS: usize = 127;

impl<'a> Dns<'a> {
    /// The message at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// False for a query, true for a response.
    pub fn is_response(&self) -> Option<bool> {
        u8_at(self.0, 2).map(|byte| byte & 0x80 != 0)
    }

    /// Where the first question's name ends; `None` when it is cut, compressed, or there is no question.
    fn name_end(&self) -> Option<usize> {
        u16_at(self.0, 4).filter(|questions| *questions > 0)?;
        let mut place = 12;
        for _ in 0..=MOST_LABELS {
            match u8_at(self.0, place)? {
                0 => return Some(place + 1),
                length @ 1..=63 => place += 1 + usize::from(length),
                _ => return None,
            }
        }
        None
    }

    /// Writes the first question's name with its trailing dot. Dots, backslashes and bytes that do not print
    /// are escaped as in a zone file.
    ///
    /// # Errors
    /// `None` when the name is cut; `Some(Err)` for the errors of `out`.
    pub fn write_name(&self, out: &mut impl fmt::Write) -> Option<fmt::Result> {
        let end = self.name_end()?;
        let mut rest = self.0.get(12..end)?;
        if rest == [0] {
            return Some(out.write_char('.'));
        }
        while let Some((&length, tail)) = rest.split_first()
            && length > 0
        {
            let (label, after) = tail.split_at_checked(usize::from(length))?;
            for &byte in label {
                let written = match byte {
                    b'.' | b'\\' => write!(out, "\\{}", char::from(byte)),
                    0x21..=0x7e => out.write_char(char::from(byte)),
                    _ => write!(out, "\\{byte:03}"),
                };
                if written.is_err() {
                    return Some(written);
                }
            }
            if out.write_char('.').is_err() {
                return Some(Err(fmt::Error));
            }
            rest = after;
        }
        Some(Ok(()))
    }

    /// Type of the first question.
    pub fn question_type(&self) -> Option<u16> {
        u16_at(self.0, self.name_end()?)
    }
}

/// Base transport header of InfiniBand (RoCE v2: UDP port 4791).
#[derive(Clone, Copy, Debug)]
pub struct Bth<'a>(&'a [u8]);

/// Operations by the lower five bits of the opcode (InfiniBand, table 35).
const OPERATIONS: [&str; 24] = [
    "send_first",
    "send_middle",
    "send_last",
    "send_last_immediate",
    "send_only",
    "send_only_immediate",
    "rdma_write_first",
    "rdma_write_middle",
    "rdma_write_last",
    "rdma_write_last_immediate",
    "rdma_write_only",
    "rdma_write_only_immediate",
    "rdma_read_request",
    "rdma_read_response_first",
    "rdma_read_response_middle",
    "rdma_read_response_last",
    "rdma_read_response_only",
    "acknowledge",
    "atomic_acknowledge",
    "compare_swap",
    "fetch_add",
    "reserved",
    "send_last_invalidate",
    "send_only_invalidate",
];

impl<'a> Bth<'a> {
    /// The header at the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Opcode: transport in the upper three bits, operation in the lower five.
    pub fn opcode(&self) -> Option<u8> {
        u8_at(self.0, 0)
    }

    /// Name of the transport: `rc`, `uc`, `rd`, `ud`, `cnp`, `xrc`.
    pub fn transport(&self) -> Option<&'static str> {
        match self.opcode()? >> 5 {
            0 => Some("rc"),
            1 => Some("uc"),
            2 => Some("rd"),
            3 => Some("ud"),
            4 => Some("cnp"),
            5 => Some("xrc"),
            _ => None,
        }
    }

    /// Name of the operation.
    pub fn operation(&self) -> Option<&'static str> {
        let opcode = self.opcode()?;
        if opcode == 0x81 {
            return Some("cnp");
        }
        OPERATIONS.get(usize::from(opcode & 0x1f)).copied()
    }

    /// Solicited event.
    pub fn solicited(&self) -> Option<bool> {
        u8_at(self.0, 1).map(|byte| byte & 0x80 != 0)
    }

    /// Migration request.
    pub fn migration(&self) -> Option<bool> {
        u8_at(self.0, 1).map(|byte| byte & 0x40 != 0)
    }

    /// Version of the transport header.
    pub fn version(&self) -> Option<u8> {
        u8_at(self.0, 1).map(|byte| byte & 0x0f)
    }

    /// Destination queue pair.
    pub fn destination_queue_pair(&self) -> Option<u32> {
        u24_at(self.0, 5)
    }

    /// Acknowledge request.
    pub fn acknowledge_request(&self) -> Option<bool> {
        u8_at(self.0, 8).map(|byte| byte & 0x80 != 0)
    }

    /// Bytes to be moved by remote DMA: the last word of the RDMA extended header, where the operation has one.
    pub fn dma_length(&self) -> Option<u32> {
        let extended = matches!(self.opcode()? & 0x1f, 6 | 10 | 11 | 12);
        super::u32_at(self.0, 24).filter(|_| extended)
    }

    /// Syndrome of an acknowledgement: the first byte of its extended header.
    pub fn syndrome(&self) -> Option<u8> {
        let extended = matches!(self.opcode()? & 0x1f, 13 | 15 | 16 | 17 | 18);
        u8_at(self.0, 12).filter(|_| extended)
    }
}
