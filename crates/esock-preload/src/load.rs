//! `dlopen` of libraries that want their own symbols first.
//!
//! With `RTLD_DEEPBIND` a library's calls go to the C library past whatever was preloaded; PHP loads its extensions so,
//! and their SCTP sockets would be the kernel's. The flag is taken away. The C library finds files by who calls it
//! (the caller's run path), so its function is jumped to, not called. Elsewhere than on x86-64 the flag stays.
#![cfg(target_arch = "x86_64")]

use libc::{c_char, c_int, c_void};
use std::arch::naked_asm;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The C library's function, once it is known.
static NEXT: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// Finds the C library's function: when the library is loaded, or for who is initialised before it and loads others.
pub extern "C" fn resolve() -> *mut c_void {
    // SAFETY: the name is a string.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, c"dlopen".as_ptr()) };
    NEXT.store(found, Ordering::Relaxed);
    found
}

/// See dlopen(3).
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void {
    // The arguments are in rdi and esi; rax is free, and the stack is aligned as a call leaves it.
    naked_asm!(
        "and esi, {without}",
        "mov rax, qword ptr [rip + {next}]",
        "test rax, rax",
        "jnz 2f",
        "push rdi",
        "push rsi",
        "sub rsp, 8",
        "call {resolve}",
        "add rsp, 8",
        "pop rsi",
        "pop rdi",
        "test rax, rax",
        "jz 3f",
        "2:",
        "jmp rax",
        "3:",
        "ret",
        without = const !libc::RTLD_DEEPBIND,
        next = sym NEXT,
        resolve = sym resolve,
    )
}
