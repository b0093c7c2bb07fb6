//! What a shard's lock protects: the driver, and who waits for what.

use crate::inbox::{Inbox, Sink};
use crate::line::{For, Line};
use crate::owner::Filter;
use esock_io::Driver;
use esock_proto::{AssocId, CloseReason, EndpointId, Event, Incoming, Time};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::task::Waker;

/// Associations that were accepted and that nobody has taken; more peers have to try again.
const MAX_BACKLOG: usize = 128;

/// An owner's line.
#[derive(Debug, Default)]
pub struct OwnerState {
    /// Associations that have something, each once.
    pub ready: VecDeque<AssocId>,
    /// The task that reads.
    pub reader: Option<Waker>,
}

/// An endpoint, as far as the API is concerned.
#[derive(Debug, Default)]
pub struct EndpointState {
    /// `accept` has been called.
    pub accepting: bool,
    pub backlog: VecDeque<AssocId>,
    pub acceptors: Line,
    /// In order of registration.
    pub owners: Vec<(u64, Filter)>,
    /// Its last `Endpoint` was dropped, or it is being closed: nobody is accepted any more.
    pub shut: bool,
    /// Nobody holds it any more: it goes when its associations have gone.
    pub closing: bool,
    /// Tasks that wait for its associations to go.
    pub closers: Line,
}

/// What goes when nothing is locked: dropping it may run the user's code.
#[derive(Debug, Default)]
pub struct Gone {
    pub filters: Vec<(u64, Filter)>,
    pub inboxes: Vec<Inbox>,
    pub endpoints: Vec<EndpointState>,
}

/// A peer that filters have to be asked about, outside the lock.
#[derive(Debug)]
pub struct Question {
    pub incoming: Incoming,
    pub filters: Vec<(u64, Filter)>,
    pub associations: usize,
}

/// See the module.
#[derive(Debug)]
pub struct State {
    pub driver: Driver,
    pub inboxes: HashMap<AssocId, Inbox>,
    pub endpoints: HashMap<EndpointId, EndpointState>,
    pub owners: HashMap<u64, OwnerState>,
    pub last_owner: u64,
    /// Associations without handles, and when they are aborted.
    pub orphans: BTreeMap<(Time, AssocId), ()>,
    pub questions: Vec<Question>,
    /// Tasks to be woken when the lock is released.
    pub wakes: Vec<Waker>,
    pub gone: Gone,
    /// When the driver wants its next turn, as of the last one.
    pub deadline: Option<Time>,
    /// Until when the background task sleeps.
    pub sleeps_until: Option<Time>,
    /// The background task runs; without endpoints it ends, and begins again with the next one.
    pub running: bool,
    /// Endpoints that are being opened: the background task stays for them.
    pub opening: usize,
    /// The sockets or the runtime failed: nothing goes on here.
    pub failed: bool,
}

impl State {
    pub fn new(driver: Driver) -> Self {
        Self {
            driver,
            inboxes: HashMap::new(),
            endpoints: HashMap::new(),
            owners: HashMap::new(),
            last_owner: 0,
            orphans: BTreeMap::new(),
            questions: Vec::new(),
            wakes: Vec::new(),
            gone: Gone::default(),
            deadline: None,
            sleeps_until: None,
            running: false,
            opening: 0,
            failed: false,
        }
    }

    /// Who waits for what.
    pub fn line(&mut self, what: For) -> Option<&mut Line> {
        match what {
            For::Room(id) => self.inboxes.get_mut(&id).map(|inbox| &mut inbox.writers),
            For::Change(id) => self.inboxes.get_mut(&id).map(|inbox| &mut inbox.closers),
            For::Peer(id) => self.endpoints.get_mut(&id).map(|endpoint| &mut endpoint.acceptors),
            For::Calm(id) => self.endpoints.get_mut(&id).map(|endpoint| &mut endpoint.closers),
        }
    }

    /// When something is due, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Time> {
        let orphan = self.orphans.first_key_value().map(|((at, _), ())| *at);
        [self.driver.stack().poll_timeout(), self.deadline, orphan].into_iter().flatten().min()
    }

    /// Takes from the stack what has happened.
    pub fn dispatch(&mut self, now: Time) {
        while let Some(incoming) = self.driver.stack_mut().poll_incoming() {
            self.on_incoming(now, incoming);
        }
        while let Some((id, event)) = self.driver.stack_mut().poll_event() {
            self.on_event(now, id, event);
        }
        while let Some(((at, id), ())) = self.orphans.pop_first() {
            if at > now {
                self.orphans.insert((at, id), ());
                break;
            }
            self.release(now, id);
        }
    }

    fn on_incoming(&mut self, now: Time, incoming: Incoming) {
        let id = incoming.endpoint();
        let stack = self.driver.stack_mut();
        let Some(endpoint) = self.endpoints.get_mut(&id) else { return stack.ignore(incoming) };
        if endpoint.owners.is_empty() {
            if endpoint.accepting {
                self.take_into_backlog(now, incoming);
            } else {
                stack.ignore(incoming);
            }
            return;
        }
        let associations = stack.association_count(id);
        self.questions.push(Question { incoming, filters: endpoint.owners.clone(), associations });
    }

    fn take_into_backlog(&mut self, now: Time, incoming: Incoming) {
        let endpoint_id = incoming.endpoint();
        let stack = self.driver.stack_mut();
        let Some(endpoint) = self.endpoints.get_mut(&endpoint_id) else { return stack.ignore(incoming) };
        if endpoint.backlog.len() >= MAX_BACKLOG {
            return stack.ignore(incoming);
        }
        if let Some(id) = stack.accept(now, incoming) {
            self.inboxes.insert(id, Inbox::new(id, Sink::Receiver));
            endpoint.backlog.push_back(id);
            endpoint.acceptors.wake_all(&mut self.wakes);
        }
    }

    /// A filter has decided.
    pub fn answer(&mut self, now: Time, incoming: Incoming, owner: Option<u64>) {
        let endpoint = incoming.endpoint();
        if self.endpoints.get(&endpoint).is_none_or(|endpoint| endpoint.shut) {
            return self.driver.stack_mut().ignore(incoming);
        }
        match owner {
            Some(owner) if self.owners.contains_key(&owner) => {
                if let Some(id) = self.driver.stack_mut().accept(now, incoming) {
                    self.inboxes.insert(id, Inbox::new(id, Sink::Owner { owner, queued: false }));
                }
            }
            // The owner went while its filter thought.
            Some(_) => self.driver.stack_mut().ignore(incoming),
            None if self.endpoints.get(&endpoint).is_some_and(|endpoint| endpoint.accepting) => {
                self.take_into_backlog(now, incoming);
            }
            None => self.driver.stack_mut().refuse(now, incoming, b""),
        }
    }

    fn on_event(&mut self, now: Time, id: AssocId, event: Event) {
        let ready = self.driver.stack().ready_messages(id);
        let Some(inbox) = self.inboxes.get_mut(&id) else { return };
        match &event {
            Event::Writable => {
                inbox.writers.wake_first(&mut self.wakes);
                return;
            }
            Event::Readable => return self.wake_reader(id),
            Event::Up(negotiated) => {
                inbox.up = Some(*negotiated);
                // Who waits in `connect` waits for this or for the end.
                inbox.closers.wake_all(&mut self.wakes);
            }
            Event::Restarted(negotiated) => {
                inbox.up = Some(*negotiated);
                inbox.generation += 1;
                inbox.writers.wake_all(&mut self.wakes);
            }
            Event::ShutdownReceived => inbox.writers.wake_all(&mut self.wakes),
            Event::Closed(reason) => {
                inbox.closed = Some(reason.clone());
                inbox.writers.wake_all(&mut self.wakes);
                inbox.closers.wake_all(&mut self.wakes);
            }
            _ => {}
        }
        let ended = matches!(event, Event::Closed(_));
        inbox.push(event, ready);
        let orphan = inbox.orphan;
        self.wake_reader(id);
        if ended {
            self.wake_endpoint_closers();
            if orphan {
                self.release(now, id);
            }
        }
    }

    fn wake_endpoint_closers(&mut self) {
        self.endpoints.values_mut().for_each(|endpoint| endpoint.closers.wake_all(&mut self.wakes));
    }

    /// Something is there to be read: wakes the receiver, or puts the association into its owner's line.
    pub fn wake_reader(&mut self, id: AssocId) {
        let Some(inbox) = self.inboxes.get_mut(&id) else { return };
        match &mut inbox.sink {
            Sink::Receiver => self.wakes.extend(inbox.reader.take()),
            Sink::Owner { owner, queued } => {
                if let Some(owner) = self.owners.get_mut(owner) {
                    if !*queued {
                        *queued = true;
                        owner.ready.push_back(id);
                    }
                    self.wakes.extend(owner.reader.take());
                }
            }
        }
    }

    /// Begins to end an association gracefully. Who waits to send is told.
    pub fn shutdown(&mut self, now: Time, id: AssocId) {
        // NotFound: it has gone already.
        let _ = self.driver.stack_mut().shutdown(now, id);
        if let Some(inbox) = self.inboxes.get_mut(&id) {
            inbox.writers.wake_all(&mut self.wakes);
        }
    }

    /// The last handle of an association was dropped.
    pub fn orphan(&mut self, now: Time, id: AssocId) {
        let Some(inbox) = self.inboxes.get_mut(&id) else { return };
        inbox.orphan = true;
        if inbox.closed.is_some() {
            return self.release(now, id);
        }
        self.shutdown(now, id);
        self.orphans.insert((now + crate::LINGER, id), ());
    }

    /// Forgets an association, and its endpoint if that only waited for it.
    pub fn release(&mut self, now: Time, id: AssocId) {
        let endpoint = self.driver.stack().association(now, id).map(|stats| stats.endpoint);
        self.driver.stack_mut().release(now, id);
        self.gone.inboxes.extend(self.inboxes.remove(&id));
        self.orphans.retain(|(_, orphan), ()| *orphan != id);
        if let Some(endpoint) = endpoint {
            self.close_if_done(now, endpoint);
        }
    }

    /// Closes an endpoint that nobody holds once its associations have gone.
    pub fn close_if_done(&mut self, now: Time, endpoint: EndpointId) {
        let closing = self.endpoints.get(&endpoint).is_some_and(|endpoint| endpoint.closing);
        if closing && self.driver.stack().association_count(endpoint) == 0 {
            self.close_endpoint(now, endpoint);
        }
    }

    /// Closes an endpoint now.
    pub fn close_endpoint(&mut self, now: Time, endpoint: EndpointId) {
        self.driver.close_endpoint(now, endpoint);
        if let Some(mut endpoint) = self.endpoints.remove(&endpoint) {
            endpoint.acceptors.wake_all(&mut self.wakes);
            endpoint.closers.wake_all(&mut self.wakes);
            self.gone.endpoints.push(endpoint);
        }
        self.wake_owners();
    }

    /// From now on an endpoint accepts nobody.
    pub fn shut(&mut self, endpoint: EndpointId) {
        self.driver.stack_mut().set_accepting(endpoint, false);
        if let Some(endpoint) = self.endpoints.get_mut(&endpoint) {
            endpoint.shut = true;
            endpoint.acceptors.wake_all(&mut self.wakes);
        }
        self.wake_owners();
    }

    /// Whether an endpoint accepts has changed.
    pub fn update_accepting(&mut self, id: EndpointId) {
        let Some(endpoint) = self.endpoints.get(&id) else { return };
        let accepting = !endpoint.shut && (endpoint.accepting || !endpoint.owners.is_empty());
        self.driver.stack_mut().set_accepting(id, accepting);
    }

    fn wake_owners(&mut self) {
        self.wakes.extend(self.owners.values_mut().filter_map(|owner| owner.reader.take()));
    }

    /// The driver failed: everybody is told.
    pub fn fail(&mut self) {
        self.failed = true;
        self.running = false;
        for inbox in self.inboxes.values_mut().filter(|inbox| inbox.closed.is_none()) {
            inbox.closed = Some(CloseReason::EndpointClosed);
            inbox.push(Event::Closed(CloseReason::EndpointClosed), usize::MAX >> 1);
            self.wakes.extend(inbox.reader.take());
            inbox.writers.wake_all(&mut self.wakes);
            inbox.closers.wake_all(&mut self.wakes);
        }
        self.wake_owners();
        for endpoint in self.endpoints.values_mut() {
            endpoint.acceptors.wake_all(&mut self.wakes);
            endpoint.closers.wake_all(&mut self.wakes);
        }
    }
}
