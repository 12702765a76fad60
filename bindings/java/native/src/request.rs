//! Requests to a state machine that wait for their answer. Java knows them by number, and answers
//! each once.

use std::sync::Arc;

use bytes::Bytes;
use jni::objects::{JByteArray, JClass};
use jni::EnvUnowned;
use libraft::machine::{MachineError, MachineResult, Opened, PreparedSnapshot, Reply};

use crate::boundary;
use crate::flat::Reader;
use crate::machine::{read_answer, read_results, Bridge, Prepared};
use crate::snapshot::Stream;

pub enum Request {
    Open(Reply<Opened>),
    /// With the number of entries.
    Apply(usize, Reply<Vec<Bytes>>),
    Sync(Reply<()>),
    Prepare(Arc<Bridge>, Reply<Box<dyn PreparedSnapshot>>),
    /// A save or a restore, with the stream that Java uses until it answers.
    Stream(Box<Stream<'static>>, Reply<()>),
}

impl Request {
    pub fn into_number(self) -> u64 {
        boundary::into_pointer(self)
    }

    /// # Safety
    /// `number` came from [`Request::into_number`], and is taken for the first time.
    pub unsafe fn take(number: u64) -> Request {
        // SAFETY: as the caller's.
        *unsafe { boundary::take_back(number as i64) }
    }

    pub fn answer(self, answer: &[u8]) {
        match read_answer(answer) {
            Ok(data) => self.succeed(data),
            Err(error) => self.fail(error.message),
        }
    }

    pub fn fail(self, message: String) {
        let error = MachineError { message };
        match self {
            Request::Open(reply) => reply.send(Err(error)),
            Request::Apply(_, reply) => reply.send(Err(error)),
            Request::Prepare(_, reply) => reply.send(Err(error)),
            Request::Sync(reply) => reply.send(Err(error)),
            Request::Stream(stream, reply) => {
                drop(stream);
                reply.send(Err(error));
            }
        }
    }

    fn succeed(self, data: &[u8]) {
        match self {
            Request::Open(reply) => reply.send(read_opened(data)),
            Request::Apply(count, reply) => {
                let results = read_results(count, data);
                reply.send(results.map_err(|error| MachineError::new(error.message)));
            }
            Request::Prepare(bridge, reply) => {
                let view = Reader::new(data).long();
                let prepared = view.map(|view| -> Box<dyn PreparedSnapshot> {
                    Box::new(Prepared::new(bridge, view))
                });
                reply.send(prepared.map_err(|error| MachineError::new(error.message)));
            }
            Request::Sync(reply) => reply.send(Ok(())),
            Request::Stream(stream, reply) => {
                // The writer goes back to the library before it hears that all is written.
                drop(stream);
                reply.send(Ok(()));
            }
        }
    }
}

fn read_opened(data: &[u8]) -> MachineResult<Opened> {
    let mut reader = Reader::new(data);
    let read = |reader: &mut Reader| -> libraft::Result<Opened> {
        let applied_index = reader.long()?;
        Ok(Opened { applied_index, blob: Bytes::copy_from_slice(reader.bytes()?) })
    };
    read(&mut reader).map_err(|error| MachineError::new(error.message))
}

/// Answers a request that the bridge had kept.
#[no_mangle]
pub extern "system" fn Java_io_libraft_MachineBridge_answer<'local>(
    env: EnvUnowned<'local>,
    _class: JClass<'local>,
    request: i64,
    answer: JByteArray<'local>,
) {
    boundary::run(env, |env| {
        let answer = boundary::read_array(env, &answer);
        // SAFETY: the bridge answers every request that it kept once.
        let request = unsafe { Request::take(request as u64) };
        match &answer {
            Ok(answer) => request.answer(answer),
            Err(error) => request.fail(format!("the answer could not be read: {error}")),
        }
        answer.map(|_| ())
    });
}
