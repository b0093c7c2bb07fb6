//! When and what is acknowledged (§6.2, §6.7), and what a receiver does whose window is full.

use crate::lab::*;

/// A packet with these DATA chunks of the peer, by number from 1; `I` sets the I bit of the last.
fn data_of(numbers: &[u32], immediate: bool) -> Vec<Vec<u8>> {
    let mut chunks: Vec<Vec<u8>> = numbers.iter().map(|number| data(*number, b"x")).collect();
    if let Some(last) = chunks.last_mut().filter(|_| immediate) {
        last[1] |= 8;
    }
    chunks
}

// covers: RFC 9260 §6.2-1, §6.2-8, §6.2-9, §6.2-10, §6.2-11, §6.2-17, §6.2-20, §6.2-22, §6.2-23, §6.7-1, §7.2.4-1
// covers: RFC 9260 §3.3.4-1, §3.3.4-3
// covers: RFC 7053 §5
// covers: RFC 9260 §6.2-1, §6.2-8, §6.2-9, §6.2-10, §6.2-11, §6.2-17, §6.2-20, §6.2-22, §6.2-23, §6.7-1, §7.2.4-1
// covers: RFC 9260 §3.3.4-2
#[test]
fn sacks_leave_for_every_second_packet_after_200_ms_and_at_once_where_the_text_says_so() {
    // What arrives at which millisecond (a packet of DATA chunks, with the I bit or without), and what is sent when.
    // Chunk 1 was received and acknowledged before.
    type Arrival = (u64, &'static [u32], bool);
    type Case = (&'static str, &'static [Arrival], &'static [(u64, &'static str)]);
    let table: [Case; 24] = [
        ("one packet", &[(0, &[2], false)], &[(200, "SACK(2)")]),
        ("the second packet", &[(0, &[2], false), (50, &[3], false)], &[(50, "SACK(3)")]),
        ("a packet of three chunks is one packet", &[(0, &[2, 3, 4], false)], &[(200, "SACK(4)")]),
        (
            "the third waits again",
            &[(0, &[2], false), (1, &[3], false), (2, &[4], false)],
            &[(1, "SACK(3)"), (202, "SACK(4)")],
        ),
        (
            "four packets",
            &[(0, &[2], false), (1, &[3], false), (2, &[4], false), (3, &[5], false)],
            &[(1, "SACK(3)"), (3, "SACK(5)")],
        ),
        ("199 ms are within 200", &[(0, &[2], false), (199, &[3], false)], &[(199, "SACK(3)")]),
        (
            "the timer begins with the first",
            &[(0, &[2], false), (300, &[3], false)],
            &[(200, "SACK(2)"), (500, "SACK(3)")],
        ),
        // RFC 7053.
        ("the I bit", &[(0, &[2], true)], &[(0, "SACK(2)")]),
        ("the I bit on any chunk", &[(0, &[2, 3], true)], &[(0, "SACK(3)")]),
        ("the I bit of a duplicate", &[(0, &[1], true)], &[(0, "SACK(1,d1)")]),
        // §6.7, §7.2.4: at once while there is a hole, for every packet, and when it is filled.
        ("a hole", &[(0, &[3], false)], &[(0, "SACK(1,2-2)")]),
        (
            "a hole that stays",
            &[(0, &[3], false), (9, &[4], false), (20, &[5], false)],
            &[(0, "SACK(1,2-2)"), (9, "SACK(1,2-3)"), (20, "SACK(1,2-4)")],
        ),
        ("a hole that is filled", &[(0, &[3], false), (9, &[2], false)], &[(0, "SACK(1,2-2)"), (9, "SACK(3)")]),
        (
            "afterwards it is delayed again",
            &[(0, &[3], false), (9, &[2], false), (20, &[4], false)],
            &[(0, "SACK(1,2-2)"), (9, "SACK(3)"), (220, "SACK(4)")],
        ),
        ("a hole within a packet", &[(0, &[2, 4], false)], &[(0, "SACK(2,2-2)")]),
        (
            "two holes",
            &[(0, &[3], false), (1, &[6, 7], false), (2, &[9], false)],
            &[(0, "SACK(1,2-2)"), (1, "SACK(1,2-2,5-6)"), (2, "SACK(1,2-2,5-6,8-8)")],
        ),
        (
            "the first of two is filled",
            &[(0, &[3, 5], false), (1, &[2], false)],
            &[(0, "SACK(1,2-2,4-4)"), (1, "SACK(3,2-2)")],
        ),
        // §6.2: duplicates alone at once, each reported once; with new data they may be, and are.
        ("a duplicate", &[(0, &[1], false)], &[(0, "SACK(1,d1)")]),
        ("twice a duplicate", &[(0, &[1], false), (5, &[1], false)], &[(0, "SACK(1,d1)"), (5, "SACK(1,d1)")]),
        ("two duplicates", &[(0, &[1, 1], false)], &[(0, "SACK(1,d1,d1)")]),
        ("a duplicate and news", &[(0, &[1, 2], false)], &[(0, "SACK(2,d1)")]),
        (
            "a duplicate beyond a hole",
            &[(0, &[3], false), (5, &[3], false)],
            &[(0, "SACK(1,2-2)"), (5, "SACK(1,2-2,d3)")],
        ),
        ("the same chunk twice in a packet", &[(0, &[2, 2], false)], &[(0, "SACK(2,d2)")]),
        // One SACK a packet, no matter how many reasons there are.
        ("all at once", &[(0, &[1, 3, 3, 5], true)], &[(0, "SACK(1,2-2,4-4,d1,d3)")]),
    ];
    let mut rows = Rows::of("§6.2, when a SACK leaves");
    for (name, arrivals, expected) in table {
        let mut lab = Lab::warm(quiet());
        let start = lab.now;
        let mut got = Vec::new();
        for (at, numbers, immediate) in arrivals {
            let wait = ms(*at) - lab.now.since(start);
            got.extend(lab.timed(start, wait));
            lab.deliver(lab.tag, &data_of(numbers, *immediate));
        }
        got.extend(lab.timed(start, ms(2000)));
        let expected: Vec<(u64, String)> = expected.iter().map(|(at, line)| (*at, (*line).to_owned())).collect();
        rows.check(name, got, expected);
    }
    rows.end(24);
}

// covers: RFC 9260 §6.2
// covers: RFC 9260 §6.2-9, §6.2-14
#[test]
fn the_delay_and_the_frequency_are_what_was_configured_and_never_above_500_ms() {
    let mut rows = Rows::of("§6.2, SACK.Delay");
    // Delay in ms, packets per SACK; three packets arrive at 0, 10 and 20 ms; when SACKs leave.
    let table: [(u64, u32, &[u64]); 7] = [
        (200, 2, &[10, 220]),
        (500, 2, &[10, 520]),
        (20, 2, &[10, 40]),
        (5, 2, &[5, 15, 25]),
        (200, 1, &[0, 10, 20]),
        (200, 3, &[20]),
        (0, 2, &[0, 10, 20]),
    ];
    for (delay, frequency, expected) in table {
        let config = quiet_with(|config| (config.sack_delay, config.sack_frequency) = (ms(delay), frequency));
        let mut lab = Lab::warm(config);
        let start = lab.now;
        let mut got = Vec::new();
        for number in 2..5 {
            lab.deliver(lab.tag, &[data(number, b"x")]);
            got.extend(lab.timed(start, ms(if number < 4 { 10 } else { 1000 })));
        }
        let times: Vec<u64> = got.iter().map(|(at, _)| *at).collect();
        rows.check(&format!("delay {delay}, every {frequency}"), times, expected.to_vec());
    }
    for (delay, allowed) in [(500, true), (501, false), (60_000, false)] {
        let valid = quiet_with(|config| config.sack_delay = ms(delay)).validate().is_ok();
        rows.check(&format!("delay {delay} is allowed"), valid, allowed);
    }
    rows.end(10);
}

// covers: RFC 9260 §5.1
// covers: RFC 9260 §5.1-19
#[test]
fn the_first_data_of_an_association_is_acknowledged_at_once() {
    let mut rows = Rows::of("§5.1, the first DATA");
    for role in [Role::Client, Role::Server] {
        let mut lab = Lab::up(role, quiet());
        lab.deliver(lab.tag, &[data(1, b"x")]);
        rows.check(&format!("{role:?}: the first"), lab.line(), "SACK(1)".to_owned());
        lab.deliver(lab.tag, &[data(2, b"x")]);
        rows.check(&format!("{role:?}: the second"), lab.line(), String::new());
    }
    rows.end(4);
}

// covers: RFC 9260 §3.3.1, §6.5-2, §6.2-33, §3.3.10.1-1, §3.3.10.9-1
#[test]
fn data_that_cannot_be_taken_is_answered_as_its_fault_asks_for() {
    let mut rows = Rows::of("§6.5, §6.2, faults of DATA");
    // The peer may send on the ten streams that it asked for: 0 to 9.
    let bad_stream = |number: u32| data_chunk(number, 3, 10, 0, b"x");
    let no_data = "ABORT(9) > CLOSED ! Closed(ProtocolViolation:9)";
    let told_before = "ABORT(9) > CLOSED ! Readable Closed(ProtocolViolation:9)";
    let table: Vec<(&str, Vec<Vec<u8>>, &str)> = vec![
        ("stream 9", vec![data_chunk(2, 3, 9, 0, b"x")], "SACK(2) ! Readable"),
        // Reported, not delivered, and acknowledged as usual: after the delay.
        ("stream 10", vec![bad_stream(2)], "ERROR(1) SACK(2)"),
        ("stream 65535", vec![data_chunk(2, 3, 65535, 0, b"x")], "ERROR(1) SACK(2)"),
        ("stream 10 and a good one", vec![bad_stream(2), data_chunk(3, 3, 1, 0, b"x")], "ERROR(1) SACK(3) ! Readable"),
        // It has been seen: a duplicate, not reported a second time.
        ("stream 10, again", vec![data_chunk(1, 3, 10, 0, b"x")], "SACK(1,d1)"),
        ("no user data", vec![data_chunk(2, 3, 0, 1, b"")], no_data),
        ("no user data behind a good one", vec![data(2, b"x"), data_chunk(3, 3, 0, 2, b"")], told_before),
        ("a chunk of 12 bytes", vec![chunk(DATA, 3, &[0; 8])], "ABORT(13) > CLOSED ! Closed(ProtocolViolation:13)"),
    ];
    for (name, chunks, expected) in table {
        let mut lab = Lab::warm(quiet());
        lab.deliver(lab.tag, &chunks);
        let got = lab.outcome();
        rows.check(name, got, expected.to_owned());
    }
    // The causes say which: stream, and TSN.
    let mut lab = Lab::warm(quiet());
    lab.deliver(lab.tag, &[bad_stream(2)]);
    let sent = lab.take();
    rows.check("the stream", sent[0].chunks[0].value.clone(), vec![0, 1, 0, 8, 0, 10, 0, 0]);
    lab.deliver(lab.tag, &[data_chunk(3, 3, 0, 1, b"")]);
    let sent = lab.take();
    let cause = [&[0, 9, 0, 8][..], &(PEER_TSN + 2).to_be_bytes()].concat();
    rows.check("the TSN", sent[0].chunks[0].value.clone(), cause);
    rows.end(10);
}

/// A window of 4096 bytes, filled with messages that nobody reads until it is announced as zero: a rest of it is
/// left, which is not worth telling. Returns the number of the last chunk taken.
fn filled() -> (Lab, u32) {
    let mut lab = Lab::warm(quiet_with(|config| config.receive_window = 4096));
    for number in 2..20 {
        // Each is charged with 192 bytes beyond its own: 12 * 292 + 352 leaves 240 of 4096.
        let len = if number < 14 { 100 } else { 160 };
        lab.deliver(lab.tag, &[data(number, &vec![1; len])]);
        for packet in lab.run(ms(300)) {
            if word(&packet.chunks[0].value, 4) == 0 {
                return (lab, number);
            }
        }
    }
    panic!("the window never closes");
}

// covers: RFC 9260 §6.2-2, §6.2-4, §6.2-5, §6.2-12, §6.2-6, §6.2-29
#[test]
fn a_receiver_without_room_drops_what_is_new_and_says_so_at_once() {
    let mut rows = Rows::of("§6.2, no room");
    let (mut lab, last) = filled();
    let taken = format!("SACK({last})");
    for len in [1, 100, 700, 1344] {
        lab.deliver(lab.tag, &[data(last + 1, &vec![2; len])]);
        let sent = lab.take();
        rows.check(&format!("{len} bytes"), lab.render_all(&sent), taken.clone());
        rows.check(&format!("{len} bytes: a_rwnd"), word(&sent[0].chunks[0].value, 4), 0);
    }
    // Beyond a hole: neither.
    lab.deliver(lab.tag, &[data(last + 2, &[2; 700])]);
    rows.check("beyond a hole", lab.line(), taken);
    // The user reads: the window is told to be open, without being asked, and what was dropped is taken.
    let mut read = 0;
    while lab.recv().is_some() {
        read += 1;
    }
    rows.check("what was acknowledged is there", read, last - 1);
    let sent = lab.take();
    rows.check("the window update", lab.render_all(&sent), format!("SACK({last})"));
    rows.check("the whole window", word(&sent[0].chunks[0].value, 4), 4096);
    lab.deliver(lab.tag, &[data(last + 1, &[2; 700]), data(last + 2, &[2; 700])]);
    lab.run(ms(300));
    rows.check("taken", std::iter::from_fn(|| lab.recv()).count(), 2);
    rows.end(13);
}

// covers: RFC 9260 §6.2
// covers: RFC 9260 §6.2-13, §6.2-25, §6.2-27
#[test]
fn the_window_that_is_announced_falls_as_data_waits_and_rises_when_it_is_read() {
    let mut rows = Rows::of("§6.2, a_rwnd");
    let mut lab = Lab::warm(quiet());
    let mut announced = vec![1 << 20];
    for number in (2..10).step_by(2) {
        lab.deliver(lab.tag, &[data(number, &[1; 1000])]);
        lab.deliver(lab.tag, &[data(number + 1, &[1; 1000])]);
        let sent = lab.take();
        announced.push(word(&sent[0].chunks[0].value, 4));
    }
    // By 2000 bytes at least each time: what was received, and what keeping it costs.
    let falls = announced.windows(2).all(|pair| pair[0] >= pair[1] + 2000 && pair[0] <= pair[1] + 3000);
    rows.check("it falls", falls, true);
    while lab.recv().is_some() {}
    lab.deliver(lab.tag, &[data(10, b"x"), data(11, b"x")]);
    lab.deliver(lab.tag, &[data(12, b"x")]);
    let sent = lab.take();
    rows.check("it rises", word(&sent[0].chunks[0].value, 4) > (1 << 20) - 1000, true);
    // Small steps are not worth an update (§6.2: at least a quarter of the buffer).
    rows.check("no update of its own", lab.run(ms(1000)).len(), 0);
    rows.end(3);
}
