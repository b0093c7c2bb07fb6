//! The run of a soak.

use super::book::noise;
use super::end::End;
use super::tally::Tally;
use super::weather::Fate;
use crate::link::LinkConfig;
use crate::network::Network;
use esock_proto::{
    Address, AssocId, CloseReason, Config, Encapsulation, EndpointConfig, Event, Faults, Peer, Preset, StackConfig,
    Time, Tsn,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

const SERVER_PORT: u16 = 30_400;
/// Client k of a server has this port and k.
const CLIENT_PORT: u16 = 5000;
/// Paths between a client and its server.
pub(super) const PATHS: usize = 3;
/// How long it may take until everything is acknowledged once the network has calmed down: the largest RTO
/// has to expire, a slow reader to come back, and a silent peer to be found out.
const CALM: Duration = Duration::from_secs(1800);
/// Cookies and tags are forgotten by then.
const REST: Duration = Duration::from_secs(600);
/// How many things happen between two calls of the caller's.
const BREATH: u64 = 1 << 14;

/// A client and its server.
#[derive(Debug)]
pub(super) struct Link {
    pub fate: Fate,
    /// The client's end, the server's end.
    pub ends: [End; 2],
    pub next_weather: Time,
    pub next_trouble: Time,
    /// When the client, or the server, sets up anew.
    pub connect_at: [Option<Time>; 2],
}

impl Link {
    /// An end and its peer.
    pub fn pair(&mut self, side: usize) -> (&mut End, &mut End) {
        let [client, server] = &mut self.ends;
        if side == 0 { (client, server) } else { (server, client) }
    }
}

/// A host, as it is made anew after a crash.
#[derive(Debug)]
pub(super) struct HostPlan {
    pub port: u16,
    pub addresses: Vec<Address>,
    pub config: Config,
}

/// See the module.
#[derive(Debug)]
pub struct Soak {
    pub(super) network: Network,
    pub(super) rng: StdRng,
    pub(super) plans: Vec<HostPlan>,
    pub(super) links: Vec<Link>,
    /// No traffic and no trouble.
    calm: bool,
    pub(super) tally: Tally,
}

/// No outage of a minute ends an association, though all its paths are tried meanwhile.
fn be_patient(config: &mut Config) {
    (config.assoc_max_retrans, config.rto_max) = (200, Duration::from_secs(10));
}

fn address(server: usize, path: usize, host: u8) -> Address {
    if path == 1 {
        Ipv6Addr::new(0x2001, 0xdb8, server as u16, 1, 0, 0, 0, u16::from(host)).into()
    } else {
        Ipv4Addr::new(10, server as u8, path as u8, host).into()
    }
}

impl Soak {
    /// A soak whose clock begins at `start`.
    pub fn new(seed: u64, start: Time) -> Self {
        Self::with_faults(seed, start, Faults::default())
    }

    /// A soak of stacks with a fault.
    pub fn with_faults(seed: u64, start: Time, faults: Faults) -> Self {
        noise();
        let mut soak = Self {
            network: Network::starting_at(seed, start),
            rng: StdRng::seed_from_u64(seed ^ 0x50a4),
            plans: Vec::new(),
            links: Vec::new(),
            calm: true,
            tally: Tally::default(),
        };
        use Fate::{Eternal, Hard, Hardest};
        for (server, fates) in [[Eternal, Eternal, Hard, Hard], [Hardest, Hardest, Hardest, Hardest]].iter().enumerate()
        {
            let mut config = if server == 0 { Config::default() } else { Preset::Sigtran.config() };
            config.outbound_streams = 20;
            config.send_buffer = 300_000;
            config.max_message = 120_000;
            config.faults = faults;
            if fates.contains(&Eternal) {
                be_patient(&mut config);
            }
            let host = soak.add_host(server, 1, SERVER_PORT, config.clone());
            for (number, fate) in fates.iter().enumerate() {
                soak.add_client(server, host, number as u8, *fate, &config);
            }
        }
        soak
    }

    fn add_host(&mut self, server: usize, number: u8, port: u16, config: Config) -> usize {
        let addresses = (0..PATHS).map(|path| address(server, path, number)).collect();
        let plan = HostPlan { port, addresses, config };
        let stack = self.stack_config();
        let host = self.network.add_host(stack, plan.endpoint());
        self.plans.push(plan);
        host
    }

    fn add_client(&mut self, server: usize, server_host: usize, number: u8, fate: Fate, theirs: &Config) {
        let mut config = [Preset::Rfc, Preset::Sigtran, Preset::Ran, Preset::Diameter][usize::from(number)].config();
        config.outbound_streams = 17;
        config.send_buffer = 300_000;
        config.max_message = 120_000;
        config.faults = theirs.faults;
        config.receive_window = [1 << 20, 20_000, 64_000, 300_000][usize::from(number)];
        if fate == Fate::Eternal {
            be_patient(&mut config);
        }
        let host = self.add_host(server, 10 + number, CLIENT_PORT + u16::from(number), config.clone());
        let now = self.network.now;
        let uid = self.links.len() as u32 * 2;
        let largest = |from: &Config, to: &Config| from.send_buffer.min(to.largest_inbound_message());
        let ends = [
            End::new(uid, host, largest(&config, theirs), now),
            End::new(uid + 1, server_host, largest(theirs, &config), now),
        ];
        self.links.push(Link { fate, ends, next_weather: now, next_trouble: now, connect_at: [None; 2] });
        let link = self.links.len() - 1;
        for path in 0..PATHS {
            self.set_weather(link, path, &LinkConfig::default());
        }
    }

    /// Each stack begins its associations near the end of the numbers.
    pub(super) fn stack_config(&mut self) -> StackConfig {
        let mut config = StackConfig::default();
        config.initial_tsn = Some(Tsn(u32::MAX - self.rng.random_range(0..20_000)));
        config
    }

    /// What has happened so far.
    pub fn tally(&self) -> Tally {
        Tally { packets: self.network.packets, ..self.tally }
    }

    /// A round: traffic and trouble for `lasts`, then calm, and everything is accounted for. `breathe` is
    /// called again and again.
    pub fn round(&mut self, lasts: Duration, breathe: &mut dyn FnMut(&Tally)) -> Result<(), String> {
        let now = self.network.now;
        for link in 0..self.links.len() {
            let soon = now + Duration::from_millis(self.rng.random_range(0..5000));
            if self.links[link].ends[0].assoc.is_none() {
                self.links[link].connect_at[0] = Some(soon);
            }
            self.links[link].next_weather = soon;
            self.links[link].next_trouble = self.links[link].fate.interval(&mut self.rng, now);
            self.links[link].ends.iter_mut().for_each(|end| end.next_habit = soon);
        }
        self.calm = false;
        self.advance(now + lasts, breathe)?;
        self.calm_down(false, breathe)?;
        self.tally.rounds += 1;
        Ok(())
    }

    /// Ends the eternal associations too: nothing is left then.
    pub fn finish(&mut self, breathe: &mut dyn FnMut(&Tally)) -> Result<(), String> {
        self.links.iter_mut().for_each(|link| link.fate = Fate::Hard);
        self.calm_down(true, breathe)
    }

    fn calm_down(&mut self, for_good: bool, breathe: &mut dyn FnMut(&Tally)) -> Result<(), String> {
        self.calm = true;
        let now = self.network.now;
        self.network.hosts.iter_mut().for_each(|host| host.asleep_until = now);
        for link in 0..self.links.len() {
            for path in 0..PATHS {
                self.set_weather(link, path, &LinkConfig::default());
            }
            self.links[link].connect_at = [None; 2];
            self.links[link].ends.iter_mut().for_each(|end| end.be_quiet(now));
        }
        self.advance_until(CALM, "everything to be acknowledged", breathe, Self::is_settled)?;
        let now = self.network.now;
        for link in self.links.iter().filter(|link| link.fate != Fate::Eternal) {
            if let Some(assoc) = link.ends[0].assoc {
                let _ = self.network.hosts[link.ends[0].host].stack.shutdown(now, assoc);
                self.network.touch(link.ends[0].host);
            }
        }
        self.advance_until(CALM, "the associations to end", breathe, |soak| {
            let ended = |link: &Link| link.ends.iter().all(|end| end.assoc.is_none());
            soak.links.iter().all(|link| link.fate == Fate::Eternal || ended(link))
        })?;
        self.advance(self.network.now + REST, breathe)?;
        self.check_rest(for_good)
    }

    /// Both ends of every link are up and have nothing under way, or both are not.
    fn is_settled(&self) -> bool {
        self.links.iter().all(|link| {
            let idle = |end: &End| match end.assoc {
                Some(assoc) => {
                    let stack = &self.network.hosts[end.host].stack;
                    let stats = stack.association(self.network.now, assoc);
                    end.up && stats.is_some_and(|stats| stats.send_buffered == 0 && stats.ready_messages == 0)
                }
                None => true,
            };
            link.ends[0].assoc.is_some() == link.ends[1].assoc.is_some() && link.ends.iter().all(idle)
        })
    }

    /// All is quiet: nothing is left but what is meant to be.
    fn check_rest(&mut self, for_good: bool) -> Result<(), String> {
        for link in &mut self.links {
            for end in &mut link.ends {
                let open = end.book.open();
                if open > 0 {
                    return Err(format!("{open} messages of end {} are acknowledged and did not arrive", end.uid));
                }
                end.close_books()?;
                if for_good {
                    end.forget();
                }
            }
        }
        for (at, host) in self.network.hosts.iter().enumerate() {
            let meant = self.links.iter().flat_map(|link| &link.ends);
            let meant = meant.filter(|end| end.host == at && end.assoc.is_some()).count();
            let has = host.stack.stats().associations;
            if has != meant {
                return Err(format!("host {at} has {has} associations, {meant} are meant to be"));
            }
            if meant == 0 && host.stack.poll_timeout().is_some() {
                return Err(format!("host {at} waits for something although it has no association"));
            }
        }
        self.network.compact();
        Ok(())
    }

    fn advance_until(
        &mut self,
        limit: Duration,
        what: &str,
        breathe: &mut dyn FnMut(&Tally),
        done: impl Fn(&Self) -> bool,
    ) -> Result<(), String> {
        let end = self.network.now + limit;
        while !done(self) {
            if self.network.now >= end {
                return Err(format!("waited {limit:?} for {what}\n{}", self.describe()));
            }
            self.advance(self.network.now + Duration::from_secs(1), breathe)?;
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        for end in self.links.iter().flat_map(|link| &link.ends) {
            let Some(assoc) = end.assoc else { continue };
            let stats = self.network.hosts[end.host].stack.association(self.network.now, assoc);
            if stats.as_ref().is_some_and(|stats| stats.send_buffered > 0 || stats.ready_messages > 0) || !end.up {
                text += &format!("end {}: open {}, {stats:#?}\n", end.uid, end.book.open());
            }
        }
        text
    }

    /// Goes on to `end`.
    fn advance(&mut self, end: Time, breathe: &mut dyn FnMut(&Tally)) -> Result<(), String> {
        while self.network.now < end {
            let before = self.network.now;
            let next = self.next().map_or(end, |next| next.min(end)).max(before + Duration::from_micros(500));
            while self.network.step(next) {
                self.tally.steps += 1;
                if self.tally.steps.is_multiple_of(BREATH) {
                    breathe(&self.tally());
                }
                if self.network.hosts.iter().any(|host| !host.events.is_empty() || !host.accepted.is_empty()) {
                    break;
                }
            }
            self.tally.pass(before, self.network.now);
            self.take_events()?;
            self.act()?;
        }
        Ok(())
    }

    fn next(&self) -> Option<Time> {
        let of_link = |link: &Link| {
            let own = [link.next_weather, link.next_trouble].into_iter().filter(|_| !self.calm);
            let of_end = |(end, connect_at): (&End, Option<Time>)| {
                let next = end.next(self.calm).into_iter().chain(connect_at).min()?;
                Some(next.max(self.network.hosts[end.host].asleep_until))
            };
            own.chain(link.ends.iter().zip(link.connect_at).filter_map(of_end)).min()
        };
        self.links.iter().filter_map(of_link).min()
    }

    fn act(&mut self) -> Result<(), String> {
        let now = self.network.now;
        for at in 0..self.links.len() {
            if !self.calm {
                self.befall(at)?;
            }
            for side in [0, 1] {
                if self.network.hosts[self.links[at].ends[side].host].asleep_until > now {
                    continue;
                }
                if self.links[at].connect_at[side].is_some_and(|at| at <= now) {
                    self.connect(at, side)?;
                }
                let end = &mut self.links[at].ends[side];
                if !self.calm && end.next_habit <= now {
                    end.change_habits(&mut self.rng, now);
                }
                if end.next_read.is_some_and(|at| at <= now) {
                    let messages = end.read(&mut self.network);
                    self.hear(at, side, &messages)?;
                }
                self.links[at].ends[side].send(&mut self.network, &mut self.rng, &mut self.tally);
            }
        }
        Ok(())
    }

    fn connect(&mut self, at: usize, side: usize) -> Result<(), String> {
        let now = self.network.now;
        self.links[at].connect_at[side] = None;
        let (end, peer) = self.links[at].pair(side);
        if end.assoc.is_some() {
            return Ok(());
        }
        let plan = &self.plans[peer.host];
        let to = Peer { addresses: plan.addresses.clone(), port: plan.port, encapsulation: Encapsulation::Default };
        let host = &mut self.network.hosts[end.host];
        let made = host.stack.connect(now, host.endpoint, &to, None);
        end.assoc = Some(made.map_err(|error| format!("end {} cannot connect: {error}", end.uid))?);
        self.network.touch(end.host);
        Ok(())
    }

    /// An end has read messages.
    pub(super) fn hear(&mut self, at: usize, side: usize, messages: &[esock_proto::Message]) -> Result<(), String> {
        let (end, peer) = self.links[at].pair(side);
        messages.iter().try_for_each(|message| end.hear(peer, message, &mut self.tally))
    }

    fn find(&self, host: usize, assoc: AssocId) -> Option<(usize, usize)> {
        let places = (0..self.links.len()).flat_map(|at| [(at, 0), (at, 1)]);
        places.into_iter().find(|(at, side)| {
            let end = &self.links[*at].ends[*side];
            end.host == host && end.assoc == Some(assoc)
        })
    }

    fn take_events(&mut self) -> Result<(), String> {
        for host in 0..self.network.hosts.len() {
            if self.network.hosts[host].events.is_empty() && self.network.hosts[host].accepted.is_empty() {
                continue;
            }
            let events = std::mem::take(&mut self.network.hosts[host].events);
            // What happened to an old association comes before what happens to the one that replaces it.
            let (old, new): (Vec<_>, Vec<_>) = events.into_iter().partition(|(id, _)| self.find(host, *id).is_some());
            for (id, event) in old {
                self.on_event(host, id, event)?;
            }
            for assoc in std::mem::take(&mut self.network.hosts[host].accepted) {
                self.on_accepted(host, assoc)?;
            }
            for (id, event) in new {
                self.on_event(host, id, event)?;
            }
        }
        Ok(())
    }

    fn on_accepted(&mut self, host: usize, assoc: AssocId) -> Result<(), String> {
        let stats = self.network.hosts[host].stack.association(self.network.now, assoc);
        let port = stats.ok_or("an association was accepted that is not there")?.peer_port;
        let ends = self.links.iter_mut().flat_map(|link| {
            let [client, server] = &mut link.ends;
            let ports = [self.plans[server.host].port, self.plans[client.host].port];
            [(client, ports[0]), (server, ports[1])]
        });
        let mut ends = ends.filter(|(end, peer_port)| end.host == host && *peer_port == port);
        let (end, _) = ends.next().ok_or("an association with a stranger")?;
        match end.assoc.replace(assoc) {
            Some(old) => Err(format!("end {} has accepted another association beside {old:?}", end.uid)),
            None => Ok(()),
        }
    }

    fn on_event(&mut self, host: usize, assoc: AssocId, event: Event) -> Result<(), String> {
        // Of one that was closed and released within these events nothing more is heard but what was told before.
        let Some((at, side)) = self.find(host, assoc) else { return Ok(()) };
        let now = self.network.now;
        let end = &mut self.links[at].ends[side];
        match event {
            Event::Up(negotiated) => {
                if std::mem::replace(&mut end.up, true) {
                    return Err(format!("end {} is up twice", end.uid));
                }
                end.streams = negotiated.outbound_streams;
                self.tally.ups += 1;
            }
            Event::Restarted(negotiated) => {
                let messages = end.drain(&mut self.network);
                self.hear(at, side, &messages)?;
                let (end, peer) = self.links[at].pair(side);
                end.begin_life(peer)?;
                end.streams = negotiated.outbound_streams;
                self.tally.restarts += 1;
            }
            Event::Undelivered(back) => {
                self.tally.returned += 1;
                end.book.came_back(&back)?;
            }
            Event::Readable => end.on_readable(now),
            Event::Writable => end.full = false,
            Event::ShutdownReceived => end.ending = true,
            Event::Path { .. } => self.tally.path_changes += 1,
            Event::Closed(reason) => self.on_closed(at, side, assoc, &reason)?,
            _ => {}
        }
        Ok(())
    }

    fn on_closed(&mut self, at: usize, side: usize, assoc: AssocId, reason: &CloseReason) -> Result<(), String> {
        let now = self.network.now;
        let messages = self.links[at].ends[side].drain(&mut self.network);
        self.hear(at, side, &messages)?;
        let link = &mut self.links[at];
        let end = &mut link.ends[side];
        end.check_closed(reason)?;
        if link.fate == Fate::Eternal {
            return Err(format!("the eternal end {} ended: {reason:?}", end.uid));
        }
        match reason {
            _ if !end.up => self.tally.failed += 1,
            CloseReason::Shutdown => self.tally.shutdowns += 1,
            CloseReason::TimedOut => self.tally.timeouts += 1,
            _ => self.tally.aborts += 1,
        }
        let host = end.host;
        let stats = self.network.hosts[host].stack.association(now, assoc).ok_or("it was closed, and is gone")?;
        let left = [stats.send_buffered, stats.in_flight, stats.queued, stats.ready_messages];
        if left != [0; 4] || stats.counters.stalls > 0 {
            return Err(format!("end {} keeps {left:?} after its end, stalls {}", end.uid, stats.counters.stalls));
        }
        let (end, peer) = self.links[at].pair(side);
        end.lose(peer)?;
        self.network.hosts[host].stack.release(now, assoc);
        if side == 0 && !self.calm {
            let soon = now + Duration::from_millis(self.rng.random_range(100..30_000));
            self.links[at].connect_at[0].get_or_insert(soon);
        }
        Ok(())
    }
}

impl HostPlan {
    pub fn endpoint(&self) -> EndpointConfig {
        EndpointConfig {
            port: self.port,
            addresses: self.addresses.clone(),
            host_addresses: Vec::new(),
            config: self.config.clone(),
        }
    }
}
