//! `IPPROTO_SCTP`: which option is whose. `docs/socket-options.md` lists them all.

use super::{Outcome, word};
use crate::engine::{Engine, SocketId};
use crate::errno::Errno;
use esock_io::kernel::constants as c;
use esock_proto::Time;

impl Engine {
    pub(super) fn set_sctp_option(&mut self, now: Time, id: SocketId, name: i32, value: &[u8]) -> Outcome {
        match name {
            c::SCTP_RTOINFO => self.set_rto(now, id, value),
            c::SCTP_ASSOCINFO => self.set_association_info(now, id, value),
            c::SCTP_INITMSG => self.set_init(id, value),
            c::SCTP_NODELAY
            | c::SCTP_DISABLE_FRAGMENTS
            | c::SCTP_I_WANT_MAPPED_V4_ADDR
            | c::SCTP_RECVRCVINFO
            | c::SCTP_RECVNXTINFO => self.set_switch(id, name, value),
            c::SCTP_AUTOCLOSE => self.set_autoclose(id, value),
            c::SCTP_PRIMARY_ADDR => self.set_primary(now, id, value),
            c::SCTP_ADAPTATION_LAYER => self.set_adaptation(id, value),
            c::SCTP_PEER_ADDR_PARAMS => self.set_path_params(now, id, value),
            c::SCTP_DEFAULT_SEND_PARAM => self.set_default_send_param(now, id, value),
            c::SCTP_DEFAULT_SNDINFO => self.set_default_sndinfo(now, id, value),
            c::SCTP_DEFAULT_PRINFO => self.set_default_prinfo(now, id, value),
            c::SCTP_EVENTS => self.set_events(id, value),
            c::SCTP_EVENT => self.set_event(now, id, value),
            c::SCTP_MAXSEG => self.set_max_segment(now, id, value),
            c::SCTP_DELAYED_SACK => self.set_delayed_sack(now, id, value),
            c::SCTP_CONTEXT => self.set_context(now, id, value),
            c::SCTP_FRAGMENT_INTERLEAVE => self.set_fragment_interleave(id, value),
            c::SCTP_PARTIAL_DELIVERY_POINT => self.set_partial_delivery_point(now, id, value),
            c::SCTP_MAX_BURST => self.set_max_burst(now, id, value),
            c::SCTP_PEER_ADDR_THLDS => self.set_thresholds(now, id, value, false),
            c::SCTP_PEER_ADDR_THLDS_V2 => self.set_thresholds(now, id, value, true),
            c::SCTP_REUSE_PORT => self.set_reuse_port(id, value),
            c::SCTP_SOCKOPT_BINDX_ADD => self.bind_many(id, value, true),
            c::SCTP_SOCKOPT_BINDX_REM => self.bind_many(id, value, false),
            c::SCTP_EXPOSE_POTENTIALLY_FAILED_STATE => self.set_expose_failing(now, id, value),
            c::SCTP_REMOTE_UDP_ENCAPS_PORT => self.set_encapsulation(now, id, value),
            c::SCTP_PLPMTUD_PROBE_INTERVAL => self.set_probe_interval(now, id, value),
            c::SCTP_SET_PEER_PRIMARY_ADDR
            | c::SCTP_AUTO_ASCONF
            | c::SCTP_AUTH_CHUNK
            | c::SCTP_HMAC_IDENT
            | c::SCTP_AUTH_KEY
            | c::SCTP_AUTH_ACTIVE_KEY
            | c::SCTP_AUTH_DELETE_KEY
            | c::SCTP_AUTH_DEACTIVATE_KEY
            | c::SCTP_PR_SUPPORTED
            | c::SCTP_RECONFIG_SUPPORTED
            | c::SCTP_ENABLE_STREAM_RESET
            | c::SCTP_RESET_STREAMS
            | c::SCTP_RESET_ASSOC
            | c::SCTP_ADD_STREAMS
            | c::SCTP_STREAM_SCHEDULER
            | c::SCTP_STREAM_SCHEDULER_VALUE
            | c::SCTP_INTERLEAVING_SUPPORTED
            | c::SCTP_ASCONF_SUPPORTED
            | c::SCTP_AUTH_SUPPORTED
            | c::SCTP_ECN_SUPPORTED => self.set_extension(now, id, name, value),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    pub(super) fn get_sctp_option(&self, now: Time, id: SocketId, name: i32, room: usize, value: &[u8]) -> Outcome {
        match name {
            c::SCTP_RTOINFO => self.rto(id, value),
            c::SCTP_ASSOCINFO => self.association_info(now, id, value),
            c::SCTP_INITMSG => self.init(id, room),
            c::SCTP_NODELAY
            | c::SCTP_DISABLE_FRAGMENTS
            | c::SCTP_I_WANT_MAPPED_V4_ADDR
            | c::SCTP_RECVRCVINFO
            | c::SCTP_RECVNXTINFO => self.switch(id, name, room),
            c::SCTP_AUTOCLOSE => self.autoclose(id, room),
            c::SCTP_PRIMARY_ADDR => self.primary(now, id, value),
            c::SCTP_ADAPTATION_LAYER => word(self.socket(id)?.settings.adaptation, room),
            c::SCTP_PEER_ADDR_PARAMS => self.path_params(now, id, value),
            c::SCTP_DEFAULT_SEND_PARAM => self.default_send_param(id, value),
            c::SCTP_DEFAULT_SNDINFO => self.default_sndinfo(id, value),
            c::SCTP_DEFAULT_PRINFO => self.default_prinfo(id, value),
            c::SCTP_EVENTS => self.events(id, room),
            c::SCTP_EVENT => self.event(id, value),
            c::SCTP_MAXSEG => self.max_segment(now, id, value),
            c::SCTP_STATUS => self.status(now, id, value),
            c::SCTP_GET_PEER_ADDR_INFO => self.peer_addr_info(now, id, value),
            c::SCTP_DELAYED_SACK => self.delayed_sack(id, value),
            c::SCTP_CONTEXT => self.context(id, value),
            c::SCTP_FRAGMENT_INTERLEAVE => word(u32::from(self.socket(id)?.settings.fragment_interleave), room),
            c::SCTP_PARTIAL_DELIVERY_POINT => word(self.socket(id)?.settings.partial_delivery_point, room),
            c::SCTP_MAX_BURST => self.max_burst(id, value),
            c::SCTP_GET_ASSOC_NUMBER => self.association_count(id, room),
            c::SCTP_GET_ASSOC_ID_LIST => self.association_ids(id, room),
            c::SCTP_PEER_ADDR_THLDS => self.thresholds(now, id, value, false),
            c::SCTP_PEER_ADDR_THLDS_V2 => self.thresholds(now, id, value, true),
            c::SCTP_REUSE_PORT => word(u32::from(self.socket(id)?.settings.reuse_port), room),
            c::SCTP_GET_PEER_ADDRS => self.peer_addresses(now, id, room, value),
            c::SCTP_GET_LOCAL_ADDRS => self.local_addresses(now, id, room, value),
            c::SCTP_GET_ASSOC_STATS => self.counters(now, id, value),
            c::SCTP_EXPOSE_POTENTIALLY_FAILED_STATE => self.expose_failing(id, value),
            c::SCTP_REMOTE_UDP_ENCAPS_PORT => self.encapsulation(now, id, value),
            c::SCTP_PLPMTUD_PROBE_INTERVAL => self.probe_interval(now, id, value),
            c::SCTP_AUTO_ASCONF
            | c::SCTP_AUTH_CHUNK
            | c::SCTP_HMAC_IDENT
            | c::SCTP_AUTH_KEY
            | c::SCTP_AUTH_ACTIVE_KEY
            | c::SCTP_AUTH_DELETE_KEY
            | c::SCTP_AUTH_DEACTIVATE_KEY
            | c::SCTP_PEER_AUTH_CHUNKS
            | c::SCTP_LOCAL_AUTH_CHUNKS
            | c::SCTP_PR_SUPPORTED
            | c::SCTP_PR_ASSOC_STATUS
            | c::SCTP_PR_STREAM_STATUS
            | c::SCTP_RECONFIG_SUPPORTED
            | c::SCTP_ENABLE_STREAM_RESET
            | c::SCTP_STREAM_SCHEDULER
            | c::SCTP_STREAM_SCHEDULER_VALUE
            | c::SCTP_INTERLEAVING_SUPPORTED
            | c::SCTP_ASCONF_SUPPORTED
            | c::SCTP_AUTH_SUPPORTED
            | c::SCTP_ECN_SUPPORTED => self.extension(now, id, name, room, value),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }
}
