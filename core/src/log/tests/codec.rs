//! Records as bytes.

use bytes::Bytes;
use raft::eraftpb::{Entry, EntryType};

use super::super::codec::*;
use super::super::Record;
use super::{entries, entry};
use crate::chain::Chain;

fn sample() -> Vec<Entry> {
    let mut entries = vec![
        entry(7, 3, Bytes::new()),
        entry(8, 3, vec![1; 5]),
        entry(9, 3, vec![2; 20_000]),
        entry(10, 3, vec![3; 16]),
    ];
    entries[1].entry_type = EntryType::EntryConfChange;
    entries[2].entry_type = EntryType::EntryConfChangeV2;
    entries[2].context = Bytes::from_static(b"why");
    entries
}

fn encoded(entries: &[Entry]) -> Vec<u8> {
    let mut chain = Chain::default();
    put_entries(&mut chain, entries);
    chain.flat().into_owned()
}

fn decoded(payload: &[u8], low: u64, high: u64) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    let payload = Bytes::copy_from_slice(payload);
    take_entries(&payload, low, high, |entry| {
        entries.push(entry);
        true
    })?;
    Some(entries)
}

#[test]
fn entries_come_back_as_they_were_whole_or_in_part() {
    let payload = encoded(&sample());
    assert_eq!(decoded(&payload, 0, u64::MAX).unwrap(), sample());
    assert_eq!(decoded(&payload, 8, 9).unwrap(), sample()[1..3]);
    assert_eq!(decoded(&payload, 11, 20).unwrap(), []);
}

#[test]
fn entries_that_end_too_early_are_refused() {
    let payload = encoded(&sample());
    for length in (0..60).chain(20_000..payload.len()) {
        assert_eq!(decoded(&payload[..length], 0, u64::MAX), None, "{length}");
    }
}

#[test]
fn entries_of_different_terms_and_of_too_many_bytes_go_into_frames_of_their_own() {
    let mut list = sample();
    list[2].term = 4;
    assert_eq!(frame_of_entries(&list), 2);
    let Record::Entries(large) = entries(1, 100, 1, 100_000) else { unreachable!() };
    assert_eq!(frame_of_entries(&large), 2);
    let Record::Entries(larger) = entries(1, 2, 1, 1_000_000) else { unreachable!() };
    assert_eq!(frame_of_entries(&larger), 1);
}

#[test]
fn a_frame_with_any_bit_flipped_or_any_byte_missing_is_refused() {
    let mut chain = Chain::default();
    let of = (5, 6, Kind::Meta, Part::Whole);
    put_frame(&mut chain, of, |chain| chain.copied().extend([1, 2, 3]));
    let frame = chain.flat().into_owned();
    let parsed = check_frame(&frame).unwrap();
    assert_eq!((parsed.lsn, parsed.log_id, parsed.payload), (5, 6, &[1, 2, 3][..]));
    for bit in 0..frame.len() * 8 {
        let mut damaged = frame.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(check_frame(&damaged).is_none(), "bit {bit}");
    }
    for length in 0..frame.len() {
        assert!(check_frame(&frame[..length]).is_none(), "length {length}");
    }
}
