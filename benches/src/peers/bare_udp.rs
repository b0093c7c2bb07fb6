//! UDP over loopback with segmentation offload and nothing on top: what the packets cost at least.

use crate::pattern::Pattern;
use crate::plan::enlarge;
use crate::{Bulk, End, Plan, RoundTrips};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use std::io::{ErrorKind, IoSliceMut};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const RECEIVE_BYTES: usize = 1 << 16;

/// One end sends batches of segments as fast as it can, the other counts what arrives (not all does:
/// nothing slows the sender down). Messages larger than a packet are cut into packets.
pub fn bulk(plan: Plan, message_bytes: usize) -> Bulk {
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("loopback can be bound");
    let sender = UdpSocket::bind("127.0.0.1:0").expect("loopback can be bound");
    let destination = receiver.local_addr().expect("a bound socket has an address");
    let segment = message_bytes.min(plan.packet_bytes);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        plan.cores.pin(End::Second);
        scope.spawn(|| {
            plan.cores.pin(End::First);
            let state = UdpSocketState::new((&sender).into()).expect("a UDP socket");
            sender.set_nonblocking(false).expect("a socket can block");
            // One content for all: which of them are lost cannot be known.
            let contents = Pattern::new(segment).message(0).repeat((65507 / segment).min(state.max_gso_segments()));
            let transmit =
                Transmit { destination, ecn: None, contents: &contents, segment_size: Some(segment), src_ip: None };
            while !stop.load(Ordering::Relaxed) {
                state.try_send((&sender).into(), &transmit).expect("loopback takes packets");
            }
        });
        let state = UdpSocketState::new((&receiver).into()).expect("a UDP socket");
        enlarge(&receiver);
        receiver.set_nonblocking(false).expect("a socket can block");
        receiver.set_read_timeout(Some(Duration::from_secs(1))).expect("not zero");
        let mut buffer = vec![0u8; RECEIVE_BYTES];
        let pattern = Pattern::new(segment);
        let mut measure_for = |time| {
            let (start, mut bytes) = (Instant::now(), 0);
            while start.elapsed() < time {
                // A blocking batch waits until it is full, so one buffer at a time.
                let mut slices = [IoSliceMut::new(&mut buffer)];
                let mut metas = [RecvMeta::default()];
                let count = state.recv((&receiver).into(), &mut slices, &mut metas).expect("the sender sends");
                for meta in &metas[..count] {
                    buffer[..meta.len].chunks(meta.stride).for_each(|packet| pattern.check(0, packet));
                    bytes += meta.len as u64;
                }
            }
            Bulk { bytes, messages: bytes / message_bytes as u64, time: start.elapsed() }
        };
        measure_for(plan.warm_up);
        let result = measure_for(plan.measure);
        stop.store(true, Ordering::Relaxed);
        result
    })
}

/// A datagram back and forth.
pub fn ping_pong(plan: Plan, message_bytes: usize) -> RoundTrips {
    let server = UdpSocket::bind("127.0.0.1:0").expect("loopback can be bound");
    let client = UdpSocket::bind("127.0.0.1:0").expect("loopback can be bound");
    client.connect(server.local_addr().expect("a bound socket has an address")).expect("loopback has a route");
    server.connect(client.local_addr().expect("a bound socket has an address")).expect("loopback has a route");
    let total = plan.exchanges + plan.exchanges / 10;
    let receive = |socket: &UdpSocket, buffer: &mut [u8]| loop {
        match socket.recv(buffer) {
            Err(error) if plan.spins && error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
            received => break received.expect("the other end sends"),
        }
    };
    for socket in [&server, &client] {
        socket.set_nonblocking(plan.spins).expect("a socket can do both");
    }
    thread::scope(|scope| {
        // It begins where it stays: who spins leaves its core to nobody.
        plan.cores.pin(End::Second);
        scope.spawn(|| {
            let mut buffer = vec![0u8; message_bytes];
            for _ in 0..total {
                receive(&server, &mut buffer);
                server.send(&buffer).expect("loopback takes packets");
            }
        });
        plan.cores.pin(End::First);
        let mut buffer = vec![7u8; message_bytes];
        let mut times = Vec::with_capacity(plan.exchanges);
        for exchange in 0..total {
            let start = Instant::now();
            client.send(&buffer).expect("loopback takes packets");
            receive(&client, &mut buffer);
            if exchange >= plan.exchanges / 10 {
                times.push(start.elapsed());
            }
        }
        RoundTrips::new(times)
    })
}
