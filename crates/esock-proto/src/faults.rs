//! Faults on purpose, for the feature `faults`: they show that the properties of the simulation bite.
//! Without the feature every question is answered no at compile time.

/// A fault in the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Gap ack blocks are read one TSN too high.
    GapBlocksOffByOne,
    /// What the peer takes back stays acknowledged.
    RenegingIgnored,
    /// T3-rtx is never started.
    T3NotStarted,
    /// Acknowledged chunks stay in the flight size.
    FlightNotReduced,
    /// Duplicates of unordered messages are delivered again.
    DuplicateDelivered,
    /// The stream sequence number that is expected does not move.
    SsnNotAdvanced,
    /// A closed window is not probed.
    WindowNotProbed,
    /// The last fragment of a message lacks the E bit.
    EndFlagMissing,
    /// What is sent again is not counted as in flight.
    RetransmissionNotInFlight,
    /// The association's error count is never cleared.
    ErrorsNotCleared,
    /// One unacknowledged message is forgotten when the association ends.
    UndeliveredSwallowed,
    /// Every message comes back as never sent.
    MaybeReceivedLies,
    /// Ordered messages are sent unordered.
    OrderForgotten,
    /// The receive window is not enforced.
    WindowNotEnforced,
    /// What there is no room for is acknowledged.
    DroppedAcknowledged,
    /// A restarted peer's streams go on where the old ones were.
    RestartKeepsStreams,
    /// SHUTDOWN is sent while messages are under way.
    ShutdownTooEarly,
    /// Black holes of the path MTU are not noticed.
    MtuNeverFalls,
}

/// Which fault there is, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults(#[cfg(feature = "faults")] Option<Fault>);

impl Faults {
    /// This one.
    #[cfg(feature = "faults")]
    pub fn of(fault: Fault) -> Self {
        Self(Some(fault))
    }

    /// Whether there is this fault.
    #[cfg(feature = "faults")]
    pub(crate) fn has(self, fault: Fault) -> bool {
        self.0 == Some(fault)
    }

    /// Whether there is this fault: no.
    #[cfg(not(feature = "faults"))]
    pub(crate) const fn has(self, _: Fault) -> bool {
        false
    }
}
