//! The retransmission timer (§6.3). Every number is worked out in its comment.

use crate::lab::*;
use esock_proto::*;
use std::time::Duration;

/// RTO.Min out of the way.
fn fine() -> Config {
    quiet_with(|config| config.rto_min = ms(1))
}

/// A path's SRTT, RTTVAR and RTO in nanoseconds.
fn timing(lab: &Lab) -> (Option<u128>, u128, u128) {
    let path = &lab.stats().paths[0];
    (path.srtt.map(|srtt| srtt.as_nanos()), path.rttvar.as_nanos(), path.rto.as_nanos())
}

fn at(at: u64, line: &str) -> (u64, String) {
    (at, line.to_owned())
}

// covers: RFC 9260 §6.3.1
// covers: RFC 9260 §6.3.1-C1, §6.3.1-C2, §6.3.1-C3
#[test]
fn measurements_give_the_numbers_of_c1_to_c3() {
    let mut rows = Rows::of("§6.3.1 C1 to C3");
    // The stack did not send the INIT: nothing has been measured.
    let mut lab = Lab::up(Role::Server, fine());
    rows.check("C1: RTO.Initial", timing(&lab), (None, 0, 1_000_000_000));
    // Round trip in ms; SRTT, RTTVAR, RTO in ns.
    let table = [
        // C2: SRTT = R, RTTVAR = R / 2, RTO = 100 + 4 * 50.
        (100, 100_000_000, 50_000_000, 300_000_000),
        // C3: RTTVAR = 3/4 * 50 + 1/4 * |100 - 200| = 62.5; SRTT = 7/8 * 100 + 1/8 * 200 = 112.5; + 4 * 62.5.
        (200, 112_500_000, 62_500_000, 362_500_000),
        // RTTVAR = 46.875 + 1/4 * 12.5 = 50; SRTT = 98.4375 + 12.5 = 110.9375; + 200.
        (100, 110_937_500, 50_000_000, 310_937_500),
        // RTTVAR = 37.5 + 1/4 * 9.0625 = 39.765625; SRTT = 97.0703125 + 15 = 112.0703125; + 159.0625.
        (120, 112_070_312, 39_765_625, 271_132_812),
    ];
    for (number, (round_trip, srtt, rttvar, rto)) in (1..).zip(table) {
        lab.send(0, b"x");
        lab.take();
        lab.run(ms(round_trip));
        lab.ack(number, &[]);
        rows.check(&format!("round trip {round_trip} ms"), timing(&lab), (Some(srtt), rttvar, rto));
    }
    rows.end(5);
}

// covers: RFC 9260 §6.3.1-C6, §6.3.1-C7, §6.3.1-G1
#[test]
fn the_timeout_keeps_its_bounds_and_a_variation_of_zero_is_the_granularity() {
    let mut rows = Rows::of("§6.3.1 C6, C7, G1");
    // RTO.Min, RTO.Max, round trip, RTO; in ms.
    let table = [
        // C6: 100 + 4 * 50 = 300 is rounded up.
        (1000, 60_000, 100, 1000),
        (300, 60_000, 100, 300),
        (301, 60_000, 100, 301),
        // C7: 400 + 4 * 200 = 1200 is cut.
        (1, 1000, 400, 1000),
        (1, 1200, 400, 1200),
        (1, 1199, 400, 1199),
    ];
    for (min, max, round_trip, expected) in table {
        let config = quiet_with(|config| (config.rto_min, config.rto_max) = (ms(min), ms(max)));
        let mut lab = Lab::up(Role::Server, config);
        lab.send(0, b"x");
        lab.take();
        lab.run(ms(round_trip));
        lab.ack(1, &[]);
        let rto = lab.stats().paths[0].rto;
        rows.check(&format!("min {min}, max {max}, round trip {round_trip}"), rto, ms(expected));
    }
    // G1: R = 0, RTTVAR = 0 becomes G, and RTO = 0 + 4 * G.
    let mut lab = Lab::up(Role::Server, quiet_with(|config| config.rto_min = Duration::from_nanos(1)));
    lab.send(0, b"x");
    lab.take();
    lab.ack(1, &[]);
    let (srtt, granularity, rto) = timing(&lab);
    rows.check("G1", (srtt, granularity > 0, rto), (Some(0), true, 4 * granularity));
    rows.end(7);
}

// covers: RFC 9260 §6.3.1
// covers: RFC 9260 §6.3.1-C4a, §6.3.1-C4b
#[test]
fn one_round_trip_is_measured_once() {
    let mut rows = Rows::of("§6.3.1 C4");
    let mut lab = Lab::up(Role::Server, fine());
    for _ in 0..3 {
        lab.send(0, &[1; 1300]);
    }
    rows.check("three packets", lab.line(), "DATA(1) DATA(2) DATA(3)".to_owned());
    lab.run(ms(100));
    lab.ack(1, &[]);
    rows.check("the first is measured", timing(&lab).0, Some(100_000_000));
    lab.run(ms(500));
    lab.ack(3, &[]);
    rows.check("the others are not", timing(&lab).0, Some(100_000_000));
    // The next round trip is: 7/8 * 100 + 1/8 * 20 = 90.
    lab.send(0, b"x");
    lab.take();
    lab.run(ms(20));
    lab.ack(4, &[]);
    rows.check("the next one", timing(&lab).0, Some(90_000_000));
    rows.end(4);
}

// covers: RFC 9260 §6.3.1-C5a, §6.3.3-E2, §6.3.3-E4c
#[test]
fn what_was_sent_again_measures_nothing_and_the_timeout_stays_backed_off_until_something_does() {
    let mut rows = Rows::of("§6.3.1 C5, §6.3.3 E2");
    let mut lab = Lab::up(Role::Server, fine());
    lab.send(0, b"x");
    let start = lab.now;
    lab.take();
    rows.check("E3", lab.timed(start, ms(1500)), vec![at(1000, "DATA(1)")]);
    lab.ack(1, &[]);
    rows.check("Karn; E2: 2 * 1 s", timing(&lab), (None, 0, 2_000_000_000));
    // New data goes by the doubled timeout, and collapses it: 100 + 4 * 50.
    lab.send(0, b"x");
    lab.take();
    lab.run(ms(100));
    lab.ack(2, &[]);
    rows.check("collapsed", timing(&lab), (Some(100_000_000), 50_000_000, 300_000_000));
    // An answer to what was sent first, that comes after it was sent again, is ambiguous as well.
    lab.send(0, b"x");
    lab.take();
    lab.run(ms(301));
    lab.ack(3, &[]);
    rows.check("ambiguous", timing(&lab), (Some(100_000_000), 50_000_000, 600_000_000));
    rows.end(4);
}

// covers: RFC 9260 §6.3.1-C5b, §6.3.3-F1, §6.4-4, §6.3.3-E4a
#[test]
fn a_chunk_measures_nothing_if_an_earlier_one_was_sent_again_over_its_path_meanwhile() {
    // C5, its second half. Chunk 1 goes over path 0 at 0, chunk 2 over path 1 at 900 ms; T3 of path 0 sends chunk 1
    // again over path 1 at 1000 ms; the SACK for both at 1100 ms measures neither.
    let mut lab = Lab::with_paths(quiet(), 2);
    lab.establish(Role::Client);
    let before = lab.stats().paths[1].srtt;
    assert_eq!(before, Some(Duration::ZERO), "a HEARTBEAT has measured it");
    lab.send(0, b"one");
    assert_eq!(lab.take()[0].remote, remote(0));
    lab.run(ms(900));
    lab.stack.set_primary(lab.now, lab.id(), PathId(1)).expect("a path");
    lab.send(0, b"two");
    let sent = lab.take();
    assert_eq!((lab.render_all(&sent), sent[0].remote), ("DATA(2)".to_owned(), remote(1)));
    let again = lab.run(ms(200));
    let data: Vec<_> = again.iter().filter(|packet| packet.has(DATA)).collect();
    assert_eq!((data.len(), data[0].remote), (1, remote(1)), "{again:?}");
    assert_eq!(lab.render(data[0]), "DATA(1)");
    lab.ack(2, &[]);
    assert_eq!(lab.stats().in_flight, 0);
    assert_eq!(lab.stats().paths[1].srtt, before, "C5");
    println!("conformance: §6.3.1 C5, an earlier chunk: 5 rows");
}

// covers: RFC 9260 §8.1, §6.3.3-E2, §6.3.1-C7
#[test]
fn every_expiration_doubles_the_timeout_up_to_rto_max() {
    let mut rows = Rows::of("§6.3.3 E2");
    // RTO.Max, and when the chunk goes again: each time RTO later, which then doubles.
    let table: [(u64, &[u64]); 3] = [
        (60_000, &[1000, 3000, 7000, 15_000, 31_000, 63_000, 123_000, 183_000, 243_000, 303_000]),
        (5_000, &[1000, 3000, 7000, 12_000, 17_000, 22_000, 27_000, 32_000, 37_000, 42_000]),
        (1_000, &[1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10_000]),
    ];
    for (max, expected) in table {
        let mut lab = Lab::up(Role::Server, quiet_with(|config| config.rto_max = ms(max)));
        lab.send(0, b"x");
        let start = lab.now;
        lab.take();
        let got = lab.timed(start, Duration::from_secs(400));
        let data: Vec<u64> = got.iter().filter(|(_, line)| line == "DATA(1)").map(|(at, _)| *at).collect();
        rows.check(&format!("RTO.Max {max}"), data, expected.to_vec());
    }
    rows.end(3);
}

// covers: RFC 9260 §6.3.2-R1, §6.3.2-R2, §6.3.2-R3, §6.3.2-R4, §6.1-12, §6.1-14, §6.2.1-D3
#[test]
fn t3_starts_stops_and_begins_anew_as_r1_to_r4_say() {
    let mut rows = Rows::of("§6.3.2");
    // What happens at which millisecond, and when what is sent again. RTO.Min and RTO.Max make RTO 1 s throughout.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Send,
        Ack(u32, &'static [(u16, u16)]),
    }
    use Step::*;
    type Case = (&'static str, &'static [(u64, Step)], u64, &'static str);
    let table: [Case; 9] = [
        ("R1: from the first packet", &[(0, Send)], 1000, "DATA(2)"),
        ("R1: the second does not restart it", &[(0, Send), (400, Send)], 1000, "DATA(2)+DATA(3)"),
        ("R2: all acknowledged", &[(0, Send), (900, Ack(2, &[]))], 0, ""),
        ("R2, R1: off, and on again", &[(0, Send), (900, Ack(2, &[])), (950, Send)], 1950, "DATA(3)"),
        ("R3: the earliest is acknowledged", &[(0, Send), (400, Send), (900, Ack(2, &[]))], 1900, "DATA(3)"),
        ("R3: another is not the earliest", &[(0, Send), (400, Send), (900, Ack(1, &[(2, 2)]))], 1000, "DATA(2)"),
        ("R3: nothing new", &[(0, Send), (900, Ack(1, &[]))], 1000, "DATA(2)"),
        // Taken back with the SACK that acknowledges the earliest: it is in flight, and T3 runs for it.
        ("R4: reneging", &[(0, Send), (0, Send), (500, Ack(1, &[(2, 2)])), (700, Ack(2, &[]))], 1700, "DATA(3)"),
        // Taken back and nothing else: T3 goes on as it was.
        (
            "R4: it runs already",
            &[(0, Send), (0, Send), (500, Ack(1, &[(2, 2)])), (700, Ack(1, &[]))],
            1000,
            "DATA(2)+DATA(3)",
        ),
    ];
    for (name, steps, expired, again) in table {
        let mut lab = Lab::warm(quiet_with(|config| config.rto_max = ms(1000)));
        let start = lab.now;
        for (at, step) in steps {
            let before = lab.run(ms(*at) - lab.now.since(start));
            assert!(before.is_empty(), "{name}");
            match step {
                Send => lab.send(0, b"x"),
                Ack(number, gaps) => lab.ack(*number, gaps),
            }
            lab.take();
        }
        let got = lab.timed(start, ms(2500) - lab.now.since(start));
        let first = got.first().cloned();
        rows.check(name, first, (!again.is_empty()).then(|| at(expired, again)));
    }
    rows.end(9);
}

// covers: RFC 9260 §6.1, §7.2.4
// covers: RFC 9260 §6.1-13, §7.2.4-R4
#[test]
fn t3_begins_anew_when_the_earliest_chunk_is_fast_retransmitted() {
    // Chunks 2 to 5 leave at 0; 2 is lost. The SACKs for 3, 4 and 5 come at 800, 810 and 820 ms; the first lets
    // chunk 6 out, so that T3 runs all the time. At 820 chunk 2 goes again: it is the earliest outstanding, so T3
    // expires at 1820, not at 1000.
    let mut lab = Lab::warm(quiet());
    let start = lab.now;
    for _ in 0..5 {
        lab.send(0, &[1; 1344]);
    }
    assert_eq!(lab.line(), "DATA(2) DATA(3) DATA(4) DATA(5)");
    lab.run(ms(800));
    lab.ack(1, &[(2, 2)]);
    assert_eq!(lab.line(), "DATA(6)");
    lab.run(ms(10));
    lab.ack(1, &[(2, 3)]);
    assert_eq!(lab.line(), "");
    lab.run(ms(10));
    lab.ack(1, &[(2, 4)]);
    assert_eq!(lab.line(), "DATA(2)");
    assert_eq!(lab.timed(start, ms(1500)), [at(1820, "DATA(2)")]);
    println!("conformance: §7.2.4 step 4: 4 rows");
}

// covers: RFC 9260 §7.2.3, §6.3.3-E3, §6.3.3-1, §7.2.1-2, §6.1-C1
#[test]
fn one_packet_goes_again_and_no_more_until_something_is_acknowledged() {
    let mut rows = Rows::of("§6.3.3 E3, §7.2.3");
    // Size and number of messages; what the first packet takes of them: as much as fits 1360 bytes.
    let table: [(usize, usize, &str); 4] = [
        (1344, 4, "DATA(2)"),
        // 2 * (600 + 16) = 1232.
        (600, 6, "DATA(2)+DATA(3)"),
        // 3 * (400 + 16) = 1248.
        (400, 9, "DATA(2)+DATA(3)+DATA(4)"),
        (200, 6, "DATA(2)+DATA(3)+DATA(4)+DATA(5)+DATA(6)+DATA(7)"),
    ];
    for (len, count, packet) in table {
        let mut lab = Lab::warm(quiet());
        let start = lab.now;
        (0..count).for_each(|_| lab.send(0, &vec![1; len]));
        lab.take();
        // T3 at 1 s, then 2 s later.
        let name = format!("{count} of {len}");
        rows.check(&name, lab.timed(start, ms(3500)), vec![at(1000, packet), at(3000, packet)]);
    }
    // An acknowledgement ends it: cwnd is 1360, and 1360 of it are acknowledged while it is full: 2720, two packets.
    let mut lab = Lab::warm(quiet());
    let start = lab.now;
    (0..4).for_each(|_| lab.send(0, &[1; 1344]));
    lab.take();
    rows.check("E3", lab.timed(start, ms(1100)), vec![at(1000, "DATA(2)")]);
    lab.ack(2, &[]);
    rows.check("then", lab.line(), "DATA(3) DATA(4)".to_owned());
    rows.end(6);
}

// covers: RFC 9260 §6.3.3-F1, §6.3.2-R1
#[test]
fn a_change_of_the_destination_leaves_the_timer_of_the_old_one_running() {
    let mut lab = Lab::with_paths(quiet_with(|config| config.pf_threshold = None), 2);
    lab.establish(Role::Client);
    let start = lab.now;
    lab.send(0, b"one");
    lab.take();
    lab.run(ms(400));
    lab.stack.set_primary(lab.now, lab.id(), PathId(1)).expect("a path");
    lab.send(0, b"two");
    lab.take();
    // Over path 0 since 0 ms: its timer is left running. The chunk goes again over path 1, where it is the earliest
    // outstanding one, so that the timer there begins anew (§6.1): 2 s.
    let mut expired = Vec::new();
    for _ in 0..150 {
        lab.run(ms(10));
        let now: Vec<u32> = lab.stats().paths.iter().map(|path| path.error_count).collect();
        if expired.last().is_none_or(|(_, last)| *last != now) {
            expired.push((lab.now.since(start).as_millis(), now));
        }
    }
    assert_eq!(expired[1..], [(1000, vec![1, 0])], "{expired:?}");
    println!("conformance: §6.3.3 F1: 1 row");
}
