//! Two stacks with an adversary between them that drops, duplicates, reorders, replays, splits and alters
//! packets, as long as its input lasts. Then it stops, and the association works, or it has ended at both ends.
//!
//! There are two of it. One cannot make checksums: whatever it does, every message arrives once, in order and
//! unaltered, or both ends learn that the association has ended. The other alters packets and corrects their
//! checksums. It can make an end believe what the other never said, and so it can lose messages (only RFC 4895
//! helps against that); but when it has gone, nothing waits for ever: what was sent is acknowledged or the
//! association ends at both ends.

use crate::input::Input;
use crate::ledger::{Ledger, SHORTEST, payload};
use crate::packets::{alter, fix_checksum, split};
use crate::world::{Packet, World};
use esock_proto::{AssocId, CloseReason, Encapsulation, Event, Ppid, SendOptions, State, StreamId, Undelivered};
use std::time::Duration;

/// What the adversary does at most.
const DEEDS: usize = 400;
/// Messages that each end sends at most.
const MESSAGES: u32 = 40;
/// Virtual time within which it is over once the adversary has gone: timeouts that have backed off, ten times.
const PATIENCE: Duration = Duration::from_secs(3600);

struct Game<'a> {
    world: World,
    input: Input<'a>,
    /// Whether it corrects the checksums of what it alters.
    forges: bool,
    ends: [Option<AssocId>; 2],
    /// `ledgers[k]`: what host k sends.
    ledgers: [Ledger; 2],
}

/// See the module.
pub fn run(data: &[u8]) {
    play(data);
}

/// Plays an input to its end; how many messages each end sent.
pub fn play(data: &[u8]) -> [u32; 2] {
    let mut input = Input::new(data);
    let world = World::new(&mut input);
    let how = input.byte();
    let mut game = Game { world, input, forges: how & 1 != 0, ends: [None; 2], ledgers: Default::default() };
    if how & 2 != 0 {
        game.establish();
    } else {
        game.ends[0] = game.world.connect(0, Encapsulation::Default);
    }
    for _ in 0..DEEDS {
        if game.input.is_empty() {
            break;
        }
        game.deed();
    }
    game.finish();
    game.ledgers.map(|ledger| ledger.next())
}

impl Game<'_> {
    fn establish(&mut self) {
        let (client, server) = self.world.establish();
        self.ends = [client, server];
    }

    fn deed(&mut self) {
        let what = self.input.byte();
        let host = usize::from(what >> 7);
        match what & 0x1f {
            0..=4 => {
                self.world.deliver_next();
            }
            5 | 6 => self.world.deliver_all(),
            7 | 8 => {
                self.world.wire.pop_front();
            }
            9 => {
                if let Some(packet) = self.world.wire.front().cloned() {
                    self.world.deliver(&packet);
                }
            }
            10 | 11 => {
                if let Some(packet) = self.world.wire.pop_front() {
                    let at = self.input.below(self.world.wire.len() + 1);
                    self.world.wire.insert(at, packet);
                }
            }
            12 | 13 => {
                let at = self.world.log.len().checked_sub(1 + self.input.below(64));
                if let Some(packet) = at.and_then(|at| self.world.log.get(at)).cloned() {
                    self.deliver_strange(&packet);
                }
            }
            14 => {
                if let Some(packet) = self.world.wire.pop_front() {
                    // Its own bundle in parts: what a middlebox might do. The parts have good checksums.
                    for data in split(&packet.data).into_iter().rev() {
                        self.deliver_strange(&Packet { data, ..packet.clone() });
                    }
                }
            }
            15..=20 => self.alter_next(),
            21..=25 => self.send(host),
            26 | 27 => self.read(host),
            28 | 29 => self.world.pass(Duration::from_secs(10)),
            30 => self.world.pass(Duration::from_millis(self.input.byte().into())),
            _ => self.world.jump(Duration::from_millis(1 << (self.input.byte() % 18))),
        }
        self.take_events();
    }

    /// Delivers a packet that is not from an address where the other one is.
    fn deliver_strange(&mut self, packet: &Packet) {
        if self.world.hosts[packet.to].addresses.contains(&packet.local) {
            self.world.deliver(packet);
        }
    }

    fn alter_next(&mut self) {
        let Some(mut packet) = self.world.wire.pop_front() else { return };
        let from = if self.input.byte() & 7 == 7 { 0 } else { 12 };
        let whole = packet.data.clone();
        alter(&mut self.input, &mut packet.data, from);
        if self.forges {
            fix_checksum(&mut packet.data);
        } else if packet.data != whole {
            // Not even by luck is it right.
            fix_checksum(&mut packet.data);
            if let Some(byte) = packet.data.get_mut(8) {
                *byte ^= 1;
            }
        }
        self.world.deliver(&packet);
    }

    fn send(&mut self, host: usize) {
        let Some(id) = self.ends[host] else { return };
        let shape = self.input.byte();
        let number = self.ledgers[host].next();
        if number >= MESSAGES {
            return;
        }
        let options = SendOptions {
            stream: StreamId(u16::from(shape & 3)),
            ppid: Ppid(46),
            unordered: shape & 4 != 0,
            sack_immediately: shape & 8 != 0,
            context: number.into(),
            ..SendOptions::default()
        };
        // No larger than every receiver takes whole.
        let len = (SHORTEST + (usize::from(self.input.byte()) << (shape >> 6))).min(1900);
        let taken = self.world.hosts[host].stack.send(self.world.now, id, options, payload(number, len).into());
        if taken.is_ok() {
            self.ledgers[host].sent(options, len);
        }
        self.world.settle(host);
    }

    /// Reads all that has arrived, over whatever association.
    fn read(&mut self, host: usize) {
        let assocs = self.world.hosts[host].assocs.clone();
        let ended: Vec<_> = assocs.iter().copied().filter(|id| self.is_closed(host, *id)).collect();
        for id in assocs {
            while let Some(message) = self.world.hosts[host].stack.recv(self.world.now, id) {
                if !self.forges {
                    self.ledgers[1 - host].arrived(id, &message, &ended);
                }
            }
        }
        self.world.settle(host);
    }

    fn take_events(&mut self) {
        for host in 0..2 {
            for (_, event) in std::mem::take(&mut self.world.hosts[host].events) {
                if !self.forges {
                    self.on_event(host, &event);
                }
            }
            // A handshake that took long may have been begun again: the last association counts.
            self.ends[host] = self.world.hosts[host].assocs.last().copied();
        }
    }

    fn on_event(&mut self, host: usize, event: &Event) {
        match event {
            Event::Undelivered(back) => self.came_back(host, back),
            Event::Restarted(_) => panic!("nobody restarted"),
            // Where a slow handshake was begun again, what the first association said comes with the same tag.
            Event::Closed(CloseReason::ProtocolViolation { detail, .. }) => {
                let several = self.world.hosts.iter().any(|host| host.assocs.len() > 1);
                assert!(several, "nobody violated anything: {detail}");
            }
            _ => {}
        }
    }

    fn came_back(&mut self, host: usize, back: &Undelivered) {
        self.ledgers[host].came_back(back);
    }

    fn is_closed(&self, host: usize, id: AssocId) -> bool {
        self.world.hosts[host].stack.state(id).is_none_or(|state| state == State::Closed)
    }

    /// Every association of a host that has not ended.
    fn open(&self, host: usize) -> Vec<AssocId> {
        let all = self.world.hosts[host].assocs.iter().copied();
        all.filter(|id| !self.is_closed(host, *id)).collect()
    }

    /// Lets packets pass and timers run until nothing more is to come but heartbeats.
    fn calm(&mut self) {
        let end = self.world.now + PATIENCE;
        let mut rounds = 0;
        while self.world.now < end && !self.is_quiet() {
            rounds += 1;
            assert!(rounds < 50_000, "packets breed packets");
            if self.world.wire.is_empty() {
                self.world.pass(PATIENCE);
            } else {
                self.world.deliver_all();
            }
            self.take_events();
            for host in 0..2 {
                self.read(host);
            }
        }
    }

    /// Whether no end waits for the other: all is up and acknowledged, or over.
    fn is_quiet(&self) -> bool {
        let quiet = |host: usize| {
            self.open(host).iter().all(|id| {
                let stats = self.world.hosts[host].stack.association(self.world.now, *id).expect("it is open");
                stats.state == State::Established && stats.send_buffered == 0
            })
        };
        self.world.wire.is_empty() && quiet(0) && quiet(1)
    }

    fn finish(&mut self) {
        self.take_events();
        self.calm();
        if let [Some(client), Some(server)] = self.ends
            && !self.forges
        {
            self.finish_honest([client, server]);
        }
        // The end that is up says goodbye; then neither is.
        for host in 0..2 {
            for id in self.open(host) {
                let _ = self.world.hosts[host].stack.shutdown(self.world.now, id);
                self.world.settle(host);
            }
        }
        self.calm();
        for host in 0..2 {
            let open: Vec<_> = self
                .open(host)
                .iter()
                .map(|id| self.world.hosts[host].stack.association(self.world.now, *id))
                .collect();
            assert!(open.is_empty(), "host {host}: it never ends: {open:#?}");
        }
    }

    /// Nobody could alter anything: it works, or it has ended at both ends.
    fn finish_honest(&mut self, ends: [AssocId; 2]) {
        for host in 0..2 {
            self.read(host);
        }
        let closed = [0, 1].map(|host| self.is_closed(host, ends[host]));
        if closed == [false, false] {
            for (host, id) in ends.into_iter().enumerate() {
                let stats = self.world.hosts[host].stack.association(self.world.now, id);
                assert_eq!(self.ledgers[host].open(), 0, "host {host}: messages are missing: {stats:#?}");
            }
        } else if closed != [true, true] {
            // One has ended: the other learns it by what it sends next.
            let host = usize::from(closed[0]);
            let options = SendOptions { context: self.ledgers[host].next().into(), ..SendOptions::default() };
            let number = self.ledgers[host].next();
            let taken =
                self.world.hosts[host].stack.send(self.world.now, ends[host], options, payload(number, 8).into());
            if taken.is_ok() {
                self.ledgers[host].sent(options, 8);
                self.world.settle(host);
                self.calm();
                assert!(self.is_closed(host, ends[host]), "host {host} does not learn that the other has gone");
            }
        }
    }
}
