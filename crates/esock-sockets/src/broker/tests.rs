//! A broker and programs of other users: what they can do who have not shown the key.

use super::*;
use crate::sysctl::Sysctl;
use esock_io::{Backend, Driver, DriverConfig, UdpPort};
use std::io::{ErrorKind, Read, Write};

const NOBODY: u32 = u32::MAX;

/// A broker to which this process is a stranger.
fn broker(name: &str) -> (Broker, SocketAddr) {
    let mut config = DriverConfig::default();
    (config.backend, config.udp_port) = (Backend::Udp, UdpPort::Ephemeral);
    let engine = Engine::new(Driver::open(config).expect("the test set it up"), Sysctl::default());
    let name = format!("esock/test/strangers/{name}/{}", std::process::id());
    let mut broker = Broker::listen(&name, NOBODY, String::new(), engine).expect("nobody has the name");
    broker.friends = [NOBODY; 2];
    (broker, SocketAddr::from_abstract_name(name).expect("a name"))
}

fn connect(at: &SocketAddr) -> UnixStream {
    let stream = UnixStream::connect_addr(at).expect("it listens");
    stream.set_nonblocking(true).expect("a socket");
    stream
}

/// A request, and what is behind it.
fn say(stream: &mut UnixStream, request: Request, body: &[u8]) {
    let bytes = [&request.to_bytes(), body].concat();
    assert_eq!(stream.write(&bytes).expect("it is taken"), bytes.len());
}

fn hello(key: &[u8]) -> Request {
    let args = [protocol::VERSION.cast_signed(), 0, 0, 0];
    Request { args, body: key.len() as u32, ..Request::new(Op::Hello, SocketId(0)) }
}

impl Broker {
    /// Serves until something holds.
    fn until<T>(&mut self, mut holds: impl FnMut(&mut Self) -> Option<T>) -> T {
        let mut events = Events::with_capacity(EVENTS);
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(done) = holds(self) {
                return done;
            }
            assert!(Instant::now() < end, "it never comes");
            self.poll.poll(&mut events, Some(Duration::from_millis(10))).expect("it waits");
            self.handle(&events).expect("it goes on");
        }
    }

    /// Serves until a program has its answer, or has none because it was turned away.
    fn answer(&mut self, program: &mut UnixStream) -> Option<i32> {
        let mut head = [0; protocol::REPLY_BYTES];
        self.until(|_| match program.read(&mut head) {
            Ok(0) => Some(None),
            Ok(_) => Some(Some(ReplyHead::from_bytes(&head).result)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(_) => Some(None),
        })
    }
}

#[test]
fn a_stranger_who_says_anything_but_the_key_is_turned_away_after_the_header() {
    let (mut broker, at) = broker("header");
    let huge = Request { body: 64 << 20, ..Request::new(Op::Send, SocketId(1)) };
    for request in [huge, Request { body: 257, ..hello(&[]) }, Request { shared: 1, ..hello(&[]) }] {
        let mut program = connect(&at);
        say(&mut program, request, &[]);
        assert_eq!(broker.answer(&mut program), None, "{request:?}");
    }
    for (request, told) in [
        (hello(b"guessed"), Errno::EACCES),
        (hello(&[]), Errno::EACCES),
        (Request { args: [0; 4], ..hello(&[]) }, Errno::EPROTO),
    ] {
        let mut program = connect(&at);
        say(&mut program, request, &b"guessed"[..request.body as usize]);
        assert_eq!(broker.answer(&mut program), Some(-told.0), "{request:?}");
        assert_eq!(broker.answer(&mut program), None, "and that is all that it is told");
    }
    assert!(broker.strangers.is_empty() && broker.programs.is_empty());
}

#[test]
fn who_shows_the_key_is_served_however_its_bytes_come() {
    let (mut broker, at) = broker("key");
    let key = broker.key.clone();
    let bytes = [&hello(key.as_bytes()).to_bytes(), key.as_bytes()].concat();
    let mut program = connect(&at);
    for byte in bytes {
        assert!(broker.programs.is_empty());
        assert_eq!(program.write(&[byte]).expect("it is taken"), 1);
        let mut rounds = 0..2;
        broker.until(|_| rounds.next().is_none().then_some(()));
    }
    assert_eq!(broker.answer(&mut program), Some(0));
    assert!(broker.strangers.is_empty() && broker.programs.len() == 1);
}

#[test]
fn strangers_who_say_nothing_are_so_many_and_no_more_and_keep_no_broker() {
    let (mut broker, at) = broker("silent");
    let mut programs: Vec<UnixStream> = Vec::new();
    for _ in 0..600 {
        programs.push(connect(&at));
        broker.accept(1, None);
    }
    let key = broker.key.clone();
    let mut friend = connect(&at);
    say(&mut friend, hello(key.as_bytes()), key.as_bytes());
    assert_eq!(broker.answer(&mut friend), Some(0));
    let gone = programs.iter().filter(|program| matches!((&**program).read(&mut [0]), Ok(0))).count();
    assert_eq!(gone, 600 + 1 - 256);
    drop(friend);
    broker.until(|broker| broker.programs.is_empty().then_some(()));
    assert!(!broker.leave(true), "one of them may be about to show the key");
    assert!(broker.leave(false), "but not for ever");
}

#[test]
fn a_broker_whose_name_another_has_taken_serves_those_whom_it_has() {
    let (mut broker, at) = broker("name");
    broker.friends = [esock_io::user(); 2];
    let mut program = connect(&at);
    let _ = SockRef::from(&broker.listener).shutdown(Shutdown::Read);
    broker.accept(ALL, None);
    // What `leave` does when somebody was quicker.
    broker.spare = None;
    broker.listener = UnixListener::from(OwnedFd::from(UnixDatagram::unbound().expect("a socket")));
    let other = UnixListener::bind_addr(&at).expect("the name is free");
    assert!(broker.listen_again().is_err());
    say(&mut program, hello(&[]), &[]);
    assert_eq!(broker.answer(&mut program), Some(0));
    drop(program);
    broker.until(|broker| broker.programs.is_empty().then_some(()));
    assert!(broker.leave(true));
    drop(other);
}

#[test]
fn of_what_a_program_writes_into_its_end_so_much_is_read_at_once_and_no_more() {
    let (mut theirs, ours) = UnixStream::pair().expect("a pair");
    theirs.set_nonblocking(true).expect("a socket");
    ours.set_nonblocking(true).expect("a socket");
    while theirs.write(&[0; 4096]).is_ok() {}
    let mut signal = Signal::new(ours, Token(0));
    assert!(signal.on_readable(SocketId(1), false));
    assert!(signal.take_left(), "whoever writes on and on does not hold the broker up");
    let mut rounds = 0;
    while signal.on_readable(SocketId(1), false) && signal.take_left() {
        rounds += 1;
    }
    assert!((1..100).contains(&rounds), "{rounds}");
}

#[test]
fn all_that_a_program_has_written_into_its_end_is_read_in_the_end() {
    let (mut broker, at) = broker("filled");
    broker.friends = [esock_io::user(); 2];
    let id = SocketId(u64::from(std::process::id()) << 32 | 9);
    let address = SocketAddr::from_abstract_name(protocol::socket_name(id)).expect("a name");
    let end = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a socket");
    end.bind(&socket2::SockAddr::unix(name_of(&address)).expect("a name")).expect("nobody has it");
    end.connect(&socket2::SockAddr::unix(name_of(&at)).expect("a name")).expect("it listens");
    let mut end = UnixStream::from(OwnedFd::from(end));
    end.set_nonblocking(true).expect("a socket");
    broker.until(|broker| broker.signals.contains_key(&id).then_some(()));
    let mut fill = || std::iter::from_fn(|| end.write(&[0; 4096]).ok()).sum::<usize>();
    let room = fill();
    assert!(room > 16 * 4096, "more than is read at once: {room}");
    let mut rounds = 0..2 * room / 4096;
    broker.until(|_| rounds.next().is_none().then_some(()));
    // Who fills it again finds all the room that there was.
    assert_eq!(fill(), room);
}

/// An abstract name as a path.
fn name_of(address: &SocketAddr) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    let name = address.as_abstract_name().expect("it has one");
    std::path::PathBuf::from(std::ffi::OsStr::from_bytes(&[b"\0", name].concat()))
}
