//! Connections to peers over TCP, driven by the event loop that owns them.
