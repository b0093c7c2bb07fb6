//! The socket API of [RFC 6458](https://www.rfc-editor.org/rfc/rfc6458) over esock's own stack, as Linux has it.
//!
//! An [`Engine`] holds sockets and does what a kernel does for them: it takes calls as bytes (names, options and
//! control messages in the layout of `<linux/sctp.h>`) and answers with bytes or an `errno`. A [`Broker`] serves
//! one engine to many programs, whose calls `esock-preload` brings to it in the frames of [`protocol`].
#![forbid(unsafe_code)]

mod address;
pub mod broker;
mod control;
mod engine;
mod errno;
mod notify;
mod options;
pub mod protocol;
mod stamp;
mod sysctl;

/// Options that are calls of the library's: numbers of `<linux/sctp.h>`.
pub mod calls {
    pub use esock_io::kernel::constants::{
        SCTP_GET_LOCAL_ADDRS, SCTP_SOCKOPT_CONNECTX, SCTP_SOCKOPT_CONNECTX_OLD, SCTP_SOCKOPT_CONNECTX3,
        SCTP_SOCKOPT_PEELOFF, SCTP_SOCKOPT_PEELOFF_FLAGS,
    };
}

pub use broker::{Broker, BrokerConfig, BrokerError, Greeting};
pub use engine::{Engine, Reply, SocketId};
pub use errno::Errno;
pub use esock_io::{detach, kernel_sctp};
pub use sysctl::{Sysctl, SysctlError};
