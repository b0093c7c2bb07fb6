//! Typed lines to everybody who is there.

use bytes::Bytes;
use tokio::sync::mpsc;

/// Lines that wait for one peer.
const WAITING: usize = 16;

/// Lets peers in on what is typed; closed when all is said.
#[derive(Debug, Clone)]
pub struct Audience {
    joining: mpsc::UnboundedSender<mpsc::Sender<Bytes>>,
}

impl Audience {
    /// Lines for a new peer, from now on. They end when the input does.
    pub fn join(&self) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(WAITING);
        // If all has been said, the receiver sees its sender gone: the end of input.
        let _ = self.joining.send(sender);
        receiver
    }

    /// Waits for the end of input.
    pub async fn dismissed(&self) {
        self.joining.closed().await;
    }
}

/// Starts to hand `lines` to everybody who joins. Nothing is read while nobody is there, and the
/// slowest listener sets the pace: no line is lost and none piles up.
pub fn start(lines: mpsc::Receiver<Bytes>) -> Audience {
    let (joining, joiners) = mpsc::unbounded_channel();
    tokio::spawn(broadcast(lines, joiners));
    Audience { joining }
}

async fn broadcast(mut lines: mpsc::Receiver<Bytes>, mut joiners: mpsc::UnboundedReceiver<mpsc::Sender<Bytes>>) {
    let Some(first) = joiners.recv().await else { return };
    let mut peers = vec![first];
    while let Some(line) = lines.recv().await {
        loop {
            while let Ok(peer) = joiners.try_recv() {
                peers.push(peer);
            }
            peers.retain(|peer| !peer.is_closed());
            if !peers.is_empty() {
                break;
            }
            match joiners.recv().await {
                Some(peer) => peers.push(peer),
                None => return,
            }
        }
        for peer in &peers {
            // One that has left is dropped before the next line.
            let _ = peer.send(line.clone()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_line_waits_for_somebody_and_goes_to_all() {
        let (typed, lines) = mpsc::channel(8);
        let audience = start(lines);
        typed.send("early".into()).await.unwrap();
        let mut one = audience.join();
        assert_eq!(one.recv().await.unwrap(), "early");
        let mut two = audience.join();
        typed.send("both".into()).await.unwrap();
        assert_eq!(one.recv().await.unwrap(), "both");
        assert_eq!(two.recv().await.unwrap(), "both");

        drop((one, two));
        typed.send("kept".into()).await.unwrap();
        tokio::task::yield_now().await;
        let mut three = audience.join();
        assert_eq!(three.recv().await.unwrap(), "kept");

        drop(typed);
        assert_eq!(three.recv().await, None);
        audience.dismissed().await;
        assert_eq!(audience.join().recv().await, None);
    }
}
