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
        let mut state = self.shard.lock();
        state.fail();
        let wakes = std::mem::take(&mut state.wakes);
        drop(state);
        wakes.into_iter().for_each(std::task::Waker::wake);
    }
}

/// Starts the task of a shard on the current runtime.
pub fn spawn(shard: Arc<Shard>) -> io::Result<()> {
    let descriptors = shard.lock().driver.descriptors()?;
    // Whatever they are, tokio watches them as it does its own: they are never read here.
    let watched = descriptors.into_iter().map(|fd| UdpSocket::from_std(std::net::UdpSocket::from(fd)));
    let sockets = watched.map(|socket| socket.map(Arc::new)).collect::<io::Result<Vec<_>>>()?;
    tokio::spawn(run(Farewell { shard, rests: false }, sockets));
    Ok(())
}

async fn run(mut farewell: Farewell, sockets: Vec<Arc<UdpSocket>>) {
    let mut watchers = JoinSet::new();
    for socket in &sockets {
        watchers.spawn(watch_errors(socket.clone(), farewell.shard.clone()));
    }
    loop {
        let shard = &farewell.shard;
        let Ok(turn) = shard.turn() else { return };
        if turn.more {
            tokio::task::yield_now().await;
            continue;
        }
        let Some((sleep, blocked)) = prepare_to_sleep(shard) else {
            farewell.rests = true;
            return;
        };
        let ready = wait_ready(&sockets, &blocked);
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
    if state.endpoints.is_empty() && state.opening == 0 && !state.driver.stack().wants_transmit() {
        state.running = false;
        return None;
    }
    let now = state.driver.now();
    let deadline = state.next_deadline();
    state.sleeps_until = deadline;
    let blocked = state.driver.interests().map(|interest| interest.writable).collect();
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
