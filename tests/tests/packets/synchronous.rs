//! A packet has arrived at the host, and at once a program calls: it must see what the packet brought, as with a kernel.

use esock_interop::packets::{Done, OURS, PEERS, Rig, arrival};
use esock_script::{Dialogue, Ends, Packet, Script, Statement};
use libtest_mimic::{Failed, Trial};
use std::path::Path;
use std::time::Duration;

const PORT: u16 = 5000;
const PEER_PORT: u16 = 8080;
/// Packets, each followed by a call at once.
const ROUNDS: usize = 3000;
/// Pairs of a packet and calls in one line of commands.
const AT_ONCE: usize = 50;
const PATIENCE: Duration = Duration::from_secs(5);
/// `EAGAIN`.
const AGAIN: i32 = 11;

/// The tests.
pub fn trials(directory: &Path) -> Vec<Trial> {
    let test = |name: &str, calls: &'static [&'static str]| {
        let directory = directory.to_owned();
        Trial::test(name, move || read_at_once(&directory, calls).map_err(Failed::from))
    };
    vec![
        test("synchronous: a message is read by the call right behind its packet", &["read"]),
        test(
            "synchronous: poll sees a message right behind its packet, and none when it is read",
            &["poll", "read", "poll"],
        ),
        {
            let directory = directory.to_owned();
            Trial::test("synchronous: accept gives a peer right behind its cookie", move || {
                accept_at_once(&directory).map_err(Failed::from)
            })
        },
    ]
}

/// The peer's packets, written by the scripts' encoder.
struct Peer {
    dialogue: Dialogue,
}

impl Peer {
    fn new() -> Self {
        let ends = Ends {
            addresses: OURS[..1].to_vec(),
            peer: PEERS[..1].to_vec(),
            port: PORT,
            peer_port: PEER_PORT,
            udp: None,
        };
        Self { dialogue: Dialogue::new(ends) }
    }

    /// The command that makes the packet of a `<` line arrive.
    fn says(&mut self, line: &str) -> Result<String, String> {
        let script = Script::parse_with("a packet", line, &[]).map_err(|failure| failure.to_string())?;
        let Some(Statement::In(spec)) = script.lines.first().map(|line| &line.what) else {
            return Err(format!("`{line}` is no packet"));
        };
        let written = self.dialogue.write(spec)?;
        Ok(arrival(written.from, written.to, &written.bytes))
    }

    /// The answer to the last packet, which has to be a line's.
    fn hears(&mut self, rig: &mut Rig, line: &str) -> Result<(), String> {
        let script = Script::parse_with("a packet", line, &[]).map_err(|failure| failure.to_string())?;
        let Some(Statement::Out(spec)) = script.lines.first().map(|line| &line.what) else {
            return Err(format!("`{line}` is no packet"));
        };
        let sent = rig.next_sent(PATIENCE).ok_or(format!("`{line}` did not come"))?;
        let packet = Packet::read(&sent.bytes);
        self.dialogue.check(spec, &esock_script::Arrived { from: Some(sent.from), to: sent.to, udp: None, packet })
    }
}

fn one(rig: &mut Rig, command: String) -> Result<Done, String> {
    let done = rig.pull(std::slice::from_ref(&command), Duration::ZERO).pop().ok_or("no answer")?;
    if done.result < 0 { Err(format!("`{command}`: errno {}", done.error)) } else { Ok(done) }
}

/// A listening socket.
fn listen(rig: &mut Rig) -> Result<i64, String> {
    let listener = one(rig, format!("socket 2 {}", 1 | 0o4000))?.result;
    one(rig, format!("bind {listener} {} {PORT}", OURS[0]))?;
    one(rig, format!("listen {listener} 100"))?;
    Ok(listener)
}

fn read_at_once(directory: &Path, calls: &[&str]) -> Result<(), String> {
    let mut rig = Rig::new(directory, &[]);
    let mut peer = Peer::new();
    let listener = listen(&mut rig)?;
    one(&mut rig, peer.says("< INIT")?)?;
    peer.hears(&mut rig, "> INIT_ACK")?;
    one(&mut rig, peer.says("< COOKIE_ECHO")?)?;
    peer.hears(&mut rig, "> COOKIE_ACK")?;
    let socket = one(&mut rig, format!("accept {listener}"))?.result;
    for round in 0..ROUNDS / AT_ONCE {
        let mut commands = Vec::new();
        for _ in 0..AT_ONCE {
            commands.push(peer.says("< DATA[len=20]")?);
            commands.extend(calls.iter().map(|call| format!("{call} {socket} 100")));
        }
        let done = rig.pull(&commands, PATIENCE);
        for (at, answers) in done.chunks(1 + calls.len()).enumerate() {
            // What poll says: readable before the message is read, not readable behind.
            let wanted: &[i64] = if calls.len() == 1 { &[20] } else { &[1, 20, 0] };
            let results: Vec<i64> = answers[1..].iter().map(|done| done.result).collect();
            if results != wanted {
                let round = round * AT_ONCE + at;
                return Err(format!("round {round}: {calls:?} behind a packet gave {results:?}, not {wanted:?}"));
            }
        }
        while rig.next_sent(Duration::ZERO).is_some() {}
    }
    Ok(())
}

fn accept_at_once(directory: &Path) -> Result<(), String> {
    let mut rig = Rig::new(directory, &[]);
    let listener = listen(&mut rig)?;
    for port in 10_000..10_300 {
        let mut peer = Peer::new();
        peer.dialogue.ends.peer_port = port;
        one(&mut rig, peer.says("< INIT")?)?;
        peer.hears(&mut rig, "> INIT_ACK")?;
        let before = format!("accept {listener}");
        let done = rig.pull(&[before.clone(), peer.says("< COOKIE_ECHO")?, before], PATIENCE);
        if done[0].error != AGAIN || done[2].result < 0 {
            return Err(format!("port {port}: accept gave errno {} before, {} behind", done[0].error, done[2].error));
        }
        peer.hears(&mut rig, "> COOKIE_ACK")?;
        let socket = done[2].result;
        // And the end: end of file right behind the peer's SHUTDOWN.
        let done =
            rig.pull(&[peer.says("< SHUTDOWN")?, format!("read {socket} 100"), format!("close {socket}")], PATIENCE);
        if done[1].result != 0 {
            return Err(format!("port {port}: read gave errno {} behind SHUTDOWN", done[1].error));
        }
        peer.hears(&mut rig, "> SHUTDOWN_ACK")?;
        one(&mut rig, peer.says("< SHUTDOWN_COMPLETE")?)?;
    }
    Ok(())
}
