//! Sequence numbers per stream, stored only for streams in use.

use crate::serial::Ssn;
use crate::types::StreamId;

const PAGE: usize = 64;

/// The next stream sequence number of each stream, 0 at first; pages of 64 streams appear when used.
#[derive(Debug, Default)]
pub struct StreamTable {
    pages: Vec<Option<Box<[Ssn; PAGE]>>>,
}

impl StreamTable {
    /// The next number of `stream`.
    pub fn next(&self, stream: StreamId) -> Ssn {
        let at = usize::from(stream.0);
        self.pages.get(at / PAGE).and_then(Option::as_ref).map_or(Ssn(0), |page| page[at % PAGE])
    }

    /// Takes the next number of `stream`.
    pub fn take(&mut self, stream: StreamId) -> Ssn {
        let at = usize::from(stream.0);
        if at / PAGE >= self.pages.len() {
            self.pages.resize_with(at / PAGE + 1, || None);
        }
        let page = self.pages[at / PAGE].get_or_insert_with(|| Box::new([Ssn(0); PAGE]));
        let ssn = page[at % PAGE];
        page[at % PAGE] = ssn.next();
        ssn
    }
}
