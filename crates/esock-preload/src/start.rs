//! Starts a broker where the library was preloaded without `esock run`.
//!
//! The program has children of its own, and knows nothing of this one: it is not told of its end, and has nobody to
//! wait for. So the broker is a child of a child, and neither sends a signal.

use crate::broker::close;
use crate::errno::check;
use crate::signals::{self, Held};
use libc::{c_char, c_int, c_void};
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the broker says when it listens.
const READY: &str = "ready";
/// How long it may take to say so.
const PATIENCE_MS: c_int = 10_000;
/// Bytes of the stack of a child: it makes a few system calls.
const STACK: usize = 64 << 10;

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// What a broker is to know of the environment.
pub fn environment() -> Vec<CString> {
    let mut kept = Vec::new();
    // SAFETY: the program has just begun, so nobody changes it.
    let mut at = unsafe { environ };
    // SAFETY: it ends with a null.
    while !at.is_null() && !unsafe { *at }.is_null() {
        // SAFETY: it is a string.
        let variable = unsafe { CStr::from_ptr(*at) };
        if [b"ESOCK_".as_slice(), b"PATH=", b"HOME=", b"LANG="].iter().any(|of| variable.to_bytes().starts_with(of)) {
            kept.push(variable.to_owned());
        }
        // SAFETY: it was not the null at the end.
        at = unsafe { at.add(1) };
    }
    kept
}

/// Where the command is: beside this library, where packages put it, or in PATH.
fn command() -> Option<CString> {
    // SAFETY: integers and pointers, for which zero is valid.
    let mut about: libc::Dl_info = unsafe { std::mem::zeroed() };
    let inside = environment as *const c_void;
    let mut places: Vec<PathBuf> = Vec::new();
    // SAFETY: `about` has room for what is asked.
    if unsafe { libc::dladdr(inside, &raw mut about) } != 0 && !about.dli_fname.is_null() {
        // SAFETY: it is a string.
        let name = unsafe { CStr::from_ptr(about.dli_fname) };
        let beside = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes())).parent()?.to_path_buf();
        places.extend([beside.clone(), beside.join("../bin"), beside.join("../../bin")]);
    }
    let path = crate::life::life().environment.iter().find_map(|variable| variable.to_bytes().strip_prefix(b"PATH="));
    let path = std::ffi::OsStr::from_bytes(path.unwrap_or(b"/usr/local/bin:/usr/bin:/bin"));
    places.extend(std::env::split_paths(path));
    let paths = places.into_iter().filter_map(|place| CString::new(place.join("esock").as_os_str().as_bytes()).ok());
    // SAFETY: the path is a string.
    paths.into_iter().find(|path| unsafe { libc::access(path.as_ptr(), libc::X_OK) } == 0)
}

/// What the children need; they share our memory until the broker runs.
struct Plan {
    command: *const c_char,
    arguments: [*const c_char; 3],
    environment: *const *const c_char,
    says: c_int,
    stack: *mut c_void,
}

/// Starts a broker with what the environment says, and waits until it listens. A problem in words.
pub fn broker() -> Result<(), String> {
    let _held = Held::new();
    let command = command().ok_or("the esock command is neither beside the library nor in PATH")?;
    let mut variables: Vec<*const c_char> =
        crate::life::life().environment.iter().map(|variable| variable.as_ptr()).collect();
    let name =
        CString::new(format!("ESOCK_BROKER={}", crate::life::life().broker)).map_err(|_| "a name with a zero")?;
    variables.retain(|variable| {
        // SAFETY: it is a string of ours.
        !unsafe { CStr::from_ptr(*variable) }.to_bytes().starts_with(b"ESOCK_BROKER=")
    });
    variables.extend([name.as_ptr(), std::ptr::null()]);
    let mut ends = [0; 2];
    let failed = |errno: c_int| std::io::Error::from_raw_os_error(errno).to_string();
    // SAFETY: `ends` has room for both.
    check(unsafe { libc::syscall(libc::SYS_pipe2, ends.as_mut_ptr(), libc::O_CLOEXEC) }).map_err(failed)?;
    // Not a standard stream, if the program has closed those.
    // SAFETY: no memory is involved.
    let says = unsafe { libc::syscall(libc::SYS_fcntl, ends[1], libc::F_DUPFD_CLOEXEC, 3) } as c_int;
    close(ends[1]);
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping.
    let stack = unsafe { libc::mmap(std::ptr::null_mut(), 2 * STACK, protection, flags, -1, 0) };
    let mut said = Err("no memory".to_owned());
    if stack != libc::MAP_FAILED {
        let plan = Plan {
            command: command.as_ptr(),
            arguments: [command.as_ptr(), c"broker".as_ptr(), std::ptr::null()],
            environment: variables.as_ptr(),
            says,
            stack,
        };
        let child = spawn(child, stack.wrapping_byte_add(2 * STACK), &plan);
        close(says);
        said = child.map_err(failed).and_then(|child| {
            // SAFETY: no memory is involved.
            unsafe { libc::syscall(libc::SYS_wait4, child, 0_usize, libc::__WCLONE, 0_usize) };
            listen(ends[0])
        });
        // SAFETY: the mapping is ours, and the children have left it.
        unsafe { libc::munmap(stack, 2 * STACK) };
    } else {
        close(says);
    }
    close(ends[0]);
    said
}

/// A child that shares our memory, while we wait until it ends or becomes another program. No signal tells of its end.
fn spawn(run: extern "C" fn(*mut c_void) -> c_int, stack: *mut c_void, plan: &Plan) -> Result<c_int, c_int> {
    let plan = (&raw const *plan).cast_mut().cast();
    // SAFETY: the stack is large enough for what runs there, and what it is given outlives it: we wait.
    let child = unsafe { libc::clone(run, stack, libc::CLONE_VM | libc::CLONE_VFORK, plan) };
    if child < 0 { Err(crate::errno::get()) } else { Ok(child) }
}

extern "C" fn child(plan: *mut c_void) -> c_int {
    // SAFETY: see `spawn`.
    let plan = unsafe { &*plan.cast::<Plan>() };
    c_int::from(spawn(grandchild, plan.stack.wrapping_byte_add(STACK), plan).is_err())
}

extern "C" fn grandchild(plan: *mut c_void) -> c_int {
    // SAFETY: see `spawn`. All descriptors are copies; the memory is left as it is.
    unsafe {
        let plan = &*plan.cast::<Plan>();
        let null = libc::syscall(libc::SYS_openat, libc::AT_FDCWD, c"/dev/null".as_ptr(), libc::O_RDWR);
        for (from, to) in [(null, 0), (null, 2), (plan.says.into(), 1)] {
            if from != to {
                libc::syscall(libc::SYS_dup3, from, to, 0);
            }
        }
        libc::syscall(libc::SYS_chdir, c"/".as_ptr());
        signals::mask(0);
        libc::syscall(libc::SYS_execve, plan.command, plan.arguments.as_ptr(), plan.environment);
    }
    127
}

/// What the broker says first.
fn listen(fd: c_int) -> Result<(), String> {
    let mut said = Vec::new();
    while !said.contains(&b'\n') {
        let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: the entry lives through the call.
        let ready = unsafe { crate::real::poll(&raw mut entry, 1, PATIENCE_MS) };
        let mut piece = [0_u8; 256];
        // SAFETY: `piece` lives through the call and has so much room.
        let got = unsafe { libc::syscall(libc::SYS_read, fd, piece.as_mut_ptr(), piece.len()) };
        if ready <= 0 || got <= 0 {
            break;
        }
        said.extend_from_slice(&piece[..got as usize]);
    }
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    match said.as_str() {
        READY => Ok(()),
        "" => Err("the broker that was started has ended without a word".into()),
        // Somebody else was faster.
        problem if problem.contains("already") => Ok(()),
        problem => Err(problem.to_owned()),
    }
}
