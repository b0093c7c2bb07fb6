//! The picture: endpoint, association, paths.

use crate::style::Style;
use crate::words;
use esock::{Address, AssociationStats, PathState, PathStats};

/// The endpoint at the root of a tree.
#[derive(Debug)]
pub struct Root<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Its SCTP port.
    pub port: u16,
    /// Its addresses.
    pub addresses: &'a [Address],
    /// Its UDP port, if it has one.
    pub udp_port: Option<u16>,
}

impl Root<'_> {
    /// The endpoint in a line.
    pub fn described(&self) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(Address::to_string).collect();
        let udp = self.udp_port.map_or_else(String::new, |port| format!(", UDP port {port}"));
        format!("{}: SCTP port {} on {}{udp}", self.name, self.port, addresses.join(" and "))
    }
}

/// The tree of one endpoint with one association, line by line.
pub fn tree(root: &Root<'_>, association: &AssociationStats, style: Style) -> Vec<String> {
    let mut lines = vec![
        format!("{} {}", style.strong("endpoint"), root.described()),
        format!(
            "└─ {} with port {}: {}, {}",
            style.strong("association"),
            association.peer_port,
            words::state(association.state),
            words::streams(&association.negotiated),
        ),
    ];
    let trunk = "   ";
    let counters = &association.counters;
    for figures in [
        format!(
            "messages {} sent, {} received; {} packets sent, {} received",
            words::count(counters.messages_sent),
            words::count(counters.messages_received),
            words::count(counters.packets_sent),
            words::count(counters.packets_received),
        ),
        format!(
            "{} sent again ({} by fast retransmit), {} T3 timeouts, {} duplicates received, {} of {} heartbeats answered",
            words::count(counters.retransmissions),
            words::count(counters.fast_retransmissions),
            words::count(counters.t3_timeouts),
            words::count(counters.duplicates_received),
            words::count(counters.heartbeat_acks),
            words::count(counters.heartbeats_sent),
        ),
    ] {
        lines.push(format!("{trunk}│  {figures}"));
    }
    lines.extend(outstanding(association, style).map(|line| format!("{trunk}│  {line}")));
    for (index, path) in association.paths.iter().enumerate() {
        let last = index + 1 == association.paths.len();
        let (branch, below) = if last { ("└─", "  ") } else { ("├─", "│ ") };
        let [first, second] = path_lines(path, style);
        lines.push(format!("{trunk}{branch} {first}"));
        lines.push(format!("{trunk}{below}    {second}"));
    }
    lines
}

/// What is not acknowledged yet, since when nothing moves, and why.
fn outstanding(association: &AssociationStats, style: Style) -> Option<String> {
    if association.counters.stalls > 0 {
        let line = format!("stood still {} times: a fault of esock, please report it", association.counters.stalls);
        return Some(style.bad(&line));
    }
    let waiting = association.waiting?;
    Some(format!(
        "{} bytes not acknowledged, no progress for {}: waits for {waiting}",
        words::count(association.send_buffered as u64),
        words::duration(association.stalled_for),
    ))
}

fn path_lines(path: &PathStats, style: Style) -> [String; 2] {
    let name = words::path_state(path.state);
    let state = match path.state {
        PathState::Active => style.good(name),
        _ => style.bad(name),
    };
    let over = match path.encap_port {
        Some(port) => format!("in UDP to port {port}"),
        None => "native".to_owned(),
    };
    // Unlimited until the first loss (RFC 9260 §7.2.1).
    let ssthresh = match path.ssthresh {
        bytes if bytes > 1 << 40 => "not set".to_owned(),
        bytes => words::count(bytes as u64),
    };
    let srtt = path.srtt.map_or_else(|| "unknown".to_owned(), words::duration);
    [
        format!(
            "{} to {}{}: {state}, {over}, MTU {}",
            style.strong("path"),
            path.remote,
            if path.primary { " (primary)" } else { "" },
            path.mtu,
        ),
        format!(
            "RTT {srtt}, RTO {}, cwnd {}, ssthresh {}; {} packets with data sent, {} bytes",
            words::duration(path.rto),
            words::count(path.cwnd as u64),
            ssthresh,
            words::count(path.data_packets_sent),
            words::count(path.bytes_sent),
        ),
    ]
}
