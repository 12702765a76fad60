//! The C ABI of libraft.
