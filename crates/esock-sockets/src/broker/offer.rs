//! Messages that are offered: what can be read next lies in memory that the program shares with us, and whoever is woken
//! by its socket takes it without asking, which would wake us and, by the reply, the program once more.
//!
//! A message is offered to the connection by which its socket was read last. It stays where it is, the next one of the
//! socket, until it was taken: a single change of a word, which only one side can make, says so. Before anything else is
//! done for that socket, for whichever process, the offer is taken back, or the message is read if it was taken: so
//! calls see what they would see without offers. A program that dies, or turns to something else, has taken nothing.

use super::Broker;
use super::signal::Signal;
use crate::engine::{Reply, SocketId};
use crate::protocol::{
    FRONT, MAX_CONTROL, MOST_OFFERED, OFFER_AT, OFFER_DATA, OFFER_DONE, OFFER_FRONT, OFFER_HEAD, OFFER_MORE,
    OFFER_OPEN, OFFER_SOCKET, Op, ReplyHead, Request,
};
use bytes::Bytes;
use esock_io::SharedMemory;
use esock_proto::Time;
use mio::Token;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// When offers are looked at if nothing else happens: what was taken counts as unread until then.
pub const LOOK: Duration = Duration::from_millis(2);
/// How long one is open: nobody seems to want it then.
const OPEN: Duration = Duration::from_millis(20);

/// See the module.
#[derive(Debug)]
pub struct Offer {
    /// The connection in whose memory it lies.
    to: Token,
    /// The state's value, as we left it.
    state: u64,
    since: Time,
}

/// What has become of an offer.
enum Became {
    Open,
    Taken,
}

/// Changes an offer's state unless it was taken. Whoever does not keep to the protocol has taken it.
fn change(memory: &SharedMemory, state: u64, new: u64) -> Became {
    let word = memory.word(OFFER_AT);
    let changed =
        word.is_some_and(|word| word.compare_exchange(state, new, Ordering::AcqRel, Ordering::Acquire).is_ok());
    if changed { Became::Open } else { Became::Taken }
}

/// Puts a message into memory, closed yet.
fn put(memory: &mut SharedMemory, socket: SocketId, reply: &Reply, pull: (u32, u8), patient: bool) -> Option<()> {
    let head = ReplyHead {
        result: reply.result,
        flags: reply.flags,
        name: reply.name.len().min(FRONT - MAX_CONTROL) as u32,
        control: reply.control.len().min(MAX_CONTROL) as u32,
        pull: pull.0,
        upto: pull.1,
        patient,
        shared: reply.data.len() as u32,
        ..ReplyHead::default()
    };
    memory.word(OFFER_SOCKET)?.store(socket.0, Ordering::Relaxed);
    memory.write_at(OFFER_HEAD, &head.to_bytes())?;
    memory.write_at(OFFER_FRONT, &reply.name[..head.name as usize])?;
    memory.write_at(OFFER_FRONT + FRONT - MAX_CONTROL, &reply.control[..head.control as usize])?;
    memory.write_at(OFFER_DATA, &reply.data)
}

impl Broker {
    /// A socket was read by a connection that takes offers, or by one that does not.
    pub(super) fn reads(&mut self, socket: SocketId, by: Option<Token>) {
        match by {
            Some(token) => self.readers.insert(socket, token),
            None => self.readers.remove(&socket),
        };
    }

    /// Offers what is next, if somebody is known to read the socket: before the program's end becomes readable.
    pub(super) fn offer(&mut self, socket: SocketId) {
        if self.offers.contains_key(&socket) {
            return self.add_to(socket);
        }
        let Some(token) = self.readers.get(&socket).copied() else { return };
        let plain = self.signals.get(&socket).is_some_and(Signal::is_plain);
        let memory = self.programs.get(&token).and_then(|connection| connection.memory.as_ref());
        let state = memory.and_then(|memory| memory.word(OFFER_AT)).map(|word| word.load(Ordering::Acquire));
        let free = state.is_some_and(|state| state == 0 || state & OFFER_DONE != 0);
        let reply = if plain && free { self.engine.next_message(socket) } else { None };
        let Some(reply) = reply.filter(|reply| reply.data.len() <= MOST_OFFERED) else { return };
        let more = if self.engine.has_more(socket) { OFFER_MORE } else { 0 };
        self.last_offer += OFFER_DONE << 1;
        let state = self.last_offer | OFFER_OPEN | more;
        let pull = self.signals.get(&socket).map_or((0, 0), Signal::would_pull);
        let patient = self.engine.is_patient(socket);
        let Some(memory) = self.programs.get_mut(&token).and_then(|connection| connection.memory.as_mut()) else {
            return;
        };
        if put(memory, socket, &reply, pull, patient).is_some()
            && let Some(word) = memory.word(OFFER_AT)
        {
            word.store(state, Ordering::Release);
            self.offers.insert(socket, Offer { to: token, state, since: self.engine.driver().now() });
        }
    }

    /// Something has happened to a socket whose next message is offered: whoever takes it is to know whether more is there.
    fn add_to(&mut self, socket: SocketId) {
        let more = self.engine.has_more(socket);
        let Some(offer) = self.offers.get_mut(&socket).filter(|offer| more && offer.state & OFFER_MORE == 0) else {
            return;
        };
        let memory = self.programs.get(&offer.to).and_then(|connection| connection.memory.as_ref());
        let new = offer.state | OFFER_MORE;
        match memory.map(|memory| change(memory, offer.state, new)) {
            Some(Became::Open) => offer.state = new,
            _ => self.settle(socket),
        }
    }

    /// Takes an offer back, or reads the message if it was taken.
    pub(super) fn settle(&mut self, socket: SocketId) {
        let Some(offer) = self.offers.remove(&socket) else { return };
        let memory = self.programs.get(&offer.to).and_then(|connection| connection.memory.as_ref());
        let Some(Became::Taken) = memory.map(|memory| change(memory, offer.state, 0)) else { return };
        let now = self.engine.driver().now();
        let read = Request { args: [0, MOST_OFFERED as i32, 0, 0], ..Request::new(Op::Recv, socket) };
        let _ = self.engine.call(now, &read, Bytes::new());
        if let Some(signal) = self.signals.get_mut(&socket).filter(|_| offer.state & OFFER_MORE == 0) {
            signal.was_pulled();
        }
    }

    /// A connection ends, and the memory with it.
    pub(super) fn settle_with(&mut self, token: Token) {
        let of_it = |(_, offer): &(&SocketId, &Offer)| offer.to == token;
        let sockets: Vec<SocketId> = self.offers.iter().filter(of_it).map(|(socket, _)| *socket).collect();
        sockets.into_iter().for_each(|socket| self.settle(socket));
    }

    /// Looks which offers were taken, and takes back those that nobody wants. Each connection has one that is open at most, and
    /// those that were taken are gone then.
    pub(super) fn look_at_offers(&mut self) {
        if self.offers.is_empty() {
            return;
        }
        let now = self.engine.driver().now();
        let mut done: Vec<(SocketId, bool)> = Vec::new();
        for (socket, offer) in &self.offers {
            let memory = self.programs.get(&offer.to).and_then(|connection| connection.memory.as_ref());
            let word = memory.and_then(|memory| memory.word(OFFER_AT));
            let open = word.is_some_and(|word| word.load(Ordering::Relaxed) == offer.state);
            if !open || now >= offer.since + OPEN {
                done.push((*socket, open));
            }
        }
        for (socket, unwanted) in done {
            if unwanted {
                self.readers.remove(&socket);
            }
            self.settle(socket);
        }
    }
}
