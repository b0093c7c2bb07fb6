//! Perl's own `IO::Socket` and `Socket`.

use crate::source;
use esock_interop::programs::Stage;

pub fn perl_has_streams_of_lines_children_and_one_to_many_sockets(stage: Stage) {
    let said = stage.run(&["perl", &source("streams.pl")]);
    assert!(said.contains("done"), "{said}");
    stage.was_ours(6, 4, 6);
}
