//! What is shown with each of the peers.

use esock_proto::{CloseReason, Event, Tsn};
use esock_rust_peers::wire::code;
use esock_rust_peers::{Peer, PeerEvent, Plan, Setup, World, fact, seed};
use esock_sim::{LinkConfig, Loss};
use std::collections::BTreeSet;
use std::time::Duration;

/// Long enough for retransmissions of a handshake.
const HANDSHAKE: Duration = Duration::from_secs(300);
/// Long enough for an exchange with losses.
const EXCHANGE: Duration = Duration::from_secs(900);
/// Long enough for retransmissions of a shutdown.
const END: Duration = Duration::from_secs(600);

/// Who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    We,
    They,
    Both,
}
use Who::{Both, They, We};

/// Says that the test has shown `feature`.
fn shown<P: Peer>(feature: &str, detail: &str) {
    fact(P::NAME, feature, detail, P::remark(feature));
}

fn connected<P: Peer>(setup: Setup, who: Who) -> World<P> {
    let mut world = World::<P>::new(seed(), setup);
    if who != They {
        world.we_connect();
    }
    if who != We {
        world.they_connect();
    }
    world.until("both ends are up", HANDSHAKE, World::is_up);
    world
}

fn exchange<P: Peer>(world: &mut World<P>, ours: Plan, theirs: Plan) {
    world.send(ours, theirs);
    world.until("everything arrived, both ways", EXCHANGE, World::is_exchanged);
}

/// 20 messages each way on 4 streams.
fn a_few<P: Peer>(world: &mut World<P>) {
    exchange(world, Plan::fixed(1, 20, 1000, 4), Plan::fixed(2, 20, 1000, 4));
}

/// 4 MiB each way, from 1 byte to 256 KiB, ordered and unordered, on 8 streams.
fn all_sizes<P: Peer>(world: &mut World<P>) {
    exchange(world, Plan::mixed(3, 4 << 20, 256 << 10, 8), Plan::mixed(4, 4 << 20, 256 << 10, 8));
}

fn end<P: Peer>(world: &mut World<P>, who: Who) {
    match who {
        We => world.shutdown(),
        _ => world.peer.shutdown(world.now),
    }
    world.until("both ends have ended", END, |world| world.our_end().is_some() && world.their_end().is_some());
    assert_eq!(world.our_end(), Some(&CloseReason::Shutdown));
    println!("they said: {:?}", world.peer_events);
}

fn from_end_to_end<P: Peer>(connects: Who, ends: Who) {
    let mut world = connected::<P>(Setup::default(), connects);
    let agreed = world.stats().expect("it is up").negotiated;
    a_few(&mut world);
    end(&mut world, ends);
    shown::<P>(if connects == We { "we connect" } else { "they connect" }, "yes");
    shown::<P>("streams out / in", &format!("{} / {}", agreed.outbound_streams, agreed.inbound_streams));
    shown::<P>(if ends == We { "we shut down" } else { "they shut down" }, "yes");
}

pub fn we_connect_and_shut_down<P: Peer>() {
    from_end_to_end::<P>(We, We);
}

pub fn we_connect_and_they_shut_down<P: Peer>() {
    from_end_to_end::<P>(We, They);
}

pub fn they_connect_and_we_shut_down<P: Peer>() {
    from_end_to_end::<P>(They, We);
}

pub fn they_connect_and_shut_down<P: Peer>() {
    from_end_to_end::<P>(They, They);
}

pub fn both_connect_at_once<P: Peer>() {
    let mut world = connected::<P>(Setup::default(), Both);
    a_few(&mut world);
    end(&mut world, We);
    shown::<P>("both connect at once", "yes");
}

pub fn we_abort<P: Peer>() {
    let mut world = connected::<P>(Setup::default(), We);
    a_few(&mut world);
    world.abort();
    world.until("both ends have ended", END, |world| world.our_end().is_some() && world.their_end().is_some());
    assert_eq!(world.our_end(), Some(&CloseReason::LocalAbort));
    println!("they said: {:?}", world.peer_events);
    shown::<P>("we abort", "yes");
}

pub fn they_abort<P: Peer>() {
    let mut world = connected::<P>(Setup::default(), They);
    a_few(&mut world);
    if !world.peer.abort(world.now) {
        return shown::<P>("they abort", "no");
    }
    world.until("we have heard of it", END, |world| world.our_end().is_some());
    println!("we said: {:?}", world.our_end());
    // Cause 12: User-Initiated Abort.
    assert!(matches!(world.our_end(), Some(CloseReason::PeerAbort { cause: Some(12), .. })));
    shown::<P>("they abort", "yes");
}

pub fn we_connect_and_all_sizes_pass_both_ways<P: Peer>() {
    let mut world = connected::<P>(Setup::default(), We);
    all_sizes(&mut world);
    end(&mut world, They);
    shown::<P>("messages of all sizes, both ways at once", "up to 256 KiB");
}

pub fn they_connect_and_all_sizes_pass_both_ways<P: Peer>() {
    let mut world = connected::<P>(Setup::default(), They);
    all_sizes(&mut world);
    end(&mut world, We);
}

fn losing(loss: f64) -> LinkConfig {
    LinkConfig { loss: Loss::Random(loss), ..Setup::default().link }
}

pub fn one_packet_in_a_hundred_is_lost<P: Peer>() {
    let mut world = connected::<P>(Setup { link: losing(0.01), ..Setup::default() }, We);
    all_sizes(&mut world);
    end(&mut world, We);
    shown::<P>("losses", "1 %");
}

pub fn one_packet_in_twenty_is_lost_and_others_overtake_or_double<P: Peer>() {
    let link = LinkConfig {
        jitter: Duration::from_millis(2),
        reorder: 0.05,
        reorder_by: Duration::from_millis(15),
        duplicate: 0.02,
        ..losing(0.05)
    };
    let mut world = connected::<P>(Setup { link, ..Setup::default() }, They);
    let (ours, theirs) = (Plan::mixed(5, 1 << 20, 256 << 10, 8), Plan::mixed(6, 1 << 20, 256 << 10, 8));
    exchange(&mut world, ours, theirs);
    end(&mut world, They);
    shown::<P>("losses", "5 %");
    shown::<P>("reordering and duplicates", "5 % and 2 %");
}

pub fn handshake_and_shutdown_survive_heavy_losses<P: Peer>() {
    for connects in [We, They, Both] {
        let mut world = connected::<P>(Setup { link: losing(0.15), ..Setup::default() }, connects);
        a_few(&mut world);
        end(&mut world, if connects == We { They } else { We });
    }
    shown::<P>("losses of 15 % in handshake and shutdown", "yes");
}

pub fn we_restart<P: Peer>() {
    let mut world = connected::<P>(Setup::default(), We);
    a_few(&mut world);
    world.peer_events.clear();
    world.we_restart();
    world.we_connect();
    let news = |world: &World<P>| world.peer_events.iter().any(|event| *event != PeerEvent::Closed(String::new()));
    world.until("they have noticed", HANDSHAKE, |world| news(world));
    println!("they said: {:?}", world.peer_events);
    // A restarted association is up as well.
    world.peer_events.push(PeerEvent::Up);
    world.until("both ends are up", HANDSHAKE, World::is_up);
    a_few(&mut world);
    end(&mut world, We);
    shown::<P>("we restart", "yes");
}

pub fn they_restart<P: Peer>() {
    let mut world = connected::<P>(Setup::default(), They);
    a_few(&mut world);
    world.they_restart();
    world.they_connect();
    world.until("both ends are up", HANDSHAKE, World::is_up);
    let told = world.us.events.iter().filter(|event| matches!(event, Event::Restarted(_))).count();
    assert_eq!(told, 1, "{:?}", world.us.events);
    a_few(&mut world);
    end(&mut world, They);
    shown::<P>("they restart", "yes");
}

pub fn we_read_slowly<P: Peer>() {
    let mut setup = Setup::default();
    setup.config.receive_window = 128 << 10;
    let mut world = connected::<P>(setup, We);
    world.us.reads = false;
    world.send(Plan::fixed(7, 20, 1000, 1), Plan::fixed(8, 500, 1000, 1));
    world.run(Duration::from_secs(30));
    let stats = world.stats().expect("it is up");
    assert!(stats.receive_buffered > 100 << 10, "our window was not used: {}", stats.receive_buffered);
    assert!(stats.receive_buffered < 160 << 10, "our window was overrun: {}", stats.receive_buffered);
    world.us.reads = true;
    world.until("everything arrived, both ways", EXCHANGE, World::is_exchanged);
    end(&mut world, They);
    shown::<P>("our window shut for 30 s", "yes");
}

pub fn they_read_slowly<P: Peer>() {
    let mut world = connected::<P>(Setup { their_window: 128 << 10, ..Setup::default() }, They);
    world.they_read = false;
    world.send(Plan::fixed(7, 1000, 1000, 1), Plan::fixed(8, 20, 1000, 1));
    world.run(Duration::from_secs(30));
    let stats = world.stats().expect("it is up");
    println!("peer_rwnd {}, in flight {}, probes {}", stats.peer_rwnd, stats.in_flight, stats.counters.window_probes);
    assert!(stats.peer_rwnd < 1500 && stats.counters.window_probes > 0, "their window was never shut: {stats:?}");
    world.they_read = true;
    world.until("everything arrived, both ways", EXCHANGE, World::is_exchanged);
    end(&mut world, We);
    shown::<P>("their window shut for 30 s", "yes");
}

pub fn transmission_sequence_numbers_wrap<P: Peer>() {
    for connects in [We, They] {
        let setup = Setup {
            our_tsn: Some(Tsn(u32::MAX - 100)),
            their_tsn: Some(Tsn(u32::MAX - 200)),
            link: losing(0.01),
            ..Setup::default()
        };
        let mut world = connected::<P>(setup, connects);
        exchange(&mut world, Plan::mixed(9, 1 << 20, 100_000, 4), Plan::mixed(10, 1 << 20, 100_000, 4));
        assert!(world.seen.iter().all(|seen| seen.wrapped), "TSNs did not wrap");
        end(&mut world, They);
    }
    shown::<P>("TSNs wrap", "ours, theirs");
}

/// What is used only if both ends have announced it, by the types of its chunks.
const EXTENSIONS: [(&str, &[u8]); 5] = [
    ("AUTH", &[code::AUTH]),
    ("ASCONF", &[code::ASCONF, code::ASCONF_ACK]),
    ("FORWARD-TSN", &[code::FORWARD_TSN]),
    ("I-DATA", &[code::I_DATA, code::I_FORWARD_TSN]),
    ("RE-CONFIG", &[code::RE_CONFIG]),
];

/// RFC 9260 §3.2.1: a parameter whose type begins with 11 and that is not known is skipped and reported, in the INIT
/// ACK or (§3.2.2) in an ERROR beside the COOKIE ECHO.
fn expect_report<P>(world: &World<P>, connects: Who) {
    let [ours, theirs] = &world.seen;
    let strange = theirs.inits[0].parameters.iter().any(|(kind, _)| kind >> 14 == 3);
    let reported = match connects {
        They => ours.inits[0].parameter(code::UNRECOGNIZED_PARAMETER).is_some(),
        _ => ours.count(code::ERROR) > 0,
    };
    let known = ours.inits[0].parameter(code::FORWARD_TSN_SUPPORTED).is_some();
    assert!(known || reported == strange, "{:?}\n{:?}", ours.inits, theirs.inits);
}

pub fn extensions_are_used_only_if_both_ends_have_them<P: Peer>() {
    let (mut agreed, mut declined) = (BTreeSet::new(), BTreeSet::new());
    for connects in [We, They] {
        let mut world = connected::<P>(Setup { link: losing(0.02), ..Setup::default() }, connects);
        expect_report(&world, connects);
        // What asks for partial reliability is sent reliably where that was not agreed on.
        world.peer.be_partially_reliable();
        exchange(&mut world, Plan::mixed(11, 1 << 20, 100_000, 8), Plan::mixed(12, 1 << 20, 100_000, 8));
        end(&mut world, We);
        let [ours, theirs] = world.seen.each_ref().map(|seen| seen.inits[0].extensions());
        println!("{connects:?} connect: we announce {ours:?}, {} {theirs:?}", P::NAME);
        let (both, alone): (Vec<&str>, Vec<&str>) = theirs.into_iter().partition(|name| ours.contains(name));
        for (name, kinds) in EXTENSIONS.iter().filter(|(name, _)| !both.contains(name)) {
            let used = world.seen.iter().any(|seen| kinds.iter().any(|kind| seen.count(*kind) > 0));
            assert!(!used, "{name} was not agreed on, and used");
        }
        let unchecked: usize = world.seen.iter().map(|seen| seen.zero_checksums).sum();
        assert!(both.contains(&"zero checksum") || unchecked == 0, "{unchecked} packets without a checksum");
        agreed.extend(both);
        declined.extend(alone);
    }
    let list = |names: BTreeSet<&str>| match names.into_iter().collect::<Vec<_>>() {
        names if names.is_empty() => "none".to_owned(),
        names => names.join(", "),
    };
    shown::<P>("extensions agreed on", &list(agreed));
    shown::<P>("extensions offered and declined", &list(declined));
}

pub fn a_request_to_reset_streams_that_was_not_agreed_on_harms_nothing<P: Peer>() {
    let mut world = connected::<P>(Setup::default(), They);
    exchange(&mut world, Plan::fixed(13, 16, 1000, 8), Plan::fixed(14, 16, 1000, 8));
    let asked = world.peer.reset_stream(world.now, 7);
    world.run(Duration::from_secs(5));
    // RFC 9260 §3.2: a chunk whose type begins with 10 is skipped, and not reported.
    let errors = world.seen[0].count(code::ERROR);
    a_few(&mut world);
    let requests = world.seen[1].count(code::RE_CONFIG);
    println!("{}: {requests} RE-CONFIG chunks that were not agreed on", P::NAME);
    assert_eq!((asked, world.seen[0].count(code::ERROR)), (requests > 0, errors));
    end(&mut world, We);
    let how = if asked { "sent and ignored" } else { "not sent" };
    shown::<P>("RE-CONFIG not agreed on", how);
}
