//! Associations that live: addresses, messages, paths.

use crate::report::{Ended, Report};
use crate::side::{Pair, Side, address, addresses, failed_with};
use esock_io::kernel::{
    AssocId, Event, InitMsg, Notification, PathParams, PathState, PrInfo, SendInfo, State, Thresholds,
};
use esock_proto::Address;
use std::time::Duration;

/// ENOTCONN's neighbour: there is an association with this peer already.
const EISCONN: i32 = 106;
const EINVAL: i32 = 22;
const EPIPE: i32 = 32;

fn sorted(mut list: Vec<(Address, u16)>) -> Vec<(Address, u16)> {
    list.sort();
    list
}

fn with_port(texts: &[&str], port: u16) -> Result<Vec<(Address, u16)>, crate::report::Failure> {
    Ok(sorted(addresses(texts)?.into_iter().map(|address| (address, port)).collect()))
}

/// Bytes that tell where they belong.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8)) as u8).collect()
}

pub fn two_addresses(report: &mut Report) -> Ended {
    let server = Side::open(&["127.0.0.1", "127.0.0.2"], 0)?;
    let server_init = InitMsg { outbound_streams: 12, max_inbound_streams: 40, ..InitMsg::default() };
    server.socket().set_initmsg(server_init)?;
    server.socket().set_adaptation_layer(77)?;
    server.socket().listen(true)?;
    let port = server.port()?;
    let bound = sorted(server.socket().local_addresses(AssocId::FUTURE)?);
    report.equal("bound to two addresses", bound, with_port(&["127.0.0.1", "127.0.0.2"], port)?);

    let client = Side::open(&["127.0.0.3"], 0)?;
    client.socket().bind(&addresses(&["127.0.0.4", "127.0.0.5"])?, client.port()?)?;
    client.socket().unbind(&addresses(&["127.0.0.5"])?, client.port()?)?;
    client.socket().set_initmsg(InitMsg { outbound_streams: 30, max_inbound_streams: 50, ..InitMsg::default() })?;
    let remote = addresses(&["127.0.0.1", "127.0.0.2"])?;
    let connecting = client.socket().connect(&remote, port)?;
    let (ours, theirs) = (client.up()?, server.up()?);
    report.equal("the association that connect named comes up", ours.association, connecting);
    report.equal("streams at the client", (ours.outbound_streams, ours.inbound_streams), (30, 12));
    report.equal("streams at the server", (theirs.outbound_streams, theirs.inbound_streams), (12, 30));
    let told = client.told("adaptation", |notification| match *notification {
        Notification::Adaptation { indication, assoc_id } => Some((indication, assoc_id)),
        _ => None,
    })?;
    report.equal("adaptation indication", told, (77, connecting));
    let again = client.socket().connect(&remote, port);
    report.check("connecting twice fails", failed_with(&again, EISCONN), format!("{again:?}"));

    // What was received before peeling off goes along.
    server.send(theirs.association, b"early")?;
    let old = client;
    let (client, server) = (old.peel_off(connecting)?, server.peel_off(theirs.association)?);
    report.equal("a message before peeling off", client.message(4096)?.data, b"early".to_vec());
    let gone = old.socket().status(connecting);
    report.check("it is not in the old socket", failed_with(&gone, EINVAL), format!("{gone:?}"));
    let again = old.socket().peel_off(connecting).map(drop);
    report.check("nor can it be peeled off again", failed_with(&again, EINVAL), format!("{again:?}"));
    let own = client.port()?;
    let socket = client.socket();
    report.equal(
        "peer's addresses",
        sorted(socket.peer_addresses(connecting)?),
        with_port(&["127.0.0.1", "127.0.0.2"], port)?,
    );
    report.equal(
        "own addresses",
        sorted(socket.local_addresses(connecting)?),
        with_port(&["127.0.0.3", "127.0.0.4"], own)?,
    );
    server.send(theirs.association, b"late")?;
    let message = client.message(4096)?;
    report.equal("a message after peeling off", message.data, b"late".to_vec());
    report.equal("its association", message.info.map(|info| info.association), Some(connecting));
    let from = message.from.ok_or("no address")?;
    report.check("its sender", remote.contains(&from.0) && from.1 == port, format!("{from:?}"));
    Ok(())
}

pub fn streams_and_flags(report: &mut Report) -> Ended {
    let Pair { client, server, ours, theirs } = Pair::peeled()?;
    server.socket().set_events(theirs, &[Event::SenderDry], true)?;
    for (stream, ppid, unordered) in [(0, 0, false), (3, 46, false), (9, 0x0102_0304, true), (3, u32::MAX, false)] {
        let info = SendInfo { stream, ppid, unordered, sack_immediately: true, ..SendInfo::new(ours) };
        let text = format!("{info:?}");
        client.send_with(text.as_bytes(), &info)?;
        let message = server.message(4096)?;
        let got = message.info.ok_or("no information about the message")?;
        report.equal(
            &format!("stream {stream} ppid {ppid} unordered {unordered}"),
            (got.stream, got.ppid, got.unordered, got.association, String::from_utf8(message.data)?),
            (stream, ppid, unordered, theirs, text),
        );
    }
    let ssn = {
        client.send_with(b"third", &SendInfo { stream: 3, ..SendInfo::new(ours) })?;
        server.message(4096)?.info.ok_or("no information")?.ssn
    };
    report.equal("the third message of a stream", ssn, 2);

    server.send_with(b"1", &SendInfo { stream: 1, ppid: 11, ..SendInfo::new(theirs) })?;
    server.send_with(b"22", &SendInfo { stream: 2, ppid: 22, unordered: true, ..SendInfo::new(theirs) })?;
    server.dry()?;
    report.passed("dry when all is acknowledged", "told");
    // One after the other they are there now, and the first tells of the second.
    let first = client.message(4096)?;
    let next = first.next.ok_or("nothing about the next message")?;
    report.equal(
        "about the next message",
        (next.stream, next.ppid, next.length, next.unordered, next.notification, next.association),
        (2, 22, 2, true, false, ours),
    );
    report.equal("the next message", client.message(4096)?.data, b"22".to_vec());

    for reliability in [PrInfo::Lifetime(Duration::from_secs(5)), PrInfo::Retransmissions(3), PrInfo::Priority(7)] {
        client.socket().send(b"while it lasts", &SendInfo::new(ours), Some(reliability))?;
        let message = server.message(4096)?;
        report.equal(&format!("{reliability:?}"), message.data, b"while it lasts".to_vec());
    }
    let wrong = client.socket().send(b"x", &SendInfo { stream: 10, ..SendInfo::new(ours) }, None);
    report.check("a stream that does not exist", failed_with(&wrong, EINVAL), format!("{wrong:?}"));
    Ok(())
}

pub fn a_large_message(report: &mut Report) -> Ended {
    let Pair { client, server, ours, theirs } = Pair::peeled()?;
    let data = pattern(100_000);
    server.socket().set_partial_delivery_point(10_000)?;
    for round in 0..3 {
        client.send_with(&data, &SendInfo { stream: 5, ppid: 51, ..SendInfo::new(ours) })?;
        let message = server.message(4096)?;
        report.check(
            &format!("100 kB in pieces, {round}"),
            message.data == data && message.pieces >= 25,
            format!("{} bytes in {} pieces", message.data.len(), message.pieces),
        );
        let info = message.info.ok_or("no information about the message")?;
        report.equal("about its last piece", (info.stream, info.ppid, info.association), (5, 51, theirs));
    }
    // More than the server's buffer takes: the first parts are delivered before the last are sent.
    client.socket().set_buffers(1 << 20, 1 << 20);
    let long = pattern(700_000);
    client.send(ours, &long)?;
    let message = server.message(30_000)?;
    report.check("700 kB in parts", message.data == long, format!("{} pieces", message.pieces));
    client.send(ours, &data)?;
    let message = server.message(1 << 17)?;
    report.check("100 kB with room for it", message.data == data, format!("{} pieces", message.pieces));
    Ok(())
}

pub fn many_associations_on_one_socket(report: &mut Report) -> Ended {
    let server = Side::open(&["127.0.0.1"], 0)?;
    server.socket().listen(true)?;
    let mut clients = Vec::new();
    for number in 0..5u8 {
        let client = Side::open(&["127.0.0.1"], 0)?;
        let ours = client.socket().connect(&addresses(&["127.0.0.1"])?, server.port()?)?;
        client.up()?;
        let theirs = server.up()?.association;
        clients.push((client, ours, theirs, number));
    }
    for (client, ours, _, number) in &clients {
        client.send(*ours, &[*number])?;
    }
    for _ in &clients {
        let message = server.message(4096)?;
        let (info, from) = (message.info.ok_or("no information")?, message.from.ok_or("no address")?);
        let (client, _, theirs, number) = &clients[usize::from(message.data[0])];
        report.equal("its association", info.association, *theirs);
        report.equal("its address", from, (address("127.0.0.1")?, client.port()?));
        server.send_with(&[*number], &SendInfo { to: Some(from), ..SendInfo::new(*theirs) })?;
        report.equal("the answer", client.message(4096)?.data, vec![*number]);
    }
    let wrong = server.socket().send(b"x", &SendInfo::new(AssocId(i32::MAX)), None);
    report.check("an association that does not exist", failed_with(&wrong, EPIPE), format!("{wrong:?}"));
    Ok(())
}

pub fn paths(report: &mut Report) -> Ended {
    let server = Side::open(&["127.0.0.1", "127.0.0.2"], 0)?;
    server.socket().listen(true)?;
    let port = server.port()?;
    let client = Side::open(&["127.0.0.3"], 0)?;
    let ours = client.socket().connect(&addresses(&["127.0.0.1", "127.0.0.2"])?, port)?;
    client.up()?;
    let theirs = server.up()?.association;
    let (client, server) = (client.peel_off(ours)?, server.peel_off(theirs)?);
    let (one, two) = ((address("127.0.0.1")?, port), (address("127.0.0.2")?, port));
    let socket = client.socket();

    let status = socket.status(ours)?;
    report.equal("state", (status.state, status.association), (State::Established, ours));
    report.equal("streams", (status.inbound_streams, status.outbound_streams), (10, 10));
    report.check("window of the peer", status.peer_rwnd_bytes > 10_000, status.peer_rwnd_bytes);
    report.check("fragmentation point", status.fragmentation_point_bytes > 1000, status.fragmentation_point_bytes);
    report.equal("primary path in the status", status.primary.address, Some(one));

    // The second path is confirmed by a heartbeat.
    socket.heartbeat(ours, two)?;
    while socket.path_info(ours, two)?.state != PathState::Active {
        client.told("confirmed", |notification| match *notification {
            Notification::PeerAddrChange { address, .. } if address == Some(two) => Some(()),
            _ => None,
        })?;
    }
    report.passed("a heartbeat confirms the second path", "told");
    let info = socket.path_info(ours, two)?;
    report.equal("address of a path", (info.address, info.association), (Some(two), ours));
    report.check(
        "numbers of a path",
        info.cwnd_bytes > 1000 && info.mtu_bytes > 1000 && info.rto >= Duration::from_millis(100),
        format!("{info:?}"),
    );

    report.equal("primary path", socket.primary(ours)?, one);
    socket.set_primary(ours, two)?;
    report.equal("primary path, moved", socket.primary(ours)?, two);
    client.send(ours, b"on two")?;
    report.equal("a message on it", server.message(4096)?.data, b"on two".to_vec());

    let millis = Duration::from_millis;
    let params = PathParams { heartbeat_interval: Some(millis(4300)), ..PathParams::default() };
    socket.set_path_params(ours, Some(two), params)?;
    let interval = |path| socket.path_params(ours, Some(path)).map(|params| params.heartbeat_interval);
    report.equal("heartbeat interval of a path", interval(two)?, Some(millis(4300)));
    report.equal("and of the other", interval(one)?, Some(millis(30_000)));
    let thresholds = Thresholds { max_retransmissions: 8, potentially_failed: 1, primary_switchover: 9 };
    socket.set_thresholds(ours, Some(one), thresholds)?;
    report.equal("thresholds of a path", socket.thresholds(ours, Some(one))?, thresholds);
    report.check("and of the other", socket.thresholds(ours, Some(two))? != thresholds, "differ");
    let nowhere = socket.path_info(ours, (address("127.0.0.9")?, port));
    report.check("a path that does not exist", failed_with(&nowhere, EINVAL), format!("{nowhere:?}"));

    let stats = socket.stats(ours)?;
    report.check(
        "counters",
        stats.ordered_chunks_sent == 1
            && stats.unordered_chunks_sent == 0
            && stats.control_chunks_sent >= 3
            && stats.packets_sent >= 4
            && stats.packets_received >= 3,
        format!("{stats:?}"),
    );
    Ok(())
}

pub fn ipv6_and_ipv4(report: &mut Report) -> Ended {
    let server = Side::open(&["::1", "127.0.0.1"], 0)?;
    server.socket().listen(true)?;
    let port = server.port()?;
    let both = with_port(&["::1", "127.0.0.1"], port)?;
    report.equal("bound to both families", sorted(server.socket().local_addresses(AssocId::FUTURE)?), both.clone());
    for (from, to) in [(&["::1", "127.0.0.3"][..], "::1"), (&["::1"], "::1"), (&["127.0.0.3"], "127.0.0.1")] {
        let client = Side::open(from, 0)?;
        let ours = client.socket().connect(&addresses(&[to])?, port)?;
        client.up()?;
        let theirs = server.up()?.association;
        client.send(ours, b"hello")?;
        let message = server.message(4096)?;
        report.equal(&format!("a message from {from:?} to {to}"), message.data, b"hello".to_vec());
        let sender = message.from.ok_or("no address")?;
        let known = with_port(from, client.port()?)?;
        report.check("its sender", known.contains(&sender), format!("{sender:?}"));
        report.equal("all of its sender's addresses", sorted(server.socket().peer_addresses(theirs)?), known);
    }
    let any = Side::open(&["::"], 0)?;
    any.socket().listen(true)?;
    for to in ["::1", "127.0.0.1"] {
        let client = Side::open(&[to], 0)?;
        client.socket().connect(&addresses(&[to])?, any.port()?)?;
        client.up()?;
        any.up()?;
        report.passed("bound to all", to);
    }
    Ok(())
}

pub fn udp_encapsulation(report: &mut Report) -> Ended {
    let server = Side::open(&["127.0.0.1"], 0)?;
    server.socket().listen(true)?;
    let client = Side::open(&["127.0.0.2"], 0)?;
    // The guest's `net.sctp.udp_port`.
    client.socket().set_encap_port(AssocId::FUTURE, None, 9899)?;
    let to = (address("127.0.0.1")?, server.port()?);
    let ours = client.socket().connect(&[to.0], to.1)?;
    client.up()?;
    let theirs = server.up()?.association;
    report.equal("our path's port", client.socket().encap_port(ours, Some(to))?, 9899);
    let back = (address("127.0.0.2")?, client.port()?);
    report.equal("the port that the server learned", server.socket().encap_port(theirs, Some(back))?, 9899);
    client.send(ours, b"in UDP")?;
    report.equal("a message over UDP", server.message(4096)?.data, b"in UDP".to_vec());
    Ok(())
}
