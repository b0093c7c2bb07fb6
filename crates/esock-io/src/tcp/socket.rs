//! Options of connections, and what the system knows of them.

use crate::sys;
use esock_proto::{Config, PathStats};
use mio::net::TcpStream;
use socket2::{SockRef, TcpKeepalive};
use std::time::Duration;

/// Keepalive counts whole seconds.
pub(super) const SHORTEST_KEEPALIVE: Duration = Duration::from_secs(1);

/// Closing is a reset: for aborts.
pub(super) fn reset_on_close(stream: &TcpStream) {
    // An error: the peer is told less.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Sends at once, in windows as they were configured.
pub(super) fn prepare(stream: &TcpStream, config: &Config) {
    // Errors: it works without.
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let _ = socket.set_recv_buffer_size(config.receive_window as usize);
    let _ = socket.set_send_buffer_size(config.send_buffer);
}

/// How long a retransmission is waited for at most.
fn longest_wait(config: &Config) -> Duration {
    config.rto_max.max(SHORTEST_KEEPALIVE)
}

/// Has the system ask an idle peer whether it is there.
pub(super) fn keep_alive(stream: &TcpStream, config: &Config) {
    let Some(interval) = config.heartbeat_interval else { return };
    let keepalive = TcpKeepalive::new()
        .with_time(interval.max(SHORTEST_KEEPALIVE))
        .with_interval(config.rto_initial.max(SHORTEST_KEEPALIVE).min(longest_wait(config)));
    #[cfg(target_os = "linux")]
    let keepalive = keepalive.with_retries(config.assoc_max_retrans.clamp(1, 127));
    // An error: it does without.
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

/// How long nothing may be heard of a peer that is asked regularly: as long as an SCTP peer is given (RFC 9260 §8.1).
pub(super) fn patience(config: &Config) -> Duration {
    let interval = config.heartbeat_interval.unwrap_or_default().max(SHORTEST_KEEPALIVE);
    let mut wait = config.rto_initial.max(SHORTEST_KEEPALIVE);
    let mut sum = interval;
    for _ in 0..=config.assoc_max_retrans.min(100) {
        sum += wait;
        wait = (wait * 2).min(longest_wait(config));
    }
    sum
}

/// What the system knows of a connection.
#[cfg(target_os = "linux")]
fn info(stream: &TcpStream) -> Option<libc::tcp_info> {
    use std::os::fd::AsRawFd;
    // SAFETY: plain integers, for which zero is valid.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `info` lives through the call and has the length given; a kernel that knows less writes less.
    let code = unsafe {
        libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut info).cast(), &raw mut len)
    };
    (code == 0).then_some(info)
}

/// How long nothing has been heard of the peer; `None` where this cannot be asked.
#[cfg(target_os = "linux")]
pub(super) fn silent_for(stream: &TcpStream) -> Option<Duration> {
    let info = info(stream)?;
    Some(Duration::from_millis(info.tcpi_last_ack_recv.min(info.tcpi_last_data_recv).into()))
}

/// How long nothing has been heard of the peer; `None` where this cannot be asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn silent_for(_: &TcpStream) -> Option<Duration> {
    None
}

/// The path at a glance.
#[cfg(target_os = "linux")]
pub(super) fn describe(stream: &TcpStream, path: &mut PathStats) {
    let Some(info) = info(stream) else { return };
    let micros = |micros: u32| Duration::from_micros(micros.into());
    path.srtt = (info.tcpi_rtt > 0).then(|| micros(info.tcpi_rtt));
    path.rttvar = micros(info.tcpi_rttvar);
    path.rto = micros(info.tcpi_rto);
    path.cwnd = info.tcpi_snd_cwnd as usize * info.tcpi_snd_mss as usize;
    path.ssthresh = info.tcpi_snd_ssthresh as usize;
    path.in_flight = info.tcpi_unacked as usize * info.tcpi_snd_mss as usize;
    path.mtu = u16::try_from(info.tcpi_pmtu).unwrap_or(u16::MAX);
    path.error_count = u32::from(info.tcpi_retransmits) + u32::from(info.tcpi_probes);
    path.local = stream.local_addr().ok().map(sys::address_of);
}

/// The path at a glance.
#[cfg(not(target_os = "linux"))]
pub(super) fn describe(stream: &TcpStream, path: &mut PathStats) {
    path.local = stream.local_addr().ok().map(sys::address_of);
}
