//! esock's API for tokio: each end has a runtime in a thread. Messages go by the batch or one by one.

use super::esock::config;
use crate::pattern::{Checker, Pattern};
use crate::{Bulk, End, Plan, Rate, RoundTrips};
use esock::{
    Association, Backend, Config, ConnectError, ConnectTo, Context, Endpoint, Received, Receiver, SendOptions, UdpPort,
};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// Bytes of messages of a batch, and messages at most.
const BATCH_BYTES: usize = 64 << 10;
const BATCH: usize = 256;

/// How messages are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// `send_many` and `recv_many`.
    Batch,
    /// `send` and `recv`.
    Single,
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}

/// Which messages make a batch.
fn batch_of(message_bytes: usize) -> usize {
    (BATCH_BYTES / message_bytes).clamp(1, BATCH)
}

async fn open(plan: &Plan) -> Endpoint {
    open_in(&Context::new(), plan, config(plan)).await
}

pub(super) async fn open_in(context: &Context, plan: &Plan, config: Config) -> Endpoint {
    let builder = Endpoint::builder().address(Ipv4Addr::LOCALHOST).backend(Backend::Udp);
    let mut builder = builder.udp_port(UdpPort::Ephemeral).context(context.clone()).config(config);
    if let Some(time) = plan.busy_poll() {
        builder = builder.busy_poll(time);
    }
    builder.open().await.expect("loopback can be bound")
}

/// Where the other end is.
fn place(endpoint: &Endpoint) -> (u16, u16) {
    (endpoint.port(), endpoint.backend().udp_port.expect("it is over UDP"))
}

pub(super) async fn connect(endpoint: &Endpoint, (port, udp_port): (u16, u16)) -> (Association, Receiver) {
    let to = ConnectTo::new([Ipv4Addr::LOCALHOST], port).encap_port(udp_port);
    endpoint.connect(to).await.expect("the other end accepts")
}

/// Runs what one end does in a thread and a runtime of its own, and the other's in this one: `serve` is given its
/// endpoint, `client` where that is, and what `client` returns is the result. Both end with that.
pub(super) fn two_ends<T: Send>(
    plan: &Plan,
    server: Config,
    ends: [End; 2],
    serve: impl AsyncFnOnce(Endpoint) + Send,
    client: impl AsyncFnOnce((u16, u16)) -> T,
) -> T {
    let (tell, told) = mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            plan.cores.pin(ends[0]);
            runtime().block_on(async {
                let endpoint = open_in(&Context::new(), plan, server).await;
                tell.send(place(&endpoint)).expect("the other end waits for it");
                tokio::select! {
                    () = serve(endpoint) => {}
                    _ = stopped => {}
                }
            });
        });
        plan.cores.pin(ends[1]);
        let place = told.recv().expect("the other end tells");
        let result = runtime().block_on(client(place));
        // The other end may have ended by itself.
        let _ = stop.send(());
        result
    })
}

/// One end sends messages, the other reads them. Each is a task: see [`ping_pong`].
pub fn bulk(plan: &Plan, message_bytes: usize, calls: Calls) -> Bulk {
    let serve = async |endpoint: Endpoint| {
        let (association, _receiver) = endpoint.accept().await.expect("the endpoint is open");
        let sending = tokio::spawn(async move { send_for_ever(&association, message_bytes, calls).await });
        sending.await.expect("it does not panic");
    };
    // Who receives connects, so that the measurement is in this thread.
    let (warm_up, measure) = (plan.warm_up, plan.measure);
    two_ends(plan, config(plan), [End::First, End::Second], serve, async |place| {
        let endpoint = open(plan).await;
        let (_association, mut receiver) = connect(&endpoint, place).await;
        let receiving = tokio::spawn(async move {
            let mut checker = Checker::new(message_bytes);
            receive_for(&mut receiver, (message_bytes, &mut checker), warm_up, calls).await;
            receive_for(&mut receiver, (message_bytes, &mut checker), measure, calls).await
        });
        receiving.await.expect("it does not panic")
    })
}

async fn send_for_ever(association: &Association, message_bytes: usize, calls: Calls) {
    // An error: the other end has all it wants, and has gone.
    let pattern = Pattern::new(message_bytes);
    let options = SendOptions::default();
    if calls == Calls::Single {
        for n in 0.. {
            if association.send(options, pattern.message(n).clone()).await.is_err() {
                return;
            }
        }
    }
    let (mut batch, mut next) = (VecDeque::new(), 0);
    loop {
        let end = next + batch_of(message_bytes) as u64;
        batch.extend((next..end).map(|n| (options, pattern.message(n).clone())));
        next = end;
        if association.send_many(&mut batch).await.is_err() {
            return;
        }
    }
}

async fn receive_for(
    receiver: &mut Receiver,
    (message_bytes, checker): (usize, &mut Checker),
    time: Duration,
    calls: Calls,
) -> Bulk {
    let (start, mut bulk) = (Instant::now(), Bulk::default());
    let mut count = |received: Received| match received {
        Received::Message(message) => {
            checker.message(&message.payload);
            bulk.messages += 1;
            bulk.bytes += message.payload.len() as u64;
        }
        other => assert!(!format!("{other:?}").contains("Closed"), "the association ended: {other:?}"),
    };
    let mut batch = Vec::with_capacity(BATCH);
    while start.elapsed() < time {
        match calls {
            Calls::Batch => {
                receiver.recv_many(&mut batch, BATCH).await;
                batch.drain(..).for_each(&mut count);
            }
            // A look at the clock for each would be felt.
            Calls::Single => {
                for _ in 0..batch_of(message_bytes) {
                    count(receiver.recv().await.expect("the association is up"));
                }
            }
        }
    }
    bulk.time = start.elapsed();
    bulk
}

/// The next message, past any events.
async fn message(receiver: &mut Receiver) -> Option<esock::Message> {
    loop {
        match receiver.recv().await? {
            Received::Message(message) => return Some(message),
            _ => continue,
        }
    }
}

/// A message back and forth. Each end is a task: what runs in `block_on` itself is woken by way of another look at the
/// sockets, which costs a system call.
pub fn ping_pong(plan: &Plan, message_bytes: usize) -> RoundTrips {
    let serve = async |endpoint: Endpoint| {
        let (association, receiver) = endpoint.accept().await.expect("the endpoint is open");
        tokio::spawn(echo(association, receiver)).await.expect("it does not panic");
    };
    let exchanges = plan.exchanges;
    two_ends(plan, config(plan), [End::Second, End::First], serve, async |place| {
        let endpoint = open(plan).await;
        let (association, mut receiver) = connect(&endpoint, place).await;
        let playing = tokio::spawn(async move {
            let mut player = Player::new(message_bytes);
            let mut times = Vec::with_capacity(exchanges);
            for exchange in 0..exchanges + exchanges / 10 {
                let time = player.exchange(&association, &mut receiver).await;
                if exchange >= exchanges / 10 {
                    times.push(time);
                }
            }
            RoundTrips::new(times)
        });
        playing.await.expect("it does not panic")
    })
}

/// Sends back what comes.
pub(super) async fn echo(association: Association, mut receiver: Receiver) {
    while let Some(message) = message(&mut receiver).await {
        // An error: the other end has gone.
        let _ = association.send(SendOptions::default(), message.payload).await;
    }
}

/// Who begins a ping-pong.
pub(super) struct Player {
    pattern: Pattern,
    checker: Checker,
    next: u64,
}

impl Player {
    pub(super) fn new(message_bytes: usize) -> Self {
        Self { pattern: Pattern::new(message_bytes), checker: Checker::new(message_bytes), next: 0 }
    }

    /// One message there and back; says how long that took.
    pub(super) async fn exchange(&mut self, association: &Association, receiver: &mut Receiver) -> Duration {
        let start = Instant::now();
        let payload = self.pattern.message(self.next).clone();
        self.next += 1;
        association.send(SendOptions::default(), payload).await.expect("the association is up");
        self.checker.message(&message(receiver).await.expect("the other end answers").payload);
        start.elapsed()
    }
}

/// A message back and forth, while another association of the same sockets, between the same threads, sends as much as
/// it can. Windows are as the library has them: what lies in them lies in front of the message.
pub fn beside_bulk(plan: &Plan, message_bytes: usize) -> (RoundTrips, Bulk) {
    const BULK_BYTES: usize = 16 << 10;
    let arrived = Arc::new(AtomicU64::new(0));
    let mut small = Config::default();
    (small.initial_mtu, small.pmtud) = (config(plan).initial_mtu, false);
    let counted = arrived.clone();
    let serve = async move |endpoint: Endpoint| {
        let (ping, receiver) = endpoint.accept().await.expect("the endpoint is open");
        let (_bulk, mut sink) = endpoint.accept().await.expect("the endpoint is open");
        tokio::spawn(async move {
            let mut checker = Checker::new(BULK_BYTES);
            while let Some(message) = message(&mut sink).await {
                checker.message(&message.payload);
                counted.fetch_add(message.payload.len() as u64, Ordering::Relaxed);
            }
        });
        tokio::spawn(echo(ping, receiver)).await.expect("it does not panic");
    };
    let (warm_up, measure) = (plan.warm_up, plan.measure);
    two_ends(plan, small.clone(), [End::Second, End::First], serve, async |place| {
        let context = Context::new();
        let endpoints = [open_in(&context, plan, small.clone()).await, open_in(&context, plan, small).await];
        let (ping, mut receiver) = connect(&endpoints[0], place).await;
        let (bulk, _sink) = connect(&endpoints[1], place).await;
        tokio::spawn(async move { send_for_ever(&bulk, BULK_BYTES, Calls::Batch).await });
        let playing = tokio::spawn(async move {
            let (mut player, mut times) = (Player::new(message_bytes), Vec::new());
            let end = Instant::now() + warm_up;
            while Instant::now() < end {
                player.exchange(&ping, &mut receiver).await;
            }
            let (start, before) = (Instant::now(), arrived.load(Ordering::Relaxed));
            while start.elapsed() < measure {
                times.push(player.exchange(&ping, &mut receiver).await);
            }
            let bytes = arrived.load(Ordering::Relaxed) - before;
            let bulk = Bulk { bytes, messages: bytes / BULK_BYTES as u64, time: start.elapsed() };
            (RoundTrips::new(times), bulk)
        });
        playing.await.expect("it does not panic")
    })
}

/// Server endpoints for a curve: with each of them a client endpoint has an association, for there are too few ports for
/// 100,000 associations of an endpoint each.
const CURVE_ENDPOINTS: usize = 16;

/// Client endpoints at most: of the 16,384 ephemeral ports a fast machine soon finds none any more.
const MOST_ENDPOINTS: u64 = 15_000;

/// Associations set up for a time, `at_once` at a time, and kept.
pub fn setup(plan: &Plan, at_once: usize) -> Rate {
    set_up(plan, at_once, 1, 0)
}

/// The same 64 at a time, where there are `existing` ones already.
pub fn setup_among(plan: &Plan, existing: usize) -> Rate {
    set_up(plan, 64, CURVE_ENDPOINTS, existing)
}

fn set_up(plan: &Plan, at_once: usize, servers: usize, existing: usize) -> Rate {
    let (tell, told) = mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            plan.cores.pin(End::Second);
            runtime().block_on(async {
                let context = Context::new();
                let mut places = Vec::new();
                for _ in 0..servers {
                    let endpoint = open_in(&context, plan, config(plan)).await;
                    let mut owner = endpoint.register_owner(|_| true);
                    places.push(place(&endpoint));
                    // A task, as in `ping_pong`.
                    tokio::spawn(async move {
                        let _endpoint = endpoint;
                        while owner.recv().await.is_some() {}
                    });
                }
                tell.send(places).expect("the other end waits for it");
                // An error: the other end has ended.
                let _ = stopped.await;
            });
        });
        plan.cores.pin(End::First);
        let places = told.recv().expect("the other end tells");
        let rate = runtime().block_on(connect_for(plan, at_once, places, existing));
        // The other end may have ended by itself.
        let _ = stop.send(());
        rate
    })
}

/// What tasks that set up associations have in common.
struct Progress {
    existing: u64,
    /// Then it ends before its time.
    most: u64,
    made: AtomicU64,
    /// When the existing ones were there.
    began: OnceLock<Instant>,
}

impl Progress {
    fn begins(&self) {
        if self.made.load(Ordering::Relaxed) >= self.existing {
            self.began.get_or_init(Instant::now);
        }
    }

    fn goes_on(&self, measure: Duration) -> bool {
        let has_ports = self.made.load(Ordering::Relaxed) < self.most;
        has_ports && self.began.get().is_none_or(|began| began.elapsed() < measure)
    }
}

/// An endpoint has one association with a peer: each is of an endpoint of its own, as in the other candidates, over
/// the same sockets; with several peers, it has one with each of them. What is counted are those beyond `existing` ones.
async fn connect_for(plan: &Plan, at_once: usize, places: Vec<(u16, u16)>, existing: usize) -> Rate {
    let (context, measure) = (Context::new(), plan.measure);
    let most = MOST_ENDPOINTS * places.len() as u64;
    let progress = Progress { existing: existing as u64, most, made: AtomicU64::new(0), began: OnceLock::new() };
    let progress = Arc::new(progress);
    progress.begins();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..at_once {
        let (context, config) = (context.clone(), config(plan));
        let (progress, places) = (progress.clone(), places.clone());
        tasks.spawn(async move {
            let mut kept = Vec::new();
            while progress.goes_on(measure) {
                let builder = Endpoint::builder().address(Ipv4Addr::LOCALHOST).backend(Backend::Udp);
                let builder = builder.udp_port(UdpPort::Ephemeral).context(context.clone()).config(config.clone());
                let endpoint = builder.open().await.expect("there are ports");
                for place in places.iter().take_while(|_| progress.goes_on(measure)) {
                    let to = ConnectTo::new([Ipv4Addr::LOCALHOST], place.0).encap_port(place.1);
                    match endpoint.connect(to).await {
                        Ok(connected) => kept.push((endpoint.clone(), connected)),
                        // Its random port is the server's, at the same address: that would be itself.
                        Err(ConnectError::Invalid(_)) => continue,
                        Err(error) => panic!("the other end does not accept: {error}"),
                    }
                    progress.made.fetch_add(1, Ordering::Relaxed);
                    progress.begins();
                }
            }
            kept
        });
    }
    let _kept: Vec<_> = tasks.join_all().await;
    let time = progress.began.get().map(Instant::elapsed).unwrap_or_default();
    Rate { count: progress.made.load(Ordering::Relaxed) - progress.existing, time }
}
