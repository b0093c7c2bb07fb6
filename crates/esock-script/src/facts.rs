//! What the stack tells its user, as names and values that a script can ask for.

use crate::syntax::Argument;
use crate::value::{Expr, Names, Value};
use esock_proto::{
    AssociationStats, CloseReason, Event, Message, Negotiated, PathState, PathStats, StackStats, State, Undelivered,
};

/// Facts of one thing.
pub type Facts = Vec<(&'static str, Value)>;

/// Compares what a script says with facts; a name that stands for nothing takes its value.
pub fn check(arguments: &[Argument], facts: &Facts, names: &mut Names) -> Result<(), String> {
    for argument in arguments {
        let Some(key) = &argument.key else { return Err(format!("{} has no name: write name=value", argument.value)) };
        let known = || facts.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let (_, actual) = facts
            .iter()
            .find(|(name, _)| name == key)
            .ok_or_else(|| format!("there is no {key}; there are {}", known()))?;
        if let Expr::Name(name, 0) = &argument.value
            && names.get(name).is_none()
        {
            names.set(name, actual.clone());
            continue;
        }
        let wanted = names.eval(&argument.value)?;
        if !wanted.accepts(actual) {
            return Err(format!("{key} is {actual}, not {wanted}"));
        }
    }
    Ok(())
}

/// Facts in the notation of scripts.
pub fn show(name: &str, facts: &Facts) -> String {
    facts.iter().fold(name.to_owned(), |shown, (name, value)| format!("{shown} {name}={value}"))
}

fn num(number: impl TryInto<i64>) -> Value {
    Value::Num(number.try_into().unwrap_or(i64::MAX))
}

fn word(word: &str) -> Value {
    Value::Word(word.to_owned())
}

fn yes(yes: bool) -> Value {
    word(if yes { "yes" } else { "no" })
}

pub fn state(state: State) -> &'static str {
    match state {
        State::CookieWait => "cookie_wait",
        State::CookieEchoed => "cookie_echoed",
        State::Established => "established",
        State::ShutdownPending => "shutdown_pending",
        State::ShutdownSent => "shutdown_sent",
        State::ShutdownReceived => "shutdown_received",
        State::ShutdownAckSent => "shutdown_ack_sent",
        State::Closed => "closed",
    }
}

fn path_state(state: PathState) -> Value {
    word(match state {
        PathState::Unconfirmed => "unconfirmed",
        PathState::Active => "active",
        PathState::PotentiallyFailed => "potentially_failed",
        PathState::Inactive => "inactive",
    })
}

/// An event's name and facts.
pub fn event(event: &Event) -> (&'static str, Facts) {
    match event {
        Event::Up(negotiated) => ("up", agreed(negotiated)),
        Event::Readable => ("readable", Vec::new()),
        Event::Writable => ("writable", Vec::new()),
        Event::Path { remote, state, .. } => {
            ("path", vec![("remote", Value::Address(remote.ip())), ("state", path_state(*state))])
        }
        Event::PathInUse { remote, .. } => ("path_in_use", vec![("remote", Value::Address(remote.ip()))]),
        Event::Restarted(negotiated) => ("restarted", agreed(negotiated)),
        Event::ShutdownReceived => ("shutdown_received", Vec::new()),
        Event::PeerError { cause, info } => {
            ("peer_error", vec![("cause", num(*cause)), ("info", Value::Bytes(info.to_vec()))])
        }
        Event::Undelivered(message) => ("undelivered", undelivered(message)),
        Event::Expired(message) => ("expired", undelivered(message)),
        Event::Drained => ("drained", Vec::new()),
        Event::Closed(reason) => ("closed", closed(reason)),
        other => ("other", vec![("debug", Value::Bytes(format!("{other:?}").into_bytes()))]),
    }
}

fn agreed(negotiated: &Negotiated) -> Facts {
    let mut facts = vec![
        ("out", num(negotiated.outbound_streams)),
        ("in", num(negotiated.inbound_streams)),
        ("peer_rwnd", num(negotiated.peer_rwnd)),
    ];
    if let Some(adaptation) = negotiated.adaptation {
        facts.push(("adaptation", num(adaptation)));
    }
    facts
}

fn undelivered(message: &Undelivered) -> Facts {
    vec![
        ("data", Value::Bytes(message.payload.to_vec())),
        ("len", num(message.payload.len())),
        ("maybe_received", yes(message.maybe_received)),
        ("stream", num(message.options.stream.0)),
        ("ppid", num(message.options.ppid.0)),
        ("context", num(message.options.context)),
    ]
}

fn closed(reason: &CloseReason) -> Facts {
    let (name, cause, info) = match reason {
        CloseReason::Shutdown => ("shutdown", None, None),
        CloseReason::LocalAbort => ("local_abort", None, None),
        CloseReason::PeerAbort { cause, info } => ("peer_abort", *cause, Some(info.to_vec())),
        CloseReason::Refused { cause, info } => ("refused", *cause, Some(info.to_vec())),
        CloseReason::TimedOut => ("timed_out", None, None),
        CloseReason::ProtocolViolation { cause, detail } => {
            ("protocol_violation", Some(*cause), Some(detail.as_bytes().to_vec()))
        }
        CloseReason::MessageTooLarge => ("message_too_large", None, None),
        CloseReason::Unreachable => ("unreachable", None, None),
        CloseReason::EndpointClosed => ("endpoint_closed", None, None),
        _ => ("other", None, None),
    };
    let mut facts = vec![("reason", word(name))];
    facts.extend(cause.map(|cause| ("cause", num(cause))));
    facts.extend(info.map(|info| ("info", Value::Bytes(info))));
    facts
}

pub fn message(message: &Message) -> Facts {
    vec![
        ("data", Value::Bytes(message.payload.to_vec())),
        ("len", num(message.payload.len())),
        ("stream", num(message.stream.0)),
        ("ppid", num(message.ppid.0)),
        ("ssn", num(message.ssn.0)),
        ("tsn", num(message.tsn.0)),
        ("unordered", yes(message.unordered)),
    ]
}

pub fn association(stats: &AssociationStats) -> Facts {
    let counters = &stats.counters;
    let primary =
        stats.paths.iter().find(|path| path.primary).map_or(Value::Any, |path| Value::Address(path.remote.ip()));
    vec![
        ("state", word(state(stats.state))),
        ("out", num(stats.negotiated.outbound_streams)),
        ("in", num(stats.negotiated.inbound_streams)),
        ("primary", primary),
        ("paths", num(stats.paths.len())),
        ("peer_rwnd", num(stats.peer_rwnd)),
        ("a_rwnd", num(stats.a_rwnd)),
        ("in_flight", num(stats.in_flight)),
        ("queued", num(stats.queued)),
        ("send_buffered", num(stats.send_buffered)),
        ("receive_buffered", num(stats.receive_buffered)),
        ("ready", num(stats.ready_messages)),
        ("errors", num(stats.error_count)),
        ("discarded", num(counters.packets_discarded)),
        ("retransmissions", num(counters.retransmissions)),
        ("fast_retransmissions", num(counters.fast_retransmissions)),
        ("t3_timeouts", num(counters.t3_timeouts)),
        ("duplicates", num(counters.duplicates_received)),
        ("window_drops", num(counters.window_drops)),
        ("window_probes", num(counters.window_probes)),
        ("reneged", num(counters.reneged)),
        ("restarts", num(counters.restarts)),
    ]
}

pub fn path(path: &PathStats) -> Facts {
    vec![
        ("remote", Value::Address(path.remote.ip())),
        ("state", path_state(path.state)),
        ("primary", yes(path.primary)),
        ("rto", Value::Time(path.rto)),
        ("srtt", path.srtt.map_or(word("none"), Value::Time)),
        ("rttvar", Value::Time(path.rttvar)),
        ("cwnd", num(path.cwnd)),
        ("ssthresh", num(path.ssthresh)),
        ("in_flight", num(path.in_flight)),
        ("mtu", num(path.mtu)),
        ("errors", num(path.error_count)),
        ("udp", path.encap_port.map_or(word("native"), num)),
    ]
}

pub fn stack(stats: &StackStats) -> Facts {
    vec![
        ("associations", num(stats.associations)),
        ("associations_total", num(stats.associations_total)),
        ("malformed", num(stats.malformed)),
        ("bad_checksum", num(stats.bad_checksum)),
        ("out_of_the_blue", num(stats.out_of_the_blue)),
        ("ootb_replies", num(stats.ootb_replies)),
        ("init_acks", num(stats.init_acks_sent)),
        ("bad_cookies", num(stats.bad_cookies)),
        ("stale_cookies", num(stats.stale_cookies)),
    ]
}
