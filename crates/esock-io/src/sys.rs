//! The few system calls that the libraries used here do not wrap: socket options, addresses, control messages.

use esock_proto::{Address, Ecn};
use std::io;
use std::mem::size_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Sets a socket option that is an integer.
pub(crate) fn set_option(
    socket: &impl AsRawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: `value` lives through the call, and its size is passed.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Forbids or allows the fragmentation of packets that leave by `socket`. Forbidden, packets may be
/// as large as the link allows, whatever the host believes about the path: path MTU discovery is ours
/// (RFC 8899).
#[cfg(target_os = "linux")]
pub(crate) fn set_dont_fragment(socket: &impl AsRawFd, ipv4: bool, forbidden: bool) -> io::Result<()> {
    let (mode4, mode6) = if forbidden {
        (libc::IP_PMTUDISC_PROBE, libc::IPV6_PMTUDISC_PROBE)
    } else {
        (libc::IP_PMTUDISC_DONT, libc::IPV6_PMTUDISC_DONT)
    };
    if ipv4 {
        set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, mode4)
    } else {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, mode6)?;
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, forbidden.into())
    }
}

/// Fragmentation is not controlled on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn set_dont_fragment(_: &impl AsRawFd, _: bool, _: bool) -> io::Result<()> {
    Ok(())
}

/// What the host believes of the path of a connected socket: bytes of the largest packet.
#[cfg(target_os = "linux")]
pub(crate) fn route_mtu(socket: &impl AsRawFd, ipv4: bool) -> Option<u32> {
    let (level, name) = if ipv4 { (libc::IPPROTO_IP, libc::IP_MTU) } else { (libc::IPPROTO_IPV6, libc::IPV6_MTU) };
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` and `length` live through the call, and the length is that of the value.
    let code = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length) };
    u32::try_from(value).ok().filter(|_| code == 0)
}

/// Other systems do not tell.
#[cfg(not(target_os = "linux"))]
pub(crate) fn route_mtu(_: &impl AsRawFd, _: bool) -> Option<u32> {
    None
}

/// Asks for socket buffers of the given sizes; where the limit of the system is lower and we may, beyond it.
pub(crate) fn set_buffers(socket: &socket2::Socket, receive: usize, send: usize) {
    // Less than asked for still works, so failures are no errors.
    let _ = socket.set_recv_buffer_size(receive);
    let _ = socket.set_send_buffer_size(send);
    #[cfg(target_os = "linux")]
    {
        let clamp = |bytes: usize| libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
        if socket.recv_buffer_size().is_ok_and(|size| size < receive) {
            let _ = set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, clamp(receive));
        }
        if socket.send_buffer_size().is_ok_and(|size| size < send) {
            let _ = set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, clamp(send));
        }
    }
}

/// The address and port at `pointer`.
///
/// # Safety
///
/// `pointer` points to a socket address that is as long as its family says.
pub(crate) unsafe fn address_at(pointer: *const libc::sockaddr) -> Option<(Address, u16)> {
    // SAFETY: every socket address begins with its family.
    match i32::from(unsafe { (*pointer).sa_family }) {
        libc::AF_INET => {
            // SAFETY: of this family, so this long; read without a demand on its alignment.
            let v4 = unsafe { pointer.cast::<libc::sockaddr_in>().read_unaligned() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some((ip.into(), u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: of this family, so this long; read without a demand on its alignment.
            let v6 = unsafe { pointer.cast::<libc::sockaddr_in6>().read_unaligned() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some((Address::new(ip.into(), v6.sin6_scope_id), u16::from_be(v6.sin6_port)))
        }
        _ => None,
    }
}

/// An address with a port, as the system's sockets want it.
pub(crate) fn socket_addr(address: Address, port: u16) -> SocketAddr {
    match address.ip() {
        std::net::IpAddr::V4(ip) => SocketAddrV4::new(ip, port).into(),
        std::net::IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, address.scope_id()).into(),
    }
}

/// The address of a socket address.
pub(crate) fn address_of(from: SocketAddr) -> Address {
    match from {
        SocketAddr::V4(from) => (*from.ip()).into(),
        SocketAddr::V6(from) => Address::new((*from.ip()).into(), from.scope_id()),
    }
}

/// Whether a failed call would have to wait.
pub(crate) fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Whether an error is an ICMP report about an earlier packet that the kernel hands to whatever call
/// comes next: the error queue has the details, and the call is to be made again.
pub(crate) fn is_icmp_report(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::ENOPROTOOPT
                | libc::EPROTO
                | libc::EOPNOTSUPP
                | libc::EACCES
                | libc::EMSGSIZE
        ) | HOST_ISOLATED
    )
}

/// What becomes of ICMP Destination Unreachable, Host Isolated.
#[cfg(target_os = "linux")]
const HOST_ISOLATED: Option<i32> = Some(libc::ENONET);
#[cfg(not(target_os = "linux"))]
const HOST_ISOLATED: Option<i32> = None;

/// Whether a socket is of no more use after this error. Anything else may come from whoever sends us ICMP, or from a host
/// that is short of memory, and must not end the associations that use the socket.
pub(crate) fn ends_socket(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        None | Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EINVAL | libc::ENOSYS)
    )
}

/// Whether a failed send call may be about the packet that was to leave: a route, a firewall, a size. What else is an ICMP
/// report is about another packet for sure.
pub(crate) fn is_of_this_packet(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EHOSTDOWN | libc::EACCES | libc::EMSGSIZE)
    )
}

/// Turns ECN bits into the low bits of a traffic class.
pub(crate) fn ecn_bits(ecn: Option<Ecn>) -> u8 {
    ecn.map_or(0, |ecn| ecn as u8)
}

/// Bytes for control messages, aligned for their headers.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct Control<const LEN: usize> {
    bytes: [u8; LEN],
    used: usize,
}

impl<const LEN: usize> Control<LEN> {
    /// No control messages.
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; LEN], used: 0 }
    }

    /// Adds a message. There must be room, which is a matter of the program and not of its input.
    #[cfg(target_os = "linux")]
    pub(crate) fn push<T: Copy>(&mut self, level: libc::c_int, kind: libc::c_int, value: T) {
        // SAFETY: these two only compute.
        let (space, len) = unsafe {
            (libc::CMSG_SPACE(size_of::<T>() as u32) as usize, libc::CMSG_LEN(size_of::<T>() as u32) as usize)
        };
        assert!(self.used + space <= LEN, "control messages are longer than their buffer");
        // SAFETY: a header is plain integers, for which zero is valid.
        let mut header: libc::cmsghdr = unsafe { std::mem::zeroed() };
        header.cmsg_len = len as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        let at = self.bytes[self.used..self.used + space].as_mut_ptr();
        // SAFETY: `at` has `space` bytes, which hold the header, its padding and the value.
        unsafe {
            at.cast::<libc::cmsghdr>().write_unaligned(header);
            at.add(len - size_of::<T>()).cast::<T>().write_unaligned(value);
        }
        self.used += space;
    }

    /// Where the bytes are, and how many hold messages.
    #[cfg(target_os = "linux")]
    pub(crate) fn as_sent(&mut self) -> (*mut libc::c_void, usize) {
        (self.bytes.as_mut_ptr().cast(), self.used)
    }

    /// The messages.
    #[cfg(target_os = "linux")]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.used]
    }

    /// Where the bytes are, and how many there are.
    pub(crate) fn as_received(&mut self) -> (*mut libc::c_void, usize) {
        (self.bytes.as_mut_ptr().cast(), LEN)
    }
}

/// Has a header receive one packet into `buffer`, with the sender's address in `name` and control messages in `control`. It
/// points to all of them from now on, and to `slice`.
#[cfg(target_os = "linux")]
pub(crate) fn aim<Name, const LEN: usize>(
    header: &mut libc::msghdr,
    name: &mut Name,
    control: &mut Control<LEN>,
    slice: &mut libc::iovec,
    buffer: &mut [u8],
) {
    slice.iov_base = buffer.as_mut_ptr().cast();
    slice.iov_len = buffer.len();
    header.msg_name = (&raw mut *name).cast();
    header.msg_namelen = size_of::<Name>() as _;
    header.msg_iov = slice;
    header.msg_iovlen = 1;
    let (control, len) = control.as_received();
    header.msg_control = control;
    header.msg_controllen = len as _;
}

/// Calls `each` with level, type and bytes of each control message of a received message.
///
/// # Safety
///
/// `header` was filled by a successful receive, and its control buffer is still there.
pub(crate) unsafe fn each_control(header: &libc::msghdr, mut each: impl FnMut(libc::c_int, libc::c_int, &[u8])) {
    // SAFETY: the caller vouches for `header`; the kernel wrote the messages, so their lengths hold.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            let data = libc::CMSG_DATA(message);
            let len = ((*message).cmsg_len as usize).saturating_sub(data.offset_from(message.cast::<u8>()) as usize);
            each((*message).cmsg_level, (*message).cmsg_type, std::slice::from_raw_parts(data, len));
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
}

/// A value at the beginning of a control message's bytes, if they are enough.
pub(crate) fn read<T: Plain>(bytes: &[u8]) -> Option<T> {
    (bytes.len() >= size_of::<T>()).then(|| {
        // SAFETY: there are enough bytes, any bytes make a `Plain` value, and the read is unaligned.
        unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
    })
}

/// Types for which every sequence of bytes is a value.
///
/// # Safety
///
/// The type is made of integers only.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: an integer.
unsafe impl Plain for u8 {}
// SAFETY: an integer.
unsafe impl Plain for libc::c_int {}
// SAFETY: integers only.
#[cfg(target_os = "linux")]
unsafe impl Plain for libc::in_pktinfo {}
// SAFETY: integers only.
#[cfg(target_os = "linux")]
unsafe impl Plain for libc::in6_pktinfo {}
// SAFETY: integers only.
#[cfg(target_os = "linux")]
unsafe impl Plain for libc::sock_extended_err {}

/// The descriptor of anything that has one, for lists.
pub(crate) fn fd(socket: &impl AsRawFd) -> RawFd {
    socket.as_raw_fd()
}

/// Has calls on a descriptor never wait.
pub(crate) fn set_nonblocking(fd: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: no memory is involved.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    // SAFETY: as above.
    if flags < 0 || unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Gives the kernel a classic BPF program: `SO_ATTACH_FILTER` or `SO_ATTACH_REUSEPORT_CBPF`. It swaps programs atomically.
#[cfg(target_os = "linux")]
pub(crate) fn attach_program(
    socket: &impl AsRawFd,
    name: libc::c_int,
    program: &mut [libc::sock_filter],
) -> io::Result<()> {
    let program = libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
    // SAFETY: `program` points to `len` instructions, which live through the call; the kernel copies them.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A duplicate of a descriptor that one of our sockets owns.
pub(crate) fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the socket that owns `fd` is borrowed by the caller, so the descriptor is open.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
}

/// The user that has the other end of a local socket.
#[cfg(target_os = "linux")]
pub fn peer_user(socket: &impl AsRawFd) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `peer` and `length` live through the call, and the length is that of `peer`.
    let code = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    if code == 0 { Ok(peer.uid) } else { Err(io::Error::last_os_error()) }
}

/// The user that this process runs as.
#[cfg(target_os = "linux")]
pub fn user() -> u32 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Where it is seen that the kernel's own SCTP is loaded, if it is: without asking for a socket, which would load it.
#[cfg(target_os = "linux")]
pub fn kernel_sctp() -> Option<String> {
    crate::raw::kernel_sctp(std::path::Path::new("/proc"))
}

/// Makes this process one that nobody waits for: it leaves the session of whoever started it, with its terminal and its
/// signals, closes all descriptors that it was given but the first three, and may have as many as the host allows.
#[cfg(target_os = "linux")]
pub fn detach() {
    // SAFETY: it takes nothing; that it can fail is as good.
    let _ = unsafe { libc::setsid() };
    // SAFETY: to be called before anything was opened: the descriptors are nobody's here. An old kernel does not know the call.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    raise_limit();
}

/// What limits the descriptors of whoever started us is no limit of ours: others are served, too.
#[cfg(target_os = "linux")]
fn raise_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` has room for what is asked.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return;
    }
    let host = std::fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse().ok());
    // Only root may have more than it was given at most.
    for most in [host.unwrap_or(limit.rlim_max), limit.rlim_max] {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most.max(limit.rlim_max) };
        // SAFETY: `limit` is a value; if it is refused, all is as before.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0 {
            return;
        }
    }
}
