//! dcsctp: the data channels of WebRTC as Chromium has them, in Rust.

use dcsctp::api::{
    DcSctpSocket, ErrorKind, Message, Options as Parameters, PpId, SendOptions, SocketEvent, SocketTime, StreamId,
    ZERO_CHECKSUM_ALTERNATE_ERROR_DETECTION_METHOD_LOWER_LAYER_DTLS,
};
use esock_proto::Time;
use esock_rust_peers::{Arrived, Options, PORT, PPID, Peer, PeerEvent};
use std::collections::VecDeque;
use std::time::Duration;

pub struct Dcsctp {
    socket: Box<dyn DcSctpSocket>,
    packets: VecDeque<Vec<u8>>,
    events: VecDeque<PeerEvent>,
    send_options: SendOptions,
}

impl Dcsctp {
    fn drain(&mut self) {
        while let Some(event) = self.socket.poll_event() {
            match event {
                SocketEvent::SendPacket(packet) => self.packets.push_back(packet),
                SocketEvent::OnConnected() => self.events.push_back(PeerEvent::Up),
                SocketEvent::OnConnectionRestarted() => self.events.push_back(PeerEvent::Restarted),
                SocketEvent::OnClosed() => self.events.push_back(PeerEvent::Closed("closed".to_owned())),
                SocketEvent::OnAborted(kind, reason) => {
                    let said = match kind {
                        ErrorKind::NoError => "aborted".to_owned(),
                        kind => format!("aborted: {kind:?}: {reason}"),
                    };
                    self.events.push_back(PeerEvent::Closed(said));
                }
                _ => {}
            }
        }
    }

    fn tick(&mut self, now: Time) {
        self.socket.advance_time(SocketTime::zero() + now.since(Time::ZERO));
    }
}

impl Peer for Dcsctp {
    const NAME: &'static str = "dcsctp 0.1.16";

    fn new(options: Options, now: Time) -> Self {
        // Its tags and TSNs come from this thread's generator.
        fastrand::seed(options.seed);
        let parameters = Parameters {
            local_port: PORT,
            remote_port: PORT,
            max_receiver_window_buffer_size: options.receive_window as usize,
            // All that it has is offered.
            enable_message_interleaving: true,
            zero_checksum_alternate_error_detection_method:
                ZERO_CHECKSUM_ALTERNATE_ERROR_DETECTION_METHOD_LOWER_LAYER_DTLS,
            ..Parameters::default()
        };
        let socket = dcsctp::new_socket("dcsctp", &parameters);
        let (packets, events, send_options) = Default::default();
        let mut peer = Self { socket, packets, events, send_options };
        peer.tick(now);
        peer
    }

    fn connect(&mut self, now: Time) {
        self.tick(now);
        self.socket.connect();
    }

    fn handle_packet(&mut self, now: Time, packet: &[u8]) {
        self.tick(now);
        self.socket.handle_input(packet);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.tick(now);
    }

    fn poll_timeout(&mut self) -> Option<Time> {
        let at = self.socket.poll_timeout() - SocketTime::zero();
        (at != Duration::MAX).then(|| Time::ZERO + at)
    }

    fn poll_packet(&mut self, _now: Time) -> Option<Vec<u8>> {
        self.drain();
        self.packets.pop_front()
    }

    fn poll_event(&mut self) -> Option<PeerEvent> {
        self.drain();
        self.events.pop_front()
    }

    fn send(&mut self, now: Time, stream: u16, unordered: bool, payload: &[u8]) -> bool {
        self.tick(now);
        let message = Message::new(StreamId(stream), PpId(PPID), payload.to_vec());
        self.send_options.unordered = unordered;
        self.socket.send(message, &self.send_options).is_ok()
    }

    fn be_partially_reliable(&mut self) {
        self.send_options.max_retransmissions = Some(0);
    }

    fn reset_stream(&mut self, now: Time, stream: u16) -> bool {
        self.tick(now);
        self.socket.reset_streams(&[StreamId(stream)]).is_ok()
    }

    fn recv(&mut self, now: Time) -> Option<Arrived> {
        self.tick(now);
        let Message { stream_id, ppid, payload } = self.socket.get_next_message()?;
        Some(Arrived { stream: stream_id.0, ppid: ppid.0, payload })
    }

    fn shutdown(&mut self, now: Time) {
        self.tick(now);
        self.socket.shutdown();
    }

    fn abort(&mut self, now: Time) -> bool {
        self.tick(now);
        self.socket.close();
        true
    }
}
