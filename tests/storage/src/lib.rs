//! The log under power cuts, damage and full disks.
//!
//! - *Power cuts*: a [`load`] works on a real [`node`] directory under the [`recorder`]; its
//!   [`recording`] is played back into an [`image`] of the disk, which makes the states that a cut
//!   at any moment could leave. The [`checker`] opens each and holds it against the [`history`]
//!   that the load noted.
//! - *Damage*: one file of a good directory is spoiled, and the same check follows.
//! - *Endurance*: [`endurance`] writes many times what a log holds, and a [`plot`] shows what it
//!   took.

pub mod checker;
pub mod crew;
pub mod endurance;
pub mod history;
pub mod image;
pub mod keeper;
pub mod load;
pub mod model;
pub mod node;
pub mod peer;
pub mod plot;
pub mod recorder;
pub mod recording;
pub mod scratch;
