//! A socket whose messages and notifications are awaited, each for a bounded time.

use crate::report::Failure;
use esock_io::kernel::{AssocId, AssocState, Event, Family, Notification, NxtInfo, RcvInfo, SctpSocket, SendInfo};
use esock_proto::Address;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A socket.
#[derive(Debug)]
pub struct Side(SctpSocket);

/// A message or notification that was received, all of it.
#[derive(Debug)]
pub struct Item {
    pub notification: bool,
    pub data: Vec<u8>,
    /// In how many pieces it came.
    pub pieces: usize,
    pub info: Option<RcvInfo>,
    pub next: Option<NxtInfo>,
    pub from: Option<(Address, u16)>,
}

/// An association that came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Up {
    pub association: AssocId,
    pub outbound_streams: u16,
    pub inbound_streams: u16,
}

/// How an association ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    pub state: AssocState,
    pub error: u16,
    pub info: Vec<u8>,
}

/// An address from its text.
pub fn address(text: &str) -> Result<Address, Failure> {
    Ok(text.parse::<IpAddr>()?.into())
}

/// Addresses from their texts.
pub fn addresses(texts: &[&str]) -> Result<Vec<Address>, Failure> {
    texts.iter().map(|text| address(text)).collect()
}

impl Side {
    /// A socket bound to `texts`, with the notifications and information that the checks look at.
    pub fn open(texts: &[&str], port: u16) -> Result<Self, Failure> {
        let addresses = addresses(texts)?;
        let socket = SctpSocket::open(Family::of(&addresses))?;
        let events = [
            Event::AssocChange,
            Event::PeerAddrChange,
            Event::RemoteError,
            Event::SendFailed,
            Event::Shutdown,
            Event::Adaptation,
            Event::PartialDelivery,
        ];
        socket.set_events(AssocId::FUTURE, &events, true)?;
        socket.set_receive_info(true)?;
        socket.set_next_info(true)?;
        socket.bind(&addresses, port)?;
        Ok(Self(socket))
    }

    pub fn socket(&self) -> &SctpSocket {
        &self.0
    }

    /// The port that the socket is bound to.
    pub fn port(&self) -> Result<u16, Failure> {
        let bound = self.socket().local_addresses(AssocId::FUTURE)?;
        Ok(bound.first().ok_or("the socket is not bound")?.1)
    }

    pub fn peel_off(&self, association: AssocId) -> Result<Self, Failure> {
        Ok(Self(self.0.peel_off(association)?))
    }

    /// Waits for a message or notification until it is complete, `piece` bytes at a time.
    pub fn item(&self, piece: usize) -> Result<Item, Failure> {
        let mut item = Item { notification: false, data: Vec::new(), pieces: 0, info: None, next: None, from: None };
        let mut buffer = vec![0; piece];
        let deadline = Instant::now() + PATIENCE;
        loop {
            let received = match self.0.recv(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let left = deadline.checked_duration_since(Instant::now()).ok_or("nothing came")?;
                    self.0.wait(false, Some(left))?;
                    continue;
                }
                received => received?,
            };
            if received.len == 0 && !received.end_of_record {
                return Err("nothing more comes".into());
            }
            item.pieces += 1;
            item.data.extend(&buffer[..received.len]);
            if received.end_of_record {
                let (notification, from) = (received.notification, received.from);
                return Ok(Item { notification, info: received.rcvinfo, next: received.nxtinfo, from, ..item });
            }
        }
    }

    /// Whether nothing at all comes for a while.
    pub fn is_silent(&self, time: Duration) -> io::Result<bool> {
        self.0.wait(false, Some(time)).map(|ready| !ready)
    }

    /// The next message; notifications before it are passed over.
    pub fn message(&self, piece: usize) -> Result<Item, Failure> {
        loop {
            let item = self.item(piece)?;
            if !item.notification {
                return Ok(item);
            }
        }
    }

    /// The next notification that `wanted` takes; others before it are passed over, messages are not.
    pub fn told<T>(&self, what: &str, wanted: impl Fn(&Notification<'_>) -> Option<T>) -> Result<T, Failure> {
        let mut heard = Vec::new();
        loop {
            let item = self.item(4096).map_err(|error| format!("{what}: {error}, heard {heard:?}"))?;
            if !item.notification {
                return Err(format!("{what}: a message of {} bytes came", item.data.len()).into());
            }
            let notification = Notification::parse(&item.data);
            if let Some(found) = wanted(&notification) {
                return Ok(found);
            }
            heard.push(format!("{notification:?}"));
        }
    }

    /// The next association that comes up.
    pub fn up(&self) -> Result<Up, Failure> {
        self.told("coming up", |notification| match *notification {
            Notification::AssocChange {
                state: AssocState::Up, outbound_streams, inbound_streams, assoc_id, ..
            } => Some(Up { association: assoc_id, outbound_streams, inbound_streams }),
            _ => None,
        })
    }

    /// Waits until all that was sent is acknowledged; the notification was asked for.
    pub fn dry(&self) -> Result<(), Failure> {
        self.told("dry", |notification| matches!(*notification, Notification::SenderDry { .. }).then_some(()))
    }

    /// The next end of an association.
    pub fn down(&self) -> Result<Down, Failure> {
        self.told("ending", |notification| match *notification {
            Notification::AssocChange { state, error, info, .. } if state != AssocState::Up => {
                Some(Down { state, error, info: info.to_vec() })
            }
            _ => None,
        })
    }

    pub fn send(&self, association: AssocId, message: &[u8]) -> Result<(), Failure> {
        self.send_with(message, &SendInfo::new(association))
    }

    pub fn send_with(&self, message: &[u8], info: &SendInfo) -> Result<(), Failure> {
        let sent = self.socket().send(message, info, None)?;
        if sent == message.len() { Ok(()) } else { Err(format!("{sent} bytes of {} sent", message.len()).into()) }
    }
}

/// Two sides with an association between them.
#[derive(Debug)]
pub struct Pair {
    pub client: Side,
    pub server: Side,
    /// As the client numbers it.
    pub ours: AssocId,
    /// As the server numbers it.
    pub theirs: AssocId,
}

impl Pair {
    /// A client and a server with many associations each, on loopback.
    pub fn new() -> Result<Self, Failure> {
        let server = Side::open(&["127.0.0.1"], 0)?;
        server.socket().listen(true)?;
        let client = Side::open(&["127.0.0.1"], 0)?;
        let ours = client.socket().connect(&addresses(&["127.0.0.1"])?, server.port()?)?;
        let (up, theirs) = (client.up()?, server.up()?);
        if up.association != ours {
            return Err(format!("{ours:?} came up as {up:?}").into());
        }
        Ok(Self { client, server, ours, theirs: theirs.association })
    }

    /// A pair of sockets that have only this association.
    pub fn peeled() -> Result<Self, Failure> {
        let pair = Self::new()?;
        let (client, server) = (pair.client.peel_off(pair.ours)?, pair.server.peel_off(pair.theirs)?);
        Ok(Self { client, server, ..pair })
    }
}

/// Whether a call failed with one of the system's error numbers.
pub fn failed_with<T>(result: &io::Result<T>, number: i32) -> bool {
    result.as_ref().is_err_and(|error| error.raw_os_error() == Some(number))
}
