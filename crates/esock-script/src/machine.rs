//! Runs a script: one stack, its peer played by the script, and a clock that nothing but the script moves.

use crate::calls::{self, Setup};
use crate::dialogue::{Arrived, Dialogue, Written};
use crate::facts;
use crate::packet::Packet;
use crate::report::{Entry, Failure, Passed, Report, Seconds, Traffic};
use crate::syntax::{ChunkSpec, Line, PacketSpec, Script, Statement, When};
use esock_proto::{
    Address, AssocId, Config, Datagram, EndpointConfig, EndpointId, Event, Local, SocketId, Stack, Time,
};
use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

/// The moment at which every script begins; not the clock's origin.
const START: Time = Time::from_millis(1_000_000);
/// How far a run looks ahead to say when something does come.
const LOOK_AHEAD: Duration = Duration::from_secs(120);
/// No script needs as many packets at one moment: the stack would be sending for ever.
const MOST_PACKETS: usize = 10_000;

/// A packet that the stack sent.
#[derive(Debug)]
struct Sent {
    at: Time,
    arrived: Arrived,
}

/// The state of a run.
pub(crate) struct Machine {
    pub setup: Setup,
    pub world: Option<(Stack, EndpointId)>,
    pub now: Time,
    pub dialogue: Dialogue,
    /// The association that the script is about: the last one made.
    pub assoc: Option<AssocId>,
    /// What the user was told and the script has not asked for.
    pub events: VecDeque<Event>,
    sent: VecDeque<Sent>,
    trace: Vec<Entry>,
    packets: Vec<Passed>,
    line: usize,
}

/// Runs a script; `prepare` changes what every script begins with.
pub(crate) fn run(script: &Script, prepare: impl FnOnce(&mut Config)) -> Report {
    let mut machine = Machine {
        setup: Setup::default(),
        world: None,
        now: START,
        dialogue: Dialogue::default(),
        assoc: None,
        events: VecDeque::new(),
        sent: VecDeque::new(),
        trace: Vec::new(),
        packets: Vec::new(),
        line: 0,
    };
    prepare(&mut machine.setup.config);
    let mut last = (1, "");
    let mut outcome = Ok(());
    for line in &script.lines {
        last = (line.number, line.text.as_str());
        machine.line = line.number;
        // A panic in the stack is a failure of the script like any other, with its trace.
        outcome = panic::catch_unwind(AssertUnwindSafe(|| machine.step(line)))
            .unwrap_or_else(|panic| Err(format!("the stack panicked: {}", panic_message(&*panic))));
        if outcome.is_err() {
            break;
        }
    }
    if outcome.is_ok() {
        outcome = machine.nothing_waits("the script has ended, but ");
    }
    let failure = outcome
        .err()
        .map(|problem| Failure::in_run(&script.name, last, machine.now.since(START), problem, &machine.trace));
    let traffic =
        Traffic { stack: machine.dialogue.ends.addresses, peer: machine.dialogue.ends.peer, packets: machine.packets };
    Report { trace: machine.trace, traffic, failure }
}

/// Whether a line only asks, so that what the stack has sent may wait for a line behind it.
fn is_question(line: &Line) -> bool {
    let asks = match &line.what {
        Statement::Word(word, _) => calls::QUESTIONS.contains(&word.as_str()),
        Statement::Set(..) => true,
        _ => false,
    };
    asks && line.when == When::NOW
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

impl Machine {
    fn step(&mut self, line: &Line) -> Result<(), String> {
        match &line.what {
            Statement::Out(spec) => return self.expect(line.when, spec),
            Statement::Word(word, arguments) if word == "config" => {
                return self.configure(arguments);
            }
            _ => {}
        }
        self.open()?;
        if !is_question(line) {
            self.nothing_waits("before this line, ")?;
        }
        self.pass(line.when)?;
        match &line.what {
            Statement::In(spec) => self.deliver(spec)?,
            Statement::Established { active, chunk } => return self.establish(*active, chunk),
            Statement::Set(name, expr) => {
                let value = self.dialogue.names.eval(expr)?;
                self.dialogue.names.set(name, value);
            }
            Statement::Word(word, arguments) => {
                self.note(line.text.clone());
                self.call(word, arguments)?;
            }
            Statement::Out(_) => {}
        }
        self.settle()
    }

    /// Opens the stack, with what `config` said until now.
    fn open(&mut self) -> Result<(), String> {
        if self.world.is_some() {
            return Ok(());
        }
        let config = self.setup.config.clone();
        let mut stack = Stack::new(self.setup.stack.clone(), [self.setup.seed; 32], self.now);
        let addresses = self.dialogue.ends.addresses.iter().map(|ip| Address::from(*ip)).collect();
        let endpoint = EndpointConfig { port: self.dialogue.ends.port, addresses, host_addresses: Vec::new(), config };
        let endpoint = stack.open(endpoint).map_err(|problem| problem.to_string())?;
        self.world = Some((stack, endpoint));
        Ok(())
    }

    pub fn stack(&mut self) -> Result<(&mut Stack, EndpointId), String> {
        self.world.as_mut().map(|(stack, endpoint)| (stack, *endpoint)).ok_or("there is no stack yet".to_owned())
    }

    pub fn assoc(&self) -> Result<AssocId, String> {
        self.assoc.ok_or("there is no association yet: accept one, or connect".to_owned())
    }

    fn note(&mut self, text: String) {
        self.trace.push(Entry { at: self.now.since(START), line: self.line, text });
    }

    /// Takes what the stack has to send and to tell.
    fn settle(&mut self) -> Result<(), String> {
        let Some((stack, _)) = &mut self.world else { return Ok(()) };
        let mut buf = vec![0; 1 << 16];
        while let Some(transmit) = stack.poll_transmit(self.now, 1, &mut buf) {
            let packet = Packet::read(&buf[..transmit.size]);
            self.packets.push(Passed {
                at: self.now.since(START),
                by_stack: true,
                from: transmit.local.address.map_or(self.dialogue.ends.addresses[0], |address| address.ip()),
                to: transmit.remote.ip(),
                udp: transmit.encap_port,
                bytes: buf[..transmit.size].to_vec(),
            });
            let arrived = Arrived {
                from: transmit.local.address.map(Address::ip),
                to: transmit.remote.ip(),
                udp: transmit.encap_port,
                packet,
            };
            self.sent.push_back(Sent { at: self.now, arrived });
            if self.sent.len() > MOST_PACKETS {
                return Err(format!("the stack sent more than {MOST_PACKETS} packets at once"));
            }
        }
        while let Some((_, event)) = stack.poll_event() {
            let (name, facts) = facts::event(&event);
            let text = facts::show(name, &facts);
            self.trace.push(Entry { at: self.now.since(START), line: 0, text: format!("event {text}") });
            self.events.push_back(event);
        }
        Ok(())
    }

    /// Every packet has to be expected by a line.
    fn nothing_waits(&mut self, when: &str) -> Result<(), String> {
        let Some(sent) = self.sent.pop_front() else { return Ok(()) };
        let shown = self.show(&sent);
        self.note(format!("{shown}   <- not expected"));
        Err(format!("{when}the stack sent what no line expects:\n\n    > {shown}"))
    }

    /// Lets time pass in which the stack sends nothing.
    fn pass(&mut self, when: When) -> Result<(), String> {
        if !when.is_exact() {
            return Err("a range of times is for what is expected".to_owned());
        }
        let target = self.now + when.earliest;
        while self.advance(target)? {
            let at = Seconds(self.now.since(START)).to_string();
            self.nothing_waits(&format!("at {at}, while time passed, "))?;
        }
        Ok(())
    }

    /// Goes on to the next thing that is due, at most to `target`. Returns whether there may be more before it.
    fn advance(&mut self, target: Time) -> Result<bool, String> {
        let Some((stack, _)) = &mut self.world else {
            self.now = target;
            return Ok(false);
        };
        match stack.poll_timeout().filter(|due| *due <= target) {
            Some(due) => {
                self.now = self.now.max(due);
                stack.handle_timeout(self.now);
                self.settle()?;
                Ok(true)
            }
            None => {
                self.now = target;
                Ok(false)
            }
        }
    }

    /// `<`: hands a packet to the stack.
    fn deliver(&mut self, spec: &PacketSpec) -> Result<(), String> {
        let written = self.dialogue.write(spec)?;
        self.note(format!("< {}", self.dialogue.show_written(&written)));
        let Written { from, to, udp, bytes } = written;
        let now = self.now;
        let at = now.since(START);
        self.packets.push(Passed { at, by_stack: false, from, to, udp, bytes: bytes.clone() });
        let (stack, _) = self.stack()?;
        let local = Local { address: Some(to.into()), socket: Some(SocketId(0)), interface: 0 };
        stack.handle_datagram(now, Datagram { local, remote: from.into(), encap_port: udp, ecn: None, data: &bytes });
        Ok(())
    }

    /// `>`: the stack's next packet is this one, at this time.
    fn expect(&mut self, when: When, spec: &PacketSpec) -> Result<(), String> {
        self.open()?;
        let (earliest, latest) = (self.now + when.earliest, self.now + when.latest);
        while self.sent.is_empty() && self.advance(latest)? {}
        let Some(sent) = self.sent.pop_front() else { return Err(self.never_came()) };
        let shown = self.show(&sent);
        if sent.at < earliest {
            self.note(format!("{shown}   <- too early"));
            let early = earliest.since(sent.at);
            return Err(format!("the stack sent too early, by {early:?}:\n\n    > {shown}"));
        }
        if let Err(problem) = self.dialogue.check(spec, &sent.arrived) {
            self.note(format!("{shown}   <- not what is expected"));
            return Err(format!("{problem}\n\n    > {shown}"));
        }
        self.note(format!("> {shown}"));
        Ok(())
    }

    /// Says what comes instead, if anything does.
    fn never_came(&mut self) -> String {
        let waited = self.now;
        while self.sent.is_empty() && self.advance(waited + LOOK_AHEAD).unwrap_or(false) {}
        let then = match self.sent.front() {
            Some(sent) => {
                format!("; the next packet comes {:?} later:\n\n    > {}", sent.at.since(waited), self.show(sent))
            }
            None => format!(", nor does it within {LOOK_AHEAD:?}"),
        };
        self.now = waited;
        format!("the stack sent nothing{then}")
    }

    fn show(&self, sent: &Sent) -> String {
        self.dialogue.show(&sent.arrived)
    }

    /// `established`: the setup that most scripts begin with.
    fn establish(&mut self, active: bool, chunk: &ChunkSpec) -> Result<(), String> {
        let (before, after) = if active {
            ("connect\n> INIT[]", "> COOKIE_ECHO[]\n< COOKIE_ACK\nevent up")
        } else {
            ("listen", "> INIT_ACK[]\n< COOKIE_ECHO\naccept\n> COOKIE_ACK\nevent up")
        };
        let here = self.line;
        let packet = PacketSpec { chunks: vec![chunk.clone()], ..PacketSpec::default() };
        let mut lines = crate::parse::lines(before).map_err(|problem| problem.to_string())?;
        lines.push(Line {
            number: here,
            text: "< the peer's chunk".to_owned(),
            when: When::NOW,
            what: Statement::In(packet),
        });
        lines.extend(crate::parse::lines(after).map_err(|problem| problem.to_string())?);
        for line in &lines {
            self.step(line).map_err(|problem| format!("while setting up, at `{}`: {problem}", line.text))?;
        }
        Ok(())
    }
}
