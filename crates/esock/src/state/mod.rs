//! What a shard's lock protects: the backend, and who waits for what.

mod events;
mod incoming;
mod lifecycle;
mod reopen;
mod supervise;

pub use incoming::Question;

use crate::association::Handle;
use crate::busy::BusyPoll;
use crate::crowd::Crowd;
use crate::endpoint::Core;
use crate::events::EndpointEvent;
use crate::line::{For, Line};
use crate::link::{EndpointKey, Link, LinkId, Links};
use crate::owner::{Filter, OnDrop};
use crate::supervisor::Supervisor;
use esock_io::Transport;
use esock_proto::{Address, AssocId, EndpointConfig, EndpointId, Time};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

/// For so long after packets have left, messages that follow do not leave one by one: the answer is not here yet.
const GATHERED: Duration = Duration::from_micros(50);

/// An owner's line.
#[derive(Debug)]
pub struct OwnerState {
    pub endpoint: EndpointKey,
    /// Associations that have something, each once.
    pub ready: VecDeque<LinkId>,
    /// The task that reads.
    pub reader: Option<Waker>,
    /// Associations that it has not read to their end.
    pub open: usize,
    /// What happened to its endpoint.
    pub events: VecDeque<EndpointEvent>,
    pub on_drop: OnDrop,
}

/// An endpoint, as far as the API is concerned.
#[derive(Debug)]
pub struct EndpointState {
    /// The backend's endpoint.
    pub id: EndpointId,
    /// What it is opened with, should its sockets have to be opened anew.
    pub config: EndpointConfig,
    pub core: Weak<Core>,
    /// `accept` has been called.
    pub accepting: bool,
    pub backlog: VecDeque<LinkId>,
    pub acceptors: Line,
    /// In order of registration.
    pub owners: Vec<(u64, Filter)>,
    /// Its associations.
    pub members: HashSet<LinkId>,
    /// Whom its supervised associations are to reach: found here also while they are down.
    pub supervised: HashMap<(Address, u16), LinkId>,
    /// Who watches it, by number.
    pub watchers: Vec<(u64, Watcher)>,
    /// Its last `Endpoint` was dropped, or it is being closed: nobody is accepted any more.
    pub shut: bool,
    /// Nobody holds it any more: it goes when its associations have gone.
    pub closing: bool,
    /// It was closed by its user.
    pub closed: bool,
    /// Tasks that wait for its associations to go.
    pub closers: Line,
}

/// A number for an endpoint, an owner or a watcher: the same in all shards that it is in.
pub fn new_number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// What waits for who watches an endpoint.
#[derive(Debug, Default)]
pub struct Watcher {
    pub events: VecDeque<EndpointEvent>,
    pub reader: Option<Waker>,
}

/// What goes when nothing is locked: dropping it may run the user's code, or lock again.
#[derive(Debug, Default)]
pub struct Gone {
    pub filters: Vec<(u64, Filter)>,
    pub links: Vec<Link>,
    pub endpoints: Vec<EndpointState>,
    pub supervisors: Vec<Supervisor>,
}

impl Gone {
    pub fn is_empty(&self) -> bool {
        let Self { filters, links, endpoints, supervisors } = self;
        filters.is_empty() && links.is_empty() && endpoints.is_empty() && supervisors.is_empty()
    }
}

/// See the module.
#[derive(Debug)]
pub struct State {
    pub transport: Box<dyn Transport>,
    pub links: Links,
    pub endpoints: HashMap<EndpointKey, EndpointState>,
    by_id: HashMap<EndpointId, EndpointKey>,
    pub owners: HashMap<u64, OwnerState>,
    /// Associations without handles, and when they are aborted.
    orphans: BTreeSet<(Time, LinkId)>,
    /// Supervised associations that are down, and when they are tried again.
    retries: BTreeSet<(Time, LinkId)>,
    random: StdRng,
    questions: VecDeque<Question>,
    /// Somebody is asking them.
    asking: bool,
    /// Tasks to be woken when the lock is released.
    pub wakes: Vec<Waker>,
    /// Wakers that nobody needs any more: dropping one may run the user's code, or lock again. They go when the lock is
    /// released.
    pub replaced: Vec<Waker>,
    pub gone: Gone,
    /// When the backend wants its next turn, as of the last one.
    pub deadline: Option<Time>,
    /// When packets last left.
    pub left_at: Time,
    /// The background task was told that messages wait for it.
    pub gathering: bool,
    /// A socket has reports about packets of ours: the next turn asks all, which finds them.
    pub has_reports: bool,
    /// Until when the background task sleeps.
    pub sleeps_until: Option<Time>,
    pub busy_poll: BusyPoll,
    pub crowd: Crowd,
    /// The background task runs; without endpoints it ends, and begins again with the next one.
    pub running: bool,
    /// Endpoints that are being opened: the background task stays for them.
    pub opening: usize,
    /// The sockets failed and are to be opened anew.
    broken: bool,
    /// The sockets or the runtime failed for good: nothing goes on here.
    pub failed: bool,
}

impl State {
    pub fn new(transport: Box<dyn Transport>, shard: u16) -> Self {
        // Jitter only: the clock is random enough.
        let random = StdRng::seed_from_u64(transport.now().as_nanos() ^ u64::from(std::process::id()) << 32);
        Self {
            transport,
            links: Links::new(shard),
            endpoints: HashMap::new(),
            by_id: HashMap::new(),
            owners: HashMap::new(),
            orphans: BTreeSet::new(),
            retries: BTreeSet::new(),
            random,
            questions: VecDeque::new(),
            asking: false,
            wakes: Vec::new(),
            replaced: Vec::new(),
            gone: Gone::default(),
            deadline: None,
            left_at: Time::ZERO,
            gathering: false,
            has_reports: false,
            sleeps_until: None,
            busy_poll: BusyPoll::default(),
            crowd: Crowd::default(),
            running: false,
            opening: 0,
            broken: false,
            failed: false,
        }
    }

    /// The backend's association behind a link.
    pub fn assoc(&self, id: LinkId) -> Option<AssocId> {
        self.links.get(id)?.assoc
    }

    /// The handle of a link: the one that the user has, or a new one. None once it has no user any more.
    pub fn handle(&mut self, core: &Arc<Core>, id: LinkId) -> Option<Arc<Handle>> {
        let link = self.links.get_mut(id).filter(|link| link.orphaned.is_none())?;
        Some(link.handle.upgrade().unwrap_or_else(|| {
            let handle = Arc::new(Handle::new(core.clone(), id));
            link.handle = Arc::downgrade(&handle);
            handle
        }))
    }

    /// How much there is to do here: associations of all endpoints, supervised ones also while they are down.
    pub fn load(&self) -> usize {
        let up: usize = self.endpoints.values().map(|endpoint| self.transport.association_count(endpoint.id)).sum();
        up + self.retries.len()
    }

    /// Who waits for what.
    pub fn line(&mut self, what: For) -> Option<&mut Line> {
        match what {
            For::Room(id) => self.links.get_mut(id).map(|link| &mut link.writers),
            For::Change(id) => self.links.get_mut(id).map(|link| &mut link.closers),
            For::Peer(key) => self.endpoints.get_mut(&key).map(|endpoint| &mut endpoint.acceptors),
            For::Calm(key) => self.endpoints.get_mut(&key).map(|endpoint| &mut endpoint.closers),
        }
    }

    /// When something is due, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Time> {
        let first = |set: &BTreeSet<(Time, LinkId)>| set.first().map(|(at, _)| *at);
        let retry = first(&self.retries).filter(|_| !self.broken);
        [self.transport.poll_timeout(), self.deadline, first(&self.orphans), retry].into_iter().flatten().min()
    }

    /// Whether nothing has to be sent, asked or told.
    pub fn is_settled(&self) -> bool {
        self.transport.is_quiet() && !self.has_news()
    }

    /// Whether there is something to send that the background task has not been told of.
    pub fn wants_transmit(&self) -> bool {
        !self.gathering && self.transport.wants_transmit()
    }

    /// Whether reading has brought something about: a window is open again, or there is room for who waits to send.
    pub fn has_opened(&self) -> bool {
        self.wants_transmit() || !self.wakes.is_empty()
    }

    /// Whether somebody has to be woken or asked, or something let go.
    fn has_news(&self) -> bool {
        !self.wakes.is_empty() || !self.questions.is_empty() || !self.gone.is_empty()
    }

    /// Whether nothing has happened and nothing is due.
    pub fn is_idle(&self, now: Time) -> bool {
        self.is_settled() && self.next_deadline().is_none_or(|at| now < at)
    }

    /// Whether nothing is left to do: no endpoint, and none that is being opened.
    pub fn is_over(&self) -> bool {
        self.endpoints.is_empty() && self.opening == 0 && !self.transport.wants_transmit()
    }

    /// Has the next turn look for packets, if there is busy polling, by which the background task is awake.
    pub fn begins_spin(&mut self, now: Time) -> bool {
        if !self.busy_poll.is_awake(now) || self.has_reports || self.is_over() || self.transport.is_blocked() {
            return false;
        }
        // Before it sleeps it asks when the next thing is due.
        self.sleeps_until = Some(Time::ZERO);
        self.transport.spin()
    }

    /// Whether messages of a link may wait for more: some of them have left a moment ago and are on their way, or other
    /// links are about to send, too.
    pub fn gathers(&mut self, now: Time, id: LinkId) -> bool {
        if self.has_news() {
            return false;
        }
        let follows = now.since(self.left_at) < GATHERED
            && self.assoc(id).is_some_and(|assoc| self.transport.in_flight(assoc) > 0);
        self.crowd.gathers(now) || follows
    }

    /// Takes from the backend what has happened, and does what is due.
    pub fn dispatch(&mut self, now: Time) {
        while let Some(incoming) = self.transport.poll_incoming() {
            self.on_incoming(now, incoming);
        }
        while let Some((id, event)) = self.transport.poll_event() {
            self.on_event(now, id, event);
        }
        self.retry_due(now);
        while let Some((at, id)) = self.orphans.pop_first() {
            if at > now {
                self.orphans.insert((at, id));
                break;
            }
            self.release(now, id);
        }
    }
}
