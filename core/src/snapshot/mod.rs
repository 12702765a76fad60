//! Snapshots: manifest, store, transfer.
