//! Endpoints that are in nobody's way, and what tests do with them.

use crate::polls::{Drop, give_up};
use bytes::Bytes;
use esock::{
    Address, Association, Backend, CloseReason, Config, ConnectTo, Context, Endpoint, EndpointBuilder, Event, Message,
    Owner, OwnerEvent, Received, Receiver, SendOptions, StreamId, UdpPort,
};
use std::future::Future;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Longer than anything takes that works, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn v4(last: u8) -> Address {
    Ipv4Addr::new(127, 0, 0, last).into()
}

/// Timers for tests: fast, and a host that is busy with other tests still keeps them.
pub fn fast() -> Config {
    let mut config = Config::default();
    config.rto_initial = millis(200);
    config.rto_min = millis(100);
    config.rto_max = millis(400);
    config.heartbeat_interval = Some(millis(100));
    config.sack_delay = millis(20);
    config.path_max_retrans = Some(1);
    config
}

/// Timers for tests in which nothing may depend on a retransmission: whoever needs one waits too long.
pub fn patient() -> Config {
    let mut config = fast();
    config.rto_initial = Duration::from_secs(60);
    config.rto_min = Duration::from_secs(60);
    config.rto_max = Duration::from_secs(60);
    config
}

/// An endpoint with sockets of its own on 127.0.0.1.
pub fn builder() -> EndpointBuilder {
    builder_on([v4(1)])
}

/// The same on these addresses.
///
/// No two endpoints of a test may have the same SCTP port: a server would take the second, which comes from the
/// same address, for the first that has restarted.
pub fn builder_on(addresses: impl IntoIterator<Item = Address>) -> EndpointBuilder {
    static LAST_PORT: AtomicU16 = AtomicU16::new(10_000);
    Endpoint::builder()
        .addresses(addresses)
        .port(LAST_PORT.fetch_add(1, Ordering::Relaxed))
        .backend(Backend::Udp)
        .udp_port(UdpPort::Ephemeral)
        .context(Context::new())
        .config(fast())
}

pub async fn endpoint() -> Endpoint {
    builder().open().await.unwrap()
}

/// Starts accepting, and takes nobody.
pub async fn open_the_door(server: &Endpoint) {
    assert!(give_up(Drop::Pending(1), server.accept()).await.is_none());
}

/// How to connect to an endpoint.
pub fn to(server: &Endpoint) -> ConnectTo {
    to_port(server, server.port())
}

/// The same host, another SCTP port.
pub fn to_port(server: &Endpoint, port: u16) -> ConnectTo {
    ConnectTo::new(server.addresses().iter().copied(), port).encap_port(server.backend().udp_port.unwrap())
}

/// What is awaited must not take for ever.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("this hangs")
}

/// Waits until something holds that nothing tells of.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "still not so: {what}");
        tokio::time::sleep(millis(5)).await;
    }
}

/// Runs something that may deadlock, and says so if it does.
pub fn must_end(what: impl FnOnce() + Send + 'static) {
    let (ended, end) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        what();
        ended.send(()).unwrap();
    });
    end.recv_timeout(Duration::from_secs(20)).expect("a deadlock");
    thread.join().unwrap();
}

/// Two endpoints with sockets of their own, and an association between them.
pub struct Pair {
    pub client: Endpoint,
    pub server: Endpoint,
    pub near: Association,
    pub near_rx: Receiver,
    pub far: Association,
    pub far_rx: Receiver,
}

impl Pair {
    pub async fn new() -> Self {
        Self::with([builder(), builder()]).await
    }

    /// Client and server.
    pub async fn with([client, server]: [EndpointBuilder; 2]) -> Self {
        let (client, server) = (client.open().await.unwrap(), server.open().await.unwrap());
        let ((near, near_rx), (far, far_rx)) = connect(&client, &server).await;
        Self { client, server, near, near_rx, far, far_rx }
    }

    /// Cuts the cable.
    pub fn cut(&self) {
        for remote in self.server.addresses() {
            self.client.impairment(|network| network.block(*remote, esock::Direction::Both));
        }
    }

    /// Mends it.
    pub fn mend(&self) {
        self.client.impairment(|network| network.clear());
    }
}

/// A new association between two endpoints: the client's end and the server's.
pub async fn connect(client: &Endpoint, server: &Endpoint) -> ((Association, Receiver), (Association, Receiver)) {
    // It accepts before the INIT comes, so that the first address answers.
    let (far, near) = soon(async { tokio::join!(server.accept(), client.connect(to(server))) }).await;
    (near.unwrap(), far.unwrap())
}

pub fn on_stream(stream: u16) -> SendOptions {
    SendOptions { stream: StreamId(stream), ..SendOptions::default() }
}

/// A message that says its number, of this length.
pub fn numbered(number: u64, len: usize) -> Bytes {
    let mut payload = vec![number as u8; len.max(8)];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload.into()
}

/// The number of such a message, whose content is checked.
pub fn number_of(message: &Message) -> u64 {
    let (head, rest) = message.payload.split_first_chunk::<8>().unwrap();
    let number = u64::from_be_bytes(*head);
    assert!(rest.iter().all(|byte| *byte == number as u8), "the content of message {number} is broken");
    number
}

/// The next message, whatever happens before it.
pub async fn message(receiver: &mut Receiver) -> Message {
    soon(async {
        loop {
            match receiver.recv().await {
                Some(Received::Message(message)) => return message,
                Some(Received::Event(Event::Closed(reason))) => panic!("closed instead of a message: {reason:?}"),
                Some(_) => {}
                None => panic!("no message comes any more"),
            }
        }
    })
    .await
}

/// The numbers of the next messages.
pub async fn numbers(receiver: &mut Receiver, count: u64) -> Vec<u64> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(number_of(&message(receiver).await));
    }
    all
}

/// The next event that is wanted; messages are not expected.
pub async fn event<T>(receiver: &mut Receiver, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
    soon(async {
        loop {
            match receiver.recv().await {
                Some(Received::Event(event)) => match wanted(&event) {
                    Some(found) => return found,
                    None => assert!(!matches!(event, Event::Closed(_)), "closed instead: {event:?}"),
                },
                other => panic!("this is no event: {other:?}"),
            }
        }
    })
    .await
}

/// Everything up to the end: messages and events, and why it ended.
pub async fn rest(receiver: &mut Receiver) -> (Vec<Message>, Vec<Event>, CloseReason) {
    soon(async {
        let (mut messages, mut events) = (Vec::new(), Vec::new());
        loop {
            match receiver.recv().await.expect("an association ends with Closed") {
                Received::Message(message) => messages.push(message),
                Received::Event(Event::Closed(reason)) => {
                    assert_eq!(receiver.recv().await, None, "Closed comes last");
                    return (messages, events, reason);
                }
                Received::Event(event) => events.push(event),
                other => panic!("what is this? {other:?}"),
            }
        }
    })
    .await
}

/// The next message of an owner, and whose it is.
pub async fn owned(owner: &mut Owner) -> (Association, Message) {
    soon(async {
        loop {
            match owner.recv().await.expect("the owner gets a message") {
                OwnerEvent::Message { association, message } => return (association, message),
                OwnerEvent::Event { event: event @ Event::Closed(_), .. } => panic!("closed instead: {event:?}"),
                _ => {}
            }
        }
    })
    .await
}
