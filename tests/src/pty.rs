//! A terminal of our own: a program on it believes that a person sits there.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::run::eventually;

/// A program on a terminal; ended when dropped.
pub struct Pty {
    keyboard: File,
    shown: Arc<Mutex<Vec<u8>>>,
    /// Nothing is ever sent: it hangs up when nothing more can be shown.
    drained: std::sync::mpsc::Receiver<()>,
    child: Child,
}

impl Pty {
    /// Starts a program on a fresh terminal of 80 columns and 24 rows, as the leader of a session that has it as its controlling terminal.
    pub fn start(program: impl AsRef<std::ffi::OsStr>, args: &[&str], prepare: impl FnOnce(&mut Command)) -> Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let open = || rustix::fs::open(&name, rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY, rustix::fs::Mode::empty());
        let slave: OwnedFd = open()?;
        set_size(&master, 80, 24)?;
        // setsid(1) makes the session and takes the terminal: in Rust both would be unsafe code between fork and exec.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program.as_ref()).args(args);
        prepare(&mut command);
        command.stdin(Stdio::from(slave.try_clone()?)).stdout(Stdio::from(slave.try_clone()?)).stderr(Stdio::from(slave));
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        drop(command);
        let keyboard = File::from(master);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut screen, into) = (keyboard.try_clone()?, shown.clone());
        // Ends when the last user of the terminal is gone: then reading fails.
        let (alive, drained) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            let _alive = alive;
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut piece) {
                into.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&piece[..count]);
            }
        });
        Ok(Self { keyboard, shown, drained, child })
    }

    /// Everything that was shown so far.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Waits until a text was shown.
    pub fn shows(&self, text: &str) -> Result<()> {
        self.shows_when(|screen| screen.contains(text)).with_context(|| format!("waiting for {text:?}"))
    }

    /// Waits until what was shown is as wanted.
    pub fn shows_when(&self, wanted: impl Fn(&str) -> bool) -> Result<()> {
        eventually(Duration::from_secs(30), || {
            let screen = self.screen();
            if wanted(&screen) { Ok(()) } else { bail!("the screen shows:\n{screen}") }
        })
    }

    /// Forgets what was shown.
    pub fn clear(&self) {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Presses keys. Enter is `\r`, Ctrl-C is `\x03`.
    pub fn types(&mut self, keys: &str) -> Result<()> {
        Ok(self.keyboard.write_all(keys.as_bytes())?)
    }

    /// Changes the window's size; the kernel tells the program.
    pub fn resize(&self, cols: u16, rows: u16) -> Result<()> {
        set_size(&self.keyboard, cols, rows)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end, and until all it said is on the screen; gives its exit code, −1 when a signal ended it.
    pub fn ends(&mut self) -> Result<i32> {
        let (shown, child) = (&self.shown, &mut self.child);
        let code = eventually(Duration::from_mins(1), || match child.try_wait()? {
            Some(status) => Ok(status.code().unwrap_or(-1)),
            None => bail!(
                "it still runs; the screen shows:\n{}",
                String::from_utf8_lossy(&shown.lock().unwrap_or_else(PoisonError::into_inner))
            ),
        })?;
        // Whoever it left behind may keep the terminal open.
        let _ended = self.drained.recv_timeout(Duration::from_secs(2));
        Ok(code)
    }

    /// Ends it as if by `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_size(terminal: impl std::os::fd::AsFd, cols: u16, rows: u16) -> Result<()> {
    Ok(tcsetwinsize(terminal, Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 })?)
}
