//! Options of paths: `path` is a peer's address and port, or `None` for all of an association
//! (or of the ones to come, with [`AssocId::FUTURE`]).

use super::abi;
use super::constants as c;
use super::options::path_storage;
use super::{AssocId, PathParams, SctpSocket, Thresholds};
use esock_proto::Address;
use std::io;
use std::time::Duration;

/// No parameters, for an association's path.
fn params_of(association: AssocId, path: Option<(Address, u16)>) -> abi::sctp_paddrparams {
    abi::sctp_paddrparams {
        spp_assoc_id: association.0,
        spp_address: path_storage(path),
        spp_hbinterval: 0,
        spp_pathmaxrxt: 0,
        spp_pathmtu: 0,
        spp_sackdelay: 0,
        spp_flags: 0,
        spp_ipv6_flowlabel: 0,
        spp_dscp: 0,
    }
}

impl SctpSocket {
    /// Sets parameters of a path.
    ///
    /// # Errors
    /// What the kernel says: among others, EINVAL for an MTU below 512 bytes.
    pub fn set_path_params(
        &self,
        association: AssocId,
        path: Option<(Address, u16)>,
        params: PathParams,
    ) -> io::Result<()> {
        let mut value = params_of(association, path);
        let mut flags = match params.heartbeats.or(params.heartbeat_interval.map(|_| true)) {
            Some(true) => c::SPP_HB_ENABLE,
            Some(false) => c::SPP_HB_DISABLE,
            None => 0,
        };
        flags |= match params.pmtud.or(params.mtu_bytes.map(|_| false)) {
            Some(true) => c::SPP_PMTUD_ENABLE,
            Some(false) => c::SPP_PMTUD_DISABLE,
            None => 0,
        };
        if let Some(interval) = params.heartbeat_interval {
            value.spp_hbinterval = u32::try_from(interval.as_millis()).unwrap_or(u32::MAX);
            flags |= if interval.is_zero() { c::SPP_HB_TIME_IS_ZERO } else { 0 };
        }
        if let Some(label) = params.flow_label {
            value.spp_ipv6_flowlabel = label;
            flags |= c::SPP_IPV6_FLOWLABEL;
        }
        if let Some(dscp) = params.dscp {
            value.spp_dscp = dscp;
            flags |= c::SPP_DSCP;
        }
        value.spp_pathmaxrxt = params.max_retransmissions.unwrap_or(0);
        value.spp_pathmtu = params.mtu_bytes.unwrap_or(0);
        value.spp_flags = flags;
        self.set(c::SCTP_PEER_ADDR_PARAMS, &value)
    }

    /// Parameters of a path.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn path_params(&self, association: AssocId, path: Option<(Address, u16)>) -> io::Result<PathParams> {
        let value = self.get(c::SCTP_PEER_ADDR_PARAMS, params_of(association, path))?;
        let has = |flag| value.spp_flags & flag != 0;
        Ok(PathParams {
            heartbeats: Some(has(c::SPP_HB_ENABLE)),
            heartbeat_interval: Some(Duration::from_millis(value.spp_hbinterval.into())),
            max_retransmissions: Some(value.spp_pathmaxrxt),
            pmtud: Some(has(c::SPP_PMTUD_ENABLE)),
            mtu_bytes: Some(value.spp_pathmtu),
            flow_label: has(c::SPP_IPV6_FLOWLABEL).then_some(value.spp_ipv6_flowlabel),
            dscp: has(c::SPP_DSCP).then_some(value.spp_dscp),
        })
    }

    /// Sends a heartbeat now, on one path.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn heartbeat(&self, association: AssocId, path: (Address, u16)) -> io::Result<()> {
        let mut value = params_of(association, Some(path));
        value.spp_flags = c::SPP_HB_DEMAND;
        self.set(c::SCTP_PEER_ADDR_PARAMS, &value)
    }

    /// Sets after how many errors a path changes its state.
    ///
    /// # Errors
    /// What the kernel says; ENOPROTOOPT before Linux 5.5.
    pub fn set_thresholds(
        &self,
        association: AssocId,
        path: Option<(Address, u16)>,
        thresholds: Thresholds,
    ) -> io::Result<()> {
        let value = abi::sctp_paddrthlds_v2 {
            spt_assoc_id: association.0,
            spt_address: path_storage(path),
            spt_pathmaxrxt: thresholds.max_retransmissions,
            spt_pathpfthld: thresholds.potentially_failed,
            spt_pathcpthld: thresholds.primary_switchover,
        };
        self.set(c::SCTP_PEER_ADDR_THLDS_V2, &value)
    }

    /// After how many errors a path changes its state.
    ///
    /// # Errors
    /// What the kernel says; ENOPROTOOPT before Linux 5.5.
    pub fn thresholds(&self, association: AssocId, path: Option<(Address, u16)>) -> io::Result<Thresholds> {
        let question = abi::sctp_paddrthlds_v2 {
            spt_assoc_id: association.0,
            spt_address: path_storage(path),
            spt_pathmaxrxt: 0,
            spt_pathpfthld: 0,
            spt_pathcpthld: 0,
        };
        let value = self.get(c::SCTP_PEER_ADDR_THLDS_V2, question)?;
        Ok(Thresholds {
            max_retransmissions: value.spt_pathmaxrxt,
            potentially_failed: value.spt_pathpfthld,
            primary_switchover: value.spt_pathcpthld,
        })
    }

    /// Sets the UDP port to which packets on a path are encapsulated (RFC 6951 §6.1); 0 is native SCTP.
    /// The kernel receives such packets on the port in the sysctl `net.sctp.udp_port`.
    ///
    /// # Errors
    /// What the kernel says; ENOPROTOOPT before Linux 5.11.
    pub fn set_encap_port(&self, association: AssocId, path: Option<(Address, u16)>, udp_port: u16) -> io::Result<()> {
        let value = abi::sctp_udpencaps {
            sue_assoc_id: association.0,
            sue_address: path_storage(path),
            sue_port: udp_port.to_be(),
        };
        self.set(c::SCTP_REMOTE_UDP_ENCAPS_PORT, &value)
    }

    /// The UDP port to which packets on a path are encapsulated; 0 is native SCTP.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn encap_port(&self, association: AssocId, path: Option<(Address, u16)>) -> io::Result<u16> {
        let question =
            abi::sctp_udpencaps { sue_assoc_id: association.0, sue_address: path_storage(path), sue_port: 0 };
        self.get(c::SCTP_REMOTE_UDP_ENCAPS_PORT, question).map(|value| u16::from_be(value.sue_port))
    }

    /// Makes a path the primary one.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_primary(&self, association: AssocId, path: (Address, u16)) -> io::Result<()> {
        let value = abi::sctp_prim { ssp_assoc_id: association.0, ssp_addr: path_storage(Some(path)) };
        self.set(c::SCTP_PRIMARY_ADDR, &value)
    }

    /// The primary path.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn primary(&self, association: AssocId) -> io::Result<(Address, u16)> {
        let question = abi::sctp_prim { ssp_assoc_id: association.0, ssp_addr: path_storage(None) };
        let value = self.get(c::SCTP_PRIMARY_ADDR, question)?;
        super::address::from_storage(value.ssp_addr).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}
