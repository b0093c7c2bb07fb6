//! What comes from the kernel: notifications and messages.

use super::super::{AssocId as KernelId, AssocState, Notification, PathChange, RcvInfo, Received};
use super::link::Link;
use super::{ENDPOINT_READS, Kernel};
use crate::session::{Sessions, Source};
use bytes::Bytes;
use esock_proto::{
    Address, AssocId, CloseReason, EndpointId, Event, Message, Negotiated, Part, PathId, PathState, Ppid, Ssn, State,
    StreamId, Time, Tsn,
};
use mio::unix::SourceFd;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;

/// The code of the first cause of an ABORT, and its reason or else its own bytes.
pub(super) fn first_cause(causes: &[u8]) -> (Option<u16>, Bytes) {
    let Some((header, _)) = causes.split_first_chunk::<4>() else { return (None, Bytes::new()) };
    let (code, len) = (u16::from_be_bytes([header[0], header[1]]), u16::from_be_bytes([header[2], header[3]]));
    let info = causes.get(4..usize::from(len)).unwrap_or_default();
    (Some(code), Bytes::copy_from_slice(info))
}

/// Why an association was lost.
fn lost(link: &Link, error: u16, info: &[u8]) -> CloseReason {
    let (code, info) = first_cause(info);
    match code.or((error != 0).then_some(error)) {
        // The kernel does not say whether an ABORT without a cause came or nothing any more; the paths do.
        None if link.path_failed => CloseReason::TimedOut,
        cause => CloseReason::PeerAbort { cause, info },
    }
}

impl Kernel {
    /// Reads the notifications of an endpoint's socket.
    pub(super) fn read_endpoint(&mut self, sessions: &mut Sessions<Self>, now: Time, endpoint: EndpointId) {
        for _ in 0..ENDPOINT_READS {
            let Some(entry) = sessions.endpoints.get(&endpoint) else { return };
            let mut buffer = std::mem::take(&mut self.buffer);
            let received = entry.sockets.socket.recv(&mut buffer);
            let over = received.is_err();
            if let Ok(received) = received
                && let Some(id) = ended_one(&entry.sockets.ended, received, &buffer)
            {
                Self::read_ended(sessions, endpoint, id, received, &buffer[..received.len]);
            } else if let Ok(received) = received
                && received.notification
                && let Notification::AssocChange { state, error, outbound_streams, inbound_streams, assoc_id, info } =
                    Notification::parse(&buffer[..received.len])
            {
                let known = entry.sockets.connecting.get(&assoc_id).copied();
                match (state, known) {
                    (AssocState::Up, _) => {
                        let negotiated = Negotiated::streams(outbound_streams, inbound_streams);
                        self.buffer = std::mem::take(&mut buffer);
                        self.on_up(sessions, now, endpoint, (assoc_id, known, received.from), negotiated);
                        continue;
                    }
                    (AssocState::CannotStart | AssocState::Lost, Some(id)) => {
                        Self::on_cannot_start(sessions, now, id, error, info);
                        if let Some(entry) = sessions.endpoints.get_mut(&endpoint) {
                            entry.sockets.connecting.remove(&assoc_id);
                        }
                    }
                    _ => {}
                }
            }
            self.buffer = buffer;
            if over {
                return;
            }
        }
        // There may be more, and no new edge would tell.
        if let Some(entry) = sessions.endpoints.get(&endpoint) {
            let fd = entry.sockets.socket.as_raw_fd();
            // An error: the next notification is an edge of its own.
            let _ = sessions.watch_again(&mut SourceFd(&fd), Source::Endpoint(endpoint, 0));
        }
    }

    /// An association has come up: it gets a socket of its own, with all that was received for it.
    fn on_up(
        &mut self,
        sessions: &mut Sessions<Self>,
        now: Time,
        endpoint: EndpointId,
        (kernel, known, from): (KernelId, Option<AssocId>, Option<(Address, u16)>),
        mut negotiated: Negotiated,
    ) {
        let Some(entry) = sessions.endpoints.get_mut(&endpoint) else { return };
        entry.sockets.connecting.remove(&kernel);
        let peeled = entry.sockets.socket.peel_off(kernel);
        let wanted = known.is_some() || entry.accepting;
        let config = entry.config.clone();
        let socket = match peeled {
            Ok(socket) => socket,
            // There is no such association any more: it has ended meanwhile.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                return Self::on_up_and_gone(sessions, now, endpoint, (kernel, known, from), negotiated);
            }
            Err(_) => {
                // No descriptors are left: nobody would ever read it. An error: it has ended.
                let _ = entry.sockets.socket.abort(kernel, b"");
                if let Some(id) = known {
                    sessions.on_closed(id, CloseReason::PeerAbort { cause: None, info: Bytes::new() }, Vec::new());
                }
                return;
            }
        };
        let peer = socket.peer_addresses(kernel).unwrap_or_default();
        negotiated.peer_rwnd = socket.status(kernel).map_or(0, |status| status.peer_rwnd_bytes);
        let addresses: Vec<Address> = peer.iter().map(|(address, _)| *address).collect();
        let fd = socket.as_raw_fd();
        let id = match known {
            Some(id) => {
                let Some(session) = sessions.get_mut(id) else { return };
                session.link.socket = Some(socket);
                sessions.set_addresses(id, &addresses);
                id
            }
            None => {
                let port = peer.first().map_or(0, |(_, port)| *port);
                if !wanted || !sessions.has_room_for_undecided() {
                    let _ = socket.abort(kernel, b"");
                    return;
                }
                sessions.insert(endpoint, Link::up(socket, kernel, now), config, (addresses, port), true)
            }
        };
        // An error would be one of memory: it is then read when it is in a hurry only.
        let _ = sessions.watch(&mut SourceFd(&fd), Source::Session(id));
        // The adaptation indication comes right behind.
        self.drain(sessions, id, 2);
        let Some(session) = sessions.get_mut(id) else { return };
        negotiated.adaptation = session.link.adaptation;
        if known.is_some() {
            let waiting = session.mailbox.len() > 0;
            sessions.on_up(id, negotiated);
            if waiting {
                sessions.on_event(id, Event::Readable);
            }
        } else {
            let udp_port = session.link.socket.as_ref().and_then(|socket| socket.encap_port(kernel, None).ok());
            sessions.offer(id, negotiated, udp_port.filter(|port| *port != 0));
        }
        sessions.hurry(id);
    }

    /// An association came up and had ended before it was looked at. What it brought, and how it ended, follows on the
    /// endpoint's socket.
    fn on_up_and_gone(
        sessions: &mut Sessions<Self>,
        now: Time,
        endpoint: EndpointId,
        (kernel, known, from): (KernelId, Option<AssocId>, Option<(Address, u16)>),
        negotiated: Negotiated,
    ) {
        let Some(entry) = sessions.endpoints.get(&endpoint) else { return };
        let (wanted, config) = (entry.accepting, entry.config.clone());
        let id = match (known, from) {
            (Some(id), _) => {
                sessions.on_up(id, negotiated);
                id
            }
            (None, Some((address, port))) if wanted && sessions.has_room_for_undecided() => {
                let id = sessions.insert(endpoint, Link::connecting(kernel, now), config, (vec![address], port), true);
                sessions.offer(id, negotiated, None);
                id
            }
            _ => return,
        };
        if let Some(entry) = sessions.endpoints.get_mut(&endpoint) {
            entry.sockets.ended.insert(kernel, id);
        }
    }

    /// Takes what an association brought that has ended without a socket of its own. The kernel has no more of it than
    /// the endpoint's receive buffer holds.
    fn read_ended(
        sessions: &mut Sessions<Self>,
        endpoint: EndpointId,
        (kernel, id): (KernelId, AssocId),
        received: Received,
        bytes: &[u8],
    ) {
        if !received.notification {
            return on_piece(sessions, id, received, bytes);
        }
        on_notification(sessions, id, Notification::parse(bytes));
        let over = sessions.get(id).is_none_or(|session| session.link.ending.is_some());
        if over && let Some(entry) = sessions.endpoints.get_mut(&endpoint) {
            entry.sockets.ended.remove(&kernel);
            sessions.hurry(id);
        }
    }

    /// Reads up to `most` messages and notifications of a session. Says whether there are no more for now: none there,
    /// or no room for them.
    pub(super) fn drain(&mut self, sessions: &mut Sessions<Self>, id: AssocId, most: usize) -> bool {
        for _ in 0..most {
            let Some(session) = sessions.get_mut(id) else { return true };
            if session.link.ending.is_none() && session.mailbox.is_full() {
                return true;
            }
            let Some(socket) = &session.link.socket else { return true };
            let Ok(received) = socket.recv(&mut self.buffer) else { return true };
            let bytes = std::mem::take(&mut self.buffer);
            if received.notification {
                on_notification(sessions, id, Notification::parse(&bytes[..received.len]));
            } else {
                on_piece(sessions, id, received, &bytes[..received.len]);
            }
            self.buffer = bytes;
        }
        false
    }
}

/// Whose message or notification it is, if that association has ended without a socket of its own.
fn ended_one(ended: &HashMap<KernelId, AssocId>, received: Received, buffer: &[u8]) -> Option<(KernelId, AssocId)> {
    if ended.is_empty() {
        return None;
    }
    let kernel = if received.notification {
        Notification::parse(&buffer[..received.len]).association()?
    } else {
        received.rcvinfo?.association
    };
    ended.get(&kernel).map(|id| (kernel, *id))
}

fn on_notification(sessions: &mut Sessions<Kernel>, id: AssocId, notification: Notification<'_>) {
    let Some(session) = sessions.get_mut(id) else { return };
    let link = &mut session.link;
    match notification {
        Notification::AssocChange { state, error, outbound_streams, inbound_streams, info, .. } => match state {
            AssocState::Restart => {
                let mut negotiated = Negotiated::streams(outbound_streams, inbound_streams);
                negotiated.adaptation = link.adaptation;
                session.negotiated = negotiated;
                session.counters.restarts += 1;
                sessions.cut_message(id);
                sessions.on_event(id, Event::Restarted(negotiated));
            }
            AssocState::ShutDown => link.end(CloseReason::Shutdown),
            AssocState::Lost | AssocState::CannotStart => link.end(lost(link, error, info)),
            _ => {}
        },
        Notification::PeerAddrChange { address: Some((address, _)), state, .. } => {
            on_path_change(sessions, id, address, state);
        }
        Notification::RemoteError { cause, data, .. } => {
            sessions.on_event(id, Event::PeerError { cause, info: Bytes::copy_from_slice(data) });
        }
        Notification::SendFailed { sent, context, .. } => link.on_failed(context, sent),
        Notification::Shutdown { .. } if session.state == State::Established => {
            session.state = State::ShutdownReceived;
            sessions.on_event(id, Event::ShutdownReceived);
        }
        Notification::Adaptation { indication, .. } => link.adaptation = Some(indication),
        Notification::PartialDelivery { .. } => {
            link.assembly = Vec::new();
            link.skipping = false;
            sessions.cut_message(id);
        }
        Notification::SenderDry { .. } => link.on_dry(),
        // What else there is, and what is newer than this program, changes nothing here.
        _ => {}
    }
}

fn on_path_change(sessions: &mut Sessions<Kernel>, id: AssocId, remote: Address, change: PathChange) {
    if change == PathChange::Added {
        sessions.set_addresses(id, &[remote]);
    }
    let Some(session) = sessions.get_mut(id) else { return };
    let Some(number) = session.addresses.iter().position(|address| *address == remote) else { return };
    let path = PathId(number as u16);
    let state = match change {
        PathChange::Available | PathChange::Confirmed => PathState::Active,
        PathChange::PotentiallyFailed => PathState::PotentiallyFailed,
        PathChange::Unreachable | PathChange::Removed => PathState::Inactive,
        PathChange::Added => PathState::Unconfirmed,
        PathChange::MadePrimary => return sessions.on_event(id, Event::PathInUse { path, remote }),
        PathChange::Other(_) => return,
    };
    session.link.path_failed |= matches!(state, PathState::Inactive | PathState::PotentiallyFailed);
    if state == PathState::Active {
        session.link.path_failed = false;
    }
    sessions.on_event(id, Event::Path { path, remote, state });
}

/// A message, or a piece of one: the kernel delivers what does not fit into its window in part. So do we, if that is
/// wanted, what is larger than `max_message`.
fn on_piece(sessions: &mut Sessions<Kernel>, id: AssocId, received: Received, bytes: &[u8]) {
    let Some(session) = sessions.get_mut(id) else { return };
    let limit = session.config.max_message;
    let link = &mut session.link;
    if link.skipping {
        link.skipping = !received.end_of_record;
        return;
    }
    if session.mailbox.is_midway() {
        let part = if received.end_of_record { Part::Last } else { Part::More };
        return deliver(sessions, id, received, part, Bytes::copy_from_slice(bytes));
    }
    let whole = link.assembly.is_empty() && received.end_of_record;
    if whole && bytes.len() <= limit {
        return deliver(sessions, id, received, Part::Whole, Bytes::copy_from_slice(bytes));
    }
    if session.config.partial_delivery && !received.end_of_record && link.assembly.len() + bytes.len() > limit {
        link.assembly.extend_from_slice(bytes);
        let piece = std::mem::take(&mut link.assembly).into();
        return deliver(sessions, id, received, Part::More, piece);
    }
    let limit = if session.config.partial_delivery { usize::MAX } else { limit };
    if link.assemble(bytes, limit).is_err() {
        link.skipping = !received.end_of_record;
        // Told at once; what the abort itself brings about is no news then.
        link.abort(b"the message is too large");
        link.end(CloseReason::MessageTooLarge);
        return;
    }
    if received.end_of_record {
        let payload = std::mem::take(&mut link.assembly).into();
        deliver(sessions, id, received, Part::Whole, payload);
    }
}

fn deliver(sessions: &mut Sessions<Kernel>, id: AssocId, received: Received, part: Part, payload: Bytes) {
    let Some(session) = sessions.get(id) else { return };
    let from = received.from.map(|(address, _)| address);
    let path = session.addresses.iter().position(|address| Some(*address) == from).unwrap_or(0);
    let mut message = Message::new(StreamId(0), Ppid(0), payload);
    (message.path, message.part) = (PathId(path as u16), part);
    if let Some(RcvInfo { stream, ssn, unordered, ppid, tsn, .. }) = received.rcvinfo {
        (message.stream, message.ppid) = (StreamId(stream), Ppid(ppid));
        (message.ssn, message.tsn, message.unordered) = (Ssn(ssn), Tsn(tsn), unordered);
    }
    sessions.on_message(id, message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cause_of_an_abort_is_read_and_cut_off_ones_do_no_harm() {
        let causes = [0, 12, 0, 7, b'e', b'n', b'd', 0];
        assert_eq!(first_cause(&causes), (Some(12), Bytes::from_static(b"end")));
        for len in 0..causes.len() {
            let (code, info) = first_cause(&causes[..len]);
            assert!(len < 4 && code.is_none() || code == Some(12), "{len}");
            assert!(info.is_empty() || len >= 7);
        }
        assert_eq!(first_cause(&[0, 9, 0, 0]), (Some(9), Bytes::new()));
    }
}
