//! webrtc-sctp: the asynchronous stack of webrtc-rs, on its own UDP socket; each end has a runtime in a thread.

use crate::pattern::{Checker, Pattern};
use crate::plan::{BUFFER_BYTES, enlarge};
use crate::{Bulk, End, Plan, RoundTrips};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use webrtc_sctp::association::{Association, Config};
use webrtc_sctp::chunk::chunk_payload_data::PayloadProtocolIdentifier;
use webrtc_sctp::stream::Stream;

const PORT: u16 = 5000;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime starts")
}

/// Two sockets that know each other.
async fn sockets() -> (UdpSocket, UdpSocket) {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let (a, b) = (UdpSocket::bind(local).await, UdpSocket::bind(local).await);
    let (a, b) = (a.expect("loopback can be bound"), b.expect("loopback can be bound"));
    a.connect(b.local_addr().expect("it is bound")).await.expect("loopback has a route");
    b.connect(a.local_addr().expect("it is bound")).await.expect("loopback has a route");
    for socket in [&a, &b] {
        enlarge(socket);
    }
    (a, b)
}

fn config(plan: &Plan, socket: std::net::UdpSocket) -> Config {
    Config {
        net_conn: Arc::new(UdpSocket::from_std(socket).expect("it does not block")),
        max_receive_buffer_size: BUFFER_BYTES as u32,
        max_message_size: 256 << 10,
        mtu: plan.packet_bytes as u32,
        name: String::new(),
        remote_port: PORT,
        local_port: PORT,
    }
}

/// The end that connects; its first message opens the stream at the other.
async fn connect(plan: &Plan, socket: std::net::UdpSocket) -> (Association, Arc<Stream>) {
    let association = Association::client(config(plan, socket)).await.expect("it connects");
    let stream = association.open_stream(0, PayloadProtocolIdentifier::Binary).await.expect("it is the first");
    (association, stream)
}

async fn accept(plan: &Plan, socket: std::net::UdpSocket) -> (Association, Arc<Stream>) {
    let association = Association::server(config(plan, socket)).await.expect("the other connects");
    let stream = association.accept_stream().await.expect("the other sends");
    (association, stream)
}

/// The sockets, for the threads to take into their runtimes.
fn pair() -> (std::net::UdpSocket, std::net::UdpSocket) {
    let runtime = runtime();
    let (a, b) = runtime.block_on(sockets());
    let _inside = runtime.enter();
    (a.into_std().expect("it is open"), b.into_std().expect("it is open"))
}

/// One end sends messages, the other reads them.
pub fn bulk(plan: &Plan, message_bytes: usize) -> Bulk {
    let (a, b) = pair();
    let (stop, stopped) = oneshot::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            plan.cores.pin(End::First);
            let send = async {
                let (_association, stream) = connect(plan, a).await;
                let pattern = Pattern::new(message_bytes);
                for n in 0.. {
                    // It queues what it is given without a limit.
                    while stream.buffered_amount() >= BUFFER_BYTES {
                        tokio::time::sleep(Duration::from_micros(200)).await;
                    }
                    // An error: the other end has all it wants, and has gone.
                    if stream.write_sctp(pattern.message(n), PayloadProtocolIdentifier::Binary).await.is_err() {
                        return;
                    }
                    if n % 64 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            };
            runtime().block_on(async {
                tokio::select! {
                    () = send => {}
                    _ = stopped => {}
                }
            });
        });
        plan.cores.pin(End::Second);
        let result = runtime().block_on(async {
            let (_association, stream) = accept(plan, b).await;
            let mut checker = Checker::new(message_bytes);
            let mut buffer = vec![0; 256 << 10];
            let mut bulk = Bulk::default();
            for time in [plan.warm_up, plan.measure] {
                let start = Instant::now();
                bulk = Bulk::default();
                while start.elapsed() < time {
                    let len = stream.read(&mut buffer).await.expect("the other sends");
                    checker.message(&buffer[..len]);
                    bulk.bytes += len as u64;
                    bulk.messages += 1;
                }
                bulk.time = start.elapsed();
            }
            bulk
        });
        // The other end may have ended by itself.
        let _ = stop.send(());
        result
    })
}

/// A message back and forth.
pub fn ping_pong(plan: &Plan, message_bytes: usize) -> RoundTrips {
    let (a, b) = pair();
    let (stop, stopped) = oneshot::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            plan.cores.pin(End::Second);
            let echo = async {
                let (_association, stream) = accept(plan, b).await;
                let mut buffer = vec![0; message_bytes];
                while let Ok(len) = stream.read(&mut buffer).await {
                    let message = bytes::Bytes::copy_from_slice(&buffer[..len]);
                    let written = stream.write_sctp(&message, PayloadProtocolIdentifier::Binary).await;
                    written.expect("the association is up");
                }
            };
            runtime().block_on(async {
                tokio::select! {
                    () = echo => {}
                    _ = stopped => {}
                }
            });
        });
        plan.cores.pin(End::First);
        let times = runtime().block_on(async {
            let (_association, stream) = connect(plan, a).await;
            let (pattern, mut checker) = (Pattern::new(message_bytes), Checker::new(message_bytes));
            let mut buffer = vec![0; message_bytes];
            let mut times = Vec::with_capacity(plan.exchanges);
            for exchange in 0..plan.exchanges + plan.exchanges / 10 {
                let start = Instant::now();
                let message = pattern.message(exchange as u64);
                let written = stream.write_sctp(message, PayloadProtocolIdentifier::Binary).await;
                written.expect("the association is up");
                let len = stream.read(&mut buffer).await.expect("the other answers");
                checker.message(&buffer[..len]);
                if exchange >= plan.exchanges / 10 {
                    times.push(start.elapsed());
                }
            }
            times
        });
        // The other end may have ended by itself.
        let _ = stop.send(());
        RoundTrips::new(times)
    })
}
