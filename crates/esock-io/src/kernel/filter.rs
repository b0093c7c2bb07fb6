//! The filter that keeps an endpoint without an owner silent.

/// The type of an INIT chunk (RFC 9260 §3.2).
const INIT: u32 = 1;

const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const JUMP_IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// A program that drops packets whose first chunk is INIT. INIT is alone in its packet (RFC 9260
/// §4.3), and the kernel runs the program behind the common header: at 0 is the first chunk's type.
pub(super) fn program() -> [libc::sock_filter; 4] {
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    [
        instruction(LOAD_BYTE, 0, 0, 0),
        instruction(JUMP_IF_EQUAL, 0, 1, INIT),
        instruction(RETURN, 0, 0, 0),
        instruction(RETURN, 0, 0, u32::MAX),
    ]
}
