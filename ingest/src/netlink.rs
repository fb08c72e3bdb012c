//! Netlink: route and generic sockets, dumps, single questions, and a parser of messages and attributes that is bounded
//! by the bytes left.
//!
//! What the messages say is read by those who ask.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::netlink::{GENERIC, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

/// Largest answer that is read at once, bytes: the kernel fills at most 32 KiB into a datagram of a dump.
const BUFFER: usize = 32 << 10;
/// Times a dump is asked for again because interfaces changed while it was made.
const TRIES: usize = 5;
/// How long the kernel may take for one datagram of a dump.
const ANSWER: Duration = Duration::from_secs(2);

const REQUEST: u16 = 0x1;
const DUMP: u16 = 0x300;
const DUMP_INTERRUPTED: u16 = 0x10;

const ERROR: u16 = 2;
const DONE: u16 = 3;

/// `RTM_NEWLINK`: an interface, or a change of it.
pub const NEW_LINK: u16 = 16;
/// `RTM_DELLINK`: an interface that is gone.
pub const DELETED_LINK: u16 = 17;
/// `RTM_GETLINK`: asks for the interfaces.
pub const GET_LINK: u16 = 18;
/// `RTM_NEWADDR`: an address of an interface.
pub const NEW_ADDRESS: u16 = 20;
/// `RTM_GETADDR`: asks for the addresses.
pub const GET_ADDRESS: u16 = 22;

/// The multicast group that tells changes of interfaces, as the mask that a socket binds to.
pub const LINK_CHANGES: u32 = 1;

/// A message: its type (`RTM_...`), flags and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its type.
    pub kind: u16,
    /// Its flags.
    pub flags: u16,
    /// What follows the header.
    pub body: &'a [u8],
}

/// Messages of one datagram. A message whose length lies ends them.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    bytes: &'a [u8],
}

impl<'a> Messages<'a> {
    /// Reads the messages of a datagram.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = u32_at(self.bytes, 0)? as usize;
        let kind = u16_at(self.bytes, 4)?;
        let flags = u16_at(self.bytes, 6)?;
        let body = self.bytes.get(16..length)?;
        self.bytes = after(self.bytes, length);
        Some(Message { kind, flags, body })
    }
}

/// Attributes: type without its flags, and value. One whose length lies ends them.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    bytes: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Reads attributes one after another.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.bytes, 0)?);
        // The two highest bits say nested and network byte order.
        let kind = u16_at(self.bytes, 2)? & 0x3fff;
        let value = self.bytes.get(4..length)?;
        self.bytes = after(self.bytes, length);
        Some((kind, value))
    }
}

/// What follows `length` bytes and their pad to a word.
fn after(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(length.next_multiple_of(4)..).unwrap_or_default()
}

/// A half word in the machine's byte order.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

/// A word in the machine's byte order.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

/// A double word in the machine's byte order.
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_ne_bytes)
}

/// Opens a route socket in the network namespace of the calling thread, without blocking if `groups` are followed.
///
/// # Errors
/// What the kernel says.
pub fn open(groups: u32) -> io::Result<OwnedFd> {
    let blocking = if groups == 0 { SocketFlags::empty() } else { SocketFlags::NONBLOCK };
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC | blocking,
        None, // NETLINK_ROUTE is protocol 0.
    )?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    if groups == 0 {
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER))?;
    }
    Ok(socket)
}

/// Opens a generic socket in the network namespace of the calling thread.
///
/// # Errors
/// What the kernel says.
pub fn open_generic() -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(GENERIC))?;
    bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER))?;
    Ok(socket)
}

/// Puts one question that has one message as its answer; that message's body.
///
/// # Errors
/// What the kernel says; what the question is about may not be there.
pub fn ask(socket: impl AsFd, kind: u16, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut question = header(body.len(), kind, REQUEST, 1);
    question.extend(body);
    let mut buffer = vec![0; BUFFER];
    forget(&socket, &mut buffer);
    send(&socket, &question, SendFlags::empty())?;
    let (read, _) = recv(&socket, &mut *buffer, RecvFlags::empty())?;
    match Messages::new(buffer.get(..read).unwrap_or_default()).next() {
        Some(message) if message.kind == ERROR => Err(refused(message.body)),
        Some(message) => Ok(message.body.to_vec()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The id of a family of generic netlink, by its name; this kernel may not have it.
///
/// # Errors
/// What the kernel says.
pub fn family(socket: impl AsFd, name: &str) -> io::Result<u16> {
    /// The family that knows the others (`GENL_ID_CTRL`), its question (`CTRL_CMD_GETFAMILY`), and its attributes.
    const CONTROL: u16 = 16;
    const GET_FAMILY: u8 = 3;
    const FAMILY_ID: u16 = 1;
    const FAMILY_NAME: u16 = 2;
    let mut question = generic(GET_FAMILY);
    attribute(&mut question, FAMILY_NAME, &[name.as_bytes(), &[0]].concat());
    let answer = ask(socket, CONTROL, &question)?;
    let mut told = Attributes::new(answer.get(GENERIC_HEADER..).unwrap_or_default());
    told.find_map(|(kind, value)| if kind == FAMILY_ID { u16_at(value, 0) } else { None })
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// What stands before the attributes of a generic message, bytes.
pub const GENERIC_HEADER: usize = 4;

/// The beginning of a generic question: its command, of version 1.
pub fn generic(command: u8) -> Vec<u8> {
    vec![command, 1, 0, 0]
}

/// Appends an attribute and its pad.
pub fn attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    to.extend(length.to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

/// Asks for everything of a kind ([`GET_LINK`], [`GET_ADDRESS`]) and hands over each message of the answer.
/// The answer of a dump that was interrupted by a change is thrown away (`start` is called at each beginning).
///
/// # Errors
/// What the kernel says, or that the dump was interrupted five times.
pub fn dump<T: Default>(
    socket: impl AsFd,
    kind: u16,
    each: impl FnMut(&mut T, Message<'_>),
) -> io::Result<T> {
    dump_of_family(socket, kind, 0, each)
}

/// The same of one family (`AF_...`).
///
/// # Errors
/// As [`dump`].
pub fn dump_of_family<T: Default>(
    socket: impl AsFd,
    kind: u16,
    family: u8,
    mut each: impl FnMut(&mut T, Message<'_>),
) -> io::Result<T> {
    let mut buffer = vec![0; BUFFER];
    forget(&socket, &mut buffer);
    for sequence in 1..=TRIES {
        let request = request(kind, family, u32::try_from(sequence).unwrap_or(u32::MAX));
        send(&socket, &request, SendFlags::empty())?;
        let mut answer = T::default();
        if take(&socket, &mut buffer, |message| each(&mut answer, message))? {
            return Ok(answer);
        }
    }
    Err(io::Error::other("the kernel's list changed while it was read, five times in a row"))
}

/// Takes away what is left of an answer that came too late for the question before: it is none to the next one.
fn forget(socket: &impl AsFd, buffer: &mut [u8]) {
    while recv(socket, &mut *buffer, RecvFlags::DONTWAIT).is_ok() {}
}

/// Reads a dump to its end; whether it was of one piece.
fn take(socket: &impl AsFd, buffer: &mut [u8], mut each: impl FnMut(Message<'_>)) -> io::Result<bool> {
    let mut whole = true;
    loop {
        let (read, length) = recv(socket, &mut *buffer, RecvFlags::TRUNC)?;
        if length > read {
            return Err(io::Error::other("the kernel sent a netlink message of more than 32 KiB"));
        }
        for message in Messages::new(buffer.get(..read).unwrap_or_default()) {
            whole &= message.flags & DUMP_INTERRUPTED == 0;
            match message.kind {
                DONE => return Ok(whole),
                ERROR => return Err(refused(message.body)),
                _ => each(message),
            }
        }
    }
}

/// The error that a message of the kernel tells.
fn refused(body: &[u8]) -> io::Error {
    let code = u32_at(body, 0).unwrap_or_default().cast_signed();
    io::Error::from_raw_os_error(code.saturating_neg())
}

fn header(body: usize, kind: u16, flags: u16, sequence: u32) -> Vec<u8> {
    let length = u32::try_from(16 + body).unwrap_or(u32::MAX);
    let mut header = length.to_ne_bytes().to_vec();
    header.extend(kind.to_ne_bytes());
    header.extend(flags.to_ne_bytes());
    header.extend(sequence.to_ne_bytes());
    header.extend([0; 4]);
    header
}

/// A request for a dump: the header, then as much of an `ifinfomsg`, `ifaddrmsg` or `ndmsg` as all need, which is the family
/// and zeroes.
fn request(kind: u16, family: u8, sequence: u32) -> Vec<u8> {
    let mut request = header(16, kind, REQUEST | DUMP, sequence);
    request.push(family);
    request.resize(32, 0);
    request
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_lie_end_messages_and_attributes() {
        let message = |length: u32, rest: &[u8]| {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend([16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
            bytes.extend(rest);
            bytes
        };
        assert_eq!(Messages::new(&message(20, &[1, 2, 3, 4])).next().unwrap().body, [1, 2, 3, 4]);
        for length in [0, 3, 15, 21, u32::MAX] {
            assert_eq!(Messages::new(&message(length, &[1, 2, 3, 4])).count(), 0, "{length}");
        }
        for length in [0u16, 3, 9, u16::MAX] {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend([3, 0, 1, 2, 3, 4]);
            assert_eq!(Attributes::new(&bytes).count(), 0, "{length}");
        }
        // The last attribute's pad may be missing.
        let two = [6, 0, 3, 0, 7, 8, 0, 0, 5, 0, 4, 0x80, 9];
        let read: Vec<_> = Attributes::new(&two).collect();
        assert_eq!(read, [(3, &[7u8, 8][..]), (4, &[9][..])]);
    }

    #[test]
    fn a_request_is_as_long_as_it_says() {
        let request = request(GET_LINK, 0, 7);
        let message = Messages::new(&request).next().unwrap();
        assert_eq!((message.kind, message.flags, message.body), (18, 0x301, &[0; 16][..]));
        assert_eq!(u32_at(&request, 8), Some(7));
    }

    #[test]
    fn an_answer_that_comes_too_late_is_none_to_the_next_question() {
        let socket = open(0).unwrap();
        let kinds = |kinds: &mut std::collections::BTreeSet<u16>, message: Message<'_>| {
            kinds.insert(message.kind);
        };
        send(&socket, &request(GET_LINK, 0, 9), SendFlags::empty()).unwrap();
        assert_eq!(dump(&socket, GET_ADDRESS, kinds).unwrap().into_iter().collect::<Vec<_>>(), [NEW_ADDRESS]);
        send(&socket, &request(GET_ADDRESS, 0, 9), SendFlags::empty()).unwrap();
        // An `ifinfomsg` of the loopback.
        let question = [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let answer = ask(&socket, GET_LINK, &question).unwrap();
        assert_eq!((u16_at(&answer, 2), u32_at(&answer, 4)), (Some(772), Some(1)));
    }

    #[test]
    fn the_kernel_answers_one_question_at_a_time() {
        let socket = open_generic().unwrap();
        assert_eq!(family(&socket, "nlctrl").unwrap(), 16, "the family of families is there in every kernel");
        assert_eq!(family(&socket, "no_such_family").unwrap_err().kind(), io::ErrorKind::NotFound);
        let mut attributes = Vec::new();
        attribute(&mut attributes, 7, b"odd");
        attribute(&mut attributes, 8, &[1; 4]);
        assert_eq!(attributes.len(), 16);
        let read: Vec<_> = Attributes::new(&attributes).collect();
        assert_eq!(read, [(7, &b"odd"[..]), (8, &[1; 4][..])]);
    }
}
