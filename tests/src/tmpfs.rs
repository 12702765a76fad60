//! Small file systems in memory, one for each member, in a mount namespace that only the test sees.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::dies_with_parent;

/// Set in the process that runs inside the namespace.
const INSIDE: &str = "LIBRAFT_TESTS_MOUNT_NAMESPACE";

/// Ways to a mount namespace: the first for who may have one as he is, the second for who may not.
const WAYS: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];

/// Runs `test`, whose name among the tests of this program is `name`, in a namespace of its own: in a process that
/// exists for it alone. Needs no privileges where the system lets everybody have namespaces; where it lets nobody, as in
/// most containers, it says so, and the test is not run.
pub fn in_own_namespace(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let Some(mut command) = WAYS.into_iter().find_map(unshare) else {
        eprintln!("{name} is not run: this system gives nobody a mount namespace");
        return;
    };
    command.arg(std::env::current_exe().expect("a test knows its program"));
    command.args(["--exact", name, "--nocapture", "--test-threads", "1"]).env(INSIDE, "1");
    dies_with_parent(&mut command);
    let output = command.output().expect("it ran a moment ago");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{name}, in a mount namespace:\n{said}"
    );
}

/// What runs a program in a namespace where it may mount, if this way leads there.
fn unshare(way: &[&str]) -> Option<Command> {
    let command = || {
        let mut command = Command::new("unshare");
        command.args(way).args(["--propagation", "private", "--kill-child"]);
        command
    };
    let mut trial = command();
    trial.args(["mount", "-t", "tmpfs", "libraft-tests", "."]);
    let output = trial.output().expect("`unshare` runs: apt-get install util-linux");
    output.status.success().then(command)
}

/// A file system, which is gone with the namespace at the latest.
pub struct Tmpfs {
    /// What is mounted, and where.
    places: [PathBuf; 2],
    /// What fills it: beside the folder that a member sees.
    ballast: PathBuf,
}

impl Tmpfs {
    /// Makes `folder` one of a file system of so many bytes.
    pub fn mount(folder: &Path, bytes: u64) -> Tmpfs {
        let root = folder.with_extension("disk");
        let data = root.join("data");
        fs::create_dir_all(&root).expect("the place to mount at is made");
        mount(&["-t", "tmpfs", "-o", &format!("size={bytes}"), "libraft-tests"], &root);
        fs::create_dir(&data).expect("the new file system can be written");
        fs::create_dir_all(folder).expect("the place to mount at is made");
        mount(&["--bind", &data.to_string_lossy()], folder);
        Tmpfs { ballast: root.join("ballast"), places: [folder.to_path_buf(), root] }
    }

    /// Takes all space that is left.
    pub fn fill(&self) {
        let ballast = OpenOptions::new().create(true).append(true).open(&self.ballast);
        let ballast = ballast.expect("the ballast is made");
        let mut length = ballast.metadata().expect("the ballast is there").len();
        let mut step: u64 = 1 << 30;
        while step >= 4096 {
            // SAFETY: takes no pointers, and the descriptor is open as long as `ballast`.
            match unsafe { libc::fallocate64(ballast.as_raw_fd(), 0, length as i64, step as i64) } {
                0 => length += step,
                _ => {
                    let error = io::Error::last_os_error();
                    assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
                    step /= 2;
                }
            }
        }
    }

    pub fn clear(&self) {
        match fs::remove_file(&self.ballast) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                panic!("the ballast stays: {error}")
            }
            _ => {}
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        for place in &self.places {
            // What is still in use goes with the namespace.
            let _ = Command::new("umount").arg(place).status();
        }
    }
}

fn mount(arguments: &[&str], at: &Path) {
    let output = Command::new("mount").args(arguments).arg(at).output();
    let output = output.expect("`mount` runs: apt-get install mount");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nothing can be mounted at {}: {said}", at.display());
}
