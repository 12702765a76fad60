fn main() {
    napi_build::setup();
    // A worker thread that ends closes the addon, while threads of the library may still run in it.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
