//! quinn: QUIC, which encrypts (here with AES-128-GCM) and has a stream of bytes where SCTP has messages.

use super::SansIo;
use crate::Plan;
use crate::plan::BUFFER_BYTES;
use bytes::{Bytes, BytesMut};
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event, ServerConfig,
    Side, StreamEvent, StreamId, TransportConfig, VarInt,
};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, SupportedCipherSuite};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// See the module.
pub struct Quinn {
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    remote: SocketAddr,
    stream: Option<StreamId>,
    up: bool,
    /// Answers of the endpoint itself.
    answers: Vec<Vec<u8>>,
}

/// A certificate that both ends of this process know.
fn certificate() -> &'static (CertificateDer<'static>, Vec<u8>) {
    static MADE: OnceLock<(CertificateDer<'static>, Vec<u8>)> = OnceLock::new();
    MADE.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("the name is fine");
        (made.cert.der().clone(), made.signing_key.serialize_der())
    })
}

/// One cipher, and no other.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider
        .cipher_suites
        .retain(|suite: &SupportedCipherSuite| suite.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

fn server() -> Arc<dyn quinn_proto::crypto::ServerConfig> {
    let (certificate, key) = certificate();
    let key = PrivateKeyDer::try_from(key.clone()).expect("it was made just now");
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the cipher is of TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("they belong together");
    Arc::new(QuicServerConfig::try_from(config).expect("the cipher is QUIC's"))
}

fn client() -> Arc<dyn quinn_proto::crypto::ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate().0.clone()).expect("it is a certificate");
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the cipher is of TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(QuicClientConfig::try_from(config).expect("the cipher is QUIC's"))
}

fn transport(plan: &Plan) -> Arc<TransportConfig> {
    let window = VarInt::from_u32(BUFFER_BYTES as u32);
    let mut transport = TransportConfig::default();
    transport
        .initial_mtu(plan.packet_bytes as u16)
        .mtu_discovery_config(None)
        .stream_receive_window(window)
        .receive_window(window)
        .send_window(BUFFER_BYTES as u64);
    Arc::new(transport)
}

impl Quinn {
    /// What the connection and its endpoint have to say to each other.
    fn drain(&mut self) {
        let Some((handle, connection)) = &mut self.connection else { return };
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
        while let Some(event) = connection.poll() {
            match event {
                Event::Connected => self.up = true,
                Event::Stream(StreamEvent::Opened { dir: Dir::Bi }) => {
                    self.stream = self.stream.or_else(|| connection.streams().accept(Dir::Bi));
                }
                Event::ConnectionLost { reason } => panic!("quinn: {reason}"),
                _ => {}
            }
        }
    }
}

impl SansIo for Quinn {
    const STREAM: bool = true;

    fn new(plan: &Plan, connects: bool, remote: SocketAddr, now: Instant) -> Self {
        let mut config = EndpointConfig::default();
        config.max_udp_payload_size(plan.packet_bytes as u16).expect("it is large enough");
        let mut server = ServerConfig::with_crypto(server());
        server.transport_config(transport(plan));
        let mut endpoint = Endpoint::new(Arc::new(config), Some(Arc::new(server)), false, None);
        let connection = connects.then(|| {
            let mut client = ClientConfig::new(client());
            client.transport_config(transport(plan));
            endpoint.connect(now, client, remote, "localhost").expect("there is room for one connection")
        });
        Self { endpoint, connection, remote, stream: None, up: false, answers: Vec::new() }
    }

    fn is_up(&mut self) -> bool {
        self.drain();
        self.up
    }

    fn handle_packet(&mut self, now: Instant, packet: &[u8]) {
        let mut answer = Vec::new();
        match self.endpoint.handle(now, self.remote, None, None, BytesMut::from(packet), &mut answer) {
            Some(DatagramEvent::ConnectionEvent(_, event)) => {
                if let Some((_, connection)) = &mut self.connection {
                    connection.handle_event(event);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                if let Ok(accepted) = self.endpoint.accept(incoming, now, &mut answer, None) {
                    self.connection = Some(accepted);
                }
            }
            Some(DatagramEvent::Response(_)) => self.answers.push(answer),
            None => {}
        }
        self.drain();
    }

    fn poll_transmit(&mut self, now: Instant, max_packets: usize, buffer: &mut Vec<u8>) -> Option<usize> {
        if let Some(answer) = self.answers.pop() {
            buffer.extend_from_slice(&answer);
            return Some(answer.len());
        }
        let (_, connection) = self.connection.as_mut()?;
        // A batch is one UDP send, which is limited.
        let max_packets = max_packets.min(65_000 / usize::from(connection.current_mtu()));
        let transmit = connection.poll_transmit(now, max_packets, buffer)?;
        buffer.truncate(transmit.size);
        Some(transmit.segment_size.unwrap_or(transmit.size))
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.connection.as_mut()?.1.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some((_, connection)) = &mut self.connection {
            connection.handle_timeout(now);
        }
        self.drain();
    }

    fn send(&mut self, _: Instant, payload: &Bytes) -> usize {
        let Some((_, connection)) = &mut self.connection else { return 0 };
        if self.stream.is_none() && connection.side() == Side::Client {
            self.stream = connection.streams().open(Dir::Bi);
        }
        let Some(stream) = self.stream else { return 0 };
        // It takes nothing when its windows are full.
        connection.send_stream(stream).write_chunks(&mut [payload.clone()]).map_or(0, |written| written.bytes)
    }

    fn recv(&mut self, _: Instant, deliver: &mut dyn FnMut(&[u8])) {
        let (Some((_, connection)), Some(stream)) = (&mut self.connection, self.stream) else { return };
        let mut stream = connection.recv_stream(stream);
        let Ok(mut chunks) = stream.read(true) else { return };
        while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
            deliver(&chunk.bytes);
        }
        // What there is to send is asked for anyway.
        let _ = chunks.finalize();
    }
}
