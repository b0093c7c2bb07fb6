//! Descriptors that come in control messages: any of them may be a socket of ours.

use crate::table;
use libc::c_int;

/// Has descriptors that a message has brought looked at.
///
/// # Safety
///
/// The message was received.
pub unsafe fn look_at_descriptors(message: *const libc::msghdr) {
    // SAFETY: the kernel has filled the message, so that its lengths hold.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(header);
                let length =
                    ((*header).cmsg_len as usize).saturating_sub(data.offset_from(header.cast::<u8>()) as usize);
                for place in 0..length / size_of::<c_int>() {
                    table::look_again(data.cast::<c_int>().add(place).read_unaligned());
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
}
