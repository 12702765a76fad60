//! A disk that becomes slow, breaks or fills up, for one member at a time: see `tests/shim/disk.c`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::Launch;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/shim/disk.c");

/// What is wrong with a member's disk.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    None,
    /// Every sync takes so much longer.
    Slow {
        ms: u64,
    },
    /// Every sync fails with EIO.
    Broken,
    /// Nothing can grow.
    Full,
}

/// The disks of a cluster's members.
pub struct Disks {
    directory: PathBuf,
}

impl Disks {
    /// Compiles the shim into `directory`. Needs a C compiler.
    pub fn new(directory: &Path) -> Disks {
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", SOURCE, "-ldl", "-o"])
            .arg(directory.join("disk.so"))
            .output()
            .expect("this test compiles C with `cc`: run `apt-get install gcc`");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{SOURCE} does not compile:\n{said}");
        Disks { directory: directory.to_path_buf() }
    }

    /// Runs members of `program` on these disks.
    pub fn launch(&self, program: &'static str) -> Launch {
        let directory = self.directory.clone();
        Box::new(move |member| {
            let mut command = Command::new(program);
            command.env("LD_PRELOAD", directory.join("disk.so"));
            command.env("DISK_SHIM", file(&directory, member));
            command
        })
    }

    /// From the next call on.
    pub fn set(&self, member: usize, trouble: Trouble) {
        let text = match trouble {
            Trouble::None => "none".to_string(),
            Trouble::Slow { ms } => format!("slow {ms}"),
            Trouble::Broken => "broken".to_string(),
            Trouble::Full => "full".to_string(),
        };
        let (file, new) = (file(&self.directory, member), self.directory.join("trouble.new"));
        std::fs::write(&new, text).expect("the shim is told by a file");
        std::fs::rename(&new, &file).expect("the shim is told by a file");
    }
}

fn file(directory: &Path, member: usize) -> PathBuf {
    directory.join(format!("trouble-{}", member + 1))
}
