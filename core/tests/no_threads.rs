//! A system that starts no more threads.

mod support;

use libraft::{Code, Node, NodeOptions};
use support::{cluster, node_options, propose, Behaviour, Folder};

/// Limits the address space of this process, and so the stacks of its threads; `None` lifts the limit.
fn limit_memory(bytes: Option<u64>) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct is valid for writing and for reading.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_AS, &mut limit), 0);
        limit.rlim_cur = bytes.unwrap_or(limit.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &limit), 0);
    }
}

fn address_space_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn an_open_that_gets_no_threads_says_so_and_leaves_the_directory_free() {
    let folder = Folder::new();
    // Far more stacks than the memory that is allowed.
    let options = NodeOptions { apply_threads: 1024, ..node_options(&folder, 1) };
    limit_memory(Some(address_space_bytes() + (768 << 20)));
    let opened = Node::open(options);
    limit_memory(None);
    let error = opened.err().expect("there is no memory for so many threads");
    assert_eq!(error.code, Code::Io);
    assert!(error.message.contains("libraft-apply"), "{}", error.message);
    let members = cluster(&folder, 1, |_| Behaviour::default());
    propose(&members[0].group, "x").unwrap();
    members[0].node.close().unwrap();
}
