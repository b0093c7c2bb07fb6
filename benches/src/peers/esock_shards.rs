//! Several associations between two endpoints' contexts, each end over one shard or several, on as many cores as there
//! are: both ends share them.

use super::esock::config;
use crate::pattern::{Checker, Pattern};
use crate::{Bulk, Plan};
use esock::{Association, Backend, ConnectTo, Context, Endpoint, Received, Receiver, SendOptions, UdpPort};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use tokio::runtime::Builder;

const MESSAGE_BYTES: usize = 16 << 10;

/// With ends that take turns on a core, what is under way must fit the sockets' buffers, or loopback loses it.
const WINDOW_BYTES: u32 = 512 << 10;

/// Messages handed over together.
const BATCH: usize = 16;

/// Worker threads of each end's runtime.
const WORKERS: usize = 2;

async fn open(context: &Context, plan: &Plan, shards: u16) -> Endpoint {
    let builder = Endpoint::builder().address(Ipv4Addr::LOCALHOST).backend(Backend::Udp).shards(shards);
    let mut config = config(plan);
    config.receive_window = WINDOW_BYTES;
    let builder = builder.udp_port(UdpPort::Ephemeral).context(context.clone()).config(config);
    builder.open().await.expect("loopback can be bound")
}

/// All associations together: each has a task that sends and one that receives.
pub fn bulk(plan: &Plan, associations: usize, shards: u16) -> Bulk {
    let runtime = || Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let senders = runtime().expect("a runtime starts");
    let receivers = runtime().expect("a runtime starts");
    let messages = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let server = receivers.block_on(open(&Context::new(), plan, shards));
    let udp_port = server.backend().udp_port.expect("it is over UDP");
    let to = ConnectTo::new([Ipv4Addr::LOCALHOST], server.port()).encap_port(udp_port);
    let context = Context::new();
    for _ in 0..associations {
        let (to, context, plan, over) = (to.clone(), context.clone(), *plan, over.clone());
        // An endpoint has one association with another.
        senders.spawn(async move {
            let endpoint = open(&context, &plan, shards).await;
            let (association, _receiver) = endpoint.connect(to).await.expect("the other end accepts");
            send(&association, &over).await;
        });
        let accepted = receivers.block_on(server.accept()).expect("the endpoint is open");
        let (association, receiver) = accepted;
        receivers.spawn(receive(association, receiver, messages.clone()));
    }
    std::thread::sleep(plan.warm_up);
    let (start, before) = (Instant::now(), messages.load(Ordering::Relaxed));
    std::thread::sleep(plan.measure);
    let (time, count) = (start.elapsed(), messages.load(Ordering::Relaxed) - before);
    over.store(true, Ordering::Relaxed);
    senders.shutdown_background();
    receivers.shutdown_background();
    Bulk { messages: count, bytes: count * MESSAGE_BYTES as u64, time }
}

async fn send(association: &Association, over: &AtomicBool) {
    let pattern = Pattern::new(MESSAGE_BYTES);
    let (mut batch, mut next) = (VecDeque::new(), 0);
    while !over.load(Ordering::Relaxed) {
        let end = next + BATCH as u64;
        batch.extend((next..end).map(|n| (SendOptions::default(), pattern.message(n).clone())));
        next = end;
        if association.send_many(&mut batch).await.is_err() {
            return;
        }
    }
}

async fn receive(_association: Association, mut receiver: Receiver, messages: Arc<AtomicU64>) {
    let mut checker = Checker::new(MESSAGE_BYTES);
    let mut batch = Vec::with_capacity(BATCH);
    while receiver.recv_many(&mut batch, BATCH).await > 0 {
        for received in batch.drain(..) {
            if let Received::Message(message) = received {
                checker.message(&message.payload);
                messages.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
