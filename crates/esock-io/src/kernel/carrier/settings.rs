//! What a socket is set up with: our parameters, in the kernel's words.

use super::super::{
    AssocId as KernelId, AssocParams, DelayedAck, Event, InitMsg, PathParams, Rto, SctpSocket, Thresholds,
};
use esock_proto::{Address, Config, PathParameters};
use std::io;
use std::time::Duration;

/// What we want to be told.
const EVENTS: &[Event] = &[
    Event::AssocChange,
    Event::PeerAddrChange,
    Event::RemoteError,
    Event::SendFailed,
    Event::Shutdown,
    Event::Adaptation,
    Event::PartialDelivery,
    Event::SenderDry,
];

/// Retries that stand for "for ever".
const FOR_EVER: u16 = 30_000;

/// The most that the kernel takes for the size of a DATA chunk's data: its SCTP_MAX_CHUNK_LEN without the header.
const LARGEST_SEGMENT: u32 = (1 << 16) - 4 - 16;

/// Settings that do not depend on the configuration. Sockets that are peeled off inherit them.
pub(super) fn prepare(socket: &SctpSocket) -> io::Result<()> {
    socket.set_events(KernelId::FUTURE, EVENTS, true)?;
    socket.set_receive_info(true)?;
    socket.set_nodelay(true)
}

/// Settings for the associations to come: each is set, since others were there before.
pub(super) fn apply(socket: &SctpSocket, config: &Config) -> io::Result<()> {
    let millisecond = Duration::from_millis(1);
    let count = |count: u32| u16::try_from(count).unwrap_or(FOR_EVER).max(1);
    socket.set_buffers(config.receive_window as usize, config.send_buffer);
    socket.set_initmsg(InitMsg {
        outbound_streams: config.outbound_streams,
        max_inbound_streams: config.inbound_streams,
        max_attempts: count(config.max_init_retransmits),
        max_timeout: config.rto_max.min(Duration::from_millis(65_535)).max(millisecond),
    })?;
    let rto = Rto { initial: config.rto_initial, min: config.rto_min, max: config.rto_max };
    socket.set_rto(KernelId::FUTURE, rto)?;
    let most = count(config.assoc_max_retrans);
    socket.set_assoc_params(
        KernelId::FUTURE,
        AssocParams {
            max_retransmissions: most,
            peer_destinations: 0,
            peer_rwnd_bytes: 0,
            local_rwnd_bytes: 0,
            cookie_life: config.cookie_life,
        },
    )?;
    // 0 would leave what is: at least a millisecond.
    let ack = DelayedAck { delay: config.sack_delay.max(millisecond), frequency: config.sack_frequency };
    socket.set_delayed_ack(KernelId::FUTURE, ack)?;
    socket.set_max_burst(KernelId::FUTURE, config.max_burst)?;
    // 0: none. Less than about 450 bytes, an MTU of 512, the kernel refuses; and more than a chunk can have, which limits
    // nothing.
    let max_segment = u32::try_from(config.max_segment).ok().filter(|most| *most <= LARGEST_SEGMENT);
    socket.set_max_segment(KernelId::FUTURE, max_segment.unwrap_or(0))?;
    // 0 is what a socket has on which nothing was set.
    socket.set_adaptation_layer(config.adaptation.unwrap_or(0))?;
    let path_retries = config.path_max_retrans.map_or(FOR_EVER, count);
    socket.set_path_params(
        KernelId::FUTURE,
        None,
        PathParams {
            heartbeats: Some(config.heartbeat_interval.is_some()),
            heartbeat_interval: config.heartbeat_interval,
            max_retransmissions: Some(path_retries),
            pmtud: config.pmtud.then_some(true),
            ..PathParams::default()
        },
    )?;
    // Linux has the PF state since 3.7, this way to set it since 5.5: without it, its own default stays.
    let _ = socket.set_thresholds(KernelId::FUTURE, None, thresholds(path_retries, config.pf_threshold));
    Ok(())
}

fn thresholds(path_retries: u16, potentially_failed: Option<u32>) -> Thresholds {
    Thresholds {
        max_retransmissions: path_retries,
        // Beyond the number of retries there is no such state (RFC 7829 §3.1).
        potentially_failed: potentially_failed.map_or(u16::MAX, |most| u16::try_from(most).unwrap_or(u16::MAX)),
        primary_switchover: u16::MAX,
    }
}

/// Changes parameters of one path.
pub(super) fn change_path(
    socket: &SctpSocket,
    association: KernelId,
    path: (Address, u16),
    config: &Config,
    parameters: PathParameters,
) -> io::Result<()> {
    let retries = |most: Option<u32>| most.map_or(FOR_EVER, |most| u16::try_from(most).unwrap_or(FOR_EVER).max(1));
    let params = PathParams {
        heartbeats: parameters.heartbeat_interval.map(|interval| interval.is_some()),
        heartbeat_interval: parameters.heartbeat_interval.flatten(),
        max_retransmissions: parameters.path_max_retrans.map(retries),
        // A path MTU that is fixed is not searched for.
        pmtud: parameters.pmtud.filter(|_| parameters.mtu.is_none()),
        mtu_bytes: parameters.mtu.map(u32::from),
        ..PathParams::default()
    };
    socket.set_path_params(association, Some(path), params)?;
    if let Some(port) = parameters.encap_port {
        socket.set_encap_port(association, Some(path), port.unwrap_or(0))?;
    }
    if let Some(threshold) = parameters.pf_threshold {
        let path_retries = parameters.path_max_retrans.unwrap_or(config.path_max_retrans);
        socket.set_thresholds(association, Some(path), thresholds(retries(path_retries), threshold))?;
    }
    Ok(())
}
