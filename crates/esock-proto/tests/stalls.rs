//! Situations in which stacks have come to a stand for ever: data is outstanding, and nothing moves it. Each
//! has to go on within the time that the RFC's timers give. Many are taken from the issue trackers of other
//! stacks, which are named.

mod common;
use common::*;
use esock_proto::*;
use std::time::Duration;

const DATA: u8 = 0;
const SACK: u8 = 3;
const SHUTDOWN: u8 = 7;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// No path MTU probes and no heartbeats: only what the test is about is on the wire.
fn quiet() -> Config {
    config_with(|config| {
        config.pmtud = false;
        config.heartbeat_interval = None;
    })
}

fn with_window(window: u32) -> Config {
    let mut config = quiet();
    config.receive_window = window;
    config
}

fn has(packet: &Packet, kind: u8) -> bool {
    chunk_kinds(&packet.data).contains(&kind)
}

/// The TSN of the first DATA chunk of a packet that begins with one, or has it behind a SACK.
fn tsn(packet: &Packet) -> Option<u32> {
    let mut at = 12;
    while at + 16 <= packet.data.len() {
        let word = |at: usize| u32::from_be_bytes(packet.data[at..at + 4].try_into().expect("four bytes"));
        if packet.data[at] == DATA {
            return Some(word(at + 4));
        }
        at += (usize::from(u16::from_be_bytes([packet.data[at + 2], packet.data[at + 3]])).max(4) + 3) & !3;
    }
    None
}

fn fix_checksum(packet: &mut [u8]) {
    packet[8..12].fill(0);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, packet) as u32;
    packet[8..12].copy_from_slice(&crc.to_le_bytes());
}

/// A client whose peer is played by the test: what the real server says does not arrive.
struct Scripted {
    pair: Pair,
    client: AssocId,
    /// A packet of the server's, for its header.
    template: Packet,
    /// The first TSN that the client has not sent yet when the script begins.
    first: u32,
}

impl Scripted {
    fn new(config: Config) -> Self {
        let (mut pair, client, _) = Pair::established(1, [config, quiet()]);
        pair.send(0, client, 0, b"first");
        pair.run(seconds(1));
        let last_tsn = pair.log.iter().filter_map(tsn).next_back().expect("it was sent");
        let template = pair.log.iter().rfind(|packet| packet.to == 0).expect("the server answered").clone();
        pair.filter = Box::new(|packet| packet.to != 0);
        pair.log.clear();
        Self { pair, client, template, first: last_tsn.wrapping_add(1) }
    }

    fn deliver(&mut self, chunk: &[u8]) {
        let mut data = self.template.data[..12].to_vec();
        data.extend_from_slice(chunk);
        fix_checksum(&mut data);
        let packet = Packet { data, ..self.template.clone() };
        self.pair.deliver(&packet);
    }

    /// A SACK up to and including the chunk `cumulative` places after the last before the script.
    fn sack(&mut self, cumulative: u32, a_rwnd: u32, gaps: &[(u16, u16)]) {
        let mut chunk = vec![SACK, 0, 0, 16 + 4 * gaps.len() as u8];
        chunk.extend_from_slice(&self.first.wrapping_sub(1).wrapping_add(cumulative).to_be_bytes());
        chunk.extend_from_slice(&a_rwnd.to_be_bytes());
        chunk.extend_from_slice(&[0, gaps.len() as u8, 0, 0]);
        gaps.iter().for_each(|(from, to)| {
            chunk.extend_from_slice(&from.to_be_bytes());
            chunk.extend_from_slice(&to.to_be_bytes());
        });
        self.deliver(&chunk);
    }

    fn shutdown(&mut self, cumulative: u32) {
        let cumulative = self.first.wrapping_sub(1).wrapping_add(cumulative).to_be_bytes();
        self.deliver(&[&[SHUTDOWN, 0, 0, 8][..], &cumulative].concat());
    }

    fn send(&mut self, count: usize, len: usize) {
        for _ in 0..count {
            self.pair.send(0, self.client, 0, &vec![7; len]);
        }
    }

    /// Which chunks were sent since the last call, by their place in the script, from 1; and when.
    fn sent(&mut self, start: Time) -> Vec<(u32, u64)> {
        let first = self.first;
        let ours = std::mem::take(&mut self.pair.log).into_iter().filter(|packet| packet.to == 1);
        ours.filter_map(|packet| {
            let place = tsn(&packet)?.wrapping_sub(first).wrapping_add(1);
            Some((place, (packet.at - DELAY).since(start).as_millis() as u64))
        })
        .collect()
    }

    fn run(&mut self, time: Duration) {
        self.pair.run(time);
        assert_eq!(self.pair.hosts[0].stack.stalled(self.client), None);
    }
}

/// Lets time pass until everything that `from` sent is acknowledged, with the other end reading; returns how long it took.
fn until_delivered(pair: &mut Pair, from: usize, assocs: [AssocId; 2], count: usize, limit: Duration) -> Duration {
    let (start, mut got) = (pair.now, 0);
    loop {
        got += pair.recv_all(1 - from, assocs[1 - from]).len();
        if got == count && pair.stats(from, assocs[from]).send_buffered == 0 {
            return pair.now.since(start);
        }
        let waited = pair.now.since(start);
        assert!(waited < limit, "{got} of {count} after {waited:?}: {:#?}", pair.stats(from, assocs[from]));
        pair.run(ms(1));
        for host in [0, 1] {
            assert_eq!(pair.hosts[host].stack.stalled(assocs[host]), None);
        }
    }
}

#[test]
fn the_last_packet_of_a_burst_is_lost_and_the_window_closes() {
    // covers: RFC 9260 §6.3.3-E3
    // The burst fills the window; its last packet is lost, so no gap report ever tells.
    for reads_after in [ms(0), ms(300), seconds(5)] {
        let (mut pair, client, server) = Pair::established(1, [quiet(), with_window(8_000)]);
        for _ in 0..20 {
            pair.send(0, client, 0, &[1; 1300]);
        }
        // 1300 and the overhead of 192 bytes, five times: the window is nearly shut by then.
        let mut seen = 0;
        pair.filter = Box::new(move |packet| {
            seen += usize::from(packet.to == 1 && has(packet, DATA));
            seen != 5
        });
        pair.run(reads_after + ms(100));
        let took = until_delivered(&mut pair, 0, [client, server], 20, seconds(60));
        // T3 has run for less than three doublings (1 s, 2 s, 4 s); whatever was lost goes then, or at once when
        // the window is told to be open.
        assert!(took < seconds(8), "{took:?} when read after {reads_after:?}");
        assert_eq!(pair.stats(0, client).counters.stalls, 0);
    }
}

#[test]
fn the_window_is_full_but_for_the_last_fragment_of_a_message() {
    // webrtc-rs/webrtc#822: what was dropped at a full buffer is the end of a message whose beginning fills it.
    let (mut pair, client, server) = Pair::established(1, [quiet(), with_window(40_000)]);
    for _ in 0..8 {
        pair.send(0, client, 0, &[1; 19_000]);
    }
    pair.run(seconds(5));
    let ready = pair.hosts[1].stack.ready_messages(server);
    assert!((1..=2).contains(&ready), "the buffer holds {ready} whole messages, and part of another");
    let took = until_delivered(&mut pair, 0, [client, server], 8, seconds(20));
    assert!(took < seconds(4), "{took:?}");
}

/// What each fragment takes beside its bytes must not shut the window for the rest of its message.
// covers: RFC 9260 §6.9
#[test]
fn a_message_of_half_the_window_comes_in_small_fragments() {
    for (window, segment) in [(16_384, 64), (65_536, 128), (65_536, 600)] {
        let mut sender = quiet();
        sender.max_segment = segment;
        let (mut pair, client, server) = Pair::established(1, [sender, with_window(window)]);
        for round in 1..4 {
            pair.send(0, client, 0, &vec![round; window as usize / 2]);
        }
        let took = until_delivered(&mut pair, 0, [client, server], 3, seconds(60));
        assert!(took < seconds(8), "{took:?} in fragments of {segment}");
    }
}

#[test]
fn flight_reaches_cwnd_and_every_acknowledgement_is_lost() {
    // covers: RFC 9260 §6.3.2-R1, §6.3.3-E3
    // sctplab/usrsctp#750: flight size beyond cwnd, and the timer does not run.
    let (mut pair, client, server) = Pair::established(1, [quiet(), quiet()]);
    for _ in 0..100 {
        pair.send(0, client, 0, &[1; 1300]);
    }
    // Slow start has opened the window when the way back breaks.
    pair.run(ms(35));
    pair.filter = Box::new(|packet| packet.to == 1);
    pair.run(ms(200));
    let stats = pair.stats(0, client);
    assert!(stats.in_flight >= stats.paths[0].cwnd, "{stats:#?}");
    assert_eq!(stats.waiting, Some(Waiting::CongestionWindow));
    assert!(stats.stalled_for > ms(100), "{:?}", stats.stalled_for);
    pair.filter = Box::new(|_| true);
    let took = until_delivered(&mut pair, 0, [client, server], 100, seconds(20));
    // T3 runs since the last acknowledgement: one RTO of a second, then slow start.
    assert!(took < seconds(2), "{took:?}");
}

#[test]
fn cwnd_falls_below_what_is_in_flight_and_nothing_more_is_heard() {
    // covers: RFC 9260 §6.3.2-R3
    // As in sctplab/usrsctp#750: fast retransmit has halved cwnd, so that nothing may be sent; the timer has to run.
    let mut script = Scripted::new(quiet());
    script.send(40, 1300);
    let start = script.pair.now;
    let mut acked = 0;
    while acked < 12 {
        script.run(ms(10));
        acked += 2;
        script.sack(acked, 1 << 20, &[]);
    }
    script.run(ms(10));
    for highest in 2..5 {
        script.sack(acked, 1 << 20, &[(2, highest)]);
        script.run(ms(1));
    }
    let stats = script.pair.stats(0, script.client);
    assert_eq!(stats.counters.fast_retransmissions, 1);
    assert!(stats.in_flight >= stats.paths[0].cwnd, "{stats:#?}");
    script.sent(start);
    script.run(ms(1100));
    let again = script.sent(start);
    assert_eq!(again.first().map(|(place, _)| *place), Some(acked + 1), "{again:?}");
}

#[test]
fn the_peer_takes_back_what_it_had() {
    // covers: RFC 9260 §6.2.1-D3
    let mut script = Scripted::new(quiet());
    let start = script.pair.now;
    script.send(3, 1300);
    script.run(ms(10));
    assert_eq!(script.sent(start), [(1, 0), (2, 0), (3, 0)]);
    // All but the first have arrived; then the first, and the receiver has had to give up the others.
    script.sack(0, 1 << 20, &[(2, 3)]);
    script.run(ms(10));
    script.sack(1, 1 << 20, &[]);
    let stats = script.pair.stats(0, script.client);
    assert_eq!((stats.counters.reneged, stats.in_flight), (2, 2600));
    script.run(seconds(2));
    // T3 began anew with the SACK at 20 ms; §7.2.3: one packet until something is acknowledged.
    assert_eq!(script.sent(start), [(2, 1020)]);
    script.sack(2, 1 << 20, &[]);
    script.run(ms(10));
    assert_eq!(script.sent(start), [(3, 2020)]);
    script.sack(3, 1 << 20, &[]);
    assert_eq!(script.pair.stats(0, script.client).send_buffered, 0);
}

#[test]
fn the_peer_takes_back_everything_when_nothing_else_is_in_flight() {
    // covers: RFC 9260 §6.2.1-D3, §6.3.2-R4
    // The timer is off when everything but the marked chunk is acknowledged; reneging has to start it.
    let mut script = Scripted::new(quiet());
    let start = script.pair.now;
    script.send(4, 1300);
    script.run(ms(10));
    for highest in 2..5 {
        script.sack(0, 1 << 20, &[(2, highest)]);
    }
    // The first is fast retransmitted. It arrives, and with it everything is given up.
    script.run(ms(10));
    script.sent(start);
    script.sack(1, 1 << 20, &[]);
    script.run(ms(1010));
    assert_eq!(script.sent(start).first(), Some(&(2, 1020)));
}

#[test]
fn the_peer_takes_something_back_with_a_shutdown() {
    // covers: RFC 9260 §6.2.1, §9.2
    // SHUTDOWN acknowledges without gap reports: what lies behind its TSN has not arrived, whatever was said before.
    let mut script = Scripted::new(quiet());
    let start = script.pair.now;
    script.send(3, 1300);
    script.run(ms(10));
    script.sack(0, 1 << 20, &[(2, 3)]);
    script.sent(start);
    script.shutdown(1);
    script.run(ms(1010));
    let again = script.sent(start);
    assert_eq!(again.first().map(|(place, _)| *place), Some(2), "{again:?}");
}

#[test]
fn a_gap_block_that_begins_at_the_cumulative_tsn_acknowledges_nothing_there() {
    // covers: RFC 9260 §3.3.4
    // A block of offset 1 contradicts itself. Taken at its word, everything is acknowledged and nothing is done.
    for gap in [(1, 3), (0, 3), (1, 1), (0, 0)] {
        let mut script = Scripted::new(quiet());
        let start = script.pair.now;
        script.send(3, 1300);
        script.run(ms(10));
        script.sack(0, 1 << 20, &[gap]);
        script.sent(start);
        script.run(ms(1010));
        let again = script.sent(start);
        assert_eq!(again.first().map(|(place, _)| *place), Some(1), "{gap:?}: {again:?}");
    }
}

#[test]
fn the_window_update_is_lost() {
    // covers: RFC 9260 §6.1-A4
    let (mut pair, client, server) = Pair::established(1, [quiet(), with_window(8_000)]);
    for _ in 0..20 {
        pair.send(0, client, 0, &[1; 1300]);
    }
    pair.run(seconds(4));
    assert_eq!(pair.stats(0, client).waiting, Some(Waiting::PeerWindow));
    // Whatever the receiver says while it reads is lost.
    pair.filter = Box::new(|packet| packet.to == 1);
    let got = pair.recv_all(1, server).len();
    pair.run(ms(20));
    pair.filter = Box::new(|_| true);
    assert!((4..7).contains(&got), "{got}");
    // Probes left at 0, 1 and 3 s; the next one leaves at 7 s.
    let took = until_delivered(&mut pair, 0, [client, server], 20 - got, seconds(60));
    assert!(took < seconds(4), "{took:?}");
}

#[test]
fn probes_of_a_shut_window_that_are_answered_never_fail_a_path() {
    // covers: RFC 9260 §6.1-A4, §6.1-A5
    let (mut pair, client, server) = Pair::established(1, [quiet(), with_window(8_000)]);
    for _ in 0..20 {
        pair.send(0, client, 0, &[1; 1300]);
    }
    pair.run(seconds(3600));
    let stats = pair.stats(0, client);
    assert_eq!((stats.state, stats.error_count), (State::Established, 0));
    assert_eq!((stats.paths[0].state, stats.paths[0].error_count), (PathState::Active, 0));
    assert_eq!(stats.waiting, Some(Waiting::PeerWindow));
    assert!(stats.stalled_for > seconds(3500), "{:?}", stats.stalled_for);
    // The user reads: the window is told to be open, and everything flows at once.
    let took = until_delivered(&mut pair, 0, [client, server], 20, seconds(60));
    assert!(took < seconds(1), "{took:?}");
    assert_eq!(pair.stats(0, client).waiting, None);
}

#[test]
fn a_chunk_that_fits_the_announced_window_is_taken_whatever_it_costs_to_keep() {
    // Found by the soak: the window had room for the chunk and none for its overhead. It was dropped again and
    // again, behind a window that seemed open, until the association was given up.
    let (mut pair, client, server) = Pair::established(1, [quiet(), with_window(10_000)]);
    for _ in 0..6 {
        pair.send(0, client, 0, &[1; 1300]);
        pair.run(ms(300));
    }
    // 192 bytes of overhead each: 8952 are taken, 1048 are left.
    assert_eq!(pair.stats(0, client).peer_rwnd, 1048);
    for len in [1000, 900] {
        pair.send(0, client, 0, &vec![1; len]);
    }
    pair.run(seconds(3600));
    let stats = pair.stats(0, client);
    assert_eq!((stats.state, stats.error_count, stats.in_flight), (State::Established, 0, 900));
    assert_eq!((stats.peer_rwnd, stats.waiting), (0, Some(Waiting::PeerWindow)));
    assert_eq!(pair.hosts[1].stack.ready_messages(server), 7);
    let took = until_delivered(&mut pair, 0, [client, server], 8, seconds(60));
    assert!(took < seconds(1), "{took:?}");
}

#[test]
fn a_probe_of_a_shut_window_may_be_taken_and_the_next_follows() {
    // covers: RFC 9260 §6.1-A4
    let mut script = Scripted::new(quiet());
    script.send(2, 1300);
    script.run(ms(10));
    script.sack(2, 0, &[]);
    script.send(4, 1300);
    for taken in 3..7 {
        // Each goes out an RTO after the window was found shut, and is answered at once.
        script.run(ms(1100));
        script.sack(taken, 0, &[]);
    }
    let stats = script.pair.stats(0, script.client);
    assert_eq!((stats.send_buffered, stats.error_count, stats.waiting), (0, 0, None));
}

// covers: RFC 9260 §6.1-A7
#[test]
fn probes_of_a_shut_window_come_at_growing_intervals_and_say_nothing_of_the_path_mtu() {
    // All as it is by default: with a search for the path MTU, whose answers would bring the timeout down again.
    let theirs = config_with(|config| config.receive_window = 16_384);
    let mut ours = Config::default();
    ours.heartbeat_interval = None;
    let (mut pair, client, _) = Pair::established(1, [ours, theirs]);
    pair.run(Duration::from_secs(20));
    for _ in 0..40 {
        pair.send(0, client, 0, &[7; 1000]);
    }
    pair.run(Duration::from_secs(600));
    let stats = pair.stats(0, client);
    assert!(stats.waiting == Some(Waiting::PeerWindow) && stats.in_flight > 0, "{stats:?}");
    // The search began with the data, and found what this wire carries.
    assert_eq!((stats.state, stats.error_count, stats.paths[0].mtu), (State::Established, 0, 9000), "{stats:?}");
    // 1, 2, 4, ... 32 s, then a minute each.
    assert!((10..=16).contains(&stats.counters.t3_timeouts), "{stats:?}");
    assert!(stats.counters.packets_sent < 100, "{stats:?}");
}

#[test]
fn probes_that_nobody_answers_end_the_association() {
    // covers: RFC 9260 §6.1, §8.1-3
    let mut script = Scripted::new(quiet());
    script.send(2, 1300);
    script.run(ms(10));
    script.sack(2, 0, &[]);
    script.send(4, 1300);
    script.pair.run(seconds(700));
    assert_eq!(script.pair.closed(0), Some(CloseReason::TimedOut));
}

#[test]
fn gap_reports_that_go_on_do_not_starve_the_timer() {
    // covers: RFC 9260 §6.3.2
    // algesten/sctp-proto#7: a chunk and its fast retransmission are lost while other data flows and is reported.
    let (mut pair, client, server) = Pair::established(1, [quiet(), quiet()]);
    pair.send(0, client, 0, b"first");
    pair.run(seconds(1));
    pair.recv_all(1, server);
    pair.log.clear();
    let mut victim = None;
    let mut left = 2;
    pair.filter = Box::new(move |packet| match tsn(packet).filter(|_| packet.to == 1) {
        Some(tsn) if left > 0 && *victim.get_or_insert(tsn) == tsn => {
            left -= 1;
            false
        }
        _ => true,
    });
    let start = pair.now;
    for _ in 0..100 {
        pair.send(0, client, 0, &[1; 100]);
        pair.run(ms(20));
        if pair.hosts[1].stack.ready_messages(server) > 0 {
            break;
        }
    }
    // Fast retransmit after three reports, at 65 ms or so; a second after that the timer.
    let took = pair.now.since(start);
    assert!(took < ms(1200), "{took:?}");
    let stats = pair.stats(0, client);
    assert_eq!((stats.counters.fast_retransmissions, stats.counters.t3_timeouts), (1, 1));
}

#[test]
fn a_timeout_never_grows_without_bound_and_the_hundredth_still_comes() {
    // covers: RFC 9260 §6.3.1, RFC 9260 §6.3.3
    // pion/sctp#109: the 63rd doubling overflows.
    let stubborn = config_with(|config| {
        config.pmtud = false;
        config.heartbeat_interval = None;
        config.assoc_max_retrans = 10_000;
        config.path_max_retrans = None;
    });
    let (mut pair, client, server) = Pair::established(1, [stubborn, quiet()]);
    pair.filter = Box::new(|packet| packet.to == 0);
    pair.send(0, client, 0, b"in the end");
    pair.run(seconds(6100));
    let stats = pair.stats(0, client);
    assert!(stats.counters.t3_timeouts > 100, "{}", stats.counters.t3_timeouts);
    assert_eq!((stats.paths[0].rto, stats.waiting), (seconds(60), Some(Waiting::Path)));
    pair.filter = Box::new(|_| true);
    let took = until_delivered(&mut pair, 0, [client, server], 1, seconds(100));
    assert!(took <= seconds(60) + ms(210), "{took:?}");
}

#[test]
fn the_accepting_end_sends_its_first_data_without_waiting_for_anything() {
    // covers: RFC 9260 §6.2.1-A
    // algesten/sctp-proto#28: its idea of the peer's window was zero until the first SACK came.
    let mut pair = Pair::new(1, [quiet(), quiet()]);
    pair.connect();
    pair.run(ms(15));
    let server = pair.hosts[1].accepted[0];
    pair.log.clear();
    for _ in 0..3 {
        pair.send(1, server, 0, &[1; 1300]);
    }
    pair.run(ms(1));
    assert_eq!(pair.log.iter().filter(|packet| has(packet, DATA)).count(), 3);
}

#[test]
fn a_peer_that_acknowledges_with_shutdowns_alone_does_not_shut_its_window() {
    // covers: RFC 9260 §9.2
    // Linux once took a SHUTDOWN for a SACK with a window of zero, and hung.
    let mut script = Scripted::new(quiet());
    let start = script.pair.now;
    script.send(30, 1300);
    script.run(ms(10));
    let mut acked = script.sent(start).len() as u32;
    let mut rounds = 0;
    while acked < 30 && rounds < 30 {
        script.shutdown(acked);
        script.run(ms(10));
        acked += script.sent(start).iter().filter(|(place, _)| *place > acked).count() as u32;
        rounds += 1;
    }
    assert!(rounds < 10, "{acked} in {rounds} rounds");
}

#[test]
fn a_peer_that_answers_and_takes_no_data_is_seen_and_given_up() {
    // covers: RFC 9260 §8.1
    // open5gs/open5gs#4483: the association looks healthy for ever, since the peer goes on answering.
    let config = config_with(|config| {
        config.pmtud = false;
        config.heartbeat_interval = Some(seconds(1));
    });
    let mut script = Scripted::new(config);
    let start = script.pair.now;
    script.send(3, 1300);
    for _ in 0..120 {
        script.run(seconds(1));
        script.sack(0, 1 << 20, &[]);
    }
    let stats = script.pair.stats(0, script.client);
    assert_eq!((stats.state, stats.stalled_for), (State::Established, seconds(120)));
    assert!(stats.waiting.is_some());
    assert_eq!(stats.counters.stalls, 0, "it is the peer's fault, not ours");
    // Ten timeouts in a row, 1 s at first, 60 s at most: 303 s, and the last one's 60.
    while script.pair.closed(0).is_none() {
        script.run(seconds(1));
        script.sack(0, 1 << 20, &[]);
        assert!(script.pair.now.since(start) < seconds(365));
    }
    assert_eq!(script.pair.closed(0), Some(CloseReason::TimedOut));
}

#[test]
fn a_message_that_found_the_buffer_full_is_asked_for_again() {
    // A wake-up that is lost stalls the user, and with him everything.
    let mut config = quiet();
    config.send_buffer = 20_000;
    let (mut pair, client, server) = Pair::established(1, [config, quiet()]);
    let (mut sent, mut got) = (0, 0);
    let mut writable = true;
    for _ in 0..5000 {
        while writable && sent < 200 {
            let payload = vec![1; 1000 + 97 * (sent % 150)];
            match pair.hosts[0].stack.send(pair.now, client, SendOptions::default(), payload.into()) {
                Ok(()) => sent += 1,
                Err(rejected) => {
                    assert_eq!(rejected.error, SendError::Full);
                    writable = false;
                }
            }
        }
        pair.run(ms(1));
        got += pair.recv_all(1, server).len();
        writable |= pair.hosts[0].events.drain(..).any(|(_, event)| event == Event::Writable);
    }
    assert_eq!((sent, got), (200, 200));
}
