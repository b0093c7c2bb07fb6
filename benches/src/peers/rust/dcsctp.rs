//! dcsctp: the data channels of WebRTC as Chromium has them, in Rust.

use super::{Epoch, Packets, SansIo};
use crate::Plan;
use crate::plan::BUFFER_BYTES;
use bytes::Bytes;
use dcsctp::api::{DcSctpSocket, Message, Options, PpId, SendOptions, SocketEvent, SocketTime, StreamId};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// See the module.
pub struct Dcsctp {
    socket: Box<dyn DcSctpSocket>,
    packets: Packets,
    up: bool,
    epoch: Epoch,
}

impl Dcsctp {
    fn tick(&mut self, now: Instant) {
        self.socket.advance_time(SocketTime::zero() + self.epoch.since(now));
    }

    fn drain(&mut self) {
        while let Some(event) = self.socket.poll_event() {
            match event {
                SocketEvent::SendPacket(packet) => self.packets.push(packet),
                SocketEvent::OnConnected() => self.up = true,
                SocketEvent::OnAborted(kind, reason) => panic!("dcsctp aborted: {kind:?}: {reason}"),
                _ => {}
            }
        }
    }
}

impl SansIo for Dcsctp {
    const STREAM: bool = false;

    fn new(plan: &Plan, connects: bool, _: SocketAddr, now: Instant) -> Self {
        let options = Options {
            mtu: plan.packet_bytes,
            max_receiver_window_buffer_size: BUFFER_BYTES,
            max_send_buffer_size: BUFFER_BYTES,
            per_stream_send_queue_limit: BUFFER_BYTES,
            ..Options::default()
        };
        let mut socket = dcsctp::new_socket("dcsctp", &options);
        if connects {
            socket.connect();
        }
        Self { socket, packets: Packets::default(), up: false, epoch: Epoch(now) }
    }

    fn is_up(&mut self) -> bool {
        self.drain();
        self.up
    }

    fn handle_packet(&mut self, now: Instant, packet: &[u8]) {
        self.tick(now);
        self.socket.handle_input(packet);
    }

    fn poll_transmit(&mut self, _: Instant, max_packets: usize, buffer: &mut Vec<u8>) -> Option<usize> {
        self.drain();
        self.packets.take(max_packets, buffer)
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let at = self.socket.poll_timeout() - SocketTime::zero();
        (at < Duration::from_secs(1 << 30)).then(|| self.epoch.0 + at)
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.tick(now);
    }

    fn send(&mut self, now: Instant, payload: &Bytes) -> usize {
        self.tick(now);
        let message = Message::new(StreamId(0), PpId(0), payload.to_vec());
        // It takes nothing when its buffer is full.
        self.socket.send(message, &SendOptions::default()).map_or(0, |_| payload.len())
    }

    fn recv(&mut self, _: Instant, deliver: &mut dyn FnMut(&[u8])) {
        while let Some(message) = self.socket.get_next_message() {
            deliver(&message.payload);
        }
    }
}
