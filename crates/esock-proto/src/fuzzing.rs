//! For the fuzz targets of this repository alone: what they cannot reach from outside.

pub use crate::stack::cookie::round_trip as cookie_round_trip;
pub use crate::wire::round_trip as packet_round_trip;
