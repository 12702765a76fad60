//! The machine of the benchmark of languages: it reads every byte of every payload.

use bytes::Bytes;
use libraft::machine::{Apply, MachineError, Reply};
use libraft::StateMachine;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::Arc;

/// Counts entries and sums up their bytes, and answers each with both.
#[derive(Default)]
pub struct Checksum {
    totals: Arc<Totals>,
}

/// What a machine has applied so far, for whoever asks.
#[derive(Default)]
pub struct Totals {
    pub count: AtomicU64,
    /// The CRC-32 of all payloads, one behind the other.
    pub crc: AtomicU32,
}

impl Checksum {
    pub fn totals(&self) -> Arc<Totals> {
        self.totals.clone()
    }
}

impl StateMachine for Checksum {
    fn quick(&self) -> bool {
        true
    }

    fn apply(&mut self, request: Apply) {
        let mut count = self.totals.count.load(Ordering::Relaxed);
        let mut crc = self.totals.crc.load(Ordering::Relaxed);
        let mut flat = Vec::with_capacity(request.entries.len() * 8);
        for entry in &request.entries {
            count += 1;
            crc = crc32(crc, &entry.data);
            flat.extend((count as u32).to_le_bytes());
            flat.extend(crc.to_le_bytes());
        }
        self.totals.count.store(count, Ordering::Relaxed);
        self.totals.crc.store(crc, Ordering::Relaxed);
        let flat = Bytes::from(flat);
        let results = (0..request.entries.len()).map(|at| flat.slice(at * 8..at * 8 + 8));
        request.reply.send(Ok(results.collect()));
    }

    fn save_snapshot(&mut self, mut writer: Box<dyn std::io::Write + Send>, reply: Reply<()>) {
        let count = self.totals.count.load(Ordering::Relaxed).to_le_bytes();
        let crc = self.totals.crc.load(Ordering::Relaxed).to_le_bytes();
        let saved = writer.write_all(&count).and_then(|()| writer.write_all(&crc));
        reply.send(saved.map_err(MachineError::from));
    }

    fn restore_snapshot(&mut self, mut reader: Box<dyn std::io::Read + Send>, reply: Reply<()>) {
        let (mut count, mut crc) = ([0; 8], [0; 4]);
        let read = reader.read_exact(&mut count).and_then(|()| reader.read_exact(&mut crc));
        self.totals.count.store(u64::from_le_bytes(count), Ordering::Relaxed);
        self.totals.crc.store(u32::from_le_bytes(crc), Ordering::Relaxed);
        reply.send(read.map_err(MachineError::from));
    }
}

/// Goes on with a CRC-32 (zlib's), eight bytes at a time: table-driven, as the members in C and C++ do it too, so
/// that what is compared is the boundary.
fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    let mut crc = !crc;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let low = crc ^ u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        crc = TABLES[7][(low & 0xff) as usize]
            ^ TABLES[6][(low >> 8 & 0xff) as usize]
            ^ TABLES[5][(low >> 16 & 0xff) as usize]
            ^ TABLES[4][(low >> 24) as usize]
            ^ TABLES[3][chunk[4] as usize]
            ^ TABLES[2][chunk[5] as usize]
            ^ TABLES[1][chunk[6] as usize]
            ^ TABLES[0][chunk[7] as usize];
    }
    for byte in chunks.remainder() {
        crc = crc >> 8 ^ TABLES[0][((crc ^ u32::from(*byte)) & 0xff) as usize];
    }
    !crc
}

static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before: u32 = tables[table - 1][byte];
            tables[table][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_zlibs_whole_and_in_parts() {
        assert_eq!(crc32(0, b"123456789"), 0xcbf4_3926);
        let text = b"eight bytes at a time, and some behind them";
        for cut in 0..text.len() {
            assert_eq!(crc32(crc32(0, &text[..cut]), &text[cut..]), crc32(0, text));
        }
    }
}
