//! Every chunk type in every state, with every kind of verification tag.

use crate::lab::*;
use esock_proto::*;

/// Nothing is sent, nothing changes, nobody is told.
const N: &str = "-";
/// §8.4, rule 8: ABORT that reflects the tag.
const A: &str = "R:ABORT()/T";
/// §8.4, rule 5: SHUTDOWN COMPLETE that reflects the tag.
const C: &str = "R:SHUTDOWN_COMPLETE/T";
/// SHUTDOWN ACK was waited for (Figure 3, §9.2).
const DONE: &str = "SHUTDOWN_COMPLETE > CLOSED ! Closed(Shutdown)";
/// SHUTDOWN COMPLETE was waited for (Figure 3, §9.2).
const GONE: &str = "> CLOSED ! Closed(Shutdown)";
/// §8.3: it is answered from COOKIE-ECHOED on; beyond SHUTDOWN-SENT that is up to us, and we do it as Linux does.
const H: &str = "HEARTBEAT_ACK";
/// §3.2: reported as "Unrecognized Chunk Type".
const U: &str = "ERROR(6)";

/// Sections, chunk, and what becomes of it by state: no endpoint, endpoint that listens, COOKIE-WAIT,
/// COOKIE-ECHOED, ESTABLISHED, SHUTDOWN-PENDING (data outstanding), SHUTDOWN-SENT, SHUTDOWN-RECEIVED (data
/// outstanding), SHUTDOWN-ACK-SENT.
type Row = (&'static str, &'static str, [&'static str; 9]);

/// The peer set the association up: everything with the tag that the stack gave itself. Where there is no
/// association the tag is as good as any.
#[rustfmt::skip]
const RIGHT_TAG: &[Row] = &[
    // §6: taken in three states; §5.1: the first one is acknowledged at once; §9.2: SHUTDOWN again.
    ("§6 §8.4", "DATA", [A, A, N, N, "SACK(1) ! Readable", "SACK(1) ! Readable", "SHUTDOWN(1)+SACK(1) ! Readable", N, N]),
    // §12.3: an INIT has tag 0; with another it is discarded.
    ("§12.3", "INIT", [N, N, N, N, N, N, N, N, N]),
    ("§5.1 §5.2.3", "INIT_ACK", [A, A, "COOKIE_ECHO > COOKIE-ECHOED", N, N, N, N, N, N]),
    ("§6.2.1", "SACK of nothing", [A, A, N, N, N, N, N, N, N]),
    ("§6 §9.2", "SACK of all", [A, A, N, N, N, "SHUTDOWN(0) > SHUTDOWN-SENT", N, "SHUTDOWN_ACK > SHUTDOWN-ACK-SENT", N]),
    ("§8.3", "HEARTBEAT", [A, A, N, H, H, H, H, H, H]),
    ("§5.4 §8.3", "HEARTBEAT_ACK", [A, A, N, N, N, N, N, N, N]),
    ("§9.1 §8.4", "ABORT", [N, N, "> CLOSED ! Closed(Refused)", "> CLOSED ! Closed(Refused)", "> CLOSED ! Closed(PeerAbort)", "> CLOSED ! Unacked Closed(PeerAbort)", "> CLOSED ! Closed(PeerAbort)", "> CLOSED ! Unacked Closed(PeerAbort)", "> CLOSED ! Closed(PeerAbort)"]),
    ("§8.5.1", "ABORT/T", [N, N, N, N, N, N, N, N, N]),
    // §9.2: both ends at once is SHUTDOWN ACK; one that comes again is answered again.
    ("§9.2", "SHUTDOWN of nothing", [A, A, N, N, "SHUTDOWN_ACK > SHUTDOWN-ACK-SENT ! ShutdownReceived", "> SHUTDOWN-RECEIVED", "SHUTDOWN_ACK > SHUTDOWN-ACK-SENT", N, "SHUTDOWN_ACK"]),
    ("§9.2 §6.2", "SHUTDOWN of all", [A, A, N, N, "SHUTDOWN_ACK > SHUTDOWN-ACK-SENT ! ShutdownReceived", "SHUTDOWN_ACK > SHUTDOWN-ACK-SENT", "SHUTDOWN_ACK > SHUTDOWN-ACK-SENT", "SHUTDOWN_ACK > SHUTDOWN-ACK-SENT", "SHUTDOWN_ACK"]),
    ("§8.5.1 §9.2", "SHUTDOWN_ACK", [C, C, C, C, N, N, DONE, N, DONE]),
    ("§3.3.10", "ERROR", [A, A, N, "! PeerError(1)", "! PeerError(1)", "! PeerError(1)", "! PeerError(1)", "! PeerError(1)", "! PeerError(1)"]),
    ("§5.2.6 §8.4", "ERROR stale", [N, N, N, "0:INIT > COOKIE-WAIT", N, N, N, N, N]),
    ("§5.1.5", "COOKIE_ECHO forged", [N, N, N, N, N, N, N, N, N]),
    ("§5.2.5 §8.4", "COOKIE_ACK", [N, N, N, "> ESTABLISHED ! Up", N, N, N, N, N]),
    ("§3.2 §8.4", "ECNE", [A, A, N, N, N, N, N, N, N]),
    ("§3.2 §8.4", "CWR", [A, A, N, N, N, N, N, N, N]),
    ("§8.5.1 §9.2", "SHUTDOWN_COMPLETE", [N, N, N, N, N, N, N, N, GONE]),
    ("§8.5.1", "SHUTDOWN_COMPLETE/T", [N, N, N, N, N, N, N, N, N]),
    ("§8.4 RFC 4820", "PAD", [A, A, N, N, N, N, N, N, N]),
    // Extensions that we do not have, and types that nobody has: by their high bits. While the association is
    // being set up nothing but the handshake may be sent (§5.1 C), and in COOKIE-WAIT there is no tag to send it with.
    ("§3.2 §8.4", "AUTH", [A, A, N, N, N, N, N, N, N]),
    ("§3.2 §8.4", "I-DATA", [A, A, N, N, U, U, U, U, U]),
    ("§3.2 §8.4", "ASCONF-ACK", [A, A, N, N, N, N, N, N, N]),
    ("§3.2 §8.4", "RE-CONFIG", [A, A, N, N, N, N, N, N, N]),
    ("§3.2 §8.4", "FORWARD-TSN", [A, A, N, N, U, U, U, U, U]),
    ("§3.2 §8.4", "ASCONF", [A, A, N, N, U, U, U, U, U]),
    ("§3.2 §8.4", "unknown 00", [A, A, N, N, N, N, N, N, N]),
    ("§3.2 §8.4", "unknown 01", [A, A, N, N, U, U, U, U, U]),
    ("§3.2 §8.4", "unknown 10", [A, A, N, N, N, N, N, N, N]),
    ("§3.2 §8.4", "unknown 11", [A, A, N, N, U, U, U, U, U]),
];

/// A tag that is nobody's: nothing but §8.4, and SHUTDOWN ACK while the association is set up (§8.5.1 E).
#[rustfmt::skip]
const WRONG: &[Row] = &[
    ("§8.5.1 §8.4", "SHUTDOWN_ACK", [C, C, C, C, N, N, N, N, N]),
    ("§12.3", "INIT", [N; 9]),
    ("§8.4", "ABORT", [N; 9]),
    ("§8.4", "ABORT/T", [N; 9]),
    ("§5.1.5", "COOKIE_ECHO forged", [N; 9]),
    ("§8.4", "ERROR stale", [N; 9]),
    ("§8.4", "COOKIE_ACK", [N; 9]),
    ("§8.4", "SHUTDOWN_COMPLETE", [N; 9]),
    ("§8.4", "SHUTDOWN_COMPLETE/T", [N; 9]),
    ("§8.5 §8.4", "*", [A, A, N, N, N, N, N, N, N]),
];

/// Tag 0: INIT alone has it (§8.5.1 A).
#[rustfmt::skip]
const ZERO: &[Row] = &[
    // §8.4 rule 3, §5.1; §5.2.1; §5.2.2; §9.2: in SHUTDOWN-ACK-SENT that chunk goes again.
    ("§5.1 §5.2 §9.2", "INIT", ["I:ABORT()", "I:INIT_ACK", "I:INIT_ACK", "I:INIT_ACK", "I:INIT_ACK", "I:INIT_ACK", "I:INIT_ACK", "I:INIT_ACK", "SHUTDOWN_ACK"]),
    ("§8.5.1", "*", [N; 9]),
];

/// The peer's own tag, which the stack puts into its packets, and the T bit: ABORT and SHUTDOWN COMPLETE
/// (§8.5.1 B, C). In COOKIE-WAIT that tag is not known yet. Where there is no association it is any tag.
#[rustfmt::skip]
const REFLECTED: &[Row] = &[
    ("§8.5.1", "ABORT/T", [N, N, N, "> CLOSED ! Closed(Refused)", "> CLOSED ! Closed(PeerAbort)", "> CLOSED ! Unacked Closed(PeerAbort)", "> CLOSED ! Closed(PeerAbort)", "> CLOSED ! Unacked Closed(PeerAbort)", "> CLOSED ! Closed(Shutdown)"]),
    ("§8.5.1", "SHUTDOWN_COMPLETE/T", [N, N, N, N, N, N, N, N, GONE]),
    // All others are as with a wrong tag; without the T bit these two are, too.
];

const CHUNKS: [&str; 31] = [
    "DATA",
    "INIT",
    "INIT_ACK",
    "SACK of nothing",
    "SACK of all",
    "HEARTBEAT",
    "HEARTBEAT_ACK",
    "ABORT",
    "ABORT/T",
    "SHUTDOWN of nothing",
    "SHUTDOWN of all",
    "SHUTDOWN_ACK",
    "ERROR",
    "ERROR stale",
    "COOKIE_ECHO forged",
    "COOKIE_ACK",
    "ECNE",
    "CWR",
    "SHUTDOWN_COMPLETE",
    "SHUTDOWN_COMPLETE/T",
    "PAD",
    "AUTH",
    "I-DATA",
    "ASCONF-ACK",
    "RE-CONFIG",
    "FORWARD-TSN",
    "ASCONF",
    "unknown 00",
    "unknown 01",
    "unknown 10",
    "unknown 11",
];

/// A chunk by its name in the tables, for where the stack stands.
fn build(name: &str, lab: &Lab, at: At) -> Vec<u8> {
    let outstanding = u32::from(matches!(at, At::ShutdownPending | At::ShutdownReceived));
    let nothing = lab.tsn.wrapping_sub(1);
    let all = nothing.wrapping_add(outstanding);
    match name {
        "DATA" => data(1, b"x"),
        "INIT" => init(INIT, NEW_TAG, &[]),
        "INIT_ACK" => init(INIT_ACK, PEER_TAG, &[0, 7, 0, 8, 1, 2, 3, 4]),
        "SACK of nothing" => sack(nothing, PEER_RWND, &[], &[]),
        "SACK of all" => sack(all, PEER_RWND, &[], &[]),
        "HEARTBEAT" => chunk(HEARTBEAT, 0, &[0, 1, 0, 9, 1, 2, 3, 4, 5]),
        "HEARTBEAT_ACK" => chunk(HEARTBEAT_ACK, 0, &[0, 1, 0, 16, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]),
        "ABORT" => chunk(ABORT, 0, &[]),
        "ABORT/T" => chunk(ABORT, 1, &[]),
        "SHUTDOWN of nothing" => shutdown(nothing),
        "SHUTDOWN of all" => shutdown(all),
        "SHUTDOWN_ACK" => chunk(SHUTDOWN_ACK, 0, &[]),
        "ERROR" => chunk(ERROR, 0, &[0, 1, 0, 8, 0, 9, 0, 0]),
        "ERROR stale" => chunk(ERROR, 0, &[0, 3, 0, 8, 0, 0, 0, 9]),
        "COOKIE_ECHO forged" => chunk(COOKIE_ECHO, 0, &[7; 120]),
        "COOKIE_ACK" => chunk(COOKIE_ACK, 0, &[]),
        "ECNE" => chunk(12, 0, &[0; 4]),
        "CWR" => chunk(13, 0, &[0; 4]),
        "SHUTDOWN_COMPLETE" => chunk(SHUTDOWN_COMPLETE, 0, &[]),
        "SHUTDOWN_COMPLETE/T" => chunk(SHUTDOWN_COMPLETE, 1, &[]),
        "PAD" => chunk(0x84, 0, &[0; 8]),
        "AUTH" => chunk(15, 0, &[0; 24]),
        "I-DATA" => chunk(64, 3, &[0; 17]),
        "ASCONF-ACK" => chunk(128, 0, &[0; 4]),
        "RE-CONFIG" => chunk(130, 0, &[0; 12]),
        "FORWARD-TSN" => chunk(192, 0, &[0; 4]),
        "ASCONF" => chunk(193, 0, &[0; 12]),
        "unknown 00" => chunk(0x3e, 0, &[1, 2, 3]),
        "unknown 01" => chunk(0x7e, 0, &[1, 2, 3]),
        "unknown 10" => chunk(0xbe, 0, &[1, 2, 3]),
        "unknown 11" => chunk(0xfe, 0, &[1, 2, 3]),
        other => panic!("no chunk {other}"),
    }
}

/// What must be the same when nothing happened: everything but the count of what was looked at, and the time.
fn standing(lab: &Lab) -> Option<AssociationStats> {
    let mut stats = lab.stack.association(lab.now, lab.assoc?)?;
    stats.stalled_for = std::time::Duration::ZERO;
    stats.counters = Counters::default();
    stats.paths.iter_mut().for_each(|path| path.packets_received = 0);
    Some(stats)
}

/// The tags that a chunk comes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    Right,
    Wrong,
    Zero,
    Reflected,
}

fn expected(tag: Tag, name: &str) -> &'static Row {
    let find = |rows: &'static [Row]| {
        let row = rows.iter().find(|row| row.1 == name);
        row.or_else(|| rows.iter().find(|row| row.1 == "*"))
    };
    let row = match tag {
        Tag::Right => find(RIGHT_TAG),
        Tag::Wrong => find(WRONG),
        Tag::Zero => find(ZERO),
        Tag::Reflected => find(REFLECTED).or_else(|| find(WRONG)),
    };
    row.unwrap_or_else(|| panic!("no row for {name} with {tag:?}"))
}

fn check(tag: Tag, table: &'static str) {
    let mut rows = Rows::of(table);
    for name in CHUNKS {
        let (section, _, cells) = expected(tag, name);
        for (at, cell) in At::ALL.into_iter().zip(cells) {
            for role in [Role::Client, Role::Server] {
                let mut lab = Lab::at(at, role, quiet());
                let value = match tag {
                    Tag::Right if at.state().is_some() => lab.tag,
                    Tag::Right | Tag::Wrong => WRONG_TAG,
                    Tag::Zero => 0,
                    Tag::Reflected => PEER_TAG,
                };
                let built = build(name, &lab, at);
                let before = standing(&lab);
                lab.deliver(value, &[built]);
                let got = lab.outcome();
                // A reflected tag is the peer's.
                let wanted = if tag == Tag::Reflected { cell.replace("R:", "") } else { (*cell).to_owned() };
                let row = format!("{section}: {name} with {tag:?} tag in {at:?} as {role:?}");
                if *cell == N {
                    rows.check(&row, (got, standing(&lab)), (wanted, before));
                } else {
                    rows.check(&row, got, wanted);
                }
            }
        }
    }
    rows.end(CHUNKS.len() * At::ALL.len() * 2);
}

// covers: RFC 9260 §4, §8.5, §6-2, §6-3, §6-4, §6-5, §6-6, §6-7, §8.3-2, §9.1-5, §9.1-7, §9.1-8, §8.5.1-B3, §8.5.1-B4
// covers: RFC 9260 §8.5.1-C5, §8.5.1-C6, §5.2.5-1, §5.2.6-2, §5.2.3-1, §3.3.7-4, §9.2-28, §9.2-9, §9.2-23, §9.2-30
// covers: RFC 9260 §9.2-21, §9.2-29, §3.3.6-1, §3.2-T00, §3.2-T01, §3.2-T10, §3.2-T11, §12.3-3
#[test]
fn every_chunk_in_every_state_with_the_right_tag_does_what_the_text_says() {
    check(Tag::Right, "chunk by state, right tag");
}

// covers: RFC 9260 §8.5-2, §8.5-3, §3.3.7-3, §8.5.1-B4, §8.5.1-C5, §9.2-27, §8.4-8b
#[test]
fn every_chunk_in_every_state_with_a_wrong_tag_changes_nothing() {
    check(Tag::Wrong, "chunk by state, wrong tag");
}

// covers: RFC 9260 §8.5.1-A2, §8.5.1-A3, §5.2.2-1, §9.2-26, §8.4-3a, §8.4-3b, §5.2.1-12, §5.2.2-10
#[test]
fn every_chunk_in_every_state_with_tag_zero_is_ignored_unless_it_is_an_init() {
    check(Tag::Zero, "chunk by state, tag zero");
}

// covers: RFC 9260 §8.5.1-B3, §8.5.1-C5, §8.5.1-B4, §8.5-3
#[test]
fn every_chunk_in_every_state_with_a_reflected_tag_is_ignored_but_for_abort_and_shutdown_complete() {
    check(Tag::Reflected, "chunk by state, reflected tag");
}
