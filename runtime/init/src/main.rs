//! pid 1 of a container: starts programs the shim names, passes signals on, reaps everything, ends with the main program's code.
//!
//! It runs as the app's user behind the app's seccomp filter; programs inherit that, so a further process (`exec`) needs no other way in.

use std::os::fd::{AsFd, AsRawFd};

use landfall_init::channel::Channel;
use landfall_init::{CONTROL_FD, FromInit, MAIN, ToInit};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, killpg, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

mod probe;
mod spawn;
mod sys;

/// How long the shim may take to read a message.
const SEND_TIMEOUT_MS: u16 = 10_000;

/// A program we started.
struct Program {
    id: u32,
    pid: Pid,
    /// Kept to find the foreground group; the shim has the other copy.
    terminal: Option<std::os::fd::OwnedFd>,
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("probe") {
        std::process::exit(probe::run());
    }
    std::process::exit(run().unwrap_or(125));
}

fn run() -> nix::Result<i32> {
    sys::hide()?;
    let mut channel = Channel::new(sys::take_fd(CONTROL_FD)?);
    let signals = SigSet::all();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&signals), None)?;
    let signal_fd = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let listens = sys::listen_notifications();
    let fds: Vec<_> = listens.iter().map(AsRawFd::as_raw_fd).collect();
    channel.send(&FromInit::Hello, &fds, SEND_TIMEOUT_MS)?;
    drop(listens);

    let mut programs: Vec<Program> = Vec::new();
    loop {
        let mut wait = [PollFd::new(signal_fd.as_fd(), PollFlags::POLLIN), PollFd::new(channel.fd().as_fd(), PollFlags::POLLIN)];
        match poll(&mut wait, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
        let heard = wait[1].revents().is_some_and(|events| !events.is_empty());
        while let Some(info) = signal_fd.read_signal()? {
            pass_on(info.ssi_signo as i32, &programs);
        }
        if let Some(code) = reap(&mut programs, &mut channel)? {
            return Ok(code);
        }
        // Without a shim nobody drains the output or counts the memory: the container ends, and all in it.
        if heard && !channel.fill()? {
            return Ok(137);
        }
        while let Ok(Some((message, fds))) = channel.take_message::<ToInit>() {
            match message {
                ToInit::Run(run) => match spawn::start(&run, fds) {
                    Ok(started) => {
                        let fds: Vec<_> = started.terminal.iter().map(AsRawFd::as_raw_fd).collect();
                        channel.send(&FromInit::Started { id: run.id }, &fds, SEND_TIMEOUT_MS)?;
                        programs.push(Program { id: run.id, pid: started.pid, terminal: started.terminal });
                    }
                    Err(failure) => {
                        let (code, message) = (failure.code, failure.message);
                        channel.send(&FromInit::Failed { id: run.id, code, message }, &[], SEND_TIMEOUT_MS)?;
                        if run.id == MAIN {
                            return Ok(code);
                        }
                    }
                },
                ToInit::Signal { id, signal } => signal_program(&programs, id, signal),
                ToInit::SignalAll { signal } => signal_all(signal),
            }
        }
    }
}

/// SIGTERM goes to every process (S1 of Heroku's shutdown: "SIGTERM to every process of the dyno"), others to the main program's group.
fn pass_on(signal: i32, programs: &[Program]) {
    match Signal::try_from(signal) {
        Ok(Signal::SIGCHLD) => {}
        Ok(Signal::SIGTERM) => signal_all(signal),
        _ => signal_program(programs, MAIN, signal),
    }
}

fn signal_all(signal: i32) {
    // -1 in a pid namespace: everything in it but its pid 1. Nobody left is no error.
    let _ = kill(Pid::from_raw(-1), Signal::try_from(signal).ok());
}

fn signal_program(programs: &[Program], id: u32, signal: i32) {
    let (Some(program), Ok(signal)) = (programs.iter().find(|program| program.id == id), Signal::try_from(signal)) else { return };
    let group = program.terminal.as_ref().and_then(|terminal| nix::unistd::tcgetpgrp(terminal).ok()).filter(|group| group.as_raw() > 1);
    let group = group.unwrap_or(program.pid);
    let _ = killpg(group, signal);
    if signal == Signal::SIGHUP {
        hang_up(program.pid, group);
    }
}

/// What the kernel does beside when a terminal is hung up: the session's leader hears of it too, and what was stopped goes on, so that it can end.
fn hang_up(leader: Pid, foreground: Pid) {
    let _ = killpg(foreground, Signal::SIGCONT);
    if leader != foreground {
        let _ = killpg(leader, Signal::SIGHUP);
        let _ = killpg(leader, Signal::SIGCONT);
    }
}

/// Collects every ended child. The main program's code, if it was among them.
fn reap(programs: &mut Vec<Program>, channel: &mut Channel) -> nix::Result<Option<i32>> {
    loop {
        let (pid, code) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, code),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(error) => return Err(error),
        };
        if let Some(at) = programs.iter().position(|program| program.pid == pid) {
            let program = programs.swap_remove(at);
            channel.send(&FromInit::Exited { id: program.id, code }, &[], SEND_TIMEOUT_MS)?;
            if program.id == MAIN {
                return Ok(Some(code));
            }
        }
    }
}
