//! Paths.

use crate::state::State;
use crate::{Address, Association, PathError, PathId, PathParameters, PathState, PathStats};
use esock_proto::{AssocId, Time};

/// One address of the peer, and the way there.
#[derive(Debug, Clone)]
pub struct Path {
    association: Association,
    id: PathId,
}

impl Path {
    pub(crate) fn new(association: Association, id: PathId) -> Self {
        Self { association, id }
    }

    /// Its number, as in events.
    pub fn id(&self) -> PathId {
        self.id
    }

    /// The path at a glance; `None` if it has gone: a restarted peer may have fewer.
    pub fn stats(&self) -> Option<PathStats> {
        self.association.stats()?.paths.into_iter().find(|path| path.id == self.id)
    }

    /// The peer's address.
    pub fn remote(&self) -> Option<Address> {
        self.stats().map(|stats| stats.remote)
    }

    /// Its state.
    pub fn state(&self) -> Option<PathState> {
        self.stats().map(|stats| stats.state)
    }

    fn with(&self, command: impl FnOnce(&mut State, Time, AssocId) -> Result<(), PathError>) -> Result<(), PathError> {
        let id = self.association.id();
        self.association.with(|state, now| {
            let assoc = state.assoc(id).ok_or(PathError::NotFound)?;
            command(state, now, assoc)
        })
    }

    /// Makes it the primary path: data goes over it while it works (RFC 9260 §11.1.5).
    pub fn set_primary(&self) -> Result<(), PathError> {
        self.with(|state, now, assoc| state.transport.set_primary(now, assoc, self.id))
    }

    /// Changes its parameters; what is `None` stays as it is.
    pub fn set_parameters(&self, parameters: PathParameters) -> Result<(), PathError> {
        self.with(|state, now, assoc| state.transport.set_path_parameters(now, assoc, self.id, parameters))
    }

    /// Sends a HEARTBEAT over it now (RFC 9260 §11.1.8).
    pub fn request_heartbeat(&self) -> Result<(), PathError> {
        self.with(|state, now, assoc| state.transport.request_heartbeat(now, assoc, self.id))
    }
}
