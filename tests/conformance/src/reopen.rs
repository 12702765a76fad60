//! Opens a directory that a program left behind, and looks at what is in it.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use libraft::machine::{Apply, MachineError, Reply};
use libraft::{GroupOptions, InitialMember, Node, NodeOptions, StateMachine};
use libraft_conformance::ledger::Ledger;

use crate::Outcome;

/// Takes in what the log and the snapshot hold, whatever it is.
struct Reader(Arc<Mutex<Ledger>>);

impl StateMachine for Reader {
    fn apply(&mut self, request: Apply) {
        let mut ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in &request.entries {
            // A payload that asks for a failure did its work in the program that is gone.
            let _ = ledger.apply(entry.index, &entry.data);
        }
        request.reply.send(Ok(vec![Bytes::new(); request.entries.len()]));
    }

    fn save_snapshot(&mut self, _: Box<dyn Write + Send>, reply: Reply<()>) {
        reply.send(Err(MachineError::new("this one only reads")));
    }

    fn restore_snapshot(&mut self, mut reader: Box<dyn Read + Send>, reply: Reply<()>) {
        let mut bytes = Vec::new();
        let read = reader.read_to_end(&mut bytes).map_err(MachineError::from);
        reply.send(read.and_then(|_| {
            let ledger = Ledger::from_bytes(&bytes);
            let ledger = ledger.ok_or_else(|| MachineError::new("the snapshot is no ledger"))?;
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = ledger;
            Ok(())
        }));
    }
}

/// The ledger in a directory of the exit matrix.
pub fn reopen(directory: &Path) -> Outcome<Ledger> {
    let address = "127.0.0.1:0".to_string();
    let node = Node::open(NodeOptions {
        cluster: "exit".to_string(),
        node_id: 1,
        directory: directory.to_owned(),
        tick_ms: 20,
        ..NodeOptions::default()
    })?;
    let ledger = Arc::<Mutex<Ledger>>::default();
    let options = GroupOptions {
        group_id: 1,
        initial_members: vec![InitialMember { node_id: 1, address }],
        ..GroupOptions::default()
    };
    let group = node.start_group(options, Box::new(Reader(ledger.clone())))?;
    group.wait_ready(Duration::from_secs(60))?;
    node.close()?;
    let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(ledger)
}
