//! Clusters of production nodes in worlds made from seeds: see `docs/simulator.md`.

pub mod check;
pub mod observation;
pub mod registers;
