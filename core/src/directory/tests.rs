//! What a user of a data directory would notice, on the real file system.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;
use std::fs;
use std::io;

const INCARNATION: Uuid = Uuid([1; 16]);
const LATER_INCARNATION: Uuid = Uuid([2; 16]);

/// A folder of this test alone, deleted when it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("libraft-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(path: &Path) -> Result<Directory> {
    Directory::open(path, None, "orders", 7, INCARNATION)
}

fn error_of(result: Result<Directory>) -> Error {
    match result {
        Ok(_) => panic!("the directory was opened"),
        Err(error) => error,
    }
}

#[test]
fn a_missing_directory_is_made_and_an_existing_one_keeps_its_incarnation_and_counts_its_boots() {
    let scratch = Scratch::new("made");
    let path = scratch.path("deep/below");
    let directory = open(&path).unwrap();
    assert_eq!(directory.identity().boot_counter, 1);
    assert_eq!(directory.identity().incarnation, INCARNATION);
    assert!(directory.log_directory().is_dir());
    assert!(directory.snapshot_directory().is_dir());
    directory.release().unwrap();

    let again = Directory::open(&path, None, "orders", 7, LATER_INCARNATION).unwrap();
    assert_eq!(again.identity().boot_counter, 2);
    assert_eq!(again.identity().incarnation, INCARNATION);
    assert_eq!(again.identity().cluster, "orders");
    assert_eq!(again.identity().node_id, 7);
}

#[test]
fn a_second_node_of_the_same_process_is_kept_out_until_the_first_is_gone() {
    let scratch = Scratch::new("twice");
    let first = open(&scratch.path("node")).unwrap();
    let error = error_of(open(&scratch.path("node")));
    assert_eq!(error.code, Code::DirectoryInUse);
    assert!(error.message.contains("another node of this process"), "{error}");
    drop(first);
    assert_eq!(open(&scratch.path("node")).unwrap().identity().boot_counter, 2);
}

#[test]
fn two_nodes_are_kept_from_sharing_one_snapshot_directory() {
    let scratch = Scratch::new("shared");
    let snapshots = scratch.path("snapshots");
    let first =
        Directory::open(&scratch.path("1"), Some(&snapshots), "orders", 1, INCARNATION).unwrap();
    assert_eq!(first.snapshot_directory(), snapshots);
    let second =
        || Directory::open(&scratch.path("2"), Some(&snapshots), "orders", 2, LATER_INCARNATION);
    assert_eq!(error_of(second()).code, Code::DirectoryInUse);
    first.release().unwrap();
    let error = error_of(second());
    assert_eq!(error.code, Code::WrongIdentity);
    assert!(error.message.contains("node 1") && error.message.contains("node 2"), "{error}");
}

#[test]
fn snapshots_are_not_kept_where_the_node_deletes_files() {
    let scratch = Scratch::new("nested");
    let data = scratch.path("node");
    let with = |snapshots: &Path| {
        Directory::open(&data, Some(snapshots), "orders", 1, INCARNATION).map(Directory::release)
    };
    for inside in ["tmp", "log", "log/sled", "elsewhere", "snapshots/../tmp"] {
        let error = with(&data.join(inside)).unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument, "{inside}: {error}");
        assert!(error.message.contains("lies in the data directory"), "{error}");
    }
    let data = scratch.path("fresh");
    let with = |snapshots: &Path| {
        Directory::open(&data, Some(snapshots), "orders", 1, INCARNATION).map(Directory::release)
    };
    with(&data.join("snapshots")).unwrap().unwrap();
}

#[test]
fn a_directory_held_by_another_process_names_it_and_is_free_once_that_is_killed() {
    let scratch = Scratch::new("killed");
    let path = scratch.path("node");
    open(&path).unwrap().release().unwrap();
    // flock(1) takes the lock as another node would, and says so before it waits to be killed.
    let mut holder = Command::new("flock")
        .arg("--no-fork")
        .arg(path.join("lock"))
        .args(["sh", "-c", "echo $$ > \"$0\"; echo held; exec sleep 60"])
        .arg(path.join("lock"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 5];
    io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut line).unwrap();
    let error = error_of(open(&path));
    assert_eq!(error.code, Code::DirectoryInUse);
    assert!(error.message.contains(&format!("process {}", holder.id())), "{error}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(open(&path).unwrap().identity().boot_counter, 2);
}

#[test]
fn a_lock_that_is_a_link_is_refused_and_what_it_leads_to_is_left_alone() {
    let scratch = Scratch::new("linked");
    let path = scratch.path("node");
    fs::create_dir_all(&path).unwrap();
    fs::write(scratch.path("victim"), "precious").unwrap();
    std::os::unix::fs::symlink(scratch.path("victim"), path.join("lock")).unwrap();
    let error = error_of(open(&path));
    assert!(error.message.contains("lock: it is a symbolic link"), "{error}");
    assert_eq!(fs::read(scratch.path("victim")).unwrap(), b"precious");
}

#[test]
fn a_child_process_does_not_inherit_the_lock() {
    let scratch = Scratch::new("inherited");
    let path = scratch.path("node");
    let directory = open(&path).unwrap();
    // The program runs when `spawn` returns, so what is to be closed for it is closed.
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let descriptors = fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
    let open_files: Vec<PathBuf> =
        descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(open_files.iter().all(|file| !file.starts_with(&path)), "{open_files:?}");
    drop(directory);
}

#[test]
fn another_cluster_or_node_is_refused_with_both_names_and_changes_nothing() {
    let scratch = Scratch::new("foreign");
    let path = scratch.path("node");
    open(&path).unwrap().release().unwrap();
    let before = fs::read(path.join("identity")).unwrap();
    for (cluster, node_id) in [("billing", 7), ("orders", 8)] {
        let error = error_of(Directory::open(&path, None, cluster, node_id, INCARNATION));
        assert_eq!(error.code, Code::WrongIdentity);
        for name in ["node 7", "'orders'", &format!("node {node_id}"), cluster] {
            assert!(error.message.contains(name), "{error}");
        }
    }
    assert_eq!(fs::read(path.join("identity")).unwrap(), before);
}

#[test]
fn a_folder_with_somebody_elses_files_is_refused_and_left_as_it_is() {
    let scratch = Scratch::new("somebody");
    for file in ["report.txt", "tmp/report.txt", "log/00000001"] {
        let path = scratch.path("node");
        let _ = fs::remove_dir_all(&path);
        let file_path = path.join(file);
        fs::create_dir_all(file_path.parent().unwrap()).unwrap();
        fs::write(&file_path, "precious").unwrap();
        let error = error_of(open(&path));
        assert_eq!(error.code, Code::InvalidArgument);
        let name = file.rsplit('/').next().unwrap();
        assert!(error.message.contains(name), "{error}");
        assert_eq!(fs::read(&file_path).unwrap(), b"precious");
        assert!(!path.join("identity").exists());
    }
}

#[test]
fn a_snapshot_directory_whose_disk_is_not_mounted_is_noticed() {
    let scratch = Scratch::new("unmounted");
    let (path, snapshots) = (scratch.path("node"), scratch.path("snapshots"));
    let open = || Directory::open(&path, Some(&snapshots), "orders", 7, INCARNATION);
    open().unwrap().release().unwrap();
    fs::rename(&snapshots, scratch.path("elsewhere")).unwrap();
    fs::create_dir(&snapshots).unwrap();
    let error = error_of(open());
    assert_eq!(error.code, Code::WrongIdentity);
    assert!(error.message.contains("mounted"), "{error}");
}

#[test]
fn a_log_that_is_lost_or_not_mounted_keeps_the_node_from_starting() {
    let scratch = Scratch::new("amnesia");
    let path = scratch.path("node");
    open(&path).unwrap().release().unwrap();
    fs::remove_dir_all(path.join("log")).unwrap();
    for _ in 0..2 {
        let error = error_of(open(&path));
        assert_eq!(error.code, Code::WrongIdentity);
        assert!(error.message.contains(path.join("log").to_str().unwrap()), "{error}");
        assert!(error.message.contains("must not vote"), "{error}");
        let _ = fs::create_dir(path.join("log"));
    }
}

#[test]
fn a_log_of_another_node_is_refused() {
    let scratch = Scratch::new("mixed");
    let (one, two) = (scratch.path("1"), scratch.path("2"));
    Directory::open(&one, None, "orders", 1, INCARNATION).unwrap().release().unwrap();
    Directory::open(&two, None, "orders", 2, LATER_INCARNATION).unwrap().release().unwrap();
    fs::remove_dir_all(one.join("log")).unwrap();
    fs::rename(two.join("log"), one.join("log")).unwrap();
    let error = error_of(Directory::open(&one, None, "orders", 1, INCARNATION));
    assert_eq!(error.code, Code::WrongIdentity);
    assert!(error.message.contains("node 1") && error.message.contains("node 2"), "{error}");
}

#[test]
fn what_a_node_left_in_tmp_is_gone_after_the_next_opening() {
    let scratch = Scratch::new("tmp");
    let directory = open(&scratch.path("node")).unwrap();
    let folder = directory.temporary_directory().join("export");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("part"), "left over").unwrap();
    directory.release().unwrap();
    let again = open(&scratch.path("node")).unwrap();
    assert_eq!(fs::read_dir(again.temporary_directory()).unwrap().count(), 0);
}

#[test]
fn a_damaged_identity_stops_the_opening_with_file_and_offset() {
    let scratch = Scratch::new("damaged");
    let path = scratch.path("node");
    open(&path).unwrap().release().unwrap();
    let file = path.join("identity");
    let mut bytes = fs::read(&file).unwrap();
    bytes[20] ^= 1;
    fs::write(&file, bytes).unwrap();
    let error = error_of(open(&path));
    assert_eq!(error.code, Code::Corrupted);
    assert!(error.message.contains(file.to_str().unwrap()), "{error}");
    assert!(error.message.contains("at offset"), "{error}");
}

#[test]
fn a_directory_that_may_not_be_written_is_a_question_of_permission() {
    let scratch = Scratch::new("permission");
    let path = scratch.path("node");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o500)).unwrap();
    // The super-user may write anywhere, so the system is asked as somebody else would be.
    let code = if fs::write(path.join("probe"), "").is_ok() {
        fs::remove_file(path.join("probe")).unwrap();
        error_of(open(Path::new("/sys/libraft"))).code
    } else {
        error_of(open(&path)).code
    };
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(code, Code::PermissionDenied);
}

#[test]
fn a_claim_that_cannot_be_meant_is_refused() {
    let scratch = Scratch::new("claim");
    let path = scratch.path("node");
    let long = "x".repeat(CLUSTER_BYTES_MAX + 1);
    for (cluster, node_id, incarnation) in [
        ("", 7, INCARNATION),
        (long.as_str(), 7, INCARNATION),
        ("orders", 0, INCARNATION),
        ("orders", 7, Uuid::NIL),
    ] {
        let error = error_of(Directory::open(&path, None, cluster, node_id, incarnation));
        assert_eq!(error.code, Code::InvalidArgument);
    }
    assert!(!path.exists());
}
