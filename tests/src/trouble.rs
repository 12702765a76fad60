//! A disk that becomes slow, breaks or fills up, for one member at a time: by calls that fail, see `tests/shim/disk.c`; or
//! a small one that really is full.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::Launch;
use crate::tmpfs::Tmpfs;

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
    /// By member; empty if calls are to fail.
    small: Vec<Tmpfs>,
}

/// Holds what a member of the tests needs a few times over, sled and a copy of it included.
const SMALL_DISK_BYTES: u64 = 96 << 20;

impl Disks {
    /// A small file system for each of `members`, whose only trouble can be that it is full. Only inside
    /// [`in_own_namespace`](crate::tmpfs::in_own_namespace).
    pub fn small(directory: &Path, members: usize) -> Disks {
        let mount = |member: usize| {
            Tmpfs::mount(&directory.join(format!("node-{}", member + 1)), SMALL_DISK_BYTES)
        };
        Disks { directory: directory.to_path_buf(), small: (0..members).map(mount).collect() }
    }

    /// Compiles the shim into `directory`. Needs a C compiler.
    pub fn new(directory: &Path) -> Disks {
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", SOURCE, "-ldl", "-o"])
            .arg(directory.join("disk.so"))
            .output()
            .expect("this test compiles C with `cc`: run `apt-get install gcc`");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{SOURCE} does not compile:\n{said}");
        Disks { directory: directory.to_path_buf(), small: Vec::new() }
    }

    /// Runs members of `program` on these disks.
    pub fn launch(&self, program: &'static str) -> Launch {
        let directory = self.directory.clone();
        let is_small = !self.small.is_empty();
        Box::new(move |member| {
            let mut command = Command::new(program);
            if is_small {
                return command;
            }
            command.env("LD_PRELOAD", directory.join("disk.so"));
            command.env("DISK_SHIM", file(&directory, member));
            command
        })
    }

    /// From the next call on.
    pub fn set(&self, member: usize, trouble: Trouble) {
        if let Some(disk) = self.small.get(member) {
            return match trouble {
                Trouble::None => disk.clear(),
                Trouble::Full => disk.fill(),
                Trouble::Slow { .. } | Trouble::Broken => {
                    panic!("a small disk is never {trouble:?}")
                }
            };
        }
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
