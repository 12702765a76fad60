//! The bytes between nodes: frames, handshake, messages. See `docs/format.md`.
