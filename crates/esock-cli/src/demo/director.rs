//! Watches both ends of the demo's association, and waits for things to happen.

use super::messages::{Checker, Side};
use crate::words;
use esock::{Address, Association, CloseReason, Event, Negotiated, PathState, PathStats, Received, Receiver};
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Something that did not hold.
#[derive(Debug)]
pub struct Problem(pub String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long anything may take that the demo waits for.
const PATIENCE: Duration = Duration::from_secs(4);

/// What is known of one end.
#[derive(Debug)]
pub struct End {
    /// What was negotiated, once it is up.
    pub up: Option<Negotiated>,
    /// The last state told of each path.
    pub paths: BTreeMap<Address, PathState>,
    /// The path that new data goes over, once it was told.
    pub in_use: Option<Address>,
    /// What has arrived here.
    pub arrived: Checker,
    /// How it ended.
    pub closed: Option<CloseReason>,
}

/// A moment in the life of an end.
#[derive(Debug)]
pub struct Moment {
    /// When.
    pub at: Instant,
    /// Where.
    pub side: Side,
    /// What, in words.
    pub words: String,
}

/// Watches both ends.
#[derive(Debug)]
pub struct Director {
    ends: [End; 2],
    arriving: mpsc::Receiver<(Side, Instant, Received)>,
    /// What was told since this was last taken.
    pub moments: Vec<Moment>,
}

impl Director {
    /// Watches what the two receivers give.
    pub fn watch(client: Receiver, server: Receiver) -> Self {
        let (sender, arriving) = mpsc::channel(64);
        for (side, mut receiver) in [(Side::Client, client), (Side::Server, server)] {
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Some(received) = receiver.recv().await {
                    if sender.send((side, Instant::now(), received)).await.is_err() {
                        return;
                    }
                }
            });
        }
        let ends = Side::BOTH.map(|side| End {
            up: None,
            paths: BTreeMap::new(),
            in_use: None,
            arrived: Checker::new(side.other()),
            closed: None,
        });
        Self { ends, arriving, moments: Vec::new() }
    }

    /// What is known of one end.
    pub fn end(&self, side: Side) -> &End {
        &self.ends[side as usize]
    }

    /// Whether something holds at both ends.
    pub fn both(&self, holds: impl Fn(&End) -> bool) -> bool {
        self.ends.iter().all(holds)
    }

    /// Waits until `reached`; `what` names it if it does not happen.
    pub async fn until(&mut self, what: &str, reached: impl Fn(&Self) -> bool) -> Result<(), Problem> {
        let deadline = Instant::now() + PATIENCE;
        while !reached(self) {
            let next = tokio::time::timeout_at(deadline.into(), self.arriving.recv()).await;
            match next {
                Ok(Some((side, at, received))) => self.take(side, at, received)?,
                Ok(None) => {
                    return Err(Problem(format!("both ends are gone, still waiting for: {what}")));
                }
                Err(_) => {
                    return Err(Problem(format!("waited {} s in vain for: {what}", PATIENCE.as_secs())));
                }
            }
        }
        Ok(())
    }

    /// Watches for a time, whatever happens.
    pub async fn for_a_while(&mut self, time: Duration) -> Result<(), Problem> {
        let deadline = Instant::now() + time;
        while let Ok(next) = tokio::time::timeout_at(deadline.into(), self.arriving.recv()).await {
            let Some((side, at, received)) = next else {
                return Err(Problem("both ends are gone".to_owned()));
            };
            self.take(side, at, received)?;
        }
        Ok(())
    }

    fn take(&mut self, side: Side, at: Instant, received: Received) -> Result<(), Problem> {
        let end = &mut self.ends[side as usize];
        let event = match received {
            Received::Message(message) => {
                return end
                    .arrived
                    .take(&message)
                    .map_err(|problem| Problem(format!("the {} received {problem}", side.name())));
            }
            Received::Event(event) => event,
            _ => return Ok(()),
        };
        match &event {
            Event::Up(negotiated) => end.up = Some(*negotiated),
            Event::Path { remote, state, .. } => {
                end.paths.insert(*remote, *state);
            }
            Event::PathInUse { remote, .. } => end.in_use = Some(*remote),
            Event::Undelivered(_) | Event::PeerError { .. } | Event::Restarted(_) => {
                let words = words::event(&event).unwrap_or_default();
                return Err(Problem(format!("the {} was told: {words}", side.name())));
            }
            Event::Closed(reason) => end.closed = Some(reason.clone()),
            _ => {}
        }
        if let Some(words) = words::event(&event) {
            self.moments.push(Moment { at, side, words });
        }
        Ok(())
    }
}

/// The paths of an association as they are now.
pub fn paths(association: &Association) -> Vec<PathStats> {
    association.stats().map(|stats| stats.paths).unwrap_or_default()
}

/// Whether every path of an association is active, and there are `count` of them.
pub fn all_active(association: &Association, count: usize) -> bool {
    let paths = paths(association);
    paths.len() == count && paths.iter().all(|path| path.state == PathState::Active)
}
