//! The C library's own functions.

use libc::{c_int, c_uint, c_void, iovec, nfds_t, off_t, size_t, sockaddr, socklen_t, ssize_t};
use std::ffi::CStr;
use std::mem::transmute_copy;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The next function of a name, after ours.
fn find(place: &AtomicPtr<c_void>, name: &CStr) -> *mut c_void {
    let known = place.load(Ordering::Relaxed);
    if !known.is_null() {
        return known;
    }
    // SAFETY: the name is a string.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    place.store(found, Ordering::Relaxed);
    found
}

macro_rules! name {
    ($name:ident) => {
        const {
            match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => panic!("a name ends with its zero"),
            }
        }
    };
}

macro_rules! real {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        #[expect(non_upper_case_globals, reason = "each has its function's name")]
        mod places {
            use super::{AtomicPtr, c_void};
            $( pub static $name: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut()); )*
        }

        /// Finds them all, before a signal handler could be the first to ask for one.
        pub fn resolve() {
            $( find(&places::$name, name!($name)); )*
        }

        $(
            #[doc = concat!("The C library's `", stringify!($name), "`.")]
            ///
            /// # Safety
            ///
            /// As the C library demands.
            #[inline]
            pub unsafe fn $name($($argument: $type),*) -> $result {
                let function = find(&places::$name, name!($name));
                if function.is_null() {
                    // An older C library, which the program was not built for.
                    crate::errno::set(libc::ENOSYS);
                    return -1;
                }
                // SAFETY: the C library's function of that name has this type.
                let function: unsafe extern "C-unwind" fn($($type),*) -> $result = unsafe { transmute_copy(&function) };
                // SAFETY: what it demands is the caller's matter.
                unsafe { function($($argument),*) }
            }
        )*
    };
}

unsafe extern "C-unwind" {
    /// The C library's `pthread_testcancel`.
    pub fn pthread_testcancel();
}

/// The C library's `fdopen`.
///
/// # Safety
///
/// As the C library demands.
pub unsafe fn fdopen(fd: c_int, mode: *const libc::c_char) -> *mut libc::FILE {
    static PLACE: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    let function = find(&PLACE, c"fdopen");
    // SAFETY: every C library has this function, and it has this type.
    let function: unsafe extern "C-unwind" fn(c_int, *const libc::c_char) -> *mut libc::FILE =
        unsafe { transmute_copy(&function) };
    // SAFETY: what it demands is the caller's matter.
    unsafe { function(fd, mode) }
}

real! {
    fileno(stream: *mut libc::FILE) -> c_int;
    socket(family: c_int, kind: c_int, protocol: c_int) -> c_int;
    socketpair(family: c_int, kind: c_int, protocol: c_int, pair: *mut c_int) -> c_int;
    close(fd: c_int) -> c_int;
    close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int;
    dup(fd: c_int) -> c_int;
    dup2(from: c_int, to: c_int) -> c_int;
    dup3(from: c_int, to: c_int, flags: c_int) -> c_int;
    fcntl(fd: c_int, command: c_int, argument: usize) -> c_int;
    fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int;
    ioctl(fd: c_int, request: libc::c_ulong, argument: usize) -> c_int;
    bind(fd: c_int, name: *const sockaddr, length: socklen_t) -> c_int;
    listen(fd: c_int, backlog: c_int) -> c_int;
    connect(fd: c_int, name: *const sockaddr, length: socklen_t) -> c_int;
    accept(fd: c_int, name: *mut sockaddr, length: *mut socklen_t) -> c_int;
    accept4(fd: c_int, name: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> c_int;
    shutdown(fd: c_int, how: c_int) -> c_int;
    getsockname(fd: c_int, name: *mut sockaddr, length: *mut socklen_t) -> c_int;
    getpeername(fd: c_int, name: *mut sockaddr, length: *mut socklen_t) -> c_int;
    setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, length: socklen_t) -> c_int;
    getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut socklen_t) -> c_int;
    read(fd: c_int, buffer: *mut c_void, length: size_t) -> ssize_t;
    __read_chk(fd: c_int, buffer: *mut c_void, length: size_t, room: size_t) -> ssize_t;
    readv(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t;
    preadv2(fd: c_int, parts: *const iovec, count: c_int, offset: off_t, flags: c_int) -> ssize_t;
    recv(fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int) -> ssize_t;
    __recv_chk(fd: c_int, buffer: *mut c_void, length: size_t, room: size_t, flags: c_int) -> ssize_t;
    recvfrom(fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int, name: *mut sockaddr, room: *mut socklen_t)
        -> ssize_t;
    __recvfrom_chk(fd: c_int, buffer: *mut c_void, length: size_t, space: size_t, flags: c_int, name: *mut sockaddr,
        room: *mut socklen_t) -> ssize_t;
    recvmsg(fd: c_int, message: *mut libc::msghdr, flags: c_int) -> ssize_t;
    recvmmsg(fd: c_int, messages: *mut libc::mmsghdr, count: u32, flags: c_int, timeout: *mut libc::timespec) -> c_int;
    write(fd: c_int, buffer: *const c_void, length: size_t) -> ssize_t;
    writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t;
    pwritev2(fd: c_int, parts: *const iovec, count: c_int, offset: off_t, flags: c_int) -> ssize_t;
    send(fd: c_int, buffer: *const c_void, length: size_t, flags: c_int) -> ssize_t;
    sendto(fd: c_int, buffer: *const c_void, length: size_t, flags: c_int, name: *const sockaddr, room: socklen_t)
        -> ssize_t;
    sendmsg(fd: c_int, message: *const libc::msghdr, flags: c_int) -> ssize_t;
    sendmmsg(fd: c_int, messages: *mut libc::mmsghdr, count: u32, flags: c_int) -> c_int;
    sendfile(to: c_int, from: c_int, offset: *mut off_t, count: size_t) -> ssize_t;
    sendfile64(to: c_int, from: c_int, offset: *mut off_t, count: size_t) -> ssize_t;
    splice(from: c_int, from_offset: *mut libc::loff_t, to: c_int, to_offset: *mut libc::loff_t, count: size_t,
        flags: c_uint) -> ssize_t;
    poll(entries: *mut libc::pollfd, count: nfds_t, timeout: c_int) -> c_int;
    __poll_chk(entries: *mut libc::pollfd, count: nfds_t, timeout: c_int, room: size_t) -> c_int;
    ppoll(entries: *mut libc::pollfd, count: nfds_t, timeout: *const libc::timespec, signals: *const libc::sigset_t)
        -> c_int;
    __ppoll_chk(entries: *mut libc::pollfd, count: nfds_t, timeout: *const libc::timespec,
        signals: *const libc::sigset_t, room: size_t) -> c_int;
    select(count: c_int, read: *mut libc::fd_set, write: *mut libc::fd_set, except: *mut libc::fd_set,
        timeout: *mut libc::timeval) -> c_int;
    pselect(count: c_int, read: *mut libc::fd_set, write: *mut libc::fd_set, except: *mut libc::fd_set,
        timeout: *const libc::timespec, signals: *const libc::sigset_t) -> c_int;
    epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut libc::epoll_event) -> c_int;
    epoll_wait(fd: c_int, events: *mut libc::epoll_event, count: c_int, timeout: c_int) -> c_int;
    epoll_pwait(fd: c_int, events: *mut libc::epoll_event, count: c_int, timeout: c_int,
        signals: *const libc::sigset_t) -> c_int;
    epoll_pwait2(fd: c_int, events: *mut libc::epoll_event, count: c_int, timeout: *const libc::timespec,
        signals: *const libc::sigset_t) -> c_int;
}
