//! `dlopen` of what would pass us by: libraries that want their own symbols first, and the C library itself.
//!
//! With `RTLD_DEEPBIND` a library's calls go to the C library past whatever was preloaded; PHP loads its extensions so,
//! and their SCTP sockets would be the kernel's. The flag is taken away. Foreign function interfaces (Python's `ctypes`,
//! Java's JNA) open the C library by its name and look functions up in it alone: they get this library, behind which the
//! C library is found for all that this one does not have. The C library finds files by who calls it (the caller's run
//! path), so its function is jumped to, not called. Elsewhere than on x86-64 all of this stays as it is.
#![cfg(target_arch = "x86_64")]

use libc::{c_char, c_int, c_void};
use std::arch::naked_asm;
use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The C library's function, once it is known.
static NEXT: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
/// Our own name, as the loader knows it: nobody looks for the file again.
static OWN: AtomicPtr<c_char> = AtomicPtr::new(std::ptr::null_mut());

/// Finds the C library's function: when the library is loaded, or for who is initialised before it and loads others.
pub extern "C" fn resolve() -> *mut c_void {
    // SAFETY: integers and pointers, for which zero is valid.
    let mut about: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: `about` has room for what is asked; the name lives as long as this library.
    if unsafe { libc::dladdr(resolve as *const c_void, &raw mut about) } != 0 {
        OWN.store(about.dli_fname.cast_mut(), Ordering::Relaxed);
    }
    // SAFETY: the name is a string.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, c"dlopen".as_ptr()) };
    NEXT.store(found, Ordering::Relaxed);
    found
}

/// What is opened in place of a name: the C library by ours.
///
/// # Safety
///
/// The name is a string, or null.
unsafe extern "C" fn pick(name: *const c_char) -> *const c_char {
    let own = OWN.load(Ordering::Relaxed);
    if name.is_null() || own.is_null() {
        return name;
    }
    // SAFETY: it is a string.
    let bytes = unsafe { CStr::from_ptr(name) }.to_bytes();
    if bytes.rsplit(|byte| *byte == b'/').next() == Some(b"libc.so.6") { own } else { name }
}

/// See dlopen(3).
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void {
    // The arguments are in rdi and esi; rax is free, and the stack is aligned by what is pushed before a call.
    naked_asm!(
        "and esi, {without}",
        "push rsi",
        "sub rsp, 16",
        "mov qword ptr [rsp], rdi",
        "mov rax, qword ptr [rip + {next}]",
        "test rax, rax",
        "jnz 2f",
        "call {resolve}",
        "2:",
        "mov rdi, qword ptr [rsp]",
        "mov qword ptr [rsp + 8], rax",
        "call {pick}",
        "mov rdi, rax",
        "mov rax, qword ptr [rsp + 8]",
        "add rsp, 16",
        "pop rsi",
        "test rax, rax",
        "jz 3f",
        "jmp rax",
        "3:",
        "ret",
        without = const !libc::RTLD_DEEPBIND,
        next = sym NEXT,
        resolve = sym resolve,
        pick = sym pick,
    )
}
