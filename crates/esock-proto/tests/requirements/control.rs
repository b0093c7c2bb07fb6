//! §3.3, §5.1 and §12.4: what packets of others must and must not bring about.

use crate::lab::*;
use esock_proto::*;

// covers: RFC 9260 §12.4-5
#[test]
fn a_sack_for_what_was_never_sent_ends_the_association() {
    for sack in [sack(TSN + 1, 10_000, &[]), sack(TSN - 1, 10_000, &[(2, 3)]), sack(TSN + 0x7000_0000, 10_000, &[])] {
        let mut lab = Lab::established(1, quiet());
        lab.send(0, b"only one");
        lab.take();
        lab.give(&sack);
        assert_eq!(lab.take_kinds(), [[ABORT]]);
        assert!(matches!(lab.closed(), Some(CloseReason::ProtocolViolation { cause: 13, .. })));
    }
    let mut lab = Lab::established(1, quiet());
    lab.send(0, b"only one");
    lab.give(&sack(TSN, 10_000, &[]));
    assert_eq!(lab.state(), State::Established);
}

// covers: RFC 9260 §6-7
#[test]
fn a_sack_where_nothing_can_be_outstanding_is_discarded() {
    for state in [State::ShutdownSent, State::ShutdownAckSent] {
        let mut lab = Lab::shutting(state, quiet());
        lab.take();
        lab.give(&sack(TSN + 5, 10_000, &[]));
        assert_eq!(lab.state(), state);
        assert_eq!(lab.take_kinds(), Vec::<Vec<u8>>::new());
    }
    let mut lab = Lab::echoed(1, quiet());
    lab.give(&sack(TSN + 5, 10_000, &[]));
    assert_eq!((lab.state(), lab.take_kinds()), (State::CookieEchoed, vec![]));
}

// covers: RFC 9260 §3.3.3-6, §3.3.3-7, §3.3.7-5
#[test]
fn an_init_ack_without_a_tag_ends_the_setup_with_a_reflected_abort() {
    let mut lab = Lab::new(1, quiet());
    lab.connect(&[0]);
    lab.take();
    lab.give(&Init { tag: 0, ..init().with(&tlv(7, b"cookie")) }.chunk(INIT_ACK));
    let sent = lab.take();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].kinds(), sent[0].chunks[0].flags, sent[0].tag), (vec![ABORT], 1, lab.tag));
    assert_eq!(lab.state(), State::Closed);
}

// covers: RFC 9260 §3.3.3-10, §3.3.3-11, §3.3.3-12
#[test]
fn an_init_ack_with_a_small_window_is_answered_and_changes_nothing() {
    let mut lab = Lab::new(1, quiet());
    lab.connect(&[0]);
    lab.take();
    lab.give(&Init { a_rwnd: 1499, ..init().with(&tlv(7, b"cookie")) }.chunk(INIT_ACK));
    let sent = lab.take();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].kinds(), sent[0].chunks[0].flags, sent[0].tag), (vec![ABORT], 0, PEER_TAG));
    assert_eq!(lab.state(), State::CookieWait);
    // T1 goes on, and a better INIT ACK is taken.
    lab.run(ms(1000));
    assert_eq!(lab.take_kinds(), [[INIT]]);
    lab.give(&Init { a_rwnd: 1500, ..init().with(&tlv(7, b"cookie")) }.chunk(INIT_ACK));
    assert_eq!((lab.take_kinds(), lab.state()), (vec![vec![COOKIE_ECHO]], State::CookieEchoed));
}

// covers: RFC 9260 §3.3.3-16, §3.3.3-17, §3.3.3-20, §3.3.3-21
#[test]
fn an_init_ack_with_no_streams_ends_the_setup_with_an_abort() {
    for bad in [Init { outbound: 0, ..init() }, Init { inbound: 0, ..init() }] {
        let mut lab = Lab::new(1, quiet());
        lab.connect(&[0]);
        lab.take();
        lab.give(&bad.with(&tlv(7, b"cookie")).chunk(INIT_ACK));
        let sent = lab.take();
        assert_eq!((sent.len(), sent[0].kinds(), sent[0].tag), (1, vec![ABORT], PEER_TAG));
        assert_eq!(lab.state(), State::Closed);
    }
}

// covers: RFC 9260 §3.3.3-8, §3.3.3-18, §3.3.3-22, §5.2.3-1
#[test]
fn an_init_ack_in_another_state_is_discarded_silently() {
    let bad = [init(), Init { tag: 0, ..init() }, Init { outbound: 0, ..init() }, Init { inbound: 0, ..init() }];
    for init in bad {
        let init_ack = init.with(&tlv(7, b"another cookie")).chunk(INIT_ACK);
        let mut labs = vec![Lab::echoed(1, quiet()), Lab::established(1, quiet())];
        use State::*;
        labs.extend([ShutdownPending, ShutdownSent, ShutdownReceived, ShutdownAckSent].map(|state| {
            let mut lab = Lab::shutting(state, quiet());
            lab.take();
            lab
        }));
        for mut lab in labs {
            let before = lab.state();
            lab.give(&init_ack);
            assert_eq!((lab.state(), lab.take_kinds()), (before, vec![]));
        }
    }
}

// covers: RFC 9260 §9.1-4, §3.3.10.12-1
#[test]
fn a_users_abort_says_so_with_and_without_a_reason() {
    for reason in [&b""[..], b"because"] {
        let mut lab = Lab::established(1, quiet());
        lab.stack.abort(lab.now, lab.assoc, reason).unwrap();
        let sent = lab.take();
        assert_eq!(sent[0].chunks[0].tlvs(0), [(12, reason.to_vec())]);
    }
}

// covers: RFC 9260 §5.1.2-10, §5.1.2-11
#[test]
fn a_family_that_the_peer_uses_is_supported_whatever_it_says() {
    let v6: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
    let mut lab = Lab::new(1, quiet());
    lab.stack.close(lab.now, lab.endpoint);
    let addresses = vec![ours(0), std::net::IpAddr::from(v6).into()];
    let config = EndpointConfig { port: PORT, addresses, host_addresses: vec![], config: quiet() };
    lab.endpoint = lab.stack.open(config).unwrap();
    lab.stack.set_accepting(lab.endpoint, true);
    // It says IPv6 only, over IPv4.
    let init_ack = lab.invite(&init().with(&tlv(12, &[0, 6])));
    let kinds: Vec<u16> = init_ack.chunks[0].tlvs(16).iter().map(|(kind, _)| *kind).collect();
    assert!(kinds.contains(&5) && kinds.contains(&6), "{kinds:?}");
    // IPv4 only: then our IPv6 address is of no use to it.
    let init_ack = lab.invite(&init().with(&tlv(12, &[0, 5])));
    assert!(init_ack.chunks[0].tlvs(16).iter().all(|(kind, _)| *kind != 6));
}

fn icmp(lab: &mut Lab, kind: IcmpKind, encap_port: Option<u16>, quoted: &[u8]) {
    lab.stack.handle_icmp(lab.now, Icmp { kind, remote: theirs(0), encap_port, quoted });
}

fn quoted(tag: u32) -> Vec<u8> {
    packet_between(PORT, PEER_PORT, tag, &chunk(HEARTBEAT, 0, &[]))
}

// covers: RFC 9260 §10-3
#[test]
fn port_unreachable_is_ignored_outside_udp() {
    let mut lab = Lab::established(1, quiet());
    icmp(&mut lab, IcmpKind::PortUnreachable, None, &quoted(PEER_TAG));
    assert_eq!(lab.stats().paths[0].error_count, 0);
    icmp(&mut lab, IcmpKind::HostUnreachable, None, &quoted(PEER_TAG));
    assert_eq!(lab.stats().paths[0].error_count, 1);
}

// covers: RFC 9260 §10-5a, §10-5b, §10-6
#[test]
fn icmp_is_believed_only_when_it_quotes_a_packet_of_ours() {
    let mut lab = Lab::established(1, quiet());
    let errors = |lab: &Lab| lab.stats().paths[0].error_count;
    icmp(&mut lab, IcmpKind::HostUnreachable, None, &quoted(PEER_TAG + 1));
    // Another port is another association: there is none.
    let other = packet_between(PORT, PEER_PORT + 1, PEER_TAG, &[]);
    icmp(&mut lab, IcmpKind::HostUnreachable, None, &other);
    // Tag 0: only an INIT of ours, with our Initiate Tag.
    icmp(&mut lab, IcmpKind::HostUnreachable, None, &quoted(0));
    let init_with = |tag| packet_between(PORT, PEER_PORT, 0, &Init { tag, ..init() }.chunk(INIT));
    let wrong = init_with(lab.tag ^ 1);
    icmp(&mut lab, IcmpKind::HostUnreachable, None, &wrong);
    let right = init_with(lab.tag);
    icmp(&mut lab, IcmpKind::HostUnreachable, None, &right[..12]);
    assert_eq!(errors(&lab), 0);
    icmp(&mut lab, IcmpKind::HostUnreachable, None, &right);
    assert_eq!(errors(&lab), 1);
    icmp(&mut lab, IcmpKind::HostUnreachable, None, &quoted(PEER_TAG));
    assert_eq!(errors(&lab), 2);
}

#[test]
fn icmp_ends_a_setup_or_leaves_a_patient_one_alone() {
    // What it says of the peer; whether a setup ends then, and one that is patient.
    let cases = [
        (IcmpKind::HostUnreachable, true, false),
        (IcmpKind::ProtocolUnreachable, true, true),
        (IcmpKind::PortUnreachable, false, false),
    ];
    for (kind, ends, ends_patient) in cases {
        for (patient, ends) in [(false, ends), (true, ends_patient)] {
            let mut lab = Lab::new(1, quiet_with(|config| config.patient = patient));
            lab.connect(&[0]);
            let init = packet_between(PORT, PEER_PORT, 0, &Init { tag: lab.tag, ..init() }.chunk(INIT));
            icmp(&mut lab, kind, None, &init);
            assert_eq!(lab.state() != State::CookieWait, ends, "{kind:?}, patient: {patient}");
        }
    }
}

// covers: RFC 9260 §10-7
#[test]
fn packet_too_big_changes_the_path_mtu() {
    let config = quiet_with(|config| config.pmtud = true);
    let mut lab = Lab::established(1, config);
    lab.answer_heartbeats();
    let before = lab.stats().paths[0].mtu;
    assert!(before >= 1500);
    icmp(&mut lab, IcmpKind::PacketTooBig(1300), None, &quoted(PEER_TAG));
    assert_eq!(lab.stats().paths[0].mtu, 1300);
}

// covers: RFC 9260 §12.4-2
#[test]
fn one_packet_is_answered_with_one_packet_and_a_sack() {
    let beat = |len| chunk(HEARTBEAT, 0, &tlv(1, &vec![1; len]));
    let unknown = |len| chunk(0xfe, 0, &vec![1; len]);
    let questions = [
        [beat(700), beat(700)].concat(),
        [unknown(700), unknown(700)].concat(),
        (0..300).flat_map(|_| unknown(0)).collect(),
        (0..60).flat_map(|_| beat(0)).collect(),
        [beat(1000), unknown(400), data(PEER_TSN + 1, 99, 0, "BE", b"no such stream")].concat(),
        // A jumbogram.
        (0..40).flat_map(|_| [beat(1200), unknown(300)].concat()).collect(),
    ];
    for question in questions {
        let mut lab = Lab::warm(quiet());
        lab.give(&question);
        let sent = lab.take_kinds();
        let answers = sent.iter().filter(|kinds| **kinds != [SACK] && kinds[0] != DATA).count();
        assert_eq!(answers, 1, "{sent:?}");
    }
}
