//! What the linker must know of the shared library: its name for ever, and that it must stay
//! loaded.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // The name that programs record when they link; the number changes only with an
        // incompatible ABI.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libraft.so.1");
        // Threads of the library may still run when a host calls dlclose: the code must not go away
        // under them.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
        // A symbol that cannot be resolved is an error now, not when a host starts. A sanitizer's
        // are in the program.
        let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
        if !flags.contains("sanitizer") {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-z,defs");
        }
    }
}
