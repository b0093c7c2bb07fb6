//! The socket filter: of all the host's SCTP packets, those to our ports, and of several shards' packets our part.

use crate::shards::{INITIATE_TAG_OFFSET, TAG_OFFSET};
use esock_proto::Shard;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsRawFd;

/// The kernel takes programs of up to 4096 instructions, and each port needs two.
const MOST_PORTS: usize = 2000;

/// Load the destination port, which the common header has at offset 2 (RFC 9260 §3.1).
const PORT_OFFSET: u32 = 2;

const LOAD_HEADER_LENGTH: u32 = libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH;
const LOAD_HALF_INDEXED: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_IND;
const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const LOAD_WORD_INDEXED: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_IND;
const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const MODULO: u32 = libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K;
const JUMP_IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
const WHOLE_PACKET: u32 = u32::MAX;

/// The classic BPF program that passes packets to `ports` only, or to all of them, and of those the part of `shard`. An
/// IPv4 raw socket sees the packet from its IP header on, an IPv6 one from the SCTP header on.
///
/// With more ports than a program can hold it passes every port: each packet is looked up again after it was received.
fn program(ipv4: bool, ports: Option<&BTreeSet<u16>>, shard: Shard) -> Vec<libc::sock_filter> {
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let (load_half, load_word) = if ipv4 { (LOAD_HALF_INDEXED, LOAD_WORD_INDEXED) } else { (LOAD_HALF, LOAD_WORD) };
    let mut program = Vec::new();
    if ipv4 {
        program.push(instruction(LOAD_HEADER_LENGTH, 0, 0, 0));
    }
    if shard != Shard::ALONE {
        // As over UDP: a tag names its shard, and an INIT, which has none, goes by its Initiate Tag.
        program.extend([
            instruction(load_word, 0, 0, TAG_OFFSET),
            instruction(JUMP_IF_EQUAL, 0, 1, 0),
            instruction(load_word, 0, 0, INITIATE_TAG_OFFSET),
            instruction(MODULO, 0, 0, shard.count().into()),
            instruction(JUMP_IF_EQUAL, 1, 0, shard.index().into()),
            instruction(RETURN, 0, 0, 0),
        ]);
    }
    let Some(ports) = ports.filter(|ports| ports.len() <= MOST_PORTS) else {
        program.push(instruction(RETURN, 0, 0, WHOLE_PACKET));
        return program;
    };
    program.push(instruction(load_half, 0, 0, PORT_OFFSET));
    for port in ports {
        program.push(instruction(JUMP_IF_EQUAL, 0, 1, u32::from(*port)));
        program.push(instruction(RETURN, 0, 0, WHOLE_PACKET));
    }
    program.push(instruction(RETURN, 0, 0, 0));
    program
}

/// Passes packets to `ports` only, or to all of them, and of those the part of `shard`, from now on. The kernel swaps
/// programs atomically; packets that wait already stay.
pub(crate) fn attach(socket: &impl AsRawFd, ipv4: bool, ports: Option<&BTreeSet<u16>>, shard: Shard) -> io::Result<()> {
    let attach = |ports| crate::sys::attach_program(socket, libc::SO_ATTACH_FILTER, &mut program(ipv4, ports, shard));
    match attach(ports) {
        // There is room for so many only (net.core.optmem_max): all of them are passed, and what is not ours is left here.
        Err(error) if ports.is_some() && error.raw_os_error() == Some(libc::ENOMEM) => attach(None),
        attached => attached,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do: returns the bytes passed.
    fn run(program: &[libc::sock_filter], packet: &[u8]) -> u32 {
        let (mut accumulator, mut index) = (0u32, 0u32);
        let mut at = 0;
        loop {
            let step = program[at];
            at += 1;
            match u32::from(step.code) {
                LOAD_HEADER_LENGTH => index = u32::from(packet[step.k as usize] & 15) * 4,
                LOAD_HALF_INDEXED | LOAD_HALF => {
                    let base = if u32::from(step.code) == LOAD_HALF { 0 } else { index };
                    let offset = (base + step.k) as usize;
                    let Some(half) = packet.get(offset..offset + 2) else { return 0 };
                    accumulator = u32::from(u16::from_be_bytes([half[0], half[1]]));
                }
                LOAD_WORD_INDEXED | LOAD_WORD => {
                    let base = if u32::from(step.code) == LOAD_WORD { 0 } else { index };
                    let offset = (base + step.k) as usize;
                    let Some(word) = packet.get(offset..offset + 4) else { return 0 };
                    accumulator = u32::from_be_bytes(word.try_into().unwrap());
                }
                MODULO => accumulator %= step.k,
                JUMP_IF_EQUAL => {
                    at += usize::from(if accumulator == step.k { step.jt } else { step.jf });
                }
                RETURN => return step.k,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    fn packet(ip_header_bytes: usize, port: u16) -> Vec<u8> {
        let mut packet = vec![0; ip_header_bytes + 20];
        if ip_header_bytes > 0 {
            packet[0] = 0x40 | (ip_header_bytes / 4) as u8;
        }
        packet[ip_header_bytes + 2..ip_header_bytes + 4].copy_from_slice(&port.to_be_bytes());
        packet
    }

    #[test]
    fn the_filter_passes_our_ports_and_nothing_else() {
        let ports = BTreeSet::from([1, 2905, 30400, 65535]);
        for port in [0, 1, 2, 2904, 2905, 2906, 30400, 65534, 65535] {
            let expected = if ports.contains(&port) { u32::MAX } else { 0 };
            assert_eq!(run(&program(true, Some(&ports), Shard::ALONE), &packet(20, port)), expected, "{port}");
            assert_eq!(run(&program(true, Some(&ports), Shard::ALONE), &packet(60, port)), expected, "{port}");
            assert_eq!(run(&program(false, Some(&ports), Shard::ALONE), &packet(0, port)), expected, "{port}");
        }
    }

    #[test]
    fn the_filter_passes_nothing_without_ports_and_everything_with_too_many() {
        assert_eq!(run(&program(true, Some(&BTreeSet::new()), Shard::ALONE), &packet(20, 5)), 0);
        let many: BTreeSet<u16> = (1..=MOST_PORTS as u16).collect();
        assert!(program(true, Some(&many), Shard::new(255, 256).unwrap()).len() <= 4096);
        assert_eq!(run(&program(true, Some(&many), Shard::ALONE), &packet(20, MOST_PORTS as u16)), u32::MAX);
        assert_eq!(run(&program(true, Some(&many), Shard::ALONE), &packet(20, MOST_PORTS as u16 + 1)), 0);
        let more: BTreeSet<u16> = (1..=MOST_PORTS as u16 + 1).collect();
        assert_eq!(run(&program(false, Some(&more), Shard::ALONE), &packet(0, 60000)), u32::MAX);
        assert_eq!(run(&program(true, None, Shard::ALONE), &packet(20, 60000)), u32::MAX);
    }

    #[test]
    fn each_packet_passes_the_filter_of_one_shard() {
        let ports = BTreeSet::from([2905, 30400]);
        for (ip_header_bytes, ports) in [(20, Some(&ports)), (24, None), (0, Some(&ports))] {
            for count in [2, 3, 256] {
                for tag in [1, 2, 3, 4, 1000, u32::MAX] {
                    for (at, what) in [(TAG_OFFSET, "a tag"), (INITIATE_TAG_OFFSET, "an INIT")] {
                        let mut packet = packet(ip_header_bytes, 2905);
                        let at = ip_header_bytes + at as usize;
                        packet[at..at + 4].copy_from_slice(&tag.to_be_bytes());
                        let passes = |index: &u16| {
                            let shard = Shard::new(*index, count).unwrap();
                            run(&program(ip_header_bytes > 0, ports, shard), &packet) == WHOLE_PACKET
                        };
                        let found: Vec<_> = (0..count).filter(passes).collect();
                        assert_eq!(found, [(tag % u32::from(count)) as u16], "{what} {tag} of {count}");
                    }
                }
            }
        }
        let (short, shard) = (packet(20, 2905), Shard::new(0, 2).unwrap());
        assert_eq!(run(&program(true, Some(&ports), shard), &short[..36]), 0, "too short for an INIT");
        assert_eq!(run(&program(true, Some(&ports), shard), &packet(20, 2906)), 0, "not our port");
    }
}
