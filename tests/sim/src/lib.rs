//! Clusters of production nodes in worlds made from seeds: see `docs/simulator.md`.

mod behaviour;
pub mod check;
mod client;
mod cluster;
pub mod command_line;
mod counters;
mod disk;
mod event;
mod faults;
mod heal;
mod hub;
mod machine;
mod network;
mod node;
pub mod observation;
mod operator;
mod random;
pub mod registers;
mod report;
pub mod runner;
mod settings;
mod system;
mod tasks;
mod trace;
mod transcript;
mod world;

pub use counters::Counters;
pub use report::Report;
pub use settings::{Fault, Settings};
pub use world::run;
