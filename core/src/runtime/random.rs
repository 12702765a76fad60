//! Random numbers for jitter: a seed from the system, then SplitMix64.

use crate::deliberate::{is_on, Bug};
use crate::error::{Code, Error, Result};
use crate::ids::Uuid;

/// The first number of a boot has at most 40 bits: few bytes, and two boots of a million calls share one once in a million.
const FIRST_SEQUENCE_SHIFT: u32 = 24;

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

    /// Where a boot begins to count its proposals, reads and snapshots. An old copy of a data directory, put back, gives
    /// its boot counter out again: a proposal of the later boot must not get the name of one of the earlier, which is
    /// still on its way back.
    pub(crate) fn first_sequence(&self) -> u64 {
        if is_on(Bug::ReuseProposalIds) {
            return 1;
        }
        1 + (Random(!self.0).next() >> FIRST_SEQUENCE_SHIFT)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boots_begin_to_count_at_numbers_of_their_own() {
        let mut firsts: Vec<u64> =
            (0..1_000).map(|seed| Random::from_seed(seed).first_sequence()).collect();
        assert!(firsts.iter().all(|first| (1..=1 << 40).contains(first)));
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), 1_000);
    }
}
