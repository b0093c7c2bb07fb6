//! What the benchmarks share: the candidates, what is sent and how it is checked, and what becomes of the figures.

pub mod case;
pub mod chart;
pub mod figures;
pub mod lab;
pub mod pattern;
pub mod peers;
pub mod plan;
pub mod results;
pub mod tables;

pub use figures::{Bulk, Rate, RoundTrips, median};
pub use plan::{Cores, End, PACKET_BYTES, Plan};

/// Runs every candidate once per round, so that what disturbs the machine disturbs all alike.
/// The results are in the order of the candidates, one vector each.
pub fn alternate<T>(rounds: usize, candidates: &mut [&mut dyn FnMut() -> T]) -> Vec<Vec<T>> {
    let mut results: Vec<Vec<T>> = candidates.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (candidate, results) in candidates.iter_mut().zip(&mut results) {
            results.push(candidate());
        }
    }
    results
}
