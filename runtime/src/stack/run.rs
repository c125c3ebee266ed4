//! Running an operator-level program: argv, a clean environment, lines streamed, ended when nobody wants it any more.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use landfall_runtime_wire::agent::FaultCode;
use tokio_util::sync::CancellationToken;

use super::Lines;
use crate::fault::{Doing as _, Result, fault, fault_hint};

/// Who listens, and how long the work may take.
pub(super) struct Running<'a> {
    pub(super) lines: &'a Lines,
    pub(super) cancel: &'a CancellationToken,
    pub(super) until: Instant,
}

/// The same, to take to another thread.
pub(super) struct Owned {
    lines: Lines,
    cancel: CancellationToken,
    until: Instant,
}

impl Running<'_> {
    /// Tells a line of progress; a listener too slow misses lines, never stops the work.
    pub(super) fn say(&self, line: impl Into<String>) {
        let _too_slow = self.lines.try_send(line.into());
    }

    pub(super) fn to_owned(&self) -> Owned {
        Owned { lines: self.lines.clone(), cancel: self.cancel.clone(), until: self.until }
    }
}

impl Owned {
    pub(super) fn borrowed(&self) -> Running<'_> {
        Running { lines: &self.lines, cancel: &self.cancel, until: self.until }
    }
}

/// Runs a program to its end. Its last lines are the reason when it fails.
pub(super) fn run(program: &str, args: &[String], running: &Running<'_>) -> Result<()> {
    let mut command = Command::new(program);
    command.args(args).env_clear().current_dir("/").process_group(0);
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8").env("HOME", "/root");
    let (output, input) = std::io::pipe().doing(format!("running {program}"))?;
    command.stdin(Stdio::null()).stdout(input.try_clone().doing("making a pipe")?).stderr(input);
    let missing = |error| {
        fault_hint(FaultCode::Internal, format!("running {program}: {error}"), format!("Install it with: apt-get install {program}"))
    };
    let mut child = command.spawn().map_err(missing)?;
    drop(command);
    let group = nix::unistd::Pid::from_raw(child.id() as i32);
    let (sender, received) = std::sync::mpsc::sync_channel(256);
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(std::io::Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    let mut last = std::collections::VecDeque::new();
    let stopped = loop {
        match received.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                last.push_back(line.clone());
                if last.len() > 15 {
                    last.pop_front();
                }
                running.say(line);
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
        }
        if running.cancel.is_cancelled() {
            break Some("it was cancelled");
        }
        if Instant::now() > running.until {
            break Some("it took too long");
        }
    };
    if stopped.is_some() {
        let _ended = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
    }
    drop(received);
    let status = child.wait().doing(format!("waiting for {program}"))?;
    let _ended = reader.join();
    if let Some(why) = stopped {
        return Err(fault(FaultCode::TimedOut, format!("{program} was ended: {why}")));
    }
    if status.success() {
        return Ok(());
    }
    let last = last.into_iter().collect::<Vec<_>>().join("\n");
    Err(fault_hint(
        FaultCode::Internal,
        format!("{program} failed ({status}):\n{last}"),
        "Check that the Debian mirror in landfall.toml answers and has this suite",
    ))
}
