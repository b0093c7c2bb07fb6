//! Days of traffic in virtual time: paths come and go, hosts crash, associations end and come back, and
//! every number that can wrap wraps. Every message is accounted for, and memory must not grow.
//!
//! A soak goes in rounds. In each there is traffic and trouble for some hours; then the network calms down,
//! everything that was sent must have arrived or come back, all associations but the eternal ones end, and
//! what is left in memory is what was left after the round before.

mod book;
mod end;
mod run;
mod tally;
mod trouble;
mod weather;

pub use run::Soak;
pub use tally::Tally;
