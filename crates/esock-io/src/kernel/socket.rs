//! A socket of the kernel's SCTP, with as many associations as come, or with one that was peeled off.

use super::abi;
use super::constants as c;
use super::{AssocId, OpenSocketError, address, filter};
use crate::sys::{self, Plain};
use crate::wait::{self, Interest};
use esock_proto::Address;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// A socket of the kernel's SCTP. It never blocks, and is closed on `exec`.
///
/// All calls name their association: a socket from [`open`](Self::open) has many, and one from
/// [`peel_off`](Self::peel_off), which has one, does not mind.
#[derive(Debug)]
pub struct SctpSocket(OwnedFd);

/// Which addresses a socket can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6 and IPv4.
    V6,
}

impl Family {
    /// The one that `addresses` need.
    pub fn of(addresses: &[Address]) -> Self {
        if addresses.iter().all(|address| address.is_ipv4()) { Self::V4 } else { Self::V6 }
    }
}

impl SctpSocket {
    /// Opens a socket for many associations (RFC 6458 §3).
    ///
    /// # Errors
    /// If the kernel has no SCTP, or the system refuses.
    pub fn open(family: Family) -> Result<Self, OpenSocketError> {
        let domain = match family {
            Family::V4 => libc::AF_INET,
            Family::V6 => libc::AF_INET6,
        };
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: no memory is involved.
        let fd = unsafe { libc::socket(domain, kind, libc::IPPROTO_SCTP) };
        if fd < 0 {
            return Err(OpenSocketError::new(io::Error::last_os_error()));
        }
        // SAFETY: the descriptor is new, and nobody else has it.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        if family == Family::V6 {
            sys::set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0).map_err(OpenSocketError::System)?;
        }
        Ok(socket)
    }

    /// Binds all `addresses` to `port`, or to one that the kernel chooses if that is 0. One of them
    /// may be the wildcard, alone. Later calls add addresses.
    ///
    /// # Errors
    /// EADDRINUSE, EADDRNOTAVAIL; EINVAL for no or impossible addresses. None is bound then.
    pub fn bind(&self, addresses: &[Address], port: u16) -> io::Result<()> {
        self.set_bytes(c::SCTP_SOCKOPT_BINDX_ADD, &address::pack(addresses, port))
    }

    /// Removes addresses that were bound, not the last one.
    ///
    /// # Errors
    /// EINVAL if one is not bound, EBUSY for the last.
    pub fn unbind(&self, addresses: &[Address], port: u16) -> io::Result<()> {
        self.set_bytes(c::SCTP_SOCKOPT_BINDX_REM, &address::pack(addresses, port))
    }

    /// Begins or stops to take associations. They come up as they come, told by notifications: there
    /// is nothing to accept.
    ///
    /// # Errors
    /// What the system says.
    pub fn listen(&self, on: bool) -> io::Result<()> {
        // SAFETY: no memory is involved.
        check(unsafe { libc::listen(self.as_raw_fd(), on.into()) })
    }

    /// Begins an association with the peer that has these addresses and does not wait for it: a
    /// notification tells when it is up, or could not be set up.
    ///
    /// # Errors
    /// EISCONN or EALREADY if there is one with this peer; EINVAL for no or impossible addresses.
    pub fn connect(&self, addresses: &[Address], port: u16) -> io::Result<AssocId> {
        let mut list = address::pack(addresses, port);
        let mut request = abi::sctp_getaddrs_old {
            assoc_id: 0,
            addr_num: list.len().try_into().map_err(|_| io::ErrorKind::InvalidInput)?,
            addrs: list.as_mut_ptr().cast(),
        };
        let connected = self.exchange(c::SCTP_SOCKOPT_CONNECTX3, &mut request);
        match connected {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => Ok(AssocId(request.assoc_id)),
        }
    }

    /// Takes an association out, into a socket of its own, with what was received on it and not read.
    /// Its number stays, and so do the options of this socket.
    ///
    /// # Errors
    /// EINVAL if there is no such association here.
    pub fn peel_off(&self, association: AssocId) -> io::Result<Self> {
        let mut request = abi::sctp_peeloff_flags_arg_t {
            p_arg: abi::sctp_peeloff_arg_t { associd: association.0, sd: -1 },
            flags: (libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) as u32,
        };
        // SAFETY: the kernel made a descriptor for us, and nobody else has it.
        let take = |fd| unsafe { OwnedFd::from_raw_fd(fd) };
        self.exchange(c::SCTP_SOCKOPT_PEELOFF_FLAGS, &mut request)?;
        if request.p_arg.sd < 0 { Err(io::ErrorKind::InvalidData.into()) } else { Ok(Self(take(request.p_arg.sd))) }
    }

    /// Attaches a filter that drops packets that begin with INIT, or removes it: an endpoint that
    /// listens with it is silent instead of absent. Associations that exist live on, but a peer that
    /// restarts is not heard while the filter is on.
    ///
    /// # Errors
    /// ENOENT if there is no filter to remove.
    pub fn drop_inits(&self, on: bool) -> io::Result<()> {
        if !on {
            return sys::set_option(self, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, 0);
        }
        let mut program = filter::program();
        let filter = libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
        // SAFETY: `filter` points to `len` instructions, which live through the call; the kernel copies them.
        check(unsafe {
            libc::setsockopt(
                self.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const filter).cast(),
                size_of::<libc::sock_fprog>() as libc::socklen_t,
            )
        })
    }

    /// Takes the error that waits on the socket, if there is one.
    ///
    /// # Errors
    /// If that cannot be asked.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let mut number: libc::c_int = 0;
        let mut length = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: `number` lives through the call, and its size is passed.
        check(unsafe {
            libc::getsockopt(
                self.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ERROR,
                (&raw mut number).cast(),
                &raw mut length,
            )
        })?;
        Ok((number != 0).then(|| io::Error::from_raw_os_error(number)))
    }

    /// Waits until something can be received, or, if asked for, sent too, or the time has passed
    /// (`None`: for ever), or a signal came. Returns whether the socket is ready.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(&self, writable: bool, timeout: Option<Duration>) -> io::Result<bool> {
        let interest = Interest { fd: self.as_raw_fd(), writable };
        wait::wait(std::iter::once(interest), timeout).map(|ready| ready.has(0))
    }

    /// Asks for buffers of these sizes; where the system's limit is lower and we may, beyond it.
    pub fn set_buffers(&self, receive_bytes: usize, send_bytes: usize) {
        sys::set_buffers(&socket2::SockRef::from(self), receive_bytes, send_bytes);
    }

    /// Sets an option of SCTP.
    pub(super) fn set<T: Plain>(&self, name: libc::c_int, value: &T) -> io::Result<()> {
        // SAFETY: `value` lives through the call, and its size is passed.
        unsafe { self.set_raw(name, std::ptr::from_ref(value).cast(), size_of::<T>()) }
    }

    /// Asks for an option of SCTP; `value` says of what.
    pub(super) fn get<T: Plain>(&self, name: libc::c_int, mut value: T) -> io::Result<T> {
        self.exchange(name, &mut value)?;
        Ok(value)
    }

    fn set_bytes(&self, name: libc::c_int, bytes: &[u8]) -> io::Result<()> {
        // SAFETY: `bytes` live through the call, and their number is passed.
        unsafe { self.set_raw(name, bytes.as_ptr(), bytes.len()) }
    }

    /// Sets an option.
    ///
    /// # Safety
    ///
    /// `value` points to `length` bytes, which may be padding.
    unsafe fn set_raw(&self, name: libc::c_int, value: *const u8, length: usize) -> io::Result<()> {
        let length = libc::socklen_t::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the caller vouches for `value`; the kernel reads no more than `length`.
        check(unsafe { libc::setsockopt(self.as_raw_fd(), libc::IPPROTO_SCTP, name, value.cast(), length) })
    }

    /// Asks for an option with the bytes of `value`, which takes the answer.
    fn exchange<T: Plain>(&self, name: libc::c_int, value: &mut T) -> io::Result<()> {
        let mut length = size_of::<T>() as libc::socklen_t;
        let value = std::ptr::from_mut(value).cast();
        // SAFETY: `value` lives through the call and has `length` bytes, of which any sequence is a value.
        check(unsafe { libc::getsockopt(self.as_raw_fd(), libc::IPPROTO_SCTP, name, value, &raw mut length) })
    }

    /// Asks for an option that begins with `head` and ends with addresses, of which the kernel says how
    /// many there are.
    pub(super) fn get_addresses(&self, name: libc::c_int, association: AssocId) -> io::Result<Vec<(Address, u16)>> {
        const HEAD: usize = size_of::<abi::sctp_getaddrs>();
        // An INIT has room for no more addresses than this many bytes.
        const MOST: usize = 1 << 17;
        let mut bytes = vec![0u8; 1 << 11];
        loop {
            bytes[..4].copy_from_slice(&association.0.to_ne_bytes());
            let mut length = bytes.len() as libc::socklen_t;
            // SAFETY: `bytes` lives through the call, and its length is passed.
            let code = unsafe {
                let value = bytes.as_mut_ptr().cast();
                libc::getsockopt(self.as_raw_fd(), libc::IPPROTO_SCTP, name, value, &raw mut length)
            };
            match check(code) {
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && bytes.len() < MOST => {
                    bytes.resize(bytes.len() * 4, 0);
                }
                Err(error) => return Err(error),
                Ok(()) => {
                    let head: Option<abi::sctp_getaddrs> = sys::read(&bytes);
                    let count = head.map_or(0, |head| head.addr_num as usize);
                    return Ok(address::unpack(&bytes[HEAD..], count));
                }
            }
        }
    }
}

/// What a system call's result means.
pub(super) fn check(code: libc::c_int) -> io::Result<()> {
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

impl AsFd for SctpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for SctpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<SctpSocket> for OwnedFd {
    fn from(socket: SctpSocket) -> Self {
        socket.0
    }
}
