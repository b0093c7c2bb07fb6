//! §3.3.2, §3.3.3, §5.1: what INIT, INIT ACK and cookies say.

use crate::lab::*;
use esock_proto::*;

/// The parameter types of an INIT or INIT ACK.
fn params(chunk: &Chunk) -> Vec<u16> {
    chunk.tlvs(16).iter().map(|(kind, _)| *kind).collect()
}

fn fields(chunk: &Chunk) -> (u32, u16, u16) {
    (chunk.u32_at(4), chunk.u16_at(8), chunk.u16_at(10))
}

fn address(text: &str) -> Address {
    text.parse::<std::net::IpAddr>().expect("an address").into()
}

// covers: RFC 9260 §3.3.2-1, §3.3.2-8, §3.3.2-13, §3.3.2-17, §3.3.2.1.4-1, §3.3.2.1.5-1, §3.3.2.1-1, §5.1.1-1, §5.1-1
#[test]
fn an_init_says_what_it_must_and_nothing_twice() {
    let mut lab = Lab::new(3, quiet());
    lab.connect(&[0]);
    let init = lab.take().remove(0).chunks.remove(0);
    assert_ne!(init.u32_at(0), 0);
    assert_eq!(fields(&init), (1 << 20, 10, 65535));
    assert_eq!(params(&init), [5, 5, 5, 12], "three addresses, and the types that we have");
    assert_eq!(init.tlvs(16)[3].1, [0, 5], "no host names among them");
    // What would break these rules cannot be configured.
    let bad: [fn(&mut Config); 3] = [
        |config| config.receive_window = 1499,
        |config| config.outbound_streams = 0,
        |config| config.inbound_streams = 0,
    ];
    assert!(bad.iter().all(|change| quiet_with(change).validate().is_err()));
}

// covers: RFC 9260 §3.3.3-9, §3.3.3-14, §3.3.3-15, §3.3.3-19, §3.3.2.1.4-1, §3.3.2.1-1, §5.1.1-1
#[test]
fn an_init_ack_asks_for_no_more_streams_than_the_init_allows() {
    for (inbound, asked) in [(1, 1), (9, 9), (10, 10), (11, 10), (65535, 10)] {
        let mut lab = Lab::new(2, quiet());
        let init_ack = lab.invite(&Init { inbound, ..init() });
        assert_eq!(fields(&init_ack.chunks[0]), (1 << 20, asked, 65535), "{inbound}");
        assert_eq!(params(&init_ack.chunks[0]), [5, 5, 7]);
    }
}

// covers: RFC 9260 §3.3.2.1.2-1, §3.3.2.1.2-2
#[test]
fn an_ipv4_address_is_listed_as_one_however_it_was_written() {
    let mut lab = Lab::new(1, quiet());
    lab.stack.close(lab.now, lab.endpoint);
    let addresses = vec![address("::ffff:10.0.0.1"), address("10.1.0.1")];
    let config = EndpointConfig { port: PORT, addresses, host_addresses: vec![], config: quiet() };
    lab.endpoint = lab.stack.open(config).unwrap();
    lab.connect(&[0]);
    let init = lab.take().remove(0).chunks.remove(0);
    assert_eq!(init.tlvs(16)[..2], [(5, vec![10, 0, 0, 1]), (5, vec![10, 1, 0, 1])]);
}

// covers: RFC 9260 §3.3.2-9, §3.3.2-10, §3.3.2-11, §3.3.2-14, §3.3.2-15, §3.3.2-16, §3.3.2-18, §3.3.2-19, §3.3.2-20
#[test]
fn an_init_with_values_that_are_not_allowed_is_answered_and_changes_no_association() {
    let bad = [
        Init { a_rwnd: 1499, ..init() },
        Init { a_rwnd: 0, ..init() },
        Init { outbound: 0, ..init() },
        Init { inbound: 0, ..init() },
    ];
    for bad in bad {
        let bad = Init { tag: 77, ..bad };
        let mut labs = vec![Lab::new(1, quiet()), Lab::echoed(1, quiet()), Lab::established(1, quiet())];
        labs.push(Lab::shutting(State::ShutdownSent, quiet()));
        for mut lab in labs {
            lab.take();
            let before = lab.stack.association(lab.now, lab.assoc);
            let abort = lab.invite(&bad);
            assert_eq!((abort.kinds(), abort.tag, abort.chunks[0].flags), (vec![ABORT], 77, 0));
            assert_eq!(abort.chunks[0].tlvs(0), [(7, vec![])]);
            assert_eq!(lab.stack.association(lab.now, lab.assoc), before);
        }
    }
}

// covers: RFC 9260 §3.3.2.1.5-2
#[test]
fn host_names_among_the_supported_types_are_ignored() {
    for types in [&[0, 5][..], &[0, 11, 0, 5], &[0, 5, 0, 11]] {
        let mut lab = Lab::new(1, quiet());
        lab.stack.close(lab.now, lab.endpoint);
        let addresses = vec![ours(0), ours(1), address("2001:db8::1")];
        let config = EndpointConfig { port: PORT, addresses, host_addresses: vec![], config: quiet() };
        lab.endpoint = lab.stack.open(config).unwrap();
        lab.stack.set_accepting(lab.endpoint, true);
        let init_ack = lab.invite(&init().with(&tlv(12, types)));
        assert_eq!((init_ack.kinds(), params(&init_ack.chunks[0])), (vec![INIT_ACK], vec![5, 5, 7]), "{types:?}");
    }
}

// covers: RFC 9260 §3.3.3-24, §3.3.11-2
#[test]
fn a_large_init_ack_is_taken_and_its_cookie_goes_back_whole() {
    let cookie: Vec<u8> = (0..4000u32).map(|at| at as u8).collect();
    let listed: Vec<u8> = (0..200u8).flat_map(|last| tlv(5, &[10, 9, 9, last + 1])).collect();
    let mut lab = Lab::new(1, quiet());
    lab.connect(&[0]);
    lab.take();
    lab.give(&init().with(&listed).with(&tlv(7, &cookie)).chunk(INIT_ACK));
    assert_eq!(lab.state(), State::CookieEchoed);
    let sent = lab.take();
    assert_eq!(sent[0].chunks[0].value, cookie);
    assert!(!sent[0].dont_fragment, "it fits no packet");
}

// covers: RFC 9260 §3.3.3.1.1-1, §5.1.3-2, §5.1-6
#[test]
fn all_that_an_init_said_comes_back_with_the_cookie() {
    let mut lab = Lab::new(1, quiet());
    let said = Init { tag: 99, a_rwnd: 5000, outbound: 4, inbound: 3, tsn: 77, params: Vec::new() };
    let init_ack = lab.invite(&said);
    assert_eq!((init_ack.tag, lab.stack.stats().associations, lab.stack.poll_timeout()), (99, 0, None));
    lab.tag = init_ack.chunks[0].u32_at(0);
    let bytes = [chunk(COOKIE_ECHO, 0, &Lab::cookie(&init_ack)), data(77, 3, 0, "BE", b"x")].concat();
    lab.give(&bytes);
    let stats = lab.stats();
    assert_eq!((stats.negotiated.outbound_streams, stats.negotiated.inbound_streams), (3, 4));
    assert_eq!(stats.peer_rwnd, 5000);
    assert_eq!(lab.recv().len(), 1, "the first TSN is known");
    let sent = lab.take();
    assert_eq!((sent[0].tag, sent[0].kinds()), (99, vec![COOKIE_ACK, SACK]));
    assert_eq!(lab.stack.stats().associations, 1);
}

// covers: RFC 9260 §5.1.3-7, §12.4-6
#[test]
fn cookies_and_init_acks_are_small() {
    let mut lab = Lab::new(1, quiet());
    let init_ack = lab.invite(&init());
    assert!(Lab::cookie(&init_ack).len() <= 128, "{}", Lab::cookie(&init_ack).len());
    assert!(init_ack.bytes.len() <= 168, "{}", init_ack.bytes.len());
    // However much is not understood, and however many addresses are listed.
    let unknown: Vec<u8> = (0..300).flat_map(|_| tlv(0xc123, &[0])).collect();
    let listed: Vec<u8> = (0..200u8).flat_map(|last| tlv(5, &[10, 9, 9, last + 1])).collect();
    let large = init().with(&unknown).with(&listed);
    let init_ack = lab.invite(&large);
    assert!(init_ack.bytes.len() < large.chunk(INIT).len() / 2, "{}", init_ack.bytes.len());
}

// covers: RFC 9260 §5.1-21
#[test]
fn acknowledgements_begin_one_below_the_first_tsn() {
    let mut lab = Lab::established(1, quiet());
    let rwnd = |lab: &Lab| lab.stats().peer_rwnd;
    lab.give(&sack(TSN - 2, 5000, &[]));
    assert_eq!(rwnd(&lab), 100_000, "an old one");
    lab.give(&sack(TSN - 1, 5000, &[]));
    assert_eq!(rwnd(&lab), 5000);
}

// covers: RFC 9260 §5.1.2-5
#[test]
fn nothing_is_sent_to_addresses_that_the_peer_did_not_name() {
    let mut lab = Lab::warm(quiet());
    let tag = lab.tag;
    for chunks in [data(PEER_TSN + 1, 0, 1, "BE", b"x"), chunk(HEARTBEAT, 0, &tlv(1, b"x")), sack(TSN, 9, &[])] {
        lab.deliver_from(address("10.0.0.77"), 0, &packet(tag, &chunks));
    }
    lab.run(ms(5000));
    assert!(lab.take().iter().all(|sent| sent.to == theirs(0)));
    assert!(lab.recv().is_empty());
}

// covers: RFC 9260 §5.1.2-9, §5.1.2-8
#[test]
fn addresses_of_a_family_that_we_do_not_have_are_passed_over_silently() {
    let listed = [tlv(6, &[0x20; 16]), address_param(theirs(0)), address_param(theirs(1))].concat();
    let mut lab = Lab::new(1, quiet());
    let init_ack = lab.invite(&init().with(&listed));
    assert_eq!(params(&init_ack.chunks[0]), [7], "nothing is reported");
    let mut lab = Lab::new(2, quiet());
    lab.connect(&[0]);
    lab.take();
    lab.give(&init().with(&listed).with(&tlv(7, b"cookie")).chunk(INIT_ACK));
    assert_eq!(lab.take_kinds(), [[COOKIE_ECHO]]);
    lab.give(&chunk(COOKIE_ACK, 0, &[]));
    let stats = lab.stats();
    let paths: Vec<Address> = stats.paths.iter().map(|path| path.remote).collect();
    assert_eq!(paths, [theirs(0), theirs(1)]);
}

// covers: RFC 9260 §16-1, §3.3.2-12
#[test]
fn the_defaults_are_those_of_the_last_section() {
    let config = Config::default();
    assert_eq!((config.rto_initial, config.rto_min, config.rto_max), (ms(1000), ms(1000), ms(60_000)));
    assert_eq!((config.max_burst, config.cookie_life), (4, ms(60_000)));
    assert_eq!((config.assoc_max_retrans, config.path_max_retrans, config.max_init_retransmits), (10, Some(5), 8));
    assert_eq!((config.heartbeat_interval, config.sack_delay), (Some(ms(30_000)), ms(200)));
    // The window that was announced at the beginning is there again whenever everything was read.
    let mut lab = Lab::warm(quiet());
    lab.give(&[data(PEER_TSN + 1, 0, 1, "BE", &[1; 1000]), data(PEER_TSN + 2, 0, 2, "BEI", b"x")].concat());
    assert!(lab.take()[0].chunks[0].u32_at(4) < 1 << 20);
    lab.recv();
    lab.give(&data(PEER_TSN + 2, 0, 2, "BE", b"a duplicate"));
    assert_eq!(lab.take()[0].chunks[0].u32_at(4), 1 << 20);
}

// covers: RFC 9260 §9-1
#[test]
fn an_endpoint_that_is_closed_aborts_its_associations() {
    let mut lab = Lab::established(1, quiet());
    lab.stack.close(lab.now, lab.endpoint);
    assert_eq!((lab.take_kinds(), lab.state()), (vec![vec![ABORT]], State::Closed));
}

// covers: RFC 9260 §5.4-5, §5.4-6, §5.4-7
#[test]
fn a_cookie_echo_goes_to_an_unconfirmed_address_only_with_a_heartbeat_in_the_same_packet() {
    // 1472 bytes less the header of the packet, that of COOKIE ECHO, and 20 bytes of HEARTBEAT: 1436.
    for len in (1300..1460).step_by(4).chain([8, 3000]) {
        let mut lab = Lab::new(1, quiet());
        lab.connect(&[0]);
        lab.take();
        let init_ack = init().with(&tlv(7, &vec![1; len])).chunk(INIT_ACK);
        let tag = lab.tag;
        lab.deliver_from(address("10.0.0.77"), 0, &packet(tag, &init_ack));
        lab.run(ms(20_000));
        let sent = lab.take();
        assert!(sent.iter().all(|sent| sent.kinds() == [COOKIE_ECHO, HEARTBEAT] && sent.bytes.len() <= 1472), "{len}");
        assert!(if sent.is_empty() { len > 1380 } else { len <= 1436 }, "{len}");
        let mut nonces: Vec<Vec<u8>> = sent.iter().map(|sent| sent.chunks[1].tlvs(0)[0].1.clone()).collect();
        nonces.dedup();
        assert_eq!(nonces.len(), sent.len(), "each with its own nonce");
    }
}

// covers: RFC 9260 §3.2.2-2, §3.2.2-3, §3.3.10.8-1, §5.1-8
#[test]
fn what_init_ack_said_in_vain_is_reported_beside_cookie_echo_or_after_cookie_ack() {
    for len in [8, 1420, 1460, 3000] {
        let mut lab = Lab::new(1, quiet());
        lab.connect(&[0]);
        lab.take();
        let unknown = tlv(0xc123, b"unknown to us");
        lab.give(&init().with(&unknown).with(&tlv(7, &vec![1; len])).chunk(INIT_ACK));
        let mut sent = lab.take();
        assert_eq!(sent.len(), 1, "{len}: nothing else before COOKIE ACK");
        assert_eq!(sent[0].kinds()[0], COOKIE_ECHO);
        let beside = sent[0].chunk(ERROR).cloned();
        assert_eq!(beside.is_some(), len <= 8, "{len}");
        lab.give(&chunk(COOKIE_ACK, 0, &[]));
        sent = lab.take();
        let later = sent.iter().find_map(|sent| sent.chunk(ERROR)).cloned();
        let causes = beside.or(later).expect("an ERROR").tlvs(0);
        assert_eq!((causes.len(), causes[0].0), (1, 8), "{len}");
        assert!(causes[0].1.starts_with(&unknown[..17]), "{len}");
    }
}
