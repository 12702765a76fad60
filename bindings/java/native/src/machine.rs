//! The program's state machine, behind `MachineBridge.java`: the one place where the library calls
//! Java.
//!
//! Every request is one call: `byte[] call(int kind, byte[] input, long request, long stream)`. It
//! answers with a zero and the answer's data, or with a one and the text of what went wrong; or
//! with null, and then later, by the native method `answer` and the number of the request.

use std::io::{Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use jni::ids::JMethodID;
use jni::objects::{JByteArray, JObject};
use jni::refs::Global;
use jni::signature::ReturnType;
use jni::sys::jvalue;
use jni::{jni_sig, jni_str, Env};
use libraft::machine::{
    Apply, MachineError, MachineKind, MachineResult, Opened, PreparedSnapshot, Reply,
};
use libraft::{Code, Error, StateMachine};

use crate::attach;
use crate::boundary::{self, Trouble};
use crate::flat::{Reader, Writer};
use crate::request::Request;
use crate::snapshot::Stream;

/// What is asked, as in `MachineBridge.java`.
#[derive(Clone, Copy)]
#[repr(i32)]
pub enum Kind {
    Open = 1,
    Apply = 2,
    Sync = 3,
    Prepare = 4,
    Save = 5,
    SavePrepared = 6,
    Restore = 7,
    Release = 8,
    Destroy = 9,
}

/// The bridge to the program's object. Machines, requests and prepared snapshots share it; the
/// program's `destroy` comes after the last of them.
pub struct Bridge {
    object: Global<JObject<'static>>,
    call: JMethodID,
}

/// What the bridge answered.
pub enum Called {
    Answered(Vec<u8>),
    /// It will answer later, and owns the request.
    Pending,
    /// Java could not even be called.
    Broken(String),
}

impl Bridge {
    pub fn call(&self, kind: Kind, input: &[u8], request: u64, stream: u64) -> Called {
        attach::with_env(|env| self.call_with(env, kind, input, request, stream)).unwrap_or_else(
            |error| Called::Broken(format!("the state machine could not be called: {error}")),
        )
    }

    fn call_with(
        &self,
        env: &mut Env,
        kind: Kind,
        input: &[u8],
        request: u64,
        stream: u64,
    ) -> jni::errors::Result<Called> {
        let input = boundary::new_array(env, input);
        let input = caught(env, input)?;
        let arguments = [
            jvalue { i: kind as i32 },
            jvalue { l: input.as_raw() },
            jvalue { j: request as i64 },
            jvalue { j: stream as i64 },
        ];
        // SAFETY: the method was looked up in the object's class, with these arguments and this
        // type.
        let answer = unsafe {
            env.call_method_unchecked(&self.object, self.call, ReturnType::Array, &arguments)
        };
        let answer = caught(env, answer)?.l()?;
        if answer.is_null() {
            return Ok(Called::Pending);
        }
        // SAFETY: the method returns a `byte[]`; the reference belongs to this frame and is not
        // used otherwise.
        let answer = unsafe { JByteArray::from_raw(env, answer.into_raw()) };
        boundary::read_array(env, &answer).map(Called::Answered)
    }
}

/// A pending exception must not meet the next call into Java: it is taken out, and becomes the
/// error.
fn caught<T>(env: &Env, result: jni::errors::Result<T>) -> jni::errors::Result<T> {
    match result {
        Err(jni::errors::Error::JavaException) => {
            env.exception_catch()?;
            result
        }
        result => result,
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // The bridge catches and logs what the program throws.
        self.call(Kind::Destroy, &[], 0, 0);
    }
}

pub struct JavaMachine {
    bridge: Arc<Bridge>,
    kind: MachineKind,
    quick: bool,
}

impl JavaMachine {
    pub fn new(
        env: &mut Env,
        object: &JObject,
        kind: i32,
        quick: bool,
    ) -> Result<JavaMachine, Trouble> {
        let kind = [MachineKind::InMemory, MachineKind::Concurrent, MachineKind::OnDisk]
            .into_iter()
            .find(|known| *known as i32 == kind)
            .ok_or_else(|| Error::rejected(Code::Internal, "there is no such kind of machine"))?;
        let class = env.get_object_class(object)?;
        let call = env.get_method_id(class, jni_str!("call"), jni_sig!("(I[BJJ)[B"))?;
        let object = env.new_global_ref(object)?;
        Ok(JavaMachine { bridge: Arc::new(Bridge { object, call }), kind, quick })
    }

    /// Asks for something that needs no stream.
    fn ask(&self, kind: Kind, input: &[u8], request: Request) {
        self.ask_with(kind, input, request, 0);
    }

    fn ask_with(&self, kind: Kind, input: &[u8], request: Request, stream: u64) {
        let request = request.into_number();
        match self.bridge.call(kind, input, request, stream) {
            // The bridge owns the request now, and may have answered it by now.
            Called::Pending => {}
            // SAFETY: only a bridge that answers null keeps the number.
            Called::Answered(answer) => unsafe { Request::take(request) }.answer(&answer),
            // SAFETY: as above; the bridge catches all that is thrown once it has given the number
            // to the program.
            Called::Broken(why) => unsafe { Request::take(request) }.fail(why),
        }
    }
}

impl StateMachine for JavaMachine {
    fn kind(&self) -> MachineKind {
        self.kind
    }

    fn quick(&self) -> bool {
        self.quick
    }

    fn open(&mut self, reply: Reply<Opened>) {
        if self.kind == MachineKind::OnDisk {
            self.ask(Kind::Open, &[], Request::Open(reply));
        } else {
            reply.send(Ok(Opened::default()));
        }
    }

    fn apply(&mut self, request: Apply) {
        let input = flatten(&request);
        let count = request.entries.len();
        self.ask(Kind::Apply, &input, Request::Apply(count, request.reply));
    }

    fn sync(&mut self, reply: Reply<()>) {
        self.ask(Kind::Sync, &[], Request::Sync(reply));
    }

    fn prepare_snapshot(&mut self, reply: Reply<Box<dyn PreparedSnapshot>>) {
        self.ask(Kind::Prepare, &[], Request::Prepare(self.bridge.clone(), reply));
    }

    fn save_snapshot(&mut self, writer: Box<dyn Write + Send>, reply: Reply<()>) {
        let mut stream = Box::new(Stream::Writer(writer));
        let pointer = (&raw mut *stream) as u64;
        self.ask_with(Kind::Save, &[], Request::Stream(stream, reply), pointer);
    }

    fn restore_snapshot(&mut self, reader: Box<dyn Read + Send>, reply: Reply<()>) {
        let mut stream = Box::new(Stream::Reader(reader));
        let pointer = (&raw mut *stream) as u64;
        self.ask_with(Kind::Restore, &[], Request::Stream(stream, reply), pointer);
    }
}

/// The number of entries; index, term and end of each; the blob; then the payloads, one behind the
/// other.
fn flatten(request: &Apply) -> Vec<u8> {
    let payloads: usize = request.entries.iter().map(|entry| entry.data.len()).sum();
    let table = request.entries.len() * 20;
    let mut writer =
        Writer::append_to(Vec::with_capacity(8 + table + request.blob.len() + payloads));
    writer.int(request.entries.len() as i32);
    let mut end = 0;
    for entry in &request.entries {
        end += entry.data.len();
        writer.long(entry.index);
        writer.long(entry.term);
        writer.int(end as i32);
    }
    writer.bytes(&request.blob);
    for entry in &request.entries {
        writer.raw(&entry.data);
    }
    writer.finish()
}

/// A view of the state that the program prepared, by the number that the bridge gave it.
pub struct Prepared {
    bridge: Arc<Bridge>,
    view: u64,
}

impl Prepared {
    pub fn new(bridge: Arc<Bridge>, view: u64) -> Prepared {
        Prepared { bridge, view }
    }
}

impl PreparedSnapshot for Prepared {
    fn save(self: Box<Self>, writer: &mut (dyn Write + Send)) -> MachineResult<()> {
        let mut stream = Stream::Lent(writer);
        let pointer = (&raw mut stream) as u64;
        let view = self.view.to_le_bytes();
        match self.bridge.call(Kind::SavePrepared, &view, 0, pointer) {
            Called::Answered(answer) => read_answer(&answer).map(|_| ()),
            Called::Pending => Err(MachineError::new("saveSnapshot did not answer")),
            Called::Broken(why) => Err(MachineError::new(why)),
        }
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.bridge.call(Kind::Release, &self.view.to_le_bytes(), 0, 0);
    }
}

/// The data of an answer, or what went wrong.
pub fn read_answer(answer: &[u8]) -> MachineResult<&[u8]> {
    match answer.split_first() {
        Some((0, data)) => Ok(data),
        Some((_, text)) => Err(MachineError::new(String::from_utf8_lossy(text))),
        None => Err(MachineError::new("the bridge to the state machine said nothing")),
    }
}

/// One result for each entry: the lengths, then the results, one behind the other.
pub fn read_results(count: usize, data: &[u8]) -> libraft::Result<Vec<Bytes>> {
    let mut reader = Reader::new(data);
    let mut ends = Vec::with_capacity(count);
    let mut end = 0;
    for _ in 0..count {
        end += reader.count()?;
        ends.push(end);
    }
    let flat = Bytes::copy_from_slice(reader.rest());
    if flat.len() != end {
        return Err(Error::rejected(Code::Internal, "the results are of another length"));
    }
    let mut start = 0;
    let results = ends.into_iter().map(|end| {
        let result = flat.slice(start..end);
        start = end;
        result
    });
    Ok(results.collect())
}
