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
        self.finish(state, now, turn, true);
        out
    }

    /// Receives and sends; for the background task.
    pub fn turn(&self) -> std::io::Result<Turn> {
        let mut state = self.lock();
        let now = state.driver.now();
        // It is awake: before it sleeps it asks when the next thing is due.
        state.sleeps_until = Some(Time::ZERO);
        let turn = state.driver.turn(now)?;
        Ok(self.finish(state, now, turn, false))
    }

    /// Takes what has happened from the stack, unlocks, and lets the user's code run: wakers and filters.
    /// Says how the turn ended after that; `kick`: the background task has to know.
    fn finish(&self, mut state: MutexGuard<'_, State>, now: Time, mut turn: Turn, kick: bool) -> Turn {
        state.dispatch(now);
        let blocked = |state: &State| state.driver.interests().any(|interest| interest.writable);
        if state.driver.stack().wants_transmit() && !blocked(&state) {
            // Accepting somebody, or releasing an association, has brought something to send.
            let second = state.driver.flush(now);
            state.dispatch(now);
            turn.deadline = second.deadline;
            turn.more |= second.more;
        }
        let blocked = blocked(&state);
        turn.more |= state.driver.stack().wants_transmit() && !blocked;
        state.deadline = turn.deadline;
        let earlier = match (state.next_deadline(), state.sleeps_until) {
            (Some(deadline), Some(until)) => deadline < until,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let idle = state.endpoints.is_empty();
        let wakes = std::mem::take(&mut state.wakes);
        let questions = std::mem::take(&mut state.questions);
        let gone = std::mem::take(&mut state.gone);
        drop(state);
        if kick && (earlier || blocked || turn.more || idle) {
            self.kick.notify_one();
        }
        wakes.into_iter().for_each(Waker::wake);
        drop(gone);
        if !questions.is_empty() {
            self.ask(questions);
        }
        turn
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
