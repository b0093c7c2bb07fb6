//! Options: what is set is what is there.

use crate::report::{Ended, Report};
use esock_io::kernel::{
    AssocId, AssocParams, DelayedAck, Event, Family, InitMsg, PathParams, Rto, SctpSocket, Thresholds,
};
use std::time::Duration;

const FUTURE: AssocId = AssocId::FUTURE;

pub fn options_of_a_socket(report: &mut Report) -> Ended {
    let socket = SctpSocket::open(Family::V4)?;
    for on in [true, false] {
        socket.set_nodelay(on)?;
        report.equal("nodelay", socket.nodelay()?, on);
        socket.set_receive_info(on)?;
        report.equal("receive info", socket.receive_info()?, on);
        socket.set_next_info(on)?;
        report.equal("next info", socket.next_info()?, on);
        socket.set_mapped_v4(on)?;
        report.equal("mapped v4", socket.mapped_v4()?, on);
    }
    socket.set_fragment_interleave(1)?;
    report.equal("fragment interleave", socket.fragment_interleave()?, 1);
    socket.set_partial_delivery_point(4000)?;
    report.equal("partial delivery point", socket.partial_delivery_point()?, 4000);
    socket.set_adaptation_layer(0x8000_0001)?;
    report.equal("adaptation layer", socket.adaptation_layer()?, 0x8000_0001);
    socket.set_autoclose(30)?;
    report.equal("autoclose", socket.autoclose()?, 30);
    let init = InitMsg {
        outbound_streams: 17,
        max_inbound_streams: 23,
        max_attempts: 5,
        max_timeout: Duration::from_millis(2345),
    };
    socket.set_initmsg(init)?;
    report.equal("initmsg", socket.initmsg()?, init);
    report.equal("no error waits", socket.take_error()?.map(|error| error.to_string()), None);
    Ok(())
}

pub fn options_of_future_associations(report: &mut Report) -> Ended {
    let socket = SctpSocket::open(Family::V6)?;
    let millis = Duration::from_millis;
    let rto = Rto { initial: millis(900), min: millis(150), max: millis(5000) };
    socket.set_rto(FUTURE, rto)?;
    report.equal("rto", socket.rto(FUTURE)?, rto);
    let before = socket.assoc_params(FUTURE)?;
    let params = AssocParams { max_retransmissions: 7, cookie_life: millis(12_345), ..before };
    socket.set_assoc_params(FUTURE, params)?;
    report.equal("association parameters", socket.assoc_params(FUTURE)?, params);
    let ack = DelayedAck { delay: millis(130), frequency: 3 };
    socket.set_delayed_ack(FUTURE, ack)?;
    report.equal("delayed ack", socket.delayed_ack(FUTURE)?, ack);
    socket.set_max_burst(FUTURE, 9)?;
    report.equal("max burst", socket.max_burst(FUTURE)?, 9);
    socket.set_max_segment(FUTURE, 1000)?;
    report.equal("max segment", socket.max_segment(FUTURE)?, 1000);
    for event in [
        Event::AssocChange,
        Event::PeerAddrChange,
        Event::RemoteError,
        Event::SendFailed,
        Event::Shutdown,
        Event::Adaptation,
        Event::PartialDelivery,
        Event::Authentication,
        Event::SenderDry,
        Event::StreamReset,
        Event::AssocReset,
        Event::StreamChange,
    ] {
        let name = format!("event {event:?}");
        report.equal(&name, socket.event(FUTURE, event)?, false);
        socket.set_events(FUTURE, &[event], true)?;
        report.equal(&name, socket.event(FUTURE, event)?, true);
    }
    socket.set_encap_port(FUTURE, None, 9899)?;
    report.equal("encapsulation port", socket.encap_port(FUTURE, None)?, 9899);
    let thresholds = Thresholds { max_retransmissions: 4, potentially_failed: 2, primary_switchover: 3 };
    socket.set_thresholds(FUTURE, None, thresholds)?;
    report.equal("thresholds", socket.thresholds(FUTURE, None)?, thresholds);
    let params = PathParams {
        heartbeat_interval: Some(millis(7777)),
        max_retransmissions: Some(6),
        mtu_bytes: Some(1300),
        flow_label: Some(0x12345),
        dscp: Some(0x88),
        ..PathParams::default()
    };
    socket.set_path_params(FUTURE, None, params)?;
    let expected = PathParams { heartbeats: Some(true), pmtud: Some(false), ..params };
    report.equal("path parameters", socket.path_params(FUTURE, None)?, expected);
    socket.set_path_params(FUTURE, None, PathParams { heartbeats: Some(false), ..PathParams::default() })?;
    report.equal("heartbeats off", socket.path_params(FUTURE, None)?.heartbeats, Some(false));
    Ok(())
}
