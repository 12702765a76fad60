//! Handles: what C holds instead of pointers.
//!
//! A handle looks like a pointer to C, so that the compiler tells a node from a group, but it is a
//! number: the kind of thing, the process that made it, a slot in the kind's table, and how often
//! that slot was used before. It is looked up, never dereferenced, so a stale, foreign or invented
//! one is an error. The top bits make it an address that no program can read: a host that
//! dereferences a handle crashes at once, not some day.
//!
//! ```text
//!   63      56 55     48 47               20 19           0
//!   | kind    | epoch   | generation        | slot        |
//! ```

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use libraft::{Code, Error, Result};

use crate::fork;

const SLOT_BITS: u32 = 20;
const GENERATION_BITS: u32 = 28;
const EPOCH_SHIFT: u32 = SLOT_BITS + GENERATION_BITS;
const KIND_SHIFT: u32 = EPOCH_SHIFT + 8;
const GENERATION_MAX: u32 = (1 << GENERATION_BITS) - 1;

/// Slots come in chunks, each twice the one before, which never move: a lookup needs no lock of the
/// whole table.
const FIRST_CHUNK: u32 = 64;
const CHUNKS: usize = 14;
const SLOTS_MAX: u32 = FIRST_CHUNK * ((1 << CHUNKS) - 1);

/// A C type that is a handle, and the Rust object behind it.
pub trait Handle: Sized + 'static {
    type Object: Send + Sync + 'static;
    /// What messages call it.
    const NOUN: &'static str;
    /// Its number among the kinds: 1 to 127.
    const KIND: u8;

    fn table(tables: &Tables) -> &Table<Self::Object>;
}

/// One table for each kind.
#[derive(Default)]
pub struct Tables {
    pub nodes: Table<crate::node::NodeObject>,
    pub groups: Table<crate::group::GroupObject>,
    pub queues: Table<crate::queue::QueueObject>,
    pub errors: Table<crate::error::ErrorObject>,
    pub bytes: Table<bytes::Bytes>,
    pub members: Table<crate::membership::MembersObject>,
    pub requests: Table<crate::request::RequestObject>,
    pub results: Table<crate::results::ResultsObject>,
    pub writers: Table<crate::snapshot::WriterObject>,
    pub readers: Table<crate::snapshot::ReaderObject>,
}

/// Registers an object. It lives until [`take`]; calls that have looked it up keep it alive for as
/// long as they run.
///
/// **Errors**: `Busy` when a million handles of this kind are open.
pub fn insert<H: Handle>(object: impl Into<Arc<H::Object>>) -> Result<*mut H> {
    let epoch = fork::epoch();
    let (slot, generation) = H::table(fork::tables()).insert(object.into()).ok_or_else(|| {
        Error::rejected(
            Code::Busy,
            format!("{SLOTS_MAX} handles of kind '{}' are open; free some", H::NOUN),
        )
    })?;
    let bits = (u64::from(H::KIND) << KIND_SHIFT)
        | (u64::from(epoch) << EPOCH_SHIFT)
        | (u64::from(generation) << SLOT_BITS)
        | u64::from(slot);
    Ok(std::ptr::without_provenance_mut(bits as usize))
}

/// Looks a handle up.
///
/// **Errors**: `InvalidArgument` for NULL; `InvalidHandle` if it is stale, forged or of another
/// kind; `Forked`.
pub fn get<H: Handle>(handle: *const H) -> Result<Arc<H::Object>> {
    let (slot, generation) = decode::<H>(handle)?;
    H::table(fork::tables()).get(slot, generation).ok_or_else(stale::<H>)
}

/// Ends a handle: from now on it is stale.
pub fn take<H: Handle>(handle: *const H) -> Result<Arc<H::Object>> {
    let (slot, generation) = decode::<H>(handle)?;
    H::table(fork::tables()).take(slot, generation).ok_or_else(stale::<H>)
}

fn decode<H: Handle>(handle: *const H) -> Result<(u32, u32)> {
    if handle.is_null() {
        return Err(Error::rejected(Code::InvalidArgument, format!("the {} is NULL", H::NOUN)));
    }
    let bits = handle.addr() as u64;
    if bits >> KIND_SHIFT != u64::from(H::KIND) {
        return Err(Error::rejected(
            Code::InvalidHandle,
            format!("this is not the handle of a {}; nothing was done", H::NOUN),
        ));
    }
    if (bits >> EPOCH_SHIFT) as u8 != fork::epoch() {
        return Err(Error::rejected(
            Code::Forked,
            format!("this {} belongs to the process before fork(); open one in the child", H::NOUN),
        ));
    }
    let slot = bits as u32 & ((1 << SLOT_BITS) - 1);
    let generation = (bits >> SLOT_BITS) as u32 & GENERATION_MAX;
    Ok((slot, generation))
}

fn stale<H: Handle>() -> Error {
    Error::rejected(
        Code::InvalidHandle,
        format!("this {} was freed before, or its time is over; nothing was done", H::NOUN),
    )
}

pub struct Table<T> {
    chunks: [OnceLock<Box<[Slot<T>]>>; CHUNKS],
    free: Mutex<FreeSlots>,
}

type Slot<T> = RwLock<Entry<T>>;

struct Entry<T> {
    /// How often the slot was used before; a handle with another number is stale.
    generation: u32,
    object: Option<Arc<T>>,
}

#[derive(Default)]
struct FreeSlots {
    returned: Vec<u32>,
    /// Slots from here on were never used.
    fresh: u32,
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table { chunks: std::array::from_fn(|_| OnceLock::new()), free: Mutex::default() }
    }
}

impl<T> Table<T> {
    fn insert(&self, object: Arc<T>) -> Option<(u32, u32)> {
        let slot = self.lock_free().reserve()?;
        let mut entry = self.slot(slot)?.write().unwrap_or_else(PoisonError::into_inner);
        entry.object = Some(object);
        Some((slot, entry.generation))
    }

    fn get(&self, slot: u32, generation: u32) -> Option<Arc<T>> {
        let entry = self.existing_slot(slot)?.read().unwrap_or_else(PoisonError::into_inner);
        if entry.generation == generation {
            entry.object.clone()
        } else {
            None
        }
    }

    fn take(&self, slot: u32, generation: u32) -> Option<Arc<T>> {
        let mut entry = self.existing_slot(slot)?.write().unwrap_or_else(PoisonError::into_inner);
        if entry.generation != generation {
            return None;
        }
        let object = entry.object.take()?;
        entry.generation += 1;
        // A slot whose numbers are used up is never used again, so that no handle ever names two
        // things.
        if entry.generation < GENERATION_MAX {
            drop(entry);
            self.lock_free().returned.push(slot);
        }
        Some(object)
    }

    fn slot(&self, slot: u32) -> Option<&Slot<T>> {
        let (chunk, offset) = locate(slot);
        let slots = self.chunks.get(chunk)?.get_or_init(|| {
            let length = FIRST_CHUNK << chunk;
            (0..length).map(|_| RwLock::new(Entry { generation: 1, object: None })).collect()
        });
        slots.get(offset)
    }

    fn existing_slot(&self, slot: u32) -> Option<&Slot<T>> {
        let (chunk, offset) = locate(slot);
        self.chunks.get(chunk)?.get()?.get(offset)
    }

    fn lock_free(&self) -> MutexGuard<'_, FreeSlots> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FreeSlots {
    fn reserve(&mut self) -> Option<u32> {
        if let Some(slot) = self.returned.pop() {
            return Some(slot);
        }
        if self.fresh == SLOTS_MAX {
            return None;
        }
        self.fresh += 1;
        Some(self.fresh - 1)
    }
}

/// The chunk that holds a slot, and where in it.
fn locate(slot: u32) -> (usize, usize) {
    let chunk = (slot / FIRST_CHUNK + 1).ilog2();
    (chunk as usize, (slot - FIRST_CHUNK * ((1 << chunk) - 1)) as usize)
}

#[cfg(not(target_pointer_width = "64"))]
compile_error!("handles need pointers of 64 bits");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::libraft_bytes;
    use crate::error::libraft_error;

    fn handle_of(text: &'static str) -> *mut libraft_bytes {
        insert::<libraft_bytes>(bytes::Bytes::from_static(text.as_bytes())).unwrap()
    }

    fn code<T>(result: Result<T>) -> Code {
        result.err().expect("an error").code
    }

    #[test]
    fn a_handle_finds_its_object_until_it_is_taken() {
        let handle = handle_of("seven");
        assert_eq!(get(handle).unwrap().as_ref(), "seven");
        assert_eq!(take(handle).unwrap().as_ref(), "seven");
        assert_eq!(code(get(handle)), Code::InvalidHandle);
        assert_eq!(code(take(handle)), Code::InvalidHandle);
    }

    #[test]
    fn a_stale_handle_does_not_find_what_took_its_slot() {
        let table = Table::<u32>::default();
        let (slot, generation) = table.insert(Arc::new(1)).unwrap();
        table.take(slot, generation).unwrap();
        let (again, next) = table.insert(Arc::new(2)).unwrap();
        assert_eq!((again, next), (slot, generation + 1));
        assert!(table.get(slot, generation).is_none());
        assert!(table.take(slot, generation).is_none());
        assert_eq!(table.get(slot, next).as_deref(), Some(&2));
    }

    #[test]
    fn forged_handles_are_refused() {
        assert_eq!(code(get::<libraft_bytes>(std::ptr::null())), Code::InvalidArgument);
        let local = 5u64;
        assert_eq!(code(get((&raw const local).cast::<libraft_bytes>())), Code::InvalidHandle);
        let real = handle_of("x");
        assert_eq!(code(get(real.cast::<libraft_error>())), Code::InvalidHandle, "another kind");
        for flip in 0..SLOT_BITS + GENERATION_BITS {
            let forged = real.map_addr(|address| address ^ (1 << flip));
            assert_eq!(code(get(forged)), Code::InvalidHandle, "bit {flip}");
        }
        assert_eq!(code(get(real.map_addr(|address| address ^ (1 << EPOCH_SHIFT)))), Code::Forked);
        take(real).unwrap();
    }

    #[test]
    fn a_handle_is_no_address_that_a_program_could_read() {
        let handle = handle_of("x");
        assert_ne!(handle.addr() >> 47, 0);
        take(handle).unwrap();
    }

    #[test]
    fn slots_lie_one_behind_the_other_in_the_chunks() {
        let mut expected = (0, 0);
        for slot in 0..5_000 {
            assert_eq!(locate(slot), expected);
            expected.1 += 1;
            if expected.1 == (FIRST_CHUNK as usize) << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
        assert_eq!(locate(SLOTS_MAX - 1).0, CHUNKS - 1);
        assert_eq!(locate(SLOTS_MAX).0, CHUNKS, "beyond the last chunk");
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_retired() {
        let table = Table::<u32>::default();
        let (slot, _) = table.insert(Arc::new(1)).unwrap();
        table.slot(slot).unwrap().write().unwrap().generation = GENERATION_MAX - 1;
        table.take(slot, GENERATION_MAX - 1).unwrap();
        let (other, _) = table.insert(Arc::new(2)).unwrap();
        assert_ne!(other, slot);
    }
}
