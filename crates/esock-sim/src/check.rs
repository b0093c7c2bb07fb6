//! Playing a scenario, and holding the stack to its promises.

use crate::ledger::{Ledger, payload};
use crate::network::Network;
use crate::pcapng::Capture;
use crate::scenario::{Ending, Scenario};
use esock_proto::{
    AssocId, CloseReason, Encapsulation, EndpointConfig, Event, PathId, Peer, Ppid, SendError, SendOptions, State,
    StreamId, Time,
};
use rand::RngExt;
use std::time::Duration;

const PORTS: [u16; 2] = [5000, 30_400];
/// A window is exceeded by an eighth and a packet at most (the chunk that everything waits for).
const WINDOW_SLACK: usize = 10_000;
/// After the last outage a run is over within this, however bad its network is.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);
/// How often the properties are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How a run went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report {
    /// Messages that arrived.
    pub received: usize,
    /// Messages that came back.
    pub returned: usize,
    /// Packets sent.
    pub packets: u64,
    /// Virtual time that it took.
    pub took: Duration,
    /// Whether both ends were up at some time.
    pub was_up: bool,
    /// Whether it ended with SHUTDOWN at both ends.
    pub graceful: bool,
}

/// One end at work.
#[derive(Debug)]
struct End {
    assoc: Option<AssocId>,
    up: bool,
    closed: Option<CloseReason>,
    sent: usize,
    next_send: Time,
    next_read: Time,
    shut: bool,
    streams: u16,
    /// Messages that came back from associations before this one.
    returned_before: usize,
}

/// A run.
struct Run<'a> {
    scenario: &'a Scenario,
    network: Network,
    ends: [End; 2],
    /// `ledgers[k]`: what host k sends.
    ledgers: [Ledger; 2],
    restarted: bool,
    /// The association that was told to end.
    ended: Option<AssocId>,
    ever_up: [bool; 2],
    next_look: Time,
}

/// A run that is over.
#[derive(Debug)]
pub struct Played {
    /// How it went; `Err` says which promise was broken.
    pub outcome: Result<Report, String>,
    /// Every packet, if wanted.
    pub capture: Option<Capture>,
}

/// Plays a scenario to its end. With `capture`, every packet is kept.
pub fn play(scenario: &Scenario, capture: bool) -> Played {
    let mut run = Run::new(scenario, capture);
    let outcome = run.play();
    Played { outcome, capture: run.network.capture.take() }
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, capture: bool) -> Self {
        let mut network = Network::new(scenario.seed);
        network.capture = capture.then(Capture::new);
        for host in [0, 1] {
            network.add_host(scenario.stack(host), Self::endpoint(scenario, host));
        }
        for (path, links) in scenario.links.iter().enumerate() {
            for host in [0, 1] {
                network.link(host, scenario.addresses[1 - host][path], links[host].clone());
            }
        }
        let start = network.now;
        let end = || End {
            assoc: None,
            up: false,
            closed: None,
            sent: 0,
            next_send: start,
            next_read: start,
            shut: false,
            streams: 0,
            returned_before: 0,
        };
        Self {
            scenario,
            network,
            ends: [end(), end()],
            ledgers: Default::default(),
            restarted: false,
            ended: None,
            ever_up: [false; 2],
            next_look: start,
        }
    }

    fn endpoint(scenario: &Scenario, host: usize) -> EndpointConfig {
        EndpointConfig {
            port: PORTS[host],
            addresses: scenario.addresses[host].clone(),
            host_addresses: Vec::new(),
            config: scenario.sides[host].config.clone(),
        }
    }

    /// Host `host` sets the association up.
    fn connect_from(&mut self, host: usize) -> Result<(), String> {
        let peer = Peer {
            addresses: self.scenario.addresses[1 - host].clone(),
            port: PORTS[1 - host],
            encapsulation: Encapsulation::Default,
        };
        let now = self.network.now;
        let endpoint = self.network.hosts[host].endpoint;
        let made = self.network.hosts[host].stack.connect(now, endpoint, &peer, None);
        self.ends[host].assoc = Some(made.map_err(|error| format!("connect failed: {error}"))?);
        self.network.touch(host);
        Ok(())
    }

    fn play(&mut self) -> Result<Report, String> {
        self.connect_from(0)?;
        let deadline = self.scenario.calm_from + PATIENCE;
        while !self.is_over() {
            if self.network.now >= deadline {
                return Err(self.stalled());
            }
            self.round()?;
        }
        let took = self.network.now.since(Time::from_millis(1000));
        Ok(Report { took, ..self.finish()? })
    }

    /// Over when both ends have closed, or one has and the other never was.
    fn is_over(&self) -> bool {
        let done = |end: &End| end.assoc.is_none() || end.closed.is_some();
        self.ends.iter().all(done) && self.ends.iter().any(|end| end.closed.is_some())
    }

    /// Lets time pass to the next thing that the ends do, then does it.
    fn round(&mut self) -> Result<(), String> {
        let now = self.network.now;
        let mut next = now + Duration::from_secs(5);
        for (host, end) in self.ends.iter().enumerate() {
            if end.assoc.is_some() && end.closed.is_none() {
                if end.up && !end.shut && end.sent < self.scenario.sides[host].messages {
                    next = next.min(end.next_send);
                }
                next = next.min(end.next_read);
            }
        }
        let special = [self.scenario.restart.filter(|_| !self.restarted).map(|(_, at)| at), self.special_end()];
        let next = special.into_iter().flatten().fold(next, Time::min).max(now + Duration::from_micros(500));
        // Up to then, or to the first event: what came before a restart is told from what came after.
        while self.network.step(next) {
            if self.network.hosts.iter().any(|host| !host.events.is_empty() || !host.accepted.is_empty()) {
                break;
            }
        }
        self.take_events()?;
        self.maybe_restart()?;
        for host in [0, 1] {
            self.read(host)?;
            self.send(host);
        }
        self.maybe_end();
        if self.network.now >= self.next_look {
            self.next_look = self.network.now + LOOK_EVERY;
            self.look()?;
        }
        Ok(())
    }

    fn special_end(&self) -> Option<Time> {
        match self.scenario.ending {
            Ending::ShutdownAt(_, at) | Ending::AbortAt(_, at) if at > self.network.now => Some(at),
            _ => None,
        }
    }

    fn take_events(&mut self) -> Result<(), String> {
        for host in [0, 1] {
            let current = self.ends[host].assoc;
            let events = std::mem::take(&mut self.network.hosts[host].events);
            // What happened to the old association comes before what happens to the one that replaces it.
            let (old, new): (Vec<_>, Vec<_>) = events.into_iter().partition(|(id, _)| Some(*id) == current);
            for (id, event) in old {
                self.on_event(host, id, event)?;
            }
            if let Some(accepted) = self.network.hosts[host].accepted.pop() {
                self.drain(host)?;
                let old = self.ends[host].assoc.replace(accepted);
                let end = &mut self.ends[host];
                if let Some(old) = old.filter(|_| end.closed.is_some()) {
                    // A new association after the old one had ended.
                    let now = self.network.now;
                    self.network.hosts[host].stack.release(now, old);
                    (end.closed, end.up, end.shut) = (None, false, false);
                    end.returned_before = self.ledgers[host].returned;
                    self.ledgers.iter_mut().for_each(Ledger::cut);
                }
            }
            for (id, event) in new {
                self.on_event(host, id, event)?;
            }
        }
        Ok(())
    }

    fn on_event(&mut self, host: usize, id: AssocId, event: Event) -> Result<(), String> {
        let end = &mut self.ends[host];
        if end.assoc != Some(id) {
            return Ok(());
        }
        if end.closed.is_some() && !matches!(event, Event::Up(_)) {
            return Err(format!("host {host}: an event after Closed: {event:?}"));
        }
        match event {
            Event::Up(negotiated) => {
                if std::mem::replace(&mut end.up, true) {
                    return Err(format!("host {host}: up twice"));
                }
                end.streams = negotiated.outbound_streams;
                self.ever_up[host] = true;
            }
            Event::Restarted(negotiated) => {
                if !self.restarted {
                    return Err(format!("host {host}: told of a restart that was none"));
                }
                end.streams = negotiated.outbound_streams;
                self.drain(host)?;
                self.ledgers.iter_mut().for_each(Ledger::cut);
            }
            Event::Undelivered(back) => self.ledgers[host].came_back(&back)?,
            Event::Closed(reason) => {
                if let CloseReason::ProtocolViolation { detail, .. } = &reason {
                    return Err(format!("host {host}: protocol violation: {detail}"));
                }
                if matches!(reason, CloseReason::MessageTooLarge | CloseReason::EndpointClosed) {
                    return Err(format!("host {host}: ended by {reason:?}"));
                }
                end.closed = Some(reason);
            }
            _ => {}
        }
        Ok(())
    }

    /// A crash: the host forgets everything, and connects anew.
    fn maybe_restart(&mut self) -> Result<(), String> {
        let Some((host, _)) = self.scenario.restart.filter(|(_, at)| !self.restarted && *at <= self.network.now) else {
            return Ok(());
        };
        self.restarted = true;
        // What had arrived was read before the crash: what is acknowledged and unread dies with its reader.
        self.drain(host)?;
        self.ledgers[host].excuse();
        self.network.restart_host(host, self.scenario.stack(host), Self::endpoint(self.scenario, host));
        let end = &mut self.ends[host];
        (end.assoc, end.up, end.closed, end.shut) = (None, false, None, false);
        // The new stack numbers its associations as the old one did.
        self.ended = None;
        self.connect_from(host)
    }

    fn drain(&mut self, host: usize) -> Result<(), String> {
        let Some(assoc) = self.ends[host].assoc else { return Ok(()) };
        while let Some(message) = self.network.hosts[host].stack.recv(self.network.now, assoc) {
            self.ledgers[1 - host].arrived(&message)?;
        }
        Ok(())
    }

    fn read(&mut self, host: usize) -> Result<(), String> {
        let now = self.network.now;
        let side = &self.scenario.sides[host];
        let Some(assoc) = self.ends[host].assoc.filter(|_| self.ends[host].next_read <= now) else { return Ok(()) };
        self.ends[host].next_read = now + side.read_every;
        if self.ends[host].closed.is_some() {
            return self.drain(host);
        }
        for _ in 0..side.read_at_once {
            let Some(message) = self.network.hosts[host].stack.recv(now, assoc) else { break };
            self.ledgers[1 - host].arrived(&message)?;
        }
        self.network.touch(host);
        // Nothing to read until something arrives: no need to look every millisecond.
        if side.read_at_once == usize::MAX {
            self.ends[host].next_read = now + Duration::from_millis(50);
        }
        Ok(())
    }

    fn send(&mut self, host: usize) {
        let now = self.network.now;
        let side = &self.scenario.sides[host];
        let end = &mut self.ends[host];
        let Some(assoc) = end.assoc.filter(|_| end.up && !end.shut && end.closed.is_none()) else { return };
        if end.sent >= side.messages || end.next_send > now {
            return;
        }
        end.next_send = now + side.send_every.max(Duration::from_millis(1));
        let largest = side.largest.min(self.scenario.largest_to(1 - host)).min(side.config.send_buffer);
        for _ in 0..5 {
            if end.sent >= side.messages {
                break;
            }
            let rng = &mut self.network.rng;
            let unordered = rng.random_bool(side.unordered);
            let least = if unordered { 4 } else { 1 };
            let len = if rng.random_bool(0.3) { least } else { rng.random_range(least..=largest.max(least)) };
            let options = SendOptions {
                stream: StreamId(rng.random_range(0..side.streams.min(end.streams).max(1))),
                ppid: Ppid(46),
                unordered,
                sack_immediately: false,
                context: self.ledgers[host].next() as u64,
                // Some name a path, which may not be there.
                path: (end.sent % 8 == 5).then_some(PathId((end.sent / 8 % 4) as u16)),
                ..SendOptions::default()
            };
            let message = payload(self.ledgers[host].next(), len);
            let stack = &mut self.network.hosts[host].stack;
            match stack.send(now, assoc, options, message.into()) {
                Ok(()) => {
                    self.ledgers[host].sent(&options, len);
                    end.sent += 1;
                }
                Err(rejected) => {
                    end.shut |= rejected.error != SendError::Full;
                    break;
                }
            }
        }
        self.network.touch(host);
    }

    fn maybe_end(&mut self) {
        let now = self.network.now;
        let (host, abort) = match self.scenario.ending {
            Ending::ShutdownAt(host, at) if at <= now => (host, false),
            Ending::AbortAt(host, at) if at <= now => (host, true),
            Ending::WhenDone if self.is_idle() => (0, false),
            _ => return,
        };
        // Once for each association: after a crash there is another.
        let assoc =
            self.ends[host].assoc.filter(|assoc| self.ended != Some(*assoc) && self.ends[host].closed.is_none());
        let Some(assoc) = assoc else { return };
        self.ended = Some(assoc);
        self.ends[host].shut = true;
        let stack = &mut self.network.hosts[host].stack;
        // It may have ended already.
        let _ = if abort { stack.abort(now, assoc, b"enough") } else { stack.shutdown(now, assoc) };
        self.network.touch(host);
    }

    /// Whether both ends have sent everything, and everything has arrived.
    fn is_idle(&self) -> bool {
        let sent = (0..2).all(|host| {
            let end = &self.ends[host];
            end.up && (end.shut || end.sent >= self.scenario.sides[host].messages)
        });
        sent && self.ledgers.iter().all(|ledger| ledger.open() == 0)
            && (self.restarted || self.scenario.restart.is_none())
    }

    /// Bounds that hold at every moment.
    fn look(&mut self) -> Result<(), String> {
        for host in [0, 1] {
            let Some(assoc) = self.ends[host].assoc else { continue };
            let Some(stats) = self.network.hosts[host].stack.association(self.network.now, assoc) else { continue };
            if let Some(stall) = self.network.hosts[host].stack.stalled(assoc) {
                return Err(format!("host {host} has come to a stand: {stall}"));
            }
            if stats.counters.stalls > 0 {
                return Err(format!("host {host} had come to a stand"));
            }
            if (stats.send_buffered > 0) != stats.waiting.is_some() {
                return Err(format!("host {host} buffers {} bytes: {:?}", stats.send_buffered, stats.waiting));
            }
            let window = self.scenario.sides[host].config.receive_window as usize;
            if stats.receive_buffered > window + window / 8 + WINDOW_SLACK {
                return Err(format!("host {host} holds {} bytes with a window of {window}", stats.receive_buffered));
            }
            if self.scenario.sides[host].config.send_buffer < stats.send_buffered {
                return Err(format!("host {host} buffers {} bytes to send", stats.send_buffered));
            }
            if self.scenario.is_orderly() && stats.counters.reneged > 0 {
                return Err(format!("host {host} thinks that the peer has taken back what it had"));
            }
            if stats.in_flight > stats.send_buffered {
                return Err(format!("host {host}: {} bytes in flight of {}", stats.in_flight, stats.send_buffered));
            }
        }
        Ok(())
    }

    fn stalled(&self) -> String {
        let states = [0, 1].map(|host| {
            let stats = self.ends[host]
                .assoc
                .and_then(|assoc| self.network.hosts[host].stack.association(self.network.now, assoc));
            format!("host {host}: open {}, {:#?}", self.ledgers[host].open(), stats)
        });
        format!("nothing ends any more\n{}\n{}", states[0], states[1])
    }

    /// The reasons are those that the network gave.
    fn check_ends(&self) -> Result<(), String> {
        let scenario = self.scenario;
        for (host, end) in self.ends.iter().enumerate() {
            let returned = self.ledgers[host].returned - end.returned_before;
            if end.closed == Some(CloseReason::Shutdown) && scenario.restart.is_none() && returned > 0 {
                return Err(format!("host {host} was shut down gracefully, and {returned} messages came back"));
            }
            // A shutdown in the middle is guarded by a timer of its own (T5), whoever is slow.
            let abort = !matches!(scenario.ending, Ending::WhenDone);
            let lost_in_silence = end.closed == Some(CloseReason::TimedOut) && self.ever_up == [true; 2];
            if lost_in_silence && scenario.is_mild() && scenario.restart.is_none() && !abort {
                return Err(format!("host {host} gave up on a network that merely loses packets"));
            }
        }
        Ok(())
    }

    /// Both have ended: what is left must be nothing.
    fn finish(&mut self) -> Result<Report, String> {
        let now = self.network.now;
        for host in [0, 1] {
            self.drain(host)?;
            let Some(assoc) = self.ends[host].assoc else { continue };
            let stack = &mut self.network.hosts[host].stack;
            if stack.state(assoc) != Some(State::Closed) {
                return Err(format!("host {host} ended in {:?}", stack.state(assoc)));
            }
            if let Some(stats) = stack.association(now, assoc) {
                let left = [stats.send_buffered, stats.in_flight, stats.queued, stats.ready_messages];
                if left != [0; 4] {
                    return Err(format!("host {host} keeps {left:?} after its end"));
                }
            }
        }
        // Late packets find nothing.
        self.network.run_until(now + Duration::from_secs(30));
        for host in [0, 1] {
            self.network.hosts[host].accepted.clear();
            let ids = self.network.hosts[host].stack.associations(self.network.hosts[host].endpoint);
            for id in ids {
                self.network.hosts[host].stack.release(now, id);
            }
            let stack = &self.network.hosts[host].stack;
            if stack.stats().associations != 0 || stack.poll_timeout().is_some() {
                return Err(format!("host {host} keeps something of an association that was released"));
            }
        }
        for ledger in &self.ledgers {
            ledger.close()?;
        }
        self.check_ends()?;
        let shutdown = |end: &End| end.closed == Some(CloseReason::Shutdown);
        Ok(Report {
            received: self.ledgers.iter().map(|ledger| ledger.received).sum(),
            returned: self.ledgers.iter().map(|ledger| ledger.returned).sum(),
            packets: self.network.packets,
            took: Duration::ZERO,
            was_up: self.ever_up == [true; 2],
            graceful: self.ends.iter().all(shutdown),
        })
    }
}
