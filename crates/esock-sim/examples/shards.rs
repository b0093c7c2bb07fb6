//! The table of the performance page: what 1 to 64 shards carry, in the cost model of `esock_sim::shards`.
//!
//! `cargo run --release -p esock-sim --example shards`

use esock_sim::shards::{Costs, Run};
use std::time::Duration;

fn main() {
    println!("| shards | 1 association | 64 associations | 10,000 associations | INITs forwarded |");
    println!("|---|---|---|---|---|");
    for shards in [1, 2, 4, 8, 16, 32, 64] {
        let outcomes = [1, 64, 10_000].map(|associations| {
            // The more shards, the shorter the queues, and with them a round trip.
            let length = Duration::from_millis(2 + 64 / u64::from(shards));
            // Few associations need windows that open slowly; many send a little each.
            let warm_up = match associations {
                ..=64 => Duration::from_millis(100),
                _ => length * 2,
            };
            Run { shards, associations, costs: Costs::MEASURED, warm_up, length, joined: false, seed: 1 }.play()
        });
        let [one, some, many] = outcomes.each_ref().map(|outcome| outcome.bits_per_second / 1e9);
        assert!(outcomes.iter().all(|outcome| outcome.forwarded == 0), "packets went to the wrong shard");
        let forwarded = outcomes[2].forwarded_at_setup as f64 / 100.0;
        println!("| {shards} | {one:.1} | {some:.1} | {many:.1} | {forwarded:.0} % |");
    }
}
