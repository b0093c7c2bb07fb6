//! What befalls links and hosts in the course of a soak.

use super::run::{PATHS, Soak};
use super::weather::{Trouble, conditions};
use crate::link::LinkConfig;
use esock_proto::Address;
use rand::RngExt;
use std::time::Duration;

impl Soak {
    /// What befalls a link now, if anything.
    pub(super) fn befall(&mut self, at: usize) -> Result<(), String> {
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
            Trouble::Collide => {
                let soon = now + Duration::from_millis(self.rng.random_range(500..5000));
                for side in [0, 1] {
                    self.end(at, side, true);
                    let jitter = Duration::from_micros(self.rng.random_range(0..100_000));
                    self.links[at].connect_at[side] = Some(soon + jitter);
                }
            }
            Trouble::Sleep(side, lasts) => {
                self.tally.sleeps += 1;
                self.network.hosts[self.links[at].ends[side].host].asleep_until = now + lasts;
            }
        }
        Ok(())
    }

    /// The link that leads to end `side`.
    fn direction(&self, at: usize, path: usize, side: usize) -> (usize, Address) {
        let ends = &self.links[at].ends;
        (ends[1 - side].host, self.plans[ends[side].host].addresses[path])
    }

    /// The conditions of a path, both ways.
    pub(super) fn set_weather(&mut self, at: usize, path: usize, weather: &LinkConfig) {
        for side in [0, 1] {
            let (from, to) = self.direction(at, path, side);
            // Links to one address of a server are one per client, those to a client too.
            self.network.link(from, to, weather.clone());
        }
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
        self.links[at].connect_at[0] = Some(now + Duration::from_millis(self.rng.random_range(0..2000)));
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
                    self.links[at].connect_at[0] = Some(self.network.now + soon);
                }
            }
        }
        let stack = self.stack_config();
        self.network.restart_host(host, stack, self.plans[host].endpoint());
        Ok(())
    }
}
