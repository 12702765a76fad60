//! The hash of all that happened in a world: every byte of every message and disk write, and every observation.

use std::fmt::{self, Write};

/// Two lanes of multiplications and rotations: quick, and the same in every process. It need not resist anybody.
#[derive(Clone, Debug)]
pub struct Trace {
    lanes: [u64; 2],
}

const FACTORS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f];

impl Trace {
    pub fn new() -> Trace {
        Trace { lanes: [1, 2] }
    }

    pub fn number(&mut self, number: u64) {
        let [a, b] = &mut self.lanes;
        *a = (*a ^ number).wrapping_mul(FACTORS[0]).rotate_left(29) ^ *b;
        *b =
            (*b ^ number.rotate_left(32)).wrapping_mul(FACTORS[1]).rotate_left(31).wrapping_add(*a);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let mut number = [0; 8];
            number.copy_from_slice(word);
            self.number(u64::from_le_bytes(number));
        }
        let mut number = [0; 8];
        number[..words.remainder().len()].copy_from_slice(words.remainder());
        self.number(u64::from_le_bytes(number));
    }

    /// What `Debug` says of something.
    pub fn debug(&mut self, what: &dyn fmt::Debug) {
        // Writing into a hash cannot fail.
        let _ = write!(self, "{what:?}");
    }

    pub fn hash(&self) -> String {
        format!("{:016x}{:016x}", self.lanes[0], self.lanes[1])
    }
}

impl Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_or_one_byte_more_changes_both_halves() {
        let hash = |bytes: &[u8]| {
            let mut trace = Trace::new();
            trace.bytes(bytes);
            trace.lanes
        };
        let plain = hash(&[0; 20]);
        for at in 0..20 {
            let mut other = [0; 20];
            other[at] = 1;
            assert!(hash(&other)[0] != plain[0] && hash(&other)[1] != plain[1], "byte {at}");
        }
        assert!(hash(&[0; 21])[0] != plain[0] && hash(&[0; 21])[1] != plain[1]);
        assert_eq!(hash(&[0; 20]), plain);
    }
}
