//! The ledger: the state of every driver's machine, as PROTOCOL.md describes it.

use std::collections::BTreeMap;

const MAGIC: &[u8; 8] = b"LEDGER01";
const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    pub items: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Entries applied so far.
    pub count: u64,
    /// The index of the last of them.
    pub applied: u64,
    /// FNV-1a over the index and the payload of each.
    pub hash: u64,
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger { items: BTreeMap::new(), count: 0, applied: 0, hash: OFFSET_BASIS }
    }
}

impl Ledger {
    /// Applies an entry and returns the count after it, or the message of a payload that asks for a failure.
    pub fn apply(&mut self, index: u64, payload: &[u8]) -> Result<u64, String> {
        match payload.split_first() {
            Some((b's', rest)) => {
                if let Some((key, value)) = split_key(rest) {
                    self.items.insert(key.to_vec(), value.to_vec());
                }
            }
            Some((b'd', rest)) => {
                if let Some((key, _)) = split_key(rest) {
                    self.items.remove(key);
                }
            }
            Some((b'x', rest)) => return Err(String::from_utf8_lossy(rest).into_owned()),
            _ => {}
        }
        for byte in index.to_le_bytes().iter().chain(payload) {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
        self.count += 1;
        self.applied = index;
        Ok(self.count)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for number in [self.applied, self.count, self.hash] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend((self.items.len() as u32).to_le_bytes());
        for (key, value) in &self.items {
            for part in [key, value] {
                bytes.extend((part.len() as u32).to_le_bytes());
                bytes.extend(part);
            }
        }
        bytes
    }

    /// The ledger that `to_bytes` wrote; `None` for anything else.
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Ledger> {
        if take(&mut bytes, 8)? != MAGIC {
            return None;
        }
        let mut ledger = Ledger::default();
        for number in [&mut ledger.applied, &mut ledger.count, &mut ledger.hash] {
            *number = u64::from_le_bytes(take(&mut bytes, 8)?.try_into().ok()?);
        }
        for _ in 0..take_length(&mut bytes)? {
            let key_length = take_length(&mut bytes)?;
            let key = take(&mut bytes, key_length)?;
            let value_length = take_length(&mut bytes)?;
            let value = take(&mut bytes, value_length)?;
            ledger.items.insert(key.to_vec(), value.to_vec());
        }
        bytes.is_empty().then_some(ledger)
    }
}

/// A key behind its length, and what follows; `None` if the key is cut short.
fn split_key(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    let length = take(bytes, 4)?;
    Some(u32::from_le_bytes(length.try_into().ok()?) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_ledger_is_restored_as_it_was_and_nothing_else_is_taken_for_one() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.apply(2, b"s\x01kvalue"), Ok(1));
        assert_eq!(ledger.apply(3, b"s\x02kk"), Ok(2));
        assert_eq!(ledger.apply(5, b"d\x01k"), Ok(3));
        assert_eq!(ledger.apply(6, b"xno"), Err("no".to_string()));
        let bytes = ledger.to_bytes();
        assert_eq!(Ledger::from_bytes(&bytes).as_ref(), Some(&ledger));
        assert_eq!(ledger.items.len(), 1);
        for length in 0..bytes.len() {
            assert_eq!(Ledger::from_bytes(&bytes[..length]), None, "{length} bytes of it");
        }
    }

    #[test]
    fn the_hash_is_that_of_the_protocol() {
        let mut ledger = Ledger::default();
        ledger.apply(1, b"a").expect("it is only counted");
        let mut expected = OFFSET_BASIS;
        for byte in [1u8, 0, 0, 0, 0, 0, 0, 0, b'a'] {
            expected = (expected ^ u64::from(byte)).wrapping_mul(PRIME);
        }
        assert_eq!(ledger.hash, expected);
    }
}
