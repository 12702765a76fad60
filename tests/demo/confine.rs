//! Puts the source tree out of a process's reach, so that what the process knows can only come from
//! its own data.
//!
//! Landlock does it without privileges (Linux 5.19 and newer); a mount namespace of the process's
//! own, in which an empty file system covers the tree, does it elsewhere.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

/// How a tree is put out of reach.
pub enum Confinement {
    Landlock { ruleset: OwnedFd, probe: CString },
    MountNamespace { tree: CString, probe: CString },
}

// From <linux/landlock.h>.
const ACCESS_READ_FILE: u64 = 1 << 2;
const ACCESS_READ_DIR: u64 = 1 << 3;
/// Moving a file to another folder; always denied unless it is granted.
const ACCESS_REFER: u64 = 1 << 13;
const ACCESS: u64 = ACCESS_READ_FILE | ACCESS_READ_DIR | ACCESS_REFER;
const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;
/// The first version of Landlock that knows `ACCESS_REFER`.
const LANDLOCK_ABI_MIN: i64 = 2;

#[repr(C)]
struct RulesetAttributes {
    handled_access_fs: u64,
}

#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// Where a program finds its libraries and the kernel's own files.
const SYSTEM: &[&str] =
    &["/bin", "/dev", "/etc", "/lib", "/lib64", "/nix", "/proc", "/sys", "/usr"];

impl Confinement {
    /// The ways that this machine may have, the best first. `probe` is a file of `tree`; `own` is
    /// the only folder below
    /// `tree` that stays within reach.
    pub fn candidates(tree: &Path, probe: &Path, own: &Path) -> Vec<Confinement> {
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
        let mut candidates = Vec::new();
        let system: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
        if !system.iter().any(|folder| tree.starts_with(folder)) {
            if let Ok(ruleset) = landlock_ruleset(&system, own) {
                candidates.push(Confinement::Landlock { ruleset, probe: text(probe) });
            }
        }
        candidates.push(Confinement::MountNamespace { tree: text(tree), probe: text(probe) });
        candidates
    }

    pub fn name(&self) -> &'static str {
        match self {
            Confinement::Landlock { .. } => "Landlock",
            Confinement::MountNamespace { .. } => "a mount namespace",
        }
    }

    /// Confines the calling process, whose working directory must be the folder it keeps, and makes
    /// sure that it worked. Only makes system calls: it runs between fork and exec.
    pub fn enter(&self) -> io::Result<()> {
        let probe = match self {
            Confinement::Landlock { ruleset, probe } => {
                // SAFETY: a system call without pointers.
                checked(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into())?;
                // SAFETY: a system call without pointers; the descriptor is a ruleset.
                let result = unsafe {
                    libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0)
                };
                checked(result)?;
                probe
            }
            Confinement::MountNamespace { tree, probe } => {
                cover(tree)?;
                probe
            }
        };
        // SAFETY: `probe` ends with a zero byte; the descriptor is not used.
        if unsafe { libc::open(probe.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) } >= 0 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(())
    }
}

fn landlock_ruleset(system: &[PathBuf], own: &Path) -> io::Result<OwnedFd> {
    // SAFETY: with this flag the call takes no attributes and returns a version.
    let version = unsafe {
        let none = ptr::null::<RulesetAttributes>();
        libc::syscall(libc::SYS_landlock_create_ruleset, none, 0, CREATE_RULESET_VERSION)
    };
    if checked(version)? < LANDLOCK_ABI_MIN {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let attributes = RulesetAttributes { handled_access_fs: ACCESS };
    // SAFETY: the attributes live and have the length given; the result is a descriptor nobody else
    // owns.
    let ruleset = unsafe {
        let size = size_of::<RulesetAttributes>();
        let fd = checked(libc::syscall(libc::SYS_landlock_create_ruleset, &attributes, size, 0))?;
        OwnedFd::from_raw_fd(fd as i32)
    };
    for folder in system.iter().map(PathBuf::as_path).chain([own]) {
        let folder = match File::open(folder) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let rule = PathBeneath { allowed_access: ACCESS, parent_fd: folder.as_raw_fd() };
        // SAFETY: the rule and both descriptors live during the call.
        checked(unsafe {
            let ruleset = ruleset.as_raw_fd();
            libc::syscall(libc::SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0)
        })?;
    }
    Ok(ruleset)
}

/// Enters a mount namespace and mounts an empty file system over `tree`. The working directory
/// stays what it was.
fn cover(tree: &CString) -> io::Result<()> {
    // SAFETY: system calls on this process; all strings end with a zero byte.
    unsafe {
        if libc::unshare(libc::CLONE_NEWNS) != 0 {
            checked(libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS).into())?;
        }
        let (root, none) = (c"/".as_ptr(), ptr::null());
        let private = libc::MS_REC | libc::MS_PRIVATE;
        checked(libc::mount(none, root, none, private, ptr::null()).into())?;
        let kind = c"tmpfs".as_ptr();
        checked(libc::mount(kind, tree.as_ptr(), kind, libc::MS_RDONLY, ptr::null()).into())?;
    }
    Ok(())
}

fn checked(result: i64) -> io::Result<i64> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    /// Whether `cat` can read `path` under this confinement; None if the confinement cannot be
    /// entered here.
    fn can_read(confinement: Confinement, own: &Path, path: &Path) -> Option<bool> {
        let mut command = Command::new("cat");
        command.arg(path).current_dir(own);
        // SAFETY: `enter` only makes system calls.
        unsafe { command.pre_exec(move || confinement.enter()) };
        command.output().ok().map(|output| output.status.success())
    }

    #[test]
    fn a_confined_process_reads_its_own_folder_and_nothing_else_of_the_tree() {
        let tree = std::env::temp_dir().join(format!("confine-{}", std::process::id()));
        let own = tree.join("own");
        fs::create_dir_all(&own).unwrap();
        let tree = tree.canonicalize().unwrap();
        let own = own.canonicalize().unwrap();
        let (secret, mine) = (tree.join("secret"), own.join("mine"));
        fs::write(&secret, "secret").unwrap();
        fs::write(&mine, "mine").unwrap();

        let ways = Confinement::candidates(&tree, &secret, &own).len();
        for way in 0..ways {
            let confinement = || Confinement::candidates(&tree, &secret, &own).swap_remove(way);
            let name = confinement().name();
            match can_read(confinement(), &own, Path::new("mine")) {
                None => println!("{name} is not to be had here"),
                Some(own_file) => {
                    assert!(own_file, "{name} hides the process's own folder");
                    let found = can_read(confinement(), &own, &secret);
                    assert_eq!(found, Some(false), "{name} lets the process read the tree");
                }
            }
        }
        fs::remove_dir_all(&tree).unwrap();
    }
}
