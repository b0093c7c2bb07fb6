//! The wire parser: what parses and is written again parses equal.

use esock_proto::fuzzing;

/// See the module.
pub fn run(data: &[u8]) {
    play(data);
}

/// The first byte says what the rest is: a packet, or the body of a cookie. Returns how many chunks, or cookies,
/// were read.
pub fn play(data: &[u8]) -> usize {
    match data.split_first() {
        Some((0, packet)) => fuzzing::packet_round_trip(packet),
        Some((1, body)) => usize::from(fuzzing::cookie_round_trip(body)),
        // As if it had come over the wire; the header is filled in, so that a mutation need not find it.
        _ => {
            let mut packet = vec![0x13, 0x88, 0x76, 0xc0, 0, 0, 0, 1, 0, 0, 0, 0];
            packet.extend_from_slice(data.get(1..).unwrap_or_default());
            fuzzing::packet_round_trip(&packet)
        }
    }
}
