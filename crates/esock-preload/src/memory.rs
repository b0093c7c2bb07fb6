//! Memory of the program's, whose addresses may be wrong: it is touched through the kernel only, so that a bad address
//! is an `EFAULT`, as of a system call.

use crate::errno::check;
use crate::life;
use libc::{c_int, c_long, c_void, iovec};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

/// Linux's limit of parts in one call.
pub const MOST_PARTS: usize = 1024;
/// The most bytes that Linux moves in one call; what is above is cut off.
const MOST_BYTES: usize = 0x7fff_f000;
/// Parts that are copied at once.
const AT_ONCE: usize = 8;

/// The kernel does not let us read our own memory: pipes are used.
static BY_PIPE: AtomicBool = AtomicBool::new(false);

/// Plain integers and pointers, any bytes of which are valid.
///
/// # Safety
///
/// Every pattern of bits is a value of the type.
pub unsafe trait Plain: Copy {}
// SAFETY: integers, and structures of integers and pointers.
unsafe impl Plain for c_int {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for iovec {}
// SAFETY: as above.
unsafe impl Plain for libc::msghdr {}
// SAFETY: as above.
unsafe impl Plain for libc::timespec {}
// SAFETY: as above.
unsafe impl Plain for libc::timeval {}
// SAFETY: as above.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

fn part(at: *const c_void, length: usize) -> iovec {
    iovec { iov_base: at.cast_mut(), iov_len: length }
}

/// Copies bytes out of the program's memory, as many as there are; says how many.
pub fn read(from: *const c_void, into: &mut [u8]) -> usize {
    // SAFETY: `into` is ours.
    unsafe { copy_in(from, into.as_mut_ptr().cast(), into.len()) }
}

/// A value of the program's.
pub fn take<T: Plain>(from: *const T) -> Result<T, c_int> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: there is room for so many bytes.
    let got = unsafe { copy_in(from.cast(), value.as_mut_ptr().cast(), size_of::<T>()) };
    // SAFETY: all bytes were written, and any are valid.
    if got == size_of::<T>() { Ok(unsafe { value.assume_init() }) } else { Err(libc::EFAULT) }
}

/// # Safety
///
/// There is room for `length` bytes at `into`.
unsafe fn copy_in(from: *const c_void, into: *mut c_void, length: usize) -> usize {
    if length == 0 || from.is_null() {
        return 0;
    }
    if !BY_PIPE.load(Ordering::Relaxed) {
        // SAFETY: the caller vouches for `into`; `from` is the kernel's matter.
        match unsafe { copy_by_kernel(libc::SYS_process_vm_readv, &[part(into, length)], &[part(from, length)]) } {
            Ok(copied) => return copied,
            Err(libc::EPERM | libc::ENOSYS | libc::EACCES) => BY_PIPE.store(true, Ordering::Relaxed),
            Err(_) => return 0,
        }
    }
    // SAFETY: as above.
    unsafe { copy_by_pipe(from, into, length) }
}

/// Copies between our parts and the program's.
///
/// # Safety
///
/// Ours are ours.
unsafe fn copy_by_kernel(call: c_long, ours: &[iovec], theirs: &[iovec]) -> Result<usize, c_int> {
    // SAFETY: the caller vouches for `ours`; `theirs` are the kernel's matter.
    let copied = check(unsafe {
        libc::syscall(call, life::process(), ours.as_ptr(), ours.len(), theirs.as_ptr(), theirs.len(), 0_usize)
    });
    copied.map(|copied| copied as usize)
}

/// Through a pipe: the kernel reads one side and writes the other, of which one is the program's.
///
/// # Safety
///
/// The one that is not the program's is ours.
unsafe fn copy_by_pipe(from: *const c_void, into: *mut c_void, length: usize) -> usize {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for both.
    if unsafe { libc::syscall(libc::SYS_pipe2, ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return 0;
    }
    let mut done = 0;
    while done < length {
        let piece = (length - done).min(4096);
        let (from, into) = (from.wrapping_byte_add(done), into.wrapping_byte_add(done));
        // SAFETY: bad addresses are the kernel's matter; an empty pipe takes a page.
        let moved = unsafe { libc::syscall(libc::SYS_write, ends[1], from, piece) };
        if moved <= 0 {
            break;
        }
        // SAFETY: as above.
        let moved = unsafe { libc::syscall(libc::SYS_read, ends[0], into, moved) };
        if moved <= 0 {
            break;
        }
        done += moved as usize;
    }
    for end in ends {
        // SAFETY: it is ours, and closed once.
        unsafe { libc::syscall(libc::SYS_close, end) };
    }
    done
}

/// Copies between bytes of ours and parts of the program's, in the direction of `call`; says how many.
///
/// # Safety
///
/// Ours are ours, `count` of them, as many as the parts have.
unsafe fn copy_parts(call: c_long, ours: *mut c_void, count: usize, theirs: &[iovec]) -> usize {
    if !BY_PIPE.load(Ordering::Relaxed) {
        // SAFETY: the caller's matter.
        match unsafe { copy_by_kernel(call, &[part(ours, count)], theirs) } {
            Ok(copied) => return copied,
            Err(libc::EPERM | libc::ENOSYS | libc::EACCES) => BY_PIPE.store(true, Ordering::Relaxed),
            Err(_) => return 0,
        }
    }
    let mut done = 0;
    for part in theirs {
        let ours = ours.wrapping_byte_add(done);
        let (from, into) =
            if call == libc::SYS_process_vm_readv { (part.iov_base, ours) } else { (ours, part.iov_base) };
        // SAFETY: one is ours and has so many bytes, the other the kernel's matter.
        let copied = unsafe { copy_by_pipe(from, into, part.iov_len) };
        done += copied;
        if copied != part.iov_len {
            break;
        }
    }
    done
}

/// Writes bytes into the program's memory, at up to eight places.
pub fn give(places: &[(*mut c_void, &[u8])]) -> Result<(), c_int> {
    let empty = part(std::ptr::null(), 0);
    let (mut ours, mut theirs) = ([empty; 8], [empty; 8]);
    let wanted: usize = places.iter().map(|(_, bytes)| bytes.len()).sum();
    if wanted == 0 {
        return Ok(());
    }
    for (place, (at, bytes)) in places.iter().enumerate().take(8) {
        ours[place] = part(bytes.as_ptr().cast(), bytes.len());
        theirs[place] = part(*at, bytes.len());
    }
    let count = places.len().min(8);
    if !BY_PIPE.load(Ordering::Relaxed) {
        // SAFETY: our bytes are only read.
        match unsafe { copy_by_kernel(libc::SYS_process_vm_writev, &ours[..count], &theirs[..count]) } {
            Ok(copied) if copied == wanted => return Ok(()),
            Err(libc::EPERM | libc::ENOSYS | libc::EACCES) => BY_PIPE.store(true, Ordering::Relaxed),
            _ => return Err(libc::EFAULT),
        }
    }
    for (at, bytes) in places {
        // SAFETY: our bytes are only read.
        let copied = unsafe { copy_by_pipe(bytes.as_ptr().cast(), *at, bytes.len()) };
        if copied != bytes.len() {
            return Err(libc::EFAULT);
        }
    }
    Ok(())
}

/// Writes a value into the program's memory.
pub fn put<T: Plain>(at: *mut T, value: T) -> Result<(), c_int> {
    // SAFETY: a plain value is bytes, and these live through the call.
    let bytes = unsafe { std::slice::from_raw_parts((&raw const value).cast::<u8>(), size_of::<T>()) };
    give(&[(at.cast(), bytes)])
}

/// The parts that a program gives for its data: a few are copied, more are looked at where they are.
#[derive(Clone, Copy)]
pub struct Parts {
    few: [iovec; AT_ONCE],
    array: *const iovec,
    count: usize,
    /// Bytes in all.
    pub length: usize,
}

impl Parts {
    /// No data.
    pub const NONE: Self = Self {
        few: [iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; AT_ONCE],
        array: std::ptr::null(),
        count: 0,
        length: 0,
    };

    /// A single part.
    pub fn one(at: *const c_void, length: usize) -> Self {
        let mut few = [part(std::ptr::null(), 0); AT_ONCE];
        let length = length.min(MOST_BYTES);
        few[0] = part(at, length);
        Self { few, array: std::ptr::null(), count: 1, length }
    }

    /// An array of them; `too_many` is what more of them than Linux takes come to.
    pub fn many(array: *const iovec, count: usize, too_many: c_int) -> Result<Self, c_int> {
        if count > MOST_PARTS {
            return Err(too_many);
        }
        let mut parts = Self { few: [part(std::ptr::null(), 0); AT_ONCE], array, count, length: 0 };
        let mut at = 0;
        while at < count {
            let piece = parts.load(at)?;
            let taken = (count - at).min(AT_ONCE);
            for part in &piece[..taken] {
                if part.iov_len > isize::MAX as usize {
                    return Err(libc::EINVAL);
                }
                parts.length = parts.length.saturating_add(part.iov_len).min(MOST_BYTES);
            }
            if count <= AT_ONCE {
                parts.few = piece;
            }
            at += taken;
        }
        Ok(parts)
    }

    /// Some of the array, from a place on.
    fn load(&self, at: usize) -> Result<[iovec; AT_ONCE], c_int> {
        let taken = (self.count - at).min(AT_ONCE);
        let mut piece = [part(std::ptr::null(), 0); AT_ONCE];
        let length = taken * size_of::<iovec>();
        // SAFETY: `piece` has room for so many.
        let got = unsafe { copy_in(self.array.wrapping_add(at).cast(), piece.as_mut_ptr().cast(), length) };
        if got == length { Ok(piece) } else { Err(libc::EFAULT) }
    }

    /// Copies all of the program's bytes to memory of ours; `EFAULT` if they are not all there.
    ///
    /// # Safety
    ///
    /// There is room for [`Parts::length`] bytes.
    pub unsafe fn copy_out(&self, into: *mut u8) -> Result<(), c_int> {
        // SAFETY: the caller's matter.
        unsafe { self.copy(libc::SYS_process_vm_readv, into, self.length) }
    }

    /// Copies `count` bytes of ours to the program's memory; `EFAULT` if there is no room for them.
    ///
    /// # Safety
    ///
    /// There are so many bytes.
    pub unsafe fn copy_in(&self, from: *mut u8, count: usize) -> Result<(), c_int> {
        // SAFETY: the caller's matter.
        unsafe { self.copy(libc::SYS_process_vm_writev, from, count) }
    }

    /// # Safety
    ///
    /// `ours` has `count` bytes.
    unsafe fn copy(&self, call: c_long, ours: *mut u8, count: usize) -> Result<(), c_int> {
        let mut done = 0;
        while done < count {
            let mut theirs = [part(std::ptr::null(), 0); 2 * AT_ONCE];
            let parts = self.after(done, count - done, &mut theirs)?;
            let wanted: usize = theirs[..parts].iter().map(|part| part.iov_len).sum();
            let ours = ours.wrapping_add(done).cast::<c_void>();
            // SAFETY: the caller vouches for our bytes.
            let copied = unsafe { copy_parts(call, ours, wanted, &theirs[..parts]) };
            if copied != wanted || wanted == 0 {
                return Err(libc::EFAULT);
            }
            done += wanted;
        }
        Ok(())
    }

    /// Fills `into` with the parts that come after the first `skip` bytes, `limit` bytes at most; says how many parts.
    pub fn after(&self, mut skip: usize, mut limit: usize, into: &mut [iovec]) -> Result<usize, c_int> {
        let (mut at, mut made) = (0, 0);
        while at < self.count && made < into.len() && limit > 0 {
            let piece = if self.count <= AT_ONCE { self.few } else { self.load(at)? };
            for part in &piece[..(self.count - at).min(AT_ONCE)] {
                at += 1;
                if skip >= part.iov_len {
                    skip -= part.iov_len;
                    continue;
                }
                if made == into.len() || limit == 0 {
                    break;
                }
                let length = (part.iov_len - skip).min(limit);
                into[made] = iovec { iov_base: part.iov_base.wrapping_byte_add(skip), iov_len: length };
                (skip, made, limit) = (0, made + 1, limit - length);
            }
        }
        Ok(made)
    }
}
