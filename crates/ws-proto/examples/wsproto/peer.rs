//! The Python process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use testkit::Tool;

use crate::AnyError;

/// `peer.py`, which answers each line by a line.
pub(crate) struct Peer {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    pub(crate) fn start() -> Result<Self, AnyError> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/wsproto/peer.py");
        let mut child = Command::new(testkit::tool(Tool::Python))
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let requests = child.stdin.take().ok_or("no way in")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no way out")?);
        Ok(Self {
            child,
            requests,
            answers,
        })
    }

    pub(crate) fn ask(&mut self, request: &str) -> Result<String, AnyError> {
        writeln!(self.requests, "{request}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        match answer.strip_suffix('\n') {
            Some(answer) => Ok(answer.to_owned()),
            None => Err(format!("Python died of {request}").into()),
        }
    }

    /// Asks for byte strings.
    pub(crate) fn ask_bytes(&mut self, request: &str) -> Result<Vec<Vec<u8>>, AnyError> {
        self.ask(request)?.split(',').map(unhex).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _gone_already = self.child.wait();
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>, AnyError> {
    let byte = |at| {
        let digits = text.get(at..at + 2).ok_or("half a byte")?;
        Ok(u8::from_str_radix(digits, 16)?)
    };
    (0..text.len()).step_by(2).map(byte).collect()
}
