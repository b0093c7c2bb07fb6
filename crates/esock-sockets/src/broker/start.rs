//! Starting a broker: what it is given, and where programs find it.

use super::Broker;
use crate::engine::{Engine, SocketId};
use crate::protocol::{self, Op, REPLY_BYTES, ReplyHead, Request};
use crate::sysctl::Sysctl;
use esock_io::{Backend, Driver, DriverConfig, UdpPort};
use std::fmt;
use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

/// How long a broker stays when nobody is there: until the first program has come, and for the next one.
const LINGER: Duration = Duration::from_secs(3);

/// A piece of memory that is given back to the system: glibc keeps twice as much from then on (mallopt(3)).
const GIVEN_BACK_BYTES: usize = 2 << 20;

/// How long a broker may take to greet.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a broker is started with.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct BrokerConfig {
    /// The abstract name that it listens at; none is that of the user, see [`protocol::broker_name`].
    pub name: Option<String>,
    /// `Raw`, `Udp` or `Auto`: raw IP where it is permitted, else UDP. `Auto`.
    pub backend: Backend,
    /// The UDP port; none is 9899, or any if that is taken.
    pub udp_port: Option<u16>,
    /// What sockets begin with.
    pub sysctl: Sysctl,
    /// All of this in words, as whoever starts programs gives it; told to those who come later.
    pub settings: String,
}

/// What a running broker says to whoever starts programs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Greeting {
    /// For programs that become other users (`ESOCK_KEY`).
    pub key: String,
    /// What it was started with, see [`BrokerConfig::settings`].
    pub settings: String,
}

/// Why a broker could not be started.
#[derive(Debug)]
pub struct BrokerError(String);

impl BrokerConfig {
    /// The name that it listens at.
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| protocol::broker_name(esock_io::user()))
    }

    /// Whether there is a broker by that name.
    pub fn is_running(&self) -> bool {
        SocketAddr::from_abstract_name(self.name()).and_then(|name| UnixStream::connect_addr(&name)).is_ok()
    }

    /// Greets the broker by that name.
    pub fn greet(&self) -> io::Result<Greeting> {
        self.connect().map(|(_, greeting)| greeting)
    }

    /// What the broker by that name says of itself and of its sockets, for people.
    pub fn report(&self) -> io::Result<String> {
        let (mut broker, _) = self.connect()?;
        broker.write_all(&Request::new(Op::Report, SocketId(0)).to_bytes())?;
        let mut head = [0; REPLY_BYTES];
        broker.read_exact(&mut head)?;
        let mut text = vec![0; ReplyHead::from_bytes(&head).body as usize];
        broker.read_exact(&mut text)?;
        String::from_utf8(text).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    fn connect(&self) -> io::Result<(UnixStream, Greeting)> {
        let mut broker = UnixStream::connect_addr(&SocketAddr::from_abstract_name(self.name())?)?;
        broker.set_read_timeout(Some(PATIENCE))?;
        let user = esock_io::peer_user(&broker)?;
        if user != esock_io::user() && user != 0 {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("it is user {user}'s")));
        }
        let args = [protocol::VERSION.cast_signed(), std::process::id().cast_signed(), 0, 0];
        broker.write_all(&Request { args, ..Request::new(Op::Hello, SocketId(0)) }.to_bytes())?;
        let mut head = [0; REPLY_BYTES];
        broker.read_exact(&mut head)?;
        let head = ReplyHead::from_bytes(&head);
        if head.result < 0 {
            return Err(io::Error::other("it is of another version"));
        }
        let mut said = vec![0; head.body as usize];
        broker.read_exact(&mut said)?;
        let said = String::from_utf8_lossy(&said);
        let (key, settings) = said.split_once('\n').ok_or(io::ErrorKind::InvalidData)?;
        let greeting = Greeting { key: key.to_owned(), settings: settings.to_owned() };
        Ok((broker, greeting))
    }

    /// Opens the stack's sockets and listens.
    pub fn start(&self) -> Result<Broker, BrokerError> {
        let mut config = DriverConfig::default();
        config.backend = match self.backend {
            Backend::Kernel => {
                return Err(BrokerError("the kernel's SCTP needs no broker: run the program without esock".into()));
            }
            Backend::Auto => Backend::Auto,
            other => other,
        };
        config.udp_port = match (self.udp_port, self.sysctl.get("udp_port")) {
            (Some(port), _) => UdpPort::Listen(port),
            (None, 0) => UdpPort::Prefer(esock_io::ENCAPSULATION_PORT),
            (None, port) => UdpPort::Listen(u16::try_from(port).unwrap_or(esock_io::ENCAPSULATION_PORT)),
        };
        // Programs' sockets come and go by hundreds, and nobody is to be turned away for a burst.
        config.stack.max_incoming = 65_536;
        // Programs expect a kernel, which answers for ports that nobody has.
        config.stack.answers_for_nobody = true;
        config.stack.refuse_when_not_accepting = true;
        config.stack.tells_all_on_loopback = true;
        keep_memory();
        let driver = self.open(config)?;
        let engine = Engine::new(driver, self.sysctl.clone());
        let name = self.name();
        Broker::listen(&name, esock_io::user(), self.settings.clone(), engine).map_err(|error| {
            BrokerError(match error.kind() {
                io::ErrorKind::AddrInUse => format!("there is a broker at {name} already"),
                _ => format!("cannot listen at {name}: {error}"),
            })
        })
    }

    fn open(&self, mut config: DriverConfig) -> Result<Driver, BrokerError> {
        if config.backend == Backend::Auto {
            config.backend = Backend::Raw;
            if let Ok(driver) = Driver::open(config.clone()) {
                return Ok(driver);
            }
            config.backend = Backend::Udp;
        }
        Driver::open(config).map_err(|error| BrokerError(error.to_string()))
    }
}

/// Has the allocator keep what messages leave, for those that follow: it gives the end of its memory back as soon as 128 KiB
/// there are free, which are two messages of 64 KiB, and then asks for it again.
fn keep_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(GIVEN_BACK_BYTES)));
}

impl Broker {
    /// Serves until the last program has gone, and what it left is done.
    pub fn serve(&mut self) -> Result<(), BrokerError> {
        self.run(LINGER).map_err(|error| BrokerError(format!("the stack's sockets have failed: {error}")))
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BrokerError {}
