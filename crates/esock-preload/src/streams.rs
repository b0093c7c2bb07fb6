//! Streams of the C library (`FILE *`) over sockets of ours: `fdopen`, and standard input and output that are sockets
//! when a program begins, as whoever started it for a connection has it.
//!
//! Inside, the C library reads and writes by functions of its own that cannot be stepped before. So these are streams
//! whose functions are ours (fopencookie(3)). Such a stream has no descriptor as far as the C library knows: `fileno`
//! is answered here.

use crate::{descriptor, real, receive, send, table};
use libc::{FILE, c_char, c_int, c_void, size_t, ssize_t};
use std::ptr::{null_mut, without_provenance_mut};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// What fopencookie(3) takes; a stream that has no `seek` cannot seek.
#[repr(C)]
struct Functions {
    read: Option<unsafe extern "C-unwind" fn(*mut c_void, *mut c_char, size_t) -> ssize_t>,
    write: Option<unsafe extern "C-unwind" fn(*mut c_void, *const c_char, size_t) -> ssize_t>,
    seek: Option<unsafe extern "C-unwind" fn()>,
    close: Option<unsafe extern "C-unwind" fn(*mut c_void) -> c_int>,
}

unsafe extern "C-unwind" {
    fn fopencookie(cookie: *mut c_void, mode: *const c_char, functions: Functions) -> *mut FILE;
    #[link_name = "stdin"]
    static mut STDIN: *mut FILE;
    #[link_name = "stdout"]
    static mut STDOUT: *mut FILE;
    #[link_name = "stderr"]
    static mut STDERR: *mut FILE;
}

/// Descriptors that can have streams; those beyond have the C library's.
const MOST: usize = 1 << 14;
/// The stream of a descriptor.
static STREAMS: [AtomicPtr<FILE>; MOST] = [const { AtomicPtr::new(null_mut()) }; MOST];
/// One more than the greatest descriptor that ever had a stream.
static USED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C-unwind" fn read(cookie: *mut c_void, buffer: *mut c_char, length: size_t) -> ssize_t {
    // SAFETY: the C library gives its own buffer.
    unsafe { receive::read(cookie.addr() as c_int, buffer.cast(), length) }
}

unsafe extern "C-unwind" fn write(cookie: *mut c_void, buffer: *const c_char, length: size_t) -> ssize_t {
    // SAFETY: the C library gives its own buffer.
    let sent = unsafe { send::write(cookie.addr() as c_int, buffer.cast(), length) };
    // Nothing is an error here.
    sent.max(0)
}

unsafe extern "C-unwind" fn close(cookie: *mut c_void) -> c_int {
    let fd = cookie.addr();
    if let Some(place) = STREAMS.get(fd) {
        place.store(null_mut(), Ordering::Relaxed);
    }
    // SAFETY: no memory is involved.
    unsafe { descriptor::close(fd as c_int) }
}

/// A stream over a descriptor that has a place; null is an error.
///
/// # Safety
///
/// The mode is a string.
unsafe fn open(place: usize, mode: *const c_char) -> *mut FILE {
    let functions = Functions { read: Some(read), write: Some(write), seek: None, close: Some(close) };
    // SAFETY: the mode is a string; a cookie is no pointer but a number.
    let stream = unsafe { fopencookie(without_provenance_mut(place), mode, functions) };
    if !stream.is_null() {
        STREAMS[place].store(stream, Ordering::Relaxed);
        USED.fetch_max(place + 1, Ordering::Relaxed);
    }
    stream
}

/// Standard input and output that are sockets get such streams. Before the program has begun: nobody uses them yet.
pub fn begin() {
    let streams = [(&raw mut STDIN, c"r"), (&raw mut STDOUT, c"w"), (&raw mut STDERR, c"w")];
    for (fd, (place, mode)) in streams.into_iter().enumerate() {
        if table::find(fd as c_int).is_none() {
            continue;
        }
        // SAFETY: the mode is a string.
        let stream = unsafe { open(fd, mode.as_ptr()) };
        if stream.is_null() {
            continue;
        }
        if fd == libc::STDERR_FILENO as usize {
            // SAFETY: the stream is new; it is not buffered.
            unsafe { libc::setvbuf(stream, null_mut(), libc::_IONBF, 0) };
        }
        // SAFETY: the C library's variable, which programs may set; there are no other threads yet.
        unsafe { place.write(stream) };
    }
}

/// See fdopen(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn fdopen(fd: c_int, mode: *const c_char) -> *mut FILE {
    match usize::try_from(fd).ok().filter(|place| *place < MOST && table::find(fd).is_some()) {
        // SAFETY: the caller's matter.
        Some(place) => unsafe { open(place, mode) },
        // SAFETY: the caller's matter.
        None => unsafe { real::fdopen(fd, mode) },
    }
}

/// See fileno(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn fileno(stream: *mut FILE) -> c_int {
    let used = &STREAMS[..USED.load(Ordering::Relaxed)];
    match used.iter().position(|place| place.load(Ordering::Relaxed) == stream) {
        Some(fd) => fd as c_int,
        // SAFETY: the caller's matter.
        None => unsafe { real::fileno(stream) },
    }
}

/// See unlocked_stdio(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn fileno_unlocked(stream: *mut FILE) -> c_int {
    // SAFETY: the caller's matter.
    unsafe { fileno(stream) }
}
