//! The boundary between C and Rust: panics, pointers, texts and structs that grow.

use std::ffi::{c_char, CStr};
use std::panic::{catch_unwind, AssertUnwindSafe};

use libraft::{Code, Error, Result};

use crate::error::{libraft_error, ErrorObject, LIBRAFT_OK};
use crate::handle;

/// Runs the body of an export: every one goes through here. No panic gets out, and what went wrong
/// becomes a code and, if the caller asked for it, an error object.
///
/// # Safety
/// `error` is NULL or valid for a write.
pub unsafe fn call(error: *mut *mut libraft_error, body: impl FnOnce() -> Result<()>) -> i32 {
    let failed = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return LIBRAFT_OK,
        Ok(Err(failed)) => failed,
        Err(payload) => panicked(payload.as_ref()),
    };
    let code = failed.code.number();
    if !error.is_null() && error.is_aligned() {
        // Without a free handle the code must do.
        let object = handle::insert(ErrorObject::new(failed)).unwrap_or(std::ptr::null_mut());
        // SAFETY: not NULL and aligned; the caller vouches for the rest.
        unsafe { error.write(object) };
    }
    code
}

/// Runs the body of an export that returns something other than a code; `fallback` is for a panic.
pub fn value<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(fallback)
}

/// What a caught panic is to a caller.
pub fn panicked(payload: &(dyn std::any::Any + Send)) -> Error {
    let what = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a text");
    Error::unknown(
        Code::Panicked,
        format!("libraft panicked, which is a defect of the library; please report: {what}"),
    )
}

pub fn invalid(message: impl Into<String>) -> Error {
    Error::rejected(Code::InvalidArgument, message)
}

/// A place for an output, which is written only on success.
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    /// # Safety
    /// `pointer` is NULL or valid for a write of `T` until the call returns.
    pub unsafe fn required(pointer: *mut T, name: &str) -> Result<Out<T>> {
        if pointer.is_null() {
            return Err(invalid(format!("{name} is NULL: there is no place for the output")));
        }
        // SAFETY: as the caller's.
        unsafe { Out::optional(pointer, name) }
    }

    /// # Safety
    /// As [`Out::required`]. NULL means that the caller does not want this output.
    pub unsafe fn optional(pointer: *mut T, name: &str) -> Result<Out<T>> {
        if !pointer.is_aligned() {
            return Err(invalid(format!("{name} is not aligned")));
        }
        Ok(Out(pointer))
    }

    pub fn is_wanted(&self) -> bool {
        !self.0.is_null()
    }

    pub fn set(self, value: T) {
        if self.is_wanted() {
            // SAFETY: not NULL and aligned, and whoever made `self` vouched for the rest.
            unsafe { self.0.write(value) };
        }
    }
}

/// Bytes of the caller; NULL is allowed if there are none.
///
/// # Safety
/// `data` is valid for reads of `length` bytes for `'a`.
pub unsafe fn bytes<'a>(
    data: *const std::ffi::c_void,
    length: usize,
    name: &str,
) -> Result<&'a [u8]> {
    // SAFETY: as the caller's; bytes have no invalid values.
    unsafe { array(data.cast::<u8>(), length, name) }
}

/// An array of the caller; NULL is allowed if it is empty.
///
/// # Safety
/// `data` is valid for reads of `count` values for `'a`.
pub unsafe fn array<'a, T>(data: *const T, count: usize, name: &str) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(invalid(format!("{name} is NULL, but its length is {count}")));
    }
    if !data.is_aligned() {
        return Err(invalid(format!("{name} is not aligned")));
    }
    if count > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(invalid(format!("{name} cannot have {count} elements")));
    }
    // SAFETY: not NULL, aligned, of a possible size; the caller vouches for the memory.
    Ok(unsafe { std::slice::from_raw_parts(data, count) })
}

/// A NUL-terminated text of the caller, in UTF-8.
///
/// # Safety
/// `text` is NULL or ends with a NUL.
pub unsafe fn text(text: *const c_char, name: &str) -> Result<String> {
    if text.is_null() {
        return Err(invalid(format!("{name} is NULL")));
    }
    // SAFETY: not NULL; the caller vouches for the NUL at its end.
    let bytes = unsafe { CStr::from_ptr(text) };
    bytes.to_str().map(str::to_string).map_err(|error| {
        Error::rejected(
            Code::InvalidUtf8,
            format!("{name} is not UTF-8 from byte {} on", error.valid_up_to()),
        )
    })
}

/// As [`text`], with NULL for "none".
///
/// # Safety
/// As [`text`].
pub unsafe fn optional_text(pointer: *const c_char, name: &str) -> Result<Option<String>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: as the caller's.
    unsafe { text(pointer, name) }.map(Some)
}

/// A struct that begins with its size, so that it can grow: a caller that was compiled against
/// another version of the header has a longer or a shorter one.
///
/// # Safety
/// `repr(C)`; the first field is a `usize`, the size; all bytes zero is a value of it, and so is
/// every mixture of a caller's bytes, as far as the caller wrote what the header's types allow, and
/// zeroes.
pub unsafe trait SizeFirst: Copy {
    const NAME: &'static str;
    /// The size in the first version of the ABI: nobody has a shorter one.
    const FIRST_SIZE: usize;
}

/// More than any struct will ever have: a larger size was never initialized.
const SIZE_LIMIT: usize = 4096;

/// Copies a caller's struct. What the caller's version does not have is zero; what this version
/// does not know must be zero, else the caller asks for something that this library cannot do.
///
/// # Safety
/// `pointer` is NULL or valid for reads of as many bytes as its first field says.
pub unsafe fn read_sized<T: SizeFirst>(pointer: *const T) -> Result<T> {
    // SAFETY: as the caller's.
    match unsafe { read_sized_leniently(pointer) }? {
        (value, None) => Ok(value),
        (_, Some(refused)) => Err(refused),
    }
}

/// As [`read_sized`], but hands out what it knows together with the refusal of what it does not
/// know.
///
/// # Safety
/// As [`read_sized`].
pub unsafe fn read_sized_leniently<T: SizeFirst>(pointer: *const T) -> Result<(T, Option<Error>)> {
    let size = sized_header(pointer)?;
    let known = size.min(size_of::<T>());
    let mut value = std::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: both are valid for `known` bytes and do not overlap; what is not copied is zero,
    // which is a value of `T`.
    let value = unsafe {
        std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), value.as_mut_ptr().cast(), known);
        value.assume_init()
    };
    // SAFETY: the caller vouches for `size` bytes.
    let tail = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>().add(known), size - known) };
    let refused = tail.iter().any(|byte| *byte != 0).then(|| {
        Error::rejected(
            Code::InvalidSize,
            format!(
                "{} uses fields that this version of libraft does not know; use a newer library",
                T::NAME
            ),
        )
    });
    Ok((value, refused))
}

/// Fills a caller's struct, as much of it as the caller has.
///
/// # Safety
/// `pointer` is NULL or valid for reads and writes of as many bytes as its first field says.
pub unsafe fn write_sized<T: SizeFirst>(pointer: *mut T, value: &T) -> Result<()> {
    let size = sized_header(pointer)?;
    // SAFETY: the caller vouches for `size` bytes.
    unsafe { fill(pointer, size, value) };
    Ok(())
}

/// Gives a caller's fresh struct its defaults.
///
/// # Safety
/// `pointer` is NULL or valid for writes of `size` bytes.
pub unsafe fn init_sized<T: SizeFirst>(pointer: *mut T, size: usize, default: &T) -> Result<()> {
    check_size(pointer, size)?;
    // SAFETY: the caller vouches for `size` bytes.
    unsafe { fill(pointer, size, default) };
    Ok(())
}

/// # Safety
/// `pointer` is valid for writes of `size` bytes, which hold at least the size itself.
unsafe fn fill<T: SizeFirst>(pointer: *mut T, size: usize, value: &T) {
    let target = pointer.cast::<u8>();
    let known = size.min(size_of::<T>());
    // SAFETY: never past `size` bytes of the target, nor past a `T`; the size stands first.
    unsafe {
        std::ptr::copy((&raw const *value).cast::<u8>(), target, known);
        target.add(known).write_bytes(0, size - known);
        pointer.cast::<usize>().write(size);
    }
}

fn sized_header<T: SizeFirst>(pointer: *const T) -> Result<usize> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(invalid(format!("{} is NULL or not aligned", T::NAME)));
    }
    // SAFETY: aligned and not NULL; every such struct begins with its size, and callers have at
    // least that.
    let size = unsafe { pointer.cast::<usize>().read() };
    check_size(pointer, size)?;
    Ok(size)
}

fn check_size<T: SizeFirst>(pointer: *const T, size: usize) -> Result<()> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(invalid(format!("{} is NULL or not aligned", T::NAME)));
    }
    if size < T::FIRST_SIZE || size > SIZE_LIMIT {
        return Err(Error::rejected(
            Code::InvalidSize,
            format!(
                "{} says it has {size} bytes, and must have {} to {SIZE_LIMIT}; call {}_init first",
                T::NAME,
                T::FIRST_SIZE,
                T::NAME
            ),
        ));
    }
    Ok(())
}

/// Copies a text into a fixed array of a struct, with a NUL at its end, cut between characters if
/// it is too long.
pub fn fixed_text<const N: usize>(text: &str) -> [c_char; N] {
    let mut end = text.len().min(N - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut fixed = [0; N];
    for (to, from) in fixed.iter_mut().zip(&text.as_bytes()[..end]) {
        *to = *from as c_char;
    }
    fixed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{libraft_error_code, libraft_error_free};

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct sample {
        size: usize,
        old: u64,
        new: u64,
    }

    // SAFETY: integers only, the size first.
    unsafe impl SizeFirst for sample {
        const NAME: &'static str = "sample";
        const FIRST_SIZE: usize = 16;
    }

    fn read(words: &[usize]) -> Result<sample> {
        // SAFETY: the tests pass arrays that are as long as their first word says, or refused
        // sizes.
        unsafe { read_sized(words.as_ptr().cast::<sample>()) }
    }

    #[test]
    fn a_panic_becomes_a_code_and_an_error_object() {
        let mut error = std::ptr::null_mut();
        // SAFETY: `error` is a place for a pointer.
        let code = unsafe { call(&mut error, || panic!("planted")) };
        assert_eq!(code, Code::Panicked.number());
        assert_eq!(handle::get(error).unwrap().error.message.matches("planted").count(), 1);
        // SAFETY: the handle is ours.
        unsafe {
            assert_eq!(libraft_error_code(error), code);
            libraft_error_free(error);
        }
    }

    #[test]
    fn a_panic_without_a_place_for_an_error_is_still_a_code() {
        // SAFETY: NULL is allowed.
        let code = unsafe { call(std::ptr::null_mut(), || panic!("planted")) };
        assert_eq!(code, Code::Panicked.number());
        assert_eq!(value(7, || panic!("planted")), 7);
    }

    #[test]
    fn a_shorter_struct_reads_as_if_the_rest_were_zero() {
        assert_eq!(read(&[16, 5, 77]).unwrap(), sample { size: 16, old: 5, new: 0 });
        assert_eq!(read(&[24, 5, 77]).unwrap(), sample { size: 24, old: 5, new: 77 });
    }

    #[test]
    fn a_longer_struct_is_read_only_if_its_tail_is_zero() {
        assert_eq!(read(&[32, 5, 6, 0]).unwrap(), sample { size: 32, old: 5, new: 6 });
        assert_eq!(read(&[32, 5, 6, 1]).unwrap_err().code, Code::InvalidSize);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        for size in [0, 8, 15, SIZE_LIMIT + 1, usize::MAX] {
            assert_eq!(read(&[size, 0, 0]).unwrap_err().code, Code::InvalidSize, "{size}");
        }
    }

    #[test]
    fn filling_never_writes_past_the_size_of_the_caller() {
        let value = sample { size: 0, old: 5, new: 6 };
        for size in [16usize, 24, 32] {
            let mut words = [0xEEEE_EEEE_EEEE_EEEEu64; 5];
            // SAFETY: the array is longer than any of the sizes.
            unsafe { init_sized(words.as_mut_ptr().cast(), size, &value) }.unwrap();
            let mut expected = [size as u64, 5, 6, 0, 0];
            expected[size / 8..].fill(0xEEEE_EEEE_EEEE_EEEE);
            assert_eq!(words, expected, "{size}");
        }
    }

    #[test]
    fn no_struct_is_smaller_than_in_its_first_version() {
        fn check<T: SizeFirst>() {
            assert!(size_of::<T>() >= T::FIRST_SIZE, "{}", T::NAME);
        }
        check::<crate::node::libraft_node_options>();
        check::<crate::node::libraft_node_info>();
        check::<crate::group::libraft_group_options>();
        check::<crate::group::libraft_group_info>();
        check::<crate::completion::libraft_completer>();
        check::<crate::machine::libraft_state_machine>();
        check::<crate::queue::libraft_queue_options>();
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let fixed: [c_char; 4] = fixed_text("aäö");
        assert_eq!(fixed.map(|byte| byte as u8), [b'a', 0xC3, 0xA4, 0]);
        let fixed: [c_char; 4] = fixed_text("abä");
        assert_eq!(fixed.map(|byte| byte as u8), [b'a', b'b', 0, 0]);
    }
}
