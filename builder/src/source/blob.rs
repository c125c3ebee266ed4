//! A file of a commit, from git's store to wherever it goes: small ones through memory, large ones past it.

use std::io::{self, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use git2::{Odb, OdbObject, Oid};

use crate::push::PushedObjects;

/// From this size on git itself reads the object, in a process of its own: libgit2 would hold all of it in our memory.
const LARGE: usize = 8 * 1024 * 1024;

/// Content being read.
pub(super) enum Blob<'a> {
    /// Held whole.
    Small { object: OdbObject<'a>, read: usize },
    /// Streamed by `git cat-file`.
    Large(Streamed),
}

/// A running `git cat-file`; ended and reaped when dropped.
pub(super) struct Streamed {
    child: Child,
    output: ChildStdout,
}

impl Drop for Streamed {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl<'a> Blob<'a> {
    /// Opens an object whose header says that it has `size` bytes.
    pub(super) fn open(objects: &PushedObjects, odb: &'a Odb<'_>, id: Oid, size: usize) -> Result<Self, git2::Error> {
        if size < LARGE {
            return Ok(Self::Small { object: odb.read(id)?, read: 0 });
        }
        stream(objects, id).map_err(|error| git2::Error::from_str(&format!("git cannot be run to read a large file: {error}")))
    }

    /// Whether all of it was read as git keeps it. To be asked at the end.
    pub(super) fn end(self) -> io::Result<()> {
        match self {
            Self::Small { .. } => Ok(()),
            Self::Large(mut streamed) => {
                let status = streamed.child.wait()?;
                if status.success() { Ok(()) } else { Err(io::Error::other(format!("git cat-file ended with {status}"))) }
            }
        }
    }
}

/// Trust rule R1: argv, and an environment that holds nothing but where the objects are.
fn stream(objects: &PushedObjects, id: Oid) -> io::Result<Blob<'static>> {
    let quarantine = std::env::join_paths(&objects.quarantine).map_err(io::Error::other)?;
    let mut command = Command::new("git");
    command.env_clear().envs([
        ("PATH", "/usr/bin:/bin:/usr/local/bin"),
        ("HOME", "/nonexistent"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
        ("GIT_NO_LAZY_FETCH", "1"),
    ]);
    command.env("GIT_DIR", &objects.repo).env("GIT_ALTERNATE_OBJECT_DIRECTORIES", quarantine);
    command.args(["-c", &format!("safe.directory={}", objects.repo.display()), "-c", &format!("core.bigFileThreshold={LARGE}")]);
    command.args(["cat-file", "blob", &id.to_string()]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let output = child.stdout.take().ok_or_else(|| io::Error::other("git has no output"))?;
    Ok(Blob::Large(Streamed { child, output }))
}

impl Read for Blob<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Small { object, read } => {
                let count = object.data().get(*read..).unwrap_or_default().read(into)?;
                *read += count;
                Ok(count)
            }
            Self::Large(streamed) => streamed.output.read(into),
        }
    }
}
