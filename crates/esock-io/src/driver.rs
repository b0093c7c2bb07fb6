//! A stack with its sockets.

mod outgoing;

use crate::clock;
use crate::config::{Backend, DriverConfig, Protocol};
use crate::error::{ClaimError, DriverError, EndpointError};
use crate::impair::Impairment;
use crate::shards::{Member, Seat};
use crate::sockets::{self, Sockets};
use crate::wait::{self, Interest, Ready};
use esock_proto::{Datagram, EndpointConfig, EndpointId, Icmp, Stack, Time};
use outgoing::Batch;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Packets of one poll of the stack: what the kernel segments at once.
const MAX_SEGMENTS: usize = 64;

/// The least that a stack may be given to write to.
const SEND_BUFFER_BYTES: usize = 1 << 16;

/// Turns in a row without a packet after which the error queues are looked at: a queue that nobody
/// reads keeps its socket ready, and whoever waits for it would spin.
const IDLE_TURNS: u32 = 2;

/// Who waits for less does not begin with a nap, whose end is known to some milliseconds only.
#[cfg(target_os = "linux")]
const SHORTEST_NAPPED: Duration = crate::udp::NAP.saturating_mul(2);

/// Who spins looks at sockets that have always been quiet once in so many times.
const LOOKS: u32 = 16;

/// Who spins for longer spins for ever.
const LONGEST_SPIN: Duration = Duration::from_secs(365 * 24 * 3600);

/// What is done so much later than it was due finds packets that nobody was told of yet.
const LATE: Duration = Duration::from_millis(5);

/// For so long, at most, packets that have come go before what is due.
const LONGEST_PUT_OFF: Duration = Duration::from_millis(20);

/// While another process answers for the SCTP ports that nobody has, how often we ask whether it still does.
const REST_INTERVAL: Duration = Duration::from_secs(5);

/// Random ports tried where an endpoint gave none.
const PORT_ATTEMPTS: usize = 64;

/// What became of [`DriverConfig::backend`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Chosen {
    /// What is spoken.
    pub protocol: Protocol,
    /// `Kernel`, `Raw` (our stack: native SCTP and UDP encapsulation) or `Udp` (our stack, encapsulation only).
    pub backend: Backend,
    /// Why, in words for people.
    pub why: String,
    /// Our UDP port.
    pub udp_port: Option<u16>,
    /// What is not as it was asked for, in words for people.
    pub warnings: Vec<String>,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Turn {
    /// When to call again if no socket becomes ready before.
    pub deadline: Option<Time>,
    /// Call again at once: there may be more to receive or to send.
    pub more: bool,
    /// Packets received in this turn.
    pub received: usize,
    /// Batches of packets sent in this turn.
    pub sent: usize,
}

/// Counters of a driver, all since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DriverStats {
    /// Packets received.
    pub packets_received: u64,
    /// Packets that the stack gave to be sent.
    pub packets_sent: u64,
    /// Bytes of these, without IP and UDP headers.
    pub bytes_sent: u64,
    /// System calls that sent them.
    pub send_calls: u64,
    /// Packets that this host refused: no route, too large, a firewall.
    pub send_drops: u64,
    /// How often a socket took no more for the time being.
    pub send_blocked: u64,
    /// Packets and reports given to other shards, which they belong to.
    pub forwarded: u64,
    /// The same taken from other shards.
    pub taken_over: u64,
    /// Those of them that were dropped, since the other shard had too many.
    pub forward_drops: u64,
}

/// Tells a stack which shard it is: each has random numbers of its own, and its part of what the port may do in a second.
fn apart(mut seed: [u8; 32], config: &mut DriverConfig) -> [u8; 32] {
    let Some(seat) = &config.seat else { return seed };
    let stack = &mut config.stack;
    stack.shard = seat.shard();
    for limit in [&mut stack.ootb_replies_per_second, &mut stack.init_acks_per_second] {
        *limit = limit.div_ceil(u32::from(seat.count()));
    }
    for (byte, index) in seed.iter_mut().rev().zip(seat.index().to_le_bytes()) {
        *byte ^= index;
    }
    seed
}

/// Hands a packet to the stack, or to the shard that it belongs to.
fn deliver(stack: &mut Stack, member: &mut Option<Member>, now: Time, datagram: Datagram<'_>) {
    match member {
        None => stack.handle_datagram(now, datagram),
        Some(member) => member.deliver(stack, now, datagram),
    }
}

/// The same for a report.
fn report(stack: &mut Stack, member: &mut Option<Member>, now: Time, icmp: Icmp<'_>) {
    match member {
        None => stack.handle_icmp(now, icmp),
        Some(member) => member.report(stack, now, icmp),
    }
}

/// A stack with its sockets. Does nothing by itself: call [`Driver::turn`] when a socket is ready,
/// when the deadline has come, and after commands to the stack ([`Driver::flush`] suffices there).
#[derive(Debug)]
pub struct Driver {
    pub(crate) stack: Stack,
    /// Its part in a group of drivers.
    pub(crate) member: Option<Member>,
    sockets: Sockets,
    chosen: Chosen,
    impairment: Impairment,
    /// What the stack is given to write to, twice over: behind what waits for more there is always enough.
    buffer: Box<[u8]>,
    /// What the socket would not take. It lies in `buffer`, whichever is next to be sent first.
    pending: VecDeque<Batch>,
    claimed: BTreeMap<u16, u32>,
    idle_turns: u32,
    /// When to ask next whether another process still answers for the ports that nobody has; none: it is not our task,
    /// or we do.
    pub(crate) rest_due: Option<Time>,
    /// Since when something is due that waits for packets which have come already.
    due_since: Option<Time>,
    /// What the last wait found; the next turn asks only those.
    ready: Option<Ready>,
    busy_poll: Option<Duration>,
    /// Until when waits do not sleep; none: the next wait says so.
    awake_until: Option<Time>,
    /// Turns that have looked for packets without being told of any; and the sockets that have had traffic, a bit each.
    looks: u32,
    lively: u64,
    stats: DriverStats,
}

impl Driver {
    /// Opens sockets and an empty stack.
    pub fn open(mut config: DriverConfig) -> Result<Self, DriverError> {
        // First, since with the sockets comes a place in the group, which only a member gives back.
        let seed = match config.seed {
            Some(seed) => seed,
            None => clock::seed().map_err(|error| DriverError::Socket { doing: "asking for randomness", error })?,
        };
        let (mut sockets, chosen) = sockets::open(&config)?;
        config.stack.native = chosen.backend == Backend::Raw;
        let wants_rest = config.stack.answers_for_nobody && config.stack.native;
        config.stack.answers_for_nobody = wants_rest && sockets.claim_rest();
        let rest_due = (wants_rest && !config.stack.answers_for_nobody).then(|| clock::now() + REST_INTERVAL);
        let seed = apart(seed, &mut config);
        let impairment_seed = seed.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Ok(Self {
            stack: Stack::new(config.stack, seed, clock::now()),
            member: config.seat.map(Member::new),
            sockets,
            chosen,
            impairment: Impairment::new(impairment_seed),
            buffer: vec![0; 2 * SEND_BUFFER_BYTES].into_boxed_slice(),
            pending: VecDeque::new(),
            claimed: BTreeMap::new(),
            idle_turns: 0,
            rest_due,
            due_since: None,
            ready: None,
            busy_poll: config.busy_poll,
            awake_until: None,
            looks: 0,
            lively: 0,
            stats: DriverStats::default(),
        })
    }

    /// The stack.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The stack, for commands and events. What it then has to send leaves with [`Driver::flush`].
    pub fn stack_mut(&mut self) -> &mut Stack {
        &mut self.stack
    }

    /// The driver's clock: time since the host booted, which on Linux goes on through a suspend.
    pub fn now(&self) -> Time {
        clock::now()
    }

    /// Which backend this is, and why.
    pub fn backend(&self) -> &Chosen {
        &self.chosen
    }

    /// Its place among the drivers that share its UDP port.
    pub fn seat(&self) -> Option<Seat> {
        self.member.as_ref().map(Member::seat)
    }

    /// Counters.
    pub fn stats(&self) -> DriverStats {
        let traffic = self.member.as_ref().map(|member| member.traffic).unwrap_or_default();
        DriverStats {
            forwarded: traffic.forwarded,
            taken_over: traffic.taken_over,
            forward_drops: traffic.dropped,
            ..self.stats
        }
    }

    /// The bad network that packets pass: by default, a perfect one.
    pub fn impairment(&mut self) -> &mut Impairment {
        &mut self.impairment
    }

    /// Opens an endpoint of the stack and claims its SCTP port. With port 0, a random one is taken that
    /// can be claimed.
    pub fn open_endpoint(&mut self, config: EndpointConfig) -> Result<EndpointId, EndpointError> {
        let id = self.open_claimed(config)?;
        if let Some(member) = &mut self.member {
            member.open(id, self.stack.endpoint_port(id).unwrap_or_default(), self.stack.endpoint_addresses(id));
        }
        Ok(id)
    }

    fn open_claimed(&mut self, config: EndpointConfig) -> Result<EndpointId, EndpointError> {
        if config.port != 0 {
            self.claim_port(config.port).map_err(EndpointError::Claim)?;
            let port = config.port;
            return self.stack.open(config).map_err(|error| {
                self.release_port(port);
                EndpointError::Open(error)
            });
        }
        let mut attempts = PORT_ATTEMPTS;
        loop {
            let endpoint = self.stack.open(config.clone()).map_err(EndpointError::Open)?;
            let Some(port) = self.stack.endpoint_port(endpoint) else { return Ok(endpoint) };
            let Err(error) = self.claim_port(port) else { return Ok(endpoint) };
            self.stack.close(clock::now(), endpoint);
            attempts -= 1;
            if attempts == 0 || !matches!(error, ClaimError::InUse { .. }) {
                return Err(EndpointError::Claim(error));
            }
        }
    }

    /// Closes an endpoint of the stack, aborting its associations, and gives its SCTP port back.
    pub fn close_endpoint(&mut self, now: Time, endpoint: EndpointId) {
        let port = self.stack.endpoint_port(endpoint);
        self.stack.close(now, endpoint);
        if let Some(member) = &mut self.member {
            member.close(&mut self.stack, endpoint);
        }
        if let Some(port) = port {
            self.release_port(port);
        }
    }

    /// Claims an SCTP port for this driver and begins to receive its packets. On raw IP only one process
    /// of a network namespace can have a port; over UDP there is nothing to claim. As often as it was
    /// claimed, a port must be released; all are when the driver is dropped.
    ///
    /// [`Driver::open_endpoint`] does this.
    pub fn claim_port(&mut self, port: u16) -> Result<(), ClaimError> {
        if !self.claimed.contains_key(&port) {
            self.sockets.claim_port(port)?;
        }
        *self.claimed.entry(port).or_default() += 1;
        Ok(())
    }

    /// Gives a claimed SCTP port back.
    pub fn release_port(&mut self, port: u16) {
        let Some(count) = self.claimed.get_mut(&port) else { return };
        *count -= 1;
        if *count == 0 {
            self.claimed.remove(&port);
            self.sockets.release_port(port);
        }
    }

    /// Closes all sockets: nothing is received or sent any more, and their ports are free. For after
    /// [`Driver::turn`] has failed.
    pub fn close_sockets(&mut self) {
        self.pending.clear();
        self.member = None;
        self.sockets = Sockets::none();
    }

    /// What to wait for besides [`Turn::deadline`]. Ask again after each turn: whether it is of interest
    /// that a socket is writable changes.
    pub fn interests(&self) -> impl Iterator<Item = Interest> {
        let bell = self.member.iter().map(|member| Interest { fd: member.bell(), writable: false });
        self.sockets.interests().chain(bell)
    }

    /// Duplicates of the descriptors of [`Driver::interests`], in their order: for runtimes that want to own
    /// what they watch.
    pub fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        self.interests().map(|interest| crate::sys::duplicate(interest.fd)).collect()
    }

    /// Waits until a socket is ready or `timeout` has passed (`None`: for ever); may return early. For
    /// programs without a runtime. For as long after a packet as [`DriverConfig::busy_poll`] says, it does not wait at all.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if let Some(time) = self.busy_poll {
            let now = clock::now();
            let until = *self.awake_until.get_or_insert_with(|| now + time.min(LONGEST_SPIN));
            if now < until {
                // The turn that follows looks itself: that is one system call less than to be told of it.
                self.spin();
                return Ok(());
            }
        }
        let Some(timeout) = self.nap(timeout)? else {
            self.ready = Some(Ready::news(1));
            return Ok(());
        };
        self.ready = Some(wait::wait(self.interests(), timeout)?);
        Ok(())
    }

    /// The beginning of a wait, where a socket can be waited for without being asked first. Says for how long to wait on;
    /// `None`: something has come.
    #[cfg(target_os = "linux")]
    fn nap(&mut self, timeout: Option<Duration>) -> io::Result<Option<Option<Duration>>> {
        if self.member.is_some() || timeout.is_some_and(|timeout| timeout < SHORTEST_NAPPED) {
            return Ok(Some(timeout));
        }
        let began = clock::now();
        if self.sockets.nap()? {
            return Ok(None);
        }
        Ok(Some(timeout.map(|timeout| timeout.saturating_sub(clock::now().since(began)))))
    }

    #[cfg(not(target_os = "linux"))]
    fn nap(&mut self, timeout: Option<Duration>) -> io::Result<Option<Option<Duration>>> {
        Ok(Some(timeout))
    }

    /// Has the next turn look for packets although nobody was told of any: at the sockets that have had traffic, and now
    /// and then at all.
    pub(crate) fn spin(&mut self) {
        self.looks = self.looks.wrapping_add(1);
        self.lively |= self.sockets.take_used();
        let all = self.looks.is_multiple_of(LOOKS) || self.lively == 0;
        self.ready = Some(Ready::spin(if all { u64::MAX } else { self.lively }));
    }

    /// Says what a wait of another kind has found, for the next turn: bit k is for the k-th of [`Driver::interests`],
    /// and sockets without a bit are not asked. Sockets beyond the 64th always are.
    pub fn set_ready(&mut self, bits: u64) {
        self.ready = Some(Ready::news(bits));
    }

    /// As [`Driver::set_ready`], for whoever turns until a turn has received nothing: the sockets that have bits are asked,
    /// and those that have received or sent something since the last time, because a peer on this host has answered by
    /// now. That is one system call less for each turn.
    pub fn set_ready_until_empty(&mut self, bits: u64) {
        let bits = bits | self.sockets.take_used();
        self.ready = Some(Ready::until_empty(bits));
    }

    /// Receives what has arrived (a bounded number of packets), feeds the stack, does what is due, and
    /// sends what there is. Never blocks. An error is a socket's end: the driver is of no more use.
    pub fn turn(&mut self, now: Time) -> io::Result<Turn> {
        if self.impairment.is_broken() {
            return Err(io::Error::other("the sockets were broken on purpose"));
        }
        let mut ready = self.ready.take().unwrap_or(Ready::ALL);
        if self.stack.poll_timeout().is_some_and(|due| due + LATE <= now) {
            ready = ready.at_all();
        }
        let Self { stack, member, sockets, impairment, .. } = self;
        let taken_over = member.as_mut().map_or(0, |member| member.collect(stack, now));
        // Packets reach the stack through the one closure, reports through the other.
        let stack = RefCell::new((stack, member));
        let received = sockets.receive(
            ready,
            &mut |datagram: Datagram<'_>| {
                if impairment.receive(now, &datagram) {
                    let (stack, member) = &mut *stack.borrow_mut();
                    deliver(stack, member, now, datagram);
                }
            },
            &mut |icmp| {
                let (stack, member) = &mut *stack.borrow_mut();
                report(stack, member, now, icmp);
            },
        )?;
        self.stats.packets_received += received.packets as u64;
        self.do_what_is_due(now, received.more);
        let mut turn = self.flush(now);
        turn.received = received.packets + taken_over;
        turn.more |= received.more;
        if turn.received + turn.sent > 0 {
            self.awake_until = None;
        }
        if !ready.spins {
            self.look_at_errors(now, &turn);
        }
        Ok(turn)
    }

    /// Does what is due. Who was held up, this process or its host, finds packets waiting that answer what would be taken
    /// for lost: these come first, but for a flood nothing waits for long.
    fn do_what_is_due(&mut self, now: Time, more: bool) {
        self.ask_for_rest(now);
        if self.stack.poll_timeout().is_none_or(|time| time > now) {
            self.due_since = None;
            return;
        }
        let since = *self.due_since.get_or_insert(now);
        if !more || now.since(since) >= LONGEST_PUT_OFF {
            self.due_since = None;
            self.stack.handle_timeout(now);
        }
    }

    /// The last part of [`Driver::turn`]: sends what there is, and neither looks for packets nor does what is due. For after a
    /// command, where the sockets are watched anyway.
    pub fn flush(&mut self, now: Time) -> Turn {
        let mut turn = Turn::default();
        if self.send_pending(now) && self.pass_held(now) {
            turn.more |= self.send_new(now, &mut turn.sent);
            // What has no delay of its own goes at once.
            self.pass_held(now);
        }
        if let Some(member) = &self.member {
            member.settle(&mut self.stack);
        }
        let due = [self.stack.poll_timeout(), self.impairment.deadline(), self.rest_due];
        turn.deadline = due.into_iter().flatten().min();
        if self.is_blocked() && turn.deadline.is_some_and(|time| time <= now) {
            // Held packets are due, and go when the socket is writable.
            turn.deadline = self.stack.poll_timeout();
        }
        turn
    }

    /// The process that answered for the ports that nobody has may have ended: then we do.
    fn ask_for_rest(&mut self, now: Time) {
        if self.rest_due.is_none_or(|at| now < at) {
            return;
        }
        let is_ours = self.sockets.claim_rest();
        self.stack.set_answers_for_nobody(is_ours);
        self.rest_due = (!is_ours).then(|| now + REST_INTERVAL);
    }

    /// Whether a socket takes no more: nothing is asked of the stack before it does.
    fn is_blocked(&self) -> bool {
        !self.pending.is_empty() || self.sockets.interests().any(|interest| interest.writable)
    }

    fn look_at_errors(&mut self, now: Time, turn: &Turn) {
        if turn.received + turn.sent > 0 {
            self.idle_turns = 0;
            return;
        }
        self.idle_turns += 1;
        if self.idle_turns >= IDLE_TURNS {
            let Self { stack, member, sockets, .. } = self;
            sockets.drain_errors(&mut |icmp| report(stack, member, now, icmp));
        }
    }
}
