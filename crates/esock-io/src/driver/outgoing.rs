//! What the stack gives to be sent, on its way to the sockets. Small packets of one size to one place leave in one call,
//! whichever associations they are of: they lie behind each other in the buffer.

use super::{Driver, MAX_SEGMENTS, SEND_BUFFER_BYTES};
use crate::impair::{Held, Packet};
use crate::shards::Member;
use crate::sockets::{Sent, Sockets};
use esock_proto::{Datagram, Icmp, Stack, Time, Transmit};

/// Send calls per turn, so that sending does not keep receiving waiting.
const SENDS_PER_TURN: usize = 64;

/// Polls of the stack per turn, for the same reason.
const POLLS_PER_TURN: usize = 256;

/// Packets up to this size are joined with those of other associations. Larger ones are for the most part many in their own
/// association already; and a receiver with several shards, which gets what was sent together in one of them, has to copy
/// those of the others.
const JOINED_BYTES: usize = 512;

/// Bytes that leave together at most.
const MAX_JOINED_BYTES: usize = 65_000;

/// Packets in the driver's buffer, from `from` on to `end`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    transmit: Transmit,
    from: usize,
    end: usize,
}

impl Batch {
    fn new(transmit: Transmit, from: usize) -> Self {
        Self { transmit, from, end: from + transmit.size }
    }

    /// Bytes of each packet, but for the last.
    fn segment(&self) -> usize {
        self.transmit.segment_size.unwrap_or(self.transmit.size).max(1)
    }

    fn packets(&self) -> usize {
        self.transmit.size.div_ceil(self.segment())
    }

    /// Whether another packet could join.
    fn takes_more(&self) -> bool {
        let (size, segment) = (self.transmit.size, self.segment());
        segment <= JOINED_BYTES
            && self.transmit.dont_fragment
            && size.is_multiple_of(segment)
            && size / segment < MAX_SEGMENTS
            && size + segment <= MAX_JOINED_BYTES
    }

    /// Takes packets that lie behind these in the buffer, if all may leave together: only the last may be shorter.
    fn join(&mut self, next: &Transmit) -> bool {
        let Transmit { local, remote, encap_port, ecn, dont_fragment, .. } = self.transmit;
        let alike = (local, remote, encap_port, ecn, dont_fragment)
            == (next.local, next.remote, next.encap_port, next.ecn, next.dont_fragment);
        let segment = self.segment();
        let fits = match next.segment_size {
            None => next.size <= segment,
            Some(size) => size == segment,
        };
        let size = self.transmit.size + next.size;
        if !(alike && fits && size.div_ceil(segment) <= MAX_SEGMENTS && size <= MAX_JOINED_BYTES) {
            return false;
        }
        self.transmit.segment_size = Some(segment);
        self.transmit.size = size;
        self.end = self.from + size;
        true
    }
}

impl Driver {
    /// Sends what the socket would not take before. Says whether the buffer is free.
    pub(super) fn send_pending(&mut self, now: Time) -> bool {
        while let Some(batch) = self.pending.pop_front() {
            if let Some(rest) = self.send_batch(now, batch) {
                self.pending.push_front(rest);
                return false;
            }
        }
        true
    }

    /// Sends what the stack has; says whether there may be more.
    pub(super) fn send_new(&mut self, now: Time, batches: &mut usize) -> bool {
        let before = *batches;
        let mut open: Option<Batch> = None;
        for _ in 0..POLLS_PER_TURN {
            // What cannot grow, or not in what is left of the buffer, leaves before the next is written; and what nobody joins
            // before it is asked for more.
            let others = self.stack.others_want_transmit();
            let stays =
                |batch: &Batch| others && batch.takes_more() && batch.end + SEND_BUFFER_BYTES <= self.buffer.len();
            if let Some(batch) = open.take_if(|batch| !stays(batch)) {
                if !self.send_or_keep(now, [Some(batch), None], batches) {
                    return false;
                }
                if *batches - before >= SENDS_PER_TURN {
                    return true;
                }
            }
            let end = open.map_or(0, |batch| batch.end);
            let polled = self.stack.poll_transmit(now, MAX_SEGMENTS, &mut self.buffer[end..]);
            let Some(transmit) = polled else {
                self.send_or_keep(now, [open, None], batches);
                return false;
            };
            let next = Batch::new(transmit, end);
            self.stats.packets_sent += next.packets() as u64;
            self.stats.bytes_sent += transmit.size as u64;
            if self.impairment.affects_outgoing(transmit.remote) {
                *batches += 1;
                self.impairment.send(now, &transmit, &self.buffer[next.from..next.end]);
            } else if !open.as_mut().is_some_and(|batch| batch.join(&transmit)) {
                let other = open.replace(next);
                if !self.send_or_keep(now, [other, open], batches) {
                    return false;
                }
            }
        }
        self.send_or_keep(now, [open, None], batches)
    }

    /// Sends the first of two batches. If the socket does not take it all, both are kept in the buffer, and it says no.
    fn send_or_keep(&mut self, now: Time, [first, second]: [Option<Batch>; 2], batches: &mut usize) -> bool {
        let Some(first) = first else { return true };
        *batches += 1;
        let Some(rest) = self.send_batch(now, first) else { return true };
        self.pending.push_back(rest);
        if let Some(second) = second {
            *batches += 1;
            self.pending.push_back(second);
        }
        false
    }

    /// Sends packets from the buffer; returns what the socket does not take.
    fn send_batch(&mut self, now: Time, batch: Batch) -> Option<Batch> {
        let Self { stack, member, sockets, buffer, .. } = self;
        let data = &buffer[batch.from..batch.end];
        let sent = send(sockets, stack, member, now, &batch.transmit, data);
        self.count(sent);
        sent.blocked.then_some(Batch { from: batch.from + sent.bytes, ..batch })
    }

    /// Lets those packets pass whose delay is over. Says whether the socket took them all.
    pub(super) fn pass_held(&mut self, now: Time) -> bool {
        while let Some(held) = self.impairment.due(now) {
            match held.packet {
                Packet::In { local, remote, encap_port, ecn } => {
                    let data = &held.data;
                    let datagram = Datagram { local, remote, encap_port, ecn, data };
                    super::deliver(&mut self.stack, &mut self.member, now, datagram);
                }
                Packet::Out(transmit) => {
                    if !self.send_held(now, &transmit, held) {
                        return false;
                    }
                }
            }
        }
        true
    }

    fn send_held(&mut self, now: Time, transmit: &Transmit, held: Held) -> bool {
        let Self { stack, member, sockets, .. } = self;
        let sent = send(sockets, stack, member, now, transmit, &held.data);
        self.count(sent);
        if sent.blocked {
            self.impairment.put_back(held);
        }
        !sent.blocked
    }

    fn count(&mut self, sent: Sent) {
        self.stats.send_calls += sent.calls as u64;
        self.stats.send_drops += sent.dropped as u64;
        self.stats.send_blocked += u64::from(sent.blocked);
    }
}

fn send(
    sockets: &mut Sockets,
    stack: &mut Stack,
    member: &mut Option<Member>,
    now: Time,
    transmit: &Transmit,
    data: &[u8],
) -> Sent {
    sockets.send(transmit, data, &mut |icmp: Icmp<'_>| super::report(stack, member, now, icmp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::tell_each;
    use esock_proto::{Address, IcmpKind, Local};
    use std::net::Ipv4Addr;

    fn transmit(size: usize, segment_size: Option<usize>) -> Transmit {
        let remote = Address::from(Ipv4Addr::LOCALHOST);
        let local = Local::default();
        Transmit { local, remote, encap_port: Some(9899), ecn: None, size, segment_size, dont_fragment: true }
    }

    #[test]
    fn packets_of_one_size_join_and_a_shorter_one_is_the_last() {
        let mut batch = Batch::new(transmit(100, None), 0);
        assert!(batch.takes_more() && batch.join(&transmit(100, None)) && batch.join(&transmit(300, Some(100))));
        assert_eq!((batch.packets(), batch.end, batch.transmit.segment_size), (5, 500, Some(100)));
        assert!(!batch.join(&transmit(101, None)) && !batch.join(&transmit(150, Some(75))));
        assert!(batch.takes_more() && batch.join(&transmit(250, Some(100))));
        assert_eq!((batch.packets(), batch.end), (8, 750));
        assert!(!batch.takes_more(), "its last packet is shorter");
    }

    #[test]
    fn packets_to_elsewhere_or_of_another_kind_do_not_join() {
        let first = transmit(100, None);
        let others = [
            Transmit { remote: Ipv4Addr::new(127, 0, 0, 2).into(), ..first },
            Transmit { local: Local { address: Some(first.remote), ..first.local }, ..first },
            Transmit { encap_port: Some(9900), ..first },
            Transmit { encap_port: None, ..first },
            Transmit { ecn: Some(esock_proto::Ecn::Ect0), ..first },
            Transmit { dont_fragment: false, ..first },
        ];
        assert!(others.iter().all(|other| !Batch::new(first, 0).join(other)));
        assert!(Batch::new(first, 0).join(&first));
        assert!(
            !Batch::new(Transmit { dont_fragment: false, ..first }, 0).takes_more(),
            "fragments are made one by one"
        );
        assert!(!Batch::new(transmit(JOINED_BYTES + 1, None), 0).takes_more(), "it is large");
    }

    #[test]
    fn a_batch_is_no_larger_than_the_kernel_takes() {
        for size in [16, 100, JOINED_BYTES] {
            let mut batch = Batch::new(transmit(size, None), 7);
            while batch.takes_more() {
                assert!(batch.join(&transmit(size, None)));
            }
            assert_eq!(batch.packets(), MAX_SEGMENTS);
            assert!(batch.end <= 7 + MAX_JOINED_BYTES && !batch.join(&transmit(size, None)));
        }
    }

    #[test]
    fn of_packets_that_could_not_leave_each_association_is_told_once() {
        let packets = [[1; 12], [1; 12], [2; 12], [3; 12], [3; 12]].concat();
        let mut told = Vec::new();
        let all = transmit(packets.len() - 4, Some(12));
        tell_each(&all, IcmpKind::HostUnreachable, &packets[..all.size], &mut |icmp| told.push(icmp.quoted.to_vec()));
        assert_eq!(told, [[1; 12], [2; 12], [3; 12]]);
    }
}
