//! Notifications (RFC 6458 §6.1), as Linux writes them.

use esock_io::kernel::abi::{self, Structure};
use esock_io::kernel::constants as c;
use esock_proto::SendOptions;

/// The bit of a notification's type in a mask of those that are wanted.
pub fn bit(kind: u16) -> u32 {
    1 << (kind & 0x1f)
}

/// The types in the order of `struct sctp_event_subscribe`'s fields.
pub const SUBSCRIBE: [u16; 14] = [
    c::SCTP_DATA_IO_EVENT,
    c::SCTP_ASSOC_CHANGE,
    c::SCTP_PEER_ADDR_CHANGE,
    c::SCTP_SEND_FAILED,
    c::SCTP_REMOTE_ERROR,
    c::SCTP_SHUTDOWN_EVENT,
    c::SCTP_PARTIAL_DELIVERY_EVENT,
    c::SCTP_ADAPTATION_INDICATION,
    c::SCTP_AUTHENTICATION_EVENT,
    c::SCTP_SENDER_DRY_EVENT,
    c::SCTP_STREAM_RESET_EVENT,
    c::SCTP_ASSOC_RESET_EVENT,
    c::SCTP_STREAM_CHANGE_EVENT,
    c::SCTP_SEND_FAILED_EVENT,
];

/// A structure with its length filled in, and what follows it.
fn finish(mut head: Vec<u8>, rest: &[u8]) -> Vec<u8> {
    head.extend_from_slice(rest);
    let length = head.len() as u32;
    head[4..8].copy_from_slice(&length.to_ne_bytes());
    head
}

/// SCTP_ASSOC_CHANGE; `info` is what an ABORT carried.
pub fn assoc_change(number: i32, state: u16, error: u16, streams: (u16, u16), info: &[u8]) -> Vec<u8> {
    let mut change = abi::sctp_assoc_change::zeroed();
    change.sac_type = c::SCTP_ASSOC_CHANGE;
    change.sac_state = state;
    change.sac_error = error;
    (change.sac_outbound_streams, change.sac_inbound_streams) = streams;
    change.sac_assoc_id = number;
    finish(change.bytes(), info)
}

/// SCTP_PEER_ADDR_CHANGE; `storage` is the address as the socket tells it.
pub fn peer_addr_change(number: i32, storage: &[u8], state: i32, error: i32) -> Vec<u8> {
    let mut change = abi::sctp_paddr_change::zeroed();
    change.spc_type = c::SCTP_PEER_ADDR_CHANGE;
    change.spc_state = state;
    change.spc_error = error;
    change.spc_assoc_id = number;
    let mut bytes = change.bytes();
    bytes[8..8 + storage.len()].copy_from_slice(storage);
    finish(bytes, &[])
}

/// SCTP_REMOTE_ERROR: the cause of an ERROR chunk, padded as it was sent.
pub fn remote_error(number: i32, cause: u16, info: &[u8]) -> Vec<u8> {
    let mut error = abi::sctp_remote_error::zeroed();
    error.sre_type = c::SCTP_REMOTE_ERROR;
    error.sre_error = cause.to_be();
    error.sre_assoc_id = number;
    let mut info = info.to_vec();
    info.resize(info.len().next_multiple_of(4), 0);
    finish(error.bytes(), &info)
}

/// SCTP_SHUTDOWN_EVENT.
pub fn shutdown(number: i32) -> Vec<u8> {
    let mut event = abi::sctp_shutdown_event::zeroed();
    event.sse_type = c::SCTP_SHUTDOWN_EVENT;
    event.sse_assoc_id = number;
    finish(event.bytes(), &[])
}

/// SCTP_ADAPTATION_INDICATION.
pub fn adaptation(number: i32, indication: u32) -> Vec<u8> {
    let mut event = abi::sctp_adaptation_event::zeroed();
    event.sai_type = c::SCTP_ADAPTATION_INDICATION;
    event.sai_adaptation_ind = indication;
    event.sai_assoc_id = number;
    finish(event.bytes(), &[])
}

/// SCTP_SENDER_DRY_EVENT.
pub fn sender_dry(number: i32) -> Vec<u8> {
    let mut event = abi::sctp_sender_dry_event::zeroed();
    event.sender_dry_type = c::SCTP_SENDER_DRY_EVENT;
    event.sender_dry_assoc_id = number;
    finish(event.bytes(), &[])
}

/// SCTP_PARTIAL_DELIVERY_EVENT: what was read of a message is all that comes of it. Linux names no stream here.
pub fn partial_delivery_aborted(number: i32) -> Vec<u8> {
    let mut event = abi::sctp_pdapi_event::zeroed();
    event.pdapi_type = c::SCTP_PARTIAL_DELIVERY_EVENT;
    event.pdapi_indication = c::SCTP_PARTIAL_DELIVERY_ABORTED;
    event.pdapi_assoc_id = number;
    finish(event.bytes(), &[])
}

/// SCTP_AUTHENTICATION_EVENT: the peer does not authenticate.
pub fn no_authentication(number: i32) -> Vec<u8> {
    let mut event = abi::sctp_authkey_event::zeroed();
    event.auth_type = c::SCTP_AUTHENTICATION_EVENT;
    event.auth_indication = c::SCTP_AUTH_NO_AUTH;
    event.auth_assoc_id = number;
    finish(event.bytes(), &[])
}

/// Flags of DATA chunks (RFC 9260 §3.3.1): what Linux tells of chunks that were not delivered.
pub const LAST: u8 = 1;
/// See `LAST`.
pub const FIRST: u8 = 2;

/// Of these flags those that all chunks of a message have.
pub fn data_flags(options: &SendOptions) -> u8 {
    let (unordered, immediate) = (4, 8);
    let flag = |on: bool, flag: u8| if on { flag } else { 0 };
    flag(options.unordered, unordered) | flag(options.sack_immediately, immediate)
}

/// A message that was not delivered, for both forms of telling it.
pub struct Failed<'a> {
    pub number: i32,
    pub sent: bool,
    pub error: u32,
    pub stream: u16,
    pub flags: u16,
    pub ppid: u32,
    pub context: u32,
    pub lifetime_ms: u32,
    pub data: &'a [u8],
}

/// SCTP_SEND_FAILED, the old form.
pub fn send_failed(failed: &Failed<'_>) -> Vec<u8> {
    let mut event = abi::sctp_send_failed::zeroed();
    event.ssf_type = c::SCTP_SEND_FAILED;
    event.ssf_flags = if failed.sent { c::SCTP_DATA_SENT } else { c::SCTP_DATA_UNSENT };
    event.ssf_error = failed.error;
    event.ssf_info.sinfo_stream = failed.stream;
    event.ssf_info.sinfo_flags = failed.flags;
    event.ssf_info.sinfo_ppid = failed.ppid;
    event.ssf_info.sinfo_context = failed.context;
    event.ssf_info.sinfo_timetolive = failed.lifetime_ms;
    event.ssf_info.sinfo_assoc_id = failed.number;
    event.ssf_assoc_id = failed.number;
    finish(event.bytes(), failed.data)
}

/// SCTP_SEND_FAILED_EVENT.
pub fn send_failed_event(failed: &Failed<'_>) -> Vec<u8> {
    let mut event = abi::sctp_send_failed_event::zeroed();
    event.ssf_type = c::SCTP_SEND_FAILED_EVENT;
    event.ssf_flags = if failed.sent { c::SCTP_DATA_SENT } else { c::SCTP_DATA_UNSENT };
    event.ssf_error = failed.error;
    event.ssfe_info.snd_sid = failed.stream;
    event.ssfe_info.snd_flags = failed.flags;
    event.ssfe_info.snd_ppid = failed.ppid;
    event.ssfe_info.snd_context = failed.context;
    event.ssfe_info.snd_assoc_id = failed.number;
    event.ssf_assoc_id = failed.number;
    finish(event.bytes(), failed.data)
}
