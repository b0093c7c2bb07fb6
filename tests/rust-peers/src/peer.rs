//! What a stack has to do to take part.

use esock_proto::Time;

/// How a peer is to be set up.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// For its randomness, where it can be given a seed.
    pub seed: u64,
    /// Its receive window, in bytes.
    pub receive_window: u32,
}

/// What a peer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    /// The association is up.
    Up,
    /// We restarted, and it noticed.
    Restarted,
    /// The association has ended, in the peer's own words.
    Closed(String),
}

/// A message that arrived at the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// The stream.
    pub stream: u16,
    /// The payload protocol identifier.
    pub ppid: u32,
    /// The user data.
    pub payload: Vec<u8>,
}

/// A sans-IO SCTP stack with one association, on port [`PORT`](crate::PORT) of both ends.
pub trait Peer {
    /// Its name and version, as in the matrix.
    const NAME: &'static str;

    /// What is to be said of a feature in the matrix beside that it works: faults that the peer's file works around.
    fn remark(feature: &str) -> Option<&'static str> {
        let _ = feature;
        None
    }

    /// One that waits for us to connect.
    fn new(options: Options, now: Time) -> Self;

    /// Has it connect to us.
    fn connect(&mut self, now: Time);

    /// Hands it an SCTP packet.
    fn handle_packet(&mut self, now: Time, packet: &[u8]);

    /// Does what is due.
    fn handle_timeout(&mut self, now: Time);

    /// When something is due.
    fn poll_timeout(&mut self) -> Option<Time>;

    /// The next packet to be sent.
    fn poll_packet(&mut self, now: Time) -> Option<Vec<u8>>;

    /// What has happened.
    fn poll_event(&mut self) -> Option<PeerEvent>;

    /// Sends a message; `false` if it cannot be taken now.
    fn send(&mut self, now: Time, stream: u16, unordered: bool, payload: &[u8]) -> bool;

    /// From now on messages are given up when their first transmission is lost, if that was agreed on (RFC 3758).
    fn be_partially_reliable(&mut self);

    /// Resets an outgoing stream (RFC 6525); `false` if the peer knows that this was not agreed on.
    fn reset_stream(&mut self, now: Time, stream: u16) -> bool;

    /// The next message that has arrived.
    fn recv(&mut self, now: Time) -> Option<Arrived>;

    /// Ends the association gracefully.
    fn shutdown(&mut self, now: Time);

    /// Ends it with an ABORT; `false` if it has no call for that.
    fn abort(&mut self, now: Time) -> bool;
}
