//! Statements that are words: calls of the user, questions, and settings.

use crate::dialogue::Ends;
use crate::facts;
use crate::machine::Machine;
use crate::syntax::Argument;
use crate::value::{self, Expr, Value};
use esock_proto::{
    Config, ConnectError, Encapsulation, PathId, PathParameters, Peer, Ppid, Rejected, SendError, SendOptions,
    StackConfig, StreamId, Tsn,
};
use std::net::IpAddr;
use std::time::Duration;

/// Every word that can begin a statement, but for `established` and `set`.
pub const WORDS: &[&str] = &[
    "config",
    "listen",
    "connect",
    "accept",
    "refuse",
    "ignore",
    "send",
    "recv",
    "shutdown",
    "abort",
    "release",
    "close",
    "primary",
    "heartbeat",
    "tune",
    "event",
    "no_event",
    "state",
    "path",
    "assoc",
    "stack",
    "incoming",
    "differ",
    "nothing",
];

/// Those that ask, and bring nothing about.
pub const QUESTIONS: &[&str] = &["recv", "event", "no_event", "state", "path", "assoc", "stack", "incoming", "differ"];

/// What `config` sets.
pub(crate) struct Setup {
    pub config: Config,
    pub stack: StackConfig,
    pub seed: u8,
}

impl Default for Setup {
    /// Nothing but what the script is about happens: no path MTU probes, no heartbeats.
    fn default() -> Self {
        let mut config = Config::default();
        config.pmtud = false;
        config.heartbeat_interval = None;
        let mut stack = StackConfig::default();
        stack.initial_tsn = Some(Tsn(1));
        Self { config, stack, seed: 1 }
    }
}

impl Setup {
    /// Sets one thing; those that say who talks to whom are `ends`.
    fn set(&mut self, key: &str, value: &Value, ends: &mut Ends) -> Result<(), String> {
        let config = &mut self.config;
        match key {
            "rto_initial" => config.rto_initial = time(value)?,
            "rto_min" => config.rto_min = time(value)?,
            "rto_max" => config.rto_max = time(value)?,
            "heartbeat_interval" => config.heartbeat_interval = unless_off(value, time)?,
            "sack_delay" => config.sack_delay = time(value)?,
            "sack_frequency" => config.sack_frequency = number(value)?,
            "path_max_retrans" => config.path_max_retrans = unless_off(value, number)?,
            "pf_threshold" => config.pf_threshold = unless_off(value, number)?,
            "assoc_max_retrans" => config.assoc_max_retrans = number(value)?,
            "max_init_retransmits" => config.max_init_retransmits = number(value)?,
            "cookie_life" => config.cookie_life = time(value)?,
            "max_burst" => config.max_burst = number(value)?,
            "outbound_streams" => config.outbound_streams = number(value)?,
            "inbound_streams" => config.inbound_streams = number(value)?,
            "receive_window" => config.receive_window = number(value)?,
            "send_buffer" => config.send_buffer = number(value)?,
            "max_message" => config.max_message = number(value)?,
            "initial_mtu" => config.initial_mtu = number(value)?,
            "max_mtu" => config.max_mtu = number(value)?,
            "pmtud" => config.pmtud = *value == Value::Word("on".to_owned()),
            "strict" => config.strict = *value == Value::Word("on".to_owned()),
            "probe_at_once" => config.probe_at_once = *value == Value::Word("on".to_owned()),
            "patient" => config.patient = *value == Value::Word("on".to_owned()),
            "adaptation" => config.adaptation = Some(number(value)?),
            "max_peer_addresses" => config.max_peer_addresses = number(value)?,
            "native" => {
                self.stack.native = *value == Value::Word("yes".to_owned());
                ends.udp = if self.stack.native { None } else { Ends::default().udp };
            }
            "initial_tsn" => self.stack.initial_tsn = unless_off(value, number)?.map(Tsn),
            "ootb_replies_per_second" => self.stack.ootb_replies_per_second = number(value)?,
            "max_associations" => self.stack.max_associations = number(value)?,
            "seed" => self.seed = number(value)?,
            "port" => ends.port = number(value)?,
            "peer_port" => ends.peer_port = number(value)?,
            "addresses" => ends.addresses = addresses(value)?,
            "peer" => ends.peer = addresses(value)?,
            _ => return Err("there is no such setting".to_owned()),
        }
        Ok(())
    }
}

fn time(value: &Value) -> Result<Duration, String> {
    match value {
        Value::Time(time) => Ok(*time),
        Value::Num(0) => Ok(Duration::ZERO),
        _ => Err("a time is wanted".to_owned()),
    }
}

fn number<T: TryFrom<i64>>(value: &Value) -> Result<T, String> {
    match value {
        Value::Num(number) => T::try_from(*number).map_err(|_| "out of range".to_owned()),
        _ => Err("a number is wanted".to_owned()),
    }
}

/// `off` for what can be switched off.
fn unless_off<T>(value: &Value, read: impl FnOnce(&Value) -> Result<T, String>) -> Result<Option<T>, String> {
    if *value == Value::Word("off".to_owned()) { Ok(None) } else { read(value).map(Some) }
}

fn addresses(value: &Value) -> Result<Vec<IpAddr>, String> {
    let one = |value: &Value| match value {
        Value::Address(address) => Ok(*address),
        _ => Err("an address is wanted".to_owned()),
    };
    match value {
        Value::List(items) if !items.is_empty() => items.iter().map(one).collect(),
        other => Ok(vec![one(other)?]),
    }
}

impl Machine {
    /// `config`.
    pub fn configure(&mut self, arguments: &[Argument]) -> Result<(), String> {
        if self.world.is_some() {
            return Err("config comes before everything else".to_owned());
        }
        for argument in arguments {
            let key = argument.key.as_deref().ok_or("config takes name=value")?;
            let value = self.dialogue.names.eval(&argument.value)?;
            let set = self.setup.set(key, &value, &mut self.dialogue.ends);
            set.map_err(|problem| format!("{key}={value}: {problem}"))?;
        }
        Ok(())
    }

    /// Does what a word says.
    pub fn call(&mut self, word: &str, arguments: &[Argument]) -> Result<(), String> {
        let now = self.now;
        match word {
            "nothing" => Ok(()),
            "listen" => {
                let (stack, endpoint) = self.stack()?;
                stack.set_accepting(endpoint, true);
                Ok(())
            }
            "connect" => self.connect(arguments),
            "accept" | "refuse" | "ignore" => self.decide(word, arguments),
            "incoming" => self.incoming(arguments),
            "send" => self.send(arguments),
            "recv" => self.recv(arguments),
            "shutdown" => {
                let assoc = self.assoc()?;
                self.stack()?.0.shutdown(now, assoc).map_err(|problem| problem.to_string())
            }
            "abort" => {
                let (assoc, reason) = (self.assoc()?, self.text(arguments)?);
                self.stack()?.0.abort(now, assoc, &reason).map_err(|problem| problem.to_string())
            }
            "release" => {
                let assoc = self.assoc()?;
                self.stack()?.0.release(now, assoc);
                Ok(())
            }
            "close" => {
                let (stack, endpoint) = self.stack()?;
                stack.close(now, endpoint);
                Ok(())
            }
            "primary" | "heartbeat" | "tune" => self.path_call(word, arguments),
            "event" | "no_event" => self.event(word, arguments),
            _ => self.question(word, arguments),
        }
    }

    fn connect(&mut self, arguments: &[Argument]) -> Result<(), String> {
        let addresses = if arguments.is_empty() {
            self.dialogue.ends.peer.clone()
        } else {
            arguments.iter().map(|argument| self.address(&argument.value)).collect::<Result<_, _>>()?
        };
        let peer = Peer {
            addresses: addresses.into_iter().map(Into::into).collect(),
            port: self.dialogue.ends.peer_port,
            encapsulation: self.dialogue.ends.udp.map_or(Encapsulation::Native, Encapsulation::Udp),
        };
        let now = self.now;
        let (stack, endpoint) = self.stack()?;
        let assoc = stack.connect(now, endpoint, &peer, None).map_err(|problem: ConnectError| problem.to_string())?;
        self.assoc = Some(assoc);
        Ok(())
    }

    fn decide(&mut self, word: &str, arguments: &[Argument]) -> Result<(), String> {
        let none =
            matches!(arguments, [Argument { key: None, value: Expr::Value(Value::Word(word)) }] if word == "none");
        let (now, reason) = (self.now, if none { Vec::new() } else { self.text(arguments)? });
        let (stack, _) = self.stack()?;
        let incoming = stack.poll_incoming().ok_or("nobody waits to be accepted")?;
        match word {
            "accept" => match (stack.accept(now, incoming), none) {
                (Some(assoc), false) => self.assoc = Some(assoc),
                (None, true) => {}
                (None, false) => return Err("the stack made no association of it".to_owned()),
                (Some(_), true) => return Err("the stack made an association of it".to_owned()),
            },
            "refuse" => stack.refuse(now, incoming, &reason),
            _ => stack.ignore(incoming),
        }
        Ok(())
    }

    fn incoming(&mut self, arguments: &[Argument]) -> Result<(), String> {
        let [Argument { key: None, value: Expr::Value(Value::Word(word)) }] = arguments else {
            return Err("write `incoming none`; `accept` says that there is one".to_owned());
        };
        let waits = self.stack()?.0.poll_incoming();
        match waits {
            Some(incoming) if word == "none" => Err(format!("{} waits to be accepted", incoming.remote())),
            None if word == "none" => Ok(()),
            _ => Err("write `incoming none`; `accept` says that there is one".to_owned()),
        }
    }

    fn send(&mut self, arguments: &[Argument]) -> Result<(), String> {
        let (mut options, mut payload, mut count, mut error) = (SendOptions::default(), None, 1, None);
        for argument in arguments {
            let value = self.dialogue.names.eval(&argument.value)?;
            match (argument.key.as_deref(), &value) {
                (None, Value::Bytes(bytes)) => payload = Some(bytes.clone()),
                (None, Value::Num(length)) => payload = Some(value::fill(*length as usize)),
                (None, Value::Word(word)) if word == "unordered" => options.unordered = true,
                (None, Value::Word(word)) if word == "immediate" => options.sack_immediately = true,
                (Some("stream"), _) => options.stream = StreamId(number(&value)?),
                (Some("ppid"), _) => options.ppid = Ppid(number(&value)?),
                (Some("context"), _) => options.context = number(&value)?,
                (Some("path"), _) => options.path = Some(PathId(number(&value)?)),
                (Some("count"), _) => count = number(&value)?,
                (Some("error"), Value::Word(word)) => error = Some(word.clone()),
                _ => {
                    return Err(format!(
                        "send knows no {value}: it takes a text or a length, unordered, immediate, stream=, ppid=, context=, path=, count=, error="
                    ));
                }
            }
        }
        let payload = payload.ok_or("send needs a text or a length")?;
        let (now, assoc) = (self.now, self.assoc()?);
        for _ in 0..count {
            let sent = self.stack()?.0.send(now, assoc, options, payload.clone().into());
            match (sent, &error) {
                (Ok(()), None) => {}
                (Ok(()), Some(wanted)) => {
                    return Err(format!("the message was taken, but the error {wanted} is wanted"));
                }
                (Err(Rejected { error, .. }), Some(wanted)) if send_error(&error) == wanted => {}
                (Err(Rejected { error, .. }), _) => return Err(format!("{error} ({})", send_error(&error))),
            }
        }
        Ok(())
    }

    fn recv(&mut self, arguments: &[Argument]) -> Result<(), String> {
        let (now, assoc) = (self.now, self.assoc()?);
        let message = self.stack()?.0.recv(now, assoc);
        let nothing =
            matches!(arguments, [Argument { key: None, value: Expr::Value(Value::Word(word)) }] if word == "nothing");
        match message {
            None if nothing => Ok(()),
            None => Err("no message is ready".to_owned()),
            Some(message) if nothing => Err(facts::show("a message is ready:", &facts::message(&message))),
            Some(message) => {
                let facts = facts::message(&message);
                // A text alone is the message.
                let named: Vec<Argument> = arguments
                    .iter()
                    .map(|argument| Argument {
                        key: Some(argument.key.clone().unwrap_or("data".to_owned())),
                        value: argument.value.clone(),
                    })
                    .collect();
                facts::check(&named, &facts, &mut self.dialogue.names)
            }
        }
    }

    /// `primary ADDRESS`, `heartbeat ADDRESS`, `tune ADDRESS name=value ...`.
    fn path_call(&mut self, word: &str, arguments: &[Argument]) -> Result<(), String> {
        let Some((Argument { key: None, value }, rest)) = arguments.split_first() else {
            return Err(format!("{word} takes an address"));
        };
        if !rest.is_empty() && word != "tune" {
            return Err(format!("{word} takes an address and nothing else"));
        }
        let (address, parameters) = (self.address(value)?, self.path_parameters(rest)?);
        let (now, assoc) = (self.now, self.assoc()?);
        let (stack, _) = self.stack()?;
        let stats = stack.association(now, assoc).ok_or("the association is gone")?;
        let path = stats.paths.iter().find(|path| path.remote.ip() == address).ok_or("there is no such path")?.id;
        let done = match word {
            "primary" => stack.set_primary(now, assoc, path),
            "heartbeat" => stack.request_heartbeat(now, assoc, path),
            _ => stack.set_path_parameters(now, assoc, path, parameters),
        };
        done.map_err(|problem| problem.to_string())
    }

    fn path_parameters(&self, arguments: &[Argument]) -> Result<PathParameters, String> {
        let mut parameters = PathParameters::default();
        for argument in arguments {
            let value = self.dialogue.names.eval(&argument.value)?;
            match argument.key.as_deref() {
                Some("heartbeat_interval") => parameters.heartbeat_interval = Some(unless_off(&value, time)?),
                Some("path_max_retrans") => parameters.path_max_retrans = Some(unless_off(&value, number)?),
                Some("pf_threshold") => parameters.pf_threshold = Some(unless_off(&value, number)?),
                Some("mtu") => parameters.mtu = Some(number(&value)?),
                _ => return Err("tune takes heartbeat_interval=, path_max_retrans=, pf_threshold= and mtu=".to_owned()),
            }
        }
        Ok(parameters)
    }

    /// `event NAME key=value`: it was told, since the last event that was asked for.
    fn event(&mut self, word: &str, arguments: &[Argument]) -> Result<(), String> {
        let Some((Argument { key: None, value: Expr::Value(Value::Word(wanted)) }, rest)) = arguments.split_first()
        else {
            return Err(format!("{word} takes the name of an event"));
        };
        let mut problem = None;
        for at in 0..self.events.len() {
            let (name, facts) = facts::event(&self.events[at]);
            if name != wanted {
                continue;
            }
            let mut names = self.dialogue.names.clone();
            match facts::check(rest, &facts, &mut names) {
                Ok(()) if word == "no_event" => return Err(format!("it was told: {}", facts::show(name, &facts))),
                Ok(()) => {
                    self.dialogue.names = names;
                    self.events.remove(at);
                    return Ok(());
                }
                Err(why) => problem = Some(why),
            }
        }
        match problem {
            _ if word == "no_event" => Ok(()),
            Some(why) => Err(why),
            None => Err(format!("no event `{wanted}` was told")),
        }
    }

    /// `state NAME`, `assoc key=value`, `path ADDRESS key=value`, `stack key=value`, `differ $a $b`.
    fn question(&mut self, word: &str, arguments: &[Argument]) -> Result<(), String> {
        let now = self.now;
        match (word, arguments) {
            ("state", [Argument { key: None, value: Expr::Value(Value::Word(wanted)) }]) => {
                let assoc = self.assoc()?;
                let state = self.stack()?.0.state(assoc).map_or("released", facts::state);
                if state == wanted { Ok(()) } else { Err(format!("the state is {state}, not {wanted}")) }
            }
            ("assoc", _) => {
                let assoc = self.assoc()?;
                let stats = self.stack()?.0.association(now, assoc).ok_or("the association is gone")?;
                facts::check(arguments, &facts::association(&stats), &mut self.dialogue.names)
            }
            ("stack", _) => {
                let stats = self.stack()?.0.stats();
                facts::check(arguments, &facts::stack(&stats), &mut self.dialogue.names)
            }
            ("path", _) => {
                let (address, rest) = match arguments.split_first() {
                    Some((Argument { key: None, value }, rest)) => (self.address(value)?, rest),
                    _ => (self.dialogue.ends.peer[0], arguments),
                };
                let assoc = self.assoc()?;
                let stats = self.stack()?.0.association(now, assoc).ok_or("the association is gone")?;
                let path = stats.paths.iter().find(|path| path.remote.ip() == address);
                let path = path.ok_or(format!("there is no path to {address}"))?;
                facts::check(rest, &facts::path(path), &mut self.dialogue.names)
            }
            ("differ", [one, other]) => {
                let (one, other) = (self.dialogue.names.eval(&one.value)?, self.dialogue.names.eval(&other.value)?);
                if one == other { Err(format!("both are {one}")) } else { Ok(()) }
            }
            _ => Err(format!("`{word}` does not take what follows it")),
        }
    }

    fn address(&self, expr: &Expr) -> Result<IpAddr, String> {
        match self.dialogue.names.eval(expr)? {
            Value::Address(address) => Ok(address),
            other => Err(format!("{other} is no address")),
        }
    }

    /// A text, if there is one.
    fn text(&self, arguments: &[Argument]) -> Result<Vec<u8>, String> {
        match arguments {
            [] => Ok(Vec::new()),
            [Argument { key: None, value }] => match self.dialogue.names.eval(value)? {
                Value::Bytes(bytes) => Ok(bytes),
                other => Err(format!("{other} is no text")),
            },
            _ => Err("one text is taken at most".to_owned()),
        }
    }
}

fn send_error(error: &SendError) -> &'static str {
    match error {
        SendError::Full => "full",
        SendError::TooLarge { .. } => "too_large",
        SendError::Empty => "empty",
        SendError::BadStream { .. } => "bad_stream",
        SendError::ShuttingDown => "shutting_down",
        SendError::NotConnected => "not_connected",
        SendError::Unsupported(_) => "unsupported",
        SendError::Closed => "closed",
        _ => "other",
    }
}
