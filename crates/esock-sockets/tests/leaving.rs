//! A broker that is about to end, and a program that comes in the last moment.

use esock_io::{Backend, Driver, DriverConfig, UdpPort};
use esock_sockets::protocol::{Op, REPLY_BYTES, ReplyHead, Request, VERSION};
use esock_sockets::{Broker, Engine, SocketId, Sysctl};
use std::io::{ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

/// Greets the broker at the other end; what it answered.
fn greet(program: &mut UnixStream) -> i32 {
    let args = [VERSION.cast_signed(), std::process::id().cast_signed(), 0, 0];
    program.write_all(&Request { args, ..Request::new(Op::Hello, SocketId(0)) }.to_bytes()).expect("it listens");
    let mut head = [0; REPLY_BYTES];
    program.read_exact(&mut head).expect("it answers");
    ReplyHead::from_bytes(&head).result
}

#[test]
fn who_comes_while_the_broker_ends_is_served_and_so_are_others_meanwhile() {
    let mut config = DriverConfig::default();
    (config.backend, config.udp_port) = (Backend::Udp, UdpPort::Ephemeral);
    let engine = Engine::new(Driver::open(config).expect("the test set it up"), Sysctl::default());
    let name = format!("esock/test/leaving/{}", std::process::id());
    let at = SocketAddr::from_abstract_name(&name).expect("a name");
    let mut broker = Broker::listen(&name, esock_io::user(), String::new(), engine).expect("nobody has the name");
    // It waits at the door when the broker's time has come.
    let mut late = UnixStream::connect_addr(&at).expect("it listens");
    late.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    let served = std::thread::spawn(move || broker.run(Duration::ZERO));
    assert_eq!(greet(&mut late), 0);
    let mut another = UnixStream::connect_addr(&at).expect("it listens again");
    assert_eq!(greet(&mut another), 0);
    drop((late, another));
    served.join().expect("no panic").expect("no error");
    let refused = UnixStream::connect_addr(&at).map_err(|error| error.kind());
    assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused));
}
