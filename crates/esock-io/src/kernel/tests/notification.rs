//! Notifications from bytes made by hand.

use crate::kernel::{AssocId, AssocState, Notification, PathChange};
use esock_proto::Address;
use std::net::Ipv4Addr;

const ASSOCIATION: AssocId = AssocId(0x0102_0304);

/// The bytes of a notification, from its type, flags and the rest.
fn notification(kind: u16, flags: u16, rest: &[&[u8]]) -> Vec<u8> {
    let rest = rest.concat();
    let length = 8 + rest.len() as u32;
    [&kind.to_ne_bytes()[..], &flags.to_ne_bytes(), &length.to_ne_bytes(), &rest].concat()
}

fn short(value: u16) -> [u8; 2] {
    value.to_ne_bytes()
}

fn long(value: u32) -> [u8; 4] {
    value.to_ne_bytes()
}

fn association() -> [u8; 4] {
    ASSOCIATION.0.to_ne_bytes()
}

/// 10.0.0.7, port 2905, in 128 bytes.
fn storage() -> Vec<u8> {
    let mut bytes = [&short(libc::AF_INET as u16)[..], &2905u16.to_be_bytes(), &[10, 0, 0, 7]].concat();
    bytes.resize(128, 0);
    bytes
}

fn assoc_change(state: u16) -> Vec<u8> {
    let numbers = [short(state), 12u16.to_be_bytes(), short(10), short(20)].concat();
    notification(0x8001, 0, &[&numbers, &association(), b"why"])
}

fn peer_addr_change(state: u32) -> Vec<u8> {
    notification(0x8002, 0, &[&storage(), &long(state), &long(2), &association()])
}

/// One of each kind that has a form of its own, and the bytes of its fixed part.
fn every_kind() -> Vec<(Vec<u8>, usize, Notification<'static>)> {
    let address: Address = Ipv4Addr::new(10, 0, 0, 7).into();
    let cause = [&12u16.to_be_bytes()[..], &[0, 0]].concat();
    let message = [&short(3)[..], &short(4), &50u32.to_be_bytes(), &long(60)].concat();
    let old_message =
        [&short(3)[..], &short(9), &short(4), &[0, 0], &50u32.to_be_bytes(), &long(60), &[0; 16]].concat();
    let failed = Notification::SendFailed {
        sent: true,
        error: 12,
        stream: 3,
        ppid: 50,
        context: 60,
        flags: 4,
        assoc_id: ASSOCIATION,
        data: b"data",
    };
    vec![
        (
            assoc_change(1),
            20,
            Notification::AssocChange {
                state: AssocState::Lost,
                error: 12,
                outbound_streams: 10,
                inbound_streams: 20,
                assoc_id: ASSOCIATION,
                info: b"why",
            },
        ),
        (
            peer_addr_change(1),
            148,
            Notification::PeerAddrChange {
                address: Some((address, 2905)),
                state: PathChange::Unreachable,
                error: 2,
                assoc_id: ASSOCIATION,
            },
        ),
        (notification(0x8003, 1, &[&cause, &old_message, &association(), b"data"]), 48, failed),
        (
            notification(0x8004, 0, &[&cause, &association(), b"data"]),
            16,
            Notification::RemoteError { cause: 12, assoc_id: ASSOCIATION, data: b"data" },
        ),
        (notification(0x8005, 0, &[&association()]), 12, Notification::Shutdown { assoc_id: ASSOCIATION }),
        (
            notification(0x8006, 0, &[&long(0), &association(), &long(5), &long(6)]),
            24,
            Notification::PartialDelivery { indication: 0, assoc_id: ASSOCIATION, stream: 5, sequence: 6 },
        ),
        (
            notification(0x8007, 0, &[&long(77), &association()]),
            16,
            Notification::Adaptation { indication: 77, assoc_id: ASSOCIATION },
        ),
        (
            notification(0x8008, 0, &[&short(1), &short(2), &long(2), &association()]),
            20,
            Notification::Authentication { key: 1, indication: 2, assoc_id: ASSOCIATION },
        ),
        (notification(0x8009, 0, &[&association()]), 12, Notification::SenderDry { assoc_id: ASSOCIATION }),
        (
            notification(0x800a, 2, &[&association(), b"\0\x01\0\x02"]),
            12,
            Notification::StreamReset { flags: 2, assoc_id: ASSOCIATION, streams: b"\0\x01\0\x02" },
        ),
        (
            notification(0x800b, 4, &[&association(), &long(7), &long(8)]),
            20,
            Notification::AssocReset { flags: 4, assoc_id: ASSOCIATION, local_tsn: 7, remote_tsn: 8 },
        ),
        (
            notification(0x800c, 0, &[&association(), &short(9), &short(11)]),
            16,
            Notification::StreamChange { flags: 0, assoc_id: ASSOCIATION, inbound_streams: 9, outbound_streams: 11 },
        ),
        (notification(0x800d, 1, &[&cause, &message, &association(), &association(), b"data"]), 32, failed),
    ]
}

#[test]
fn every_kind_of_notification_is_understood() {
    for (bytes, _, expected) in every_kind() {
        assert_eq!(Notification::parse(&bytes), expected);
    }
}

#[test]
fn every_state_of_an_association_has_its_name() {
    use AssocState::{CannotStart, Lost, Other, Restart, ShutDown, Up};
    for (number, expected) in [Up, Lost, Restart, ShutDown, CannotStart, Other(5)].into_iter().enumerate() {
        let bytes = assoc_change(number as u16);
        assert!(
            matches!(Notification::parse(&bytes), Notification::AssocChange { state, .. } if state == expected),
            "{number}"
        );
    }
}

#[test]
fn every_change_of_a_path_has_its_name() {
    use PathChange::{Added, Available, Confirmed, MadePrimary, Other, PotentiallyFailed, Removed, Unreachable};
    let all = [Available, Unreachable, Removed, Added, MadePrimary, Confirmed, PotentiallyFailed, Other(7)];
    for (number, expected) in all.into_iter().enumerate() {
        let bytes = peer_addr_change(number as u32);
        assert!(
            matches!(Notification::parse(&bytes), Notification::PeerAddrChange { state, .. } if state == expected),
            "{number}"
        );
    }
}

#[test]
fn one_that_is_cut_anywhere_is_unknown_and_carried() {
    for (bytes, ..) in every_kind() {
        let whole_kind = u16::from_ne_bytes([bytes[0], bytes[1]]);
        for length in 0..bytes.len() {
            let cut = &bytes[..length];
            let kind = if length < 2 { 0 } else { whole_kind };
            assert_eq!(Notification::parse(cut), Notification::Unknown { kind, bytes: cut });
        }
    }
}

#[test]
fn one_that_says_it_is_shorter_than_its_fixed_part_is_unknown() {
    for (mut bytes, fixed, expected) in every_kind() {
        for length in 0..=bytes.len() as u32 {
            bytes[4..8].copy_from_slice(&length.to_ne_bytes());
            let parsed = Notification::parse(&bytes);
            let is_unknown = matches!(parsed, Notification::Unknown { .. });
            assert_eq!(is_unknown, (length as usize) < fixed, "{expected:?} with length {length}");
        }
    }
}

#[test]
fn what_follows_a_notification_is_not_part_of_it() {
    let (mut bytes, _, expected) = every_kind().remove(0);
    bytes.extend([0xff; 9]);
    assert_eq!(Notification::parse(&bytes), expected);
}

#[test]
fn an_unknown_kind_is_carried_with_its_type() {
    for kind in [0, 0x7fff, 0x8000, 0x800e, 0xffff] {
        let bytes = notification(kind, 0, &[&association(), b"more"]);
        assert_eq!(Notification::parse(&bytes), Notification::Unknown { kind, bytes: &bytes });
    }
    assert_eq!(Notification::parse(&[]), Notification::Unknown { kind: 0, bytes: &[] });
}
