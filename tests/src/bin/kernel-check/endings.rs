//! How associations end, and how some do not begin.

use crate::report::{Ended, Failure, Report};
use crate::side::{Pair, Side, addresses, failed_with};
use esock_io::kernel::{AssocId, AssocState, Event, InitMsg, Notification, Rto, SendInfo, State};
use std::time::{Duration, Instant};

const EPIPE: i32 = 32;

/// User-Initiated Abort (RFC 9260 §3.3.10.12).
const USER_ABORT: u16 = 12;

pub fn shutdown(report: &mut Report) -> Ended {
    for peeled in [false, true] {
        let kind = if peeled { "peeled off" } else { "one of many" };
        let pair = if peeled { Pair::peeled()? } else { Pair::new()? };
        let Pair { client, server, ours, theirs } = pair;
        client.send(ours, b"last")?;
        client.socket().shutdown(ours)?;
        report.equal(
            &format!("what was sent before the shutdown, {kind}"),
            server.message(4096)?.data,
            b"last".to_vec(),
        );
        let told = server.told("shutdown", |notification| match *notification {
            Notification::Shutdown { assoc_id } => Some(assoc_id),
            _ => None,
        })?;
        report.equal(&format!("the peer is told, {kind}"), told, theirs);
        for (name, side) in [("client", &client), ("server", &server)] {
            let down = side.down()?;
            report.equal(&format!("shut down, {kind}, {name}"), (down.state, down.error), (AssocState::ShutDown, 0));
        }
        let gone = client.socket().send(b"x", &SendInfo::new(ours), None);
        report.check("sending on it then", failed_with(&gone, EPIPE), format!("{gone:?}"));
        let again = client.socket().shutdown(ours);
        report.check("shutting it down again", failed_with(&again, EPIPE), format!("{again:?}"));
        if peeled {
            // What a backend sees of a socket whose association has ended.
            let received = client.socket().recv(&mut [0; 100]);
            report.passed("receiving on it then", format!("{received:?}"));
        }
    }
    Ok(())
}

pub fn abort_with_a_reason(report: &mut Report) -> Ended {
    for (peeled, reason) in [(false, &b"because I say so"[..]), (true, b"enough"), (true, b"")] {
        let pair = if peeled { Pair::peeled()? } else { Pair::new()? };
        let Pair { client, server, ours, .. } = pair;
        client.socket().abort(ours, reason)?;
        let down = server.down()?;
        report.equal("the peer is told of the abort", (down.state, down.error), (AssocState::Lost, USER_ABORT));
        let cause = [&USER_ABORT.to_be_bytes()[..], &(reason.len() as u16 + 4).to_be_bytes(), reason].concat();
        let said = &down.info;
        report.check(
            "and of its reason",
            said.starts_with(&cause) && said.len() < cause.len() + 4,
            format!("{said:?}"),
        );
        let own = client.down()?;
        report.equal("so are we", own.state, AssocState::Lost);
        report.passed("what we are told", format!("{own:?}"));
        report.equal("no error waits", server.socket().take_error()?.map(|error| error.to_string()), None);
    }
    Ok(())
}

/// Sends messages of `len` bytes, numbered in their context, until there is no room.
fn fill(side: &Side, association: AssocId, len: usize) -> Result<u32, Failure> {
    for context in 0.. {
        let info = SendInfo { stream: 4, ppid: 1000 + context, context, ..SendInfo::new(association) };
        match side.socket().send(&vec![context as u8; len], &info, None) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(context),
            Err(error) => return Err(error.into()),
        }
    }
    Err("there is always room".into())
}

pub fn what_was_not_sent_comes_back(report: &mut Report) -> Ended {
    for by_the_peer in [false, true] {
        let Pair { client, server, ours, theirs } = Pair::peeled()?;
        let sent = fill(&client, ours, 1000)?;
        report.check("sent until there is no room", sent > 10, format!("{sent} messages"));
        if by_the_peer {
            server.socket().abort(theirs, b"no more")?;
        } else {
            client.socket().abort(ours, b"no more")?;
        }
        let mut returned: Vec<(u32, bool, u16, u16)> = Vec::new();
        // Linux tells that the association is lost, and then gives back what was not delivered.
        report.equal("the association is lost", client.down()?.state, AssocState::Lost);
        while returned.last().is_none_or(|(context, ..)| context + 1 != sent) {
            let item = client.item(4096).map_err(|error| format!("after {} messages: {error}", returned.len()))?;
            match Notification::parse(&item.data) {
                Notification::SendFailed { sent, error, stream, ppid, context, flags, assoc_id, data } => {
                    report_failed(report, &returned, (stream, ppid, context, assoc_id), ours, data);
                    returned.push((context, sent, error, flags));
                }
                other => return Err(format!("{other:?}").into()),
            }
        }
        report.passed("the last message comes back", sent);
        let (on_the_wire, not) =
            returned.iter().fold((0, 0), |(yes, no), (_, sent, ..)| if *sent { (yes + 1, no) } else { (yes, no + 1) });
        report.check("most of them were not sent", not > 10, format!("{on_the_wire} on the wire, {not} not"));
        report.passed("flags and error of the first", format!("{:?}", returned.first()));
    }
    Ok(())
}

/// Checks what comes back with the first few messages.
fn report_failed<T>(
    report: &mut Report,
    earlier: &[T],
    (stream, ppid, context, association): (u16, u32, u32, AssocId),
    ours: AssocId,
    data: &[u8],
) {
    if earlier.len() < 2 {
        report.equal("what comes back", (stream, ppid, association), (4, 1000 + context, ours));
        report.check("its data", data == vec![context as u8; 1000], format!("{} bytes", data.len()));
    }
}

pub fn fragments_come_back_one_by_one(report: &mut Report) -> Ended {
    let Pair { client, server: _server, ours, .. } = Pair::peeled()?;
    client.socket().set_max_segment(ours, 500)?;
    client.socket().set_buffers(1 << 20, 1 << 20);
    // More than the peer takes without reading.
    let message = vec![7; 400_000];
    client.send(ours, &message)?;
    client.socket().abort(ours, b"")?;
    client.down()?;
    let (mut flags, mut bytes) = (Vec::new(), 0);
    while flags.last().is_none_or(|flags| flags & 1 == 0) {
        let part = client.told("a fragment", |notification| match notification {
            Notification::SendFailed { flags, data, .. } => Some((*flags, data.len())),
            _ => None,
        })?;
        flags.push(part.0);
        bytes += part.1;
    }
    let ends = flags.pop();
    report.equal("the last fragment", ends, Some(1));
    report.check(
        "those before it",
        flags.len() > 100 && flags.iter().skip(1).all(|flags| *flags == 0),
        format!("{} fragments with {bytes} bytes, the first with flags {:?}", flags.len() + 1, flags.first()),
    );
    Ok(())
}

pub fn a_partial_delivery_that_ends(report: &mut Report) -> Ended {
    let Pair { client, server, ours, theirs } = Pair::peeled()?;
    client.socket().set_buffers(1 << 20, 1 << 20);
    client.send_with(&vec![7; 500_000], &SendInfo { stream: 6, ..SendInfo::new(ours) })?;
    let mut buffer = vec![0; 10_000];
    // More than fits, so that what fits is delivered in part.
    let patience = Some(Duration::from_secs(5));
    report.check("something comes", server.socket().wait(false, patience)?, "ready");
    let first = server.socket().recv(&mut buffer)?;
    report.check("a part", !first.end_of_record && first.len == 10_000 && !first.notification, format!("{first:?}"));
    client.socket().abort(ours, b"")?;
    let mut bytes = first.len;
    let told = loop {
        if !server.socket().wait(false, patience)? {
            return Err(format!("nothing after {bytes} bytes").into());
        }
        let received = server.socket().recv(&mut buffer)?;
        if received.notification {
            break format!("{:?}", Notification::parse(&buffer[..received.len]));
        }
        bytes += received.len;
        report.check("no end", !received.end_of_record && bytes < 500_000, bytes);
    };
    // Linux names the stream only with I-DATA.
    let expected = Notification::PartialDelivery { indication: 0, assoc_id: theirs, stream: 0, sequence: 0 };
    report.equal("the delivery ends", told, format!("{expected:?}"));
    report.equal("and the association", server.down()?.state, AssocState::Lost);
    Ok(())
}

pub fn a_socket_that_is_closed(report: &mut Report) -> Ended {
    let Pair { client, server, ours, .. } = Pair::peeled()?;
    client.send(ours, b"bye")?;
    drop(client);
    report.equal("what was sent before", server.message(4096)?.data, b"bye".to_vec());
    report.equal("closing shuts down", server.down()?.state, AssocState::ShutDown);

    let Pair { client, server, theirs, .. } = Pair::peeled()?;
    server.socket().set_events(theirs, &[Event::SenderDry], true)?;
    server.send(theirs, b"not read")?;
    // Received and not read, when it is closed: what the kernel makes of it.
    server.dry()?;
    drop(client);
    report.passed("closing with a message that was not read", format!("{:?}", server.down()?));
    Ok(())
}

pub fn nobody_there(report: &mut Report) -> Ended {
    let client = Side::open(&["127.0.0.1"], 0)?;
    // Bound, and not listening.
    let server = Side::open(&["127.0.0.1"], 0)?;
    let ours = client.socket().connect(&addresses(&["127.0.0.1"])?, server.port()?)?;
    let down = client.down()?;
    report.equal("not set up", down.state, AssocState::CannotStart);
    let error = client.socket().take_error()?;
    report.passed("the error that waits", format!("{down:?} {error:?}"));
    report.check("its number is gone", client.socket().status(ours).is_err(), "no status");
    server.socket().listen(true)?;
    client.socket().connect(&addresses(&["127.0.0.1"])?, server.port()?)?;
    client.up()?;
    server.up()?;
    report.passed("it listens now", "up");
    server.socket().listen(false)?;
    let other = Side::open(&["127.0.0.1"], 0)?;
    other.socket().connect(&addresses(&["127.0.0.1"])?, server.port()?)?;
    report.equal("it does not listen any more", other.down()?.state, AssocState::CannotStart);
    Ok(())
}

pub fn silent_endpoint(report: &mut Report) -> Ended {
    let Pair { client: first, server, ours: first_ours, theirs } = Pair::new()?;
    server.socket().drop_inits(true)?;
    let client = Side::open(&["127.0.0.2"], 0)?;
    let millis = Duration::from_millis;
    client.socket().set_rto(AssocId::FUTURE, Rto { initial: millis(100), min: millis(100), max: millis(200) })?;
    client.socket().set_initmsg(InitMsg { max_attempts: 200, max_timeout: millis(200), ..InitMsg::default() })?;
    let ours = client.socket().connect(&addresses(&["127.0.0.1"])?, server.port()?)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    // As many INITs went out as say that the first was not just lost.
    while client.socket().stats(ours)?.control_chunks_sent < 5 && Instant::now() < deadline {
        client.is_silent(millis(20))?;
    }
    let stats = client.socket().stats(ours)?;
    report.check("INITs go out", stats.control_chunks_sent >= 5, stats.control_chunks_sent);
    report.equal("and nothing comes back", stats.packets_received, 0);
    report.equal("still waiting", client.socket().status(ours)?.state, State::CookieWait);
    report.check("nothing is told to the client", client.is_silent(millis(200))?, "silent");
    report.check("nor to the server", server.is_silent(millis(100))?, "silent");

    first.send(first_ours, b"still here")?;
    report.equal("associations live on", server.message(4096)?.data, b"still here".to_vec());
    server.send(theirs, b"and back")?;
    report.equal("both ways", first.message(4096)?.data, b"and back".to_vec());
    // Whoever listens behind the filter can connect.
    let third = Side::open(&["127.0.0.3"], 0)?;
    third.socket().listen(true)?;
    server.socket().connect(&addresses(&["127.0.0.3"])?, third.port()?)?;
    server.up()?;
    third.up()?;
    report.passed("it connects itself", "up");

    server.socket().drop_inits(false)?;
    report.equal("without the filter it comes up", client.up()?.association, ours);
    server.up()?;
    report.check("there is nothing to remove", server.socket().drop_inits(false).is_err(), "error");
    Ok(())
}
