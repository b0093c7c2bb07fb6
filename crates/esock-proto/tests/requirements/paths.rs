//! §6.4, §7.3, §8: several addresses.

use crate::lab::*;
use esock_proto::*;

// covers: RFC 9260 §6.4-3, §6.7-2
#[test]
fn sacks_go_to_where_the_data_came_from() {
    let mut lab = Lab::established(2, quiet());
    for (at, path) in [(0, 1), (1, 1), (2, 1), (3, 0), (4, 0), (5, 1)] {
        lab.give_over(path, &data(PEER_TSN + at, 0, at as u16, "BEI", b"x"));
        let sent = lab.take();
        assert_eq!((sent.len(), sent[0].kinds(), sent[0].to), (1, vec![SACK], theirs(path)));
    }
}

// covers: RFC 9260 §6.4-5
#[test]
fn a_fast_retransmission_stays_on_its_path() {
    let mut lab = Lab::established(2, quiet());
    for _ in 0..4 {
        lab.send(0, &[1; 1400]);
    }
    lab.take();
    for end in 2..=4 {
        lab.give(&sack(TSN - 1, 100_000, &[(2, end)]));
    }
    let again: Vec<Sent> = lab.take().into_iter().filter(|sent| sent.tsns().contains(&TSN)).collect();
    assert_eq!((again.len(), again[0].to), (1, theirs(0)));
}

// covers: RFC 9260 §6.4-4, §6.4.1-2, §6.3.3-E4a, §6.3.3-E4b
#[test]
fn what_timed_out_goes_over_other_addresses_at_both_ends_with_their_timeout() {
    let mut lab = Lab::established(2, quiet());
    lab.send(0, b"x");
    assert_eq!(lab.take()[0].to, theirs(0));
    lab.run(ms(1000));
    let again = lab.take().into_iter().find(|sent| sent.chunk(DATA).is_some()).unwrap();
    assert_eq!((again.to, again.from), (theirs(1), Some(ours(1))));
    // Path 0 has doubled its timeout; path 1 has not, and its timer runs.
    assert_eq!(lab.stats().paths[0].rto, ms(2000));
    let start = lab.now;
    lab.run(ms(1500));
    let next = lab.take().into_iter().find(|sent| sent.chunk(DATA).is_some()).unwrap();
    assert_eq!(next.at.since(start), ms(1000));
}

/// Three paths, and the primary one fails.
fn failed() -> Lab {
    let config = quiet_with(|config| config.path_max_retrans = Some(0));
    let mut lab = Lab::established(3, config);
    lab.send(0, b"x");
    lab.run(ms(1100));
    assert_eq!(lab.stats().paths[0].state, PathState::Inactive);
    lab.give(&sack(TSN, 100_000, &[]));
    lab.take();
    lab
}

// covers: RFC 9260 §6.4.1-1, §8.2-6, §8.2-2, §8.2-3, §6.4-1
#[test]
fn one_alternate_address_takes_over_from_an_inactive_primary_path() {
    let mut lab = failed();
    assert!(lab.events.iter().any(|event| matches!(event, Event::Path { state: PathState::Inactive, .. })));
    for at in 1..20 {
        lab.send(0, b"x");
        lab.give(&sack(TSN + at, 100_000, &[]));
    }
    let mut to: Vec<Address> =
        lab.take().iter().filter(|sent| sent.chunk(DATA).is_some()).map(|sent| sent.to).collect();
    to.dedup();
    assert_eq!(to.len(), 1, "{to:?}");
    assert_ne!(to[0], theirs(0));
}

// covers: RFC 9260 §7.3-3
#[test]
fn each_path_has_its_own_mtu() {
    let mut lab = Lab::established(2, quiet_with(|config| config.pmtud = true));
    let mtus = |lab: &Lab| lab.stats().paths.iter().map(|path| path.mtu).collect::<Vec<u16>>();
    let before = mtus(&lab);
    let quoted = packet_between(PORT, PEER_PORT, PEER_TAG, &[]);
    let icmp = Icmp { kind: IcmpKind::PacketTooBig(1300), remote: theirs(1), encap_port: Some(9899), quoted: &quoted };
    lab.stack.handle_icmp(lab.now, icmp);
    assert_eq!(mtus(&lab), [before[0], 1300]);
}

// covers: RFC 9260 §7.3-4, §6.10-2
#[test]
fn fragments_fit_every_path() {
    let mut lab = Lab::established(2, quiet());
    let mut parameters = PathParameters::default();
    parameters.mtu = Some(1200);
    lab.stack.set_path_parameters(lab.now, lab.assoc, PathId(1), parameters).unwrap();
    lab.send(0, &[1; 5000]);
    let sent = lab.take();
    assert!(sent.iter().all(|sent| sent.to == theirs(0) && sent.bytes.len() <= 1472));
    // 1200 bytes, less IP, UDP and the common header.
    let sizes: Vec<usize> = sent.iter().flat_map(|sent| &sent.chunks).map(|chunk| chunk.value.len() + 4).collect();
    assert!(sizes.iter().all(|size| *size <= 1200 - 28 - 12), "{sizes:?}");
    assert!(sizes.contains(&(1200 - 28 - 12)));
}

// covers: RFC 9260 §8.3-14
#[test]
fn a_heartbeat_measures_the_round_trip() {
    let mut lab = Lab::established(1, quiet());
    let before = lab.stats().paths[0].srtt.unwrap();
    lab.stack.request_heartbeat(lab.now, lab.assoc, PathId(0)).unwrap();
    lab.run(ms(800));
    lab.answer_heartbeats();
    // RTO.Alpha is 1/8.
    assert_eq!(lab.stats().paths[0].srtt, Some(before * 7 / 8 + ms(100)));
}

// covers: RFC 9260 §8.3-16, §8.3-1, §3.3.5-1
#[test]
fn idle_paths_are_asked_one_at_a_time() {
    let config = quiet_with(|config| config.heartbeat_interval = Some(ms(5000)));
    let mut lab = Lab::established(3, config);
    let mut beats: Vec<(Time, Address)> = Vec::new();
    for _ in 0..600 {
        lab.run(ms(100));
        let sent = lab.take();
        beats.extend(sent.iter().map(|sent| (sent.at, sent.to)));
        for sent in sent {
            let path = (0..3).find(|path| theirs(*path) == sent.to).unwrap();
            let heartbeat = sent.chunk(HEARTBEAT).expect("nothing else is sent");
            lab.give_over(path, &chunk(HEARTBEAT_ACK, 0, &heartbeat.value));
        }
    }
    assert!(beats.len() >= 24, "{beats:?}");
    assert!(beats.windows(2).all(|pair| pair[0].0 != pair[1].0), "{beats:?}");
    assert!((0..3).all(|path| beats.iter().filter(|(_, to)| *to == theirs(path)).count() >= 8));
}

// covers: RFC 9260 §8.3-1
#[test]
fn data_that_go_again_ask_the_path_and_no_heartbeat_does_so_too_however_late_the_timers_are() {
    let config = quiet_with(|config| {
        config.heartbeat_interval = Some(ms(5000));
        (config.rto_min, config.rto_initial, config.rto_max) = (ms(400), ms(400), ms(400));
    });
    let mut lab = Lab::established(1, config);
    lab.send(0, b"x");
    let mut again = 0;
    // Handled half a timeout late, a HEARTBEAT to a path in doubt is mostly due too.
    while let Some(at) = lab.stack.poll_timeout().filter(|_| again < 8) {
        lab.now = at + ms(200);
        lab.stack.handle_timeout(lab.now);
        let sent = lab.take();
        assert!(sent.iter().all(|sent| sent.kinds() == [DATA]), "{sent:?}");
        again += sent.len();
    }
    assert_eq!(again, 8);
}
