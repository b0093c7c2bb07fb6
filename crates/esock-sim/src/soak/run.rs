//! The run of a soak.

use super::book::noise;
use super::end::End;
use super::tally::Tally;
use super::weather::{Fate, Trouble, conditions};
use crate::link::LinkConfig;
use crate::network::Network;
use esock_proto::{
    Address, AssocId, CloseReason, Config, Encapsulation, EndpointConfig, Event, Peer, Preset, StackConfig, Time, Tsn,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

const SERVER_PORT: u16 = 30_400;
/// Client k of a server has this port and k.
const CLIENT_PORT: u16 = 5000;
/// Paths between a client and its server.
const PATHS: usize = 3;
/// How long it may take until everything is acknowledged once the network has calmed down: the largest RTO
/// has to expire, a slow reader to come back, and a silent peer to be found out.
const CALM: Duration = Duration::from_secs(1800);
/// Cookies and tags are forgotten by then.
const REST: Duration = Duration::from_secs(600);
/// How many things happen between two calls of the caller's.
const BREATH: u64 = 1 << 14;

/// A client and its server.
#[derive(Debug)]
struct Link {
    fate: Fate,
    /// The client's end, the server's end.
    ends: [End; 2],
    next_weather: Time,
    next_trouble: Time,
    /// When the client sets up anew.
    connect_at: Option<Time>,
}

impl Link {
    /// An end and its peer.
    fn pair(&mut self, side: usize) -> (&mut End, &mut End) {
        let [client, server] = &mut self.ends;
        if side == 0 { (client, server) } else { (server, client) }
    }
}

/// A host, as it is made anew after a crash.
#[derive(Debug)]
struct HostPlan {
    port: u16,
    addresses: Vec<Address>,
    config: Config,
}

/// See the module.
#[derive(Debug)]
pub struct Soak {
    network: Network,
    rng: StdRng,
    plans: Vec<HostPlan>,
    links: Vec<Link>,
    /// No traffic and no trouble.
    calm: bool,
    tally: Tally,
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
        self.links.push(Link { fate, ends, next_weather: now, next_trouble: now, connect_at: None });
        let link = self.links.len() - 1;
        for path in 0..PATHS {
            self.set_weather(link, path, &LinkConfig::default());
        }
    }

    /// Each stack begins its associations near the end of the numbers.
    fn stack_config(&mut self) -> StackConfig {
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
                self.links[link].connect_at = Some(soon);
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
        for link in 0..self.links.len() {
            for path in 0..PATHS {
                self.set_weather(link, path, &LinkConfig::default());
            }
            self.links[link].connect_at = None;
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
            let own =
                [(!self.calm).then_some(link.next_weather), (!self.calm).then_some(link.next_trouble), link.connect_at];
            let ends = link.ends.iter().filter_map(|end| end.next(self.calm));
            own.into_iter().flatten().chain(ends).min()
        };
        self.links.iter().filter_map(of_link).min()
    }

    fn act(&mut self) -> Result<(), String> {
        let now = self.network.now;
        for at in 0..self.links.len() {
            if !self.calm {
                self.trouble(at)?;
            }
            if self.links[at].connect_at.is_some_and(|at| at <= now) {
                self.connect(at)?;
            }
            for side in [0, 1] {
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

    fn trouble(&mut self, at: usize) -> Result<(), String> {
        let now = self.network.now;
        if self.links[at].next_weather <= now {
            self.links[at].next_weather = now + Duration::from_secs(self.rng.random_range(60..1800));
            let path = self.rng.random_range(0..PATHS);
            let weather = conditions(&mut self.rng);
            self.set_weather(at, path, &weather);
        }
        if self.links[at].next_trouble > now {
            return Ok(());
        }
        self.links[at].next_trouble = self.links[at].fate.interval(&mut self.rng, now);
        match self.links[at].fate.trouble(&mut self.rng, PATHS as u32) {
            Trouble::Flap { paths, one_way, lasts } => {
                self.tally.flaps += 1;
                for path in (0..PATHS).filter(|path| paths >> path & 1 == 1) {
                    for side in [0, 1].into_iter().filter(|side| one_way != Some(1 - side)) {
                        let (from, to) = self.direction(at, path, side);
                        if let Some(link) = self.network.link_mut(from, to) {
                            link.black_holes = vec![(now, now + lasts)];
                        }
                    }
                }
            }
            Trouble::Crash(side) => self.crash(self.links[at].ends[side].host)?,
            Trouble::Shutdown(side) => self.end(at, side, false),
            Trouble::Abort(side) => self.end(at, side, true),
            Trouble::Release => self.release(at)?,
        }
        Ok(())
    }

    /// The link that leads to end `side`.
    fn direction(&self, at: usize, path: usize, side: usize) -> (usize, Address) {
        let ends = &self.links[at].ends;
        (ends[1 - side].host, self.plans[ends[side].host].addresses[path])
    }

    fn set_weather(&mut self, at: usize, path: usize, weather: &LinkConfig) {
        for side in [0, 1] {
            let (from, to) = self.direction(at, path, side);
            // Links to one address of a server are one per client, those to a client too.
            self.network.link(from, to, weather.clone());
        }
    }

    fn connect(&mut self, at: usize) -> Result<(), String> {
        let now = self.network.now;
        self.links[at].connect_at = None;
        let [client, server] = &mut self.links[at].ends;
        if client.assoc.is_some() {
            return Ok(());
        }
        let addresses = self.plans[server.host].addresses.clone();
        let peer = Peer { addresses, port: SERVER_PORT, encapsulation: Encapsulation::Default };
        let host = &mut self.network.hosts[client.host];
        let made = host.stack.connect(now, host.endpoint, &peer, None);
        client.assoc = Some(made.map_err(|error| format!("end {} cannot connect: {error}", client.uid))?);
        self.network.touch(client.host);
        Ok(())
    }

    /// One end of a link ends its association.
    fn end(&mut self, at: usize, side: usize, abort: bool) {
        let now = self.network.now;
        let end = &mut self.links[at].ends[side];
        let Some(assoc) = end.assoc else { return };
        end.ending = true;
        let stack = &mut self.network.hosts[end.host].stack;
        // It may have ended already: the event is on its way.
        let _ = if abort { stack.abort(now, assoc, b"enough") } else { stack.shutdown(now, assoc) };
        self.network.touch(end.host);
    }

    /// The client's program ends without a word and begins anew; its stack lives on.
    fn release(&mut self, at: usize) -> Result<(), String> {
        let now = self.network.now;
        let client = &mut self.links[at].ends[0];
        let (host, Some(assoc)) = (client.host, client.assoc) else { return Ok(()) };
        let messages = client.drain(&mut self.network);
        self.hear(at, 0, &messages)?;
        // What comes back is not told: the association is forgotten with its events.
        let (client, server) = self.links[at].pair(0);
        client.book.excuse();
        client.lose(server)?;
        self.network.hosts[host].stack.release(now, assoc);
        self.network.hosts[host].events.retain(|(id, _)| *id != assoc);
        self.network.touch(host);
        self.links[at].connect_at = Some(now + Duration::from_millis(self.rng.random_range(0..2000)));
        Ok(())
    }

    /// A host forgets everything. What had arrived was read before: what is acknowledged and unread dies with
    /// its reader.
    fn crash(&mut self, host: usize) -> Result<(), String> {
        self.tally.crashes += 1;
        for at in 0..self.links.len() {
            for side in [0, 1] {
                if self.links[at].ends[side].host != host {
                    continue;
                }
                let messages = self.links[at].ends[side].drain(&mut self.network);
                self.hear(at, side, &messages)?;
                let (end, peer) = self.links[at].pair(side);
                end.book.excuse();
                end.lose(peer)?;
                if side == 0 {
                    let soon = Duration::from_millis(self.rng.random_range(0..2000));
                    self.links[at].connect_at = Some(self.network.now + soon);
                }
            }
        }
        let stack = self.stack_config();
        self.network.restart_host(host, stack, self.plans[host].endpoint());
        Ok(())
    }

    fn hear(&mut self, at: usize, side: usize, messages: &[esock_proto::Message]) -> Result<(), String> {
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
        let of_client = |link: &&mut Link| link.ends[1].host == host && self.plans[link.ends[0].host].port == port;
        let link = self.links.iter_mut().find(of_client).ok_or("an association with a stranger")?;
        match link.ends[1].assoc.replace(assoc) {
            Some(old) => Err(format!("end {} has accepted another association beside {old:?}", link.ends[1].uid)),
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
            self.links[at].connect_at = Some(now + Duration::from_millis(self.rng.random_range(100..30_000)));
        }
        Ok(())
    }
}

impl HostPlan {
    fn endpoint(&self) -> EndpointConfig {
        EndpointConfig {
            port: self.port,
            addresses: self.addresses.clone(),
            host_addresses: Vec::new(),
            config: self.config.clone(),
        }
    }
}
