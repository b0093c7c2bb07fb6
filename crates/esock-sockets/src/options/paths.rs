//! Options of paths (RFC 6458 §8.1.9, §8.1.12, §8.2.2; RFC 7829 §7; RFC 6951 §6).

use super::parameters::{HEARTBEAT, PMTUD, PathSettings, SACK_DELAY};
use super::scope::{Found, STORAGE, storage};
use super::{Outcome, cut, exact, structure};
use crate::address::Family;
use crate::engine::{Engine, Reply, SocketId};
use crate::errno::Errno;
use esock_io::kernel::abi::{self, Structure};
use esock_io::kernel::constants as c;
use esock_proto::{AssocId, Encapsulation, PathState, PathStats, Time};
use std::mem::offset_of;

/// The least path MTU, and the most that a SACK may be delayed.
const LEAST_MTU: u32 = 512;
const MOST_SACK_DELAY: u32 = 500;
/// The least interval between probes, in milliseconds.
const LEAST_PROBE_INTERVAL: u32 = 5000;
/// `struct sctp_paddrparams` as it was before it had a flow label.
const OLD_PARAMS: usize = offset_of!(abi::sctp_paddrparams, spp_ipv6_flowlabel).next_multiple_of(4);
/// Where addresses are.
const PARAMS_ADDRESS: usize = offset_of!(abi::sctp_paddrparams, spp_address);
const PRIM_ADDRESS: usize = offset_of!(abi::sctp_prim, ssp_addr);
const INFO_ADDRESS: usize = offset_of!(abi::sctp_paddrinfo, spinfo_address);
const THRESHOLDS_ADDRESS: usize = offset_of!(abi::sctp_paddrthlds_v2, spt_address);
const ENCAPSULATION_ADDRESS: usize = offset_of!(abi::sctp_udpencaps, sue_address);
const PROBE_ADDRESS: usize = offset_of!(abi::sctp_probeinterval, spi_address);

/// Whom an option with an address is about.
enum Target {
    Path(Found),
    Association(AssocId),
    Future,
}

impl Engine {
    /// `missing` is the answer when the address is of no path.
    fn target(&self, now: Time, id: SocketId, at: &[u8], number: i32, missing: Errno) -> Result<Target, Errno> {
        let path = if self.is_any(id, at) { None } else { Some(self.path_of(now, id, at, number).ok_or(missing)?) };
        // Linux looks at the number in any case, for most options.
        Ok(match path {
            Some(found) => Target::Path(found),
            None => self.one_or_future(id, number)?.map_or(Target::Future, Target::Association),
        })
    }

    /// Changes the settings of a path; of all paths of an association; or of those to come.
    fn change_paths(
        &mut self,
        now: Time,
        id: SocketId,
        target: &Target,
        change: &dyn Fn(&mut PathSettings),
    ) -> Outcome {
        match target {
            Target::Path(found) => {
                let held = self.held_mut(found.assoc).ok_or(Errno::EINVAL)?;
                let mut settings = held.settings.path_settings(found.path.remote).clone();
                let was_fixed = settings.fixed_mtu().is_some();
                change(&mut settings);
                let released = was_fixed && settings.fixed_mtu().is_none();
                held.settings.paths.insert(found.path.remote, settings);
                self.reconfigure_path(now, found.assoc, &found.path);
                if released {
                    self.follow_routes_again(now, found.assoc, Some(found.path.remote));
                }
            }
            Target::Association(assoc) => {
                let held = self.held_mut(*assoc).ok_or(Errno::EINVAL)?;
                let was_fixed = held.settings.parameters.path.fixed_mtu().is_some();
                change(&mut held.settings.parameters.path);
                held.settings.paths.values_mut().for_each(change);
                let released = was_fixed && held.settings.parameters.path.fixed_mtu().is_none();
                self.reconfigure(now, *assoc);
                if released {
                    self.follow_routes_again(now, *assoc, None);
                }
            }
            Target::Future => {
                change(&mut self.socket_mut(id)?.settings.association.parameters.path);
                self.apply_settings(id)?;
            }
        }
        Ok(Reply::done())
    }

    fn path_settings(&self, id: SocketId, target: &Target) -> Result<&PathSettings, Errno> {
        match target {
            Target::Path(found) => {
                Ok(self.held(found.assoc).ok_or(Errno::EINVAL)?.settings.path_settings(found.path.remote))
            }
            Target::Association(assoc) => Ok(&self.held(*assoc).ok_or(Errno::EINVAL)?.settings.parameters.path),
            Target::Future => Ok(&self.socket(id)?.settings.association.parameters.path),
        }
    }

    /// An answer whose address is the path's, as the socket tells it, or what was given.
    fn with_address(
        &self,
        id: SocketId,
        bytes: &mut [u8],
        at: usize,
        given: &[u8],
        target: &Target,
    ) -> Result<(), Errno> {
        let told = match target {
            Target::Path(found) => storage(self.socket(id)?, (found.path.remote, found.port)),
            _ => given[at..at + STORAGE].to_vec(),
        };
        bytes[at..at + STORAGE].copy_from_slice(&told);
        Ok(())
    }

    pub(super) fn set_path_params(&mut self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let mut bytes = value.to_vec();
        bytes.resize(abi::sctp_paddrparams::BYTES, 0);
        let given: abi::sctp_paddrparams = structure(&bytes)?;
        let flags = given.spp_flags;
        match value.len() {
            OLD_PARAMS if flags & (c::SPP_DSCP | c::SPP_IPV6_FLOWLABEL) != 0 => return Err(Errno::EINVAL),
            OLD_PARAMS | abi::sctp_paddrparams::BYTES => {}
            _ => return Err(Errno::EINVAL),
        }
        let both = [HEARTBEAT, PMTUD, SACK_DELAY].iter().any(|pair| flags & pair == *pair);
        let (delay, mtu, number) = (given.spp_sackdelay, given.spp_pathmtu, given.spp_assoc_id);
        if both || delay > MOST_SACK_DELAY || (mtu != 0 && mtu < LEAST_MTU) {
            return Err(Errno::EINVAL);
        }
        let at = &bytes[PARAMS_ADDRESS..PARAMS_ADDRESS + STORAGE];
        let target = self.target(now, id, at, number, Errno::EINVAL)?;
        self.one_or_future(id, number)?;
        let mut given = given;
        // An association has a flow label whatever its paths are: there may be others some day.
        let labelled = match &target {
            Target::Path(found) => !found.path.remote.is_ipv4(),
            Target::Association(_) => true,
            Target::Future => self.socket(id)?.family == Family::V6,
        };
        if !labelled {
            given.spp_flags &= !c::SPP_IPV6_FLOWLABEL;
        }
        if flags & c::SPP_HB_DEMAND != 0 {
            self.demand_heartbeat(now, &target)?;
        }
        self.change_paths(now, id, &target, &|settings| settings.take(&given))
    }

    /// A HEARTBEAT at once, over one path or over all.
    fn demand_heartbeat(&mut self, now: Time, target: &Target) -> Result<(), Errno> {
        let (assoc, paths) = match target {
            Target::Path(found) => (found.assoc, vec![found.path.id]),
            Target::Association(assoc) => {
                let stats = self.driver().stack().association(now, *assoc).ok_or(Errno::EINVAL)?;
                (*assoc, stats.paths.iter().map(|path| path.id).collect())
            }
            Target::Future => return Err(Errno::EINVAL),
        };
        for path in paths {
            let _ = self.driver_mut().stack_mut().request_heartbeat(now, assoc, path);
        }
        Ok(())
    }

    pub(super) fn path_params(&self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let length = match value.len() {
            abi::sctp_paddrparams::BYTES.. => abi::sctp_paddrparams::BYTES,
            OLD_PARAMS.. => OLD_PARAMS,
            _ => return Err(Errno::EINVAL),
        };
        let mut given = value.to_vec();
        given.resize(abi::sctp_paddrparams::BYTES.max(value.len()), 0);
        let mut params: abi::sctp_paddrparams = structure(&given)?;
        let at = &given[PARAMS_ADDRESS..PARAMS_ADDRESS + STORAGE];
        let target = self.target(now, id, at, params.spp_assoc_id, Errno::EINVAL)?;
        self.one_or_future(id, params.spp_assoc_id)?;
        let settings = self.path_settings(id, &target)?;
        params.spp_hbinterval = settings.heartbeat;
        params.spp_pathmaxrxt = settings.max_retrans;
        params.spp_sackdelay = settings.sack_delay;
        params.spp_flags = settings.flags;
        params.spp_pathmtu = match &target {
            Target::Path(found) => settings.told_mtu(&found.path),
            Target::Association(assoc) => self.least_mtu(now, *assoc),
            Target::Future => settings.mtu,
        };
        let labelled = !matches!(&target, Target::Path(found) if found.path.remote.is_ipv4());
        if let Some(label) = settings.flow_label.filter(|_| labelled) {
            params.spp_ipv6_flowlabel = label;
            params.spp_flags |= c::SPP_IPV6_FLOWLABEL;
        }
        if let Some(dscp) = settings.dscp {
            params.spp_dscp = dscp;
            params.spp_flags |= c::SPP_DSCP;
        }
        let mut bytes = params.bytes();
        self.with_address(id, &mut bytes, PARAMS_ADDRESS, &given, &target)?;
        cut(bytes, length)
    }

    fn least_mtu(&self, now: Time, assoc: AssocId) -> u32 {
        let (Some(stats), Some(held)) = (self.driver().stack().association(now, assoc), self.held(assoc)) else {
            return 0;
        };
        let mtus = stats.paths.iter().map(|path| held.settings.path_settings(path.remote).told_mtu(path));
        mtus.min().unwrap_or(0)
    }

    pub(super) fn set_primary(&mut self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let given: abi::sctp_prim = exact(value)?;
        let at = &value[PRIM_ADDRESS..PRIM_ADDRESS + STORAGE];
        let found = self.path_of(now, id, at, given.ssp_assoc_id).ok_or(Errno::EINVAL)?;
        let _ = self.driver_mut().stack_mut().set_primary(now, found.assoc, found.path.id);
        self.tell_of_path(found.assoc, (found.path.remote, found.port), c::SCTP_ADDR_MADE_PRIM);
        Ok(Reply::done())
    }

    pub(super) fn primary(&self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let prim: abi::sctp_prim = structure(value)?;
        let assoc = self.by_number(id, prim.ssp_assoc_id).ok_or(Errno::EINVAL)?;
        let stats = self.driver().stack().association(now, assoc).ok_or(Errno::EINVAL)?;
        let path = stats.paths.iter().find(|path| path.primary).ok_or(Errno::ENOTCONN)?;
        let mut bytes = value[..abi::sctp_prim::BYTES].to_vec();
        let told = storage(self.socket(id)?, (path.remote, stats.peer_port));
        bytes[PRIM_ADDRESS..PRIM_ADDRESS + STORAGE].copy_from_slice(&told);
        Ok(Reply::bytes(bytes))
    }

    pub(super) fn peer_addr_info(&self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let given: abi::sctp_paddrinfo = structure(value)?;
        let at = &value[INFO_ADDRESS..INFO_ADDRESS + STORAGE];
        let found = self.path_of(now, id, at, given.spinfo_assoc_id).ok_or(Errno::EINVAL)?;
        let held = self.held(found.assoc).ok_or(Errno::EINVAL)?;
        // RFC 7829 §7.3: who was told that nobody wants to know of that state.
        if found.path.state == PathState::PotentiallyFailed && held.settings.parameters.expose_failing == HIDDEN {
            return Err(Errno::EACCES);
        }
        let told = storage(self.socket(id)?, (found.path.remote, found.port));
        let mtu = held.settings.path_settings(found.path.remote).told_mtu(&found.path);
        Ok(Reply::bytes(path_info(held.number, &found.path, mtu, &told)))
    }

    pub(super) fn set_thresholds(&mut self, now: Time, id: SocketId, value: &[u8], v2: bool) -> Outcome {
        let given: abi::sctp_paddrthlds_v2 = structure(value)?;
        if v2 && given.spt_pathpfthld > given.spt_pathcpthld {
            return Err(Errno::EINVAL);
        }
        let at = &value[THRESHOLDS_ADDRESS..THRESHOLDS_ADDRESS + STORAGE];
        let target = self.target(now, id, at, given.spt_assoc_id, Errno::ENOENT)?;
        self.change_paths(now, id, &target, &|settings| {
            if given.spt_pathmaxrxt != 0 {
                settings.max_retrans = given.spt_pathmaxrxt;
            }
            if v2 {
                settings.switch_after = given.spt_pathcpthld;
            }
            settings.failing_after = given.spt_pathpfthld;
        })
    }

    /// Both forms have the same size: what one has more was padding.
    pub(super) fn thresholds(&self, now: Time, id: SocketId, value: &[u8], v2: bool) -> Outcome {
        let mut thresholds: abi::sctp_paddrthlds_v2 = structure(value)?;
        let at = &value[THRESHOLDS_ADDRESS..THRESHOLDS_ADDRESS + STORAGE];
        let target = self.target(now, id, at, thresholds.spt_assoc_id, Errno::ENOENT)?;
        let settings = self.path_settings(id, &target)?;
        thresholds.spt_pathmaxrxt = settings.max_retrans;
        thresholds.spt_pathpfthld = settings.failing_after;
        thresholds.spt_pathcpthld = if v2 { settings.switch_after } else { thresholds.spt_pathcpthld };
        let mut bytes = value[..abi::sctp_paddrthlds_v2::BYTES].to_vec();
        thresholds.write(&mut bytes);
        self.with_address(id, &mut bytes, THRESHOLDS_ADDRESS, value, &target)?;
        Ok(Reply::bytes(bytes))
    }

    pub(super) fn set_encapsulation(&mut self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let given: abi::sctp_udpencaps = exact(value)?;
        let port = u16::from_be(given.sue_port);
        let at = &value[ENCAPSULATION_ADDRESS..ENCAPSULATION_ADDRESS + STORAGE];
        let (assoc, paths) = match self.target(now, id, at, given.sue_assoc_id, Errno::EINVAL)? {
            Target::Path(found) => (found.assoc, vec![found.path.id]),
            Target::Association(assoc) => {
                let stats = self.driver().stack().association(now, assoc).ok_or(Errno::EINVAL)?;
                (assoc, stats.paths.iter().map(|path| path.id).collect())
            }
            Target::Future => {
                let encapsulation = if port == 0 { Encapsulation::Native } else { Encapsulation::Udp(port) };
                self.socket_mut(id)?.settings.encapsulation = Some(encapsulation);
                return Ok(Reply::done());
            }
        };
        for path in paths {
            let mut parameters = esock_proto::PathParameters::default();
            parameters.encap_port = Some((port != 0).then_some(port));
            let _ = self.driver_mut().stack_mut().set_path_parameters(now, assoc, path, parameters);
        }
        Ok(Reply::done())
    }

    pub(super) fn encapsulation(&self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let mut told: abi::sctp_udpencaps = structure(value)?;
        let at = &value[ENCAPSULATION_ADDRESS..ENCAPSULATION_ADDRESS + STORAGE];
        let target = self.target(now, id, at, told.sue_assoc_id, Errno::EINVAL)?;
        let port = match &target {
            Target::Path(found) => found.path.encap_port.unwrap_or(0),
            Target::Association(assoc) => {
                let stats = self.driver().stack().association(now, *assoc).ok_or(Errno::EINVAL)?;
                stats.paths.iter().find(|path| path.primary).and_then(|path| path.encap_port).unwrap_or(0)
            }
            Target::Future => match self.socket(id)?.settings.encapsulation {
                Some(Encapsulation::Udp(port)) => port,
                Some(_) => 0,
                None => u16::try_from(self.sysctl().get("encap_port")).unwrap_or(0),
            },
        };
        told.sue_port = port.to_be();
        let mut bytes = value[..abi::sctp_udpencaps::BYTES].to_vec();
        told.write(&mut bytes);
        self.with_address(id, &mut bytes, ENCAPSULATION_ADDRESS, value, &target)?;
        Ok(Reply::bytes(bytes))
    }

    pub(super) fn set_probe_interval(&mut self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let given: abi::sctp_probeinterval = exact(value)?;
        if given.spi_interval != 0 && given.spi_interval < LEAST_PROBE_INTERVAL {
            return Err(Errno::EINVAL);
        }
        let at = &value[PROBE_ADDRESS..PROBE_ADDRESS + STORAGE];
        let target = self.target(now, id, at, given.spi_assoc_id, Errno::EINVAL)?;
        self.change_paths(now, id, &target, &|settings| settings.probe_interval = given.spi_interval)
    }

    pub(super) fn probe_interval(&self, now: Time, id: SocketId, value: &[u8]) -> Outcome {
        let mut told: abi::sctp_probeinterval = structure(value)?;
        let at = &value[PROBE_ADDRESS..PROBE_ADDRESS + STORAGE];
        let target = self.target(now, id, at, told.spi_assoc_id, Errno::EINVAL)?;
        told.spi_interval = self.path_settings(id, &target)?.probe_interval;
        let mut bytes = value[..abi::sctp_probeinterval::BYTES].to_vec();
        told.write(&mut bytes);
        self.with_address(id, &mut bytes, PROBE_ADDRESS, value, &target)?;
        Ok(Reply::bytes(bytes))
    }
}

/// SCTP_EXPOSE_POTENTIALLY_FAILED_STATE: nobody wants to know of that state.
const HIDDEN: u32 = 1;

impl PathSettings {
    /// What SCTP_PEER_ADDR_PARAMS says: a value of 0 changes nothing, and many count only with their flag.
    fn take(&mut self, given: &abi::sctp_paddrparams) {
        let flags = given.spp_flags;
        let zero = flags & c::SPP_HB_TIME_IS_ZERO != 0;
        if flags & c::SPP_HB_ENABLE != 0 && (given.spp_hbinterval != 0 || zero) {
            self.heartbeat = if zero { 0 } else { given.spp_hbinterval };
        }
        if flags & c::SPP_PMTUD_DISABLE != 0 && given.spp_pathmtu != 0 {
            self.mtu = given.spp_pathmtu;
        }
        if flags & c::SPP_SACKDELAY_ENABLE != 0 && given.spp_sackdelay != 0 {
            self.sack_delay = given.spp_sackdelay;
        }
        if given.spp_pathmaxrxt != 0 {
            self.max_retrans = given.spp_pathmaxrxt;
        }
        for pair in [HEARTBEAT, PMTUD, SACK_DELAY] {
            if flags & pair != 0 {
                self.flags = (self.flags & !pair) | (flags & pair);
            }
        }
        if flags & c::SPP_IPV6_FLOWLABEL != 0 {
            self.flow_label = Some(given.spp_ipv6_flowlabel & 0xf_ffff);
        }
        if flags & c::SPP_DSCP != 0 {
            self.dscp = Some(given.spp_dscp & 0xfc);
        }
    }
}

/// `struct sctp_paddrinfo`.
pub(super) fn path_info(number: i32, path: &PathStats, mtu: u32, storage: &[u8]) -> Vec<u8> {
    let mut info = abi::sctp_paddrinfo::zeroed();
    info.spinfo_assoc_id = number;
    info.spinfo_state = match path.state {
        PathState::Unconfirmed => c::SCTP_UNCONFIRMED,
        PathState::Active => c::SCTP_ACTIVE,
        PathState::PotentiallyFailed => c::SCTP_PF,
        PathState::Inactive => c::SCTP_INACTIVE,
    };
    info.spinfo_cwnd = u32::try_from(path.cwnd).unwrap_or(u32::MAX);
    info.spinfo_srtt = path.srtt.map_or(0, |srtt| srtt.as_millis() as u32);
    info.spinfo_rto = path.rto.as_millis() as u32;
    info.spinfo_mtu = mtu;
    let mut bytes = info.bytes();
    bytes[INFO_ADDRESS..INFO_ADDRESS + storage.len()].copy_from_slice(storage);
    bytes
}
