//! `setsockopt` and `getsockopt`, through which the SCTP library makes most of its calls.

use crate::errno::{Step, caught, int};
use crate::{channel, real, socket, table, wait};
use esock_io_constants as c;
use esock_sockets::SocketId;
use esock_sockets::protocol::{Op, Request};
use libc::{c_int, c_void, socklen_t};

/// Options that are calls: numbers of `<linux/sctp.h>`.
mod esock_io_constants {
    use libc::c_int;

    pub const PEELOFF: c_int = 102;
    pub const CONNECTX_OLD: c_int = 107;
    pub const CONNECTX: c_int = 110;
    pub const CONNECTX3: c_int = 111;
    pub const PEELOFF_FLAGS: c_int = 122;
}

/// # Safety
///
/// The value has so many bytes.
unsafe fn bytes<'a>(value: *const c_void, length: socklen_t) -> &'a [u8] {
    if value.is_null() {
        return &[];
    }
    // SAFETY: the caller vouches for it.
    unsafe { std::slice::from_raw_parts(value.cast(), length as usize) }
}

/// See setsockopt(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn setsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    length: socklen_t,
) -> c_int {
    let Some(id) = table::find(fd) else {
        // SAFETY: the caller's matter.
        return unsafe { real::setsockopt(fd, level, name, value, length) };
    };
    // SAFETY: the caller's matter.
    let value = unsafe { bytes(value, length) };
    if level == libc::IPPROTO_SCTP && matches!(name, c::CONNECTX | c::CONNECTX_OLD) {
        let (step, number) = connect_many(fd, id, value);
        // SAFETY: plain values.
        let step = unsafe { socket::finish_connect(fd, id, step) };
        // The old form returns the association.
        let old = Step {
            result: if step.result == 0 && name == c::CONNECTX { number as isize } else { step.result },
            ..step
        };
        return int(old);
    }
    int(caught(|| {
        let request = Request { args: [level, name, 0, 0], ..Request::new(Op::SetOption, id) };
        match channel::ask(&request, value) {
            Ok((head, _)) => wait::step(fd, &head),
            Err(errno) => Step::fail(errno),
        }
    }))
}

/// Begins to connect to many addresses; the association's number comes with it.
fn connect_many(fd: c_int, id: SocketId, names: &[u8]) -> (Step, c_int) {
    let mut number = 0;
    let step = caught(|| match channel::ask(&Request::new(Op::ConnectMany, id), names) {
        Ok((head, body)) => {
            number = body.first_chunk().map_or(0, |number| c_int::from_ne_bytes(*number));
            wait::step(fd, &head)
        }
        Err(errno) => Step::fail(errno),
    });
    (step, number)
}

/// See getsockopt(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    length: *mut socklen_t,
) -> c_int {
    let Some(id) = table::find(fd) else {
        // SAFETY: the caller's matter.
        return unsafe { real::getsockopt(fd, level, name, value, length) };
    };
    if length.is_null() {
        return int(Step::fail(libc::EFAULT));
    }
    // SAFETY: it is not null, and the caller's.
    let room = unsafe { *length };
    if level == libc::IPPROTO_SCTP && matches!(name, c::PEELOFF | c::PEELOFF_FLAGS) {
        // SAFETY: the caller's matter.
        return int(caught(|| unsafe { peel_off(fd, id, value, room, name == c::PEELOFF_FLAGS) }));
    }
    if level == libc::IPPROTO_SCTP && name == c::CONNECTX3 {
        // SAFETY: the caller's matter.
        return int(unsafe { connectx3(fd, id, value, room) });
    }
    int(caught(|| {
        let request = Request { args: [level, name, room as c_int, 0], ..Request::new(Op::GetOption, id) };
        // SAFETY: the caller's matter.
        match channel::ask(&request, unsafe { bytes(value, room) }) {
            Ok((head, body)) => {
                if head.result >= 0 {
                    let given = body.len().min(room as usize);
                    // SAFETY: there is room for so many bytes.
                    unsafe {
                        std::ptr::copy_nonoverlapping(body.as_ptr(), value.cast(), given);
                        *length = given as socklen_t;
                    }
                }
                wait::step(fd, &head)
            }
            Err(errno) => Step::fail(errno),
        }
    }))
}

/// `sctp_peeloff` and `sctp_peeloff_flags`: association and descriptor, then flags.
unsafe fn peel_off(fd: c_int, id: SocketId, value: *mut c_void, room: socklen_t, with_flags: bool) -> Step {
    if (room as usize) < if with_flags { 12 } else { 8 } || value.is_null() {
        return Step::fail(libc::EINVAL);
    }
    let value = value.cast::<c_int>();
    // SAFETY: there are as many bytes.
    let (number, flags) =
        unsafe { (value.read_unaligned(), if with_flags { value.add(2).read_unaligned() } else { 0 }) };
    let made = socket::new(flags, |new| {
        let request = Request { args: [number, 0, 0, 0], ..Request::new(Op::PeelOff, id) };
        let (head, _) = channel::ask(&request, &new.0.to_ne_bytes())?;
        wait::settle(fd, &head);
        Ok(head)
    });
    match made {
        Ok((new, _)) => {
            // SAFETY: as above.
            unsafe { value.add(1).write_unaligned(new) };
            Step::done(new as usize)
        }
        Err(errno) => Step::fail(errno),
    }
}

/// `sctp_connectx`: association, length, and a pointer to addresses.
unsafe fn connectx3(fd: c_int, id: SocketId, value: *mut c_void, room: socklen_t) -> Step {
    if (room as usize) < 16 || value.is_null() {
        return Step::fail(libc::EINVAL);
    }
    let words = value.cast::<c_int>();
    // SAFETY: there are as many bytes.
    let (length, names) =
        unsafe { (words.add(1).read_unaligned(), words.add(2).cast::<*const c_void>().read_unaligned()) };
    if length <= 0 || names.is_null() {
        return Step::fail(libc::EINVAL);
    }
    // SAFETY: the program says that there are as many.
    let (step, number) = connect_many(fd, id, unsafe { bytes(names, length as socklen_t) });
    // SAFETY: plain values.
    let step = unsafe { socket::finish_connect(fd, id, step) };
    if step.result == 0 || step.result == -(libc::EINPROGRESS as isize) {
        // SAFETY: as above.
        unsafe { words.write_unaligned(number) };
    }
    step
}
