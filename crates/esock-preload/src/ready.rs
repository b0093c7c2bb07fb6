//! `poll`, `select` and `epoll`. They do by themselves what they should; whoever looks without waiting sees what has
//! already arrived at the host.

use crate::{descriptor, memory, real, table, wait};
use libc::{c_int, c_short, nfds_t, size_t};

/// Whether one of the entries is a socket of ours.
fn has_ours(entries: *const libc::pollfd, count: nfds_t) -> bool {
    if !table::any() {
        return false;
    }
    let mut at = 0;
    while at < count {
        // Eight entries of a descriptor and two sets of events, with nothing between.
        let mut piece = [0_u8; 64];
        let bytes = piece.len().min(((count - at) as usize).saturating_mul(8));
        let got = memory::read(entries.wrapping_add(at as usize).cast(), &mut piece[..bytes]);
        let ours = piece[..got]
            .chunks_exact(8)
            .any(|entry| entry.first_chunk().is_some_and(|fd| table::find(c_int::from_ne_bytes(*fd)).is_some()));
        if ours || got < bytes {
            return ours;
        }
        at += 8;
    }
    false
}

const _: () = assert!(size_of::<libc::pollfd>() == size_of::<c_int>() + 2 * size_of::<c_short>());

fn is_zero(timeout: *const libc::timespec) -> bool {
    !timeout.is_null() && memory::take(timeout).is_ok_and(|time| time.tv_sec == 0 && time.tv_nsec == 0)
}

/// See poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn poll(entries: *mut libc::pollfd, count: nfds_t, timeout: c_int) -> c_int {
    if timeout == 0 && has_ours(entries, count) {
        wait::sync();
    }
    // SAFETY: the caller's matter.
    unsafe { real::poll(entries, count, timeout) }
}

/// See ppoll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn ppoll(
    entries: *mut libc::pollfd,
    count: nfds_t,
    timeout: *const libc::timespec,
    signals: *const libc::sigset_t,
) -> c_int {
    if table::any() && is_zero(timeout) && has_ours(entries, count) {
        wait::sync();
    }
    // SAFETY: the caller's matter.
    unsafe { real::ppoll(entries, count, timeout, signals) }
}

/// Whether one of a set of descriptors is a socket of ours.
fn set_has_ours(set: *const libc::fd_set, count: c_int) -> bool {
    let mut bytes = [0_u8; size_of::<libc::fd_set>()];
    let used = usize::try_from(count).unwrap_or(0).min(libc::FD_SETSIZE).div_ceil(8);
    let got = memory::read(set.cast(), &mut bytes[..used]);
    // Bits of a set are counted within its words.
    bytes[..got].chunks(size_of::<libc::c_ulong>()).enumerate().any(|(place, word)| {
        let mut whole = [0; size_of::<libc::c_ulong>()];
        whole[..word.len()].copy_from_slice(word);
        let mut bits = libc::c_ulong::from_ne_bytes(whole);
        while bits != 0 {
            let fd = place * 8 * size_of::<libc::c_ulong>() + bits.trailing_zeros() as usize;
            if table::find(fd as c_int).is_some() {
                return true;
            }
            bits &= bits - 1;
        }
        false
    })
}

/// See select(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn select(
    count: c_int,
    read: *mut libc::fd_set,
    write: *mut libc::fd_set,
    except: *mut libc::fd_set,
    timeout: *mut libc::timeval,
) -> c_int {
    if table::any()
        && !timeout.is_null()
        && memory::take(timeout).is_ok_and(|time| time.tv_sec == 0 && time.tv_usec == 0)
        && (set_has_ours(read, count) || set_has_ours(write, count))
    {
        wait::sync();
    }
    // SAFETY: the caller's matter.
    unsafe { real::select(count, read, write, except, timeout) }
}

/// See pselect(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pselect(
    count: c_int,
    read: *mut libc::fd_set,
    write: *mut libc::fd_set,
    except: *mut libc::fd_set,
    timeout: *const libc::timespec,
    signals: *const libc::sigset_t,
) -> c_int {
    if table::any() && is_zero(timeout) && (set_has_ours(read, count) || set_has_ours(write, count)) {
        wait::sync();
    }
    // SAFETY: the caller's matter.
    unsafe { real::pselect(count, read, write, except, timeout, signals) }
}

/// See epoll_ctl(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn epoll_ctl(
    epoll: c_int,
    operation: c_int,
    fd: c_int,
    event: *mut libc::epoll_event,
) -> c_int {
    // SAFETY: the caller's matter.
    let code = unsafe { real::epoll_ctl(epoll, operation, fd, event) };
    if code == 0
        && operation != libc::EPOLL_CTL_DEL
        && let Some(id) = table::find(fd)
    {
        table::watches(epoll);
        // The kernel has read it: `events` comes first.
        if memory::take(event.cast::<u32>()).is_ok_and(|events| events & libc::EPOLLET as u32 != 0) {
            descriptor::say_edges(id);
        }
    }
    code
}

/// See epoll_wait(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn epoll_wait(
    fd: c_int,
    events: *mut libc::epoll_event,
    count: c_int,
    timeout: c_int,
) -> c_int {
    if timeout == 0 && table::is_watching(fd) {
        wait::sync();
    }
    // SAFETY: the caller's matter.
    unsafe { real::epoll_wait(fd, events, count, timeout) }
}

/// See epoll_wait(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn epoll_pwait(
    fd: c_int,
    events: *mut libc::epoll_event,
    count: c_int,
    timeout: c_int,
    signals: *const libc::sigset_t,
) -> c_int {
    if timeout == 0 && table::is_watching(fd) {
        wait::sync();
    }
    // SAFETY: the caller's matter.
    unsafe { real::epoll_pwait(fd, events, count, timeout, signals) }
}

/// See epoll_wait(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn epoll_pwait2(
    fd: c_int,
    events: *mut libc::epoll_event,
    count: c_int,
    timeout: *const libc::timespec,
    signals: *const libc::sigset_t,
) -> c_int {
    if table::is_watching(fd) && is_zero(timeout) {
        wait::sync();
    }
    // SAFETY: the caller's matter.
    unsafe { real::epoll_pwait2(fd, events, count, timeout, signals) }
}

/// `poll` as programs call it that were built with checks.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __poll_chk(
    entries: *mut libc::pollfd,
    count: nfds_t,
    timeout: c_int,
    room: size_t,
) -> c_int {
    if timeout == 0 && has_ours(entries, count) {
        wait::sync();
    }
    // SAFETY: the caller's matter.
    unsafe { real::__poll_chk(entries, count, timeout, room) }
}

/// `ppoll` as programs call it that were built with checks.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __ppoll_chk(
    entries: *mut libc::pollfd,
    count: nfds_t,
    timeout: *const libc::timespec,
    signals: *const libc::sigset_t,
    room: size_t,
) -> c_int {
    if table::any() && is_zero(timeout) && has_ours(entries, count) {
        wait::sync();
    }
    // SAFETY: the caller's matter.
    unsafe { real::__ppoll_chk(entries, count, timeout, signals, room) }
}
