//! A seeded, simulated network for the tests and benchmarks of esock.
