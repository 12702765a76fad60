//! Random numbers for jitter: a seed from the system, then SplitMix64.

use crate::error::{Code, Error, Result};
use crate::ids::Uuid;

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn from_system() -> Result<Random> {
        let mut seed = [0; 8];
        fill(&mut seed)?;
        Ok(Random(u64::from_le_bytes(seed)))
    }

    pub(crate) fn from_seed(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A fresh random name (UUID version 4).
pub(crate) fn fresh_uuid() -> Result<Uuid> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    Ok(Uuid(uuid::Builder::from_random_bytes(bytes).into_uuid().into_bytes()))
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| {
        Error::rejected(Code::Io, format!("the system has no random numbers: {error}"))
    })
}
