//! Packet sockets that sample: of an interface's packets the kernel takes one in so many at random, before anything is
//! copied or anybody woken, so that the cost is that of the samples.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

use socket2::{Domain, SockFilter, Socket, Type};

/// Packets that one call takes at most.
pub const BATCH: usize = 32;

/// The receive buffer that is asked for, bytes. A packet that was put together from many counts with all its bytes,
/// however few of them are sampled.
pub const RECEIVE_BUFFER: usize = 1 << 20;

/// Header bytes at most.
pub const MOST_HEADER_BYTES: usize = 1024;

/// Header bytes at least: the addresses and the type of a frame.
const LEAST_HEADER_BYTES: usize = 14;

/// Bytes of a VLAN tag.
const TAG: usize = 4;

/// Bytes of the two addresses before it.
const ADDRESSES: usize = 12;

/// How an interface is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which interface.
    pub ifindex: u32,
    /// One packet in so many; 0 and 1 take every packet.
    pub sampling_rate: u32,
    /// Bytes of a packet that are taken, from 14 to [`MOST_HEADER_BYTES`].
    pub header_bytes: usize,
    /// Whether the interface takes packets for others too; on a bridge these are all that it forwards.
    pub promiscuous: bool,
    /// Receive buffer asked for, bytes.
    pub receive_buffer: usize,
}

/// Where a packet was going when it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To this host.
    Received,
    /// To everybody, or to a group.
    ReceivedByMany,
    /// To somebody else.
    OtherHost,
    /// Out of the interface.
    Sent,
}

/// A sampled packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampled<'a> {
    /// The first bytes of the packet, with the VLAN tag that the kernel had taken out.
    pub bytes: &'a [u8],
    /// The packet's length with that tag and without its check sequence, bytes. What the kernel handles as one packet
    /// and the wire carries as many (segmentation and its reverse) is one packet here.
    pub frame_length: u32,
    /// The tag's control information, when the kernel had taken one out.
    pub vlan: Option<u16>,
    /// Where it was going.
    pub direction: Direction,
    /// The type of the hardware, `ARPHRD_...`: 1 Ethernet, 772 loopback, 65534 none.
    pub hardware: u16,
    /// The type of the payload, `ETH_P_...`.
    pub ethertype: u16,
}

/// A packet socket on one interface.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
    header_bytes: usize,
    buffer: Vec<u8>,
    drops: u64,
}

/// Room for the control message with [`libc::tpacket_auxdata`], aligned as the kernel's structure is.
type Control = [u64; 5];

impl PacketSocket {
    /// Opens a socket that samples. Nothing reaches it before its filter does: it is bound last.
    ///
    /// # Errors
    /// Those of the kernel: without `CAP_NET_RAW` no such socket can be opened.
    pub fn open(options: &Options) -> io::Result<Self> {
        let header_bytes = options.header_bytes.clamp(LEAST_HEADER_BYTES, MOST_HEADER_BYTES);
        // Protocol 0 receives nothing until the socket is bound to one.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&filter(options.sampling_rate, header_bytes as u32))?;
        // What the system's limit leaves of it is enough for most, and what is lost is counted.
        socket.set_recv_buffer_size(options.receive_buffer)?;
        set_option(&socket, libc::PACKET_AUXDATA, &1_i32)?;
        let ifindex = i32::try_from(options.ifindex).map_err(|_| io::ErrorKind::InvalidInput)?;
        bind(&socket, ifindex)?;
        if options.promiscuous {
            let membership = libc::packet_mreq {
                mr_ifindex: ifindex,
                mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
                mr_alen: 0,
                mr_address: [0; 8],
            };
            set_option(&socket, libc::PACKET_ADD_MEMBERSHIP, &membership)?;
        }
        let buffer = vec![0; BATCH * (TAG + header_bytes)];
        Ok(Self { socket, header_bytes, buffer, drops: 0 })
    }

    /// Takes the samples that wait, [`BATCH`] at most, and never waits; how many they were.
    ///
    /// # Errors
    /// Those of the kernel. That the interface is down is none: it says nothing, until it is up again.
    pub fn receive(&mut self, mut each: impl FnMut(Sampled<'_>)) -> io::Result<usize> {
        let slot = TAG + self.header_bytes;
        let mut controls: [Control; BATCH] = [[0; 5]; BATCH];
        // SAFETY: all-zero bytes are valid values of these structures: numbers and null pointers.
        let (mut pieces, mut headers, mut names): (
            [libc::iovec; BATCH],
            [libc::mmsghdr; BATCH],
            [libc::sockaddr_ll; BATCH],
        ) = unsafe { (zeroed(), zeroed(), zeroed()) };
        let buffers = self.buffer.chunks_exact_mut(slot);
        for ((((header, piece), name), control), buffer) in
            headers.iter_mut().zip(&mut pieces).zip(&mut names).zip(&mut controls).zip(buffers)
        {
            // Each buffer begins with room for a tag.
            let Some(buffer) = buffer.get_mut(TAG..) else { continue };
            piece.iov_base = buffer.as_mut_ptr().cast();
            piece.iov_len = buffer.len();
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            header.msg_hdr.msg_iov = piece;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = size_of::<Control>() as _;
        }
        // SAFETY: each header points to a name, a control buffer, and a piece that points to a buffer of ours, all of
        // the lengths that stand beside the pointers, all distinct and alive until the call returns.
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
            let down = error.kind() == io::ErrorKind::NetworkDown;
            return if down || crate::plain::nothing(&error) { Ok(0) } else { Err(error) };
        };
        let buffers = self.buffer.chunks_exact_mut(slot);
        for ((header, name), buffer) in headers.iter().zip(&names).zip(buffers).take(taken) {
            let told = told(&header.msg_hdr);
            each(sampled(buffer, header.msg_len as usize, name, told));
        }
        Ok(taken)
    }

    /// Samples that the kernel dropped since the socket was opened, because its receive buffer was full.
    pub fn drops(&mut self) -> u64 {
        // SAFETY: all-zero bytes are a valid value of two numbers.
        let mut statistics: libc::tpacket_stats = unsafe { zeroed() };
        let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: the buffer is as long as `length` says, and both are alive until the call returns.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                ptr::from_mut(&mut statistics).cast(),
                &raw mut length,
            )
        };
        if result == 0 {
            // The kernel begins anew each time it is asked.
            self.drops += u64::from(statistics.tp_drops);
        }
        self.drops
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.socket.as_raw_fd()
    }
}

/// Keeps `bytes` of one packet in `rate`: a random number below 2^32 / `rate`.
fn filter(rate: u32, bytes: u32) -> Vec<SockFilter> {
    let keep = SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, bytes);
    if rate <= 1 {
        return vec![keep];
    }
    let random = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM).cast_unsigned();
    let threshold = ((1_u64 << 32) / u64::from(rate)) as u32;
    vec![
        SockFilter::new((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, 0, 0, random),
        SockFilter::new((libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16, 1, 0, threshold),
        keep,
        SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0),
    ]
}

fn bind(socket: &Socket, ifindex: i32) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid value of a structure of numbers.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as libc::c_ushort;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = ifindex;
    // SAFETY: the address is as long as the length says, and the kernel only reads it.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            ptr::from_ref(&address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets an option of packet sockets.
fn set_option<T>(socket: &Socket, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the value is as long as the length says and alive until the call returns; its type is that which
    // the callers' options take.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What the kernel tells of a packet beside its bytes.
fn told(header: &libc::msghdr) -> Option<libc::tpacket_auxdata> {
    // SAFETY: the kernel has filled the header, whose control buffer is alive and aligned.
    let message = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: the pointer is null or that of a whole message head within the control buffer.
    let head = unsafe { message.as_ref() }?;
    if head.cmsg_level != libc::SOL_PACKET || head.cmsg_type != libc::PACKET_AUXDATA {
        return None;
    }
    // SAFETY: a message of this type carries this structure, which may be unaligned.
    Some(unsafe { libc::CMSG_DATA(message).cast::<libc::tpacket_auxdata>().read_unaligned() })
}

/// The packet of `length` bytes in a buffer that begins with room for its tag.
fn sampled<'a>(
    buffer: &'a mut [u8],
    length: usize,
    name: &libc::sockaddr_ll,
    told: Option<libc::tpacket_auxdata>,
) -> Sampled<'a> {
    let most = buffer.len() - TAG;
    let length = length.min(most);
    let mut frame_length = told.map_or(length as u32, |told| told.tp_len);
    let vlan = told
        .filter(|told| told.tp_status & libc::TP_STATUS_VLAN_VALID != 0 && length >= ADDRESSES)
        .map(|told| (told.tp_vlan_tci, tag_type(&told)));
    let bytes = match vlan {
        Some((control, kind)) => {
            buffer.copy_within(TAG..TAG + ADDRESSES, 0);
            let tag = [kind.to_be_bytes(), control.to_be_bytes()];
            buffer.iter_mut().skip(ADDRESSES).zip(tag.as_flattened()).for_each(|(to, from)| *to = *from);
            frame_length = frame_length.saturating_add(TAG as u32);
            buffer.get(..(length + TAG).min(most))
        }
        None => buffer.get(TAG..TAG + length),
    };
    Sampled {
        bytes: bytes.unwrap_or_default(),
        frame_length,
        vlan: vlan.map(|(control, _)| control),
        direction: match name.sll_pkttype {
            libc::PACKET_OUTGOING => Direction::Sent,
            libc::PACKET_OTHERHOST => Direction::OtherHost,
            libc::PACKET_BROADCAST | libc::PACKET_MULTICAST => Direction::ReceivedByMany,
            _ => Direction::Received,
        },
        hardware: name.sll_hatype,
        ethertype: u16::from_be(name.sll_protocol),
    }
}

/// The type of a tag, 802.1Q where the kernel does not say.
fn tag_type(told: &libc::tpacket_auxdata) -> u16 {
    if told.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0 {
        told.tp_vlan_tpid
    } else {
        libc::ETH_P_8021Q as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(kind: u8) -> libc::sockaddr_ll {
        // SAFETY: all-zero bytes are a valid value of a structure of numbers.
        let mut name: libc::sockaddr_ll = unsafe { zeroed() };
        name.sll_pkttype = kind;
        name.sll_hatype = 1;
        name.sll_protocol = 0x0800_u16.to_be();
        name
    }

    fn told(status: u32, length: u32, control: u16, kind: u16) -> libc::tpacket_auxdata {
        libc::tpacket_auxdata {
            tp_status: status,
            tp_len: length,
            tp_snaplen: 0,
            tp_mac: 0,
            tp_net: 0,
            tp_vlan_tci: control,
            tp_vlan_tpid: kind,
        }
    }

    #[test]
    fn tags_are_put_back_and_the_header_keeps_its_length() {
        let frame: Vec<u8> = (1..=20).collect();
        let fresh = |frame: &[u8]| [&[0; TAG], frame].concat();
        let valid = libc::TP_STATUS_VLAN_VALID;
        for (status, kind, expected) in
            [(valid, 0, 0x8100_u16), (valid | libc::TP_STATUS_VLAN_TPID_VALID, 0x88a8, 0x88a8)]
        {
            let mut buffer = fresh(&frame);
            let sampled = sampled(&mut buffer, 20, &name(4), Some(told(status, 1000, 0x6005, kind)));
            let tag = [expected.to_be_bytes(), [0x60, 5]].concat();
            assert_eq!(sampled.bytes, [&frame[..12], &tag, &frame[12..16]].concat(), "as long as asked for");
            assert_eq!((sampled.frame_length, sampled.vlan), (1004, Some(0x6005)));
            assert_eq!((sampled.direction, sampled.hardware, sampled.ethertype), (Direction::Sent, 1, 0x800));
        }
        // A short packet becomes longer by its tag.
        let mut buffer = fresh(&frame);
        let short = sampled(&mut buffer, 14, &name(0), Some(told(valid, 14, 7, 0)));
        assert_eq!(short.bytes, [&frame[..12], &[0x81, 0, 0, 7], &frame[12..14]].concat());
        assert_eq!((short.frame_length, short.direction), (18, Direction::Received));
        // Too short for a tag, without one, or untold: as it came.
        for (length, told) in [(11, Some(told(valid, 11, 7, 0))), (20, Some(told(0, 20, 7, 0))), (20, None)] {
            let mut buffer = fresh(&frame);
            let plain = sampled(&mut buffer, length, &name(3), told);
            assert_eq!(plain.bytes, &frame[..length]);
            assert_eq!((plain.frame_length, plain.vlan), (length as u32, None));
            assert_eq!(plain.direction, Direction::OtherHost);
        }
    }
}
