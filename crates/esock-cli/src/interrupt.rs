//! SIGINT and SIGTERM: the first ends gracefully, the second at once.

use crate::console::say;
use std::sync::Arc;
use tokio::sync::watch;

/// How often we were interrupted; clones see the same.
#[derive(Debug, Clone)]
pub struct Interrupt {
    sender: Arc<watch::Sender<u8>>,
}

impl Interrupt {
    /// Not interrupted, and signals do what they always do.
    pub fn new() -> Self {
        Self { sender: Arc::new(watch::Sender::new(0)) }
    }

    /// From now on signals interrupt.
    pub fn listen(&self) {
        let ours = self.clone();
        let mut signals = Signals::new();
        tokio::spawn(async move {
            signals.next().await;
            say("interrupted: shutting down; once more to abort");
            ours.raise(1);
            signals.next().await;
            ours.raise(2);
        });
    }

    /// Ends gracefully, as the first signal does.
    pub fn end_gracefully(&self) {
        self.raise(1);
    }

    /// Waits for the first signal.
    pub async fn once(&self) {
        self.reach(1).await;
    }

    /// Waits for the second signal.
    pub async fn twice(&self) {
        self.reach(2).await;
    }

    /// Whether there was a second signal.
    pub fn is_final(&self) -> bool {
        *self.sender.borrow() >= 2
    }

    fn raise(&self, level: u8) {
        self.sender.send_modify(|now| *now = level.max(*now));
    }

    async fn reach(&self, level: u8) {
        // The sender lives as long as `self`.
        let _ = self.sender.subscribe().wait_for(|now| *now >= level).await;
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: Option<tokio::signal::unix::Signal>,
    terminate: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self { interrupt: signal(SignalKind::interrupt()).ok(), terminate: signal(SignalKind::terminate()).ok() }
    }

    async fn next(&mut self) {
        async fn one(signal: &mut Option<tokio::signal::unix::Signal>) {
            match signal {
                Some(signal) => {
                    signal.recv().await;
                }
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = one(&mut self.interrupt) => {}
            () = one(&mut self.terminate) => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Self {
        Self
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
