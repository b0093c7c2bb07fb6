//! Options of associations: their parameters, and what can be seen of them (RFC 6458 §8.1.1 to §8.1.3, §8.1.16 to
//! §8.1.24, §8.2).

use super::paths::path_info;
use super::scope::storage;
use super::{Outcome, cut, exact, structure};
use crate::address::Family;
use crate::engine::{Engine, Reply, SocketId, Style};
use crate::errno::Errno;
use esock_io::kernel::abi::{self, Structure};
use esock_io::kernel::constants as c;
use esock_proto::{AssocId, State, Time};
use std::mem::offset_of;

/// The smallest path MTU that a fragment is reckoned with, and the largest chunk.
const LEAST_MTU: u32 = 512;
const LARGEST_CHUNK: u32 = 65_532;
/// The common header and the header of a DATA chunk.
const DATA_HEADER: u32 = 16;
const COMMON_HEADER: u32 = 12;
/// The states of SCTP_EXPOSE_POTENTIALLY_FAILED_STATE: not said, hidden, shown.
const EXPOSE_MAX: u32 = 2;

impl Engine {
    pub(super) fn set_init(&mut self, id: SocketId, value: &[u8]) -> Outcome {
        let given: abi::sctp_initmsg = exact(value)?;
        let init = &mut self.socket_mut(id)?.settings.init;
        let keep = |old: &mut u16, new: u16| *old = if new == 0 { *old } else { new };
        keep(&mut init.sinit_num_ostreams, given.sinit_num_ostreams);
        keep(&mut init.sinit_max_instreams, given.sinit_max_instreams);
        keep(&mut init.sinit_max_attempts, given.sinit_max_attempts);
        keep(&mut init.sinit_max_init_timeo, given.sinit_max_init_timeo);
        self.apply_settings(id)?;
        Ok(Reply::done())
    }

    pub(super) fn init(&self, id: SocketId, room: usize) -> Outcome {
        let init = self.socket(id)?.settings.init;
        if room < abi::sctp_initmsg::BYTES { Err(Errno::EINVAL) } else { Ok(Reply::bytes(init.bytes())) }
    }

    pub(super) fn set_rto(&mut self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let given: abi::sctp_rtoinfo = exact(value)?;
        let old = &self.settings_of(id, given.srto_assoc_id)?.parameters;
        let pick = |new: u32, old: u32| if new == 0 { old } else { new };
        let initial = pick(given.srto_initial, old.rto_initial);
        let (max, min) = (pick(given.srto_max, old.rto_max), pick(given.srto_min, old.rto_min));
        if min > max {
            return Err(Errno::EINVAL);
        }
        self.change_one(now, id, given.srto_assoc_id, |settings| {
            let parameters = &mut settings.parameters;
            (parameters.rto_initial, parameters.rto_max, parameters.rto_min) = (initial, max, min);
        })?;
        Ok(Reply::done())
    }

    pub(super) fn rto(&self, id: SocketId, value: &[u8]) -> Outcome {
        let mut info: abi::sctp_rtoinfo = structure(value)?;
        let parameters = &self.settings_of(id, info.srto_assoc_id)?.parameters;
        (info.srto_initial, info.srto_max, info.srto_min) =
            (parameters.rto_initial, parameters.rto_max, parameters.rto_min);
        Ok(Reply::bytes(info.bytes()))
    }

    pub(super) fn set_association_info(&mut self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let given: abi::sctp_assocparams = exact(value)?;
        if let Some(assoc) = self.one_or_future(id, given.sasoc_assoc_id)? {
            // RFC 6458 §8.1.2: not more than all paths together.
            let held = self.held(assoc).ok_or(Errno::EINVAL)?;
            let stats = self.driver().stack().association(now, assoc).ok_or(Errno::EINVAL)?;
            let sum: u32 =
                stats.paths.iter().map(|path| u32::from(held.settings.path_settings(path.remote).max_retrans)).sum();
            if stats.paths.len() > 1 && u32::from(given.sasoc_asocmaxrxt) > sum {
                return Err(Errno::EINVAL);
            }
        }
        self.change_one(now, id, given.sasoc_assoc_id, |settings| {
            let parameters = &mut settings.parameters;
            if given.sasoc_asocmaxrxt != 0 {
                parameters.max_retrans = given.sasoc_asocmaxrxt;
            }
            if given.sasoc_cookie_life != 0 {
                parameters.cookie_life = given.sasoc_cookie_life;
            }
        })?;
        Ok(Reply::done())
    }

    pub(super) fn association_info(&self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let mut info: abi::sctp_assocparams = structure(value)?;
        let parameters = &self.settings_of(id, info.sasoc_assoc_id)?.parameters;
        (info.sasoc_asocmaxrxt, info.sasoc_cookie_life) = (parameters.max_retrans, parameters.cookie_life);
        (info.sasoc_number_peer_destinations, info.sasoc_peer_rwnd, info.sasoc_local_rwnd) = (0, 0, 0);
        if let Some(assoc) = self.one_or_future(id, info.sasoc_assoc_id)? {
            let stats = self.driver().stack().association(now, assoc).ok_or(Errno::EINVAL)?;
            info.sasoc_number_peer_destinations = stats.paths.len() as u16;
            (info.sasoc_peer_rwnd, info.sasoc_local_rwnd) = (stats.peer_rwnd, stats.a_rwnd);
        }
        Ok(Reply::bytes(info.bytes()))
    }

    /// SCTP_DELAYED_SACK, also in its old form of a delay alone.
    pub(super) fn set_delayed_sack(&mut self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let given = match value.len() {
            abi::sctp_assoc_value::BYTES => {
                let old: abi::sctp_assoc_value = structure(value)?;
                let frequency = u32::from(old.assoc_value == 0);
                abi::sctp_sack_info { sack_assoc_id: old.assoc_id, sack_delay: old.assoc_value, sack_freq: frequency }
            }
            _ => {
                let given: abi::sctp_sack_info = exact(value)?;
                if given.sack_delay == 0 && given.sack_freq == 0 {
                    return Ok(Reply::done());
                }
                given
            }
        };
        if given.sack_delay > 500 {
            return Err(Errno::EINVAL);
        }
        self.change_settings(now, id, given.sack_assoc_id, |settings| {
            if given.sack_freq > 1 {
                settings.parameters.sack_frequency = given.sack_freq;
            }
            for path in settings.paths.values_mut().chain([&mut settings.parameters.path]) {
                let (on, off) = (c::SPP_SACKDELAY_ENABLE, c::SPP_SACKDELAY_DISABLE);
                if given.sack_delay != 0 {
                    path.sack_delay = given.sack_delay;
                }
                path.flags = path.flags & !(on | off) | if given.sack_freq == 1 { off } else { on };
            }
        })?;
        Ok(Reply::done())
    }

    pub(super) fn delayed_sack(&self, id: SocketId, value: &[u8]) -> Outcome {
        let length = match value.len() {
            abi::sctp_sack_info::BYTES.. => abi::sctp_sack_info::BYTES,
            abi::sctp_assoc_value::BYTES => abi::sctp_assoc_value::BYTES,
            _ => return Err(Errno::EINVAL),
        };
        let number = i32::parse(value).ok_or(Errno::EINVAL)?;
        let parameters = &self.settings_of(id, number)?.parameters;
        let (sack_delay, sack_freq) = if parameters.path.delays_sacks() {
            (parameters.path.sack_delay, parameters.sack_frequency)
        } else {
            (0, 1)
        };
        cut(abi::sctp_sack_info { sack_assoc_id: number, sack_delay, sack_freq }.bytes(), length)
    }

    /// The number and the value of an option that once was an integer alone.
    fn value_or_integer(value: &[u8]) -> Result<(i32, u32), Errno> {
        if value.len() == 4 {
            return Ok((c::SCTP_FUTURE_ASSOC, exact(value)?));
        }
        let given: abi::sctp_assoc_value = exact(value)?;
        Ok((given.assoc_id, given.assoc_value))
    }

    /// The answer of such an option.
    fn told(value: &[u8], told: impl FnOnce(i32) -> Result<u32, Errno>) -> Outcome {
        if value.len() == 4 {
            return Ok(Reply::bytes(told(c::SCTP_FUTURE_ASSOC)?.bytes()));
        }
        let mut given: abi::sctp_assoc_value = structure(value)?;
        given.assoc_value = told(given.assoc_id)?;
        Ok(Reply::bytes(given.bytes()))
    }

    pub(super) fn set_max_burst(&mut self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let (number, burst) = Self::value_or_integer(value)?;
        self.change_settings(now, id, number, |settings| settings.parameters.max_burst = burst)?;
        Ok(Reply::done())
    }

    pub(super) fn max_burst(&self, id: SocketId, value: &[u8]) -> Outcome {
        let mut reply = Self::told(value, |number| Ok(self.settings_of(id, number)?.parameters.max_burst))?;
        // Linux leaves the length as it is, and what is behind the structure.
        let mut bytes = reply.data.to_vec();
        bytes.extend(value.get(bytes.len()..).unwrap_or_default());
        reply.data = bytes.into();
        Ok(reply)
    }

    pub(super) fn set_max_segment(&mut self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let (number, segment) = Self::value_or_integer(value)?;
        self.one_or_future(id, number)?;
        let ip = if self.socket(id)?.family == Family::V4 { 20 } else { 40 };
        let range = LEAST_MTU - ip - COMMON_HEADER - DATA_HEADER..=LARGEST_CHUNK - DATA_HEADER;
        if segment != 0 && !range.contains(&segment) {
            return Err(Errno::EINVAL);
        }
        self.change_one(now, id, number, |settings| settings.parameters.max_segment = segment)?;
        Ok(Reply::done())
    }

    /// Of an association: what a chunk takes.
    pub(super) fn max_segment(&self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        Self::told(value, |number| match self.one_or_future(id, number)? {
            Some(assoc) => Ok(self.fragment_size(now, assoc) as u32),
            None => Ok(self.socket(id)?.settings.association.parameters.max_segment),
        })
    }

    pub(super) fn set_expose_failing(&mut self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let given: abi::sctp_assoc_value = exact(value)?;
        if given.assoc_value > EXPOSE_MAX {
            return Err(Errno::EINVAL);
        }
        self.change_one(now, id, given.assoc_id, |settings| settings.parameters.expose_failing = given.assoc_value)?;
        Ok(Reply::done())
    }

    pub(super) fn expose_failing(&self, id: SocketId, value: &[u8]) -> Outcome {
        let mut told: abi::sctp_assoc_value = structure(value)?;
        told.assoc_value = self.settings_of(id, told.assoc_id)?.parameters.expose_failing;
        Ok(Reply::bytes(told.bytes()))
    }

    pub(super) fn status(&self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let mut status: abi::sctp_status = structure(value)?;
        let assoc = self.by_number(id, status.sstat_assoc_id).ok_or(Errno::EINVAL)?;
        let stats = self.driver().stack().association(now, assoc).ok_or(Errno::EINVAL)?;
        let number = self.held(assoc).map_or(0, |held| held.number);
        status.sstat_assoc_id = number;
        status.sstat_state = state(stats.state);
        status.sstat_rwnd = stats.peer_rwnd;
        status.sstat_unackdata = u16::try_from(stats.unacked_chunks).unwrap_or(u16::MAX);
        status.sstat_penddata = u16::try_from(stats.missing_chunks).unwrap_or(u16::MAX);
        (status.sstat_instrms, status.sstat_outstrms) =
            (stats.negotiated.inbound_streams, stats.negotiated.outbound_streams);
        status.sstat_fragmentation_point = self.fragment_size(now, assoc) as u32;
        let mut bytes = status.bytes();
        if let Some(primary) = stats.paths.iter().find(|path| path.primary).or(stats.paths.first()) {
            let told = storage(self.socket(id)?, (primary.remote, stats.peer_port));
            let mtu = self.held(assoc).map_or(0, |held| held.settings.path_settings(primary.remote).told_mtu(primary));
            let info = path_info(number, primary, mtu, &told);
            bytes[offset_of!(abi::sctp_status, sstat_primary)..].copy_from_slice(&info);
        }
        Ok(Reply::bytes(bytes))
    }

    /// Linux's counters.
    pub(super) fn counters(&self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let number = i32::parse(value).ok_or(Errno::EINVAL)?;
        let assoc = self.by_number(id, number).ok_or(Errno::EINVAL)?;
        let stats = self.driver().stack().association(now, assoc).ok_or(Errno::EINVAL)?;
        let counters = &stats.counters;
        let mut told = abi::sctp_assoc_stats::zeroed();
        told.sas_assoc_id = number;
        told.sas_rtxchunks = counters.retransmissions;
        (told.sas_osacks, told.sas_isacks) = (counters.sacks_sent, counters.sacks_received);
        told.sas_gapcnt = counters.gap_blocks_received;
        told.sas_outofseqtsns = counters.out_of_sequence;
        (told.sas_octrlchunks, told.sas_ictrlchunks) = (counters.control_chunks_sent, counters.control_chunks_received);
        // Chunks of unordered messages are counted apart, each once; and only what was taken.
        (told.sas_ouodchunks, told.sas_iuodchunks) =
            (counters.unordered_chunks_sent, counters.unordered_chunks_received);
        let not_ordered = counters.retransmissions + told.sas_ouodchunks;
        told.sas_oodchunks = counters.data_chunks_sent.saturating_sub(not_ordered);
        let not_taken = counters.duplicates_received + counters.window_drops + counters.out_of_sequence;
        told.sas_iodchunks = counters.data_chunks_received.saturating_sub(not_taken + told.sas_iuodchunks);
        told.sas_idupchunks = counters.duplicates_received;
        (told.sas_opackets, told.sas_ipackets) = (counters.packets_sent, counters.packets_received);
        let slowest = stats.paths.iter().max_by_key(|path| path.rto);
        told.sas_maxrto = slowest.map_or(0, |path| path.rto.as_millis() as u64);
        let mut bytes = told.bytes();
        if let Some(path) = slowest {
            let at = offset_of!(abi::sctp_assoc_stats, sas_obs_rto_ipaddr);
            let address = storage(self.socket(id)?, (path.remote, stats.peer_port));
            bytes[at..at + address.len()].copy_from_slice(&address);
        }
        cut(bytes, value.len())
    }

    pub(super) fn association_count(&self, id: SocketId, room: usize) -> Outcome {
        let socket = self.socket(id)?;
        if socket.style == Style::OneToOne {
            return Err(Errno::EOPNOTSUPP);
        }
        super::word(socket.associations.len() as u32, room)
    }

    pub(super) fn association_ids(&self, id: SocketId, room: usize) -> Outcome {
        let socket = self.socket(id)?;
        if socket.style == Style::OneToOne {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut bytes = (socket.associations.len() as u32).bytes();
        bytes.extend(socket.associations.keys().flat_map(|number| number.to_ne_bytes()));
        if bytes.len() > room { Err(Errno::EINVAL) } else { Ok(Reply::bytes(bytes)) }
    }

    /// The most user data that a chunk of an association takes.
    pub(crate) fn fragment_size(&self, now: Time, assoc: AssocId) -> usize {
        let Some(stats) = self.driver().stack().association(now, assoc) else { return 0 };
        let smallest = stats.paths.iter().map(|path| {
            let headers = path.remote.ip_header_bytes() + if path.encap_port.is_some() { 8 } else { 0 };
            // Chunks are multiples of four (RFC 9260 §3.2).
            (usize::from(path.mtu).saturating_sub(headers + (COMMON_HEADER + DATA_HEADER) as usize)) & !3
        });
        let size = smallest.min().unwrap_or(0);
        match self.held(assoc).map_or(0, |held| held.settings.parameters.max_segment) {
            0 => size,
            wanted => size.min(wanted as usize & !3),
        }
    }
}

fn state(state: State) -> i32 {
    match state {
        State::CookieWait => c::SCTP_COOKIE_WAIT,
        State::CookieEchoed => c::SCTP_COOKIE_ECHOED,
        State::Established => c::SCTP_ESTABLISHED,
        State::ShutdownPending => c::SCTP_SHUTDOWN_PENDING,
        State::ShutdownSent => c::SCTP_SHUTDOWN_SENT,
        State::ShutdownReceived => c::SCTP_SHUTDOWN_RECEIVED,
        State::ShutdownAckSent => c::SCTP_SHUTDOWN_ACK_SENT,
        State::Closed => c::SCTP_CLOSED,
    }
}
