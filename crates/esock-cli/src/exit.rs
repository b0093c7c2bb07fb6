//! Exit codes, and errors that carry one.

use esock::CloseReason;
use std::fmt;
use std::process::ExitCode;

/// How the command ends; documented in its help and in the README.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Well = 0,
    /// An error that has no code of its own.
    Other = 1,
    /// The command line was wrong.
    Usage = 2,
    /// The peer said no, or nobody listens there.
    Refused = 3,
    /// No answer, or the peer fell silent.
    TimedOut = 4,
    /// The peer sent ABORT.
    Aborted = 5,
    /// We sent ABORT because of what the peer did.
    AbortedByUs = 6,
    /// Interrupted twice, or before there was an association.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// The exit code for an association that ended.
    pub fn of(reason: &CloseReason) -> Self {
        match reason {
            CloseReason::Shutdown => Self::Well,
            CloseReason::Refused { .. } | CloseReason::Unreachable => Self::Refused,
            CloseReason::TimedOut => Self::TimedOut,
            CloseReason::PeerAbort { .. } => Self::Aborted,
            // Nothing else makes this command abort.
            CloseReason::LocalAbort => Self::Interrupted,
            CloseReason::ProtocolViolation { .. } | CloseReason::MessageTooLarge => Self::AbortedByUs,
            _ => Self::Other,
        }
    }
}

/// Why the command failed: for people, and for scripts.
#[derive(Debug)]
pub struct Failure {
    /// For scripts.
    pub exit: Exit,
    message: String,
}

impl Failure {
    /// A failure with its exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
