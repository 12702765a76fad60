//! libraft for Python: the native half, `libraft._libraft`.
//!
//! What a program sees is `python/libraft/`: it re-exports the classes from here, and adds what is
//! better said in Python (base classes, errors, statuses). `_libraft.pyi` describes this module for
//! type checkers.

use pyo3::prelude::*;

mod arguments;
mod change;
mod entry;
mod error;
mod event;
mod future;
mod group;
mod interpreter;
mod lifecycle;
mod log;
mod machine;
mod mailbox;
mod node;
mod options;
mod request;
mod snapshot;
mod status;

/// The version of the library.
#[pyfunction]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

#[pymodule]
fn _libraft(module: &Bound<'_, PyModule>) -> PyResult<()> {
    interpreter::watch_forks();
    module.add_function(wrap_pyfunction!(version, module)?)?;
    module.add_function(wrap_pyfunction!(lifecycle::close_all_at_exit, module)?)?;
    module.add_class::<node::Node>()?;
    module.add_class::<group::Group>()?;
    module.add_class::<future::Future>()?;
    module.add_class::<entry::Entry>()?;
    module.add_class::<future::Completion>()?;
    module.add_class::<event::EventQueue>()?;
    module.add_class::<snapshot::NativeWriter>()?;
    module.add_class::<snapshot::NativeReader>()?;
    Ok(())
}
