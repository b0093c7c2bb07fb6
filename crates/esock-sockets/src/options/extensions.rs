//! Options of extensions that the stack does not have: they answer as on Linux where they are switched off. What is
//! there some day is a line to change in [`EXTENSIONS`], and the options' own functions.

use super::{Outcome, exact, structure, word};
use crate::engine::{Engine, Reply, SocketId, Style};
use crate::errno::Errno;
use esock_io::kernel::abi::{self, Structure};
use esock_io::kernel::constants as c;
use esock_proto::Time;

/// An extension by the option that says whether it is to be used, and whether the stack has it.
struct Extension {
    supported: i32,
    there: bool,
}

/// Those that two ends agree on.
const EXTENSIONS: &[Extension] = &[
    // RFC 3758: messages that were never sent are given up, those that were are not.
    Extension { supported: c::SCTP_PR_SUPPORTED, there: false },
    // RFC 6525.
    Extension { supported: c::SCTP_RECONFIG_SUPPORTED, there: false },
    // RFC 8260.
    Extension { supported: c::SCTP_INTERLEAVING_SUPPORTED, there: false },
    // RFC 5061.
    Extension { supported: c::SCTP_ASCONF_SUPPORTED, there: false },
    // RFC 4895.
    Extension { supported: c::SCTP_AUTH_SUPPORTED, there: false },
    // RFC 9260 appendix A.
    Extension { supported: c::SCTP_ECN_SUPPORTED, there: false },
];

/// What SCTP_ENABLE_STREAM_RESET may say: reset streams, reset the association, change its streams.
const RESETS: u32 = 7;
/// The schedulers that Linux knows: first come first served, by priority, in turn. The stack has the first.
const LAST_SCHEDULER: u32 = 2;

impl Engine {
    /// Setting what [`EXTENSIONS`] lists, and what belongs to it.
    pub(super) fn set_extension(&mut self, now: Time, id: SocketId, name: i32, value: &[u8]) -> Outcome {
        match name {
            c::SCTP_SET_PEER_PRIMARY_ADDR => Err(Errno::EPERM),
            c::SCTP_AUTO_ASCONF => self.set_auto_asconf(id, value),
            c::SCTP_AUTH_CHUNK | c::SCTP_HMAC_IDENT => Err(Errno::EACCES),
            c::SCTP_AUTH_KEY => self.set_key(id, value),
            c::SCTP_AUTH_ACTIVE_KEY | c::SCTP_AUTH_DELETE_KEY | c::SCTP_AUTH_DEACTIVATE_KEY => {
                let key: abi::sctp_authkeyid = exact(value)?;
                self.change_keys(id, key.scact_assoc_id)
            }
            c::SCTP_ENABLE_STREAM_RESET => {
                let given: abi::sctp_assoc_value = exact(value)?;
                if given.assoc_value & !RESETS != 0 {
                    return Err(Errno::EINVAL);
                }
                self.change_settings(now, id, given.assoc_id, |settings| settings.resets = given.assoc_value)?;
                Ok(Reply::done())
            }
            c::SCTP_RESET_STREAMS => {
                let given: abi::sctp_reset_streams = structure(value)?;
                let listed = usize::from(given.srs_number_streams) * size_of::<u16>();
                if listed > value.len() - abi::sctp_reset_streams::BYTES {
                    return Err(Errno::EINVAL);
                }
                self.reset(id, given.srs_assoc_id)
            }
            c::SCTP_RESET_ASSOC => self.reset(id, exact(value)?),
            c::SCTP_ADD_STREAMS => self.reset(id, exact::<abi::sctp_add_streams>(value)?.sas_assoc_id),
            c::SCTP_STREAM_SCHEDULER => self.set_scheduler(now, id, value),
            c::SCTP_STREAM_SCHEDULER_VALUE => self.set_scheduler_value(now, id, value),
            _ => self.set_supported(id, name, value),
        }
    }

    /// Asking for it.
    pub(super) fn extension(&self, now: Time, id: SocketId, name: i32, room: usize, value: &[u8]) -> Outcome {
        match name {
            c::SCTP_AUTO_ASCONF => {
                let socket = self.socket(id)?;
                word(u32::from(socket.settings.auto_asconf && socket.has_all_addresses()), room)
            }
            c::SCTP_AUTH_CHUNK | c::SCTP_AUTH_KEY | c::SCTP_AUTH_DELETE_KEY | c::SCTP_AUTH_DEACTIVATE_KEY => {
                Err(Errno::EOPNOTSUPP)
            }
            c::SCTP_HMAC_IDENT => Err(Errno::EACCES),
            c::SCTP_AUTH_ACTIVE_KEY => {
                self.one_or_future(id, structure::<abi::sctp_authkeyid>(value)?.scact_assoc_id)?;
                Err(Errno::EACCES)
            }
            c::SCTP_PEER_AUTH_CHUNKS => {
                let chunks: abi::sctp_authchunks = structure(value)?;
                self.by_number(id, chunks.gauth_assoc_id).ok_or(Errno::EINVAL)?;
                Err(Errno::EACCES)
            }
            c::SCTP_LOCAL_AUTH_CHUNKS => {
                self.one_or_future(id, structure::<abi::sctp_authchunks>(value)?.gauth_assoc_id)?;
                Err(Errno::EACCES)
            }
            c::SCTP_ENABLE_STREAM_RESET => {
                let mut told: abi::sctp_assoc_value = structure(value)?;
                told.assoc_value = self.settings_of(id, told.assoc_id)?.resets;
                Ok(Reply::bytes(told.bytes()))
            }
            c::SCTP_STREAM_SCHEDULER_VALUE => {
                let mut told: abi::sctp_stream_value = structure(value)?;
                let assoc = self.by_number(id, told.assoc_id).ok_or(Errno::EINVAL)?;
                self.check_stream(now, assoc, told.stream_id)?;
                told.stream_value = 0;
                Ok(Reply::bytes(told.bytes()))
            }
            c::SCTP_PR_ASSOC_STATUS | c::SCTP_PR_STREAM_STATUS => self.given_up(now, id, name, value),
            // Of the extensions, and of the schedulers, the first value is the only one.
            _ => {
                let mut told: abi::sctp_assoc_value = structure(value)?;
                self.one_or_future(id, told.assoc_id)?;
                let there = EXTENSIONS.iter().any(|extension| extension.supported == name && extension.there);
                told.assoc_value = u32::from(there);
                Ok(Reply::bytes(told.bytes()))
            }
        }
    }

    /// Switching an extension off that is not there is nothing; switching it on is refused: a program that is told
    /// that it is on relies on it.
    fn set_supported(&self, id: SocketId, name: i32, value: &[u8]) -> Outcome {
        let given: abi::sctp_assoc_value =
            if name == c::SCTP_INTERLEAVING_SUPPORTED { structure(value)? } else { exact(value)? };
        self.one_or_future(id, given.assoc_id)?;
        let there = EXTENSIONS.iter().any(|extension| extension.supported == name && extension.there);
        match name {
            // Linux asks for two other things to be on first.
            c::SCTP_INTERLEAVING_SUPPORTED if !there => Err(Errno::EPERM),
            _ if there || given.assoc_value == 0 => Ok(Reply::done()),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    fn set_auto_asconf(&mut self, id: SocketId, value: &[u8]) -> Outcome {
        let on = super::integer(value)? != 0;
        let socket = self.socket_mut(id)?;
        if on && !socket.has_all_addresses() {
            return Err(Errno::EINVAL);
        }
        socket.settings.auto_asconf = on;
        Ok(Reply::done())
    }

    fn set_key(&self, id: SocketId, value: &[u8]) -> Outcome {
        let key: abi::sctp_authkey = structure(value)?;
        let rest = value.len() - abi::sctp_authkey::BYTES;
        if rest == 0 || usize::from(key.sca_keylength) > rest {
            return Err(Errno::EINVAL);
        }
        self.change_keys(id, key.sca_assoc_id)
    }

    /// Keys belong to endpoints and associations that have RFC 4895.
    fn change_keys(&self, id: SocketId, number: i32) -> Outcome {
        let socket = self.socket(id)?;
        let known = self.by_number(id, number).is_some();
        if !known && number > c::SCTP_ALL_ASSOC && socket.style == Style::OneToMany {
            return Err(Errno::EINVAL);
        }
        // Those that there are: of none, all were changed.
        let nobody = !known
            && socket.style == Style::OneToMany
            && number != c::SCTP_FUTURE_ASSOC
            && number != c::SCTP_ALL_ASSOC
            && socket.associations.is_empty();
        if nobody { Ok(Reply::done()) } else { Err(Errno::EACCES) }
    }

    /// No peer was asked for it.
    fn reset(&self, id: SocketId, number: i32) -> Outcome {
        self.by_number(id, number).ok_or(Errno::EINVAL)?;
        Err(Errno::ENOPROTOOPT)
    }

    fn set_scheduler(&mut self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let given: abi::sctp_assoc_value = structure(value)?;
        if given.assoc_value > LAST_SCHEDULER {
            return Err(Errno::EINVAL);
        }
        self.change_settings(now, id, given.assoc_id, |_| {})?;
        if given.assoc_value == 0 { Ok(Reply::done()) } else { Err(Errno::EOPNOTSUPP) }
    }

    fn set_scheduler_value(&self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let given: abi::sctp_stream_value = structure(value)?;
        let socket = self.socket(id)?;
        match self.by_number(id, given.assoc_id) {
            Some(assoc) => self.check_stream(now, assoc, given.stream_id)?,
            None if given.assoc_id != c::SCTP_CURRENT_ASSOC && socket.style == Style::OneToMany => {
                return Err(Errno::EINVAL);
            }
            None => {
                for assoc in socket.associations.values() {
                    self.check_stream(now, *assoc, given.stream_id)?;
                }
            }
        }
        Ok(Reply::done())
    }

    fn check_stream(&self, now: Time, assoc: esock_proto::AssocId, stream: u16) -> Result<(), Errno> {
        let stats = self.driver().stack().association(now, assoc).ok_or(Errno::EINVAL)?;
        if stream < stats.negotiated.outbound_streams { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// RFC 7496 §4.3, §4.4: messages whose lifetime passed. Those that were sent are not given up.
    fn given_up(&self, now: Time, id: SocketId, name: i32, value: &[u8]) -> Outcome {
        let mut status: abi::sctp_prstatus = structure(value)?;
        let (policy, all) = (status.sprstat_policy, c::SCTP_PR_SCTP_ALL);
        let known = c::SCTP_PR_SCTP_MASK | all;
        if policy == 0 || policy & !known != 0 || (policy & all != 0 && policy & c::SCTP_PR_SCTP_MASK != 0) {
            return Err(Errno::EINVAL);
        }
        let assoc = self.by_number(id, status.sprstat_assoc_id).ok_or(Errno::EINVAL)?;
        let held = self.held(assoc).ok_or(Errno::EINVAL)?;
        let of = if name == c::SCTP_PR_STREAM_STATUS {
            self.check_stream(now, assoc, status.sprstat_sid)?;
            held.given_up.get(&status.sprstat_sid).copied().unwrap_or(0)
        } else {
            held.given_up.values().sum()
        };
        let by_time = policy == all || policy == c::SCTP_PR_SCTP_TTL;
        (status.sprstat_abandoned_unsent, status.sprstat_abandoned_sent) = (if by_time { of } else { 0 }, 0);
        Ok(Reply::bytes(status.bytes()))
    }
}
