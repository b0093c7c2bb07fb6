//! Calls to the broker: each takes one of a few connections for as long as it lasts.
//!
//! Nothing here allocates or takes a lock that a signal handler, which may make calls of its own, could find taken:
//! signals are held back while a call is under way. It lasts as long as the broker needs to answer at once; whoever
//! has to wait does so elsewhere (`wait`), with signals, and holds nothing.

use crate::errno::check;
use crate::memory::Parts;
use crate::signals::Held;
use crate::{broker, life, shared, table};
use esock_sockets::SocketId;
use esock_sockets::protocol::{self, Op, REPLY_BYTES, REQUEST_BYTES, ReplyHead, Request, SHARED_BYTES, SHARED_FROM};
use libc::{c_int, c_long, c_void, iovec};
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// Calls at once: the broker does one after the other anyway.
const SLOTS: usize = 16;

/// Descriptors of channels are at least this, if the limit allows: out of the way of what programs expect.
const HIGH: c_int = 900;

/// Parts of one system call.
const AT_ONCE: usize = 16;

/// A connection. After a `fork` it is the parent's, and so is whoever uses it.
struct Slot {
    /// The generation of the process in which a thread uses it now.
    taken: AtomicU64,
    /// The generation of the process that made it; 0 for none.
    made: AtomicU64,
    fd: AtomicI32,
    inode: AtomicU64,
    /// What the broker shares with us, mapped in the process that made it; null for none.
    memory: AtomicPtr<u8>,
}

static POOL: [Slot; SLOTS] = [const {
    Slot {
        taken: AtomicU64::new(0),
        made: AtomicU64::new(0),
        fd: AtomicI32::new(-1),
        inode: AtomicU64::new(0),
        memory: AtomicPtr::new(std::ptr::null_mut()),
    }
}; SLOTS];

/// Changes when a slot is free again and somebody waits.
static FREED: AtomicU32 = AtomicU32::new(0);
/// Threads that wait for a slot.
static WAITING: AtomicU32 = AtomicU32::new(0);

/// A slot that is ours until this is dropped.
struct Taken(&'static Slot);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.taken.store(0, Ordering::SeqCst);
        if WAITING.load(Ordering::SeqCst) > 0 {
            FREED.fetch_add(1, Ordering::SeqCst);
            // SAFETY: the word is static.
            unsafe { libc::syscall(libc::SYS_futex, FREED.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
        }
    }
}

/// Takes the message that the broker offers on a connection, if it is one of a socket and goes where a reply is to go, with
/// `control_room` for control messages. None if there is none such, or if the connection is in use: then one asks.
pub fn take_offered(from: usize, id: SocketId, into: &mut In<'_>, control_room: usize) -> Option<ReplyHead> {
    let _held = Held::new();
    let taken = Taken::this(from)?;
    let memory = taken.0.memory.load(Ordering::Relaxed);
    if memory.is_null() || taken.0.made.load(Ordering::Relaxed) != life::generation() {
        return None;
    }
    // SAFETY: the memory is large enough, and ours as long as the slot is; both sides change the word as an atomic.
    let word = unsafe { AtomicU64::from_ptr(memory.wrapping_add(protocol::OFFER_AT).cast()) };
    let state = word.load(Ordering::Acquire);
    if state & (protocol::OFFER_OPEN | protocol::OFFER_TAKEN) != protocol::OFFER_OPEN {
        return None;
    }
    let mut socket = [0_u8; 8];
    let mut head = [0_u8; REPLY_BYTES];
    let front = into.ours.len().min(protocol::FRONT);
    // SAFETY: as above. If the broker writes there meanwhile, the state is another, and nothing comes of this.
    unsafe {
        memory.wrapping_add(protocol::OFFER_SOCKET).copy_to_nonoverlapping(socket.as_mut_ptr(), socket.len());
        memory.wrapping_add(protocol::OFFER_HEAD).copy_to_nonoverlapping(head.as_mut_ptr(), head.len());
        memory.wrapping_add(protocol::OFFER_FRONT).copy_to_nonoverlapping(into.ours.as_mut_ptr(), front);
    }
    let mut head = ReplyHead::from_bytes(&head);
    let count = head.shared as usize;
    let fits = count <= protocol::MOST_OFFERED && count <= into.theirs.length && head.control as usize <= control_room;
    if u64::from_ne_bytes(socket) != id.0 || !fits {
        return None;
    }
    let new = state | protocol::OFFER_TAKEN;
    word.compare_exchange(state, new, Ordering::AcqRel, Ordering::Relaxed).ok()?;
    if state & protocol::OFFER_MORE != 0 {
        head.pull = 0;
    }
    // SAFETY: as above; the broker writes no other offer before it is told that this one is done with.
    into.fault = unsafe { into.theirs.copy_in(memory.wrapping_add(protocol::OFFER_DATA), count) }.is_err();
    word.store(new | protocol::OFFER_DONE, Ordering::Release);
    Some(head)
}

impl Taken {
    /// A slot that nobody uses now.
    fn this(place: usize) -> Option<Self> {
        let (slot, generation) = (POOL.get(place)?, life::generation());
        let taken = slot.taken.load(Ordering::Relaxed);
        let free = taken != generation;
        (free && slot.taken.compare_exchange(taken, generation, Ordering::SeqCst, Ordering::Relaxed).is_ok())
            .then(|| Self(slot))
    }

    fn place(&self) -> usize {
        POOL.iter().position(|slot| std::ptr::eq(slot, self.0)).unwrap_or(0)
    }

    fn new() -> Self {
        let generation = life::generation();
        if let Some(slot) = Self::free(generation) {
            return Self(slot);
        }
        WAITING.fetch_add(1, Ordering::SeqCst);
        let slot = loop {
            let seen = FREED.load(Ordering::SeqCst);
            if let Some(slot) = Self::free(generation) {
                break slot;
            }
            // Others' calls are short, so this wait is: it is never for a peer.
            let limit = libc::timespec { tv_sec: 1, tv_nsec: 0 };
            let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
            // SAFETY: the word is static, and the limit lives through the call.
            unsafe { libc::syscall(libc::SYS_futex, FREED.as_ptr(), wait, seen, &raw const limit) };
        };
        WAITING.fetch_sub(1, Ordering::SeqCst);
        Self(slot)
    }

    fn free(generation: u64) -> Option<&'static Slot> {
        POOL.iter().find(|slot| {
            let taken = slot.taken.load(Ordering::Relaxed);
            taken != generation
                && slot.taken.compare_exchange(taken, generation, Ordering::SeqCst, Ordering::Relaxed).is_ok()
        })
    }

    /// The connection; a new one if there is none, or if it cannot be used.
    fn connection(&self, held: &Held) -> Result<c_int, c_int> {
        let fd = self.0.fd.load(Ordering::Relaxed);
        let made = self.0.made.load(Ordering::Relaxed);
        if made == life::generation() && table::is_hidden(fd) {
            return Ok(fd);
        }
        if fd >= 0 {
            // The parent's; or the program has closed it.
            self.lose();
        }
        let (fd, memory) = open(held)?;
        self.0.memory.store(memory, Ordering::Relaxed);
        self.0.fd.store(fd, Ordering::Relaxed);
        self.0.inode.store(table::inode(fd).unwrap_or(0), Ordering::Relaxed);
        self.0.made.store(life::generation(), Ordering::Relaxed);
        Ok(fd)
    }

    /// Gives the connection up: what was on its way is lost, or nobody knows how much of it was sent. The number may be
    /// another descriptor's by now.
    fn lose(&self) {
        let made = self.0.made.swap(0, Ordering::Relaxed);
        let memory = self.0.memory.swap(std::ptr::null_mut(), Ordering::Relaxed);
        // A child that was forked does not have its parent's.
        if !memory.is_null() && made == life::generation() {
            shared::unmap(memory);
        }
        let fd = self.0.fd.swap(-1, Ordering::Relaxed);
        if table::is_hidden(fd) {
            let is_ours = table::inode(fd) == Some(self.0.inode.load(Ordering::Relaxed));
            table::forget(fd);
            if is_ours {
                broker::close(fd);
            }
        }
    }
}

/// Where channels' descriptors begin.
fn high() -> c_int {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` has room for what is asked.
    let code = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if code != 0 { HIGH } else { c_int::try_from(limit.rlim_cur.saturating_sub(32)).unwrap_or(HIGH).min(HIGH) }
}

/// A new connection, and the memory that goes with it, or null.
fn open(held: &Held) -> Result<(c_int, *mut u8), c_int> {
    let low = broker::connect(None, true)?;
    // SAFETY: no memory is involved.
    let high = unsafe { libc::syscall(libc::SYS_fcntl, low, libc::F_DUPFD_CLOEXEC, high()) } as c_int;
    let fd = if high < 0 {
        low
    } else {
        broker::close(low);
        high
    };
    table::hide(fd);
    let key = broker::key();
    let hello = Request {
        args: [protocol::VERSION.cast_signed(), life::process(), 0, 0],
        ..Request::new(Op::Hello, SocketId(0))
    };
    let memory = shared::New::make();
    let at = memory.as_ref().map_or(std::ptr::null_mut(), |memory| memory.at);
    let out = Out { passed: memory.as_ref().map(|memory| memory.fd), ..Out::bytes(key.as_bytes()) };
    let said = exchange(fd, held, &hello, &out, &mut In::nothing());
    if let Some(memory) = memory {
        broker::close(memory.fd);
    }
    let refused = match said {
        Ok(head) if head.result >= 0 => return Ok((fd, at)),
        Ok(head) if head.result == -libc::EPROTO => {
            broker::complain("the broker is of another version: end it, and start programs with one `esock run`");
            libc::EPROTO
        }
        Ok(head) => {
            broker::complain("the broker is another user's, and does not know this program");
            -head.result
        }
        // The broker takes no more, or has just ended.
        Err(libc::ECONNRESET | libc::EPIPE) => libc::ENFILE,
        Err(errno) => errno,
    };
    if !at.is_null() {
        shared::unmap(at);
    }
    table::forget(fd);
    broker::close(fd);
    Err(refused)
}

/// What follows a request's header: up to two parts by themselves, then the program's data.
pub struct Out<'a> {
    pub parts: [iovec; 2],
    pub data: &'a Parts,
    /// A descriptor that is passed on with it.
    pub passed: Option<c_int>,
}

const NOTHING: iovec = iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };

fn none() -> &'static Parts {
    struct Shared(Parts);
    // SAFETY: an empty part points at nothing.
    unsafe impl Sync for Shared {}
    static NONE: Shared = Shared(Parts::NONE);
    &NONE.0
}

impl Out<'_> {
    /// Bytes of ours.
    pub fn bytes(bytes: &[u8]) -> Self {
        Self {
            parts: [iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }, NOTHING],
            data: none(),
            passed: None,
        }
    }
}

/// Where what follows a reply's header goes: first to bytes of ours, then to the program's memory.
pub struct In<'a> {
    pub ours: &'a mut [u8],
    pub theirs: &'a Parts,
    /// By which connection it came, for [`take_offered`].
    pub from: usize,
    /// The program's memory could not be written.
    pub fault: bool,
}

impl<'a> In<'a> {
    /// Nothing follows.
    pub fn nothing() -> Self {
        Self::bytes(&mut [])
    }

    /// All of it comes to us.
    pub fn bytes(ours: &'a mut [u8]) -> Self {
        Self { ours, theirs: none(), from: 0, fault: false }
    }
}

/// Calls the broker and takes its reply. An error means that nothing is known of what became of the call, or that
/// memory of the program's could not be read.
pub fn call(request: &Request, out: &Out<'_>, into: &mut In<'_>) -> Result<ReplyHead, c_int> {
    let held = Held::new();
    let taken = Taken::new();
    let mut done = taken.exchange(&held, request, out, into)?;
    if let Err(libc::EBADF | libc::ENOTSOCK | libc::EPIPE | libc::ENOTCONN) = done {
        // Nothing has gone: the program has closed the descriptor unseen, or that broker has ended.
        taken.lose();
        done = taken.exchange(&held, request, out, into)?;
    }
    if done.is_err() || into.fault {
        // Some of it may lie there still.
        taken.lose();
    }
    let head = done?;
    into.from = taken.place();
    if head.shared > 0 {
        into.fault = !taken.take(&head, into.theirs);
    }
    Ok(head)
}

impl Taken {
    /// A call and its reply, with data in shared memory if there is some, and if they are many. The error of the result
    /// within is the connection's.
    fn exchange(
        &self,
        held: &Held,
        request: &Request,
        out: &Out<'_>,
        into: &mut In<'_>,
    ) -> Result<Result<ReplyHead, c_int>, c_int> {
        let fd = self.connection(held)?;
        let memory = self.0.memory.load(Ordering::Relaxed);
        let length = out.data.length;
        if memory.is_null() || !(SHARED_FROM..=SHARED_BYTES).contains(&length) {
            return Ok(exchange(fd, held, request, out, into));
        }
        // SAFETY: it is as large, and ours as long as the slot is.
        unsafe { out.data.copy_out(memory) }?;
        let request = Request { shared: length as u32, ..*request };
        Ok(exchange(fd, held, &request, &Out { data: none(), ..*out }, into))
    }

    /// Takes the data that a reply says lie in shared memory. Says whether the program's memory could be written.
    fn take(&self, head: &ReplyHead, theirs: &Parts) -> bool {
        let memory = self.0.memory.load(Ordering::Relaxed);
        let count = head.shared as usize;
        // SAFETY: it is as large, and ours as long as the slot is.
        !memory.is_null() && count <= SHARED_BYTES && unsafe { theirs.copy_in(memory, count) }.is_ok()
    }
}

fn exchange(fd: c_int, held: &Held, request: &Request, out: &Out<'_>, into: &mut In<'_>) -> Result<ReplyHead, c_int> {
    let length = out.parts[0].iov_len + out.parts[1].iov_len + out.data.length;
    if length > protocol::MAX_BODY {
        return Err(libc::EMSGSIZE);
    }
    send(fd, &Request { body: length as u32, ..*request }.to_bytes(), out, length)?;
    receive(fd, held, into)
}

fn send(fd: c_int, head: &[u8; REQUEST_BYTES], out: &Out<'_>, length: usize) -> Result<(), c_int> {
    let goal = REQUEST_BYTES + length;
    let mut gone = 0;
    while gone < goal {
        let passed = out.passed.filter(|_| gone == 0);
        let mut parts = [NOTHING; AT_ONCE];
        let front =
            [iovec { iov_base: head.as_ptr().cast_mut().cast(), iov_len: REQUEST_BYTES }, out.parts[0], out.parts[1]];
        let mut made = Made { parts: &mut parts, count: 0, skip: gone };
        front.into_iter().for_each(|part| made.push(part));
        let (count, skip) = (made.count, made.skip);
        let before: usize = parts[..count].iter().map(|part| part.iov_len).sum();
        let count = count + out.data.after(skip, goal - gone - before, &mut parts[count..])?;
        gone += match transfer(fd, &mut parts[..count], libc::SYS_sendmsg, libc::MSG_NOSIGNAL, passed) {
            // The program has changed its parts in the meantime.
            Ok(0) => return Err(libc::EFAULT),
            Ok(moved) => moved,
            Err(libc::EINTR) => 0,
            Err(errno) => return Err(errno),
        };
    }
    Ok(())
}

/// Parts of a system call, without the bytes that have gone already.
struct Made<'a> {
    parts: &'a mut [iovec],
    count: usize,
    skip: usize,
}

impl Made<'_> {
    fn push(&mut self, part: iovec) {
        if self.skip >= part.iov_len {
            self.skip -= part.iov_len;
            return;
        }
        let at = part.iov_base.cast::<u8>().wrapping_add(self.skip).cast::<c_void>();
        self.parts[self.count] = iovec { iov_base: at, iov_len: part.iov_len - self.skip };
        (self.count, self.skip) = (self.count + 1, 0);
    }
}

fn receive(fd: c_int, held: &Held, into: &mut In<'_>) -> Result<ReplyHead, c_int> {
    let mut head = [0_u8; REPLY_BYTES];
    let mut rest = [0_u8; 256];
    let (mut got, mut goal) = (0, REPLY_BYTES);
    while got < goal {
        let mut parts = [NOTHING; AT_ONCE];
        let mut made = Made { parts: &mut parts, count: 0, skip: got };
        made.push(iovec { iov_base: head.as_mut_ptr().cast(), iov_len: REPLY_BYTES });
        made.push(iovec { iov_base: into.ours.as_mut_ptr().cast(), iov_len: into.ours.len() });
        let (mut count, skip) = (made.count, made.skip);
        if !into.fault {
            // The broker sends no more than there is room for, and one reply at a time.
            count += into.theirs.after(skip, usize::MAX, &mut parts[count..]).unwrap_or(0);
        }
        if count == 0 {
            // Nobody wants it.
            parts[0] = iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: rest.len().min(goal - got) };
            count = 1;
        }
        await_reply(fd, held);
        got += match transfer(fd, &mut parts[..count], libc::SYS_recvmsg, 0, None) {
            Ok(0) => return Err(libc::ECONNRESET),
            Ok(moved) => moved,
            Err(libc::EINTR) => 0,
            // The head is taken alone, because of what it says of the socket.
            Err(libc::EFAULT) if got < REPLY_BYTES && !into.fault => {
                into.fault = true;
                0
            }
            Err(libc::EFAULT) => {
                into.fault = true;
                break;
            }
            Err(errno) => return Err(errno),
        };
        if got >= REPLY_BYTES {
            goal = REPLY_BYTES + ReplyHead::from_bytes(&head).body as usize;
            let ours = REPLY_BYTES + into.ours.len();
            if into.fault {
                goal = goal.min(ours);
            }
        }
    }
    Ok(ReplyHead::from_bytes(&head))
}

/// How long a broker may take to answer before those who have it can be ended, in nanoseconds.
const PATIENCE: c_long = 500_000_000;

/// Waits for a reply. Who waits in a call that receives is woken also by what the broker reads: that makes room.
fn await_reply(fd: c_int, held: &Held) {
    let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    loop {
        let mut limit = libc::timespec { tv_sec: 0, tv_nsec: PATIENCE };
        // SAFETY: the entry and the limit live through the call.
        let ready = unsafe { libc::syscall(libc::SYS_ppoll, &raw mut entry, 1, &raw mut limit, 0_usize, 0_usize) };
        if ready != 0 {
            return;
        }
        held.let_end();
    }
}

fn transfer(fd: c_int, parts: &mut [iovec], call: c_long, flags: c_int, passed: Option<c_int>) -> Result<usize, c_int> {
    // SAFETY: integers and pointers, for which zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = parts.len() as _;
    let mut control = Rights::new(passed.unwrap_or(-1));
    if passed.is_some() {
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = size_of::<Rights>() as _;
    }
    // SAFETY: the parts are ours, or the program's and so the kernel's matter.
    check(unsafe { libc::syscall(call, fd, &raw mut message, flags) }).map(|moved| moved as usize)
}

/// A control message that passes a descriptor on.
#[repr(C)]
struct Rights {
    header: libc::cmsghdr,
    fd: c_int,
    /// To a multiple of the header's alignment.
    rest: c_int,
}

impl Rights {
    fn new(fd: c_int) -> Self {
        // SAFETY: integers, for which zero is valid.
        let mut header: libc::cmsghdr = unsafe { std::mem::zeroed() };
        header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<c_int>()) as _;
        (header.cmsg_level, header.cmsg_type) = (libc::SOL_SOCKET, libc::SCM_RIGHTS);
        Self { header, fd, rest: 0 }
    }
}

/// Has the broker deal with what has come to it, over a connection that there is. Where there is none, or that broker has
/// ended, nothing is begun for it: who only closes needs no broker.
pub fn sync_if_connected() {
    let held = Held::new();
    let generation = life::generation();
    let connected = |place: &usize| POOL[*place].made.load(Ordering::Relaxed) == generation;
    let Some(taken) = (0..SLOTS).filter(connected).find_map(Taken::this) else { return };
    let fd = taken.0.fd.load(Ordering::Relaxed);
    let request = Request::new(Op::Sync, SocketId(0));
    if !table::is_hidden(fd) || exchange(fd, &held, &request, &Out::bytes(&[]), &mut In::nothing()).is_err() {
        taken.lose();
    }
}

/// A call whose body and whose reply's are bytes of ours; says how many came.
pub fn ask(request: &Request, body: &[u8], reply: &mut [u8]) -> Result<(ReplyHead, usize), c_int> {
    let head = call(request, &Out::bytes(body), &mut In::bytes(reply))?;
    Ok((head, head.body as usize))
}
