//! Threads: the worker event loop, apply and completion threads.
