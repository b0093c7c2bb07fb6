//! The background task of a shard: waits for packets, deadlines and kicks, and runs the turns.

use crate::shard::Shard;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};

/// Sleeps are cut to this: timers of the runtime have a range.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// The timer of the runtime is no finer.
const ALARM_STEP: Duration = Duration::from_millis(1);

/// Tells everybody when the task ends, however it ends: a runtime that shuts down drops it.
struct Farewell {
    shard: Arc<Shard>,
    /// It ended because there was nothing left to do: the next endpoint starts another.
    rests: bool,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        if self.rests {
            return;
        }
        self.shard.fail();
    }
}

/// Sockets that the runtime watches until they are readable or have an error. Not until they are writable: a socket
/// becomes that with every packet that has left, and whoever watches for it is woken for nothing.
type Watched = Vec<Arc<AsyncFd<OwnedFd>>>;

/// Has the runtime watch the sockets of a shard.
fn watch(shard: &Shard) -> io::Result<Watched> {
    let descriptors = shard.lock().transport.descriptors()?;
    let interest = Interest::READABLE | Interest::ERROR;
    descriptors.into_iter().map(|fd| register(fd, interest).map(Arc::new)).collect()
}

#[expect(deprecated, reason = "its successor is unsafe for types that lend a descriptor; this one owns it")]
fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}

/// Has the runtime watch full sockets, too, until they are writable.
fn watch_blocked(sockets: &Watched, blocked: &[bool]) -> io::Result<Vec<AsyncFd<OwnedFd>>> {
    let full = sockets.iter().zip(blocked).filter(|(_, blocked)| **blocked);
    full.map(|(socket, _)| register(socket.get_ref().try_clone()?, Interest::WRITABLE)).collect()
}

/// Starts the task of a shard on the current runtime.
pub fn spawn(shard: Arc<Shard>) -> io::Result<()> {
    let sockets = watch(&shard)?;
    tokio::spawn(run(Farewell { shard, rests: false }, sockets));
    Ok(())
}

async fn run(mut farewell: Farewell, mut sockets: Watched) {
    loop {
        let Err(mut error) = serve(&farewell.shard, &sockets).await else {
            farewell.rests = true;
            return;
        };
        // They must be closed before their ports can be had again.
        drop(sockets);
        sockets = loop {
            if !farewell.shard.reopen(error).await {
                return;
            }
            match watch(&farewell.shard) {
                Ok(sockets) => break sockets,
                Err(problem) => error = problem,
            }
        };
    }
}

/// Serves a shard until nothing is left to do, or its sockets fail.
async fn serve(shard: &Arc<Shard>, sockets: &Watched) -> io::Result<()> {
    let mut watchers = JoinSet::new();
    for socket in sockets {
        watchers.spawn(watch_errors(socket.clone(), shard.clone()));
    }
    let served = take_turns(shard, sockets).await;
    // They hold the sockets, whose ports may be wanted again at once.
    watchers.shutdown().await;
    served
}

async fn take_turns(shard: &Shard, sockets: &Watched) -> io::Result<()> {
    // One timer for all turns: deadlines rarely move, and making one costs as much as a small packet.
    let mut alarm = pin!(tokio::time::sleep(LONGEST_SLEEP));
    let mut found = None;
    loop {
        let turn = shard.turn(found.take())?;
        if turn.more {
            tokio::task::yield_now().await;
            continue;
        }
        let Some(Rest { sleep, blocked, awake_until }) = prepare_to_sleep(shard) else { return Ok(()) };
        if let Some(sleep) = sleep {
            set_alarm(alarm.as_mut(), sleep);
        }
        let full = watch_blocked(sockets, &blocked)?;
        tokio::select! {
            biased;
            ready = wait_ready(sockets, &full) => found = ready.ok(),
            () = shard.kick.notified() => {}
            () = alarm.as_mut(), if sleep.is_some() => {}
            () = stay_awake(shard, awake_until) => {}
        }
    }
}

/// Sets the timer, unless it is set well enough: it counts in milliseconds.
fn set_alarm(alarm: Pin<&mut Sleep>, sleep: Duration) {
    let (at, set) = (Instant::now() + sleep.min(LONGEST_SLEEP), alarm.deadline());
    if alarm.is_elapsed() || set > at || at > set + ALARM_STEP {
        alarm.reset(at);
    }
}

/// Keeps the runtime from sleeping, so that it looks for news of sockets again and again. Never ends by itself.
async fn stay_awake(shard: &Shard, mut until: Option<Instant>) {
    while let Some(time) = until {
        while Instant::now() < time {
            tokio::task::yield_now().await;
        }
        // Something may have gone meanwhile.
        until = shard.lock().busy_poll.awake_until();
    }
    std::future::pending().await
}

/// How the background task may rest.
struct Rest {
    /// For how long at most.
    sleep: Option<Duration>,
    /// Which sockets are full.
    blocked: Vec<bool>,
    /// Until when it must not sleep at all.
    awake_until: Option<Instant>,
}

/// `None` when there is nothing left to do.
fn prepare_to_sleep(shard: &Shard) -> Option<Rest> {
    let mut state = shard.lock();
    if state.endpoints.is_empty() && state.opening == 0 && !state.transport.wants_transmit() {
        state.running = false;
        return None;
    }
    let now = state.transport.now();
    let deadline = state.next_deadline();
    state.sleeps_until = deadline;
    let blocked = if state.transport.is_blocked() { state.transport.blocked() } else { Vec::new() };
    let awake_until = state.busy_poll.awake_until();
    Some(Rest { sleep: deadline.map(|at| at.since(now)), blocked, awake_until })
}

/// Waits until any socket is readable, or a full one writable; says which are readable, by bit. Readiness is cleared
/// at once: the turn that follows reads until there is no more.
async fn wait_ready(sockets: &Watched, full: &[AsyncFd<OwnedFd>]) -> io::Result<u64> {
    poll_fn(|cx| {
        let (mut any, mut readable) = (false, 0);
        for (index, socket) in sockets.iter().enumerate() {
            if let Poll::Ready(ready) = socket.poll_read_ready(cx) {
                ready?.clear_ready();
                any = true;
                readable |= 1u64.checked_shl(index as u32).unwrap_or_default();
            }
        }
        any |= full.iter().any(|socket| socket.poll_write_ready(cx).is_ready());
        if any { Poll::Ready(Ok(readable)) } else { Poll::Pending }
    })
    .await
}

/// Has a turn run when an ICMP report comes: such a socket is neither readable nor writable.
async fn watch_errors(socket: Arc<AsyncFd<OwnedFd>>, shard: Arc<Shard>) {
    while let Ok(mut guard) = socket.ready(Interest::ERROR).await {
        guard.clear_ready_matching(Ready::ERROR);
        shard.kick.notify_one();
    }
}
