//! Notifications that nobody reads.

use super::*;
use crate::notify::bit;
use esock_io::kernel::abi::{self, Structure};
use esock_io::kernel::constants as c;
use esock_io::{DriverConfig, UdpPort};
use esock_proto::{Event, Negotiated};
use std::time::Instant;

const SERVER: SocketId = SocketId(1);
const CLIENT: SocketId = SocketId(2);
const OTHER: SocketId = SocketId(3);

fn engine() -> Engine {
    let mut config = DriverConfig::default();
    (config.backend, config.udp_port) = (Backend::Udp, UdpPort::Ephemeral);
    Engine::new(Driver::open(config).expect("the test set it up"), Sysctl::default())
}

impl Engine {
    fn ask(&mut self, op: Op, socket: SocketId, args: [i32; 3], body: &[u8]) -> Reply {
        let now = self.driver.now();
        let request = Request { args: [args[0], args[1], args[2], 0], ..Request::new(op, socket) };
        self.call(now, &request, Bytes::copy_from_slice(body))
    }

    fn until(&mut self, mut holds: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !holds(self) {
            assert!(Instant::now() < end, "it never comes");
            let now = self.driver.now();
            self.turn(now).expect("the test set it up");
        }
    }

    /// A server that wants to be told of everything, and its address.
    fn serve(&mut self) -> Vec<u8> {
        assert_eq!(self.ask(Op::Socket, SERVER, [libc::AF_INET, libc::SOCK_SEQPACKET, 0], &[]).result, 0);
        let any = esock_io::kernel::address::pack(&[std::net::Ipv4Addr::LOCALHOST.into()], 0);
        assert_eq!(self.ask(Op::Bind, SERVER, [0; 3], &any).result, 0);
        assert_eq!(self.ask(Op::Listen, SERVER, [5, 0, 0], &[]).result, 0);
        self.sockets.get_mut(&SERVER).expect("it is there").settings.association.events = u32::MAX;
        self.ask(Op::LocalName, SERVER, [0; 3], &[]).name
    }

    /// Connects to an address: how that ended.
    fn reach(&mut self, socket: SocketId, name: &[u8]) -> i32 {
        assert_eq!(self.ask(Op::Socket, socket, [libc::AF_INET, libc::SOCK_SEQPACKET, 0], &[]).result, 0);
        let mut encapsulation = abi::sctp_udpencaps::zeroed();
        encapsulation.sue_port = self.driver.backend().udp_port.expect("the test set it up").to_be();
        let option = [libc::IPPROTO_SCTP, c::SCTP_REMOTE_UDP_ENCAPS_PORT, 0];
        assert_eq!(self.ask(Op::SetOption, socket, option, &encapsulation.bytes()).result, 0);
        assert_eq!(self.ask(Op::Connect, socket, [0; 3], name).result, -libc::EINPROGRESS);
        let mut ended = 0;
        self.until(|engine| {
            ended = engine.ask(Op::Connected, socket, [0; 3], &[]).result;
            ended != -libc::EINPROGRESS
        });
        ended
    }

    /// The server's end of the only association.
    fn served(&mut self) -> AssocId {
        self.until(|engine| !engine.sockets[&SERVER].associations.is_empty());
        *self.sockets[&SERVER].associations.values().next().expect("it is there")
    }

    fn happens(&mut self, id: AssocId, times: usize, event: impl Fn() -> Event) {
        let now = self.driver.now();
        (0..times).for_each(|_| self.on_event(now, id, event()));
    }

    /// All notifications of the server, as their types.
    fn read_all(&mut self) -> Vec<u16> {
        let mut all = Vec::new();
        loop {
            let reply = self.ask(Op::Recv, SERVER, [0, 4096, 0], &[]);
            if reply.result < 0 {
                return all;
            }
            all.push(u16::parse(&reply.data).expect("a type"));
        }
    }
}

fn error() -> Event {
    Event::PeerError { cause: 99, info: vec![1; 256].into() }
}

fn negotiated(engine: &Engine, id: AssocId) -> Negotiated {
    engine.associations[&id].up.expect("it is up")
}

#[test]
fn what_a_peer_can_tell_again_and_again_takes_no_more_than_the_receive_buffer_until_it_is_read() {
    let mut engine = engine();
    let name = engine.serve();
    assert_eq!(engine.reach(CLIENT, &name), 0);
    let id = engine.served();
    let room = engine.sockets[&SERVER].settings.receive_buffer;
    let negotiated = negotiated(&engine, id);
    engine.happens(id, 100_000, error);
    engine.happens(id, 100_000, || Event::Drained);
    assert!(engine.sockets[&SERVER].told_bytes < room + 1024, "{}", engine.sockets[&SERVER].told_bytes);
    engine.happens(id, 1000, || Event::Restarted(negotiated));
    engine.happens(id, 1, || Event::ShutdownReceived);
    let (told, held) = (engine.sockets[&SERVER].told_bytes, engine.associations[&id].told_bytes);
    assert!((room..room + 4096).contains(&told) && told == held, "{told} {held} {room}");

    let all = engine.read_all();
    let count = |kind: u16| all.iter().filter(|told| **told == kind).count();
    assert_eq!(count(c::SCTP_ASSOC_CHANGE), 2, "that it is up, and one restart");
    assert_eq!(count(c::SCTP_SHUTDOWN_EVENT), 1);
    assert!(count(c::SCTP_REMOTE_ERROR) > 100);
    assert_eq!((engine.sockets[&SERVER].told_bytes, engine.associations[&id].told_bytes), (0, 0));
    // Whoever reads is told again.
    engine.happens(id, 1, error);
    engine.happens(id, 2, || Event::Restarted(negotiated));
    let again = engine.read_all();
    assert_eq!(again.iter().filter(|told| **told == c::SCTP_ASSOC_CHANGE).count(), 2);
    assert!(again.contains(&c::SCTP_REMOTE_ERROR));
}

#[test]
fn who_does_not_read_that_associations_come_and_go_gets_no_more_of_them_until_it_does() {
    let mut engine = engine();
    let name = engine.serve();
    assert_eq!(engine.reach(CLIENT, &name), 0);
    let id = engine.served();
    // As of peers that come and go: each is told of.
    while !engine.sockets[&SERVER].is_flooded() {
        engine.happens(id, 1, || Event::ShutdownReceived);
    }
    assert_eq!(engine.reach(OTHER, &name), -libc::ECONNREFUSED);
    engine.close(engine.driver.now(), OTHER);
    engine.read_all();
    assert_eq!(engine.reach(OTHER, &name), 0);
}

#[test]
fn a_socket_that_is_peeled_off_takes_along_what_it_is_told() {
    let mut engine = engine();
    let name = engine.serve();
    assert_eq!(engine.reach(CLIENT, &name), 0);
    let id = engine.served();
    engine.happens(id, 3, error);
    let (told, number) = (engine.sockets[&SERVER].told_bytes, engine.associations[&id].number);
    assert!(told > 0 && engine.associations[&id].settings.events & bit(c::SCTP_REMOTE_ERROR) != 0);
    assert_eq!(engine.ask(Op::PeelOff, SERVER, [number, 0, 0], &OTHER.0.to_ne_bytes()).result, 0);
    assert_eq!((engine.sockets[&SERVER].told_bytes, engine.sockets[&OTHER].told_bytes), (0, told));
}
