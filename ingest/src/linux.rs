//! What only Linux has: many datagrams per call, the kernel's count of drops, sockets of one port among which a
//! program chooses. All of it is system calls that no safe interface offers.

use std::io;
use std::mem::{size_of, size_of_val, zeroed};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use crate::batch::{BATCH, Batch};
use crate::receiver::Instruction;

/// A socket whose datagrams are taken many at a time.
#[derive(Debug)]
pub(crate) struct Many {
    socket: UdpSocket,
    drops: Drops,
}

/// The size of `sockaddr_in6`, the longer of the two addresses that a sender may have.
const ADDRESS: usize = 28;

/// Room for one control message with a 32-bit number, aligned as the kernel's structure is.
type Control = [u64; 4];

impl Many {
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        // Where this fails the drops are still read once a second.
        let _ = set_option(&socket, libc::SO_RXQ_OVFL, &1_i32);
        Ok(Self { socket, drops: Drops::default() })
    }

    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Takes what has arrived, as much as the batch holds.
    pub(crate) fn receive(&mut self, batch: &mut Batch) -> io::Result<()> {
        batch.clear();
        let mut names = [[0_u8; ADDRESS]; BATCH];
        let mut controls: [Control; BATCH] = [[0; 4]; BATCH];
        // SAFETY: all-zero bytes are valid values of both structures: numbers and null pointers.
        let (mut pieces, mut headers): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
            unsafe { (zeroed(), zeroed()) };
        for ((((header, piece), name), control), buffer) in
            headers.iter_mut().zip(&mut pieces).zip(&mut names).zip(&mut controls).zip(batch.buffers())
        {
            piece.iov_base = buffer.as_mut_ptr().cast();
            piece.iov_len = buffer.len();
            header.msg_hdr.msg_name = name.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = ADDRESS as libc::socklen_t;
            header.msg_hdr.msg_iov = piece;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = size_of::<Control>() as _;
        }
        // SAFETY: each header points to a name, a control buffer, and a piece that points to a buffer of the batch,
        // all of the lengths that stand beside the pointers, all distinct and alive until the call returns.
        let taken = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let Ok(taken) = usize::try_from(taken) else {
            let error = io::Error::last_os_error();
            return if crate::plain::nothing(&error) { Ok(()) } else { Err(error) };
        };
        for (header, name) in headers.iter().zip(&names).take(taken) {
            batch.push(header.msg_len as usize, sender(name));
        }
        // Drops are told with each datagram, as they stood when it was queued: the last one knows most.
        if let Some(last) = taken.checked_sub(1).and_then(|last| headers.get(last))
            && let Some(drops) = told_drops(&last.msg_hdr)
        {
            self.drops.see(drops);
        }
        Ok(())
    }

    /// Datagrams that the kernel dropped since the socket was opened.
    pub(crate) fn drops(&mut self) -> u64 {
        if let Some(drops) = read_drops(&self.socket) {
            self.drops.see(drops);
        }
        self.drops.total()
    }

    /// Those of them that datagrams told of.
    #[cfg(test)]
    pub(crate) fn told(&self) -> u64 {
        self.drops.total()
    }
}

/// Sends the first of these datagrams, 64 at most; how many the kernel took, which stops at the first that it refuses.
pub(crate) fn send_many(socket: &UdpSocket, to: SocketAddr, datagrams: &[&[u8]]) -> io::Result<usize> {
    let to = socket2::SockAddr::from(to);
    // SAFETY: all-zero bytes are valid values of both structures: numbers and null pointers.
    let (mut pieces, mut headers): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
        unsafe { (zeroed(), zeroed()) };
    for ((header, piece), datagram) in headers.iter_mut().zip(&mut pieces).zip(datagrams) {
        piece.iov_base = datagram.as_ptr().cast_mut().cast();
        piece.iov_len = datagram.len();
        header.msg_hdr.msg_name = to.as_ptr().cast_mut().cast();
        header.msg_hdr.msg_namelen = to.len();
        header.msg_hdr.msg_iov = piece;
        header.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: as many headers as are counted point to the address and to a piece that points to a datagram, of the
    // lengths that stand beside the pointers; the kernel only reads them, and all are alive until the call returns.
    let taken = unsafe {
        let count = datagrams.len().min(BATCH) as libc::c_uint;
        libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, 0)
    };
    usize::try_from(taken).map_err(|_| io::Error::last_os_error())
}

/// The address in a `sockaddr_in` or `sockaddr_in6`.
fn sender(name: &[u8; ADDRESS]) -> IpAddr {
    let [a, b, _, _, rest @ ..] = name;
    if i32::from(u16::from_ne_bytes([*a, *b])) == libc::AF_INET {
        let [a, b, c, d, ..] = *rest;
        return IpAddr::from([a, b, c, d]);
    }
    // Flow information stands before the address.
    let mut address = [0; 16];
    address.copy_from_slice(rest.split_at(4).1.split_at(16).0);
    IpAddr::from(address)
}

/// What the control message of `SO_RXQ_OVFL` says, when there is one.
fn told_drops(header: &libc::msghdr) -> Option<u32> {
    // SAFETY: the kernel has filled the header, whose control buffer is alive and aligned.
    let message = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: the pointer is null or that of a whole message head within the control buffer.
    let head = unsafe { message.as_ref() }?;
    if head.cmsg_level != libc::SOL_SOCKET || head.cmsg_type != libc::SO_RXQ_OVFL {
        return None;
    }
    // SAFETY: a message of this type carries a 32-bit number, which may be unaligned.
    Some(unsafe { libc::CMSG_DATA(message).cast::<u32>().read_unaligned() })
}

/// The kernel's count of drops, 32 bits that wrap, of one socket.
pub(crate) fn read_drops(socket: &UdpSocket) -> Option<u32> {
    /// `SK_MEMINFO_DROPS` is the last of the numbers that the kernel tells.
    const NUMBERS: usize = 9;
    let mut numbers = [0_u32; NUMBERS];
    let mut length = size_of_val(&numbers) as libc::socklen_t;
    // SAFETY: the buffer is as long as `length` says, and both are alive until the call returns.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            numbers.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    (result == 0 && length as usize == size_of_val(&numbers)).then_some(numbers[NUMBERS - 1])
}

/// A total of 64 bits made of counts of 32 bits that wrap. Counts that came late are older, and change nothing.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    last: u32,
    total: u64,
}

impl Drops {
    pub(crate) fn see(&mut self, count: u32) {
        let more = count.wrapping_sub(self.last);
        if more < 1 << 31 {
            self.total += u64::from(more);
            self.last = count;
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

/// Lets a program choose among the sockets of a group.
pub(crate) fn attach(socket: &impl AsRawFd, program: &[Instruction]) -> io::Result<()> {
    let mut filter: Vec<libc::sock_filter> = program
        .iter()
        .map(|step| libc::sock_filter {
            code: step.code,
            jt: step.jump_true,
            jf: step.jump_false,
            k: step.value,
        })
        .collect();
    let length = libc::c_ushort::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // The kernel copies the program while `filter` is alive.
    let program = libc::sock_fprog { len: length, filter: filter.as_mut_ptr() };
    set_option(socket, libc::SO_ATTACH_REUSEPORT_CBPF, &program)
}

/// Sets an option of the socket level.
pub(crate) fn set_option<T>(socket: &impl AsRawFd, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the value is as long as the length says and alive until the call returns; its type is that which
    // the callers' options take: a number, or a program whose steps are alive too.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_drops_wrap_and_late_ones_change_nothing() {
        let mut drops = Drops::default();
        let (half, most) = (u32::MAX / 2, u32::MAX);
        for (count, total) in [
            (10, 10),
            (7, 10),
            (half, 0x7fff_ffff),
            (most - 9, 0xffff_fff6),
            (most - 20, 0xffff_fff6),
            (4, 0x1_0000_0004),
        ] {
            drops.see(count);
            assert_eq!(drops.total(), total, "{count}");
        }
    }

    #[test]
    fn senders_of_both_families() {
        let mut name = [0; ADDRESS];
        name[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        name[4..8].copy_from_slice(&[192, 0, 2, 1]);
        assert_eq!(sender(&name), IpAddr::from([192, 0, 2, 1]));
        name[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
        name[8..24].copy_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(sender(&name), "2001:db8::1".parse::<IpAddr>().unwrap_or(IpAddr::from([0; 16])));
    }
}
