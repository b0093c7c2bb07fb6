//! The command interface of two stacks that talk to each other undisturbed: calls in every order, with every
//! argument, on associations in every state and on identifiers that are stale. Every message arrives once and
//! in order, or comes back; what is refused says why, and gives back what it was given.

use crate::input::Input;
use crate::ledger::{Ledger, SHORTEST, payload};
use crate::world::{Host, PORTS, Policy, UDP, World, address, config};
use esock_proto::{
    AssocId, Config, ConnectError, Encapsulation, EndpointConfig, Event, NotFound, OpenError, PathId, PathParameters,
    Peer, Ppid, SendError, SendOptions, State, StreamId,
};
use std::time::Duration;

const STEPS: usize = 300;
/// Nothing lasts longer once nobody does anything: an hour of timeouts.
const PATIENCE: Duration = Duration::from_secs(3600);

struct Play<'a> {
    world: World,
    input: Input<'a>,
    /// `ledgers[k]`: what host k sends, over whatever association.
    ledgers: [Ledger; 2],
    released: Vec<(usize, AssocId)>,
    /// A configuration was used with which an end takes its time, or for ever.
    strange: bool,
}

/// See the module.
pub fn run(data: &[u8]) {
    play(data);
}

/// Plays an input to its end; how many messages each end sent.
pub fn play(data: &[u8]) -> [u32; 2] {
    let mut input = Input::new(data);
    let mut world = World::new(&mut input);
    let begun = input.byte();
    if begun & 1 == 0 {
        world.establish();
    }
    let mut play = Play { world, input, ledgers: Default::default(), released: Vec::new(), strange: false };
    play.take_events();
    for _ in 0..STEPS {
        if play.input.is_empty() {
            break;
        }
        play.step();
        play.take_events();
    }
    play.finish();
    play.ledgers.map(|ledger| ledger.next())
}

impl Play<'_> {
    /// An association of a host, old ones included.
    fn pick(&mut self, host: usize) -> Option<AssocId> {
        let back = self.input.byte();
        // Mostly the newest.
        let back = if back & 3 == 0 { usize::from(back >> 2) } else { 0 };
        let assocs = &self.world.hosts[host].assocs;
        assocs.len().checked_sub(1 + back).and_then(|at| assocs.get(at)).copied()
    }

    fn step(&mut self) {
        let what = self.input.byte();
        let host = usize::from(what >> 7);
        match what & 0x1f {
            0..=3 => self.world.deliver_all(),
            4 => {
                self.world.deliver_next();
            }
            5 | 6 => self.world.pass(Duration::from_secs(100)),
            7 => self.world.jump(Duration::from_millis(1 << (self.input.byte() % 24))),
            8 | 9 => self.connect(host),
            10..=15 => self.send(host),
            16..=18 => self.read(host),
            19 => self.shutdown(host),
            20 => self.abort(host),
            21 => self.release(host),
            22..=24 => self.path_calls(host),
            25 => self.policy(host),
            26 => self.endpoints(host),
            27 => self.queries(host),
            _ => {
                let policies = [Policy::Accept, Policy::Refuse, Policy::Ignore];
                let policy = policies[self.input.below(3)];
                self.world.decide(host, policy);
            }
        }
    }

    fn connect(&mut self, host: usize) {
        let what = self.input.byte();
        let encapsulation = match what & 3 {
            0 => Encapsulation::Default,
            1 => Encapsulation::Udp(UDP),
            2 => Encapsulation::Both(UDP),
            _ => Encapsulation::Native,
        };
        let mut peer =
            Peer { addresses: self.world.hosts[1 - host].addresses.clone(), port: PORTS[1 - host], encapsulation };
        match what >> 2 & 7 {
            0 => peer.addresses.clear(),
            1 => peer.port = u16::from(self.input.byte()),
            2 => peer.addresses = vec![address(host, 0)],
            3 => peer.addresses.push(std::net::Ipv4Addr::from_bits(self.input.u32()).into()),
            4 => peer.addresses.rotate_left(1),
            _ => {}
        }
        let own = (what & 0x80 != 0).then(|| self.strange_config());
        self.strange |= own.is_some();
        let valid = own.as_ref().is_none_or(|config| config.validate().is_ok());
        let now = self.world.now;
        if let Some(config) = &own {
            self.world.hosts[host].expect(config);
        }
        let Host { stack, endpoint, assocs, watches, .. } = &mut self.world.hosts[host];
        if stack.stats().associations >= crate::world::MAX_ASSOCIATIONS {
            return;
        }
        match stack.connect(now, *endpoint, &peer, own) {
            Ok(id) => {
                assert!(valid && peer.port != 0 && !peer.addresses.is_empty());
                assert_eq!(stack.state(id), Some(State::CookieWait));
                assert!(!assocs.contains(&id), "an identifier is used again");
                assocs.push(id);
                watches.insert(id, Default::default());
            }
            Err(ConnectError::NoAddress) => assert!(peer.addresses.is_empty()),
            Err(ConnectError::BadPort) => assert_eq!(peer.port, 0),
            Err(ConnectError::Config(_)) => assert!(!valid),
            Err(ConnectError::BadAddress(bad)) => assert!(peer.addresses.contains(&bad)),
            Err(ConnectError::Exists) => {
                let taken = |address: &_| stack.find(*endpoint, *address, peer.port).is_some();
                assert!(peer.addresses.iter().any(taken), "nobody has that peer");
            }
            Err(ConnectError::NoEndpoint) => assert_eq!(stack.endpoint_port(*endpoint), None),
            Err(other) => panic!("{other}"),
        }
        self.world.settle(host);
    }

    /// A configuration with values that nobody sane would choose; some are refused.
    fn strange_config(&mut self) -> Config {
        let mut config = config(&mut self.input);
        let long = |input: &mut Input<'_>| Duration::from_nanos(u64::from(input.byte()) << (input.byte() & 63));
        for _ in 0..self.input.byte() & 3 {
            let input = &mut self.input;
            match input.below(16) {
                0 => config.rto_initial = long(input),
                1 => config.rto_min = long(input),
                2 => config.rto_max = long(input),
                3 => config.heartbeat_interval = Some(long(input)),
                4 => config.sack_delay = long(input),
                5 => config.sack_frequency = input.u32(),
                6 => config.path_max_retrans = Some(input.u32()),
                7 => config.assoc_max_retrans = input.u32() & 0x3f,
                8 => config.max_init_retransmits = input.u32() & 0x3f,
                9 => config.cookie_life = Duration::from_secs(u64::from(input.u32()) << (input.byte() & 31)),
                10 => config.max_burst = input.u32(),
                11 => config.initial_mtu = input.u16(),
                12 => config.max_mtu = input.u16(),
                13 => config.pf_threshold = Some(input.u32()),
                14 => config.max_peer_addresses = input.byte().into(),
                _ => {
                    (config.rto_min, config.rto_initial, config.rto_max) =
                        (Duration::from_nanos(1), Duration::MAX, Duration::MAX);
                    config.heartbeat_interval = Some(Duration::MAX);
                    config.cookie_life = Duration::MAX;
                }
            }
        }
        config
    }

    fn send(&mut self, host: usize) {
        let Some(id) = self.pick(host) else { return };
        let shape = self.input.byte();
        let number = self.ledgers[host].next();
        let stream = if shape & 0x10 == 0 { u16::from(shape & 3) } else { self.input.u16() };
        let options = SendOptions {
            stream: StreamId(stream),
            ppid: Ppid(self.input.byte().into()),
            unordered: shape & 4 != 0,
            sack_immediately: shape & 8 != 0,
            context: number.into(),
            lifetime: (shape & 0xc == 0xc).then(|| Duration::from_millis(u64::from(shape))),
            path: (shape & 3 == 3).then_some(PathId(u16::from(shape & 4 == 0))),
        };
        let len = usize::from(self.input.byte()) << (shape >> 5);
        let len = if len == 0 { 0 } else { len.max(SHORTEST) };
        let now = self.world.now;
        let stack = &mut self.world.hosts[host].stack;
        let state = stack.state(id);
        match stack.send(now, id, options, payload(number, len).into()) {
            Ok(()) => {
                assert!(matches!(state, Some(State::CookieWait | State::CookieEchoed | State::Established)));
                self.ledgers[host].sent(options, len);
            }
            Err(rejected) => {
                assert_eq!(rejected.payload.len(), len, "the payload comes back");
                match rejected.error {
                    SendError::Closed => assert!(matches!(state, None | Some(State::Closed))),
                    SendError::Empty => assert_eq!(len, 0),
                    SendError::BadStream { stream: bad, count } => assert!(bad.0 == stream && stream >= count),
                    SendError::ShuttingDown => assert!(matches!(
                        state,
                        Some(
                            State::ShutdownPending
                                | State::ShutdownSent
                                | State::ShutdownReceived
                                | State::ShutdownAckSent
                        )
                    )),
                    SendError::Full | SendError::TooLarge { .. } => {}
                    other => panic!("{other}"),
                }
            }
        }
        self.world.settle(host);
    }

    fn read(&mut self, host: usize) {
        let Some(id) = self.pick(host) else { return };
        for _ in 0..=self.input.byte() {
            if !self.read_one(host, id) {
                break;
            }
        }
        self.world.settle(host);
    }

    fn read_one(&mut self, host: usize, id: AssocId) -> bool {
        let waiting = self.world.hosts[host].stack.ready_messages(id);
        let message = self.world.hosts[host].stack.recv(self.world.now, id);
        assert_eq!(message.is_some(), waiting > 0);
        if let Some(message) = &message {
            self.ledgers[1 - host].arrived(id, message, &[]);
        }
        message.is_some()
    }

    fn shutdown(&mut self, host: usize) {
        let Some(id) = self.pick(host) else { return };
        let stack = &mut self.world.hosts[host].stack;
        let known = stack.state(id).is_some();
        assert_eq!(stack.shutdown(self.world.now, id).is_ok(), known);
        self.world.settle(host);
    }

    fn abort(&mut self, host: usize) {
        let Some(id) = self.pick(host) else { return };
        let reason = self.input.blob();
        let reason = reason.repeat(1 + self.input.below(16));
        let stack = &mut self.world.hosts[host].stack;
        let known = stack.state(id).is_some();
        assert_eq!(stack.abort(self.world.now, id, &reason).is_ok(), known);
        assert!(matches!(stack.state(id), None | Some(State::Closed)));
        self.world.settle(host);
    }

    fn release(&mut self, host: usize) {
        let Some(id) = self.pick(host) else { return };
        let stack = &mut self.world.hosts[host].stack;
        stack.release(self.world.now, id);
        assert_eq!(stack.state(id), None);
        assert!(stack.association(self.world.now, id).is_none() && stack.recv(self.world.now, id).is_none());
        self.released.push((host, id));
        self.world.settle(host);
    }

    fn path_calls(&mut self, host: usize) {
        let Some(id) = self.pick(host) else { return };
        let path = PathId(u16::from(self.input.byte() & 7));
        let now = self.world.now;
        let what = self.input.byte();
        let mut parameters = PathParameters::default();
        if what & 0x10 != 0 {
            let nanos = u64::from(self.input.byte()) << (self.input.byte() & 63);
            parameters.heartbeat_interval = Some((what & 0x80 != 0).then_some(Duration::from_nanos(nanos)));
        }
        if what & 0x20 != 0 {
            parameters.path_max_retrans = Some((what & 0x80 != 0).then_some(u32::from(self.input.byte())));
            parameters.pf_threshold = Some((what & 0x40 != 0).then_some(u32::from(self.input.byte())));
        }
        if what & 0x40 != 0 {
            parameters.mtu = Some(self.input.u16());
        }
        let stack = &mut self.world.hosts[host].stack;
        let paths = stack.association(now, id).map(|stats| stats.paths.len());
        let done = match what & 3 {
            0 => stack.set_primary(now, id, path),
            1 => stack.request_heartbeat(now, id, path),
            _ => stack.set_path_parameters(now, id, path, parameters),
        };
        let closed = stack.state(id) == Some(State::Closed);
        match done {
            Ok(()) => assert!(paths.is_some_and(|count| usize::from(path.0) < count)),
            Err(NotFound) => assert!(closed || paths.is_none_or(|count| usize::from(path.0) >= count)),
        }
        self.world.settle(host);
    }

    fn policy(&mut self, host: usize) {
        let what = self.input.byte();
        let Host { stack, endpoint, policy, .. } = &mut self.world.hosts[host];
        *policy = [Policy::Accept, Policy::Refuse, Policy::Hold, Policy::Ignore][usize::from(what & 3)];
        stack.set_accepting(*endpoint, what & 0x1c != 0);
    }

    /// Another endpoint on the same port, or on another; and the endpoint of this host opened anew.
    fn endpoints(&mut self, host: usize) {
        let what = self.input.byte();
        let now = self.world.now;
        let mut config = Config::default();
        config.receive_window = 20_000;
        config.send_buffer = 20_000;
        self.world.hosts[host].expect(&config);
        let Host { stack, endpoint, addresses, .. } = &mut self.world.hosts[host];
        let new = |port, addresses: &[_]| EndpointConfig {
            port,
            addresses: addresses.to_vec(),
            host_addresses: addresses.to_vec(),
            config: config.clone(),
        };
        match what & 3 {
            0 if stack.endpoint_port(*endpoint).is_some() => {
                let taken = stack.open(new(PORTS[host], addresses));
                assert_eq!(taken, Err(OpenError::InUse { by: *endpoint, port: PORTS[host] }));
            }
            1 => {
                let other = stack.open(new(0, &[])).expect("a port is free");
                assert!(stack.endpoint_port(other).is_some_and(|port| port >= 49152));
                assert!(stack.associations(other).is_empty());
                stack.close(now, other);
            }
            2 => {
                stack.close(now, *endpoint);
                assert_eq!(stack.association_count(*endpoint), 0);
                self.world.settle(host);
                let Host { stack, endpoint, addresses, .. } = &mut self.world.hosts[host];
                *endpoint = stack.open(new(PORTS[host], addresses)).expect("the port is free again");
                stack.set_accepting(*endpoint, true);
            }
            _ => stack.set_host_addresses(*endpoint, addresses),
        }
        self.world.settle(host);
    }

    fn queries(&mut self, host: usize) {
        let now = self.world.now;
        let Host { stack, endpoint, .. } = &self.world.hosts[host];
        let all = stack.associations(*endpoint);
        let open = all.iter().filter(|id| stack.state(**id) != Some(State::Closed)).count();
        assert_eq!(open, stack.association_count(*endpoint));
        for id in all {
            let stats = stack.association(now, id).expect("it is listed");
            assert_eq!(Some(stats.state), stack.state(id));
            if stats.state != State::Closed {
                let found = stats.paths.iter().filter_map(|path| stack.find(*endpoint, path.remote, stats.peer_port));
                assert_eq!(found.count(), stats.paths.len(), "every path finds somebody");
            }
        }
    }

    fn take_events(&mut self) {
        for host in 0..2 {
            for (id, event) in std::mem::take(&mut self.world.hosts[host].events) {
                assert!(!self.released.contains(&(host, id)), "an event of what was released");
                if let Event::Undelivered(back) | Event::Expired(back) = event {
                    self.ledgers[host].came_back(&back);
                }
            }
        }
    }

    /// Nobody does anything any more: everybody reads, shuts down, and is done in time.
    fn finish(&mut self) {
        let end = self.world.now + PATIENCE;
        for host in 0..2 {
            for id in self.world.hosts[host].assocs.clone() {
                let _ = self.world.hosts[host].stack.shutdown(self.world.now, id);
            }
            while !self.world.hosts[host].held.is_empty() {
                self.world.decide(host, Policy::Refuse);
            }
            self.world.hosts[host].policy = Policy::Refuse;
            self.world.settle(host);
        }
        let mut rounds = 0;
        while !self.is_over() && self.world.now < end {
            rounds += 1;
            assert!(rounds < 50_000, "packets breed packets");
            if self.world.wire.is_empty() {
                self.world.pass(PATIENCE);
            } else {
                self.world.deliver_all();
            }
            self.read_all();
        }
        self.read_all();
        if !self.strange {
            assert!(self.is_over(), "an association does not end");
        }
        if self.is_over() && self.released.is_empty() {
            for host in 0..2 {
                assert_eq!(self.ledgers[host].open(), 0, "messages of host {host} are missing");
            }
        }
    }

    fn read_all(&mut self) {
        for host in 0..2 {
            for id in self.world.hosts[host].assocs.clone() {
                while self.read_one(host, id) {}
            }
            self.world.settle(host);
        }
        self.take_events();
    }

    fn is_over(&self) -> bool {
        let over =
            |host: &Host| host.assocs.iter().all(|id| host.stack.state(*id).is_none_or(|state| state == State::Closed));
        self.world.hosts.iter().all(over)
    }
}
