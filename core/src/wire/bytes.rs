//! Numbers as bytes: little-endian base-128 varints, and a reader that never runs past the end.

use bytes::Bytes;

use super::WireError;

/// The longest varint: 64 bits in groups of seven.
pub(super) const VARINT_BYTES_MAX: usize = 10;

const TRUNCATED: WireError = WireError::new("the body ends inside a field");

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads fields one after the other, and hands out parts of the buffer without copying them.
pub(super) struct Reader<'a> {
    buffer: &'a Bytes,
    position: usize,
}

impl<'a> Reader<'a> {
    pub fn new(buffer: &'a Bytes) -> Reader<'a> {
        Reader { buffer, position: 0 }
    }

    pub fn remaining(&self) -> usize {
        self.buffer.len() - self.position
    }

    pub fn byte(&mut self) -> Result<u8, WireError> {
        let byte = *self.buffer.get(self.position).ok_or(TRUNCATED)?;
        self.position += 1;
        Ok(byte)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let rest = &self.buffer[self.position..];
        let array = *rest.first_chunk::<N>().ok_or(TRUNCATED)?;
        self.position += N;
        Ok(array)
    }

    #[inline]
    pub fn varint(&mut self) -> Result<u64, WireError> {
        // Most numbers take one byte.
        match self.buffer.get(self.position) {
            Some(byte) if *byte < 0x80 => {
                self.position += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::new("a number has more than 64 bits"))
    }

    /// The next `length` bytes; they share the buffer's memory.
    #[inline]
    pub fn bytes(&mut self, length: u64) -> Result<Bytes, WireError> {
        if length > self.remaining() as u64 {
            return Err(TRUNCATED);
        }
        let end = self.position + length as usize;
        let bytes = self.buffer.slice(self.position..end);
        self.position = end;
        Ok(bytes)
    }

    pub fn rest(&mut self) -> Bytes {
        let rest = self.buffer.slice(self.position..);
        self.position = self.buffer.len();
        rest
    }

    pub fn expect_end(&self) -> Result<(), WireError> {
        if self.remaining() == 0 {
            return Ok(());
        }
        Err(WireError::new("bytes are left over behind the last field"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_survives_the_round_trip() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                assert!(out.len() <= VARINT_BYTES_MAX);
                let bytes = Bytes::from(out);
                let mut reader = Reader::new(&bytes);
                assert_eq!(reader.varint(), Ok(value));
                assert_eq!(reader.expect_end(), Ok(()));
            }
        }
    }

    #[test]
    fn a_number_that_is_too_long_or_cut_is_refused() {
        for bad in [&[0xff; 10][..], &[0x80; 11], &[0x80], &[]] {
            assert!(Reader::new(&Bytes::from_static(bad)).varint().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_refused_however_large() {
        let bytes = Bytes::from_static(b"abc");
        for length in [4, 1 << 40, u64::MAX] {
            assert!(Reader::new(&bytes).bytes(length).is_err());
        }
        assert_eq!(Reader::new(&bytes).bytes(3), Ok(bytes.clone()));
    }
}
