//! What happens on an association, in words.

use esock::{CloseReason, Event, Negotiated, PathState, PathStats, Protocol, State};
use std::time::Duration;

/// An event as a line for people; `None` for those that only matter to programs.
pub fn event(event: &Event) -> Option<String> {
    Some(match event {
        Event::Up(negotiated) => format!("up: {}", streams(negotiated)),
        Event::Path { remote, state, .. } => match state {
            PathState::Active => format!("path up: {remote}"),
            PathState::Inactive => format!("path down: {remote}"),
            PathState::PotentiallyFailed => format!("path in doubt: {remote} (potentially failed)"),
            PathState::Unconfirmed => format!("path unconfirmed: {remote}"),
        },
        Event::PathInUse { remote, .. } => format!("data now goes over {remote}"),
        Event::Restarted(negotiated) => {
            format!("restart: the peer began anew, {}", streams(negotiated))
        }
        Event::ShutdownReceived => "shutdown: the peer wants to end".to_owned(),
        Event::PeerError { cause: code, info } => {
            format!("the peer reported an error: {}", with_info(&cause(*code), info))
        }
        Event::Undelivered(message) => format!(
            "not delivered: {} bytes on stream {} ({})",
            message.payload.len(),
            message.options.stream.0,
            if message.maybe_received { "the peer may have received them" } else { "never sent" }
        ),
        Event::Closed(reason) => format!("ended: {}", close_reason(reason)),
        _ => return None,
    })
}

/// Why an association ended.
pub fn close_reason(reason: &CloseReason) -> String {
    match reason {
        CloseReason::Shutdown => "shutdown".to_owned(),
        CloseReason::LocalAbort => "abort by us".to_owned(),
        CloseReason::PeerAbort { cause, info } => {
            format!("abort by the peer{}", because(*cause, info))
        }
        CloseReason::Refused { cause, info } => {
            format!("refused by the peer{}", because(*cause, info))
        }
        CloseReason::TimedOut => "timed out: the peer does not answer".to_owned(),
        CloseReason::ProtocolViolation { cause: code, detail } => {
            format!("abort by us: the peer broke the protocol ({}: {detail})", cause(*code))
        }
        CloseReason::MessageTooLarge => "abort by us: the peer sent a message larger than we receive".to_owned(),
        CloseReason::Unreachable => "refused: nobody listens there (ICMP unreachable)".to_owned(),
        CloseReason::EndpointClosed => "the endpoint was closed".to_owned(),
        other => format!("{other:?}"),
    }
}

/// What is spoken, as it is written in texts.
pub fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        _ => "SCTP",
    }
}

/// The streams that were agreed on.
pub fn streams(negotiated: &Negotiated) -> String {
    format!("{} streams out, {} in", negotiated.outbound_streams, negotiated.inbound_streams)
}

/// The name of an error cause (RFC 9260 §3.3.10).
pub fn cause(code: u16) -> String {
    let name = match code {
        1 => "Invalid Stream Identifier",
        2 => "Missing Mandatory Parameter",
        3 => "Stale Cookie",
        4 => "Out of Resource",
        5 => "Unresolvable Address",
        6 => "Unrecognized Chunk Type",
        7 => "Invalid Mandatory Parameter",
        8 => "Unrecognized Parameters",
        9 => "No User Data",
        10 => "Cookie Received While Shutting Down",
        11 => "Restart of an Association with New Addresses",
        12 => "User-Initiated Abort",
        13 => "Protocol Violation",
        _ => return format!("cause {code}"),
    };
    name.to_owned()
}

fn because(code: Option<u16>, info: &[u8]) -> String {
    match code {
        Some(code) => format!(": {}", with_info(&cause(code), info)),
        None => String::new(),
    }
}

fn with_info(name: &str, info: &[u8]) -> String {
    if info.is_empty() { name.to_owned() } else { format!("{name}, \"{}\"", printable(info)) }
}

/// Bytes of a peer, safe for a terminal and of bounded length.
fn printable(bytes: &[u8]) -> String {
    const MOST: usize = 200;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)]);
    let mut shown: String = text.chars().flat_map(char::escape_debug).collect();
    if bytes.len() > MOST {
        shown.push_str("...");
    }
    shown
}

/// The name of an association's state.
pub fn state(state: State) -> &'static str {
    match state {
        State::CookieWait => "cookie-wait",
        State::CookieEchoed => "cookie-echoed",
        State::Established => "established",
        State::ShutdownPending => "shutdown-pending",
        State::ShutdownSent => "shutdown-sent",
        State::ShutdownReceived => "shutdown-received",
        State::ShutdownAckSent => "shutdown-ack-sent",
        State::Closed => "closed",
    }
}

/// The name of a path's state.
pub fn path_state(state: PathState) -> &'static str {
    match state {
        PathState::Unconfirmed => "unconfirmed",
        PathState::Active => "active",
        PathState::PotentiallyFailed => "potentially failed",
        PathState::Inactive => "inactive",
    }
}

/// A path, and how packets travel over it.
pub fn path(path: &PathStats) -> String {
    let over = match path.encap_port {
        Some(port) => format!("in UDP to port {port}"),
        None => "native".to_owned(),
    };
    let primary = if path.primary { " (primary)" } else { "" };
    let state = path_state(path.state);
    format!("path to {}{primary}: {state}, {over}, MTU {}", path.remote, path.mtu)
}

/// A duration with three digits that matter.
pub fn duration(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    match micros {
        ..1e3 => format!("{micros:.0} µs"),
        ..1e4 => format!("{:.2} ms", micros / 1e3),
        ..1e5 => format!("{:.1} ms", micros / 1e3),
        ..1e6 => format!("{:.0} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// A count with its thousands apart.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abort_names_its_cause_and_quotes_its_reason_safely() {
        let reason = CloseReason::PeerAbort { cause: Some(12), info: b"\x1b[2Jgo away"[..].into() };
        let words = close_reason(&reason);
        assert_eq!(words, "abort by the peer: User-Initiated Abort, \"\\u{1b}[2Jgo away\"");
    }

    #[test]
    fn a_long_reason_is_cut() {
        assert_eq!(printable(&[b'x'; 9000]).len(), 203);
    }

    #[test]
    fn figures_read_well() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(999), "999");
        assert_eq!(duration(Duration::from_micros(210)), "210 µs");
        assert_eq!(duration(Duration::from_micros(1500)), "1.50 ms");
        assert_eq!(duration(Duration::from_millis(2500)), "2.50 s");
    }
}
