//! Why a call failed, as C programs are told.

use libc::c_int;
use std::fmt;

/// A value of `errno`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub c_int);

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident)*) => {
        impl Errno { $($(#[$doc])* pub const $name: Self = Self(libc::$name);)* }

        impl fmt::Debug for Errno {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$name => f.write_str(stringify!($name)),)*
                    Self(other) => write!(f, "errno {other}"),
                }
            }
        }
    };
}

errnos! {
    /// Not permitted.
    EPERM
    /// A signal came.
    EINTR
    /// Something failed that should not.
    EIO
    /// No such association.
    ESRCH
    /// Nothing now; later perhaps.
    EAGAIN
    /// No memory.
    ENOMEM
    /// Not allowed.
    EACCES
    /// Addresses lie outside.
    EFAULT
    /// In use by others.
    EBUSY
    /// A value that makes no sense here.
    EINVAL
    /// The other end has gone.
    EPIPE
    /// Not a socket.
    ENOTSOCK
    /// Not a descriptor.
    EBADF
    /// No descriptor is left.
    ENFILE
    /// Larger than may be sent.
    EMSGSIZE
    /// No such option.
    ENOPROTOOPT
    /// The socket cannot do that.
    EOPNOTSUPP
    /// Addresses of another family.
    EAFNOSUPPORT
    /// The port is taken.
    EADDRINUSE
    /// The address is not ours.
    EADDRNOTAVAIL
    /// The host has no way there.
    ENETUNREACH
    /// The association was aborted.
    ECONNRESET
    /// The association was aborted before it was taken.
    ECONNABORTED
    /// Already connected.
    EISCONN
    /// Not connected.
    ENOTCONN
    /// Shut down.
    ESHUTDOWN
    /// No answer.
    ETIMEDOUT
    /// Nobody there.
    ECONNREFUSED
    /// No way there.
    EHOSTUNREACH
    /// Being connected.
    EALREADY
    /// Being connected from now on.
    EINPROGRESS
    /// No room.
    ENOBUFS
    /// No such message.
    ENOMSG
    /// No such thing.
    ENOENT
    /// The protocol was broken.
    EPROTO
    /// No such protocol.
    EPROTONOSUPPORT
    /// No such kind of socket.
    ESOCKTNOSUPPORT
}
