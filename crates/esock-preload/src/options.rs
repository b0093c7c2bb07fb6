//! `setsockopt` and `getsockopt`, through which the SCTP library makes most of its calls.

use crate::channel::{self, In, Out};
use crate::errno::{Step, caught, int};
use crate::memory::{self, Parts};
use crate::{broker, linger, real, socket, table, wait};
use esock_sockets::protocol::{Op, Request};
use esock_sockets::{SocketId, calls};
use libc::{c_int, c_void, iovec, socklen_t};

/// The longest value of an SCTP option; what is longer, Linux cuts off before it looks at it.
const LONGEST: usize = 69_632;
/// The longest value of another option: of those, Linux copies what it needs.
const LONGEST_PLAIN: usize = 256;
/// What a value that is asked for can tell beforehand: which association and address, at most.
const ASKED: usize = 512;
/// Of SCTP_GET_LOCAL_ADDRS, Linux has never counted what is before the addresses, in bytes.
const UNCOUNTED: u32 = 8;
/// The most addresses of one call, in bytes.
const MOST_NAMES: usize = 1 << 20;

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
    let Ok(length) = usize::try_from(length.cast_signed()) else { return int(Step::fail(libc::EINVAL)) };
    table::set_patience(fd, 0);
    if level != libc::IPPROTO_SCTP {
        return int(caught(|| set_plain(fd, id, (level, name), value, length)));
    }
    let length = length.min(LONGEST);
    if matches!(name, calls::SCTP_SOCKOPT_CONNECTX | calls::SCTP_SOCKOPT_CONNECTX_OLD) {
        let (step, number) = connect_many(fd, id, value, length);
        // SAFETY: plain values.
        let step = unsafe { socket::finish_connect(fd, id, step) };
        // The newer one returns the association.
        let made = step.result == 0 && name == calls::SCTP_SOCKOPT_CONNECTX;
        return int(if made { Step::done(number as usize) } else { step });
    }
    int(caught(|| {
        let part = iovec { iov_base: value.cast_mut(), iov_len: length };
        set(fd, id, (level, name), part)
    }))
}

fn set(fd: c_int, id: SocketId, (level, name): (c_int, c_int), value: iovec) -> Result<Step, c_int> {
    let request = Request { args: [level, name, 0, 0], ..Request::new(Op::SetOption, id) };
    let out =
        Out { parts: [value, iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }], data: &Parts::NONE, passed: None };
    let head = channel::call(&request, &out, &mut In::nothing())?;
    Ok(wait::step(fd, id, &head))
}

/// An option of another level: Linux copies as much as the option needs, whatever the length says.
fn set_plain(
    fd: c_int,
    id: SocketId,
    option: (c_int, c_int),
    value: *const c_void,
    length: usize,
) -> Result<Step, c_int> {
    let mut bytes = [0; LONGEST_PLAIN];
    let length = length.min(LONGEST_PLAIN);
    let got = memory::read(value, &mut bytes[..length]);
    if got == 0 && length >= size_of::<c_int>() {
        return Err(libc::EFAULT);
    }
    let step = set(fd, id, option, iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: got })?;
    if step.result >= 0 {
        linger::on_option(option.0, option.1, &bytes[..got]);
    }
    Ok(step)
}

/// Begins to connect to many addresses; the association's number comes with it.
fn connect_many(fd: c_int, id: SocketId, names: *const c_void, length: usize) -> (Step, c_int) {
    let mut number = [0; size_of::<c_int>()];
    let step = caught(|| {
        if length > MOST_NAMES {
            return Err(libc::ENOMEM);
        }
        let data = Parts::one(names, length);
        let out = Out { data: &data, ..Out::bytes(&[]) };
        let head = channel::call(&Request::new(Op::ConnectMany, id), &out, &mut In::bytes(&mut number))?;
        Ok(wait::step(fd, id, &head))
    });
    (step, c_int::from_ne_bytes(number))
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
    let room = memory::take(length).and_then(|room| usize::try_from(room.cast_signed()).map_err(|_| libc::EINVAL));
    let room = match room {
        Ok(room) => room,
        Err(errno) => return int(Step::fail(errno)),
    };
    if level == libc::IPPROTO_SCTP && matches!(name, calls::SCTP_SOCKOPT_PEELOFF | calls::SCTP_SOCKOPT_PEELOFF_FLAGS) {
        return int(caught(|| peel_off(fd, id, value.cast(), length, room, name == calls::SCTP_SOCKOPT_PEELOFF_FLAGS)));
    }
    if level == libc::IPPROTO_SCTP && name == calls::SCTP_SOCKOPT_CONNECTX3 {
        // SAFETY: plain values.
        return int(unsafe { connectx3(fd, id, value.cast(), length, room) });
    }
    int(caught(|| {
        let mut asked = [0; ASKED];
        let wanted = room.min(ASKED);
        let got = memory::read(value, &mut asked[..wanted]);
        if got == 0 && wanted > 0 {
            return Err(libc::EFAULT);
        }
        let request = Request { args: [level, name, room as c_int, 0], ..Request::new(Op::GetOption, id) };
        let place = Parts::one(value, room);
        let mut into = In { theirs: &place, ..In::nothing() };
        let head = channel::call(&request, &Out::bytes(&asked[..got]), &mut into)?;
        let fault = into.fault;
        let step = wait::step(fd, id, &head);
        if fault {
            return Err(libc::EFAULT);
        }
        if step.result >= 0 {
            let is_list = level == libc::IPPROTO_SCTP && name == calls::SCTP_GET_LOCAL_ADDRS;
            memory::put(length, head.body.saturating_sub(if is_list { UNCOUNTED } else { 0 }))?;
        }
        Ok(step)
    }))
}

/// `sctp_peeloff` and `sctp_peeloff_flags`: association and descriptor, then flags.
fn peel_off(
    fd: c_int,
    id: SocketId,
    value: *mut c_int,
    length: *mut socklen_t,
    room: usize,
    with_flags: bool,
) -> Result<Step, c_int> {
    let words = if with_flags { 3 } else { 2 };
    if room < words * size_of::<c_int>() {
        return Err(libc::EINVAL);
    }
    let number = memory::take(value)?;
    let flags = if with_flags { memory::take(value.wrapping_add(2))? } else { 0 };
    let mut head = Default::default();
    let (new, ..) = socket::new(flags, |new| {
        let request = Request { args: [number, 0, 0, 0], ..Request::new(Op::PeelOff, id) };
        (head, _) = channel::ask(&request, &new.0.to_ne_bytes(), &mut [])?;
        Ok(head)
    })?;
    wait::settle(fd, id, &head);
    let told = memory::put(value.wrapping_add(1), new)
        .and_then(|()| memory::put(length, (words * size_of::<c_int>()) as socklen_t));
    if let Err(errno) = told {
        table::forget(new);
        broker::close(new);
        return Err(errno);
    }
    Ok(Step::done(new as usize))
}

/// `sctp_connectx`: association, length, and a pointer to addresses.
///
/// # Safety
///
/// As `wait::until`.
unsafe fn connectx3(fd: c_int, id: SocketId, value: *mut c_int, room_at: *mut socklen_t, room: usize) -> Step {
    if room < 2 * size_of::<c_int>() + size_of::<usize>() {
        return Step::fail(libc::EINVAL);
    }
    let given = memory::take(value.wrapping_add(1));
    let names = memory::take(value.wrapping_add(2).cast::<[u8; size_of::<usize>()]>()).map(usize::from_ne_bytes);
    let (length, names) = match (given, names) {
        (Ok(length), Ok(names)) => (length, std::ptr::with_exposed_provenance::<c_void>(names)),
        (Err(errno), _) | (_, Err(errno)) => return Step::fail(errno),
    };
    let Some(length) = usize::try_from(length).ok().filter(|length| *length > 0) else {
        return Step::fail(libc::EINVAL);
    };
    let (step, number) = connect_many(fd, id, names, length);
    // SAFETY: plain values.
    let step = unsafe { socket::finish_connect(fd, id, step) };
    if (step.result == 0 || step.result == -(libc::EINPROGRESS as isize))
        && let Err(errno) =
            memory::put(value, number).and_then(|()| memory::put(room_at, size_of::<c_int>() as socklen_t))
    {
        return Step::fail(errno);
    }
    step
}
