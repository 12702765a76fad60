//! Somebody at a member's port who does not keep to the protocol, or keeps to it and lies.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use libraft::ids::Uuid;
use libraft::replica::PeerIdentity;
use libraft::wire::{handshake, FrameReader, Hello, Intent, Introduction, Refuse, Welcome};

/// How long a member may take to answer or to hang up.
const PATIENCE: Duration = Duration::from_secs(20);
const FRAME_BYTES_MAX: usize = 1 << 20;

pub struct Attacker {
    stream: TcpStream,
}

impl Attacker {
    pub fn connect(address: &str) -> Attacker {
        let stream = TcpStream::connect(address).expect("the member listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout above zero can be set");
        Attacker { stream }
    }

    /// Connects and introduces itself, to whomever is there.
    pub fn introduced(address: &str, own: &Introduction) -> Attacker {
        let mut attacker = Attacker::connect(address);
        let welcome = attacker.introduce(&Hello::new(own.clone(), Intent::Messages, anybody()));
        assert!(welcome.is_ok(), "{address} refuses {own:?}: {welcome:?}");
        attacker
    }

    /// What the member there says of itself.
    pub fn ask(address: &str, own: &Introduction) -> Introduction {
        let hello = Hello::new(own.clone(), Intent::Identity, anybody());
        Attacker::connect(address).introduce(&hello).expect("a question is answered").introduction
    }

    pub fn introduce(&mut self, hello: &Hello) -> Result<Welcome, Refuse> {
        self.send(&hello.encode());
        let mut reader = FrameReader::new(FRAME_BYTES_MAX);
        loop {
            if let Some(frame) = reader.next_frame().expect("a member sends whole frames") {
                return handshake::decode_answer(&frame).expect("a member sends valid answers");
            }
            let mut buffer = [0; 4096];
            let count = self.stream.read(&mut buffer).expect("the member answers a hello");
            assert!(count > 0, "the member hung up without an answer");
            reader.buffer_with_room().extend_from_slice(&buffer[..count]);
        }
    }

    /// Says something. The member may have hung up already, which it may.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Waits until the member has hung up; panics if it does not.
    pub fn is_dropped(mut self, what: &str) {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => match error.kind() {
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => return,
                    ErrorKind::Interrupted => {}
                    _ => panic!("{what}: the connection is still there: {error}"),
                },
            }
        }
    }
}

/// An introduction of nobody in particular.
pub fn stranger(cluster: &str, node_id: u64) -> Introduction {
    Introduction {
        cluster: cluster.to_string(),
        identity: PeerIdentity { node_id, incarnation: Uuid([9; 16]) },
        boot_counter: 1,
        position: 1,
        advertised_address: String::new(),
        frame_bytes_max: FRAME_BYTES_MAX,
    }
}

fn anybody() -> PeerIdentity {
    PeerIdentity { node_id: 0, incarnation: Uuid::NIL }
}
