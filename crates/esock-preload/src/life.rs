//! What is known of the process: what its environment said when it began, and whether it has forked since.

use crate::{real, start};
use libc::{c_int, c_void};
use std::ffi::{CStr, CString};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// What the environment said when the program began: later it may be cleared, or not be readable any more.
#[derive(Debug)]
pub struct Life {
    /// The abstract name of the broker.
    pub broker: String,
    /// What the broker gave `esock run`: programs that have become another user's are let in by it.
    pub key: Option<String>,
    /// The user whose broker it is.
    pub user: u32,
    /// SCTP sockets are the kernel's.
    pub kernel: bool,
    /// What a broker is to know that is started from here.
    pub environment: Vec<CString>,
}

static LIFE: OnceLock<Life> = OnceLock::new();

/// Runs when the library is loaded.
#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = begin;

extern "C" fn begin() {
    let _ = std::panic::catch_unwind(|| {
        real::resolve();
        #[cfg(target_arch = "x86_64")]
        crate::load::resolve();
        life();
        page();
        crate::streams::begin();
    });
}

/// See [`Life`].
pub fn life() -> &'static Life {
    LIFE.get_or_init(Life::new)
}

/// The value of an environment variable.
fn variable(name: &CStr) -> Option<String> {
    // SAFETY: the name is a string.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: it is not null, so a string, and is copied at once.
    Some(unsafe { CStr::from_ptr(value) }.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
}

impl Life {
    fn new() -> Self {
        // SAFETY: it takes nothing and cannot fail.
        let own = unsafe { libc::syscall(libc::SYS_geteuid) } as u32;
        let key = variable(c"ESOCK_KEY");
        let user = key.as_ref().and_then(|key| key.split_once('.')?.0.parse().ok()).unwrap_or(own);
        let backend = variable(c"ESOCK_BACKEND");
        let kernel = match backend.as_deref() {
            Some("kernel") => true,
            // `esock run` has decided already.
            None | Some("auto") => key.is_none() && kernel_has_sctp(),
            Some(_) => false,
        };
        Self {
            broker: variable(c"ESOCK_BROKER").unwrap_or_else(|| esock_sockets::protocol::broker_name(user)),
            key,
            user,
            kernel,
            environment: start::environment(),
        }
    }
}

/// Whether the kernel's SCTP is loaded: seen without opening a socket, which would load it.
fn kernel_has_sctp() -> bool {
    // SAFETY: the name is a string.
    unsafe { libc::syscall(libc::SYS_faccessat, libc::AT_FDCWD, c"/proc/net/sctp".as_ptr(), libc::F_OK) == 0 }
}

/// A page that is empty in a process that has just been forked: its generation, and its number.
struct Page {
    generation: AtomicU64,
    process: AtomicU64,
}

static PAGE: AtomicPtr<Page> = AtomicPtr::new(std::ptr::null_mut());
/// Where the kernel cannot wipe pages: looked at with each call.
static PLAIN: Page = Page { generation: AtomicU64::new(0), process: AtomicU64::new(0) };
static LAST: AtomicU64 = AtomicU64::new(0);

fn ask_process() -> u64 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::syscall(libc::SYS_getpid) as u64 }
}

fn page() -> &'static Page {
    let known = PAGE.load(Ordering::Acquire);
    if !known.is_null() {
        // SAFETY: it was mapped for ever, or is static.
        return unsafe { &*known };
    }
    let size = 4096;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping.
    let mapped =
        unsafe { libc::mmap(std::ptr::null_mut(), size, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
    let made: *mut Page = if mapped == libc::MAP_FAILED {
        (&raw const PLAIN).cast_mut()
    // SAFETY: the mapping is ours.
    } else if unsafe { libc::madvise(mapped, size, libc::MADV_WIPEONFORK) } != 0 {
        // SAFETY: as above, and nobody knows of it.
        unsafe { libc::munmap(mapped, size) };
        (&raw const PLAIN).cast_mut()
    } else {
        mapped.cast::<Page>()
    };
    match PAGE.compare_exchange(std::ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: it is mapped for ever, or static; zeroes are a page.
        Ok(_) => unsafe { &*made },
        Err(other) => {
            if !std::ptr::eq(made, &PLAIN) {
                // SAFETY: nobody knows of it.
                unsafe { libc::munmap(made.cast::<c_void>(), size) };
            }
            // SAFETY: as above.
            unsafe { &*other }
        }
    }
}

/// A number that changes with every `fork`.
pub fn generation() -> u64 {
    let page = page();
    let forked = std::ptr::eq(page, &PLAIN) && PLAIN.process.load(Ordering::Relaxed) != ask_process();
    let known = page.generation.load(Ordering::Acquire);
    if known != 0 && !forked {
        return known;
    }
    page.process.store(ask_process(), Ordering::Relaxed);
    let new = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    match page.generation.compare_exchange(known, new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => new,
        Err(other) => other,
    }
}

/// Whether the memory is this process's own: that of a child of `vfork` is its parent's.
pub fn is_own_memory() -> bool {
    process() as u64 == ask_process()
}

/// The number of the process.
pub fn process() -> c_int {
    generation();
    page().process.load(Ordering::Relaxed) as c_int
}
