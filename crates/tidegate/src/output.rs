//! Standard output and standard error as a command of a pipeline uses them.

use std::io::{self, BufWriter, Stdout, Write};

/// Buffered standard output. The caller flushes when it has nothing more to write at once, so a
/// burst is one write and a single event is not held back.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: BufWriter<Stdout>,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self {
            stdout: BufWriter::with_capacity(64 * 1024, io::stdout()),
        }
    }

    pub(crate) fn line(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stdout.write_all(bytes)?;
        self.stdout.write_all(b"\n")
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

/// Tells the person at the terminal something that is not data. A closed standard error is no
/// reason to stop.
pub(crate) fn notice(text: &str) {
    let _ = writeln!(io::stderr(), "tidegate: {text}");
}

/// Whether `error` means that the reader of our standard output went away, as `head` does; the
/// command then ends quietly.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Completes when nobody can read our standard output any more, so that
/// `tidegate subscribe quiet-topic | head -1` ends with `head` and not at the next event.
#[cfg(unix)]
pub(crate) async fn reader_gone() {
    if watch_reader().await.is_err() {
        // A regular file has no reader that could go away.
        std::future::pending::<()>().await;
    }
}

#[cfg(unix)]
async fn watch_reader() -> io::Result<()> {
    use std::os::fd::AsFd;

    use tokio::io::Interest;
    use tokio::net::unix::pipe::Sender;

    // The unchecked form leaves the pipe as it is; the checked one would make standard output
    // non-blocking, for every process that shares it.
    let stdout = Sender::from_owned_fd_unchecked(io::stdout().as_fd().try_clone_to_owned()?)?;
    stdout.ready(Interest::ERROR).await.map(drop)
}

#[cfg(not(unix))]
pub(crate) async fn reader_gone() {
    std::future::pending().await
}
