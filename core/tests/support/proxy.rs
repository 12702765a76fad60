//! A line between two nodes that breaks.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Passes connections on, and cuts the first few that carry much. Ends when it is dropped.
pub struct Proxy {
    pub address: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    ended: AtomicBool,
    cuts: AtomicUsize,
    cuts_max: usize,
    cut_after_bytes: usize,
}

impl Proxy {
    /// Listens on `address` and passes on to `target`; the first `cuts_max` connections that carry `cut_after_bytes` end
    /// there.
    pub fn start(address: &str, target: &str, cuts_max: usize, cut_after_bytes: usize) -> Proxy {
        let listener = TcpListener::bind(address).expect("the address is free");
        let shared = Arc::new(Shared {
            ended: AtomicBool::new(false),
            cuts: AtomicUsize::new(0),
            cuts_max,
            cut_after_bytes,
        });
        let (target, of_thread) = (target.to_string(), shared.clone());
        let thread = std::thread::spawn(move || serve(&listener, &target, &of_thread));
        Proxy { address: address.to_string(), shared, thread: Some(thread) }
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the thread from its accept.
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, target: &str, shared: &Arc<Shared>) {
    for client in listener.incoming().flatten() {
        if shared.ended.load(Ordering::SeqCst) {
            return;
        }
        let Ok(server) = TcpStream::connect(target) else { continue };
        let (Ok(client_end), Ok(server_end)) = (client.try_clone(), server.try_clone()) else {
            continue;
        };
        let forth = shared.clone();
        std::thread::spawn(move || pass(client, server, Some(&forth)));
        std::thread::spawn(move || pass(server_end, client_end, None));
    }
}

/// Passes on what comes from one end, until it ends or is cut.
fn pass(mut from: TcpStream, mut to: TcpStream, cutting: Option<&Shared>) {
    let mut buffer = vec![0; 64 << 10];
    let mut passed = 0;
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        passed += count;
        let breaks = cutting.is_some_and(|shared| {
            let may_cut = passed >= shared.cut_after_bytes
                && shared.cuts.load(Ordering::SeqCst) < shared.cuts_max;
            may_cut && shared.cuts.fetch_add(1, Ordering::SeqCst) < shared.cuts_max
        });
        if breaks || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // Either may be closed already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
