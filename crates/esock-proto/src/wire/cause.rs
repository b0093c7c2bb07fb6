//! Error causes (RFC 9260 §3.3.10).

use super::PacketBuilder;

/// Cause codes.
pub mod code {
    pub const INVALID_STREAM_IDENTIFIER: u16 = 1;
    pub const MISSING_MANDATORY_PARAMETER: u16 = 2;
    pub const STALE_COOKIE: u16 = 3;
    pub const OUT_OF_RESOURCE: u16 = 4;
    pub const UNRESOLVABLE_ADDRESS: u16 = 5;
    pub const UNRECOGNIZED_CHUNK_TYPE: u16 = 6;
    pub const INVALID_MANDATORY_PARAMETER: u16 = 7;
    pub const UNRECOGNIZED_PARAMETERS: u16 = 8;
    pub const NO_USER_DATA: u16 = 9;
    pub const COOKIE_RECEIVED_WHILE_SHUTTING_DOWN: u16 = 10;
    pub const RESTART_WITH_NEW_ADDRESSES: u16 = 11;
    pub const USER_INITIATED_ABORT: u16 = 12;
    pub const PROTOCOL_VIOLATION: u16 = 13;
}

/// A cause to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause<'a> {
    /// The stream that does not exist.
    InvalidStream(u16),
    /// The parameters that are missing.
    MissingParameter(&'a [u16]),
    /// By how much the cookie was too old, in microseconds.
    StaleCookie(u32),
    /// Nothing left to hold the association or message.
    OutOfResource,
    /// The address parameter that cannot be resolved, whole.
    UnresolvableAddress(&'a [u8]),
    /// The chunk that is not known, whole.
    UnrecognizedChunk(&'a [u8]),
    /// A mandatory parameter has a value that is not allowed.
    InvalidMandatoryParameter,
    /// The parameters that are not known, whole.
    UnrecognizedParameters(&'a [u8]),
    /// The TSN of a DATA chunk without data.
    NoUserData(u32),
    /// COOKIE ECHO in SHUTDOWN-ACK-SENT.
    CookieWhileShuttingDown,
    /// The addresses that the restart would add, as parameters.
    RestartWithNewAddresses(&'a [u8]),
    /// The user's reason.
    UserAbort(&'a [u8]),
    /// What was violated.
    ProtocolViolation(&'a [u8]),
}

impl Cause<'_> {
    /// The code.
    pub fn code(&self) -> u16 {
        match self {
            Self::InvalidStream(_) => code::INVALID_STREAM_IDENTIFIER,
            Self::MissingParameter(_) => code::MISSING_MANDATORY_PARAMETER,
            Self::StaleCookie(_) => code::STALE_COOKIE,
            Self::OutOfResource => code::OUT_OF_RESOURCE,
            Self::UnresolvableAddress(_) => code::UNRESOLVABLE_ADDRESS,
            Self::UnrecognizedChunk(_) => code::UNRECOGNIZED_CHUNK_TYPE,
            Self::InvalidMandatoryParameter => code::INVALID_MANDATORY_PARAMETER,
            Self::UnrecognizedParameters(_) => code::UNRECOGNIZED_PARAMETERS,
            Self::NoUserData(_) => code::NO_USER_DATA,
            Self::CookieWhileShuttingDown => code::COOKIE_RECEIVED_WHILE_SHUTTING_DOWN,
            Self::RestartWithNewAddresses(_) => code::RESTART_WITH_NEW_ADDRESSES,
            Self::UserAbort(_) => code::USER_INITIATED_ABORT,
            Self::ProtocolViolation(_) => code::PROTOCOL_VIOLATION,
        }
    }

    /// Writes the cause into the open chunk of `packet`; what does not fit is cut.
    pub fn write(&self, packet: &mut PacketBuilder<'_>) {
        let code = self.code();
        match self {
            Self::InvalidStream(stream) => {
                let [high, low] = stream.to_be_bytes();
                packet.tlv(code, &[high, low, 0, 0]);
            }
            Self::MissingParameter(missing) => {
                let mut value = Vec::with_capacity(4 + 2 * missing.len());
                value.extend_from_slice(&(missing.len() as u32).to_be_bytes());
                missing.iter().for_each(|kind| value.extend_from_slice(&kind.to_be_bytes()));
                packet.tlv(code, &value);
            }
            Self::StaleCookie(microseconds) => packet.tlv(code, &microseconds.to_be_bytes()),
            Self::NoUserData(tsn) => packet.tlv(code, &tsn.to_be_bytes()),
            Self::OutOfResource | Self::InvalidMandatoryParameter | Self::CookieWhileShuttingDown => {
                packet.tlv(code, &[]);
            }
            Self::UnresolvableAddress(bytes)
            | Self::UnrecognizedChunk(bytes)
            | Self::UnrecognizedParameters(bytes)
            | Self::RestartWithNewAddresses(bytes)
            | Self::UserAbort(bytes)
            | Self::ProtocolViolation(bytes) => packet.tlv(code, bytes),
        }
    }
}
