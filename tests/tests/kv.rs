//! `examples/c/kv.c`, alone: values of any bytes, clean errors, and a state that outlives the
//! process. What it does as one of four is the business of `make demo`.

#[path = "../demo/client.rs"]
#[allow(dead_code, reason = "the demo uses all of it")]
mod client;

/// What `client` needs of the demo beside it.
mod checkout {
    pub type Hash = Vec<u8>;
    pub fn hash(content: &[u8]) -> Hash {
        content.to_vec()
    }
}

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::{Client, RequestError};
use libraft_tests::c_program::{checkout as root, compile, empty_folder};
use libraft_tests::process::Process;

const PATIENCE: Duration = Duration::from_secs(30);

struct Kv {
    process: Process,
    address: SocketAddr,
}

impl Kv {
    /// Starts a group of one, and returns when it serves clients.
    fn start(folder: &Path) -> Kv {
        let port = free_port();
        let directory = folder.join("data").display().to_string();
        let arguments = ["--node", "1", "--directory", &directory, "--listen", "127.0.0.1:0"]
            .into_iter()
            .chain(["--clients", &port.to_string(), "--member", "1=127.0.0.1:0"])
            .map(str::to_owned)
            .collect::<Vec<_>>();
        let program = folder.join("kv").display().to_string();
        let mut process = Process::start(&program, &arguments);
        loop {
            let line = process.hear(PATIENCE).expect("kv says that it serves clients");
            if line.contains("serves clients") {
                return Kv { process, address: SocketAddr::from(([127, 0, 0, 1], port)) };
            }
        }
    }

    fn client(&self) -> Client {
        Client::connect(self.address).expect("kv listens")
    }

    /// Asks it to end, which it must do in order.
    fn stop(self) {
        self.process.signal(libc::SIGTERM);
        let said = self.process.reap();
        assert_eq!(said.last().map(String::as_str), Some("kv: closed"), "{said:?}");
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its number").port()
}

fn built(name: &str) -> PathBuf {
    let folder = empty_folder(env!("CARGO_TARGET_TMPDIR"), name);
    compile(&root().join("examples/c/kv.c"), &folder.join("kv"));
    folder
}

/// The words of an error, which must be one.
fn refused<T>(result: Result<T, RequestError>) -> String {
    match result {
        Err(RequestError::Refused { message, .. }) => message,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("this should have been refused"),
    }
}

#[test]
fn values_of_any_bytes_come_back_as_they_were_also_after_a_restart() {
    let folder = built("kv-values");
    let kv = Kv::start(&folder);
    let mut client = kv.client();
    let all_bytes: Vec<u8> = (0..=255).cycle().take(700_000).collect();
    let values: [(&str, &[u8]); 5] = [
        ("empty", b""),
        ("line breaks", b"\n\r\n\0\nget empty\n"),
        ("a key with spaces", b"x"),
        ("large", &all_bytes),
        ("gone", b"y"),
    ];
    for (key, value) in values {
        client.put(key, value).expect("put");
    }
    let first = client.put("empty", b"no longer").expect("put");
    let second = client.put("empty", b"").expect("put");
    assert!(second > first, "indexes ascend");
    client.order("del gone").expect("del");
    drop(client);
    kv.stop();

    let kv = Kv::start(&folder);
    let mut client = kv.client();
    for (key, value) in &values[..4] {
        assert_eq!(client.get(key).expect("get").as_deref(), Some(*value), "{key}");
    }
    assert_eq!(client.get("gone").expect("get"), None);
    let dump = client.dump(second).expect("dump");
    let keys: Vec<&str> = dump.hashes.keys().map(String::as_str).collect();
    assert_eq!(keys, ["a key with spaces", "empty", "large", "line breaks"]);
    assert_eq!(dump.hashes["large"], all_bytes);
    kv.stop();
    fs::remove_dir_all(folder).expect("to clean up");
}

fn assert_refusal(result: Result<(), RequestError>, expected: &str) {
    let words = refused(result);
    assert!(words.starts_with(expected), "{words}");
}

#[test]
fn requests_that_make_no_sense_are_refused_and_the_next_is_served() {
    let folder = built("kv-errors");
    let kv = Kv::start(&folder);
    let mut client = kv.client();
    // Once something is applied there is a leader, which is who knows what to say of members.
    client.put("key", b"value").expect("put");
    assert!(refused(client.order("brew coffee")).contains("there are get, put"));
    assert_refusal(client.order("get"), "INVALID_ARGUMENT rejected final");
    assert_refusal(client.order("transfer 9"), "UNKNOWN_MEMBER rejected final");
    assert_refusal(client.order("promote 9"), "UNKNOWN_MEMBER rejected final");
    assert_refusal(client.order("remove 1"), "MEMBERSHIP_INVALID rejected final");
    assert_eq!(client.status().expect("status").number("keys").expect("keys"), 1);

    // Where the value of such a request ends cannot be known: the connection ends with the answer.
    let mut stream = TcpStream::connect(kv.address).expect("kv listens");
    stream.write_all(b"put 99999999999 key\n").expect("write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer and the end");
    assert!(answer.starts_with("error INVALID_ARGUMENT rejected final usage: put"), "{answer}");

    // A client that leaves in the middle of a value leaves nothing behind.
    let mut stream = TcpStream::connect(kv.address).expect("kv listens");
    stream.write_all(b"put 1000 half\nhalf of it").expect("write");
    drop(stream);
    assert_eq!(client.get("half").expect("get"), None);
    kv.stop();
    fs::remove_dir_all(folder).expect("to clean up");
}
