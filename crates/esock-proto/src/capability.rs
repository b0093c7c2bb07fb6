//! What a backend can do.

use std::fmt;

macro_rules! capabilities {
    ($($(#[$doc:meta])* $name:ident = $what:literal;)*) => {
        /// Something that one backend can do and another cannot. What a backend cannot do is refused with an
        /// error that names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Capability { $($(#[$doc])* $name),* }

        impl Capability {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }

        impl fmt::Display for Capability {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $what),* })
            }
        }
    };
}

capabilities! {
    /// A message arrives as it was sent, not as a piece of a stream of bytes.
    MessageBoundaries = "message boundaries";
    /// More streams than stream 0.
    Streams = "streams";
    /// Payload protocol identifiers.
    Ppid = "payload protocol identifiers";
    /// Unordered messages (RFC 9260 §6.6).
    Unordered = "unordered messages";
    /// Messages that are handed over in pieces as they arrive (RFC 9260 §6.9).
    PartialDelivery = "messages in pieces";
    /// Messages that are given up when they have waited for too long (RFC 9260 §11.1.5 e).
    Lifetime = "lifetimes of messages";
    /// Several addresses per end, and paths that are watched one by one (RFC 9260 §6.4).
    MultiHoming = "multi-homing";
    /// Choosing the primary path (RFC 9260 §11.1.5).
    PrimaryPath = "choosing the primary path";
    /// Choosing the path of one message (RFC 9260 §11.1.5).
    MessagePath = "choosing the path of a message";
    /// Parameters of one path.
    PathParameters = "parameters of one path";
    /// HEARTBEATs on request (RFC 9260 §11.1.8).
    RequestHeartbeat = "heartbeats on request";
    /// A reason that the peer is told with an abort (RFC 9260 §3.3.10.12).
    AbortReason = "abort reasons";
    /// An adaptation indication (RFC 5061 §4.2.6).
    Adaptation = "adaptation indications";
    /// The peer's restart is noticed and the association goes on (RFC 9260 §5.2.4 A).
    Restart = "restarts of the peer";
    /// A peer is asked about before any state is kept for it, and an unanswered one hears nothing.
    StatelessAccept = "accepting without state";
    /// Choosing congestion control, loss recovery and pacing.
    CongestionControl = "choosing congestion control";
    /// UDP encapsulation, chosen per association (RFC 6951).
    Encapsulation = "UDP encapsulation";
    /// Packets can be blocked, dropped and delayed on purpose.
    Impairment = "impairment of packets";
}

/// A set of [`Capability`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Capabilities(u32);

impl Capabilities {
    /// Everything.
    pub fn all() -> Self {
        Capability::ALL.iter().copied().collect()
    }

    /// Whether it has this one.
    pub fn has(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u32) != 0
    }

    /// The same without one.
    #[must_use]
    pub fn without(self, capability: Capability) -> Self {
        Self(self.0 & !(1 << capability as u32))
    }

    /// Those it has.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.iter().copied().filter(move |capability| self.has(*capability))
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<T: IntoIterator<Item = Capability>>(all: T) -> Self {
        Self(all.into_iter().fold(0, |set, capability| set | (1 << capability as u32)))
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_in_and_nothing_else() {
        let set: Capabilities = [Capability::Streams, Capability::Ppid].into_iter().collect();
        assert!(set.has(Capability::Ppid) && !set.has(Capability::Unordered));
        assert_eq!(set.without(Capability::Ppid).iter().collect::<Vec<_>>(), [Capability::Streams]);
        assert_eq!(Capabilities::all().iter().count(), Capability::ALL.len());
    }
}
