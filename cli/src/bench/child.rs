//! Child processes of the benchmark: this program again, spoken to by lines, dying with their parent.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::Outcome;

pub struct Process {
    child: Child,
    /// `None` once the child was told to end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub fn start(arguments: &[&str]) -> Outcome<Process> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        // SAFETY: only an async-signal-safe call is made between fork and exec.
        unsafe {
            command.pre_exec(|| {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let mut child = command.spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("the child has no output")?);
        Ok(Process { child, input, output })
    }

    pub fn say(&mut self, line: &str) -> Outcome<()> {
        let input = self.input.as_mut().ok_or("the child has no input")?;
        writeln!(input, "{line}")?;
        Ok(input.flush()?)
    }

    /// The next line the child prints.
    pub fn hear(&mut self) -> Outcome<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("a process of the benchmark ended early; what it said is above".into());
        }
        Ok(line.trim_end().to_string())
    }

    pub fn ask(&mut self, line: &str) -> Outcome<String> {
        self.say(line)?;
        self.hear()
    }

    /// Lets the child end by itself, as the end of its input tells it to.
    pub fn finish(mut self) -> Outcome<()> {
        self.input = None;
        match self.child.wait()? {
            status if status.success() => Ok(()),
            status => Err(format!("a process of the benchmark ended with {status}").into()),
        }
    }
}

/// After a failure: whoever deletes the folder must not do so under a child that is still using it.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
