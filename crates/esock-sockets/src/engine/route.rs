//! How large packets may be, and where they leave from: what the host's routes say, as a kernel does without probes of its own.

use super::Engine;
use esock_io::route;
use esock_proto::{Address, AssocId, PathParameters, Time};

impl Engine {
    /// Has the paths of an association follow the host's routes, those that it has learnt since the last time too.
    pub(super) fn follow_routes(&mut self, now: Time, id: AssocId) {
        let Some(held) = self.associations.get_mut(&id) else { return };
        // Probes find it out themselves, and what was fixed stays.
        if held.settings.config.pmtud || held.settings.config.initial_mtu != 0 {
            return;
        }
        let Some(stats) = self.driver.stack().association(now, id) else { return };
        for path in stats.paths {
            let fixed = held.settings.path_settings(path.remote).fixed_mtu().is_some();
            if fixed || !held.routed.insert(path.remote) {
                continue;
            }
            let Some(route) = route(path.local, path.remote) else { continue };
            if path.primary
                && let Some(socket) = held.socket.and_then(|socket| self.sockets.get_mut(&socket))
            {
                socket.source = route.source.or(socket.source);
            }
            let Some(mtu) = route.mtu else { continue };
            let mut parameters = PathParameters::default();
            parameters.mtu = Some(u16::try_from(mtu).unwrap_or(u16::MAX).min(held.settings.config.max_mtu));
            // The path is there: it was among the association's just now.
            let _ = self.driver.stack_mut().set_path_parameters(now, id, path.id, parameters);
        }
    }

    /// The MTU of a path, or of all, is not fixed any more: it is what the host's route says again.
    pub(crate) fn follow_routes_again(&mut self, now: Time, id: AssocId, only: Option<Address>) {
        let Some(held) = self.associations.get_mut(&id) else { return };
        held.settings.config.initial_mtu = 0;
        held.routed.retain(|remote| only.is_some_and(|only| *remote != only));
        self.follow_routes(now, id);
    }
}
