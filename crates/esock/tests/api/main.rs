//! The API, over UDP on loopback.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand")]

mod cancel;
mod connecting;
mod crowd;
mod ending;
mod failing;
mod lookups;
mod messages;
mod net;
mod owners;
mod paths;
mod polls;
mod shards;
mod sharing;
mod supervising;
mod tcp;
mod unread;
