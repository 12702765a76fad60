//! The floor: what one replicated, durable write costs on this machine without any consensus.
//!
//! A bare replicator overwrites a block of a file that was written before and syncs it, while two peers (processes,
//! over TCP) do the same with what they are sent. A write is done at the own sync and the first answer.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::child::Process;
use super::histogram::Histogram;
use super::Outcome;

const BLOCK: usize = 4096;
const BLOCKS: u64 = 4096;

/// The median of one replicated write in microseconds.
pub fn measure_p50_us(directory: &Path, seconds: f64) -> Outcome<f64> {
    let file = written_file(&directory.join("floor-0"))?;
    let mut processes = Vec::new();
    let mut peers = Vec::new();
    for number in ["1", "2"] {
        let path = directory.join(format!("floor-{number}"));
        let path = path.to_str().ok_or("the directory's name is not UTF-8")?;
        let mut process = Process::start(&["bench-floor-peer", path])?;
        let stream = TcpStream::connect(process.hear()?)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        peers.push(Peer { stream, answered: 0 });
        processes.push(process);
    }
    let mut histogram = Histogram::new();
    let started = Instant::now();
    let warm_up = Duration::from_secs_f64(seconds / 4.0);
    let end = Duration::from_secs_f64(seconds) + warm_up;
    let mut number = 0;
    while started.elapsed() < end {
        let begun = Instant::now();
        replicate(&file, &mut peers, number)?;
        number += 1;
        if started.elapsed() > warm_up {
            histogram.record(begun.elapsed().as_nanos() as u64);
        }
    }
    drop(peers);
    for process in processes {
        process.finish()?;
    }
    Ok(histogram.quantile_us(0.5))
}

struct Peer {
    stream: TcpStream,
    /// Answers received.
    answered: u64,
}

/// Writes block `number` here and at the peers; returns once it is durable here and at one of them.
fn replicate(file: &File, peers: &mut [Peer], number: u64) -> Outcome<()> {
    let block = [number as u8; BLOCK];
    for peer in peers.iter_mut() {
        write_all(&mut peer.stream, &block)?;
    }
    file.write_all_at(&block, number % BLOCKS * BLOCK as u64)?;
    file.sync_data()?;
    let mut answers = [0; 256];
    loop {
        for peer in peers.iter_mut() {
            match peer.stream.read(&mut answers) {
                Ok(0) => return Err("a peer of the floor measurement is gone".into()),
                Ok(count) => peer.answered += count as u64,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        if peers.iter().any(|peer| peer.answered > number) {
            return Ok(());
        }
        wait_readable(peers)?;
    }
}

/// Writes to a socket that does not block: the slower peer may be blocks behind.
fn write_all(stream: &mut TcpStream, mut bytes: &[u8]) -> Outcome<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                poll(&mut [poll_entry(stream, libc::POLLOUT)])?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn wait_readable(peers: &[Peer]) -> Outcome<()> {
    let mut entries: Vec<libc::pollfd> =
        peers.iter().map(|peer| poll_entry(&peer.stream, libc::POLLIN)).collect();
    poll(&mut entries)
}

fn poll_entry(stream: &TcpStream, events: i16) -> libc::pollfd {
    use std::os::fd::AsRawFd;
    libc::pollfd { fd: stream.as_raw_fd(), events, revents: 0 }
}

fn poll(entries: &mut [libc::pollfd]) -> Outcome<()> {
    // SAFETY: the pointer and the count describe the slice.
    let found = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, 10_000) };
    match found {
        0 => Err("a peer of the floor measurement does not answer".into()),
        n if n < 0 => Err(std::io::Error::last_os_error().into()),
        _ => Ok(()),
    }
}

/// The body of a peer process: syncs every block it receives, and answers with one byte.
pub fn run_peer(arguments: &[String]) -> Outcome<()> {
    let path = arguments.first().ok_or("bench-floor-peer needs a file")?;
    let file = written_file(Path::new(path))?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut block = [0; BLOCK];
    let mut number = 0;
    while stream.read_exact(&mut block).is_ok() {
        file.write_all_at(&block, number % BLOCKS * BLOCK as u64)?;
        file.sync_data()?;
        if stream.write_all(&[1]).is_err() {
            break;
        }
        number += 1;
    }
    Ok(())
}

/// A file whose blocks were all written before, so that syncing an overwrite needs no metadata.
fn written_file(path: &Path) -> Outcome<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    let zeroes = vec![0; BLOCK];
    for number in 0..BLOCKS {
        file.write_all_at(&zeroes, number * BLOCK as u64)?;
    }
    file.sync_all()?;
    Ok(file)
}
