//! The state that a world replicates: a map of registers. And what its proposals look like in bytes.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use libraft::ids::{Index, Term};

use crate::observation::CallId;

/// A swap as it is proposed. What follows its fields is padding, which makes payloads larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    pub call: CallId,
    pub key: u8,
    pub value: u64,
}

impl Payload {
    pub const BYTES: usize = 17;

    pub fn encode(&self, padding: usize) -> Bytes {
        let mut bytes = BytesMut::with_capacity(Payload::BYTES + padding);
        bytes.put_u64_le(self.call);
        bytes.put_u8(self.key);
        bytes.put_u64_le(self.value);
        bytes.put_bytes(self.key, padding);
        bytes.freeze()
    }

    /// `None` for what no client of a world proposes.
    pub fn decode(mut bytes: &[u8]) -> Option<Payload> {
        if bytes.len() < Payload::BYTES {
            return None;
        }
        let payload =
            Payload { call: bytes.get_u64_le(), key: bytes.get_u8(), value: bytes.get_u64_le() };
        bytes.iter().all(|byte| *byte == payload.key).then_some(payload)
    }
}

/// What a state machine holds. Registers that nobody wrote are 0, and not in the map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    pub values: BTreeMap<u8, u64>,
    /// Covers every entry that was applied since the beginning of time, in order.
    pub hash: u64,
    /// The last entry that was applied.
    pub applied: Index,
}

impl Registers {
    /// Applies an entry and returns what was in its register before.
    pub fn apply(&mut self, index: Index, term: Term, payload: &[u8]) -> u64 {
        self.applied = index;
        self.hash = [index, term].into_iter().fold(self.hash, mixed);
        for word in payload.chunks(8) {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            self.hash = mixed(self.hash, u64::from_le_bytes(bytes));
        }
        self.hash = mixed(self.hash, payload.len() as u64);
        let replaced = Payload::decode(payload)
            .and_then(|Payload { key, value, .. }| self.values.insert(key, value));
        replaced.unwrap_or(0)
    }

    pub fn read(&self, key: u8) -> u64 {
        self.values.get(&key).copied().unwrap_or(0)
    }

    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(16 + self.values.len() * 9);
        bytes.put_u64_le(self.hash);
        bytes.put_u64_le(self.applied);
        for (key, value) in &self.values {
            bytes.put_u8(*key);
            bytes.put_u64_le(*value);
        }
        bytes.freeze()
    }

    /// `None` for what `encode` does not make.
    pub fn decode(mut bytes: &[u8]) -> Option<Registers> {
        if bytes.len() < 16 || bytes.len() % 9 != 16 % 9 {
            return None;
        }
        let mut registers = Registers {
            hash: bytes.get_u64_le(),
            applied: bytes.get_u64_le(),
            ..Registers::default()
        };
        while bytes.has_remaining() {
            registers.values.insert(bytes.get_u8(), bytes.get_u64_le());
        }
        Some(registers)
    }
}

/// The hash that continues `hash` by a word: the finalizer of SplitMix64, which tells all inputs apart.
fn mixed(hash: u64, word: u64) -> u64 {
    let mut mixed = (hash.rotate_left(5) ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_read_back_whatever_its_padding() {
        let payload = Payload { call: 7, key: 3, value: u64::MAX };
        for padding in [0, 1, 1000] {
            let bytes = payload.encode(padding);
            assert_eq!(bytes.len(), Payload::BYTES + padding);
            assert_eq!(Payload::decode(&bytes), Some(payload));
        }
    }

    #[test]
    fn a_payload_that_was_cut_or_changed_is_refused() {
        let bytes = Payload { call: 7, key: 3, value: 1 }.encode(4);
        assert_eq!(Payload::decode(&bytes[..Payload::BYTES - 1]), None);
        let mut changed = bytes.to_vec();
        changed[20] ^= 1;
        assert_eq!(Payload::decode(&changed), None);
    }

    #[test]
    fn a_swap_returns_what_it_replaced() {
        let mut registers = Registers::default();
        assert_eq!(registers.apply(2, 1, &Payload { call: 0, key: 1, value: 10 }.encode(0)), 0);
        assert_eq!(registers.apply(3, 1, &Payload { call: 1, key: 1, value: 20 }.encode(9)), 10);
        assert_eq!((registers.read(1), registers.read(2), registers.applied), (20, 0, 3));
    }

    #[test]
    fn the_hash_covers_index_term_padding_and_order() {
        let first = Payload { call: 0, key: 1, value: 10 };
        let second = Payload { call: 1, key: 2, value: 20 };
        let hash = |entries: &[(u64, u64, Bytes)]| {
            let mut registers = Registers::default();
            entries.iter().for_each(|(index, term, payload)| {
                registers.apply(*index, *term, payload);
            });
            registers.hash
        };
        let hashes = [
            hash(&[(2, 1, first.encode(0)), (3, 1, second.encode(0))]),
            hash(&[(2, 1, second.encode(0)), (3, 1, first.encode(0))]),
            hash(&[(2, 1, first.encode(0)), (3, 2, second.encode(0))]),
            hash(&[(2, 1, first.encode(0)), (4, 1, second.encode(0))]),
            hash(&[(2, 1, first.encode(1)), (3, 1, second.encode(0))]),
            hash(&[(2, 1, first.encode(0))]),
            0,
        ];
        let different: std::collections::BTreeSet<u64> = hashes.into_iter().collect();
        assert_eq!(different.len(), hashes.len());
    }

    #[test]
    fn a_state_is_read_back_as_it_was_written() {
        let mut registers = Registers::default();
        for call in 0..5 {
            registers.apply(
                call + 2,
                1,
                &Payload { call, key: call as u8 % 3, value: call + 100 }.encode(0),
            );
            assert_eq!(Registers::decode(&registers.encode()), Some(registers.clone()));
        }
        let bytes = registers.encode();
        assert_eq!(Registers::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Registers::decode(&[]), None);
    }
}
