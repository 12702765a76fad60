//! The real file system.

/// A folder of the real file system.
pub struct FileSystem {}
