//! The kernel's TCP over loopback.

use crate::pattern::{Pattern, StreamChecker};
use crate::plan::BUFFER_BYTES;
use crate::{Bulk, End, Plan, RoundTrips};
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
    let address = listener.local_addr().expect("a bound socket has an address");
    let client = TcpStream::connect(address).expect("the listener is there");
    let (server, _) = listener.accept().expect("the client is there");
    for stream in [&client, &server] {
        let socket = SockRef::from(stream);
        // The system may allow less.
        let _ = socket.set_send_buffer_size(BUFFER_BYTES);
        let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
    }
    (client, server)
}

/// One end writes messages, the other reads.
pub fn bulk(plan: Plan, message_bytes: usize) -> Bulk {
    let (mut client, mut server) = pair();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        plan.cores.pin(End::Second);
        scope.spawn(|| {
            plan.cores.pin(End::First);
            let pattern = Pattern::new(message_bytes);
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                client.write_all(pattern.message(n)).expect("the server reads");
            }
            drop(client);
        });
        let mut buffer = vec![0u8; 256 << 10];
        let mut checker = StreamChecker::new(message_bytes);
        let mut measure_for = |time| {
            let (start, mut bytes) = (Instant::now(), 0);
            while start.elapsed() < time {
                let count = server.read(&mut buffer).expect("the client writes");
                checker.bytes(&buffer[..count]);
                bytes += count as u64;
            }
            Bulk { bytes, messages: bytes / message_bytes as u64, time: start.elapsed() }
        };
        measure_for(plan.warm_up);
        let result = measure_for(plan.measure);
        stop.store(true, Ordering::Relaxed);
        while server.read(&mut buffer).is_ok_and(|len| len > 0) {}
        result
    })
}

/// A message back and forth.
pub fn ping_pong(plan: Plan, message_bytes: usize) -> RoundTrips {
    let (mut client, mut server) = pair();
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("TCP_NODELAY exists");
    }
    thread::scope(|scope| {
        plan.cores.pin(End::First);
        scope.spawn(move || {
            plan.cores.pin(End::Second);
            let mut buffer = vec![0u8; message_bytes];
            while server.read_exact(&mut buffer).is_ok() {
                server.write_all(&buffer).expect("the client reads");
            }
        });
        let mut buffer = vec![7u8; message_bytes];
        let mut times = Vec::with_capacity(plan.exchanges);
        for exchange in 0..plan.exchanges + plan.exchanges / 10 {
            let start = Instant::now();
            client.write_all(&buffer).expect("the server reads");
            client.read_exact(&mut buffer).expect("the server answers");
            if exchange >= plan.exchanges / 10 {
                times.push(start.elapsed());
            }
        }
        drop(client);
        RoundTrips::new(times)
    })
}
