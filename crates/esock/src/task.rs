//! The background task of a shard: waits for packets, deadlines and kicks, and runs the turns.

use crate::alarm::Alarm;
use crate::shard::Shard;
use esock_proto::Time;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinSet;

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

/// Busy polling looks for packets so often before the runtime does for all else that its tasks wait for.
const LOOKS: u32 = 16;

/// Where a full socket cannot be watched it is tried again after so long.
const PAUSE: Duration = Duration::from_millis(1);

/// Has the runtime watch the sockets of a shard.
fn watch(shard: &Shard) -> io::Result<Watched> {
    let descriptors = shard.lock().transport.descriptors()?;
    let interest = Interest::READABLE | Interest::ERROR;
    descriptors.into_iter().map(|fd| register(fd, interest).map(Arc::new)).collect()
}

#[expect(deprecated, reason = "its successor is unsafe for types that lend a descriptor; this one owns it")]
pub fn register<T: AsRawFd>(fd: T, interest: Interest) -> io::Result<AsyncFd<T>> {
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
    // One timer for all turns: deadlines rarely move.
    let mut alarm = Alarm::new()?;
    // Looks hold the lock for the most part of their time, which is nobody's loss where there is no other thread.
    let may_spin = Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
    let mut found = None;
    loop {
        let turn = shard.turn(found.take())?;
        if turn.more {
            tokio::task::yield_now().await;
            continue;
        }
        if may_spin {
            spin(shard).await?;
        }
        let Some(Rest { now, deadline, blocked, awake }) = prepare_to_sleep(shard) else { return Ok(()) };
        let (full, deadline) = match watch_blocked(sockets, &blocked) {
            Ok(full) => (full, deadline),
            // There is no descriptor left, for the time being: the sockets are as good as before.
            Err(_) => (Vec::new(), Some(deadline.unwrap_or(now + PAUSE).min(now + PAUSE))),
        };
        if let Some(at) = deadline {
            alarm.set(now, at)?;
        }
        tokio::select! {
            biased;
            ready = wait_ready(sockets, &full) => found = ready.ok(),
            // The sockets were read until there was no more, and have not said that there is.
            () = shard.kick.notified() => found = Some(0),
            () = alarm.rings(), if deadline.is_some() => found = Some(0),
            () = stay_awake(shard, awake) => {}
        }
    }
}

/// Looks for packets as long as there is busy polling. To be told of them by the runtime takes longer.
async fn spin(shard: &Shard) -> io::Result<()> {
    let mut looks: u32 = 0;
    while shard.spin()? {
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(LOOKS) {
            tokio::task::yield_now().await;
        } else {
            let_others_run().await;
        }
    }
    Ok(())
}

/// Goes on behind the tasks that are ready, without a look of the runtime for news, which is a system call.
async fn let_others_run() {
    let mut ran = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut ran, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// Keeps the runtime from sleeping, so that it looks for news of sockets again and again: where turns do not ask them
/// by themselves. Never ends by itself.
async fn stay_awake(shard: &Shard, mut awake: bool) {
    while awake {
        tokio::task::yield_now().await;
        let mut state = shard.lock();
        let now = state.transport.now();
        awake = state.busy_poll.stays_awake(now);
    }
    std::future::pending().await
}

/// How the background task may rest.
struct Rest {
    now: Time,
    /// Until when at most.
    deadline: Option<Time>,
    /// Which sockets are full.
    blocked: Vec<bool>,
    /// Whether it must not sleep at all for the time being.
    awake: bool,
}

/// `None` when there is nothing left to do.
fn prepare_to_sleep(shard: &Shard) -> Option<Rest> {
    let mut state = shard.lock();
    if state.is_over() {
        state.running = false;
        return None;
    }
    let now = state.transport.now();
    let is_blocked = state.transport.is_blocked();
    // A look that has found packets may have left something to send.
    let has_more = state.transport.wants_transmit() && !is_blocked;
    let deadline = if has_more { Some(now) } else { state.next_deadline() };
    state.sleeps_until = deadline;
    let blocked = if is_blocked { state.transport.blocked() } else { Vec::new() };
    let awake = state.busy_poll.stays_awake(now);
    Some(Rest { now, deadline, blocked, awake })
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
        shard.lock().has_reports = true;
        shard.kick.notify_one();
    }
}

#[cfg(test)]
mod tests;
