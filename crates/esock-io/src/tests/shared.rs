//! Memory that others share with us.

use crate::shared::{SharedMemory, receive_with_memory};
use crate::sys::Control;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;

fn memory(size: u64, seals: libc::c_int) -> File {
    // SAFETY: the name is a string.
    let fd = unsafe { libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    assert!(fd >= 0);
    // SAFETY: it was opened just now.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(size).unwrap();
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, seals) }, 0);
    file
}

fn shared(file: &File) -> Option<SharedMemory> {
    SharedMemory::new(OwnedFd::from(file.try_clone().unwrap()))
}

#[test]
fn bytes_go_both_ways_and_no_further_than_the_memory() {
    let file = memory(5000, SEALS);
    let mut memory = shared(&file).unwrap();
    assert_eq!(memory.length(), 5000);
    file.write_at(b"there", 0).unwrap();
    let mut bytes = b"here and ".to_vec();
    assert_eq!(memory.read(5, &mut bytes), Some(()));
    assert_eq!(bytes, b"here and there");
    assert_eq!(memory.read(5001, &mut bytes), None);
    assert_eq!(memory.write(&[7; 5001]), None);
    assert_eq!(memory.write(&[7; 5000]), Some(()));
    let mut last = [0; 2];
    assert_eq!(file.read_at(&mut last, 4999).unwrap(), 1);
    assert_eq!(last, [7, 0]);
}

#[test]
fn what_could_be_taken_away_is_not_used() {
    for seals in [0, libc::F_SEAL_SHRINK, libc::F_SEAL_GROW, SEALS | libc::F_SEAL_WRITE] {
        assert!(shared(&memory(5000, seals)).is_none(), "{seals}");
    }
    assert!(shared(&memory(0, SEALS)).is_none());
    assert!(shared(&memory(2 << 20, SEALS)).is_none());
    assert!(shared(&File::open("/proc/self/exe").unwrap()).is_none());
    assert!(shared(&File::open("/dev/zero").unwrap()).is_none());
    let (one, _) = UnixStream::pair().unwrap();
    assert!(SharedMemory::new(OwnedFd::from(one)).is_none());
}

#[test]
fn bytes_come_without_memory_too() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"alone").unwrap();
    let mut bytes = [0; 16];
    let (got, memory) = receive_with_memory(&ours, &mut bytes).unwrap();
    assert!(got == 5 && memory.is_none());
    drop(theirs);
    assert_eq!(receive_with_memory(&ours, &mut bytes).unwrap().0, 0);
}

#[test]
fn what_comes_with_memory_and_is_none_is_closed() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (mut watched, passed) = UnixStream::pair().unwrap();
    let file = memory(5000, SEALS);
    let mut control = Control::<64>::new();
    control.push(libc::SOL_SOCKET, libc::SCM_RIGHTS, [file.as_raw_fd(), passed.as_raw_fd()]);
    let mut part = libc::iovec { iov_base: b"x".as_ptr().cast_mut().cast(), iov_len: 1 };
    // SAFETY: integers and pointers, for which zero and null are valid.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    (header.msg_iov, header.msg_iovlen) = (&raw mut part, 1);
    let (at, length) = control.as_sent();
    (header.msg_control, header.msg_controllen) = (at, length as _);
    // SAFETY: all that `header` names lives through the call.
    assert_eq!(unsafe { libc::sendmsg(theirs.as_raw_fd(), &raw const header, 0) }, 1);
    drop(passed);
    let mut bytes = [0; 16];
    let (got, memory) = receive_with_memory(&ours, &mut bytes).unwrap();
    assert!(got == 1 && memory.is_some_and(|memory| memory.length() == 5000));
    // That end is closed everywhere.
    assert_eq!(watched.read(&mut bytes).unwrap(), 0);
}
