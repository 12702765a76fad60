//! A client of the line protocol of `examples/c/kv.c`.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::checkout::{hash, Hash};

/// Longer than any call of the library may take with its default timeouts.
const REPLY_TIMEOUT: Duration = Duration::from_secs(45);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const REPLY_LINE_BYTES_MAX: u64 = 64 << 10;
const VALUE_BYTES_MAX: usize = 16 << 20;

/// Why a request brought no answer.
#[derive(Debug)]
pub enum RequestError {
    /// The connection broke: the process was killed, or is not there (yet).
    Broken(io::Error),
    /// The node answered with an error of the library. `repeatable`: the same put can succeed
    /// later.
    Refused { repeatable: bool, message: String },
}

impl std::fmt::Display for RequestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RequestError::Broken(error) => write!(f, "the connection broke: {error}"),
            RequestError::Refused { message, .. } => write!(f, "the node answered: {message}"),
        }
    }
}

impl From<io::Error> for RequestError {
    fn from(error: io::Error) -> RequestError {
        RequestError::Broken(error)
    }
}

type RequestResult<T> = Result<T, RequestError>;

pub struct Client {
    stream: BufReader<TcpStream>,
}

/// A node's own state at one index.
pub struct Dump {
    pub applied_index: u64,
    pub hashes: BTreeMap<String, Hash>,
}

/// The `name=value` pairs of a status line.
pub struct Status(HashMap<String, String>);

impl Status {
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub fn number(&self, name: &str) -> RequestResult<u64> {
        self.text(name)
            .parse()
            .map_err(|_| malformed(&format!("the status has no number called {name}")))
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> RequestResult<Client> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    /// Returns the index of the entry that holds the change.
    pub fn put(&mut self, key: &str, value: &[u8]) -> RequestResult<u64> {
        let mut request = format!("put {} {key}\n", value.len()).into_bytes();
        request.extend_from_slice(value);
        request.push(b'\n');
        let reply = self.request(&request)?;
        parse(reply.strip_prefix("ok ").unwrap_or(""))
    }

    /// A linearizable read.
    pub fn get(&mut self, key: &str) -> RequestResult<Option<Vec<u8>>> {
        let reply = self.request(format!("get {key}\n").as_bytes())?;
        match reply.strip_prefix("value ") {
            Some(length) => Ok(Some(self.bytes(parse(length)?)?)),
            None if reply == "none" => Ok(None),
            None => Err(malformed(&reply)),
        }
    }

    pub fn status(&mut self) -> RequestResult<Status> {
        let reply = self.request(b"status\n")?;
        let pairs = reply.split(' ').filter_map(|pair| pair.split_once('='));
        Ok(Status(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }

    /// The members as (node id, role).
    pub fn members(&mut self) -> RequestResult<Vec<(u64, String)>> {
        let reply = self.request(b"members\n")?;
        let count: u64 = parse(reply.strip_prefix("members ").unwrap_or(""))?;
        (0..count)
            .map(|_| {
                let line = self.line()?;
                let mut words = line.split(' ');
                let node_id = parse(words.next().unwrap_or(""))?;
                Ok((node_id, words.next().unwrap_or("").to_owned()))
            })
            .collect()
    }

    /// The node's own state once it has applied `index`.
    pub fn dump(&mut self, index: u64) -> RequestResult<Dump> {
        let reply = self.request(format!("dump {index}\n").as_bytes())?;
        let (applied, count) =
            reply.strip_prefix("dump ").and_then(|rest| rest.split_once(' ')).unwrap_or(("", ""));
        let applied_index = parse(applied)?;
        let count: u64 = parse(count)?;
        let mut hashes = BTreeMap::new();
        for _ in 0..count {
            let line = self.line()?;
            let (length, key) = line.split_once(' ').ok_or_else(|| malformed(&line))?;
            let value = self.bytes(parse(length)?)?;
            hashes.insert(key.to_owned(), hash(&value));
        }
        Ok(Dump { applied_index, hashes })
    }

    /// A request that is answered by a line beginning with `ok`.
    pub fn order(&mut self, line: &str) -> RequestResult<()> {
        let reply = self.request(format!("{line}\n").as_bytes())?;
        if reply.starts_with("ok") {
            Ok(())
        } else {
            Err(malformed(&reply))
        }
    }

    fn request(&mut self, request: &[u8]) -> RequestResult<String> {
        self.stream.get_mut().write_all(request)?;
        let reply = self.line()?;
        match reply.strip_prefix("error ") {
            // `error <code> <outcome> <retriable or final> <message>`
            Some(message) => Err(RequestError::Refused {
                repeatable: message
                    .split(' ')
                    .take(3)
                    .any(|word| word == "unknown" || word == "retriable"),
                message: message.to_owned(),
            }),
            None => Ok(reply),
        }
    }

    fn line(&mut self) -> RequestResult<String> {
        let mut line = String::new();
        (&mut self.stream).take(REPLY_LINE_BYTES_MAX).read_line(&mut line)?;
        if line.pop() != Some('\n') {
            return Err(RequestError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(line)
    }

    /// A value and the line break behind it.
    fn bytes(&mut self, length: u64) -> RequestResult<Vec<u8>> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > VALUE_BYTES_MAX {
            return Err(malformed(&format!("a value of {length} bytes")));
        }
        let mut value = vec![0; length + 1];
        self.stream.read_exact(&mut value)?;
        value.pop();
        Ok(value)
    }
}

fn parse(word: &str) -> RequestResult<u64> {
    word.parse().map_err(|_| malformed(word))
}

fn malformed(what: &str) -> RequestError {
    RequestError::Broken(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("this is not the line protocol: {what:?}"),
    ))
}
