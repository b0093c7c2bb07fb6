//! Bundling (§6.10). What every packet of the stack must obey is checked wherever one is read: see
//! `hand::check_bundle`. Here is what it makes of packets, and what it sends.

use crate::lab::*;

fn heartbeat() -> Vec<u8> {
    chunk(HEARTBEAT, 0, &[0, 1, 0, 4])
}

fn plain(kind: u8) -> Vec<u8> {
    chunk(kind, 0, &[])
}

// covers: RFC 9260 §5.1, §6.10-6, §6.10-7, §3.2-T00, §3.2-T01, §3.2-T10, §3.2-T11, §8.5.1-A3, §12.3-3, §3.3.10.6-1
#[test]
fn received_bundles_are_processed_in_order_and_forbidden_ones_are_discarded() {
    let init_ack = || init(INIT_ACK, PEER_TAG, &[0, 7, 0, 8, 1, 2, 3, 4]);
    // A chunk that says it is longer than what is left of its packet.
    let partial = || vec![DATA, 3, 0, 40, 0, 0, 3, 232, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
    let table: Vec<(At, &str, Vec<Vec<u8>>, &str)> = vec![
        // INIT ACK comes alone, in whatever order.
        (At::CookieWait, "INIT ACK, DATA", vec![init_ack(), data(1, b"x")], "-"),
        (At::CookieWait, "DATA, INIT ACK", vec![data(1, b"x"), init_ack()], "-"),
        (At::CookieWait, "INIT ACK, PAD", vec![init_ack(), chunk(0x84, 0, &[0; 8])], "-"),
        // COOKIE ACK is followed by what it allows; what stands before it comes too early.
        (
            At::CookieEchoed,
            "COOKIE ACK, DATA",
            vec![plain(COOKIE_ACK), data(1, b"x")],
            "SACK(1) > ESTABLISHED ! Up Readable",
        ),
        (At::CookieEchoed, "DATA, COOKIE ACK", vec![data(1, b"x"), plain(COOKIE_ACK)], "> ESTABLISHED ! Up"),
        // A COOKIE ECHO is first or none (§5.1 C), and ends the packet.
        (
            At::Established,
            "HEARTBEAT, COOKIE ECHO, DATA",
            vec![heartbeat(), chunk(COOKIE_ECHO, 0, &[1; 64]), data(1, b"x")],
            "HEARTBEAT_ACK",
        ),
        (At::Established, "INIT between", vec![heartbeat(), init(INIT, NEW_TAG, &[]), data(1, b"x")], "HEARTBEAT_ACK"),
        // Control chunks behind DATA are not refused: they are processed in their order.
        (At::Established, "DATA, HEARTBEAT", vec![data(1, b"x"), heartbeat()], "HEARTBEAT_ACK+SACK(1) ! Readable"),
        (At::Established, "HEARTBEAT, DATA", vec![heartbeat(), data(1, b"x")], "HEARTBEAT_ACK+SACK(1) ! Readable"),
        (At::Established, "DATA, DATA, DATA", vec![data(1, b"x"), data(2, b"x"), data(3, b"x")], "SACK(3) ! Readable"),
        (
            At::Established,
            "DATA with falling TSNs",
            vec![data(3, b"x"), data(2, b"x"), data(1, b"x")],
            "SACK(3) ! Readable",
        ),
        // DATA that stands before SHUTDOWN is taken and acknowledged; what stands behind it is discarded (§6).
        (
            At::Established,
            "DATA, SHUTDOWN",
            vec![data(1, b"x"), shutdown(u32::MAX)],
            "SHUTDOWN_ACK+SACK(1) > SHUTDOWN-ACK-SENT ! ShutdownReceived Readable",
        ),
        (
            At::ShutdownSent,
            "DATA, SHUTDOWN ACK",
            vec![data(1, b"x"), plain(SHUTDOWN_ACK)],
            "SHUTDOWN_COMPLETE > CLOSED ! Readable Closed(Shutdown)",
        ),
        (
            At::ShutdownSent,
            "SHUTDOWN ACK, DATA",
            vec![plain(SHUTDOWN_ACK), data(1, b"x")],
            "SHUTDOWN_COMPLETE > CLOSED ! Closed(Shutdown)",
        ),
        // It comes alone, as INIT and INIT ACK do.
        (At::ShutdownAckSent, "SHUTDOWN COMPLETE, DATA", vec![plain(SHUTDOWN_COMPLETE), data(1, b"x")], "-"),
        (At::ShutdownAckSent, "DATA, SHUTDOWN COMPLETE", vec![data(1, b"x"), plain(SHUTDOWN_COMPLETE)], "-"),
        (At::Established, "ABORT, HEARTBEAT", vec![plain(ABORT), heartbeat()], "> CLOSED ! Closed(PeerAbort)"),
        // A partial chunk is dropped; what stands before it is not.
        (At::Established, "HEARTBEAT, a part of DATA", vec![heartbeat(), partial()], "HEARTBEAT_ACK"),
        (At::Established, "DATA, a part of DATA", vec![data(1, b"x"), partial()], "SACK(1) ! Readable"),
        (At::Established, "a part of DATA", vec![partial()], "-"),
        // §3.2: unknown types by their high bits: 00 stops, 01 stops and reports, 10 goes on, 11 goes on and reports.
        (At::Established, "00, DATA", vec![plain(0x3e), data(1, b"x")], "-"),
        (At::Established, "01, DATA", vec![plain(0x7e), data(1, b"x")], "ERROR(6)"),
        (At::Established, "10, DATA", vec![plain(0xbe), data(1, b"x")], "SACK(1) ! Readable"),
        (At::Established, "11, DATA", vec![plain(0xfe), data(1, b"x")], "ERROR(6)+SACK(1) ! Readable"),
        (At::Established, "DATA, 00, DATA", vec![data(1, b"x"), plain(0x3e), data(2, b"x")], "SACK(1) ! Readable"),
        // Two reports go together; each quotes its chunk.
        (At::Established, "11, 11", vec![plain(0xfe), plain(0xfd)], "ERROR(6)+ERROR(6)"),
    ];
    let mut rows = Rows::of("§6.10, received");
    for (at, name, mut chunks, expected) in table {
        let mut lab = Lab::at(at, Role::Client, quiet());
        let nothing = lab.tsn.wrapping_sub(1);
        chunks.iter_mut().filter(|built| built[0] == SHUTDOWN).for_each(|built| *built = shutdown(nothing));
        lab.deliver(lab.tag, &chunks);
        rows.check(&format!("{at:?}: {name}"), lab.outcome(), expected.to_owned());
    }
    // INIT comes alone (§8.5.1 A: else the packet is discarded), in every state.
    for at in At::ALL {
        for chunks in [vec![init(INIT, NEW_TAG, &[]), data(1, b"x")], vec![data(1, b"x"), init(INIT, NEW_TAG, &[])]] {
            let mut lab = Lab::at(at, Role::Client, quiet());
            lab.deliver(0, &chunks);
            rows.check(&format!("{at:?}: INIT is not alone"), lab.outcome(), "-".to_owned());
        }
    }
    rows.end(44);
}

// covers: RFC 9260 §6.1, §6.10-1, §6.9-2, §6.9-8, §6.9-10, §6.10-4
#[test]
fn messages_share_a_packet_as_long_as_it_fits_the_path_mtu() {
    // 1400 bytes of MTU leave 1372 for the packet and 1360 for its chunks; a DATA chunk has 16 bytes of header.
    let table: [(&[usize], &str); 7] = [
        (&[664, 664], "DATA(2)+DATA(3)"),
        (&[665, 664], "DATA(2) DATA(3)"),
        (&[1344], "DATA(2)"),
        // One byte too many: fragmented.
        (&[1345], "DATA(2) DATA(3)"),
        // 68 chunks of 20 bytes fill 1360.
        (&[4; 3], "DATA(2)+DATA(3)+DATA(4)"),
        (&[1, 2, 3, 4], "DATA(2)+DATA(3)+DATA(4)+DATA(5)"),
        // 1340 and 20 bytes fill the packet to the last one.
        (&[1324, 4], "DATA(2)+DATA(3)"),
    ];
    let mut rows = Rows::of("§6.10, sizes");
    for (messages, expected) in table {
        let mut lab = Lab::warm(quiet());
        messages.iter().for_each(|len| lab.send(0, &vec![7; *len]));
        let sent = lab.take();
        let name = format!("{messages:?}");
        rows.check(&name, lab.render_all(&sent), expected.to_owned());
        rows.check(&name, sent.iter().all(|packet| packet.size <= 1372), true);
    }
    rows.end(14);
}

// covers: RFC 9260 §6.1-10, §6.10-3, §6.2-11
#[test]
fn a_sack_that_is_pending_travels_with_data_and_control_chunks_come_first() {
    let mut rows = Rows::of("§6.1, SACK with DATA");
    // One packet of DATA: its SACK is delayed, and goes along with what leaves before.
    let mut lab = Lab::warm(quiet());
    lab.deliver(lab.tag, &[data(2, b"x")]);
    let sent = lab.take();
    rows.check("delayed", lab.render_all(&sent), String::new());
    lab.send(0, b"x");
    let sent = lab.take();
    rows.check("with DATA", lab.render_all(&sent), "SACK(2)+DATA(2)".to_owned());
    // Not a second time when the delay is over.
    let sent = lab.run(ms(300));
    rows.check("once", lab.render_all(&sent), String::new());
    // With an answer to a HEARTBEAT and new DATA: control first.
    let mut lab = Lab::warm(quiet());
    lab.send(0, b"x");
    lab.deliver(lab.tag, &[heartbeat(), data(2, b"x"), data(3, b"x")]);
    lab.deliver(lab.tag, &[data(4, b"x")]);
    let sent = lab.take();
    rows.check("all three", lab.render_all(&sent), "HEARTBEAT_ACK+SACK(4)+DATA(2)".to_owned());
    rows.end(4);
}

// covers: RFC 9260 §12.4-2, §5.1-8
#[test]
fn one_packet_is_answered_with_one_packet_at_most() {
    let mut rows = Rows::of("§12.4, answers");
    let beats = |count: usize, len: usize| {
        vec![chunk(HEARTBEAT, 0, &[&[0, 1][..], &(4 + len as u16).to_be_bytes(), &vec![7; len]].concat()); count]
    };
    let unknown = |count: usize, len: usize| vec![chunk(0xfe, 0, &vec![7; len]); count];
    let table: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("1 HEARTBEAT", beats(1, 100)),
        ("12 HEARTBEATs", beats(12, 100)),
        ("100 HEARTBEATs", beats(100, 100)),
        ("50 unknown chunks", unknown(50, 0)),
        // Each report is longer than what it reports.
        ("14 unknown chunks that fill the packet", unknown(14, 90)),
        ("large ones of both", [beats(3, 600), unknown(3, 600)].concat()),
        ("one larger than the path's MTU", beats(1, 5000)),
        ("HEARTBEATs, then DATA", [beats(12, 100), vec![data(2, b"x"), data(4, b"x")]].concat()),
        ("HEARTBEATs, then SHUTDOWN", [beats(12, 100), vec![shutdown(0)]].concat()),
    ];
    for (name, mut chunks) in table {
        let mut lab = Lab::warm(quiet());
        let acked = lab.tsn;
        chunks.iter_mut().filter(|built| built[0] == SHUTDOWN).for_each(|built| *built = shutdown(acked));
        lab.deliver(lab.tag, &chunks);
        let sent = lab.take();
        // "This rule does not apply to a SACK chunk."
        let others = sent.iter().filter(|packet| packet.chunks.iter().any(|chunk| chunk.kind != SACK)).count();
        rows.check(name, others, 1);
    }
    // A report that does not fit beside COOKIE ECHO does not follow it (§5.1 C).
    let mut lab = Lab::at(At::CookieWait, Role::Client, quiet());
    let cookie = [&[0, 7, 5, 20][..], &[9; 1296]].concat();
    lab.deliver(lab.tag, &[init(INIT_ACK, PEER_TAG, &[cookie, [&[0xff, 1, 0, 100][..], &[1; 96]].concat()].concat())]);
    rows.check("beside COOKIE ECHO", lab.line(), "COOKIE_ECHO".to_owned());
    rows.end(10);
}
