//! A shard: one backend behind one lock. Whoever has something to send runs the turn himself; the
//! background task runs it when packets arrive or time has passed.

use crate::link::{EndpointKey, LinkId};
use crate::state::{Question, State};
use esock_io::{DriverConfig, DriverError, Protocol, Seat, Turn};
use esock_proto::Time;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;
use tokio::sync::Notify;

/// Sockets that fail more often than this ...
const MAX_FAILURES: usize = 5;

/// ... within this time are given up.
const FAILURE_WINDOW: Duration = Duration::from_secs(10);

/// What one of an endpoint's shards does. The numbers of packets are of its sockets, which other endpoints share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ShardStats {
    /// Associations of the endpoint in this shard that have not ended.
    pub associations: usize,
    /// Packets received.
    pub packets_received: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets that arrived here and were another shard's: INITs that went where there are fewer associations, and
    /// what the system delivered together with a packet of this shard. Many of them cost time.
    pub forwarded: u64,
    /// Packets that arrived at another shard and were this one's.
    pub taken_over: u64,
    /// Packets for another shard that were dropped, since it had too many.
    pub forward_drops: u64,
}

impl ShardStats {
    pub(crate) fn of(state: &State, key: EndpointKey) -> Self {
        let driver = state.transport.stats();
        Self {
            associations: state.association_count(key),
            packets_received: driver.packets_received,
            packets_sent: driver.packets_sent,
            forwarded: driver.forwarded,
            taken_over: driver.taken_over,
            forward_drops: driver.forward_drops,
        }
    }
}

/// The state of a shard, locked. Wakers that were replaced go when it is unlocked.
pub struct Locked<'a> {
    // Dropped in this order.
    state: MutexGuard<'a, State>,
    replaced: Vec<Waker>,
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.replaced = std::mem::take(&mut self.state.replaced);
    }
}

/// See the module.
#[derive(Debug)]
pub struct Shard {
    state: Mutex<State>,
    /// What its sockets were opened with, and are opened with again should they fail.
    opened_with: (Protocol, DriverConfig),
    /// When its sockets failed lately.
    failures: Mutex<VecDeque<Time>>,
    /// Wakes the background task: an earlier deadline, a full socket, or no endpoint left.
    pub kick: Notify,
}

impl Shard {
    /// Opens the sockets of `count` shards, which share a UDP port.
    pub fn open_all(protocol: Protocol, mut config: DriverConfig, count: u16) -> Result<Vec<Arc<Self>>, DriverError> {
        if count <= 1 {
            return Ok(vec![Arc::new(Self::open(protocol, config)?)]);
        }
        let doing = "making what shards need to tell each other";
        let seats = Seat::all(count).map_err(|error| DriverError::Socket { doing, error })?;
        let mut shards = Vec::with_capacity(seats.len());
        for seat in seats {
            config.seat = Some(seat);
            let shard = Self::open(protocol, config.clone())?;
            // The others take the port that the first has got.
            config.udp_port = shard.opened_with.1.udp_port;
            shards.push(Arc::new(shard));
        }
        Ok(shards)
    }

    /// Opens sockets. Reopened, they keep their UDP port.
    fn open(protocol: Protocol, mut config: DriverConfig) -> Result<Self, DriverError> {
        let transport = esock_io::open(protocol, config.clone())?;
        let chosen = transport.backend();
        tracing::info!(%protocol, backend = %chosen.backend, udp_port = chosen.udp_port, why = %chosen.why, "sockets opened");
        chosen.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        if let Some(port) = chosen.udp_port {
            config.udp_port = esock_io::UdpPort::Listen(port);
        }
        config.backend = chosen.backend;
        Ok(Self {
            state: Mutex::new(State::new(transport, config.seat.as_ref().map_or(0, Seat::index))),
            opened_with: (protocol, config),
            failures: Mutex::default(),
            kick: Notify::new(),
        })
    }

    /// A shard over a backend of the tests.
    #[cfg(test)]
    pub fn over(transport: Box<dyn esock_io::Transport>) -> Self {
        Self {
            state: Mutex::new(State::new(transport, 0)),
            opened_with: (Protocol::Sctp, DriverConfig::default()),
            failures: Mutex::default(),
            kick: Notify::new(),
        }
    }

    /// Locks the state for a look. Nothing that runs the user's code may happen meanwhile.
    pub fn lock(&self) -> Locked<'_> {
        // A panic under the lock is a bug of ours; the state is still the best there is.
        Locked { state: self.state.lock().unwrap_or_else(PoisonError::into_inner), replaced: Vec::new() }
    }

    /// Calls `command` under the lock, sends what it brought about, then wakes whom it concerns.
    pub fn with<T>(&self, command: impl FnOnce(&mut State, Time) -> T) -> T {
        let mut state = self.lock();
        let now = state.transport.now();
        let out = command(&mut state, now);
        let turn = state.transport.flush(now);
        self.finish(state, now, turn, true);
        out
    }

    /// The same for a command that only hands messages of a link to the backend: if that has brought nothing about, as
    /// while a window is full, there is nothing more to do.
    ///
    /// What follows closely on what has just left is left to the background task, which runs as soon as this task rests:
    /// messages that are sent one by one share packets, and packets share system calls.
    pub fn hand_over<T>(&self, id: LinkId, command: impl FnOnce(&mut State, Time) -> T) -> T {
        let mut state = self.lock();
        let now = state.transport.now();
        let out = command(&mut state, now);
        if state.is_settled() {
            return out;
        }
        if state.gathers(now, id) {
            let told = std::mem::replace(&mut state.gathering, true);
            drop(state);
            if !told {
                self.kick.notify_one();
            }
            return out;
        }
        let turn = state.transport.flush(now);
        self.finish(state, now, turn, true);
        out
    }

    /// Receives and sends; for the background task. `ready`: the sockets that have news, if it is known.
    pub fn turn(&self, ready: Option<u64>) -> std::io::Result<Turn> {
        let mut state = self.lock();
        let reported = std::mem::take(&mut state.has_reports);
        // Where one message follows another there is traffic: what has come meanwhile is received before it is told.
        let gathered = std::mem::take(&mut state.gathering) && !state.crowd.waits();
        if let Some(bits) = ready.filter(|_| !reported && !gathered) {
            state.transport.set_ready(bits);
        }
        let now = state.transport.now();
        // It is awake: before it sleeps it asks when the next thing is due.
        state.sleeps_until = Some(Time::ZERO);
        let turn = state.transport.turn(now)?;
        Ok(self.finish(state, now, turn, false))
    }

    /// Takes a turn while there is busy polling, although nobody was told of packets. Says whether it has: where not, the
    /// background task may rest.
    pub fn spin(&self) -> std::io::Result<bool> {
        let mut state = self.lock();
        let now = state.transport.now();
        if !state.begins_spin(now) {
            return Ok(false);
        }
        state.gathering = false;
        let turn = state.transport.turn(now)?;
        // Most of them find nothing.
        if turn.received + turn.sent > 0 || turn.more || !state.is_idle(now) {
            self.finish(state, now, turn, false);
        }
        Ok(true)
    }

    /// Takes what has happened from the backend, unlocks, and lets the user's code run: wakers and filters.
    /// Says how the turn ended after that; `kick`: the background task has to know.
    fn finish(&self, mut state: Locked<'_>, now: Time, mut turn: Turn, kick: bool) -> Turn {
        state.dispatch(now);
        if state.transport.wants_transmit() && !state.transport.is_blocked() {
            // Accepting somebody, or releasing an association, has brought something to send.
            let second = state.transport.flush(now);
            state.dispatch(now);
            turn.deadline = second.deadline;
            turn.more |= second.more;
        }
        let blocked = state.transport.is_blocked();
        turn.more |= state.transport.wants_transmit() && !blocked;
        state.deadline = turn.deadline;
        let earlier = match (state.next_deadline(), state.sleeps_until) {
            (Some(deadline), Some(until)) => deadline < until,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let idle = state.endpoints.is_empty();
        if turn.sent > 0 {
            state.left_at = now;
        }
        if kick {
            state.crowd.on_flush();
        } else {
            state.crowd.on_turn(now);
        }
        let rouse = turn.received + turn.sent > 0 && state.busy_poll.on_traffic(now);
        let questions = state.begin_to_ask();
        self.let_go(state);
        if kick && (earlier || blocked || turn.more || idle || rouse) {
            self.kick.notify_one();
        }
        if questions > 0 {
            self.ask(questions);
        }
        turn
    }

    /// Unlocks, and lets the user's code run that this brings about.
    fn let_go(&self, mut state: Locked<'_>) {
        // There is mostly one: so the list keeps its memory.
        let one = if state.wakes.len() == 1 { state.wakes.pop() } else { None };
        let many = if state.wakes.is_empty() { Vec::new() } else { std::mem::take(&mut state.wakes) };
        let gone = (!state.gone.is_empty()).then(|| std::mem::take(&mut state.gone));
        drop(state);
        one.into_iter().chain(many).for_each(Waker::wake);
        drop(gone);
    }

    /// Asks filters so many questions, one after the other: who is let in counts for the next. What comes meanwhile is
    /// the background task's to ask.
    fn ask(&self, questions: usize) {
        for _ in 0..questions {
            let next = self.lock().next_question();
            let Some(answer) = next.map(Question::ask) else { break };
            let mut state = self.lock();
            let now = state.transport.now();
            state.on_answer(now, answer);
        }
        // What the answers have brought about leaves together.
        self.with(|_, _| ());
        let more = self.lock().end_asking();
        if more {
            self.kick.notify_one();
        }
    }

    /// Everything has failed for good.
    pub fn fail(&self) {
        let mut state = self.lock();
        state.fail(&crate::CloseReason::EndpointClosed);
        self.let_go(state);
    }

    /// The sockets have failed: ends what was on them, and opens others, as often as that is sensible. Says
    /// whether there are sockets again.
    pub async fn reopen(&self, error: std::io::Error) -> bool {
        let mut error = error.to_string();
        loop {
            let attempt = self.count_failure();
            tracing::warn!(attempt, %error, "sockets failed");
            {
                let mut state = self.lock();
                let now = state.transport.now();
                state.on_sockets_failed(now, &error, attempt as u32);
                self.let_go(state);
            }
            if attempt > MAX_FAILURES {
                let mut state = self.lock();
                state.on_given_up(&error);
                self.let_go(state);
                tracing::error!(%error, "sockets given up");
                return false;
            }
            if attempt > 1 {
                // All attempts together, 3 s, stay within the window by far: also of a machine that is very busy.
                tokio::time::sleep(Duration::from_millis(50) * (1 << attempt.min(5))).await;
            }
            match self.try_reopen() {
                Ok(()) => return true,
                Err(problem) => error = problem,
            }
        }
    }

    fn try_reopen(&self) -> Result<(), String> {
        let (protocol, config) = &self.opened_with;
        let transport = esock_io::open(*protocol, config.clone()).map_err(|error| error.to_string())?;
        let mut state = self.lock();
        let opened = state.on_sockets_opened(transport).map_err(|error| error.to_string());
        self.let_go(state);
        opened
    }

    /// Counts a failure; says how many there were lately.
    fn count_failure(&self) -> usize {
        let now = self.lock().transport.now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|at| now.since(*at) < FAILURE_WINDOW);
        failures.push_back(now);
        failures.len()
    }
}
