//! A chain: bytes one behind the other, of which the long ones are shared instead of copied.
//!
//! What goes to a peer or into the journal is mostly the data of entries, which lies in memory already. To copy it each
//! time was a third of what a leader did with entries of 16 KiB.

use std::borrow::Cow;

use bytes::Bytes;

/// What is shorter is copied: that is quicker than to hand it to the system as a piece of its own.
pub const SHARED_BYTES_MIN: usize = 4096;

/// **Memory**: what is shared is kept alive, with all of the allocation that it is a part of.
#[derive(Debug, Default)]
pub struct Chain {
    /// All that was copied in, in order.
    copied: Vec<u8>,
    /// What is shared, in order, and how much was copied in before it.
    shared: Vec<(usize, Bytes)>,
    shared_bytes: usize,
}

/// A place in a chain, to come back to; by default its beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    copied: usize,
    shared: usize,
    shared_bytes: usize,
}

impl Chain {
    pub fn len(&self) -> usize {
        self.copied.len() + self.shared_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was copied in, for more to be appended. It may only grow.
    pub fn copied(&mut self) -> &mut Vec<u8> {
        &mut self.copied
    }

    /// Appends bytes that stay where they are if they are long.
    pub fn push(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            self.copied.extend_from_slice(bytes);
            return;
        }
        self.shared.push((self.copied.len(), bytes.clone()));
        self.shared_bytes += bytes.len();
    }

    /// Appends another chain, but for its first `skip` bytes, which were copied in.
    pub fn append(&mut self, other: &Chain, skip: usize) {
        let mut from = skip;
        for (to, bytes) in &other.shared {
            self.copied.extend_from_slice(&other.copied[std::mem::replace(&mut from, *to)..*to]);
            self.push(bytes);
        }
        self.copied.extend_from_slice(&other.copied[from..]);
    }

    pub fn end(&self) -> Place {
        Place {
            copied: self.copied.len(),
            shared: self.shared.len(),
            shared_bytes: self.shared_bytes,
        }
    }

    /// Overwrites what was copied in at this place.
    pub fn overwrite(&mut self, place: Place, bytes: &[u8]) {
        self.copied[place.copied..place.copied + bytes.len()].copy_from_slice(bytes);
    }

    /// Takes away what was appended since.
    pub fn truncate(&mut self, place: Place) {
        self.copied.truncate(place.copied);
        self.shared.truncate(place.shared);
        self.shared_bytes = place.shared_bytes;
    }

    pub fn clear(&mut self) {
        self.copied.clear();
        self.shared.clear();
        self.shared_bytes = 0;
    }

    /// Makes it empty, and gives away the memory for what is copied in, to be freed elsewhere.
    pub fn release(&mut self) -> Vec<u8> {
        self.clear();
        std::mem::take(&mut self.copied)
    }

    /// The memory for what is copied in, which `clear` keeps.
    pub fn capacity(&self) -> usize {
        self.copied.capacity()
    }

    pub fn slices(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.slices_from(Place::default(), 0)
    }

    /// What was appended since, but for its first `skip` bytes, which were copied in.
    pub fn slices_from(&self, place: Place, skip: usize) -> impl Iterator<Item = &[u8]> + Clone {
        let mut from = place.copied + skip;
        let shared = self.shared[place.shared..].iter();
        let pieces = shared.flat_map(move |(to, bytes)| {
            let before = &self.copied[std::mem::replace(&mut from, *to)..*to];
            [before, &bytes[..]]
        });
        let last = self.shared[place.shared..].last().map_or(place.copied + skip, |(to, _)| *to);
        let pieces = pieces.chain(std::iter::once(&self.copied[last..]));
        pieces.filter(|piece| !piece.is_empty())
    }

    /// All of it in one piece.
    pub fn flat(&self) -> Cow<'_, [u8]> {
        match self.shared[..] {
            [] => Cow::Borrowed(&self.copied),
            _ => {
                let mut flat = Vec::with_capacity(self.len());
                self.slices().for_each(|slice| flat.extend_from_slice(slice));
                Cow::Owned(flat)
            }
        }
    }
}

impl From<Vec<u8>> for Chain {
    fn from(copied: Vec<u8>) -> Chain {
        Chain { copied, ..Chain::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(byte: u8) -> Bytes {
        vec![byte; SHARED_BYTES_MIN].into()
    }

    fn is_shared(chain: &Chain, bytes: &Bytes) -> bool {
        chain.slices().any(|slice| slice.as_ptr() == bytes.as_ptr())
    }

    #[test]
    fn bytes_come_out_as_they_went_in_and_long_ones_are_not_copied() {
        let mut chain = Chain::default();
        let (one, two, short) = (long(1), long(2), Bytes::from(vec![3; SHARED_BYTES_MIN - 1]));
        chain.push(&one);
        chain.copied().extend_from_slice(b"between");
        chain.push(&short);
        chain.push(&two);
        chain.push(&two);
        chain.copied().push(9);
        let expected = [&one, &b"between"[..], &short, &two, &two, &[9]].concat();
        assert_eq!(chain.flat(), expected);
        assert_eq!(chain.len(), expected.len());
        assert_eq!(chain.slices().collect::<Vec<_>>().concat(), expected);
        assert!(is_shared(&chain, &one) && is_shared(&chain, &two) && !is_shared(&chain, &short));
    }

    #[test]
    fn what_was_appended_since_a_place_can_be_seen_and_taken_away() {
        let mut chain = Chain::from(b"head".to_vec());
        chain.push(&long(1));
        let place = chain.end();
        chain.copied().extend_from_slice(b"abcd");
        chain.push(&long(2));
        chain.copied().extend_from_slice(b"tail");
        chain.overwrite(place, b"AB");
        let since: Vec<u8> = chain.slices_from(place, 1).collect::<Vec<_>>().concat();
        assert_eq!(since, [&b"Bcd"[..], &long(2), b"tail"].concat());
        chain.truncate(place);
        assert_eq!(chain.flat(), [&b"head"[..], &long(1)].concat());
        assert_eq!(chain.len(), 4 + SHARED_BYTES_MIN);
        assert_eq!(chain.slices_from(place, 0).count(), 0);
        chain.clear();
        assert!(chain.is_empty());
    }

    #[test]
    fn a_chain_is_appended_without_a_copy_of_what_it_shares() {
        let (one, two) = (long(1), long(2));
        let mut later = Chain::from(b"header".to_vec());
        later.copied().push(7);
        later.push(&two);
        later.copied().push(8);
        let mut chain = Chain::default();
        chain.push(&one);
        chain.append(&later, 6);
        assert_eq!(chain.flat(), [&one, &[7][..], &two, &[8]].concat());
        assert!(is_shared(&chain, &one) && is_shared(&chain, &two));
    }
}
