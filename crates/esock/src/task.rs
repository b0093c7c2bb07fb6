//! The background task of a shard: waits for packets, deadlines and kicks, and runs the turns.

use crate::shard::Shard;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// Sleeps are cut to this: timers of the runtime have a range.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

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

/// Sockets that the runtime watches.
type Watched = Vec<Arc<UdpSocket>>;

/// Has the runtime watch the sockets of a shard.
fn watch(shard: &Shard) -> io::Result<Watched> {
    let descriptors = shard.lock().transport.descriptors()?;
    // Whatever they are, tokio watches them as it does its own: they are never read here.
    let watched = descriptors.into_iter().map(|fd| UdpSocket::from_std(std::net::UdpSocket::from(fd)));
    watched.map(|socket| socket.map(Arc::new)).collect()
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
    loop {
        let turn = shard.turn()?;
        if turn.more {
            tokio::task::yield_now().await;
            continue;
        }
        let Some((sleep, blocked)) = prepare_to_sleep(shard) else { return Ok(()) };
        let ready = wait_ready(sockets, &blocked);
        match sleep {
            Some(sleep) => {
                tokio::select! {
                    _ = ready => {}
                    () = shard.kick.notified() => {}
                    () = tokio::time::sleep(sleep.min(LONGEST_SLEEP)) => {}
                }
            }
            None => {
                tokio::select! {
                    _ = ready => {}
                    () = shard.kick.notified() => {}
                }
            }
        }
    }
}

/// How long to sleep at most, and which sockets are full; `None` when there is nothing left to do.
fn prepare_to_sleep(shard: &Shard) -> Option<(Option<Duration>, Vec<bool>)> {
    let mut state = shard.lock();
    if state.endpoints.is_empty() && state.opening == 0 && !state.transport.wants_transmit() {
        state.running = false;
        return None;
    }
    let now = state.transport.now();
    let deadline = state.next_deadline();
    state.sleeps_until = deadline;
    let blocked = state.transport.blocked();
    Some((deadline.map(|at| at.since(now)), blocked))
}

/// Waits until any socket is readable, or a full one writable. Readiness is cleared at once: the turn that
/// follows reads until there is no more.
async fn wait_ready(sockets: &[Arc<UdpSocket>], blocked: &[bool]) -> io::Result<()> {
    poll_fn(|cx| {
        let mut any = false;
        for (socket, blocked) in sockets.iter().zip(blocked) {
            if let Poll::Ready(ready) = socket.poll_recv_ready(cx) {
                ready?;
                clear(socket, Interest::READABLE);
                any = true;
            }
            if *blocked && let Poll::Ready(ready) = socket.poll_send_ready(cx) {
                ready?;
                clear(socket, Interest::WRITABLE);
                any = true;
            }
        }
        if any { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// Has a turn run when an ICMP report comes: such a socket is neither readable nor writable.
async fn watch_errors(socket: Arc<UdpSocket>, shard: Arc<Shard>) {
    while socket.ready(Interest::ERROR).await.is_ok() {
        clear(&socket, Interest::ERROR);
        shard.kick.notify_one();
    }
}

/// Forgets that a socket is ready until it becomes so again.
fn clear(socket: &UdpSocket, interest: Interest) {
    let would_block = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
    // The error is our own.
    let _ = socket.try_io(interest, would_block);
}
