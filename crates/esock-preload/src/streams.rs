//! Streams of the C library (`FILE *`) over sockets of ours: `fdopen`, and standard input and output that are sockets,
//! when a program begins, as whoever started it for a connection has it, or since a copy was put in their place.
//!
//! Inside, the C library reads and writes by functions of its own that cannot be stepped before. So these are streams
//! whose functions are ours (fopencookie(3)). Such a stream has no descriptor as far as the C library knows: `fileno`
//! is answered here.

use crate::{descriptor, life, real, receive, send, table};
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
    fn __fpurge(stream: *mut FILE);
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

/// Standard streams: how many there are.
const STANDARD: usize = 3;
/// What the standard streams were before ours took their places; null where none has.
static BEFORE: [AtomicPtr<FILE>; STANDARD] = [const { AtomicPtr::new(null_mut()) }; STANDARD];

/// The C library's variable for a standard stream.
fn variable(fd: usize) -> *mut *mut FILE {
    match fd {
        0 => &raw mut STDIN,
        1 => &raw mut STDOUT,
        _ => &raw mut STDERR,
    }
}

/// Standard input and output that are sockets get such streams. Before the program has begun: nobody uses them yet.
pub fn begin() {
    (0..STANDARD).filter(|fd| table::find(*fd as c_int).is_some()).for_each(take_place);
}

fn take_place(fd: usize) {
    // SAFETY: the C library's variable, which programs may set, too.
    let now = unsafe { variable(fd).read() };
    let known = STREAMS[fd].load(Ordering::Relaxed);
    if !known.is_null() && now == known {
        return;
    }
    let mode = if fd == 0 { c"r" } else { c"w" };
    // SAFETY: the mode is a string.
    let stream = if known.is_null() { unsafe { open(fd, mode.as_ptr()) } } else { known };
    if stream.is_null() {
        return;
    }
    // SAFETY: the stream is ours, and nobody uses it: what it has left of an earlier socket goes; that of errors is not
    // buffered.
    unsafe {
        __fpurge(stream);
        libc::clearerr(stream);
        if fd == libc::STDERR_FILENO as usize {
            libc::setvbuf(stream, null_mut(), libc::_IONBF, 0);
        }
    }
    BEFORE[fd].store(now, Ordering::Relaxed);
    // SAFETY: as above. Whoever changes a standard descriptor in a thread looks to the others.
    unsafe { variable(fd).write(stream) };
}

/// Whether a descriptor is standard, and its stream may be changed: by a child of `vfork` it may not, whose memory is its
/// parent's.
fn standard(fd: c_int) -> Option<usize> {
    usize::try_from(fd).ok().filter(|place| *place < STANDARD && life::is_own_memory())
}

/// A copy is about to be put in the place of a standard descriptor: what its stream has written goes to where it was.
pub fn before_copy(from: c_int, to: c_int) {
    let Some(fd) = standard(to).filter(|fd| *fd > 0) else { return };
    if table::is_remembered(to) || table::find(from).is_some() {
        // SAFETY: the C library's variable, a stream or null, which is all of them.
        unsafe { libc::fflush(variable(fd).read()) };
    }
}

/// A copy was put in the place of a standard descriptor, which is a socket of ours or not.
pub fn after_copy(to: c_int, is_ours: bool) {
    let Some(fd) = standard(to) else { return };
    if is_ours {
        return take_place(fd);
    }
    let before = BEFORE[fd].swap(null_mut(), Ordering::Relaxed);
    // SAFETY: as in `take_place`.
    unsafe {
        if !before.is_null() && variable(fd).read() == STREAMS[fd].load(Ordering::Relaxed) {
            variable(fd).write(before);
        }
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
