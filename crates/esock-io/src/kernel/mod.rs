//! The Linux kernel's own SCTP: its socket interface (RFC 6458, as Linux has it), without a C library.
//!
//! Integers are in the host's byte order, payload protocol identifiers too.

#[expect(non_camel_case_types, missing_docs, reason = "the header's names, which RFC 6458 and sctp(7) explain")]
pub mod abi;
pub mod address;
mod carrier;
#[expect(missing_docs, reason = "the header's names, which RFC 6458 and sctp(7) explain")]
pub mod constants;
mod error;
mod filter;
mod info;
mod message;
mod notification;
mod options;
mod path;
mod socket;
#[cfg(test)]
mod tests;

pub(crate) use carrier::Kernel;
pub use error::OpenSocketError;
pub use info::{AssocStats, PathInfo, PathState, State, Status};
pub use message::{NxtInfo, PrInfo, RcvInfo, Received, SendInfo};
pub use notification::{AssocState, Notification, PathChange};
pub use options::{AssocParams, DelayedAck, Event, InitMsg, PathParams, Rto, Thresholds};
pub use socket::{Family, SctpSocket};

/// An association's number in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AssocId(pub i32);

impl AssocId {
    /// Associations to come, in options of a socket with many associations (RFC 6458 §7.2).
    pub const FUTURE: Self = Self(constants::SCTP_FUTURE_ASSOC);
    /// Associations that exist.
    pub const CURRENT: Self = Self(constants::SCTP_CURRENT_ASSOC);
    /// Both.
    pub const ALL: Self = Self(constants::SCTP_ALL_ASSOC);
}
