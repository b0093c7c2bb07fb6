//! The socket filter: of all the host's SCTP packets, those to our ports.

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
const JUMP_IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
const WHOLE_PACKET: u32 = u32::MAX;

/// The classic BPF program that passes packets to `ports` only, or all of them. An IPv4 raw socket sees the packet
/// from its IP header on, an IPv6 one from the SCTP header on.
///
/// With more ports than a program can hold it passes everything: each packet is looked up again
/// after it was received.
fn program(ipv4: bool, ports: Option<&BTreeSet<u16>>) -> Vec<libc::sock_filter> {
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let Some(ports) = ports.filter(|ports| ports.len() <= MOST_PORTS) else {
        return vec![instruction(RETURN, 0, 0, WHOLE_PACKET)];
    };
    let mut program = Vec::with_capacity(3 + 2 * ports.len());
    if ipv4 {
        program.push(instruction(LOAD_HEADER_LENGTH, 0, 0, 0));
        program.push(instruction(LOAD_HALF_INDEXED, 0, 0, PORT_OFFSET));
    } else {
        program.push(instruction(LOAD_HALF, 0, 0, PORT_OFFSET));
    }
    for port in ports {
        program.push(instruction(JUMP_IF_EQUAL, 0, 1, u32::from(*port)));
        program.push(instruction(RETURN, 0, 0, WHOLE_PACKET));
    }
    program.push(instruction(RETURN, 0, 0, 0));
    program
}

/// Passes packets to `ports` only, or all of them, from now on. The kernel swaps programs atomically; packets that
/// wait already stay.
pub(crate) fn attach(socket: &impl AsRawFd, ipv4: bool, ports: Option<&BTreeSet<u16>>) -> io::Result<()> {
    crate::sys::attach_program(socket, libc::SO_ATTACH_FILTER, &mut program(ipv4, ports))
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
                JUMP_IF_EQUAL => {
                    at += usize::from(if accumulator == step.k { step.jt } else { step.jf });
                }
                RETURN => return step.k,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    fn packet(ip_header_bytes: usize, port: u16) -> Vec<u8> {
        let mut packet = vec![0; ip_header_bytes + 12];
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
            assert_eq!(run(&program(true, Some(&ports)), &packet(20, port)), expected, "{port}");
            assert_eq!(run(&program(true, Some(&ports)), &packet(60, port)), expected, "{port}");
            assert_eq!(run(&program(false, Some(&ports)), &packet(0, port)), expected, "{port}");
        }
    }

    #[test]
    fn the_filter_passes_nothing_without_ports_and_everything_with_too_many() {
        assert_eq!(run(&program(true, Some(&BTreeSet::new())), &packet(20, 5)), 0);
        let many: BTreeSet<u16> = (1..=MOST_PORTS as u16).collect();
        assert!(program(true, Some(&many)).len() <= 4096);
        assert_eq!(run(&program(true, Some(&many)), &packet(20, MOST_PORTS as u16)), u32::MAX);
        assert_eq!(run(&program(true, Some(&many)), &packet(20, MOST_PORTS as u16 + 1)), 0);
        let more: BTreeSet<u16> = (1..=MOST_PORTS as u16 + 1).collect();
        assert_eq!(run(&program(false, Some(&more)), &packet(0, 60000)), u32::MAX);
        assert_eq!(run(&program(true, None), &packet(20, 60000)), u32::MAX);
    }
}
