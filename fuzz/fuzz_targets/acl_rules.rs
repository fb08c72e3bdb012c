//! Any text as lines of rules: what is taken is printable, its own canonical form, and within the limits; what is refused
//! has a line, and an error of one line.
#![no_main]

use acl::{File, LONGEST_LINE, MOST_LINES};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // Lines that end with U+001E, so that they can hold newlines.
    let lines: Vec<&str> = text.split('\u{1e}').collect();
    match File::parse(&lines) {
        Ok(file) => {
            let canonical = file.lines();
            assert!(canonical.len() <= MOST_LINES);
            for line in &canonical {
                assert!(
                    line.len() <= LONGEST_LINE && line.bytes().all(|byte| matches!(byte, b' '..=b'~')),
                    "{line:?}"
                );
            }
            assert_eq!(File::parse(&canonical), Ok(file), "{lines:?}");
        }
        Err(wrong) => {
            assert!((1..=lines.len()).contains(&wrong.line));
            assert!(!wrong.to_string().chars().any(char::is_control), "{wrong:?}");
        }
    }
});
