//! What must be known of an interface before a program is attached to it, and whose program it has already.

use std::ffi::CString;
use std::fs;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::AsRawFd;

use libxdp_sys as bpf;
use socket2::{Domain, Socket, Type};

use super::object::done;

/// An interface of the calling thread's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Bytes of the longest packet that it sends, without the Ethernet header.
    pub mtu: u32,
    /// Its Ethernet address; `None` where frames have no Ethernet header.
    pub address: Option<[u8; 6]>,
}

/// The type of the loopback interface, whose frames have an Ethernet header too.
const LOOPBACK: u16 = 772;

impl Interface {
    /// What the kernel says of the interface of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn find(name: &str) -> io::Result<Self> {
        // Any socket is one to ask with.
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        let index = ask(&socket, name, libc::SIOCGIFINDEX as libc::Ioctl)?;
        // SAFETY: the kernel has filled the number that this request answers with.
        let index = unsafe { index.ifr_ifru.ifru_ifindex };
        let mtu = ask(&socket, name, libc::SIOCGIFMTU as libc::Ioctl)?;
        // SAFETY: as above.
        let mtu = unsafe { mtu.ifr_ifru.ifru_mtu };
        let hardware = ask(&socket, name, libc::SIOCGIFHWADDR as libc::Ioctl)?;
        // SAFETY: as above, an address.
        let hardware = unsafe { hardware.ifr_ifru.ifru_hwaddr };
        let address = [libc::ARPHRD_ETHER, LOOPBACK].contains(&hardware.sa_family).then(|| {
            let [a, b, c, d, e, f, ..] = hardware.sa_data;
            [a, b, c, d, e, f].map(|byte| byte as u8)
        });
        let number = |number: i32| u32::try_from(number).map_err(|_| io::ErrorKind::InvalidData);
        Ok(Self { name: name.to_owned(), index: number(index)?, mtu: number(mtu)?, address })
    }

    /// Who has attached an XDP program to it, as the middle of a message. The kernel tells some of it to root only.
    pub(super) fn holder(&self) -> String {
        let Some(program) = attached(self.index) else {
            return "another XDP program".to_owned();
        };
        match process_of(program) {
            Some((name, pid)) => format!("the XDP program {program} of {name:?}, process {pid},"),
            None => format!("the XDP program {program} (`ip link show dev {}` tells of it)", self.name),
        }
    }
}

/// Asks for something of the interface of this name.
fn ask(socket: &Socket, name: &str, what: libc::Ioctl) -> io::Result<libc::ifreq> {
    let none = || io::Error::from_raw_os_error(libc::ENODEV);
    let name = CString::new(name).map_err(|_| none())?;
    // SAFETY: all-zero bytes are a value of the structure: numbers, and an empty name.
    let mut request: libc::ifreq = unsafe { zeroed() };
    let bytes = name.as_bytes_with_nul();
    if bytes.len() > request.ifr_name.len() {
        return Err(none());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    // SAFETY: each of the requests that are asked takes this structure, and writes no more than it.
    if unsafe { libc::ioctl(socket.as_raw_fd(), what, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(request)
}

/// The number of the program that is attached to an interface, in whatever mode.
fn attached(index: u32) -> Option<u32> {
    // SAFETY: all-zero bytes are a value of the structure: numbers.
    let mut answer: bpf::bpf_xdp_query_opts = unsafe { zeroed() };
    answer.sz = size_of::<bpf::bpf_xdp_query_opts>() as _;
    // SAFETY: the structure is as long as it says and alive until the call returns.
    done(unsafe { bpf::bpf_xdp_query(i32::try_from(index).ok()?, 0, &raw mut answer) }).ok()?;
    let numbers = [answer.prog_id, answer.drv_prog_id, answer.skb_prog_id, answer.hw_prog_id];
    numbers.into_iter().find(|number| *number != 0)
}

/// The name and id of a process that holds the program, or its link to an interface.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_an_ethernet_header() {
        let found = Interface::find("lo").expect("every namespace has one");
        assert_eq!(found.name, "lo");
        assert!(found.index > 0 && found.mtu > 0);
        assert_eq!(found.address, Some([0; 6]));
    }

    #[test]
    fn names_that_no_interface_has() {
        for name in ["", "no-such-if", "longer-than-any-name-may-be", "l\0"] {
            let error = Interface::find(name).expect_err("no interface");
            assert_eq!(error.raw_os_error(), Some(libc::ENODEV), "{name:?}");
        }
    }
}
