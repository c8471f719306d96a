//! A child process, its output line by line, ended by its id when the test is done with it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long anything may take that should happen at once, on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Program {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Vec<u8>>,
    stderr: Arc<Mutex<String>>,
    /// Ends with standard error.
    collector: JoinHandle<()>,
    seen: Mutex<String>,
}

impl Program {
    /// Starts `command`. Each item of its output is a line without its end.
    pub(crate) fn start(command: Command) -> Self {
        Self::spawn(command, |stdout, deliver| {
            let mut stdout = BufReader::new(stdout);
            let mut line = Vec::new();
            while stdout
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                if line.ends_with(b"\n") {
                    line.pop();
                }
                deliver(std::mem::take(&mut line));
            }
        })
    }

    /// Starts `command`. Each item of its output is whatever one read returned.
    pub(crate) fn start_bytes(command: Command) -> Self {
        Self::spawn(command, |mut stdout, deliver| {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = stdout.read(&mut buffer) {
                deliver(buffer[..read].to_vec());
            }
        })
    }

    fn spawn(
        mut command: Command,
        read: impl FnOnce(std::process::ChildStdout, &mut dyn FnMut(Vec<u8>)) + Send + 'static,
    ) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("it is piped");
        let mut errors = BufReader::new(child.stderr.take().expect("it is piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            read(stdout, &mut |item| {
                let _ = sender.send(item);
            });
        });
        let stderr = Arc::new(Mutex::new(String::new()));
        let collected = Arc::clone(&stderr);
        let collector = thread::spawn(move || {
            let mut line = Vec::new();
            while errors
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                collected
                    .lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self {
            name,
            child,
            stdin,
            lines,
            stderr,
            collector,
            seen: Mutex::default(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next item of output, `None` at its end.
    #[track_caller]
    pub(crate) fn output(&self) -> Option<Vec<u8>> {
        match self.output_within(PATIENCE) {
            Ok(item) => Some(item),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!(
                    "{} prints nothing; its standard error:\n{}",
                    self.name,
                    self.stderr()
                )
            }
        }
    }

    pub(crate) fn output_within(&self, patience: Duration) -> Result<Vec<u8>, RecvTimeoutError> {
        self.lines.recv_timeout(patience)
    }

    /// The next line of output.
    #[track_caller]
    pub(crate) fn line(&self) -> String {
        let Some(line) = self.output() else {
            panic!(
                "{} has ended; its standard error:\n{}",
                self.name,
                self.stderr()
            );
        };
        String::from_utf8(line).expect("the output is text")
    }

    /// All that it has printed since it was first asked this.
    pub(crate) fn seen(&self) -> String {
        let mut seen = self.seen.lock().unwrap();
        for line in self.lines.try_iter() {
            seen.push_str(&String::from_utf8_lossy(&line));
            seen.push('\n');
        }
        seen.clone()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits until standard error contains `text`.
    #[track_caller]
    pub(crate) fn wait_for_stderr(&self, text: &str) {
        let began = Instant::now();
        while !self.stderr().contains(text) {
            assert!(
                began.elapsed() < PATIENCE,
                "{} does not say `{text}` but:\n{}",
                self.name,
                self.stderr()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        stdin
            .write_all(text.as_bytes())
            .expect("it reads its input");
        stdin.flush().expect("it reads its input");
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends the signal with this name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status()
            .expect("kill is installed");
        assert!(status.success(), "no signal {name} to {}", self.name);
    }

    /// Waits for its end, and says how long that took. All that it said on standard error is there then.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child")
                && self.collector.is_finished()
            {
                return (status, began.elapsed());
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{} does not end; its standard error:\n{}",
                self.name,
                self.stderr()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it without a farewell, as a power cut would.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a program that ran to its end left behind.
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `command` to its end without input.
#[track_caller]
pub(crate) fn run(mut command: Command) -> Finished {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
