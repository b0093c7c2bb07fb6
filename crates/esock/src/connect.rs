//! Where to connect, and connecting.

use crate::association::Association;
use crate::endpoint::Core;
use crate::error::ConnectError;
use crate::line::{For, Place};
use crate::link::Sink;
use crate::lint;
use crate::supervisor::Supervision;
use crate::{Address, CloseReason, Config, Encapsulation};
use esock_proto::Peer;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

/// A peer to connect to, for [`Endpoint::connect`](crate::Endpoint::connect) and
/// [`Endpoint::supervise`](crate::Endpoint::supervise).
#[derive(Debug, Clone)]
pub struct ConnectTo {
    pub(crate) peer: Peer,
    pub(crate) config: Option<Config>,
}

impl ConnectTo {
    /// A peer with these addresses and this port. They are tried in their order; the first that answers
    /// is the primary path. How packets travel is found out: native SCTP where raw IP is permitted, and UDP port 9899 of the peer.
    pub fn new(addresses: impl IntoIterator<Item = impl Into<Address>>, port: u16) -> Self {
        let addresses = addresses.into_iter().map(Into::into).collect();
        let encapsulation = Encapsulation::Both(crate::ENCAPSULATION_PORT);
        Self { peer: Peer { addresses, port, encapsulation }, config: None }
    }

    /// How packets travel.
    #[must_use]
    pub fn encapsulation(mut self, encapsulation: Encapsulation) -> Self {
        self.peer.encapsulation = encapsulation;
        self
    }

    /// In UDP, to this port of the peer (RFC 6951), and no other way.
    #[must_use]
    pub fn encap_port(self, port: u16) -> Self {
        self.encapsulation(Encapsulation::Udp(port))
    }

    /// Parameters of this association, instead of those of its endpoint. What [`Config::lint`] says of them is logged.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Logs what will not work well.
    fn lint(&self, core: &Core) {
        let Some(config) = &self.config else { return };
        let warnings = lint::warnings(config, &core.backend, &core.addresses, self.peer.addresses.len());
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    }
}

/// Makes an association and waits until it is up.
pub(crate) async fn connect(core: &Arc<Core>, to: ConnectTo, sink: Sink) -> Result<Association, ConnectError> {
    to.lint(core);
    let handle = core.lightest().with(|state, now| {
        let endpoint = state.endpoints.get_mut(&core.key).filter(|endpoint| !endpoint.closed);
        let Some(endpoint) = endpoint else {
            return Err(ConnectError::Invalid(esock_proto::ConnectError::NoEndpoint));
        };
        if state.failed {
            return Err(ConnectError::Closed(CloseReason::EndpointClosed));
        }
        let assoc = state.transport.connect(now, endpoint.id, &to.peer, to.config).map_err(ConnectError::Invalid)?;
        let id = state.links.insert(core.key, Some(assoc), sink);
        endpoint.members.insert(id);
        state.count_in(sink);
        state.handle(core, id).ok_or(ConnectError::Closed(CloseReason::EndpointClosed))
    })?;
    let association = Association::new(handle);
    association.connected().await.map_err(ConnectError::Closed)?;
    Ok(association)
}

/// Makes a supervised association.
pub(crate) fn supervise(
    core: &Arc<Core>,
    to: ConnectTo,
    policy: Supervision,
    sink: Sink,
) -> Result<Association, ConnectError> {
    to.lint(core);
    if core.supervises(&to.peer) {
        return Err(ConnectError::Invalid(esock_proto::ConnectError::Exists));
    }
    core.lightest().with(|state, now| {
        let id = state.supervise(now, core, to, policy, sink)?;
        state.count_in(sink);
        let handle = state.handle(core, id).ok_or(ConnectError::Closed(CloseReason::EndpointClosed))?;
        Ok(Association::new(handle))
    })
}

impl Association {
    /// Waits until it is up, and says what was agreed on; at once if it is. The error says why it has ended. For
    /// supervised associations; others are up from the beginning.
    ///
    /// Cancel safe.
    pub async fn connected(&self) -> Result<crate::Negotiated, CloseReason> {
        let shard = self.shard();
        let mut place = Place::new(shard, For::Change(self.id()));
        poll_fn(|cx| {
            let mut state = shard.lock();
            let Some(link) = state.links.get(self.id()) else {
                return Poll::Ready(Err(CloseReason::EndpointClosed));
            };
            match (&link.up, &link.closed) {
                (Some(negotiated), _) => Poll::Ready(Ok(*negotiated)),
                (None, Some(reason)) => Poll::Ready(Err(reason.clone())),
                (None, None) => {
                    place.wait(&mut state, cx);
                    Poll::Pending
                }
            }
        })
        .await
    }
}
