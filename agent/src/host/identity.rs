//! The host's name, kernel and identity: record 0:2000.

use std::path::Path;

use decode::layout::Value;

use super::text;

/// Longest name and release that the structure allows, bytes.
const LONGEST_NAME: usize = 64;
const LONGEST_RELEASE: usize = 32;
/// `os_name` linux.
const LINUX: u32 = 2;

/// Who a host is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its identity; zero where nothing tells.
    pub uuid: [u8; 16],
    /// The kernel's release.
    pub release: String,
}

impl Identity {
    pub(super) fn read(proc: &Path, uuid: [u8; 16]) -> Self {
        let first = |file: &str| {
            let text = text(&proc.join(file)).unwrap_or_default();
            text.lines().next().unwrap_or_default().to_owned()
        };
        Self { name: first("sys/kernel/hostname"), uuid, release: first("sys/kernel/osrelease") }
    }

    /// The fields of record 0:2000.
    pub fn values(&self) -> [Value<'_>; 5] {
        [
            Value::Text(cut(&self.name, LONGEST_NAME)),
            Value::Uuid(self.uuid),
            Value::U32(machine(std::env::consts::ARCH)),
            Value::U32(LINUX),
            Value::Text(cut(&self.release, LONGEST_RELEASE)),
        ]
    }
}

/// The first characters that fit.
fn cut(text: &str, most: usize) -> &[u8] {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default().as_bytes()
}

/// `machine_type`: 0 unknown, 1 other.
fn machine(architecture: &str) -> u32 {
    match architecture {
        "x86" => 2,
        "x86_64" => 3,
        "sparc" | "sparc64" => 5,
        "powerpc" | "powerpc64" => 7,
        "m68k" => 8,
        "mips" | "mips64" => 9,
        "arm" | "aarch64" => 10,
        "s390x" => 12,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(cut("abc", 64), b"abc");
        assert_eq!(cut("aé", 2), b"a");
        assert_eq!(cut(&"x".repeat(100), LONGEST_NAME).len(), 64);
    }
}
