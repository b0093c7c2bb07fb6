//! Memory that the kernel copies to fast.

use std::ops::{Deref, DerefMut};

/// Bytes of a page.
const PAGE: usize = 4096;

/// Bytes, all zero at first, that begin with a page.
///
/// Processors of the Zen family copy with `rep movsb`, as Linux does, at a tenth of the speed where the destination's
/// place in its page is 1 to 31 bytes behind the source's. What the kernel has received often begins with a page, and a
/// large piece of the allocator's memory 16 bytes behind one, so that it is met by default.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    bytes: Vec<u8>,
    begin: usize,
    length: usize,
}

impl Pages {
    pub(crate) fn new(length: usize) -> Self {
        let bytes = vec![0; length + PAGE];
        // Where it cannot be told, it is slow at worst.
        let begin = bytes.as_ptr().align_offset(PAGE).min(PAGE);
        Self { bytes, begin, length }
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.begin..][..self.length]
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.begin..][..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_copies_to_begins_with_a_page() {
        for length in [0, 1, PAGE, 1 << 19] {
            let mut pages = Pages::new(length);
            assert_eq!((pages.as_ptr() as usize % PAGE, pages.len()), (0, length));
            pages.fill(7);
        }
    }
}
