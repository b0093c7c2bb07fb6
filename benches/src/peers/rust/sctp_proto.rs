//! sctp-proto: the stack of str0m, a sans-IO port of pion's.

use super::{Packets, SansIo};
use crate::Plan;
use crate::plan::BUFFER_BYTES;
use bytes::Bytes;
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier, ServerConfig, TransportConfig,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// The common header and that of a DATA chunk.
const HEADER_BYTES: usize = 12 + 16;

/// See the module.
pub struct SctpProto {
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    packets: Packets,
    remote: SocketAddr,
    up: bool,
    buffer: Vec<u8>,
}

impl SctpProto {
    fn drain(&mut self) {
        let Some((_, association)) = &mut self.association else { return };
        while let Some(event) = association.poll() {
            match event {
                Event::Connected => self.up = true,
                Event::HandshakeFailed { reason } | Event::AssociationLost { reason } => panic!("sctp-proto: {reason}"),
                _ => {}
            }
        }
    }
}

impl SansIo for SctpProto {
    const STREAM: bool = false;

    fn new(plan: &Plan, connects: bool, remote: SocketAddr, _: Instant) -> Self {
        let transport = TransportConfig::default()
            .with_max_receive_buffer_size(BUFFER_BYTES as u32)
            .with_max_send_message_size(256 << 10)
            .with_max_receive_message_size(256 << 10);
        let transport = Arc::new(transport);
        let mut config = EndpointConfig::new();
        config.max_payload_size((plan.packet_bytes - HEADER_BYTES) as u32);
        let mut server = ServerConfig::new();
        server.transport = transport.clone();
        let mut endpoint = Endpoint::new(Arc::new(config), Some(Arc::new(server)));
        let association = connects.then(|| {
            let mut client = ClientConfig::new();
            client.transport = transport;
            endpoint.connect(client, remote).expect("there is room for one association")
        });
        let packets = Packets::default();
        Self { endpoint, association, packets, remote, up: false, buffer: Vec::new() }
    }

    fn is_up(&mut self) -> bool {
        self.drain();
        self.up
    }

    fn handle_packet(&mut self, now: Instant, packet: &[u8]) {
        match self.endpoint.handle(now, self.remote, None, None, Bytes::copy_from_slice(packet)) {
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                self.association = Some((handle, association));
            }
            Some((_, DatagramEvent::AssociationEvent(event))) => {
                if let Some((_, association)) = &mut self.association {
                    association.handle_event(event);
                }
            }
            None => {}
        }
        self.drain();
    }

    fn poll_transmit(&mut self, now: Instant, max_packets: usize, buffer: &mut Vec<u8>) -> Option<usize> {
        let (_, association) = self.association.as_mut()?;
        while let Some(transmit) = association.poll_transmit(now) {
            if let Payload::RawEncode(packets) = transmit.payload {
                packets.into_iter().for_each(|packet| self.packets.push(packet));
            }
        }
        self.packets.take(max_packets, buffer)
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.association.as_ref()?.1.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some((_, association)) = &mut self.association {
            association.handle_timeout(now);
        }
    }

    fn send(&mut self, _: Instant, payload: &Bytes) -> usize {
        let Some((_, association)) = &mut self.association else { return 0 };
        // It is an error when the stream is open already.
        let _ = association.open_stream(0, PayloadProtocolIdentifier::Binary);
        let mut stream = association.stream(0).expect("it was opened just now, or before");
        // It queues what it is given without a limit.
        if stream.buffered_amount().is_ok_and(|buffered| buffered >= BUFFER_BYTES) {
            return 0;
        }
        stream.write_sctp(payload, PayloadProtocolIdentifier::Binary).expect("the stream is open")
    }

    fn recv(&mut self, _: Instant, deliver: &mut dyn FnMut(&[u8])) {
        self.drain();
        let Some((_, association)) = &mut self.association else { return };
        let Ok(mut stream) = association.stream(0) else { return };
        self.buffer.resize(256 << 10, 0);
        while let Ok(Some(chunks)) = stream.read_sctp() {
            let count = chunks.read(&mut self.buffer).expect("the buffer holds a message");
            deliver(&self.buffer[..count]);
        }
    }
}
