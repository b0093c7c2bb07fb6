//! Runs packet scripts in real time: their packets pass a TUN device, their calls are a program's socket calls.

use super::rig::{Done, Nanos, OURS, PEERS, Rig, Sent, arrival};
use super::words::{self, Call};
use esock_script::{Argument, Arrived, Dialogue, Ends, Line, Packet, PacketSpec, Script, Statement, When};
use std::path::Path;
use std::time::Duration;

/// What a packet may be too early: timers count whole milliseconds.
const EARLY: Duration = Duration::from_millis(10);
/// How long is waited for what should not come.
const QUIET: Duration = Duration::from_millis(20);

/// A run.
pub(super) struct Live {
    pub(super) rig: Rig,
    pub(super) dialogue: Dialogue,
    /// The sockets: the listening one, and that of the association.
    pub(super) listener: Option<i64>,
    pub(super) socket: Option<i64>,
    /// The last packet that left.
    pub(super) sent: Option<Sent>,
    /// When the last thing happened. What is to come after so long may come so long after this.
    last: Nanos,
    /// When it may have happened at the earliest: a timer does not wait for a program that calls late, and a packet may
    /// have left before that was seen. What is to come after so long comes no earlier than so long after this.
    planned: Nanos,
    /// Before the first call or packet since something left.
    called: Option<Nanos>,
    /// What a packet may be too late.
    late: Duration,
    begin: Nanos,
    trace: Vec<String>,
}

/// Runs a script; `late` is what a packet may be too late. The error tells what happened.
///
/// # Errors
/// If the script cannot be read, or is not fulfilled.
pub fn play(name: &str, text: &str, directory: &Path, late: Duration) -> Result<(), String> {
    let script = Script::parse_with(name, text, words::WORDS).map_err(|failure| failure.to_string())?;
    let mut lines = script.lines.iter().peekable();
    let mut settings = Vec::new();
    let mut version = 0;
    while let Some(Statement::Word(word, arguments)) = lines.peek().map(|line| &line.what) {
        match word.as_str() {
            "sysctl" => settings.extend(words::settings(arguments)?),
            "ipv6" => version = 1,
            _ => break,
        }
        lines.next();
    }
    let rig = Rig::new(directory, &settings);
    let ends = Ends { addresses: vec![OURS[version]], peer: vec![PEERS[version]], port: 0, peer_port: 8080, udp: None };
    let dialogue = Dialogue::new(ends);
    let trace = Vec::new();
    let mut live = Live {
        rig,
        dialogue,
        listener: None,
        socket: None,
        sent: None,
        last: 0,
        planned: 0,
        called: None,
        late,
        begin: 0,
        trace,
    };
    live.begin = live.carry_out(Duration::ZERO, Vec::new())?.at;
    (live.last, live.planned) = (live.begin, live.begin);
    while let Some(line) = lines.next() {
        let stepped = match &line.what {
            // What arrives right behind it arrives with it: no timer comes between.
            Statement::In(spec) => {
                let mut specs = vec![spec];
                while let Some(Line { what: Statement::In(spec), when: When::NOW, .. }) = lines.peek() {
                    specs.push(spec);
                    lines.next();
                }
                live.deliver(line.when, &specs)
            }
            _ => live.step(line),
        };
        stepped.map_err(|problem| {
            let trace = live.trace.iter().fold(String::new(), |all, entry| all + "\n  " + entry);
            format!("{name}:{}: {problem}\n  line {}:  {}\n{trace}", line.number, line.number, line.text)
        })?;
    }
    // What leaves later is none of the script's, though it be seen now.
    let end = live.last + QUIET.as_nanos() as Nanos;
    match live.rig.next_sent(QUIET) {
        Some(sent) if sent.at <= end => Err(format!("{name}: at the end left: {}", Packet::read(&sent.bytes))),
        _ => Ok(()),
    }
}

impl Live {
    fn step(&mut self, line: &Line) -> Result<(), String> {
        match &line.what {
            Statement::In(spec) => self.deliver(line.when, &[spec]),
            Statement::Out(spec) => self.expect(line.when, spec),
            Statement::Set(name, expr) => {
                let value = self.dialogue.names.eval(expr)?;
                self.dialogue.names.set(name, value);
                Ok(())
            }
            Statement::Established { active, chunk } => {
                let spec = PacketSpec { chunks: vec![chunk.clone()], ..PacketSpec::default() };
                self.establish(*active, spec)
            }
            Statement::Word(word, _) if word == "nothing" => self.nothing(line.when),
            Statement::Word(word, arguments) => self.call(line.when, word, arguments),
        }
    }

    /// Commands, at their time. What the last one came to.
    fn carry_out(&mut self, after: Duration, commands: Vec<String>) -> Result<Done, String> {
        let at = self.last + after.as_nanos() as Nanos;
        let all = self.rig.pull(&[vec![format!("wait {at}")], commands].concat(), after);
        let (waited, done) = all.first().zip(all.last()).ok_or("the puppet said nothing")?;
        self.last = done.at;
        self.planned += after.as_nanos() as Nanos;
        self.called.get_or_insert(waited.at);
        Ok(done.clone())
    }

    fn note(&mut self, at: Nanos, text: &str) {
        let at = Duration::from_nanos(at.saturating_sub(self.begin));
        self.trace.push(format!("{:>9.4} s  {text}", at.as_secs_f64()));
    }

    fn deliver(&mut self, when: When, specs: &[&PacketSpec]) -> Result<(), String> {
        if self.dialogue.ends.port == 0 {
            self.dialogue.ends.port = words::PORT;
        }
        let written: Vec<_> = specs.iter().map(|spec| self.dialogue.write(spec)).collect::<Result<_, _>>()?;
        let commands = written.iter().map(|written| arrival(written.from, written.to, &written.bytes)).collect();
        let done = self.carry_out(when.earliest, commands)?;
        for written in written {
            self.note(done.at, &format!("< {}", self.dialogue.show_written(&written)));
        }
        Ok(())
    }

    fn expect(&mut self, when: When, spec: &PacketSpec) -> Result<(), String> {
        let Some(sent) = self.rig.next_sent(when.latest + self.late) else {
            return Err("nothing was sent".to_owned());
        };
        self.sent = Some(sent.clone());
        let arrived = Arrived { from: Some(sent.from), to: sent.to, udp: None, packet: Packet::read(&sent.bytes) };
        let shown = self.dialogue.show(&arrived);
        self.note(sent.at, &format!("> {shown}"));
        let since = |moment: Nanos| Duration::from_nanos(sent.at.saturating_sub(moment));
        let (after, waited) = (since(self.planned), since(self.last));
        self.dialogue.check(spec, &arrived)?;
        if after + EARLY < when.earliest {
            return Err(format!("it came after {after:?}, too early"));
        }
        if waited > when.latest + self.late {
            return Err(format!("it came after {waited:?}, too late"));
        }
        self.last = sent.at;
        let called = self.called.take();
        self.planned = if when == When::NOW {
            called.unwrap_or(self.planned)
        } else {
            // Timers of what is tested go on from when they expired, not from when that was seen.
            self.planned + when.earliest.as_nanos() as Nanos
        };
        Ok(())
    }

    fn nothing(&mut self, when: When) -> Result<(), String> {
        let end = self.last + when.earliest.as_nanos() as Nanos;
        self.carry_out(when.earliest, Vec::new())?;
        match self.rig.next_sent(Duration::ZERO) {
            Some(sent) if sent.at <= end => {
                let shown = Packet::read(&sent.bytes).to_string();
                self.note(sent.at, &format!("> {shown}"));
                Err("this was sent".to_owned())
            }
            Some(sent) => {
                self.rig.put_back(sent);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn call(&mut self, when: When, word: &str, arguments: &[Argument]) -> Result<(), String> {
        let Call { command, wants, becomes } = words::call(self, word, arguments)?;
        let done = self.carry_out(when.earliest, vec![command.clone()])?;
        self.note(done.at, &format!("{command} = {} {}", done.result, words::error_name(done.error)));
        wants.check(&done)?;
        words::became(self, becomes, done.result);
        Ok(())
    }

    /// The usual setup, with the peer's chunk as the script has it.
    fn establish(&mut self, active: bool, spec: PacketSpec) -> Result<(), String> {
        let open = if self.socket.is_none() && self.listener.is_none() { "socket\nbind\n" } else { "" };
        let (before, after) = if active {
            (format!("{open}connect\n> INIT"), "> COOKIE_ECHO\n< COOKIE_ACK\npending none")
        } else {
            (format!("{open}listen\n"), "> INIT_ACK\n< COOKIE_ECHO\n> COOKIE_ACK\naccept")
        };
        let lines = |text: &str| Script::parse_with("built in", text, words::WORDS).map(|script| script.lines);
        let mut all = lines(&before).map_err(|failure| failure.to_string())?;
        let text = "< the peer's chunk".to_owned();
        all.push(Line { number: 0, text, when: When::NOW, what: Statement::In(spec) });
        all.extend(lines(after).map_err(|failure| failure.to_string())?);
        for line in &all {
            self.step(line).map_err(|problem| format!("while setting up, at `{}`: {problem}", line.text))?;
        }
        Ok(())
    }
}
