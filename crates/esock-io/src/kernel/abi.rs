//! `<linux/sctp.h>`, in Rust: structures with the header's names and layout, for who speaks that interface from either side.
//!
//! They, and the constants in `constants.rs`, are written once, through macros that also make the lists
//! which `tests/layout.rs` compares with what a C compiler makes of the header. Flexible array members
//! are left out: what follows a structure is read from the bytes behind it.

use crate::sys::{self, Plain};
#[cfg(test)]
use crate::tests::layout::Layout;
use libc::{c_int, sockaddr_storage};
use std::mem::offset_of;

/// An association's number in the kernel; 0 to 2 are the special ones below.
pub type sctp_assoc_t = i32;

/// A structure of the header, or one of its fields, and the bytes that C sees.
pub trait Structure: Copy {
    /// How many bytes it has.
    const BYTES: usize;

    /// The structure at the beginning of `bytes`; `None` if they are too few.
    fn parse(bytes: &[u8]) -> Option<Self>;

    /// Writes it to the beginning of `out`, which has enough bytes; bytes between fields are left as they are.
    fn write(&self, out: &mut [u8]);

    /// Its bytes, those between fields zero.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; Self::BYTES];
        self.write(&mut bytes);
        bytes
    }

    /// One whose bytes are all zero.
    fn zeroed() -> Self {
        let bytes = vec![0; Self::BYTES];
        Self::parse(&bytes).unwrap_or_else(|| unreachable!("there are as many bytes as it has"))
    }
}

/// Integers are fields.
macro_rules! integers {
    ($($type:ty)*) => { $(
        impl Structure for $type {
            const BYTES: usize = size_of::<$type>();

            fn parse(bytes: &[u8]) -> Option<Self> {
                bytes.first_chunk().map(|bytes| Self::from_ne_bytes(*bytes))
            }

            fn write(&self, out: &mut [u8]) {
                out[..Self::BYTES].copy_from_slice(&self.to_ne_bytes());
            }
        }
    )* };
}

integers! { u8 u16 u32 u64 i32 }

/// Of a pointer, which is another process's, only its place is of interest.
impl Structure for *mut libc::sockaddr {
    const BYTES: usize = size_of::<usize>();

    fn parse(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().map(|bytes| std::ptr::without_provenance_mut(usize::from_ne_bytes(*bytes)))
    }

    fn write(&self, out: &mut [u8]) {
        out[..Self::BYTES].copy_from_slice(&self.addr().to_ne_bytes());
    }
}

impl Structure for sockaddr_storage {
    const BYTES: usize = size_of::<sockaddr_storage>();

    fn parse(bytes: &[u8]) -> Option<Self> {
        sys::read(bytes)
    }

    fn write(&self, out: &mut [u8]) {
        match super::address::from_storage(*self) {
            Some((address, port)) => {
                let packed = super::address::pack(&[address], port);
                out[..packed.len()].copy_from_slice(&packed);
            }
            None => out[..2].copy_from_slice(&self.ss_family.to_ne_bytes()),
        }
    }
}

/// Defines structures. The number behind the name is the size in bytes on 64-bit systems.
macro_rules! structures {
    ($($(#[$attribute:meta])* $c:literal $name:ident, $size:literal { $($field:ident: $type:ty,)* })*) => {
        $(
            $(#[$attribute])*
            #[derive(Clone, Copy, Debug)]
            pub struct $name { $(pub $field: $type,)* }

            #[cfg(target_pointer_width = "64")]
            const _: () = assert!(size_of::<$name>() == $size);

            // SAFETY: integers, arrays of them, and raw pointers that are never followed.
            unsafe impl Plain for $name {}

            impl Structure for $name {
                const BYTES: usize = size_of::<$name>();

                fn parse(bytes: &[u8]) -> Option<Self> {
                    sys::read(bytes)
                }

                fn write(&self, out: &mut [u8]) {
                    $(
                        let value: $type = self.$field;
                        Structure::write(&value, &mut out[offset_of!($name, $field)..]);
                    )*
                }
            }
        )*

        #[cfg(test)]
        pub(crate) fn layouts() -> Vec<Layout> {
            vec![$(Layout {
                name: $c,
                size: Some(size_of::<$name>()),
                fields: vec![$((stringify!($field), offset_of!($name, $field)),)*],
            },)*]
        }
    };
}

structures! {
    /// Parameters of associations to come (RFC 6458 §8.1.3).
    #[repr(C)]
    "struct sctp_initmsg" sctp_initmsg, 8 {
        sinit_num_ostreams: u16,
        sinit_max_instreams: u16,
        sinit_max_attempts: u16,
        sinit_max_init_timeo: u16,
    }

    /// The old information about a message, both ways (RFC 6458 §5.3.2).
    #[repr(C)]
    "struct sctp_sndrcvinfo" sctp_sndrcvinfo, 32 {
        sinfo_stream: u16,
        sinfo_ssn: u16,
        sinfo_flags: u16,
        sinfo_ppid: u32,
        sinfo_context: u32,
        sinfo_timetolive: u32,
        sinfo_tsn: u32,
        sinfo_cumtsn: u32,
        sinfo_assoc_id: sctp_assoc_t,
    }

    /// How to send a message (RFC 6458 §5.3.4).
    #[repr(C)]
    "struct sctp_sndinfo" sctp_sndinfo, 16 {
        snd_sid: u16,
        snd_flags: u16,
        snd_ppid: u32,
        snd_context: u32,
        snd_assoc_id: sctp_assoc_t,
    }

    /// How a message was received (RFC 6458 §5.3.5).
    #[repr(C)]
    "struct sctp_rcvinfo" sctp_rcvinfo, 28 {
        rcv_sid: u16,
        rcv_ssn: u16,
        rcv_flags: u16,
        rcv_ppid: u32,
        rcv_tsn: u32,
        rcv_cumtsn: u32,
        rcv_context: u32,
        rcv_assoc_id: sctp_assoc_t,
    }

    /// The message after this one (RFC 6458 §5.3.6).
    #[repr(C)]
    "struct sctp_nxtinfo" sctp_nxtinfo, 16 {
        nxt_sid: u16,
        nxt_flags: u16,
        nxt_ppid: u32,
        nxt_length: u32,
        nxt_assoc_id: sctp_assoc_t,
    }

    /// When to give a message up (RFC 6458 §5.3.7).
    #[repr(C)]
    "struct sctp_prinfo" sctp_prinfo, 8 {
        pr_policy: u16,
        pr_value: u32,
    }

    /// What all notifications begin with (RFC 6458 §6.1.1); the header has no name for it.
    #[repr(C)]
    "__typeof__(((union sctp_notification *)0)->sn_header)" sn_header, 8 {
        sn_type: u16,
        sn_flags: u16,
        sn_length: u32,
    }

    /// RFC 6458 §6.1.1.
    #[repr(C)]
    "struct sctp_assoc_change" sctp_assoc_change, 20 {
        sac_type: u16,
        sac_flags: u16,
        sac_length: u32,
        sac_state: u16,
        sac_error: u16,
        sac_outbound_streams: u16,
        sac_inbound_streams: u16,
        sac_assoc_id: sctp_assoc_t,
    }

    /// RFC 6458 §6.1.2.
    #[repr(C, packed(4))]
    "struct sctp_paddr_change" sctp_paddr_change, 148 {
        spc_type: u16,
        spc_flags: u16,
        spc_length: u32,
        spc_aaddr: sockaddr_storage,
        spc_state: c_int,
        spc_error: c_int,
        spc_assoc_id: sctp_assoc_t,
    }

    /// RFC 6458 §6.1.3. The cause is in network byte order.
    #[repr(C)]
    "struct sctp_remote_error" sctp_remote_error, 16 {
        sre_type: u16,
        sre_flags: u16,
        sre_length: u32,
        sre_error: u16,
        sre_assoc_id: sctp_assoc_t,
    }

    /// The old form of what follows.
    #[repr(C)]
    "struct sctp_send_failed" sctp_send_failed, 48 {
        ssf_type: u16,
        ssf_flags: u16,
        ssf_length: u32,
        ssf_error: u32,
        ssf_info: sctp_sndrcvinfo,
        ssf_assoc_id: sctp_assoc_t,
    }

    /// RFC 6458 §6.1.11.
    #[repr(C)]
    "struct sctp_send_failed_event" sctp_send_failed_event, 32 {
        ssf_type: u16,
        ssf_flags: u16,
        ssf_length: u32,
        ssf_error: u32,
        ssfe_info: sctp_sndinfo,
        ssf_assoc_id: sctp_assoc_t,
    }

    /// RFC 6458 §6.1.5.
    #[repr(C)]
    "struct sctp_shutdown_event" sctp_shutdown_event, 12 {
        sse_type: u16,
        sse_flags: u16,
        sse_length: u32,
        sse_assoc_id: sctp_assoc_t,
    }

    /// RFC 6458 §6.1.6.
    #[repr(C)]
    "struct sctp_adaptation_event" sctp_adaptation_event, 16 {
        sai_type: u16,
        sai_flags: u16,
        sai_length: u32,
        sai_adaptation_ind: u32,
        sai_assoc_id: sctp_assoc_t,
    }

    /// RFC 6458 §6.1.7.
    #[repr(C)]
    "struct sctp_pdapi_event" sctp_pdapi_event, 24 {
        pdapi_type: u16,
        pdapi_flags: u16,
        pdapi_length: u32,
        pdapi_indication: u32,
        pdapi_assoc_id: sctp_assoc_t,
        pdapi_stream: u32,
        pdapi_seq: u32,
    }

    /// RFC 6458 §6.1.8.
    #[repr(C)]
    "struct sctp_authkey_event" sctp_authkey_event, 20 {
        auth_type: u16,
        auth_flags: u16,
        auth_length: u32,
        auth_keynumber: u16,
        auth_altkeynumber: u16,
        auth_indication: u32,
        auth_assoc_id: sctp_assoc_t,
    }

    /// RFC 6458 §6.1.9.
    #[repr(C)]
    "struct sctp_sender_dry_event" sctp_sender_dry_event, 12 {
        sender_dry_type: u16,
        sender_dry_flags: u16,
        sender_dry_length: u32,
        sender_dry_assoc_id: sctp_assoc_t,
    }

    /// RFC 6525 §6.1.1. Stream numbers follow.
    #[repr(C)]
    "struct sctp_stream_reset_event" sctp_stream_reset_event, 12 {
        strreset_type: u16,
        strreset_flags: u16,
        strreset_length: u32,
        strreset_assoc_id: sctp_assoc_t,
    }

    /// RFC 6525 §6.1.2.
    #[repr(C)]
    "struct sctp_assoc_reset_event" sctp_assoc_reset_event, 20 {
        assocreset_type: u16,
        assocreset_flags: u16,
        assocreset_length: u32,
        assocreset_assoc_id: sctp_assoc_t,
        assocreset_local_tsn: u32,
        assocreset_remote_tsn: u32,
    }

    /// RFC 6525 §6.1.3.
    #[repr(C)]
    "struct sctp_stream_change_event" sctp_stream_change_event, 16 {
        strchange_type: u16,
        strchange_flags: u16,
        strchange_length: u32,
        strchange_assoc_id: sctp_assoc_t,
        strchange_instrms: u16,
        strchange_outstrms: u16,
    }

    /// RFC 6458 §8.1.1, in milliseconds.
    #[repr(C)]
    "struct sctp_rtoinfo" sctp_rtoinfo, 16 {
        srto_assoc_id: sctp_assoc_t,
        srto_initial: u32,
        srto_max: u32,
        srto_min: u32,
    }

    /// RFC 6458 §8.1.2.
    #[repr(C)]
    "struct sctp_assocparams" sctp_assocparams, 20 {
        sasoc_assoc_id: sctp_assoc_t,
        sasoc_asocmaxrxt: u16,
        sasoc_number_peer_destinations: u16,
        sasoc_peer_rwnd: u32,
        sasoc_local_rwnd: u32,
        sasoc_cookie_life: u32,
    }

    /// RFC 6458 §8.1.9.
    #[repr(C, packed(4))]
    "struct sctp_prim" sctp_prim, 132 {
        ssp_assoc_id: sctp_assoc_t,
        ssp_addr: sockaddr_storage,
    }

    /// RFC 6458 §8.1.10.
    #[repr(C)]
    "struct sctp_setadaptation" sctp_setadaptation, 4 {
        ssb_adaptation_ind: u32,
    }

    /// RFC 6458 §8.1.12. C aligns it to 4 bytes and packs its fields without gaps; the kernel copies
    /// it, so that only the latter matters, and that is what packing to 2 bytes gives.
    #[repr(C, packed(2))]
    "struct sctp_paddrparams" sctp_paddrparams, 156 {
        spp_assoc_id: sctp_assoc_t,
        spp_address: sockaddr_storage,
        spp_hbinterval: u32,
        spp_pathmaxrxt: u16,
        spp_pathmtu: u32,
        spp_sackdelay: u32,
        spp_flags: u32,
        spp_ipv6_flowlabel: u32,
        spp_dscp: u8,
    }

    /// RFC 6458 §8.1.19.
    #[repr(C)]
    "struct sctp_sack_info" sctp_sack_info, 12 {
        sack_assoc_id: sctp_assoc_t,
        sack_delay: u32,
        sack_freq: u32,
    }

    /// An integer of an association.
    #[repr(C)]
    "struct sctp_assoc_value" sctp_assoc_value, 8 {
        assoc_id: sctp_assoc_t,
        assoc_value: u32,
    }

    /// RFC 6458 §8.2.2.
    #[repr(C, packed(4))]
    "struct sctp_paddrinfo" sctp_paddrinfo, 152 {
        spinfo_assoc_id: sctp_assoc_t,
        spinfo_address: sockaddr_storage,
        spinfo_state: i32,
        spinfo_cwnd: u32,
        spinfo_srtt: u32,
        spinfo_rto: u32,
        spinfo_mtu: u32,
    }

    /// RFC 6458 §8.2.1.
    #[repr(C)]
    "struct sctp_status" sctp_status, 176 {
        sstat_assoc_id: sctp_assoc_t,
        sstat_state: i32,
        sstat_rwnd: u32,
        sstat_unackdata: u16,
        sstat_penddata: u16,
        sstat_instrms: u16,
        sstat_outstrms: u16,
        sstat_fragmentation_point: u32,
        sstat_primary: sctp_paddrinfo,
    }

    /// A request to connect: `addr_num` is the length in bytes of what `addrs` points to. On the way
    /// back its first field is the new association.
    #[repr(C)]
    "struct sctp_getaddrs_old" sctp_getaddrs_old, 16 {
        assoc_id: sctp_assoc_t,
        addr_num: c_int,
        addrs: *mut libc::sockaddr,
    }

    /// What a list of addresses begins with.
    #[repr(C)]
    "struct sctp_getaddrs" sctp_getaddrs, 8 {
        assoc_id: sctp_assoc_t,
        addr_num: u32,
    }

    /// Linux only: counters of an association.
    #[repr(C)]
    "struct sctp_assoc_stats" sctp_assoc_stats, 256 {
        sas_assoc_id: sctp_assoc_t,
        sas_obs_rto_ipaddr: sockaddr_storage,
        sas_maxrto: u64,
        sas_isacks: u64,
        sas_osacks: u64,
        sas_opackets: u64,
        sas_ipackets: u64,
        sas_rtxchunks: u64,
        sas_outofseqtsns: u64,
        sas_idupchunks: u64,
        sas_gapcnt: u64,
        sas_ouodchunks: u64,
        sas_iuodchunks: u64,
        sas_oodchunks: u64,
        sas_iodchunks: u64,
        sas_octrlchunks: u64,
        sas_ictrlchunks: u64,
    }

    /// A request for a socket of its own for an association.
    #[repr(C)]
    "sctp_peeloff_arg_t" sctp_peeloff_arg_t, 8 {
        associd: sctp_assoc_t,
        sd: c_int,
    }

    /// The same, with flags for the new descriptor.
    #[repr(C)]
    "sctp_peeloff_flags_arg_t" sctp_peeloff_flags_arg_t, 12 {
        p_arg: sctp_peeloff_arg_t,
        flags: u32,
    }

    /// RFC 7829 §7.2.
    #[repr(C)]
    "struct sctp_paddrthlds" sctp_paddrthlds, 144 {
        spt_assoc_id: sctp_assoc_t,
        spt_address: sockaddr_storage,
        spt_pathmaxrxt: u16,
        spt_pathpfthld: u16,
    }

    /// The same with the threshold of a primary path switchover.
    #[repr(C)]
    "struct sctp_paddrthlds_v2" sctp_paddrthlds_v2, 144 {
        spt_assoc_id: sctp_assoc_t,
        spt_address: sockaddr_storage,
        spt_pathmaxrxt: u16,
        spt_pathpfthld: u16,
        spt_pathcpthld: u16,
    }

    /// RFC 6458 §6.2.2.
    #[repr(C)]
    "struct sctp_event" sctp_event, 8 {
        se_assoc_id: sctp_assoc_t,
        se_type: u16,
        se_on: u8,
    }

    /// RFC 6951 §6.1. The port is in network byte order.
    #[repr(C)]
    "struct sctp_udpencaps" sctp_udpencaps, 144 {
        sue_assoc_id: sctp_assoc_t,
        sue_address: sockaddr_storage,
        sue_port: u16,
    }

    /// RFC 5061 §4.2.4 by RFC 6458 §8.3.1: which of our addresses the peer is to prefer.
    #[repr(C, packed(4))]
    "struct sctp_setpeerprim" sctp_setpeerprim, 132 {
        sspp_assoc_id: sctp_assoc_t,
        sspp_addr: sockaddr_storage,
    }

    /// RFC 6458 §8.3.4. The key follows.
    #[repr(C)]
    "struct sctp_authkey" sctp_authkey, 8 {
        sca_assoc_id: sctp_assoc_t,
        sca_keynumber: u16,
        sca_keylength: u16,
    }

    /// RFC 6458 §8.1.18 and §8.3.4.
    #[repr(C)]
    "struct sctp_authkeyid" sctp_authkeyid, 8 {
        scact_assoc_id: sctp_assoc_t,
        scact_keynumber: u16,
    }

    /// RFC 6458 §8.2.3. Chunk types follow.
    #[repr(C)]
    "struct sctp_authchunks" sctp_authchunks, 8 {
        gauth_assoc_id: sctp_assoc_t,
        gauth_number_of_chunks: u32,
    }

    /// RFC 7496 §4.3 and §4.4.
    #[repr(C)]
    "struct sctp_prstatus" sctp_prstatus, 24 {
        sprstat_assoc_id: sctp_assoc_t,
        sprstat_sid: u16,
        sprstat_policy: u16,
        sprstat_abandoned_unsent: u64,
        sprstat_abandoned_sent: u64,
    }

    /// RFC 6458 §8.1.32; Linux has its fields in another order.
    #[repr(C)]
    "struct sctp_default_prinfo" sctp_default_prinfo, 12 {
        pr_assoc_id: sctp_assoc_t,
        pr_value: u32,
        pr_policy: u16,
    }

    /// RFC 6525 §6.3.2. Stream numbers follow.
    #[repr(C)]
    "struct sctp_reset_streams" sctp_reset_streams, 8 {
        srs_assoc_id: sctp_assoc_t,
        srs_flags: u16,
        srs_number_streams: u16,
    }

    /// RFC 6525 §6.3.4.
    #[repr(C)]
    "struct sctp_add_streams" sctp_add_streams, 8 {
        sas_assoc_id: sctp_assoc_t,
        sas_instrms: u16,
        sas_outstrms: u16,
    }

    /// RFC 8260 §4.3.3.
    #[repr(C)]
    "struct sctp_stream_value" sctp_stream_value, 8 {
        assoc_id: sctp_assoc_t,
        stream_id: u16,
        stream_value: u16,
    }

    /// Linux only: how often the path MTU is probed, in milliseconds.
    #[repr(C)]
    "struct sctp_probeinterval" sctp_probeinterval, 144 {
        spi_assoc_id: sctp_assoc_t,
        spi_address: sockaddr_storage,
        spi_interval: u32,
    }
}
