//! What parses and is written again parses equal: for fuzzing.

use super::{
    Cause, Chunk, Chunks, Data, GapBlock, HEADER_BYTES, Header, Init, InitParams, OutParams, PacketBuilder, Sack, Tlvs,
    abort_reason, checksum_ok, code, kind, padded, param_type, parse_cumulative_tsn, u16_at, u32_at,
};
use crate::assoc::path::Path;

/// More than any packet here needs: nothing is cut for want of room.
const ROOM: usize = 1 << 18;

/// Reads `packet` with every parser that its chunks call for, writes what was read, and reads that again.
/// Returns how many chunks there were.
///
/// # Panics
///
/// If the second reading differs from the first, or a parser reads outside of what it was given.
pub fn round_trip(packet: &[u8]) -> usize {
    let Ok(header) = Header::parse(packet) else { return 0 };
    let mut buf = vec![0; ROOM];
    let mut builder = PacketBuilder::new(&mut buf, header);
    let mut whole = Vec::new();
    let (mut end, mut malformed) = (HEADER_BYTES, false);
    for chunk in Chunks::new(&packet[HEADER_BYTES..]) {
        assert!(!malformed, "the walk goes on behind a malformed chunk");
        let Ok(chunk) = chunk else {
            malformed = true;
            continue;
        };
        // The walk is contiguous: each chunk begins where the one before ended, and lies in the packet.
        assert_eq!(&packet[end..end + chunk.raw.len()], chunk.raw);
        assert_eq!(chunk.raw.len(), chunk.value.len() + 4);
        assert_eq!(u16_at(chunk.raw, 2).map(usize::from), Some(chunk.raw.len()));
        end += padded(chunk.raw.len());
        builder.chunk(chunk.kind, chunk.flags, chunk.value);
        whole.push(chunk);
    }
    if !malformed {
        assert!(end >= packet.len() && end < packet.len() + 4, "bytes are left over");
    }
    let size = builder.finish();
    let written = &buf[..size];
    assert!(checksum_ok(written));
    assert_eq!(Header::parse(written).ok(), (!whole.is_empty()).then_some(header));
    let again: Vec<_> = Chunks::new(&written[HEADER_BYTES..]).map(|chunk| chunk.expect("we wrote it")).collect();
    assert_eq!(again, whole);
    whole.iter().for_each(value_round_trip);
    whole.len()
}

/// Writes one chunk and gives its bytes to `read`.
fn rewrite(write: impl FnOnce(&mut PacketBuilder<'_>), read: impl FnOnce(&Chunk<'_>)) {
    let mut buf = vec![0; ROOM];
    let header = Header { source: 1, destination: 1, tag: crate::types::VerificationTag(1) };
    let mut packet = PacketBuilder::new(&mut buf, header);
    write(&mut packet);
    let size = packet.finish();
    assert!(size.is_multiple_of(4));
    let mut chunks = Chunks::new(&buf[HEADER_BYTES..size]);
    read(&chunks.next().expect("we wrote it").expect("we wrote it"));
    assert!(chunks.next().is_none(), "one chunk was written");
}

fn value_round_trip(chunk: &Chunk<'_>) {
    match chunk.kind {
        kind::DATA => {
            if let Ok(data) = Data::parse(chunk) {
                rewrite(|packet| packet.data(&data), |again| assert_eq!(Data::parse(again), Ok(data)));
            }
        }
        kind::INIT | kind::INIT_ACK => init_round_trip(chunk),
        kind::SACK => sack_round_trip(chunk),
        kind::HEARTBEAT_ACK => heartbeat_round_trip(chunk),
        kind::ABORT | kind::ERROR => causes_round_trip(chunk),
        kind::SHUTDOWN => {
            if let Ok(tsn) = parse_cumulative_tsn(chunk) {
                let write = |packet: &mut PacketBuilder<'_>| packet.chunk(kind::SHUTDOWN, 0, &tsn.0.to_be_bytes());
                rewrite(write, |again| assert_eq!(parse_cumulative_tsn(again), Ok(tsn)));
            }
        }
        _ => {}
    }
}

fn init_round_trip(chunk: &Chunk<'_>) {
    let Ok(init) = Init::parse(chunk) else { return };
    for max in [1, 32, 64] {
        let Ok(params) = InitParams::parse(init.params, max) else { continue };
        assert!(params.addresses.len() <= max);
        assert!(params.addresses.iter().all(|address| address.is_usable_peer()));
        assert!(params.unrecognized.len() <= 512);
        let out = OutParams {
            addresses: &params.addresses,
            supported_types: params.supported_types,
            preservative: params.preservative,
            cookie: params.cookie,
            unrecognized: &params.unrecognized,
            adaptation: params.adaptation,
        };
        rewrite(
            |packet| init.write(chunk.kind, &out, packet),
            |again| {
                let fixed = Init::parse(again).expect("we wrote it");
                assert_eq!(Init { params: &[], ..fixed }, Init { params: &[], ..init });
                let read = InitParams::parse(fixed.params, max).expect("we wrote them");
                // What was not recognised went out as a report, which is nothing to report; a host name is refused.
                let expected = InitParams { unrecognized: Vec::new(), host_name: None, ..params.clone() };
                assert_eq!(read, expected);
                let reports = Tlvs::new(fixed.params).map(|param| param.expect("we wrote it"));
                let reports = reports.filter(|param| param.kind == param_type::UNRECOGNIZED_PARAMETER);
                let quoted: Vec<&[u8]> = reports.map(|param| param.value).collect();
                let theirs: Vec<&[u8]> =
                    Tlvs::new(&params.unrecognized).map(|param| param.expect("it was whole").raw).collect();
                assert_eq!(quoted, theirs);
            },
        );
    }
}

fn sack_round_trip(chunk: &Chunk<'_>) {
    let Ok(sack) = Sack::parse(chunk) else { return };
    let gaps: Vec<GapBlock> = sack.gaps().collect();
    let duplicates = u16_at(chunk.value, 10).unwrap_or(0);
    let write = |packet: &mut PacketBuilder<'_>| {
        packet.open(kind::SACK, chunk.flags);
        packet.put_u32(sack.cumulative.0);
        packet.put_u32(sack.a_rwnd);
        packet.put_u16(gaps.len() as u16);
        packet.put_u16(duplicates);
        for gap in &gaps {
            packet.put_u16(gap.start);
            packet.put_u16(gap.end);
        }
        packet.put(&chunk.value[12 + 4 * gaps.len()..]);
        packet.close();
    };
    rewrite(write, |again| {
        assert_eq!(Sack::parse(again), Ok(sack));
        assert_eq!(again.raw, chunk.raw);
    });
}

fn heartbeat_round_trip(chunk: &Chunk<'_>) {
    for info in Tlvs::new(chunk.value).map_while(Result::ok) {
        if let Some((path, nonce)) = Path::parse_beat_info(info.value) {
            assert_eq!(Path::parse_beat_info(&Path::beat_info(path, nonce)), Some((path, nonce)));
        }
    }
}

fn causes_round_trip(chunk: &Chunk<'_>) {
    let mut missing = Vec::new();
    let first = abort_reason(chunk);
    for cause in Tlvs::new(chunk.value).map_while(Result::ok) {
        let value = cause.value;
        let Some(typed) = typed_cause(cause.kind, value, &mut missing) else { continue };
        assert_eq!(typed.code(), cause.kind);
        let write =
            |packet: &mut PacketBuilder<'_>| packet.causes(chunk.kind, chunk.flags, std::slice::from_ref(&typed));
        rewrite(write, |again| {
            let read = Tlvs::new(again.value).next().expect("we wrote it").expect("we wrote it");
            let mut missing = Vec::new();
            assert_eq!(typed_cause(read.kind, read.value, &mut missing), Some(typed.clone()));
            if first == Some((cause.kind, value)) && !matches!(typed, Cause::InvalidStream(_)) {
                assert_eq!(abort_reason(again).map(|reason| reason.0), Some(cause.kind));
            }
        });
    }
}

/// A cause as it would have been written.
fn typed_cause<'a>(kind: u16, value: &'a [u8], missing: &'a mut Vec<u16>) -> Option<Cause<'a>> {
    Some(match kind {
        code::INVALID_STREAM_IDENTIFIER => Cause::InvalidStream(u16_at(value, 0)?),
        code::MISSING_MANDATORY_PARAMETER => {
            let list = value.get(4..)?.chunks_exact(2).map(|kind| u16::from_be_bytes([kind[0], kind[1]]));
            missing.extend(list);
            Cause::MissingParameter(missing)
        }
        code::STALE_COOKIE => Cause::StaleCookie(u32_at(value, 0)?),
        code::OUT_OF_RESOURCE => Cause::OutOfResource,
        code::UNRESOLVABLE_ADDRESS => Cause::UnresolvableAddress(value),
        code::UNRECOGNIZED_CHUNK_TYPE => Cause::UnrecognizedChunk(value),
        code::INVALID_MANDATORY_PARAMETER => Cause::InvalidMandatoryParameter,
        code::UNRECOGNIZED_PARAMETERS => Cause::UnrecognizedParameters(value),
        code::NO_USER_DATA => Cause::NoUserData(u32_at(value, 0)?),
        code::COOKIE_RECEIVED_WHILE_SHUTTING_DOWN => Cause::CookieWhileShuttingDown,
        code::RESTART_WITH_NEW_ADDRESSES => Cause::RestartWithNewAddresses(value),
        code::USER_INITIATED_ABORT => Cause::UserAbort(value),
        code::PROTOCOL_VIOLATION => Cause::ProtocolViolation(value),
        _ => return None,
    })
}
