//! Whose port it is.

/// What is known of the program that has a UDP port, as the end of a message: its name and process id where the
/// kernel tells them, else how to find out.
pub(crate) fn owner(port: u16) -> String {
    match find(port) {
        Some((name, pid)) => format!("; another program has this port: {name:?}, process {pid}"),
        None => "; another program has this port: `ss -lunp` names it, to those who may know".to_owned(),
    }
}

#[cfg(not(target_os = "linux"))]
fn find(_port: u16) -> Option<(String, u32)> {
    None
}

/// The name and id of a process that has a socket of this port.
#[cfg(target_os = "linux")]
fn find(port: u16) -> Option<(String, u32)> {
    let inodes: Vec<String> = ["/proc/self/net/udp", "/proc/self/net/udp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|text| sockets(&text, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let mut files = std::fs::read_dir(process.path().join("fd")).ok()?.flatten();
        let has = files.any(|file| {
            std::fs::read_link(file.path())
                .is_ok_and(|link| inodes.iter().any(|inode| link.as_os_str() == inode.as_str()))
        });
        let name = has.then(|| std::fs::read_to_string(process.path().join("comm")).ok())??;
        Some((name.trim_end().to_owned(), pid))
    })
}

/// The inodes of the sockets of this port in the kernel's table of them: the local address is its second column,
/// the inode its tenth.
#[cfg(target_os = "linux")]
fn sockets(table: &str, port: u16) -> Vec<String> {
    let of_line = |line: &str| {
        let mut columns = line.split_whitespace();
        let local = columns.nth(1)?.rsplit(':').next()?;
        let inode = columns.nth(7)?;
        (u16::from_str_radix(local, 16).ok()? == port).then(|| inode.to_owned())
    };
    table.lines().filter_map(of_line).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn sockets_by_port() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            1: 0100007F:18C7 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0 0\n\
            2: 0100007F:18C8 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0 0\n";
        assert_eq!(sockets(table, 6343), ["4711"]);
        assert!(sockets(table, 1).is_empty());
    }
}
