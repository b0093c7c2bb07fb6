//! What shards are worth, in the cost model.

use esock_sim::shards::{Costs, Run};
use std::time::Duration;

fn run(shards: u16, associations: usize) -> Run {
    let [warm_up, length] = [6, 2].map(Duration::from_millis);
    Run { shards, associations, costs: Costs::MEASURED, warm_up, length, joined: false, seed: 5 }
}

#[test]
fn throughput_grows_with_shards_as_long_as_there_are_associations_to_spread() {
    let one = run(1, 64).play();
    assert!(one.busy > 0.95, "its core is what limits it: {one:?}");
    for shards in [2, 8] {
        let more = run(shards, 64).play();
        assert_eq!(more.forwarded, 0, "no packet goes to the wrong shard");
        assert_eq!(more.spread.iter().sum::<usize>(), 64);
        let growth = more.bits_per_second / one.bits_per_second;
        assert!(growth > 0.9 * f64::from(shards), "{growth} times with {shards} shards: {more:?}");
    }
    // One association is in one shard.
    let (one, more) = (run(1, 1).play(), run(8, 1).play());
    let growth = more.bits_per_second / one.bits_per_second;
    assert!((0.95..1.05).contains(&growth), "{growth}");
}

#[test]
fn buffers_that_a_network_card_has_joined_are_taken_apart_and_nothing_is_lost() {
    let joined = Run { joined: true, ..run(2, 16) }.play();
    assert!(joined.forwarded > 0 && joined.forwarded < joined.packets, "{joined:?}");
    let apart = run(2, 16).play();
    assert!(joined.bits_per_second > 0.5 * apart.bits_per_second, "{joined:?}\n{apart:?}");
    assert_eq!(apart.forwarded, 0);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_eq!(run(4, 16).play(), run(4, 16).play());
}
