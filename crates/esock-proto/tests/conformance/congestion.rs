//! Congestion control (§7.2). Sizes are those of DATA chunks, header and padding included (§7.2), as is PMDCS
//! (§1.3): with an MTU of 1400 it is 1400 - 20 (IP) - 8 (UDP) - 12 (SCTP) = 1360 bytes.

use crate::lab::*;
use esock_proto::*;
use std::time::Duration;

/// The payload of a chunk of PMDCS bytes.
const FULL: usize = 1344;

fn send(lab: &mut Lab, count: usize) -> usize {
    (0..count).for_each(|_| lab.send(0, &[1; FULL]));
    lab.take().len()
}

/// cwnd, ssthresh (`None`: never set) and bytes in flight.
fn window(lab: &Lab) -> (usize, Option<usize>, usize) {
    let path = &lab.stats().paths[0];
    (path.cwnd, Some(path.ssthresh).filter(|ssthresh| *ssthresh < 1 << 30), path.in_flight)
}

// covers: RFC 9260 §7.2.1
// covers: RFC 9260 §7.2.1-1, §7.2.1-3
#[test]
fn the_initial_window_is_what_the_formula_gives() {
    let mut rows = Rows::of("§7.2.1, initial cwnd");
    // MTU, IPv4, cwnd = min(4 * PMDCS, max(2 * PMDCS, 4404 or 4344)).
    let table = [
        // PMDCS = (576 - 28) - 12 = 536: 4 * 536.
        (576, true, 2144),
        // PMDCS = 1101: 4 * 1101 = 4404.
        (1400, true, 4404),
        (1500, true, 4404),
        // PMDCS = 8972 - 12 = 8960: 2 * 8960.
        (9000, true, 17_920),
        // IPv6, with 40 bytes of header: PMDCS = 1280 - 48 - 12 = 1220.
        (1280, false, 4344),
        (1500, false, 4344),
        // PMDCS = 8952 - 12 = 8940.
        (9000, false, 17_880),
        // PMDCS = 576 - 48 - 12 = 516: 4 * 516.
        (576, false, 2064),
    ];
    for (mtu, is_ipv4, expected) in table {
        let mut stack = Stack::new(StackConfig::default(), [1; 32], Time::ZERO);
        let config = quiet_with(|config| config.initial_mtu = mtu);
        let ip = |text: &str| Address::from(text.parse::<std::net::IpAddr>().expect("an address"));
        let addresses = vec![ip(if is_ipv4 { "10.0.0.1" } else { "fd00::1" })];
        let endpoint = EndpointConfig { port: PORT, addresses, host_addresses: Vec::new(), config };
        let endpoint = stack.open(endpoint).expect("good");
        let addresses = vec![ip(if is_ipv4 { "10.0.0.2" } else { "fd00::2" })];
        let peer = Peer { addresses, port: PEER_PORT, encapsulation: Encapsulation::Default };
        let id = stack.connect(Time::ZERO, endpoint, &peer, None).expect("a peer");
        let path = &stack.association(Time::ZERO, id).expect("there").paths[0];
        rows.check(&format!("MTU {mtu}, IPv4: {is_ipv4}"), path.cwnd, expected);
        // "Arbitrarily high": higher than any window.
        rows.check(&format!("MTU {mtu}: ssthresh"), path.ssthresh > 1 << 31, true);
    }
    rows.end(16);
}

// covers: RFC 9260 §7.2-1, §7.2.1-7, §7.2.1-8, §6.1-B1, §6.1-B2, §6.1-B3, §6.1-11, §6-5, §7.2.1-5
#[test]
fn slow_start_grows_by_what_was_acknowledged_and_no_more_than_a_packet() {
    let mut rows = Rows::of("§7.2.1, slow start");
    let mut lab = Lab::warm(quiet());
    let start = window(&lab);
    rows.check("initial", start, (4404, None, 0));
    // §6.1 B: a packet may leave while flight is below cwnd: 1360, 2720, 4080, and 5440 exceeds it once.
    rows.check("leave at once", send(&mut lab, 30), 4);
    rows.check("in flight", window(&lab), (4404, None, 5440));
    // Chunk up to which is acknowledged; packets that leave; cwnd and flight then.
    let table = [
        // Full (5440 >= 4404): min(2720, 1360). 2720 are left, and three more fit below 5764.
        (3, 3, 5764, 6800),
        // Full (6800 >= 5764): 5440 are left; 7124 takes two.
        (4, 2, 7124, 8160),
        (6, 3, 8484, 9520),
        // Nothing new.
        (6, 0, 8484, 9520),
        (7, 2, 9844, 10_880),
    ];
    for (number, packets, cwnd, flight) in table {
        lab.ack(number, &[]);
        rows.check(&format!("SACK {number}: packets"), lab.take().len(), packets);
        rows.check(&format!("SACK {number}"), window(&lab), (cwnd, None, flight));
    }
    rows.end(13);
}

// covers: RFC 9260 §7.2.1-5, §7.2.1-6, §7.2.1-7, §7.2-4
#[test]
fn slow_start_grows_only_when_the_window_was_full() {
    let mut rows = Rows::of("§7.2.1, full windows");
    // Payloads in flight; cwnd after a SACK for the first. cwnd is 4404.
    let table: [(&str, &[usize], usize); 6] = [
        ("1 of 4: 1360", &[FULL], 4404),
        ("3 of 4: 4080", &[FULL, FULL, FULL], 4404),
        ("4080 and 320 are 4400", &[FULL, FULL, FULL, 304], 4404),
        ("4080 and 324 are 4404", &[FULL, FULL, FULL, 308], 5764),
        // By no more than was acknowledged: a chunk of 100 bytes is 116; 116 + 3 * 1360 = 4196, and 324 are 4520.
        ("116 are acknowledged", &[100, FULL, FULL, FULL, 308], 4520),
        // Padding counts: 97 bytes are padded to 100.
        ("113 are 116", &[97, FULL, FULL, FULL, 308], 4520),
    ];
    for (name, payloads, expected) in table {
        let mut lab = Lab::warm(quiet());
        for len in payloads {
            lab.send(0, &vec![1; *len]);
            lab.take();
        }
        lab.ack(2, &[]);
        rows.check(name, window(&lab).0, expected);
    }
    rows.end(6);
}

// covers: RFC 9260 §7.2.1, §7.2-2, §7.2-4, §6.1-B1
#[test]
fn headers_and_padding_count_so_that_small_messages_do_not_flood() {
    // 20 bytes of chunk each: 68 fill a packet of 1360 bytes; four packets may leave at once (Max.Burst), and
    // cwnd of 4404 bytes is reached with the fourth.
    let mut lab = Lab::warm(quiet());
    (0..1000).for_each(|_| lab.send(0, b"four"));
    let sent = lab.take();
    let chunks: Vec<usize> = sent.iter().map(|packet| packet.chunks.len()).collect();
    assert_eq!(chunks.len(), 4, "{chunks:?}");
    // 3 * 1360 = 4080; of the fourth, 324 bytes are below cwnd, and the chunk that reaches it is the last.
    assert_eq!(chunks, [68, 68, 68, 17]);
    assert_eq!(window(&lab), (4404, None, 4420));
    println!("conformance: §7.2, what counts: 3 rows");
}

// covers: RFC 9260 §7.2-1, §7.2.2-1, §7.2.2-3, §7.2.2-P1, §7.2.2-P3, §7.2.3-2
#[test]
fn congestion_avoidance_grows_by_a_packet_for_each_window_acknowledged() {
    let mut rows = Rows::of("§7.2.2");
    let mut lab = Lab::warm(quiet());
    send(&mut lab, 60);
    lab.run(ms(1100));
    // §7.2.3: ssthresh = max(4404 / 2, 4 * 1360), cwnd = PMDCS; one packet has gone again.
    rows.check("T3-rtx", window(&lab), (1360, Some(5440), 1360));
    // Up to which chunk is acknowledged; cwnd, flight then.
    let table = [
        // Slow start up to and at ssthresh; each SACK acknowledges the whole flight, which is the whole window.
        (2, 2720, 2720),
        (4, 4080, 4080),
        (7, 5440, 5440),
        (11, 6800, 6800),
        // Above it: partial_bytes_acked 2720 of 6800.
        (13, 6800, 6800),
        // 2720 + 4080 = 6800, and 6800 were in flight: cwnd grows, partial_bytes_acked is 0.
        (16, 8160, 8160),
        // 1360, 2720, 4080, 5440, 6800, 8160: the sixth makes it full.
        (17, 8160, 8160),
        (18, 8160, 8160),
        (19, 8160, 8160),
        (20, 8160, 8160),
        (21, 8160, 8160),
        (22, 9520, 9520),
        // 6800 of 9520, then 8160: nothing; the next 2720 make 10,880: cwnd grows, and 1360 are kept.
        (27, 9520, 9520),
        (28, 9520, 9520),
        (30, 10_880, 10_880),
        // 1360 + 9520 = 10,880: the one that was kept counted.
        (37, 12_240, 12_240),
    ];
    for (number, cwnd, flight) in table {
        lab.ack(number, &[]);
        lab.take();
        rows.check(&format!("SACK {number}"), window(&lab), (cwnd, Some(5440), flight));
    }
    rows.end(17);
}

// covers: RFC 9260 §7.2.2-P2, §7.2.2-P4, §7.2.2-P1, §7.2.2-P3
#[test]
fn what_is_acknowledged_of_a_window_that_was_not_full_is_worth_one_window_at_most() {
    let mut rows = Rows::of("§7.2.2, not full");
    let mut lab = Lab::warm(quiet_with(|config| config.max_burst = 20));
    send(&mut lab, 14);
    lab.run(ms(1100));
    for number in [2, 4, 7, 11] {
        lab.ack(number, &[]);
        lab.take();
    }
    // cwnd 6800 above ssthresh 5440; the last four chunks are in flight: 5440 < 6800.
    rows.check("not full", window(&lab), (6800, Some(5440), 5440));
    // They are acknowledged but for one: partial_bytes_acked 4080. Four more: 4080 + 1360 left = 4 * 1360 + 1360.
    lab.ack(14, &[]);
    rows.check("three of four", (window(&lab), send(&mut lab, 3)), ((6800, Some(5440), 1360), 3));
    // 4080 + 4080 = 8160 > 6800, flight was 5440 < 6800: reset to 6800; one is still in flight.
    lab.ack(17, &[]);
    rows.check("beyond the window", (window(&lab), send(&mut lab, 4)), ((6800, Some(5440), 1360), 4));
    // Full now: 6800 + 1360 >= 6800: one packet more, and 1360 are kept.
    lab.ack(18, &[]);
    rows.check("full", (window(&lab), send(&mut lab, 2)), ((8160, Some(5440), 5440), 2));
    // 1360 + 8160 = 9520 >= 8160, and the window was full: it grows; all is acknowledged, so nothing is kept of 1360.
    lab.ack(24, &[]);
    rows.check("all", (window(&lab), send(&mut lab, 7)), ((9520, Some(5440), 0), 7));
    // 8160 < 9520; with the 1360 it would have been enough.
    lab.ack(30, &[]);
    rows.check("nothing was kept", window(&lab), (9520, Some(5440), 1360));
    rows.end(6);
}

/// A window of 4404 + 8 * 1360 = 15,284 bytes, in slow start, full.
fn grown() -> Lab {
    let mut lab = Lab::warm(quiet());
    send(&mut lab, 200);
    for number in 2..10 {
        lab.ack(number, &[]);
        lab.take();
    }
    assert_eq!(window(&lab).0, 15_284);
    lab
}

// covers: RFC 9260 §7.2.3-2, §7.2.1-2
#[test]
fn a_timeout_leaves_one_packet_and_half_the_window_as_threshold() {
    let mut rows = Rows::of("§7.2.3, T3-rtx");
    let mut lab = grown();
    lab.run(ms(1100));
    rows.check("15284 / 2", window(&lab), (1360, Some(7642), 1360));
    // The next one: max(1360 / 2, 4 * 1360).
    lab.run(ms(2000));
    rows.check("again", window(&lab), (1360, Some(5440), 1360));
    rows.end(2);
}

// covers: RFC 9260 §7.2.3-1, §7.2.4-4, §7.2.4-5, §7.2.4-6, §7.2.4-8, §7.2.1-6, §7.2.4-2
#[test]
fn fast_recovery_halves_the_window_once_and_ends_at_its_exit_point() {
    let mut rows = Rows::of("§7.2.4, fast recovery");
    // Chunks 10 to 21 are in flight: 12 * 1360 = 16,320 >= 15,284. 10 to 13 are lost.
    let mut lab = grown();
    rows.check("before", window(&lab), (15_284, None, 16_320));
    let mut highest = 21;
    let mut again = Vec::new();
    let mut take = |lab: &mut Lab| {
        for packet in lab.take() {
            for chunk in packet.chunks.iter().filter(|chunk| chunk.kind == DATA) {
                let number = word(&chunk.value, 0).wrapping_sub(lab.tsn) + 1;
                if number <= highest {
                    again.push(number);
                }
                highest = highest.max(number);
            }
        }
        (std::mem::take(&mut again), highest)
    };
    // Two reports: §7.2.1, the window was full, and a packet arrived each time.
    for (end, cwnd) in [(5, 15_284 + 1360), (6, 15_284 + 2 * 1360)] {
        lab.ack(9, &[(5, end)]);
        rows.check("no retransmission yet", (window(&lab).0, take(&mut lab).0), (cwnd, vec![]));
    }
    // The third: §7.2.4, the note: first a packet more; then half of it: (15,284 + 3 * 1360) / 2 = 9682.
    lab.ack(9, &[(5, 7)]);
    rows.check("ssthresh and cwnd", (window(&lab).0, window(&lab).1), (9682, Some(9682)));
    // Step 3: one packet whatever cwnd says; four are lost, and each fills a packet.
    let (sent, exit) = take(&mut lab);
    rows.check("one packet", (sent, window(&lab).2 > 9682), (vec![10], true));
    // In fast recovery nothing grows, and nothing is reduced again; what is lost goes as cwnd allows.
    let mut resent = Vec::new();
    for end in 8..=14 {
        lab.ack(9, &[(5, end)]);
        rows.check("reports in recovery", (window(&lab).0, window(&lab).1), (9682, Some(9682)));
        resent.extend(take(&mut lab).0);
    }
    lab.ack(10, &[(4, 13)]);
    rows.check("a partial acknowledgement", (window(&lab).0, window(&lab).1), (9682, Some(9682)));
    resent.extend(take(&mut lab).0);
    rows.check("the rest goes again, once", resent, vec![11, 12, 13]);
    // One short of the exit point: still in recovery, though the window was filled.
    while lab.stats().in_flight > 0 && window(&lab).2 < 9682 {
        send(&mut lab, 1);
    }
    lab.ack(exit - 1, &[]);
    rows.check("one short of the exit point", window(&lab).0, 9682);
    take(&mut lab);
    while window(&lab).2 < 9682 {
        send(&mut lab, 1);
    }
    // The exit point, and the window is full: slow start again, at its threshold.
    lab.ack(exit, &[]);
    rows.check("the exit point", window(&lab).0, 9682 + 1360);
    rows.end(15);
}

// covers: RFC 9260 §7.2.4-2, §7.2.4-3, §6.7-4, §6.7-5, §6.2.1-D1
#[test]
fn miss_indications_follow_the_highest_newly_acknowledged_tsn() {
    let mut rows = Rows::of("§7.2.4, HTNA");
    // Chunks 2 to 5 leave, 2 is missing. The SACKs, and whether chunk 2 goes again.
    type Case = (&'static str, &'static [(u32, &'static [(u16, u16)])], bool);
    let table: [Case; 8] = [
        ("three reports of new arrivals", &[(1, &[(2, 2)]), (1, &[(2, 3)]), (1, &[(2, 4)])], true),
        ("two", &[(1, &[(2, 2)]), (1, &[(2, 3)])], false),
        ("one of three chunks", &[(1, &[(2, 4)])], false),
        ("the same report again", &[(1, &[(2, 2)]), (1, &[(2, 2)]), (1, &[(2, 2)]), (1, &[(2, 2)])], false),
        ("in falling order", &[(1, &[(4, 4)]), (1, &[(3, 4)]), (1, &[(2, 4)])], true),
        ("the third is no news", &[(1, &[(2, 2)]), (1, &[(2, 4)]), (1, &[(2, 4)])], false),
        ("it arrives after all", &[(1, &[(2, 2)]), (1, &[(2, 3)]), (5, &[])], false),
        ("old SACKs count for nothing", &[(1, &[(2, 2)]), (1, &[(2, 3)]), (0, &[(3, 5)])], false),
    ];
    for (name, sacks, again) in table {
        let mut lab = Lab::warm(quiet());
        rows.check(name, send(&mut lab, 4), 4);
        let mut sent = Vec::new();
        for (number, gaps) in sacks {
            lab.ack(*number, gaps);
            sent.extend(lab.take());
        }
        rows.check(name, lab.render_all(&sent), if again { "DATA(2)".to_owned() } else { String::new() });
        rows.check(name, lab.stats().counters.fast_retransmissions, u64::from(again));
    }
    // Above the highest newly acknowledged TSN nothing is missing yet: 4 and 5 are not counted.
    let mut lab = Lab::warm(quiet_with(|config| config.max_burst = 20));
    send(&mut lab, 20);
    lab.ack(1, &[(2, 2)]);
    lab.ack(1, &[(2, 2), (4, 4)]);
    lab.ack(1, &[(2, 2), (4, 4)]);
    lab.ack(1, &[(2, 2), (4, 4)]);
    rows.check("2 has two reports", lab.stats().counters.fast_retransmissions, 0);
    rows.end(25);
}

// covers: RFC 9260 §7.2.4
// covers: RFC 9260 §7.2.4-R5
#[test]
fn a_chunk_is_fast_retransmitted_once_and_then_waits_for_t3() {
    let mut lab = Lab::warm(quiet_with(|config| config.rto_max = ms(1000)));
    let start = lab.now;
    send(&mut lab, 9);
    let gaps: [&[(u16, u16)]; 3] = [&[(2, 2)], &[(2, 3)], &[(2, 4)]];
    for gaps in gaps {
        lab.ack(1, gaps);
    }
    let first = lab.line();
    assert!(first.starts_with("DATA(2)"), "{first}");
    lab.run(ms(100));
    // It is lost again: reports go on, and nothing comes of them.
    for end in 5..8 {
        lab.ack(1, &[(2, end)]);
        assert!(!lab.line().contains("DATA(2)"), "step 5: once");
    }
    assert_eq!(lab.stats().counters.fast_retransmissions, 1);
    let again = lab.timed(start, ms(1500));
    assert_eq!(again.first().map(|(at, line)| (*at, line.as_str())), Some((1000, "DATA(2)")));
    println!("conformance: §7.2.4 step 5: 6 rows");
}

// covers: RFC 9260 §7.2.1
// covers: RFC 9260 §7.2.1-10, §7.2.1-11
#[test]
fn an_idle_path_loses_half_its_window_per_timeout_down_to_four_packets() {
    let mut rows = Rows::of("§7.2.1, idle");
    // RTO is 1 s. Idle for this long; cwnd and ssthresh when the next packet leaves.
    let table = [
        (0, 16_644, None),
        (999, 16_644, None),
        (1000, 8322, Some(16_644)),
        (1999, 8322, Some(16_644)),
        // max(8322 / 2, 4 * 1360).
        (2000, 5440, Some(16_644)),
        (100_000, 5440, Some(16_644)),
    ];
    for (idle, cwnd, ssthresh) in table {
        let mut lab = Lab::warm(quiet_with(|config| config.rto_max = ms(1000)));
        send(&mut lab, 20);
        for number in 2..10 {
            lab.ack(number, &[]);
            lab.take();
        }
        // The last ones, and a packet more for them: 16,320 were in flight.
        lab.ack(21, &[]);
        lab.take();
        rows.check("before", window(&lab), (16_644, None, 0));
        lab.run(ms(idle));
        send(&mut lab, 1);
        rows.check(&format!("idle for {idle} ms"), window(&lab), (cwnd, ssthresh, 1360));
    }
    // A window that is smaller already stays as it is: after T3-rtx, cwnd is 1360, then 2720.
    let mut lab = Lab::warm(quiet_with(|config| config.rto_max = ms(1000)));
    send(&mut lab, 1);
    lab.run(ms(1100));
    lab.ack(2, &[]);
    lab.run(Duration::from_secs(10));
    send(&mut lab, 1);
    rows.check("a small one", window(&lab).0, 2720);
    rows.end(13);
}

// covers: RFC 9260 §6.1
// covers: RFC 9260 §6.1-D1, §6.1-D2
#[test]
fn no_event_lets_more_than_max_burst_packets_out_beyond_what_it_acknowledged() {
    let mut rows = Rows::of("§6.1 D");
    for burst in [1, 2, 4, 8] {
        let mut lab = Lab::warm(quiet_with(|config| config.max_burst = burst));
        // Grow the window far beyond a burst.
        let mut acked = 1;
        let mut sent = send(&mut lab, 400) as u32;
        rows.check("the first event", sent, burst.min(4));
        for _ in 0..30 {
            acked += 1;
            lab.ack(acked, &[]);
            let more = lab.take().len() as u32;
            rows.check(&format!("burst {burst}"), more <= burst + 1, true);
            sent += more;
        }
        // Everything in flight is acknowledged at once: as many packets again, and a burst.
        let flight = sent - (acked - 1);
        lab.ack(sent + 1, &[]);
        let more = lab.take().len() as u32;
        rows.check(&format!("burst {burst}, {flight} acknowledged"), more <= flight + burst, true);
    }
    rows.end(128);
}

// covers: RFC 9260 §6.3.3, §7.2-3, §7.2.1-9, §6.4-1, §6.4-4, §8.2-1
#[test]
fn each_destination_has_its_own_window_timeout_and_errors() {
    let mut rows = Rows::of("§7.2, each destination");
    let mut lab = Lab::with_paths(quiet_with(|config| config.pf_threshold = None), 2);
    lab.establish(Role::Client);
    lab.send(0, &[1; FULL]);
    let sent = lab.take();
    rows.check("the primary path", sent.iter().map(|packet| packet.remote).collect(), vec![remote(0)]);
    let other = lab.stats().paths[1].clone();
    let again = lab.run(ms(1100));
    let stats = lab.stats();
    let first = &stats.paths[0];
    rows.check("path 0", (first.cwnd, first.ssthresh, first.error_count), (1360, 5440, 1));
    rows.check("path 0: RTO", first.rto, ms(2000));
    let second = &stats.paths[1];
    rows.check("path 1", (second.cwnd, second.ssthresh, second.rto), (other.cwnd, other.ssthresh, other.rto));
    rows.check("path 1: errors", second.error_count, 0);
    // §6.4: it goes again over the other path.
    rows.check(
        "again",
        again.iter().filter(|packet| packet.has(DATA)).map(|packet| packet.remote).collect(),
        vec![remote(1)],
    );
    rows.check("flight", (first.in_flight, second.in_flight), (0, 1360));
    // What is acknowledged counts for the path that it went over last.
    lab.ack(1, &[]);
    let stats = lab.stats();
    rows.check("afterwards", (stats.paths[0].in_flight, stats.paths[1].in_flight), (0, 0));
    rows.check("path 0 stays", stats.paths[0].cwnd, 1360);
    rows.end(9);
}
