//! Requests that no library of ours makes: whatever a program asks for, the engine of all programs goes on.
//!
//! `ESOCK_SEED=n` begins at another seed, `ESOCK_RUNS=n` makes more runs. Packets are those of the loopback, so a seed chooses
//! what is asked, not quite what comes.

use bytes::Bytes;
use esock_io::{Backend, Driver, DriverConfig, UdpPort};
use esock_sockets::protocol::{Op, REQUEST_BYTES, Request};
use esock_sockets::{Engine, SocketId, Sysctl};
use std::net::Ipv4Addr;

/// Requests of one run.
const REQUESTS: usize = 20_000;
/// Sockets, one more than there ever are.
const SOCKETS: u64 = 9;

struct Program {
    engine: Engine,
    seed: u64,
    /// Ports of sockets that are bound.
    ports: Vec<u16>,
}

impl Program {
    fn new(seed: u64) -> Self {
        let mut config = DriverConfig::default();
        (config.backend, config.udp_port) = (Backend::Udp, UdpPort::Ephemeral);
        // Whatever address is asked for, nothing leaves the host.
        config.addresses = vec![Ipv4Addr::LOCALHOST.into()];
        let driver = Driver::open(config).expect("the test set it up");
        let port = driver.backend().udp_port.map_or_else(String::new, |port| port.to_string());
        let mut sysctl = Sysctl::default();
        sysctl.set(&format!("encap_port={port}")).expect("the test set it up");
        Self {
            engine: Engine::new(driver, sysctl),
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            ports: Vec::new(),
        }
    }

    fn random(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random() % end
    }

    /// Numbers at which things change.
    fn number(&mut self) -> i32 {
        match self.below(8) {
            0 => [i32::MIN, i32::MAX, -1, 0, 0xffff, 0x1_0000, 0x7fff][self.below(7) as usize],
            1 => self.random() as i32,
            2 => 1 << self.below(32),
            3 => self.below(5000) as i32,
            _ => self.below(16) as i32,
        }
    }

    fn address(&mut self, into: &mut Vec<u8>) {
        let place = self.random() as usize % (self.ports.len() + 1);
        let port = self.ports.get(place).copied().unwrap_or_else(|| self.number() as u16);
        let last = if self.below(8) == 0 { self.below(4) as u8 } else { 1 };
        if self.below(4) > 0 {
            into.extend((libc::AF_INET as u16).to_ne_bytes());
            into.extend(port.to_be_bytes());
            into.extend([127, 0, 0, last, 0, 0, 0, 0, 0, 0, 0, 0]);
        } else {
            into.extend((libc::AF_INET6 as u16).to_ne_bytes());
            into.extend(port.to_be_bytes());
            into.extend([0; 4]);
            let mapped = self.below(2) * 0xff;
            into.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, mapped as u8, mapped as u8]);
            into.extend([if mapped > 0 { 127 } else { 0 }, 0, 0, last, 0, 0, 0, 0]);
        }
    }

    fn words(&mut self, into: &mut Vec<u8>) {
        for _ in 0..self.below(40) {
            into.extend(self.number().to_ne_bytes());
        }
        let odd = into.len().saturating_sub(self.below(4) as usize);
        into.truncate(odd);
    }

    /// Control messages, some of which keep to the rules.
    fn control(&mut self, into: &mut Vec<u8>) {
        for _ in 0..self.below(3) {
            let mut data = Vec::new();
            self.words(&mut data);
            let length = if self.below(8) == 0 { self.random() } else { 16 + data.len() as u64 };
            into.extend(length.to_ne_bytes());
            into.extend([libc::IPPROTO_SCTP, self.below(12) as i32].map(i32::to_ne_bytes).concat());
            into.extend(&data);
            into.resize(into.len().next_multiple_of(8), 0);
        }
    }

    /// A request that can be read.
    fn request(&mut self) -> (Request, Vec<u8>) {
        let mut bytes = [0; REQUEST_BYTES];
        let socket = self.below(SOCKETS);
        bytes[4] = self.below(24) as u8;
        bytes[8..16].copy_from_slice(&socket.to_ne_bytes());
        let Ok(mut request) = Request::from_bytes(&bytes) else { return self.request() };
        request.args = [(); 4].map(|()| self.number());
        let mut body = Vec::new();
        match request.op {
            Op::Socket => {
                request.args[0] = [libc::AF_INET, libc::AF_INET6, 77][self.below(3) as usize];
                request.args[1] =
                    [libc::SOCK_STREAM, libc::SOCK_SEQPACKET, libc::SOCK_SEQPACKET][self.below(3) as usize];
            }
            Op::Accept | Op::PeelOff => body.extend(self.below(SOCKETS).to_ne_bytes()),
            Op::Send => {
                if self.below(2) == 0 {
                    self.address(&mut body);
                }
                let name = body.len();
                self.control(&mut body);
                request.args[1] = if self.below(16) == 0 { self.number() } else { name as i32 };
                request.args[2] = if self.below(16) == 0 { self.number() } else { (body.len() - name) as i32 };
                let data = self.below(3) * self.below(30_000);
                body.resize(body.len() + data as usize, 7);
            }
            Op::SetOption | Op::GetOption => {
                request.args[0] = [libc::SOL_SOCKET, libc::IPPROTO_IP, libc::IPPROTO_IPV6][self.below(3) as usize];
                if self.below(4) > 0 {
                    request.args[0] = libc::IPPROTO_SCTP;
                }
                request.args[1] = self.below(140) as i32;
                self.words(&mut body);
                let place = self.below(3) as usize * 4;
                if self.below(2) == 0 && body.len() > place {
                    body.truncate(place);
                    self.address(&mut body);
                    body.resize(place + 128, 0);
                    self.words(&mut body);
                }
            }
            _ if self.below(4) > 0 => (0..=self.below(2)).for_each(|_| self.address(&mut body)),
            _ => self.words(&mut body),
        }
        (request, body)
    }

    fn run(&mut self) {
        for _ in 0..REQUESTS {
            let now = self.engine.driver().now();
            let (request, body) = self.request();
            let reply = self.engine.call(now, &request, Bytes::from(body));
            if request.op == Op::LocalName && reply.result >= 0 && reply.name.len() >= 4 {
                self.ports.push(u16::from_be_bytes([reply.name[2], reply.name[3]]));
            }
            if self.below(200) == 0 {
                let closed = SocketId(self.below(SOCKETS));
                self.engine.close(now, closed);
            }
            if self.below(4) == 0 {
                self.engine.turn(now).expect("its sockets live");
                let _ = self.engine.take_touched().count();
            }
        }
    }
}

#[test]
fn whatever_a_program_asks_for_the_engine_goes_on() {
    let number = |name, default| std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default);
    let first: u64 = number("ESOCK_SEED", 1);
    println!("ESOCK_SEED={first}");
    for seed in first..first + number("ESOCK_RUNS", 3) {
        println!("seed {seed}");
        let mut program = Program::new(seed);
        program.run();
        let report =
            program.engine.call(program.engine.driver().now(), &Request::new(Op::Report, SocketId(0)), Bytes::new());
        println!("{}", String::from_utf8_lossy(&report.data));
    }
}
