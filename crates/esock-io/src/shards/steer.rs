//! The program by which the kernel chooses a socket of the group: the shard that the verification tag names.

use std::io;
use std::os::fd::AsRawFd;

/// Offset in an SCTP packet: the tag (RFC 9260 §3.1).
pub(crate) const TAG_OFFSET: u32 = 4;

/// Offset in an SCTP packet: the Initiate Tag of an INIT, whose packet has no tag (RFC 9260 §3.3.2).
pub(crate) const INITIATE_TAG_OFFSET: u32 = 16;

const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const JUMP_IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const MODULO: u32 = libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
const RETURN_ACCUMULATOR: u32 = libc::BPF_RET | libc::BPF_A;

/// Tag modulo `count`, then the place of that shard in `order`. An INIT goes by its Initiate Tag: wherever it goes, its
/// repetitions go too. A packet that is too short for this goes to the first, which drops it; what leads to a place that
/// does not exist yet, to any.
fn program(count: u16, order: &[u16]) -> Vec<libc::sock_filter> {
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = vec![
        instruction(LOAD_WORD, 0, 0, TAG_OFFSET),
        instruction(JUMP_IF_EQUAL, 0, 1, 0),
        instruction(LOAD_WORD, 0, 0, INITIATE_TAG_OFFSET),
        instruction(MODULO, 0, 0, count.into()),
    ];
    for (place, shard) in order.iter().enumerate().filter(|(place, shard)| *place != usize::from(**shard)) {
        program.push(instruction(JUMP_IF_EQUAL, 0, 1, u32::from(*shard)));
        program.push(instruction(RETURN, 0, 0, place as u32));
    }
    program.push(instruction(RETURN_ACCUMULATOR, 0, 0, 0));
    program
}

/// Gives the program to the group of a socket.
#[cfg(target_os = "linux")]
pub(super) fn attach(socket: &impl AsRawFd, count: u16, order: &[u16]) -> io::Result<()> {
    crate::sys::attach_program(socket, libc::SO_ATTACH_REUSEPORT_CBPF, &mut program(count, order))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do: the place of the socket.
    fn run(program: &[libc::sock_filter], packet: &[u8]) -> u32 {
        let (mut accumulator, mut at) = (0u32, 0);
        loop {
            let step = program[at];
            at += 1;
            match u32::from(step.code) {
                LOAD_WORD => {
                    let at = step.k as usize;
                    let Some(word) = packet.get(at..at + 4) else { return 0 };
                    accumulator = u32::from_be_bytes(word.try_into().unwrap());
                }
                JUMP_IF_EQUAL => at += usize::from(if accumulator == step.k { step.jt } else { step.jf }),
                MODULO => accumulator %= step.k,
                RETURN => return step.k,
                RETURN_ACCUMULATOR => return accumulator,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    fn packet(tag: u32, initiate_tag: u32) -> Vec<u8> {
        let mut packet = vec![0; 20];
        packet[4..8].copy_from_slice(&tag.to_be_bytes());
        packet[16..20].copy_from_slice(&initiate_tag.to_be_bytes());
        packet
    }

    #[test]
    fn a_tag_leads_to_its_shard_wherever_that_stands() {
        for (count, order) in
            [(2, vec![0, 1]), (3, vec![2, 1, 0]), (4, vec![0, 3, 2, 1]), (256, (0..256).rev().collect())]
        {
            let program = program(count, &order);
            assert!(program.len() <= 4096);
            for tag in [1, 2, 3, 4, 1000, u32::MAX] {
                let found = |packet: &[u8]| order[run(&program, packet) as usize];
                assert_eq!(found(&packet(tag, 77)), (tag % u32::from(count)) as u16, "{tag} of {count}");
                assert_eq!(found(&packet(0, tag)), (tag % u32::from(count)) as u16, "INIT {tag} of {count}");
            }
            assert_eq!(run(&program, &[0; 7]), 0);
        }
        assert_eq!(run(&program(4, &[0]), &packet(7, 0)), 3, "no such place yet: the kernel takes another");
    }
}
