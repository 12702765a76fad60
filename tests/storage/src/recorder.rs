//! Runs a program under `shim/recorder.c`.

use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/shim/recorder.c");

/// A compiled recorder.
pub struct Recorder {
    library: PathBuf,
}

impl Recorder {
    /// Compiles the recorder into `directory`. Needs a C compiler.
    pub fn new(directory: &Path) -> Recorder {
        let library = directory.join("recorder.so");
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", SOURCE, "-ldl", "-o"])
            .arg(&library)
            .output()
            .expect("this test compiles C with `cc`: run `apt-get install gcc`");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{SOURCE} does not compile:\n{said}");
        Recorder { library }
    }

    /// Lets `command` record what it does below `root`, and what it writes to the file `notes`,
    /// into `trace`. All are absolute paths.
    pub fn record(&self, command: &mut Command, root: &Path, notes: &Path, trace: &Path) {
        command.env("LD_PRELOAD", &self.library);
        command.env("RECORD_ROOT", root).env("RECORD_NOTES", notes).env("RECORD_TRACE", trace);
    }
}
