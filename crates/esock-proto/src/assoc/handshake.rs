//! Setting an association up (RFC 9260 §5.1).

use super::control::Control;
use super::{Association, Cx, Identity, Phase};
use crate::api::{CloseReason, Encapsulation, Event, Negotiated, PathState};
use crate::assoc::path::Paths;
use crate::assoc::rx::Rx;
use crate::assoc::tx::Tx;
use crate::config::Config;
use crate::stack::cookie::Cookie;
use crate::time::Time;
use crate::transmit::Local;
use crate::types::{Address, AssocId, EndpointId, PathId, VerificationTag};
use crate::wire::{
    CHUNK_HEADER_BYTES, Cause, HEADER_BYTES, Init, InitError, InitParams, OutParams, PacketBuilder, kind, param_type,
};
use std::sync::Arc;
use std::time::Duration;

/// How long native INITs have before the same INIT goes out in UDP as well.
const UDP_FALLBACK_AFTER: Duration = Duration::from_millis(250);
/// RFC 9260 §3.3.2: no receiver has less.
pub const MIN_A_RWND: u32 = 1500;

/// A packet with COOKIE ECHO and HEARTBEAT or ERROR, without the cookie and what is reported.
const COOKIE_ECHO_AND_HEARTBEAT_BYTES: usize = HEADER_BYTES + CHUNK_HEADER_BYTES + super::outbound::MIN_BEAT_ROOM;

/// What only an association that is being set up by us needs.
#[derive(Debug, Default)]
pub struct Setup {
    /// T1 expirations.
    pub attempts: u32,
    /// How often the peer called its cookie stale.
    pub stale: u32,
    /// The path of the last INIT or COOKIE ECHO.
    pub target: usize,
    /// Our addresses, for the INIT.
    pub advertise: Vec<Address>,
    /// Address types that we can use.
    pub supported_types: (bool, bool),
    /// When the INIT goes out in UDP too, and to which port.
    pub fallback: Option<(Time, u16)>,
    /// The UDP port that is tried beside native SCTP.
    pub both: Option<u16>,
    /// The peer's cookie.
    pub cookie: Vec<u8>,
    /// Parameters of the INIT ACK that the peer should hear of.
    pub unrecognized: Vec<u8>,
    /// Cookie Preservative to ask for, in milliseconds.
    pub preservative: Option<u32>,
    /// When the last INIT or COOKIE ECHO left, once.
    pub sent: Option<Time>,
    /// When the last COOKIE ECHO left, again or not.
    pub echoed: Time,
    /// Bit k: ICMP says that nobody is at path k.
    pub unreachable: u64,
}

/// What an INIT or INIT ACK with unusable values is answered with.
pub fn check_init(init: &Init<'_>) -> Result<(), Cause<'static>> {
    // RFC 9260 §3.3.2, §3.3.3.
    let bad = init.a_rwnd < MIN_A_RWND || init.outbound_streams == 0 || init.inbound_streams == 0;
    if bad { Err(Cause::InvalidMandatoryParameter) } else { Ok(()) }
}

impl Association {
    fn new(
        id: AssocId,
        endpoint: EndpointId,
        identity: Identity,
        config: Arc<Config>,
        phase: Phase,
        now: Time,
    ) -> Self {
        let negotiated = Negotiated {
            outbound_streams: config.outbound_streams,
            inbound_streams: config.inbound_streams,
            ..Negotiated::default()
        };
        Self {
            id,
            endpoint,
            identity,
            ties: Default::default(),
            phase,
            negotiated,
            paths: Paths { list: Vec::new(), primary: 0, current: 0 },
            tx: Tx::new(now, identity.local_tsn, &negotiated, &config),
            rx: Rx::new(identity.peer_tsn, &config),
            ack: Default::default(),
            control: Default::default(),
            reading: Default::default(),
            timers: Default::default(),
            error_count: 0,
            readable_told: false,
            path_told: PathId(0),
            stalled: false,
            data_came: now,
            counters: Default::default(),
            config,
        }
    }

    /// ASSOCIATE (RFC 9260 §11.1.2): sends INIT. `locals` gives our end of each path.
    pub fn connect(
        cx: &mut Cx<'_>,
        (id, endpoint): (AssocId, EndpointId),
        identity: Identity,
        (addresses, encapsulation): (&[Address], Encapsulation),
        config: Arc<Config>,
        mut setup: Setup,
        local_for: impl Fn(Address) -> Local,
    ) -> Box<Self> {
        let encap_port = match encapsulation {
            Encapsulation::Native => None,
            Encapsulation::Udp(port) => Some(port),
            Encapsulation::Default => Some(super::super::stack::UDP_PORT),
            Encapsulation::Both(port) => {
                setup.fallback = Some((cx.now + UDP_FALLBACK_AFTER, port));
                setup.both = Some(port);
                None
            }
        };
        let phase = Phase::CookieWait(Box::new(setup));
        let mut assoc = Box::new(Self::new(id, endpoint, identity, config, phase, cx.now));
        for address in addresses {
            if assoc.paths.by_remote(*address).is_none() {
                assoc.add_path(cx.now, *address, local_for(*address), encap_port);
            }
        }
        // §5.4, rule 1: what the user named counts as confirmed.
        assoc.paths.list.iter_mut().for_each(|path| path.confirmed = true);
        assoc.send_init(cx);
        assoc
    }

    /// Sends INIT to the current target and starts T1-init.
    pub(super) fn send_init(&mut self, cx: &mut Cx<'_>) {
        let Phase::CookieWait(setup) = &mut self.phase else { return };
        let target = setup.target;
        setup.sent = (setup.attempts == 0).then_some(cx.now);
        let both = setup.both.filter(|_| setup.fallback.is_none());
        self.queue_once(target, Control::Init(None));
        if let Some(port) = both {
            self.queue(target, Control::Init(Some(port)));
        }
        let rto = self.paths.list[target].rto.current();
        self.timers.t1 = Some(cx.now + rto);
        if let Phase::CookieWait(setup) = &self.phase {
            self.timers.fallback = setup.fallback.map(|(at, _)| at);
        }
    }

    /// Native SCTP has not been answered: the same INIT in UDP.
    pub(super) fn send_fallback_init(&mut self, cx: &mut Cx<'_>) {
        let Phase::CookieWait(setup) = &mut self.phase else { return };
        let target = setup.target;
        if let Some((_, port)) = setup.fallback.take_if(|(at, _)| *at <= cx.now) {
            self.queue(target, Control::Init(Some(port)));
        }
    }

    /// Writes our INIT.
    pub(super) fn write_init(&self, packet: &mut PacketBuilder<'_>) {
        let Phase::CookieWait(setup) = &self.phase else { return };
        let params = OutParams {
            addresses: &setup.advertise,
            supported_types: Some(setup.supported_types),
            preservative: setup.preservative,
            adaptation: self.config.adaptation,
            ..OutParams::default()
        };
        self.init_fields().write(kind::INIT, &params, packet);
    }

    /// The fixed part of our INIT, and of an INIT ACK in a collision (§5.2.1: the same values).
    pub fn init_fields(&self) -> Init<'static> {
        Init {
            tag: self.identity.local_tag,
            a_rwnd: self.config.receive_window,
            outbound_streams: self.config.outbound_streams,
            inbound_streams: self.config.inbound_streams,
            initial_tsn: self.identity.local_tsn,
            params: &[],
        }
    }

    /// INIT ACK.
    pub(super) fn on_init_ack(
        &mut self,
        cx: &mut Cx<'_>,
        init: &Init<'_>,
        remote: Address,
        (local, encap_port): (Local, Option<u16>),
        local_for: &dyn Fn(Address) -> Local,
    ) {
        // §5.2.3: unexpected ones are discarded.
        if !matches!(self.phase, Phase::CookieWait(_)) {
            return;
        }
        let path = self.paths.by_remote(remote).unwrap_or(0);
        if init.tag == VerificationTag::ZERO {
            // §3.3.3: the TCB goes; there is no tag but our own to send an ABORT with.
            let detail = "INIT ACK with Initiate Tag 0";
            return self.refuse_init_ack(cx, path, None, &Cause::InvalidMandatoryParameter, detail);
        }
        if init.a_rwnd < MIN_A_RWND {
            // §3.3.3: answered, and nothing else: the attempt goes on.
            let causes = super::close::causes_bytes(&[Cause::InvalidMandatoryParameter]);
            return self.queue(path, Control::Refusal { tag: init.tag, reflected: false, causes });
        }
        let refuse = |assoc: &mut Self, cx: &mut Cx<'_>, cause: Cause<'_>, detail| {
            assoc.refuse_init_ack(cx, path, Some(init.tag), &cause, detail);
        };
        let params = match InitParams::parse(init.params, self.config.max_peer_addresses) {
            Err(InitError::Malformed(_)) => {
                return refuse(self, cx, Cause::ProtocolViolation(b"malformed INIT ACK"), "malformed INIT ACK");
            }
            Ok(params) => params,
        };
        let cookie = match (check_init(init), params.host_name, params.cookie) {
            (Err(cause), ..) => return refuse(self, cx, cause, "INIT ACK with a value that is not allowed"),
            (_, Some(name), _) => {
                return refuse(self, cx, Cause::UnresolvableAddress(name), "INIT ACK with a host name");
            }
            (.., None) => {
                let missing = Cause::MissingParameter(&[param_type::STATE_COOKIE]);
                return refuse(self, cx, missing, "INIT ACK without a State Cookie");
            }
            (.., Some(cookie)) => cookie.to_vec(),
        };
        self.identity.peer_tag = init.tag;
        self.take_peer(cx.now, init, &params, remote, (local, encap_port), local_for);
        let Phase::CookieWait(setup) = std::mem::replace(&mut self.phase, Phase::Closed) else { return };
        let mut setup = setup;
        if let Some(sent) = setup.sent.take() {
            self.paths.list[self.paths.current].rto.on_measurement(cx.now.since(sent));
        }
        setup.cookie = cookie;
        setup.unrecognized = params.unrecognized;
        setup.attempts = 0;
        setup.target = self.paths.current;
        setup.fallback = None;
        self.phase = Phase::CookieEchoed(setup);
        self.control.clear();
        self.return_impossible(cx);
        self.send_cookie_echo(cx);
    }

    /// Ends the attempt with an ABORT that answers an INIT ACK: with the tag that it gave, else with ours
    /// and the T bit (§5.1, §3.3.3).
    pub(super) fn refuse_init_ack(
        &mut self,
        cx: &mut Cx<'_>,
        path: usize,
        tag: Option<VerificationTag>,
        cause: &Cause<'_>,
        detail: &'static str,
    ) {
        self.close(cx, CloseReason::ProtocolViolation { cause: cause.code(), detail });
        let causes = super::close::causes_bytes(std::slice::from_ref(cause));
        let (tag, reflected) = (tag.unwrap_or(self.identity.local_tag), tag.is_none());
        self.queue(path, Control::Refusal { tag, reflected, causes });
    }

    /// Takes what INIT ACK says of the peer: tags, streams, window, addresses.
    fn take_peer(
        &mut self,
        now: Time,
        init: &Init<'_>,
        params: &InitParams<'_>,
        remote: Address,
        (local, encap_port): (Local, Option<u16>),
        local_for: &dyn Fn(Address) -> Local,
    ) {
        self.identity.peer_tsn = init.initial_tsn;
        self.rx = Rx::new(init.initial_tsn, &self.config);
        self.negotiated = Negotiated {
            outbound_streams: self.config.outbound_streams.min(init.inbound_streams),
            inbound_streams: self.config.inbound_streams.min(init.outbound_streams),
            adaptation: params.adaptation,
            peer_rwnd: init.a_rwnd,
        };
        self.tx.negotiate(&self.negotiated);
        // §5.1.2: the peer's addresses are the source of INIT ACK and those it lists.
        let (v4, v6) = match &self.phase {
            Phase::CookieWait(setup) => setup.supported_types,
            _ => (true, true),
        };
        let usable = |address: &Address| if address.is_ipv4() { v4 } else { v6 };
        let others = params.addresses.iter().copied().filter(|address| *address != remote && usable(address));
        let has = std::iter::once(remote).chain(others).take(self.config.max_peer_addresses);
        let local_for = |address| if address == remote { local } else { local_for(address) };
        // Those that the user gave come first, in the user's order, and count as confirmed (§5.4).
        self.paths.list.retain(|path| has.clone().any(|address| address == path.remote));
        for (at, path) in self.paths.list.iter_mut().enumerate() {
            path.begin(PathId(at as u16), local_for(path.remote), encap_port, now);
            path.confirm();
        }
        for address in has {
            if self.paths.list.iter().all(|path| path.remote != address) {
                self.add_path(now, address, local_for(address), encap_port);
            }
        }
        // The first address that the user gave is the primary path, if the peer has it.
        let primary = 0;
        self.paths.primary = primary;
        // The one that answered carries COOKIE ECHO, unless it is not confirmed and another is (§5.4).
        let answered = self.paths.by_remote(remote).unwrap_or(primary);
        let named = self.paths.list.iter().position(|path| path.confirmed);
        self.paths.current = if self.paths.list[answered].confirmed { answered } else { named.unwrap_or(answered) };
        self.path_told = PathId(primary as u16);
    }

    /// Sends COOKIE ECHO and starts T1-cookie.
    pub(super) fn send_cookie_echo(&mut self, cx: &mut Cx<'_>) {
        // §5.1 C: data may go along; what went along in vain is sent again behind COOKIE ACK.
        self.tx.recall(&mut self.paths);
        self.allow_burst();
        let Phase::CookieEchoed(setup) = &mut self.phase else { return };
        let target = setup.target;
        setup.sent = (setup.attempts == 0).then_some(cx.now);
        setup.echoed = cx.now;
        let cookie_bytes = setup.cookie.len();
        let rto = self.paths.list[target].rto.current();
        self.timers.t1 = Some(cx.now + rto);
        if self.paths.list[target].confirmed {
            self.queue_once(target, Control::CookieEcho);
        } else if cookie_bytes + COOKIE_ECHO_AND_HEARTBEAT_BYTES <= self.paths.list[target].max_packet() {
            // §5.4: to an address that is not confirmed only together with a HEARTBEAT, in one packet.
            self.queue_once(target, Control::CookieEcho);
            self.queue_heartbeat(cx, target, super::path::BeatKind::Alive);
        }
        // §3.2.2: what was not understood in INIT ACK is reported beside COOKIE ECHO, or behind COOKIE ACK.
        let report = self.unrecognized_bytes();
        if report > 0 && cookie_bytes + COOKIE_ECHO_AND_HEARTBEAT_BYTES + report <= self.paths.list[target].max_packet()
        {
            self.report_unrecognized(target);
        }
    }

    /// Bytes of the parameters of INIT ACK that the peer is still to hear of.
    fn unrecognized_bytes(&self) -> usize {
        match &self.phase {
            Phase::CookieEchoed(setup) => setup.unrecognized.len(),
            _ => 0,
        }
    }

    fn report_unrecognized(&mut self, path: usize) {
        let Phase::CookieEchoed(setup) = &mut self.phase else { return };
        let unrecognized = std::mem::take(&mut setup.unrecognized);
        let causes = super::close::causes_bytes(&[Cause::UnrecognizedParameters(&unrecognized)]);
        self.queue(path, Control::Reply(kind::ERROR, causes));
    }

    /// COOKIE ACK.
    pub(super) fn on_cookie_ack(&mut self, cx: &mut Cx<'_>) {
        // §5.2.5: elsewhere it is discarded.
        let Phase::CookieEchoed(setup) = &mut self.phase else { return };
        if let Some(sent) = setup.sent.take() {
            let target = setup.target;
            self.paths.list[target].rto.on_measurement(cx.now.since(sent));
        }
        self.establish(cx);
    }

    /// Enters ESTABLISHED.
    pub(super) fn establish(&mut self, cx: &mut Cx<'_>) {
        if self.unrecognized_bytes() > 0 {
            self.report_unrecognized(self.paths.current);
        }
        self.phase = Phase::Established;
        self.timers.t1 = None;
        self.control.retain(|queued| !matches!(queued.control, Control::Init(_) | Control::CookieEcho));
        self.error_count = 0;
        self.tx.progress = cx.now;
        self.tell(cx, Event::Up(self.negotiated));
        self.return_impossible(cx);
        for index in 0..self.paths.list.len() {
            let path = &self.paths.list[index];
            if index != self.paths.current || (path.state != PathState::Active && path.beats.alive.is_none()) {
                // §5.4: the others are confirmed, or at least tried, at once; so is the one that INIT ACK came
                // from, if nobody had named it and it has not been asked along with COOKIE ECHO, or if ICMP has
                // put it in doubt since.
                if self.is_asked_at_once(index) {
                    self.probe(cx, index);
                } else {
                    self.schedule_heartbeat(cx, index);
                }
            }
            if self.paths.list[index].state == PathState::Active {
                self.start_path(cx, index);
            }
            if self.paths.list[index].flight > 0 {
                self.watch_data(cx.now, index);
            }
        }
        self.choose_path(cx);
    }

    /// Gives messages back that were taken for streams that the peer does not allow.
    fn return_impossible(&mut self, cx: &mut Cx<'_>) {
        for message in self.tx.take_impossible() {
            self.tell(cx, Event::Undelivered(message));
        }
    }

    /// A path is confirmed: it is watched, and its MTU is searched if packets are full.
    pub(super) fn start_path(&mut self, cx: &mut Cx<'_>, index: usize) {
        self.schedule_heartbeat(cx, index);
        if self.config.pmtud {
            self.paths.list[index].pmtud.allow();
            if self.tx.fills_packets {
                self.start_mtu_search(cx, index);
            }
        }
    }

    /// ERROR "Stale Cookie" (§5.2.6): begin again, and ask for a longer life.
    pub(super) fn on_stale_cookie(&mut self, cx: &mut Cx<'_>) {
        let Phase::CookieEchoed(_) = &self.phase else { return };
        let Phase::CookieEchoed(mut setup) = std::mem::replace(&mut self.phase, Phase::Closed) else { return };
        // A peer that cannot be satisfied is given up like one that does not answer.
        setup.attempts += 1;
        setup.stale += 1;
        // The round trip of COOKIE ECHO and ERROR, and no more than a second beyond it.
        let round_trip = cx.now.since(setup.echoed) + Duration::from_secs(1);
        setup.preservative = Some(u32::try_from(round_trip.as_millis()).unwrap_or(u32::MAX));
        let give_up = setup.stale > self.config.max_init_retransmits;
        self.phase = Phase::CookieWait(setup);
        if give_up {
            return self.close(cx, CloseReason::TimedOut);
        }
        self.control.clear();
        self.tx.recall(&mut self.paths);
        self.send_init(cx);
    }

    /// Makes the association that an accepted cookie describes, in ESTABLISHED.
    pub fn accept(
        cx: &mut Cx<'_>,
        id: AssocId,
        cookie: &Cookie,
        config: Arc<Config>,
        local_for: impl Fn(Address) -> Local,
    ) -> Box<Self> {
        let identity = Identity {
            local_port: cookie.local_port,
            peer_port: cookie.peer_port,
            local_tag: cookie.local_tag,
            peer_tag: cookie.peer_tag,
            local_tsn: cookie.local_tsn,
            peer_tsn: cookie.peer_tsn,
        };
        let mut assoc = Box::new(Self::new(id, cookie.endpoint, identity, config, Phase::Established, cx.now));
        assoc.take_cookie(cx.now, cookie, local_for);
        assoc.queue_cookie_ack(0);
        assoc.establish(cx);
        assoc
    }

    /// Takes streams, window and paths from a cookie; the sender of the INIT is confirmed (§5.4).
    pub(super) fn take_cookie(&mut self, now: Time, cookie: &Cookie, local_for: impl Fn(Address) -> Local) {
        self.negotiated = Negotiated {
            outbound_streams: cookie.outbound_streams,
            inbound_streams: cookie.inbound_streams,
            adaptation: cookie.adaptation,
            peer_rwnd: cookie.peer_rwnd,
        };
        self.tx.negotiate(&self.negotiated);
        self.paths.list.clear();
        for (at, address) in cookie.addresses.iter().enumerate() {
            let local = if at == 0 { cookie.local() } else { local_for(*address) };
            self.add_path(now, *address, local, cookie.encap_port);
        }
        (self.paths.primary, self.paths.current, self.path_told) = (0, 0, PathId(0));
        if let Some(first) = self.paths.list.first_mut() {
            first.confirm();
        }
    }

    /// Bytes that ABORT carries when an INIT would add addresses (§5.2.2).
    pub fn added_addresses(&self, addresses: &[Address]) -> Vec<Address> {
        addresses.iter().copied().filter(|address| self.paths.by_remote(*address).is_none()).collect()
    }

    /// The payload of the COOKIE ECHO.
    pub(super) fn cookie(&self) -> &[u8] {
        match &self.phase {
            Phase::CookieEchoed(setup) => &setup.cookie,
            _ => &[],
        }
    }
}
