//! A child process that is spoken to by lines and dies with this one.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

pub struct Process {
    child: Child,
    /// `None` once it was told that there is nothing more to come.
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    pub fn start(program: &str, arguments: &[String]) -> Process {
        let mut command = Command::new(program);
        command.args(arguments);
        Process::run(command)
    }

    pub fn run(mut command: Command) -> Process {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        dies_with_parent(&mut command);
        let mut child = command.spawn().expect("the member's program starts");
        let input = child.stdin.take();
        let output = child.stdout.take().expect("its output is a pipe");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Process { child, input, lines }
    }

    /// Says a line; false if the process is gone.
    pub fn say(&mut self, line: &str) -> bool {
        let Some(input) = &mut self.input else { return false };
        writeln!(input, "{line}").and_then(|()| input.flush()).is_ok()
    }

    /// The next line it prints; `None` if it is gone or says nothing in time.
    pub fn hear(&mut self, timeout: Duration) -> Option<String> {
        self.lines.recv_timeout(timeout).ok()
    }

    /// Everything it has printed so far.
    pub fn heard(&mut self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: the child has not been waited for, so its id cannot have been given to another
        // process.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// Whether it has not ended by itself.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Closes its input, which asks it to end, and returns all that it had printed.
    pub fn finish(mut self) -> Vec<String> {
        self.input = None;
        self.reap()
    }

    /// Waits for its end and returns all that it had printed.
    pub fn reap(mut self) -> Vec<String> {
        let _ = self.child.wait();
        self.lines.iter().collect()
    }
}

/// Has the child killed when the thread that starts it ends.
pub fn dies_with_parent(command: &mut Command) {
    // SAFETY: only an async-signal-safe call is made between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
