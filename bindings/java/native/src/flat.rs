//! What crosses the boundary, as bytes: little-endian numbers, and bytes and texts behind their
//! length.
//!
//! `FlatWriter.java` and `FlatReader.java` are the other half.

use libraft::{Code, Error, Result};

/// Writes values one behind the other.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Writes behind what `bytes` has.
    pub fn append_to(bytes: Vec<u8>) -> Writer {
        Writer(bytes)
    }

    pub fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub fn int(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub fn long(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A length beyond what Java's arrays can have never gets here: payloads and results are capped
    /// far below.
    pub fn bytes(&mut self, value: &[u8]) {
        self.int(value.len() as i32);
        self.0.extend_from_slice(value);
    }

    pub fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    pub fn raw(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Overwrites the number at `position`, which was written before what it counts was known.
    pub fn set_int(&mut self, position: usize, value: i32) {
        self.0[position..position + 4].copy_from_slice(&value.to_le_bytes());
    }

    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads values one behind the other. What is missing is an error: the Java half and this one
/// disagree.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub fn int(&mut self) -> Result<i32> {
        let mut value = [0; 4];
        value.copy_from_slice(self.take(4)?);
        Ok(i32::from_le_bytes(value))
    }

    pub fn long(&mut self) -> Result<u64> {
        let mut value = [0; 8];
        value.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(value))
    }

    pub fn count(&mut self) -> Result<usize> {
        usize::try_from(self.int()?).map_err(|_| disagreement())
    }

    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.count()?;
        self.take(length)
    }

    pub fn text(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?.to_vec())
            .map_err(|_| Error::rejected(Code::InvalidUtf8, "a text is not UTF-8"))
    }

    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        if length > self.0.len() {
            return Err(disagreement());
        }
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(taken)
    }
}

fn disagreement() -> Error {
    Error::rejected(
        Code::Internal,
        "the Java half and the native half of libraft disagree: are they of the same version?",
    )
}
