//! One association between the keyboard and the screen.

use crate::console::{Output, say};
use crate::exit::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::words;
use bytes::Bytes;
use esock::{Association, CloseReason, Event, Message, Owner, Received, Receiver, SendError, SendOptions};
use tokio::sync::mpsc;

/// How an association serves: the same for all of a command.
#[derive(Debug, Clone)]
pub struct Manner {
    /// How lines are sent.
    pub options: SendOptions,
    /// Where messages go.
    pub output: Output,
    /// Whether to say more.
    pub verbose: bool,
    /// Set by signals.
    pub interrupt: Interrupt,
}

/// Where messages and events come from.
#[derive(Debug)]
pub enum Inlet {
    /// From the one association.
    Receiver(Receiver),
    /// From an owner that serves one association only.
    Owner {
        /// The owner.
        owner: Owner,
        /// What it has given already.
        first: Option<Received>,
    },
}

impl Inlet {
    /// The next message or event of `association`; whoever else got in is turned away.
    async fn recv(&mut self, association: &Association) -> Option<Received> {
        let (owner, first) = match self {
            Self::Receiver(receiver) => return receiver.recv().await,
            Self::Owner { owner, first } => (owner, first),
        };
        if let Some(received) = first.take() {
            return Some(received);
        }
        loop {
            let Some((whose, received)) = owner.recv().await?.into_received() else { continue };
            if whose == *association {
                return Some(received);
            }
            whose.abort(b"serving another peer");
        }
    }
}

/// Serves an association until it has ended: lines go out, messages come in, events are told.
///
/// The end of `lines` or an interrupt shuts it down gracefully; a second interrupt aborts it.
/// `name` stands before what is told.
pub async fn serve(
    association: Association,
    inlet: Inlet,
    lines: mpsc::Receiver<Bytes>,
    name: &str,
    manner: &Manner,
) -> Result<CloseReason, Failure> {
    let (reason, problem) =
        tokio::join!(receive(&association, inlet, name, manner), send(&association, lines, name, manner),);
    match (problem, reason) {
        (Some(problem), _) => Err(problem),
        (None, Ok(reason)) => Ok(reason),
        (None, Err(problem)) => Err(problem),
    }
}

/// Messages to the output and events to standard error, until the last one.
async fn receive(
    association: &Association,
    mut inlet: Inlet,
    name: &str,
    manner: &Manner,
) -> Result<CloseReason, Failure> {
    let mut output_closed = false;
    loop {
        let received = tokio::select! {
            received = inlet.recv(association) => received,
            () = manner.output.closed(), if !output_closed => {
                output_closed = true;
                manner.interrupt.end_gracefully();
                continue;
            }
        };
        let Some(received) = received else { break };
        match received {
            Received::Message(message) => {
                if manner.verbose {
                    say(&format!("{name}: {}", described(&message)));
                }
                tokio::select! {
                    // A failure is told by `closed`, above.
                    _ = manner.output.write(message.payload) => {}
                    // A slow reader of our output does not keep us.
                    () = manner.interrupt.twice() => {}
                }
            }
            Received::Event(event) => {
                if let Some(words) = words::event(&event) {
                    say(&format!("{name}: {words}"));
                }
                if manner.verbose && matches!(event, Event::Up(_) | Event::Restarted(_)) {
                    for path in association.stats().map(|stats| stats.paths).unwrap_or_default() {
                        say(&format!("{name}: {}", words::path(&path)));
                    }
                }
                if let Event::Closed(reason) = event {
                    return match output_closed {
                        true => Err(Failure::new(Exit::Other, "standard output was closed")),
                        false => Ok(reason),
                    };
                }
            }
            _ => {}
        }
    }
    Ok(association.closed().await)
}

/// Lines to the peer, then a graceful shutdown. Ends when the association does.
async fn send(
    association: &Association,
    mut lines: mpsc::Receiver<Bytes>,
    name: &str,
    manner: &Manner,
) -> Option<Failure> {
    let sending = async {
        while let Some(line) = lines.recv().await {
            match association.send(manner.options, line).await {
                Ok(()) => {}
                Err(error) => return Some(error),
            }
        }
        None
    };
    let problem = tokio::select! {
        problem = sending => problem,
        () = manner.interrupt.once() => None,
        _ = association.closed() => return None,
    };
    // What could not be sent because the association is ending is told by its end.
    let problem = problem
        .filter(|rejected| !matches!(rejected.error, SendError::Closed | SendError::ShuttingDown))
        .map(|rejected| Failure::new(Exit::Other, format!("{name}: {rejected}")));
    tokio::select! {
        _ = association.shutdown() => {}
        () = manner.interrupt.twice() => {
            association.abort(b"interrupted");
        }
    }
    problem
}

fn described(message: &Message) -> String {
    let order = if message.unordered { "unordered".to_owned() } else { format!("SSN {}", message.ssn) };
    format!(
        "message of {} bytes on stream {}, protocol {}, {order}, TSN {}",
        message.payload.len(),
        message.stream.0,
        message.ppid,
        message.tsn
    )
}
