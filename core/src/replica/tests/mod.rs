//! Tests of the whole replica, in a world of their own.

mod calls;
mod flow;
mod formation;
mod fuzz;
mod members;
mod messages;
mod random;
mod removal;
mod snapshots;
mod transcript;
mod world;
