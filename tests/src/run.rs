//! Running programs and waiting for things, each with a deadline.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// What a program printed and how it ended.
#[derive(Debug)]
pub struct Done {
    /// Exit code; −1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Done {
    /// Both outputs together.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A program to run, with a deadline.
pub struct Run {
    command: Command,
    input: Vec<u8>,
    limit: Duration,
}

impl Run {
    /// `program` with `args`; two minutes at most.
    pub fn new(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(args);
        Self { command, input: Vec::new(), limit: Duration::from_mins(2) }
    }

    /// Changes the command (folder, environment).
    pub fn with(mut self, change: impl FnOnce(&mut Command)) -> Self {
        change(&mut self.command);
        self
    }

    /// Standard input; empty by default.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Another deadline.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end. Past the deadline it is killed and that is an error.
    pub fn done(mut self) -> Result<Done> {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {:?}", self.command))?;
        let mut stdin = child.stdin.take().context("standard input")?;
        let (stdout, stderr) = (child.stdout.take().context("stdout")?, child.stderr.take().context("stderr")?);
        let input = std::mem::take(&mut self.input);
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let read = |mut from: Box<dyn std::io::Read + Send>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = from.read_to_end(&mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let out = read(Box::new(stdout));
        let err = read(Box::new(stderr));
        let deadline = Instant::now() + self.limit;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                bail!("{:?} did not end within {:?}", self.command, self.limit);
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let _ = writer.join();
        let text = |thread: std::thread::JoinHandle<String>| thread.join().unwrap_or_default();
        Ok(Done { code: status.code().unwrap_or(-1), stdout: text(out), stderr: text(err) })
    }

    /// Runs it; anything but exit code 0 is an error that shows what it printed.
    pub fn ok(self) -> Result<Done> {
        let what = format!("{:?}", self.command);
        let done = self.done()?;
        if done.code != 0 {
            bail!("{what} ended with {}:\n{}", done.code, done.all());
        }
        Ok(done)
    }

    /// Runs it; exit code 0 is an error.
    pub fn fails(self) -> Result<Done> {
        let what = format!("{:?}", self.command);
        let done = self.done()?;
        if done.code == 0 {
            bail!("{what} should have failed, but printed:\n{}", done.all());
        }
        Ok(done)
    }
}

/// Looks until `look` gives something, or fails with the last reason after `limit`.
pub fn eventually<T>(limit: Duration, mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() > deadline => return Err(error.context(format!("not within {limit:?}"))),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
