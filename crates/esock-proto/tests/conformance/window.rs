//! The sender and the peer's window: rule A of §6.1 and §6.2.1.

use crate::lab::*;
use esock_proto::*;
use std::time::Duration;

// covers: RFC 9260 §6.2.1-A, §6.2.1-B, §6.2.1-C, §6.2.1-D1, §6.2.1-D2, §6.2.1-D3
#[test]
fn rwnd_is_what_was_announced_less_what_is_outstanding() {
    let mut rows = Rows::of("§6.2.1, rwnd");
    let mut lab = Lab::up(Role::Client, quiet());
    let rwnd = |lab: &Lab| lab.stats().peer_rwnd;
    // A: from INIT ACK.
    rows.check("A", rwnd(&lab), PEER_RWND);
    // B: less each chunk's user data when it is sent.
    (0..4).for_each(|_| lab.send(0, &[1; 1300]));
    lab.take();
    rows.check("B: 4 * 1300", rwnd(&lab), PEER_RWND - 5200);
    // D ii: the new one less what is outstanding still.
    lab.ack_with(1, 50_000, &[]);
    rows.check("D ii: 3 * 1300", rwnd(&lab), 50_000 - 3900);
    // Gap acks are not outstanding.
    lab.ack_with(1, 50_000, &[(3, 3)]);
    rows.check("D ii: 2 * 1300", rwnd(&lab), 50_000 - 2600);
    // D i: an old one changes nothing.
    lab.ack_with(0, 10, &[]);
    rows.check("D i", rwnd(&lab), 50_000 - 2600);
    // D iii: taken back, and outstanding again.
    lab.ack_with(1, 50_000, &[]);
    rows.check("D iii", rwnd(&lab), 50_000 - 3900);
    // C: marked for retransmission by T3: given back; one packet of the three goes again.
    lab.run(ms(1100));
    rows.check("C", rwnd(&lab), 50_000 - 1300);
    // Never below zero.
    lab.ack_with(1, 100, &[]);
    rows.check("not below zero", rwnd(&lab), 0);
    lab.ack_with(4, 100, &[]);
    rows.check("all acknowledged", rwnd(&lab), 100);
    rows.end(9);
}

// covers: RFC 9260 §12.4-5, §6.2.1-D1
#[test]
fn a_sack_of_what_was_never_sent_ends_the_association_and_an_old_one_is_dropped() {
    let mut rows = Rows::of("§12.4, §6.2.1 D i");
    // Chunk 1 is acknowledged, 2 and 3 are in flight. Up to which chunk the SACK says that all arrived.
    let aborted = "ABORT(13) > CLOSED ! Unacked Unacked Closed(ProtocolViolation:13)";
    let table = [
        (0x8000_0003, "-"),
        (0xffff_ffff, "-"),
        (0, "-"),
        (1, "-"),
        (2, "-"),
        (3, "-"),
        (4, aborted),
        (1000, aborted),
        (0x7fff_ffff, aborted),
    ];
    for (number, expected) in table {
        let mut lab = Lab::warm(quiet());
        lab.send(0, &[1; 1300]);
        lab.send(0, &[1; 1300]);
        lab.take();
        lab.ack(number, &[]);
        rows.check(&format!("SACK {number:#x}"), lab.outcome(), expected.to_owned());
    }
    rows.end(9);
}

// covers: RFC 9260 §6.1-A1, §6.1-A2, §6.1-A3, §6.1-A9, §6.1-11
#[test]
fn nothing_new_is_sent_beyond_the_window_while_something_is_outstanding() {
    let mut rows = Rows::of("§6.1 A");
    // Announced with two chunks of 1300 bytes outstanding; new messages of 1000 bytes that leave.
    for (announced, leave) in
        [(0, 0), (2600, 0), (2601, 0), (3599, 0), (3600, 1), (3601, 1), (4599, 1), (4600, 2), (9000, 6)]
    {
        let mut lab = Lab::warm(quiet_with(|config| config.max_burst = 20));
        (0..3).for_each(|_| lab.send(0, &[1; 1300]));
        lab.take();
        lab.ack_with(2, announced, &[]);
        lab.take();
        (0..10).for_each(|_| lab.send(0, &[2; 1000]));
        let sent = lab.take();
        let chunks = sent.iter().flat_map(|packet| &packet.chunks).filter(|chunk| chunk.kind == DATA).count();
        // Where cwnd of 5764 bytes (4404 + 1360; 3 * 1316 were in flight, which is not full: 4404) allows it.
        rows.check(&format!("a_rwnd {announced}"), chunks, std::cmp::min(leave, 2));
    }
    rows.end(9);
}

/// Everything acknowledged, the window shut, and five messages that wait.
fn shut(config: Config) -> (Lab, Time) {
    let mut lab = Lab::warm(config);
    lab.ack_with(1, 0, &[]);
    (0..5).for_each(|_| lab.send(0, &[1; 1000]));
    let start = lab.now;
    (lab, start)
}

fn times(sent: &[(u64, String)]) -> Vec<u64> {
    assert!(sent.iter().all(|(_, line)| line == "DATA(2)"), "one and the same chunk: {sent:?}");
    sent.iter().map(|(at, _)| *at).collect()
}

// covers: RFC 9260 §6.1-A4, §6.1-A5, §6.1-A6, §6.1-A7, §6.1-A3
#[test]
fn a_shut_window_is_probed_after_a_timeout_and_then_at_growing_intervals() {
    let mut rows = Rows::of("§6.1 A, zero window probes");
    // RTO 1 s: the first probe after 1 s, then T3-rtx: 1, 2, 4, 8 s later. The peer answers each and takes nothing.
    let (mut lab, start) = shut(quiet());
    let mut got = Vec::new();
    for _ in 0..40 {
        let sent = lab.timed(start, ms(1000));
        if !sent.is_empty() {
            lab.ack_with(1, 0, &[]);
        }
        got.extend(sent);
    }
    rows.check("answered", times(&got), vec![1000, 2000, 4000, 8000, 16_000, 32_000]);
    let stats = lab.stats();
    // Answered probes are no errors, and cwnd does not change.
    rows.check("no errors", (stats.error_count, stats.paths[0].error_count), (0, 0));
    rows.check("no failure", stats.paths[0].state, PathState::Active);
    rows.check("cwnd", stats.paths[0].cwnd, 4404);
    rows.check("counted", stats.counters.window_probes, 1);
    // The window opens: at once, not when the timer expires; the probe that was dropped is first.
    lab.ack_with(1, 50_000, &[]);
    let line = lab.line();
    rows.check("open", line, "DATA(2) DATA(3) DATA(4) DATA(5) DATA(6)".to_owned());
    // Not answered: errors, as for all data (§8.1). The first error comes a second after the first probe.
    let (mut lab, start) = shut(quiet());
    let got = lab.timed(start, ms(15_500));
    rows.check("not answered", times(&got), vec![1000, 2000, 4000, 8000]);
    rows.check("errors", lab.stats().error_count, 3);
    rows.end(8);
}

// covers: RFC 9260 §6.3.3-E3, §6.1-A3
#[test]
fn what_a_shut_window_has_dropped_goes_again_one_packet_at_each_timeout() {
    let mut rows = Rows::of("§6.3.3 E3, §6.1 A");
    let mut lab = Lab::warm(quiet());
    let start = lab.now;
    (0..4).for_each(|_| lab.send(0, &[1; 1000]));
    lab.take();
    // All four are on their way when the peer shuts its window and takes none of them. It answers each timeout.
    lab.ack_with(1, 0, &[]);
    let mut got = Vec::new();
    for _ in 0..16 {
        let sent = lab.timed(start, ms(1000));
        if !sent.is_empty() {
            lab.ack_with(1, 0, &[]);
        }
        got.extend(sent);
    }
    rows.check("one packet", times(&got), vec![1000, 3000, 7000, 15_000]);
    let stats = lab.stats();
    rows.check("no errors", (stats.error_count, stats.paths[0].error_count), (0, 0));
    rows.check("cwnd", stats.paths[0].cwnd, 4404);
    // The window opens: all of them at once.
    lab.ack_with(1, 50_000, &[]);
    let line = lab.line();
    rows.check("open", line, "DATA(2) DATA(3) DATA(4) DATA(5)".to_owned());
    rows.end(4);
}

// covers: RFC 9260 §6.1-A6, §6.1-A4
#[test]
fn a_window_update_or_new_data_neither_hastens_nor_loses_the_probe() {
    let mut rows = Rows::of("§6.1 A, the timer of the probe");
    // Another SACK that says zero does not begin anew.
    let (mut lab, start) = shut(quiet());
    lab.run(ms(600));
    lab.ack_with(1, 0, &[]);
    rows.check("zero again", times(&lab.timed(start, ms(900))), vec![1000]);
    // More messages do not, either.
    let (mut lab, start) = shut(quiet());
    lab.run(ms(600));
    lab.send(0, b"more");
    rows.check("more data", times(&lab.timed(start, ms(900))), vec![1000]);
    // An update sends at once, and no probe follows.
    let (mut lab, start) = shut(quiet());
    lab.run(ms(600));
    lab.ack_with(1, 50_000, &[]);
    let sent = lab.take();
    // 4 * 1016 = 4064 are below cwnd of 4404: the fifth may go.
    rows.check("opened", lab.render_all(&sent), "DATA(2) DATA(3) DATA(4) DATA(5) DATA(6)".to_owned());
    lab.ack_with(6, 0, &[]);
    rows.check("opened: nothing more", lab.timed(start, Duration::from_secs(9)), vec![]);
    // Opened and shut again: a second from then on.
    let mut lab = Lab::warm(quiet());
    lab.ack_with(1, 0, &[]);
    lab.run(ms(5000));
    let start = lab.now;
    lab.send(0, &[1; 1000]);
    rows.check("long shut", times(&lab.timed(start, ms(1500))), vec![1000]);
    // A probe that is taken, the window still being shut: the next waits again.
    let (mut lab, start) = shut(quiet_with(|config| config.rto_max = ms(1000)));
    let sent = lab.timed(start, ms(1100));
    rows.check("a probe", times(&sent), vec![1000]);
    lab.ack_with(2, 0, &[]);
    let sent = lab.timed(start, ms(1500));
    rows.check("the next", sent.first().cloned(), Some((2100, "DATA(3)".to_owned())));
    rows.end(7);
}

// covers: RFC 9260 §9.2-24, §6.1-A4
#[test]
fn a_shutdown_waits_for_a_shut_window_too() {
    let (mut lab, start) = shut(quiet());
    lab.stack.shutdown(lab.now, lab.id()).expect("there");
    assert_eq!(lab.state(), Some(State::ShutdownPending));
    assert_eq!(times(&lab.timed(start, ms(1500))), [1000]);
    lab.ack_with(2, 50_000, &[]);
    let sent = lab.take();
    assert!(sent.iter().all(|packet| packet.has(DATA)) && !sent.is_empty());
    lab.ack_with(6, 50_000, &[]);
    assert_eq!(lab.line(), "SHUTDOWN(1)");
    println!("conformance: §6.1 A, shutdown: 4 rows");
}
