//! The floor: what one replicated, durable write costs on this machine without any consensus.
//!
//! A bare replicator overwrites blocks of a file that was written before, as many as the payload fills, and syncs them,
//! while two peers (processes, over TCP) do the same with what they are sent. A write is done at the own sync and the
//! first answer.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::child::Process;
use super::histogram::Histogram;
use super::Outcome;

const BLOCK_BYTES: usize = 4096;
const FILE_BYTES: usize = 16 << 20;

/// The median of one replicated write of `bytes` in microseconds.
pub fn measure_p50_us(directory: &Path, bytes: usize, seconds: f64) -> Outcome<f64> {
    let mut blocks = Blocks::new(&directory.join("floor-0"), bytes)?;
    let bytes = bytes.to_string();
    let mut processes = Vec::new();
    let mut peers = Vec::new();
    for number in ["1", "2"] {
        let path = directory.join(format!("floor-{number}"));
        let path = path.to_str().ok_or("the directory's name is not UTF-8")?;
        let mut process = Process::start(&["bench-floor-peer", path, &bytes])?;
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
        replicate(&mut blocks, &mut peers, number)?;
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

/// Makes write `number` here and at the peers; returns once it is durable here and at one of them.
fn replicate(blocks: &mut Blocks, peers: &mut [Peer], number: u64) -> Outcome<()> {
    blocks.buffer.fill(number as u8);
    for peer in peers.iter_mut() {
        write_all(&mut peer.stream, &blocks.buffer)?;
    }
    blocks.write()?;
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
    let [path, bytes] = arguments else {
        return Err("bench-floor-peer needs a file and a number of bytes".into());
    };
    let mut blocks = Blocks::new(Path::new(path), bytes.parse()?)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    while stream.read_exact(&mut blocks.buffer).is_ok() {
        blocks.write()?;
        if stream.write_all(&[1]).is_err() {
            break;
        }
    }
    Ok(())
}

/// A file whose blocks were all written before, so that syncing an overwrite needs no metadata.
struct Blocks {
    file: File,
    /// What one write writes.
    buffer: Vec<u8>,
    position: usize,
}

impl Blocks {
    /// For writes of `bytes`, rounded up to whole blocks.
    fn new(path: &Path, bytes: usize) -> Outcome<Blocks> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(path)?;
        // Block by block: the system keeps what is written at once in large pieces, which are dearer to sync.
        for offset in (0..FILE_BYTES).step_by(BLOCK_BYTES) {
            file.write_all_at(&[0; BLOCK_BYTES], offset as u64)?;
        }
        file.sync_all()?;
        let buffer = vec![0; bytes.max(1).next_multiple_of(BLOCK_BYTES)];
        Ok(Blocks { file, buffer, position: 0 })
    }

    /// Writes the buffer over the next blocks, from the first again behind the last, and syncs it.
    fn write(&mut self) -> Outcome<()> {
        if self.position + self.buffer.len() > FILE_BYTES {
            self.position = 0;
        }
        self.file.write_all_at(&self.buffer, self.position as u64)?;
        self.position += self.buffer.len();
        Ok(self.file.sync_data()?)
    }
}
