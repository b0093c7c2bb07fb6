//! The engine alone: two sockets of one engine speak to each other over its own UDP port.

use bytes::Bytes;
use esock_io::kernel::abi::{self, Structure};
use esock_io::kernel::constants as c;
use esock_io::{Backend, Driver, DriverConfig, UdpPort};
use esock_sockets::protocol::{Op, Request};
use esock_sockets::{Engine, Reply, SocketId, Sysctl};
use std::time::{Duration, Instant};

const SERVER: SocketId = SocketId(1);
const CLIENT: SocketId = SocketId(2);

struct Sockets(Engine);

impl Sockets {
    fn new() -> Self {
        Self::of(libc::SOCK_SEQPACKET)
    }

    fn of(kind: i32) -> Self {
        let mut config = DriverConfig::default();
        (config.backend, config.udp_port) = (Backend::Udp, UdpPort::Ephemeral);
        let mut sockets = Self(Engine::new(Driver::open(config).expect("the test set it up"), Sysctl::default()));
        for socket in [SERVER, CLIENT] {
            assert_eq!(sockets.call(Op::Socket, socket, [libc::AF_INET, kind, 0], &[]).result, 0);
        }
        sockets
    }

    fn call(&mut self, op: Op, socket: SocketId, args: [i32; 3], body: &[u8]) -> Reply {
        let now = self.0.driver().now();
        let request = Request { args: [args[0], args[1], args[2], 0], ..Request::new(op, socket) };
        self.0.call(now, &request, Bytes::copy_from_slice(body))
    }

    fn set(&mut self, socket: SocketId, option: i32, value: &impl Structure) -> i32 {
        self.call(Op::SetOption, socket, [libc::IPPROTO_SCTP, option, 0], &value.bytes()).result
    }

    fn get<T: Structure>(&mut self, socket: SocketId, option: i32, value: &T) -> Result<T, i32> {
        let reply = self.call(Op::GetOption, socket, [libc::IPPROTO_SCTP, option, T::BYTES as i32], &value.bytes());
        if reply.result < 0 { Err(-reply.result) } else { Ok(T::parse(&reply.data).expect("the test set it up")) }
    }

    /// Turns until a condition holds.
    fn until(&mut self, mut holds: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !holds(self) {
            assert!(Instant::now() < end, "it never comes");
            let now = self.0.driver().now();
            self.0.turn(now).expect("the test set it up");
        }
    }

    /// Connects the client to the server; the number at the client.
    fn connect(&mut self) -> i32 {
        let port = self.0.driver().backend().udp_port.expect("the test set it up");
        let mut encapsulation = abi::sctp_udpencaps::zeroed();
        encapsulation.sue_port = port.to_be();
        assert_eq!(self.set(CLIENT, c::SCTP_REMOTE_UDP_ENCAPS_PORT, &encapsulation), 0);
        let any = esock_io::kernel::address::pack(&[std::net::Ipv4Addr::LOCALHOST.into()], 0);
        assert_eq!(self.call(Op::Bind, SERVER, [0; 3], &any).result, 0);
        assert_eq!(self.call(Op::Listen, SERVER, [5, 0, 0], &[]).result, 0);
        let name = self.call(Op::LocalName, SERVER, [0; 3], &[]).name;
        assert_eq!(self.call(Op::Connect, CLIENT, [0; 3], &name).result, -libc::EINPROGRESS);
        self.until(|sockets| sockets.call(Op::Connected, CLIENT, [0; 3], &[]).result == 0);
        let status = self.get(CLIENT, c::SCTP_STATUS, &abi::sctp_status::zeroed());
        if let Ok(status) = status {
            return status.sstat_assoc_id;
        }
        let ids = self.call(Op::GetOption, CLIENT, [libc::IPPROTO_SCTP, c::SCTP_GET_ASSOC_ID_LIST, 8], &[0; 8]);
        i32::parse(&ids.data[4..]).expect("the test set it up")
    }
}

#[test]
fn whoever_waits_in_connect_waits_until_the_association_of_a_one_to_many_socket_is_up() {
    let mut sockets = Sockets::new();
    let number = sockets.connect();
    let status = abi::sctp_status { sstat_assoc_id: number, ..abi::sctp_status::zeroed() };
    assert_eq!(sockets.get(CLIENT, c::SCTP_STATUS, &status).unwrap().sstat_state, c::SCTP_ESTABLISHED);
    // The registered port is not the one that is in use.
    let encapsulation = abi::sctp_udpencaps { sue_assoc_id: number, ..abi::sctp_udpencaps::zeroed() };
    let told = sockets.get(CLIENT, c::SCTP_REMOTE_UDP_ENCAPS_PORT, &encapsulation).unwrap().sue_port;
    assert_eq!(Some(u16::from_be(told)), sockets.0.driver().backend().udp_port);
}

#[test]
fn an_option_is_the_associations_the_future_ones_or_all_theirs() {
    let mut sockets = Sockets::new();
    let number = sockets.connect();
    let rto = |number, min| abi::sctp_rtoinfo { srto_assoc_id: number, srto_initial: 0, srto_max: 0, srto_min: min };
    assert_eq!(sockets.set(CLIENT, c::SCTP_RTOINFO, &rto(number, 300)), 0);
    assert_eq!(sockets.get(CLIENT, c::SCTP_RTOINFO, &rto(number, 0)).unwrap().srto_min, 300);
    assert_eq!(sockets.get(CLIENT, c::SCTP_RTOINFO, &rto(0, 0)).unwrap().srto_min, 1000);
    assert_eq!(sockets.set(CLIENT, c::SCTP_RTOINFO, &rto(c::SCTP_ALL_ASSOC, 300)), -libc::EINVAL);
    let context = |number, value| abi::sctp_assoc_value { assoc_id: number, assoc_value: value };
    assert_eq!(sockets.set(CLIENT, c::SCTP_CONTEXT, &context(c::SCTP_CURRENT_ASSOC, 5)), 0);
    assert_eq!(sockets.get(CLIENT, c::SCTP_CONTEXT, &context(number, 0)).unwrap().assoc_value, 5);
    assert_eq!(sockets.get(CLIENT, c::SCTP_CONTEXT, &context(0, 0)).unwrap().assoc_value, 0);
    assert_eq!(sockets.get(CLIENT, c::SCTP_CONTEXT, &context(number + 1, 0)).unwrap_err(), libc::EINVAL);
}

#[test]
fn the_stack_takes_what_options_say_of_associations_and_paths_that_live() {
    let mut sockets = Sockets::new();
    let number = sockets.connect();
    let segment = abi::sctp_assoc_value { assoc_id: number, assoc_value: 500 };
    assert_eq!(sockets.set(CLIENT, c::SCTP_MAXSEG, &segment), 0);
    assert_eq!(sockets.get(CLIENT, c::SCTP_MAXSEG, &segment).unwrap().assoc_value, 500);
    let mut params = abi::sctp_paddrparams::zeroed();
    params.spp_assoc_id = number;
    params.spp_pathmtu = 700;
    params.spp_flags = c::SPP_PMTUD_DISABLE;
    assert_eq!(sockets.set(CLIENT, c::SCTP_PEER_ADDR_PARAMS, &params), 0);
    let status = abi::sctp_status { sstat_assoc_id: number, ..abi::sctp_status::zeroed() };
    let primary = sockets.get(CLIENT, c::SCTP_STATUS, &status).unwrap().sstat_primary;
    let mtu = primary.spinfo_mtu;
    assert_eq!(mtu, 700, "as the stack sees its path");
}

#[test]
fn a_peer_waits_on_until_accept_has_a_socket_for_it() {
    let mut sockets = Sockets::of(libc::SOCK_STREAM);
    sockets.connect();
    sockets.until(|sockets| sockets.call(Op::Acceptable, SERVER, [0; 3], &[]).result == 0);
    let taken = sockets.call(Op::Accept, SERVER, [0; 3], &CLIENT.0.to_ne_bytes());
    assert_eq!(taken.result, -libc::EINVAL);
    assert_eq!(sockets.call(Op::Acceptable, SERVER, [0; 3], &[]).result, 0, "it waits still");
    assert_eq!(sockets.call(Op::Accept, SERVER, [0; 3], &3_u64.to_ne_bytes()).result, 0);
    assert_eq!(sockets.call(Op::Acceptable, SERVER, [0; 3], &[]).result, -libc::EAGAIN);
}
