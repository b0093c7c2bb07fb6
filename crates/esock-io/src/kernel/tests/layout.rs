//! The layout test: what a C compiler makes of `<linux/sctp.h>` is what `abi.rs` and `constants.rs` say.

use crate::kernel::abi::layouts;
use crate::kernel::constants::CONSTANTS;
use crate::tests::layout::compare;

#[test]
fn every_structure_and_constant_is_what_the_kernels_header_says() {
    let compared = compare(&["sys/socket.h", "linux/sctp.h"], &layouts(), CONSTANTS);
    assert!(compared > 300, "only {compared} lines were compared");
}
