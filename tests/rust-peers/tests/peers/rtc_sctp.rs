//! rtc-sctp: the stack of the sans-IO webrtc-rs, of the same descent as sctp-proto.

use crate::faults::Faulty;
use esock_proto::Time;
use esock_rust_peers::wire::{chunks, code, init_without};
use esock_rust_peers::{Arrived, Options, PORT, PPID, Peer, PeerEvent};
use rtc_sctp::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier, ReliabilityType, ServerConfig, Side, TransportConfig,
};
use rtc_shared::TransportProtocol;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// It queues what it is given without a limit: this much is let in.
const SEND_BUFFER: usize = 1 << 20;

pub struct RtcSctp {
    endpoint: Endpoint,
    transport: TransportConfig,
    /// All of them: it makes a new one for each INIT that it does not know.
    associations: Vec<(AssociationHandle, Association)>,
    /// The one in use.
    current: Option<AssociationHandle>,
    reliability: ReliabilityType,
    /// Whether that one's end was told.
    ended: bool,
    packets: VecDeque<Vec<u8>>,
    events: VecDeque<PeerEvent>,
    /// Whether its faults are left to show.
    plain: bool,
    /// The moment at which it was made, in its time and in ours.
    began: (Instant, Time),
}

/// Our address, as it is told of it.
fn us() -> SocketAddr {
    ([10, 0, 0, 1], 9899).into()
}

/// Its own address.
fn them() -> SocketAddr {
    ([10, 0, 0, 2], 9899).into()
}

impl RtcSctp {
    fn instant(&self, now: Time) -> Instant {
        self.began.0 + now.since(self.began.1)
    }

    fn time(&self, instant: Instant) -> Time {
        self.began.1 + instant.saturating_duration_since(self.began.0)
    }

    fn current(&mut self) -> Option<&mut Association> {
        let current = self.current;
        let mut associations = self.associations.iter_mut();
        associations.find(|(handle, _)| Some(*handle) == current).map(|(_, association)| association)
    }
}

impl Peer for RtcSctp {
    const NAME: &'static str = "rtc-sctp 0.21.1";

    fn remark(feature: &str) -> Option<&'static str> {
        Some(match feature {
            "both connect at once" => "makes two associations, ours ends up with the one that it began",
            "messages of all sizes, both ways at once" => "discards a packet for one unknown chunk (such as PAD)",
            "they shut down" => "stays in SHUTDOWN-SENT when all is over",
            "losses of 15 % in handshake and shutdown" => {
                "does not understand the T bit: SHUTDOWN COMPLETE out of the blue does not end it"
            }
            "we connect" => "discards an INIT with Supported Address Types: works without",
            "TSNs wrap" => "panics there in a build with overflow checks: works without",
            _ => return None,
        })
    }

    fn new(options: Options, now: Time) -> Self {
        let transport = TransportConfig::default()
            .with_sctp_port(PORT)
            .with_max_receive_buffer_size(options.receive_window)
            .with_max_message_size(256 << 10);
        let server = ServerConfig::new(transport.clone());
        let endpoint_config = Arc::new(EndpointConfig::new());
        Self {
            endpoint: Endpoint::new(them(), TransportProtocol::UDP, endpoint_config, Some(Arc::new(server))),
            transport,
            associations: Vec::new(),
            current: None,
            reliability: ReliabilityType::Reliable,
            ended: false,
            plain: false,
            packets: VecDeque::new(),
            events: VecDeque::new(),
            began: (Instant::now(), now),
        }
    }

    fn connect(&mut self, now: Time) {
        let config = ClientConfig::new(self.transport.clone());
        let connected = self.endpoint.connect(self.instant(now), config, us());
        let (handle, association) = connected.expect("there is room for one association");
        self.associations.push((handle, association));
        self.current = Some(handle);
    }

    fn handle_packet(&mut self, now: Time, packet: &[u8]) {
        // Its fault: it knows no T bit, and without this sends SHUTDOWN ACK for ever where the first SHUTDOWN COMPLETE
        // was lost: the next ones are out of the blue and reflect its tag (RFC 9260 §8.4 5, §8.5.1 C).
        if chunks(packet)[0].is_reflected(code::SHUTDOWN_COMPLETE) && !self.ended && !self.plain {
            self.associations.clear();
            self.ended = true;
            self.events.push_back(PeerEvent::Closed("SHUTDOWN COMPLETE, which it does not understand".to_owned()));
            return;
        }
        let now = self.instant(now);
        // Its fault: it discards an INIT with Supported Address Types, a parameter of RFC 9260 §3.3.2.1.
        let packet = match self.plain {
            true => packet.to_vec(),
            false => init_without(packet, code::SUPPORTED_ADDRESS_TYPES),
        };
        match self.endpoint.handle(now, us(), None, packet.into()) {
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                // Its fault: an INIT that arrives while it connects begins a second association, where RFC 9260
                // §5.2.1 wants one with the tag of its own INIT. We end up with the one that it began (§5.2.4 B).
                if !self.associations.iter().any(|(_, association)| association.side() == Side::Client) {
                    self.current = Some(handle);
                    self.ended = false;
                }
                self.associations.push((handle, association));
            }
            Some((handle, DatagramEvent::AssociationEvent(event))) => {
                if let Some((_, association)) = self.associations.iter_mut().find(|(known, _)| *known == handle) {
                    association.handle_event(event);
                }
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        let now = self.instant(now);
        self.associations.iter_mut().for_each(|(_, association)| association.handle_timeout(now));
    }

    fn poll_timeout(&mut self) -> Option<Time> {
        let next = self.associations.iter().filter_map(|(_, association)| association.poll_timeout()).min();
        next.map(|at| self.time(at))
    }

    fn poll_packet(&mut self, now: Time) -> Option<Vec<u8>> {
        let now = self.instant(now);
        for (_, association) in &mut self.associations {
            while let Some(transmit) = association.poll_transmit(now) {
                if let Payload::RawEncode(packets) = transmit.message {
                    self.packets.extend(packets.iter().map(|packet| packet.to_vec()));
                }
            }
        }
        let packet = self.packets.pop_front()?;
        // Its fault: when it has answered SHUTDOWN ACK it stays in SHUTDOWN-SENT for ever, and says nothing, where
        // RFC 9260 §9.2 wants it to end.
        if chunks(&packet).iter().any(|chunk| chunk.kind == code::SHUTDOWN_COMPLETE) && !self.ended && !self.plain {
            self.ended = true;
            self.events.push_back(PeerEvent::Closed("SHUTDOWN COMPLETE sent".to_owned()));
        }
        Some(packet)
    }

    fn poll_event(&mut self) -> Option<PeerEvent> {
        for (handle, association) in &mut self.associations {
            let is_current = self.current == Some(*handle);
            while let Some(event) = association.poll() {
                if is_current && matches!(event, Event::Connected) {
                    self.events.push_back(PeerEvent::Up);
                }
                if let Event::HandshakeFailed { reason } | Event::AssociationLost { reason, .. } = event
                    && is_current
                    && !self.ended
                {
                    self.ended = true;
                    self.events.push_back(PeerEvent::Closed(reason.to_string()));
                }
            }
        }
        self.events.pop_front()
    }

    fn send(&mut self, now: Time, stream: u16, unordered: bool, payload: &[u8]) -> bool {
        let now = self.instant(now);
        let reliability = self.reliability;
        let Some(association) = self.current() else { return false };
        let _ = association.open_stream(stream, PayloadProtocolIdentifier::Binary);
        let mut stream = association.stream(stream).expect("it was opened just now, or before");
        if stream.buffered_amount().is_ok_and(|buffered| buffered > SEND_BUFFER) {
            return false;
        }
        let set = stream.set_reliability_params(unordered, reliability, 0);
        let written = set.and_then(|()| stream.write_with_ppi(now, payload, PayloadProtocolIdentifier::Binary));
        written.expect("the stream is open") == payload.len()
    }

    fn be_partially_reliable(&mut self) {
        self.reliability = ReliabilityType::Rexmit;
    }

    fn reset_stream(&mut self, now: Time, stream: u16) -> bool {
        let now = self.instant(now);
        let association = self.current().expect("there is an association");
        let mut stream = association.stream(stream).expect("it was used");
        stream.close(now).is_ok()
    }

    fn recv(&mut self, _now: Time) -> Option<Arrived> {
        let association = self.current()?;
        for stream in association.stream_ids() {
            if let Ok(Some(chunks)) = association.stream(stream).and_then(|mut stream| stream.read()) {
                let ppid = if chunks.ppi == PayloadProtocolIdentifier::Binary { PPID } else { 0 };
                let mut payload = vec![0; chunks.len()];
                chunks.read(&mut payload).expect("the buffer is as long as the message");
                return Some(Arrived { stream, ppid, payload });
            }
        }
        None
    }

    fn shutdown(&mut self, _now: Time) {
        self.current().expect("there is an association").shutdown().expect("it is up");
    }

    fn abort(&mut self, _now: Time) -> bool {
        self.current().expect("there is an association").abort().is_ok()
    }
}

impl Faulty for RtcSctp {
    fn without_workarounds(&mut self) {
        self.plain = true;
    }

    fn association_count(&self) -> usize {
        self.associations.len()
    }
}
