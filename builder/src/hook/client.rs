//! The hook program's half. Plain blocking std: it starts in a millisecond and holds no memory.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use landfall_failpoint::failpoint;

use super::wire::{Reply, Request, Update};
use super::{SOCKET_ENV, TOKEN_ENV};

/// The `pre-receive` hook: what `main` does when the program was started under that name. Its words go to standard error, which git shows to the
/// pusher as `remote:` lines.
pub(super) fn pre_receive_main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // The pusher may be gone; then nobody reads this, and that is fine.
            let _ = writeln!(
                io::stderr(),
                " !     Push rejected, the server cannot be reached ({error}).\n !     Push again; the operator finds more with: landfall doctor"
            );
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<bool> {
    let env = |name: &str| std::env::var(name).map_err(|_| io::Error::other(format!("{name} is not set; this program is started by git")));
    let (socket, token) = (env(SOCKET_ENV)?, env(TOKEN_ENV)?);
    let mut updates = Vec::new();
    for line in io::stdin().lock().take(super::wire::MAX_REQUEST).lines() {
        let line = line?;
        updates.push(Update::parse(&line).ok_or_else(|| io::Error::other("git sent a line that is no ref update"))?);
    }
    let quarantine = std::env::var_os("GIT_QUARANTINE_PATH").or_else(|| std::env::var_os("GIT_OBJECT_DIRECTORY")).map(PathBuf::from);
    let mut stream = UnixStream::connect(socket)?;
    let mut request = serde_json::to_vec(&Request { token, quarantine, updates })?;
    request.push(b'\n');
    failpoint("hook.connected");
    stream.write_all(&request)?;
    for line in BufReader::new(stream).lines() {
        match serde_json::from_str(&line?)? {
            Reply::Line(text) => writeln!(io::stderr(), "{text}")?,
            Reply::Verdict(accepted) => {
                failpoint("hook.verdict-received");
                return Ok(accepted);
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it went away during the push"))
}
