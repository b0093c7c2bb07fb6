//! ICMP (RFC 9260 §10): believed only when it quotes a packet that we could have sent.

use super::Stack;
use crate::time::Time;
use crate::transmit::{Icmp, IcmpKind};
use crate::types::VerificationTag;
use crate::wire::{CHUNK_HEADER_BYTES, HEADER_BYTES, kind, u16_at, u32_at};

impl Stack {
    /// Takes an ICMP report about a packet of ours.
    pub fn handle_icmp(&mut self, now: Time, icmp: Icmp<'_>) {
        let (Some(source), Some(destination), Some(tag)) =
            (u16_at(icmp.quoted, 0), u16_at(icmp.quoted, 2), u32_at(icmp.quoted, 4))
        else {
            return;
        };
        let Some(id) =
            self.endpoints.on_port(source).find_map(|endpoint| self.table.by_peer(endpoint, icmp.remote, destination))
        else {
            return;
        };
        let Some(entry) = self.table.get(id) else { return };
        let identity = entry.assoc.identity;
        // §10 ICMP6, ICMP7: the tag is the peer's; an INIT has none, but it quotes our own.
        let genuine = if tag == 0 {
            icmp.quoted.get(HEADER_BYTES) == Some(&kind::INIT)
                && u32_at(icmp.quoted, HEADER_BYTES + CHUNK_HEADER_BYTES) == Some(identity.local_tag.0)
        } else {
            VerificationTag(tag) == identity.peer_tag
        };
        let Some(path) = entry.assoc.paths.by_remote(icmp.remote).filter(|_| genuine) else { return };
        let _ = self.with(now, id, |assoc, cx| match icmp.kind {
            IcmpKind::PacketTooBig(mtu) => assoc.on_packet_too_big(cx, path, mtu),
            // §10 ICMP3: SCTP says it by ABORT. In UDP it is the peer's UDP port that nobody has (RFC 6951 §5.3).
            IcmpKind::PortUnreachable if icmp.encap_port.is_none() => {}
            IcmpKind::HostUnreachable if assoc.is_patient() => {}
            IcmpKind::PortUnreachable | IcmpKind::ProtocolUnreachable | IcmpKind::HostUnreachable => {
                assoc.on_unreachable(cx, path);
            }
        });
    }
}
