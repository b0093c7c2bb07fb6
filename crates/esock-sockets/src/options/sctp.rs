//! `IPPROTO_SCTP`: which option is whose.

use super::Outcome;
use crate::engine::{Engine, SocketId};
use crate::errno::Errno;
use esock_io::kernel::constants as c;
use esock_proto::Time;

impl Engine {
    pub(super) fn set_sctp_option(&mut self, now: Time, id: SocketId, name: i32, value: &[u8]) -> Outcome {
        match name {
            c::SCTP_SOCKOPT_BINDX_ADD => self.bind_many(id, value, true),
            c::SCTP_SOCKOPT_BINDX_REM => self.bind_many(id, value, false),
            c::SCTP_INITMSG => self.set_init(id, value),
            c::SCTP_RTOINFO => self.set_rto(now, id, value),
            c::SCTP_EVENTS => self.set_events(id, value),
            c::SCTP_EVENT => self.set_event(id, value),
            c::SCTP_AUTOCLOSE => self.set_autoclose(id, value),
            c::SCTP_RECVRCVINFO | c::SCTP_RECVNXTINFO => self.set_told(id, name, value),
            c::SCTP_DISABLE_FRAGMENTS => self.set_no_fragments(id, value),
            c::SCTP_I_WANT_MAPPED_V4_ADDR => self.set_mapped(id, value),
            c::SCTP_NODELAY => self.keep(id, name, value),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    pub(super) fn get_sctp_option(&mut self, now: Time, id: SocketId, name: i32, room: usize, value: &[u8]) -> Outcome {
        match name {
            c::SCTP_STATUS => self.status(now, id, room, value),
            c::SCTP_GET_PEER_ADDRS => self.peer_addresses(now, id, room, value),
            c::SCTP_GET_LOCAL_ADDRS => self.local_addresses(now, id, room, value),
            c::SCTP_INITMSG => self.get_init(id, room),
            c::SCTP_RTOINFO => self.get_rto(id, room, value),
            c::SCTP_EVENTS => self.get_events(id, room),
            c::SCTP_EVENT => self.get_event(id, room, value),
            c::SCTP_AUTOCLOSE => self.get_autoclose(id, room),
            c::SCTP_RECVRCVINFO | c::SCTP_RECVNXTINFO => self.get_told(id, name, room),
            c::SCTP_DISABLE_FRAGMENTS => self.get_no_fragments(id, room),
            c::SCTP_I_WANT_MAPPED_V4_ADDR => self.get_mapped(id, room),
            c::SCTP_NODELAY => self.kept(id, name, room),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }
}
