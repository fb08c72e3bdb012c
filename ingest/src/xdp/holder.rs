//! Whose XDP program an interface has.

use std::fs;

use crate::interface::Interface;

/// Who has attached a program to an interface, as the start of a message. Of other users' processes the kernel tells
/// root only.
pub(super) fn holder(interface: &Interface) -> String {
    let Some(program) = interface.attached.and_then(|attached| attached.program) else {
        return "another XDP program".to_owned();
    };
    match process_of(program) {
        Some((name, pid)) => format!("the XDP program {program} of {name:?}, process {pid},"),
        None => format!("the XDP program {program}, which no process is known to hold,"),
    }
}

/// The name and id of a process that has a descriptor of the program, or of its link to an interface.
fn process_of(program: u32) -> Option<(String, u32)> {
    let line = format!("prog_id:\t{program}");
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let mut files = fs::read_dir(process.path().join("fdinfo")).ok()?.flatten();
        let holds = files.any(|file| {
            fs::read_to_string(file.path()).is_ok_and(|text| text.lines().any(|found| found == line))
        });
        let name = holds.then(|| fs::read_to_string(process.path().join("comm")).ok())??;
        Some((name.trim_end().to_owned(), pid))
    })
}
