//! Snapshots as a callback writes and reads them. `libraft.SnapshotWriter` and `SnapshotReader`
//! make files of these.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::arguments::bytes;

/// How much is made room for before it is known that there is so much to read.
const READ_BYTES: usize = 1 << 20;

type Sink = Arc<Mutex<Option<Box<dyn Write + Send>>>>;
type Source = Arc<Mutex<Option<Box<dyn Read + Send>>>>;

/// Where the library takes a snapshot from the program; closed when the callback has answered.
#[pyclass(frozen, module = "libraft._libraft")]
pub struct NativeWriter(Sink);

/// Closes a writer or a reader for the program when it is dropped.
pub struct Closer<T: ?Sized>(Arc<Mutex<Option<Box<T>>>>);

impl<T: ?Sized> Drop for Closer<T> {
    fn drop(&mut self) {
        let inner = lock(&self.0).take();
        drop(inner);
    }
}

impl NativeWriter {
    pub fn new(writer: Box<dyn Write + Send>) -> (NativeWriter, Closer<dyn Write + Send>) {
        let sink = Arc::new(Mutex::new(Some(writer)));
        (NativeWriter(sink.clone()), Closer(sink))
    }

    /// Lends a writer for as long as `body` takes.
    pub fn lend<R>(
        writer: &mut (dyn Write + Send),
        body: impl FnOnce(NativeWriter, &Closer<dyn Write + Send>) -> R,
    ) -> R {
        struct Lent(*mut (dyn Write + Send));
        // SAFETY: what it points to may be used by any thread, one at a time, and `lend` below says
        //     for how long.
        unsafe impl Send for Lent {}
        impl Write for Lent {
            fn write(&mut self, data: &[u8]) -> io::Result<usize> {
                // SAFETY: `lend` takes this away, from behind the lock that it is used under,
                //     before the borrow of the writer ends.
                unsafe { (*self.0).write(data) }
            }
            fn flush(&mut self) -> io::Result<()> {
                // SAFETY: as above.
                unsafe { (*self.0).flush() }
            }
        }
        // SAFETY: only the lifetime changes, see above.
        let lent = unsafe {
            std::mem::transmute::<*mut (dyn Write + Send + '_), *mut (dyn Write + Send)>(writer)
        };
        let (native, closer) = NativeWriter::new(Box::new(Lent(lent)));
        body(native, &closer)
        // The closer is dropped here, also if `body` panics.
    }
}

#[pymethods]
impl NativeWriter {
    /// Writes all of a bytes-like object, and returns its length.
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        let data = bytes(data, "data")?;
        let data = data.as_bytes();
        // Other threads go on meanwhile: it may take a disk's time.
        let written = py.detach(|| lock(&self.0).as_mut().map(|writer| writer.write_all(data)));
        written.ok_or_else(closed)??;
        Ok(data.len())
    }
}

/// Where the program reads a snapshot from; closed when the callback has answered.
#[pyclass(frozen, module = "libraft._libraft")]
pub struct NativeReader(Source);

impl NativeReader {
    pub fn new(reader: Box<dyn Read + Send>) -> (NativeReader, Closer<dyn Read + Send>) {
        let source = Arc::new(Mutex::new(Some(reader)));
        (NativeReader(source.clone()), Closer(source))
    }
}

#[pymethods]
impl NativeReader {
    /// Reads as many bytes as there are, but not more than `size`. Fewer are the end of the
    /// snapshot.
    fn read<'py>(&self, py: Python<'py>, size: usize) -> PyResult<Bound<'py, PyBytes>> {
        let read = py.detach(|| {
            let mut source = lock(&self.0);
            let reader = source.as_mut()?;
            // What is asked for may be more than there is, and than there is memory.
            let mut data = Vec::with_capacity(size.min(READ_BYTES));
            Some(reader.take(size as u64).read_to_end(&mut data).map(|_| data))
        });
        Ok(PyBytes::new(py, &read.ok_or_else(closed)??))
    }
}

fn closed() -> PyErr {
    PyValueError::new_err("the snapshot is closed: the callback that it was handed to has answered")
}

fn lock<T: ?Sized>(mutex: &Mutex<Option<Box<T>>>) -> MutexGuard<'_, Option<Box<T>>> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
