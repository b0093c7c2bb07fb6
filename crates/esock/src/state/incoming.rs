//! Peers that want an association, and associations that want an owner.

use super::State;
use crate::endpoint::Core;
use crate::link::{EndpointKey, LinkId, Sink};
use crate::owner::{Candidate, Filter};
use esock_io::Incoming;
use esock_proto::Time;
use std::sync::Weak;

/// Associations that were accepted and that nobody has taken; more peers have to try again.
const MAX_BACKLOG: usize = 128;

/// Filters have to be asked, outside the lock.
#[derive(Debug)]
pub struct Question {
    about: About,
    filters: Vec<(u64, Filter)>,
    endpoint: EndpointKey,
    /// The endpoint: its other shards have associations, too.
    core: Weak<Core>,
    candidate: Candidate,
}

/// Whom filters are asked about.
#[derive(Debug)]
enum About {
    /// A peer that wants an association.
    Peer(Incoming),
    /// An association whose owner has gone.
    Link(LinkId),
}

/// A question with its answer: the owner who said yes.
#[derive(Debug)]
pub struct Answer {
    about: About,
    owner: Option<u64>,
}

impl Question {
    /// Asks the filters in their order.
    pub fn ask(mut self) -> Answer {
        if let Some(core) = self.core.upgrade().filter(|core| core.shards.len() > 1) {
            self.candidate.associations = core.association_count();
        }
        let says_yes = self.filters.iter().find(|(_, filter)| filter.accepts(&self.candidate));
        Answer { owner: says_yes.map(|(owner, _)| *owner), about: self.about }
    }
}

impl State {
    pub(super) fn on_incoming(&mut self, now: Time, incoming: Incoming) {
        let key = self.by_id.get(&incoming.endpoint).copied();
        let Some((key, endpoint)) = key.and_then(|key| Some((key, self.endpoints.get(&key)?))) else {
            return self.transport.ignore(incoming);
        };
        if endpoint.shut {
            return self.transport.ignore(incoming);
        }
        if endpoint.owners.is_empty() {
            if endpoint.accepting {
                self.take_into_backlog(now, key, incoming);
            } else {
                self.transport.ignore(incoming);
            }
            return;
        }
        let candidate = Candidate::new(&incoming);
        self.questions.push_back(Question {
            about: About::Peer(incoming),
            filters: endpoint.owners.clone(),
            endpoint: key,
            core: endpoint.core.clone(),
            candidate,
        });
    }

    fn take_into_backlog(&mut self, now: Time, key: EndpointKey, incoming: Incoming) {
        let Some(endpoint) = self.endpoints.get_mut(&key).filter(|endpoint| endpoint.backlog.len() < MAX_BACKLOG)
        else {
            return self.transport.ignore(incoming);
        };
        if let Some(assoc) = self.transport.accept(now, incoming) {
            let id = self.links.insert(key, Some(assoc), Sink::Backlog);
            endpoint.members.insert(id);
            endpoint.backlog.push_back(id);
            endpoint.acceptors.wake_all(&mut self.wakes);
        }
    }

    /// Nobody accepts any more: of those that wait for it each is his who has looked it up, or ends.
    pub fn clear_backlog(&mut self, now: Time, key: EndpointKey) {
        let Some(endpoint) = self.endpoints.get_mut(&key) else { return };
        for id in std::mem::take(&mut endpoint.backlog) {
            self.give(now, id, None);
        }
    }

    /// Begins to ask the questions that there are, unless somebody does that already; says how many.
    pub fn begin_to_ask(&mut self) -> usize {
        let count = if self.asking { 0 } else { self.questions.len() };
        self.asking |= count > 0;
        count
    }

    /// The next question. What its filters may count is as the answers so far have made it.
    pub fn next_question(&mut self) -> Option<Question> {
        let mut question = self.questions.pop_front()?;
        question.candidate.associations = self.association_count(question.endpoint);
        Some(question)
    }

    /// The end of [`State::begin_to_ask`]; says whether there are more questions meanwhile.
    pub fn end_asking(&mut self) -> bool {
        self.asking = false;
        !self.questions.is_empty()
    }

    /// The filters have decided.
    pub fn on_answer(&mut self, now: Time, answer: Answer) {
        match answer.about {
            About::Peer(incoming) => self.decide(now, incoming, answer.owner),
            About::Link(id) => self.give(now, id, answer.owner),
        }
    }

    fn decide(&mut self, now: Time, incoming: Incoming, owner: Option<u64>) {
        let key = self.by_id.get(&incoming.endpoint).copied();
        let Some((key, endpoint)) = key.and_then(|key| Some((key, self.endpoints.get_mut(&key)?))) else {
            return self.transport.ignore(incoming);
        };
        if endpoint.shut {
            return self.transport.ignore(incoming);
        }
        match owner {
            Some(owner) => match self.owners.get_mut(&owner) {
                Some(state) => {
                    if let Some(assoc) = self.transport.accept(now, incoming) {
                        let id = self.links.insert(key, Some(assoc), Sink::Owner { owner, queued: false });
                        endpoint.members.insert(id);
                        state.open += 1;
                    }
                }
                // The owner went while its filter thought.
                None => self.transport.ignore(incoming),
            },
            None if endpoint.accepting => self.take_into_backlog(now, key, incoming),
            None => self.transport.refuse(now, incoming, b""),
        }
    }

    /// Looks for another owner of an association whose own has gone.
    pub fn hand_over(&mut self, now: Time, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        let (key, assoc) = (link.endpoint, link.assoc);
        let Some(endpoint) = self.endpoints.get(&key).filter(|_| link.closed.is_none()) else {
            return self.give(now, id, None);
        };
        link.sink = Sink::Undecided;
        let stats = assoc.and_then(|assoc| self.transport.association(now, assoc));
        let candidate = match (&stats, &link.supervisor) {
            (Some(stats), _) => Candidate::of(stats),
            (None, Some(supervisor)) => Candidate::at(&supervisor.to.peer),
            (None, None) => return self.give(now, id, None),
        };
        self.questions.push_back(Question {
            about: About::Link(id),
            filters: endpoint.owners.clone(),
            endpoint: key,
            core: endpoint.core.clone(),
            candidate,
        });
    }

    /// Gives an association to an owner, or to whoever holds it; ends it if nobody does.
    pub fn give(&mut self, now: Time, id: LinkId, owner: Option<u64>) {
        let Some(link) = self.links.get_mut(id) else { return };
        match owner.and_then(|owner| Some((owner, self.owners.get_mut(&owner)?))) {
            Some((owner, state)) => {
                link.sink = Sink::Owner { owner, queued: false };
                state.open += usize::from(!link.finished);
                if let (Some(negotiated), None) = (link.up, &link.closed) {
                    // It is told of a new association as of any other.
                    link.begin_again(negotiated);
                }
                self.wake_reader(id);
            }
            None => {
                link.sink = Sink::Receiver { held: false };
                link.make_room(&mut self.wakes);
                if link.handle.strong_count() == 0 && link.supervisor.is_none() {
                    self.orphan(now, id);
                }
            }
        }
    }
}
