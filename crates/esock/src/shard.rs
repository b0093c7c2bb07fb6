//! A shard: one driver behind one lock. Whoever has something to send runs the turn himself; the
//! background task runs it when packets arrive or time has passed.

use crate::owner::Candidate;
use crate::state::{Question, State};
use esock_io::{Driver, Turn};
use esock_proto::Time;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use tokio::sync::Notify;

/// See the module.
#[derive(Debug)]
pub struct Shard {
    state: Mutex<State>,
    /// Wakes the background task: an earlier deadline, a full socket, or no endpoint left.
    pub kick: Notify,
}

impl Shard {
    pub fn new(driver: Driver) -> Self {
        Self { state: Mutex::new(State::new(driver)), kick: Notify::new() }
    }

    /// Locks the state for a look. Nothing that runs the user's code may happen meanwhile.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a bug of ours; the state is still the best there is.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `command` under the lock, sends what it brought about, then wakes whom it concerns.
    pub fn with<T>(&self, command: impl FnOnce(&mut State, Time) -> T) -> T {
        let mut state = self.lock();
        let now = state.driver.now();
        let out = command(&mut state, now);
        let turn = state.driver.flush(now);
        self.finish(state, now, turn);
        out
    }

    /// Receives and sends; for the background task.
    pub fn turn(&self) -> std::io::Result<Turn> {
        let mut state = self.lock();
        let now = state.driver.now();
        let turn = state.driver.turn(now)?;
        self.finish(state, now, turn);
        Ok(turn)
    }

    /// Takes what has happened from the stack, unlocks, and lets the user's code run: wakers and filters.
    fn finish(&self, mut state: MutexGuard<'_, State>, now: Time, turn: Turn) {
        state.dispatch(now);
        if state.driver.stack().wants_transmit() {
            // Accepting somebody, or releasing an association, has brought something to send.
            state.driver.flush(now);
        }
        let earlier = match (turn.deadline, state.sleeps_until) {
            (Some(deadline), Some(until)) => deadline < until,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let blocked = state.driver.interests().any(|interest| interest.writable);
        let idle = state.endpoints.is_empty();
        let wakes = std::mem::take(&mut state.wakes);
        let questions = std::mem::take(&mut state.questions);
        drop(state);
        if earlier || blocked || turn.more || idle {
            self.kick.notify_one();
        }
        wakes.into_iter().for_each(Waker::wake);
        if !questions.is_empty() {
            self.ask(questions);
        }
    }

    fn ask(&self, questions: Vec<Question>) {
        let answers: Vec<_> = questions
            .into_iter()
            .map(|Question { incoming, filters, associations }| {
                let candidate = Candidate::new(&incoming, associations);
                let owner = filters.iter().find(|(_, filter)| filter.accepts(&candidate)).map(|(owner, _)| *owner);
                (incoming, owner)
            })
            .collect();
        self.with(|state, now| answers.into_iter().for_each(|(incoming, owner)| state.answer(now, incoming, owner)));
    }
}
