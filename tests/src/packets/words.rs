//! The statements of packet scripts over sockets that are words: socket calls, by a puppet.

use super::live::Live;
use super::rig::{Done, hex, report};
use esock_script::{Argument, Expr, Value};

/// All of them, but for `established` and `set`.
pub(super) const WORDS: &[&str] = &[
    "sysctl", "ipv6", "socket", "bind", "listen", "connect", "accept", "close", "shutdown", "write", "read", "pending",
    "rto", "initmsg", "paddr", "option", "nothing", "icmp", "sendto",
];

/// The puppet's port, where a script binds.
pub(super) const PORT: u16 = 5000;

const SOL_SCTP: i32 = 132;
const SCTP_RTOINFO: i32 = 0;
const SCTP_INITMSG: i32 = 2;
const SCTP_PEER_ADDR_PARAMS: i32 = 9;

/// What a statement comes to.
pub(super) struct Call {
    pub command: String,
    pub wants: Wants,
    pub becomes: Becomes,
}

/// What its result has to be.
pub(super) struct Wants {
    result: Option<i64>,
    error: i32,
    bytes: Option<Vec<u8>>,
}

/// What its result is from then on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Becomes {
    Nothing,
    Socket,
    Accepted,
    Listener,
    Closed,
    ListenerClosed,
}

/// By name, as Linux numbers them.
const ERRORS: &[(&str, i32)] = &[
    ("none", 0),
    ("EAGAIN", 11),
    ("EINVAL", 22),
    ("EPIPE", 32),
    ("EPROTO", 71),
    ("ENOPROTOOPT", 92),
    ("EADDRINUSE", 98),
    ("ECONNABORTED", 103),
    ("ECONNRESET", 104),
    ("EISCONN", 106),
    ("ENOTCONN", 107),
    ("ESHUTDOWN", 108),
    ("ETIMEDOUT", 110),
    ("ECONNREFUSED", 111),
    ("EHOSTUNREACH", 113),
    ("EINPROGRESS", 115),
];

pub(super) fn error_name(number: i32) -> String {
    let known = ERRORS.iter().find(|known| known.1 == number);
    known.map_or_else(|| format!("errno {number}"), |known| known.0.to_owned())
}

fn error_named(name: &str) -> Result<i32, String> {
    ERRORS.iter().find(|known| known.0 == name).map(|known| known.1).ok_or(format!("there is no error {name}"))
}

impl Wants {
    fn result(result: i64) -> Self {
        Self { result: Some(result), error: 0, bytes: None }
    }

    pub fn check(&self, done: &Done) -> Result<(), String> {
        let result = if self.error != 0 { Some(-1) } else { self.result };
        if done.error != self.error {
            return Err(format!("its error is {}, not {}", error_name(done.error), error_name(self.error)));
        }
        if result.is_some_and(|result| result != done.result) || (result.is_none() && done.result < 0) {
            return Err(format!("its result is {}", done.result));
        }
        match &self.bytes {
            Some(bytes) if *bytes != done.bytes => {
                let error = done.bytes.first_chunk().map_or(-1, |bytes| i32::from_ne_bytes(*bytes));
                Err(format!("it tells {}", error_name(error)))
            }
            _ => Ok(()),
        }
    }
}

/// What stands behind a word.
struct Given {
    alone: Vec<Value>,
    named: Vec<(String, Value)>,
}

impl Given {
    fn new(live: &Live, arguments: &[Argument]) -> Result<Self, String> {
        let mut given = Self { alone: Vec::new(), named: Vec::new() };
        for argument in arguments {
            let value = live.dialogue.names.eval(&argument.value)?;
            match &argument.key {
                Some(key) => given.named.push((key.clone(), value)),
                None => given.alone.push(value),
            }
        }
        Ok(given)
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.named.iter().find(|(key, _)| key == name).and_then(|(_, value)| match value {
            Value::Num(number) => Some(*number),
            _ => None,
        })
    }

    /// A number of eight bits.
    fn count(&self, name: &str) -> Result<u8, String> {
        self.number(name).and_then(|number| number.try_into().ok()).ok_or(format!("{name} is wanted"))
    }

    fn word(&self, name: &str) -> Option<&str> {
        self.named.iter().find(|(key, _)| key == name).and_then(|(_, value)| match value {
            Value::Word(word) => Some(word.as_str()),
            _ => None,
        })
    }

    fn first_number(&self) -> Result<i64, String> {
        match self.alone.first() {
            Some(Value::Num(number)) => Ok(*number),
            _ => Err("a number is wanted".to_owned()),
        }
    }

    fn has(&self, word: &str) -> bool {
        self.alone.contains(&Value::Word(word.to_owned()))
    }
}

/// `sysctl NAME=VALUE ...`.
pub(super) fn settings(arguments: &[Argument]) -> Result<Vec<String>, String> {
    let setting = |argument: &Argument| match (&argument.key, &argument.value) {
        (Some(key), Expr::Value(value)) => Ok(format!("net.sctp.{key}={value}")),
        _ => Err("sysctl takes NAME=VALUE".to_owned()),
    };
    arguments.iter().map(setting).collect()
}

/// What a word has the puppet do.
pub(super) fn call(live: &Live, word: &str, arguments: &[Argument]) -> Result<Call, String> {
    let given = Given::new(live, arguments)?;
    let both = || live.socket.or(live.listener).ok_or("there is no socket");
    let listener = || live.listener.or(live.socket).ok_or("there is no listening socket");
    let (ours, peer) = (live.dialogue.ends.addresses[0], live.dialogue.ends.peer[0]);
    let mut wants = Wants::result(0);
    let mut becomes = Becomes::Nothing;
    let command = match word {
        "socket" => {
            // Nothing is to hang: every socket is non-blocking.
            let kind = if given.has("many") { 5 } else { 1 } | 0o4000;
            (wants.result, becomes) = (None, Becomes::Socket);
            format!("socket {} {kind}", if ours.is_ipv4() { 2 } else { 10 })
        }
        "bind" if given.has("any") => {
            format!("bind {} {} {PORT}", both()?, if ours.is_ipv4() { "0.0.0.0" } else { "::" })
        }
        "bind" => format!("bind {} {ours} {PORT}", both()?),
        "listen" => {
            becomes = Becomes::Listener;
            format!("listen {} {}", both()?, given.number("backlog").unwrap_or(1))
        }
        "connect" => {
            wants.error = error_named("EINPROGRESS")?;
            format!("connect {} {peer} {}", both()?, live.dialogue.ends.peer_port)
        }
        "accept" => {
            (wants.result, becomes) = (None, Becomes::Accepted);
            format!("accept {}", listener()?)
        }
        "close" if given.has("listener") => {
            becomes = Becomes::ListenerClosed;
            format!("close {}", listener()?)
        }
        "close" => {
            becomes = Becomes::Closed;
            format!("close {}", both()?)
        }
        "shutdown" => {
            let how = if given.has("rdwr") { 2 } else { i64::from(!given.has("rd")) };
            format!("shutdown {} {how}", both()?)
        }
        "write" => {
            wants.result = Some(given.first_number()?);
            format!("write {} {}", both()?, given.first_number()?)
        }
        "sendto" => {
            wants.result = Some(given.first_number()?);
            let port = live.dialogue.ends.peer_port;
            format!("sendto {} {} {peer} {port}", both()?, given.first_number()?)
        }
        "read" => {
            wants.result = Some(given.first_number()?);
            format!("read {} 65536", both()?)
        }
        "pending" => {
            let Some(Value::Word(name)) = given.alone.first() else { return Err("pending takes an error".into()) };
            wants.bytes = Some(error_named(name)?.to_ne_bytes().to_vec());
            format!("getsockopt {} 1 4 00000000", both()?)
        }
        "icmp" => {
            // Of the last packet that left.
            let about = live.sent.as_ref().ok_or("nothing has left")?;
            wants.result = None;
            report(given.count("type")?, given.count("code")?, about)
        }
        "rto" | "initmsg" | "paddr" | "option" => set_option(both()?, word, &given)?,
        _ => return Err(format!("`{word}` cannot stand here")),
    };
    if let Some(name) = given.word("error") {
        wants.error = error_named(name)?;
        becomes = Becomes::Nothing;
    }
    if let Some(result) = given.number("result") {
        wants.result = Some(result);
    }
    Ok(Call { command, wants, becomes })
}

/// The options that scripts set.
fn set_option(socket: i64, word: &str, given: &Given) -> Result<String, String> {
    let number = |name: &str| given.number(name).unwrap_or(0);
    let mut value = Vec::new();
    let (level, option) = match word {
        "rto" => {
            for number in [0, number("initial"), number("max"), number("min")] {
                value.extend((number as u32).to_ne_bytes());
            }
            (SOL_SCTP, SCTP_RTOINFO)
        }
        "initmsg" => {
            for number in [number("out"), number("in"), number("attempts"), number("timeout")] {
                value.extend((number as u16).to_ne_bytes());
            }
            (SOL_SCTP, SCTP_INITMSG)
        }
        "paddr" => {
            // struct sctp_paddrparams: packed, so that the MTU stands right behind the retransmissions.
            value.resize(4 + 128, 0);
            value.extend((number("hbinterval") as u32).to_ne_bytes());
            value.extend((number("pathmaxrxt") as u16).to_ne_bytes());
            value.extend((number("pathmtu") as u32).to_ne_bytes());
            value.extend((number("sackdelay") as u32).to_ne_bytes());
            value.extend((number("flags") as u32).to_ne_bytes());
            value.resize(156, 0);
            (SOL_SCTP, SCTP_PEER_ADDR_PARAMS)
        }
        _ => match given.alone.as_slice() {
            [Value::Num(level), Value::Num(option), Value::Bytes(bytes)] => {
                value.clone_from(bytes);
                (*level as i32, *option as i32)
            }
            _ => return Err("option takes a level, a number and bytes".to_owned()),
        },
    };
    Ok(format!("setsockopt {socket} {level} {option} {}", hex(&value)))
}

/// Notes what a call has made.
pub(super) fn became(live: &mut Live, becomes: Becomes, result: i64) {
    match becomes {
        Becomes::Nothing => {}
        Becomes::Socket | Becomes::Accepted => live.socket = Some(result),
        Becomes::Listener => (live.listener, live.socket) = (live.socket.take(), None),
        Becomes::Closed if live.socket.is_none() => live.listener = None,
        Becomes::Closed => live.socket = None,
        Becomes::ListenerClosed => live.listener = None,
    }
}
