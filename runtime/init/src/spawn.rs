//! Starting one program: own session, own terminal or pipes, and an honest error if it cannot run.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};

use landfall_init::Run;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, Pid, chdir, pipe2, read, setsid, write};

use crate::sys;

/// A program that runs.
pub(crate) struct Started {
    /// Leader of its session and process group.
    pub(crate) pid: Pid,
    /// The terminal's master.
    pub(crate) terminal: Option<OwnedFd>,
}

/// A program that does not.
pub(crate) struct Failure {
    /// 127 = not found, 126 = found but cannot run.
    pub(crate) code: i32,
    /// For people.
    pub(crate) message: String,
}

fn failed(what: &str) -> impl Fn(Errno) -> Failure + '_ {
    move |errno| Failure { code: if errno == Errno::ENOENT { 127 } else { 126 }, message: format!("{what}: {}", errno.desc()) }
}

/// What the child could not do; one byte of its report, the errno follows.
const STEPS: [&str; 3] = ["the terminal could not be set up", "the working directory cannot be entered", "the command could not be run"];

/// Starts the program and waits until it is executed, or cannot be.
pub(crate) fn start(run: &Run, pipes: Vec<OwnedFd>) -> Result<Started, Failure> {
    let c_strings = |values: &[String]| values.iter().map(|value| CString::new(value.as_str())).collect::<Result<Vec<_>, _>>();
    let nul = |_| Failure { code: 126, message: "arguments and environment must not hold NUL bytes".into() };
    let (args, env) = (c_strings(&run.args).map_err(nul)?, c_strings(&run.env).map_err(nul)?);
    let Some(command) = run.args.first() else { return Err(Failure { code: 127, message: "no command was given".into() }) };
    if let Some(long) = run.env.iter().find(|value| value.len() >= 128 * 1024) {
        let key = long.split('=').next().unwrap_or_default();
        return Err(Failure {
            code: 126,
            message: format!("environment variable {key} is longer than the 128 KiB that Linux hands to a program"),
        });
    }
    let candidates: Vec<CString> = candidates(command, &run.env).into_iter().filter_map(|path| CString::new(path).ok()).collect();

    let (master, slave) = match run.terminal {
        Some((rows, cols)) => {
            let what = failed("a terminal could not be made");
            let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).map_err(&what)?;
            grantpt(&master).map_err(&what)?;
            unlockpt(&master).map_err(&what)?;
            let name = ptsname_r(&master).map_err(&what)?;
            let slave = open(name.as_str(), OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty()).map_err(&what)?;
            sys::set_size(&slave, rows, cols).map_err(&what)?;
            (Some(OwnedFd::from(master)), Some(slave))
        }
        None => (None, None),
    };
    let stdio: Vec<i32> = match (&slave, pipes.as_slice()) {
        (Some(slave), _) => vec![slave.as_raw_fd(); 3],
        (None, [input, output, error]) => vec![input.as_raw_fd(), output.as_raw_fd(), error.as_raw_fd()],
        _ => return Err(Failure { code: 126, message: "the shim sent no standard streams".into() }),
    };

    let (report, reporter) = pipe2(OFlag::O_CLOEXEC).map_err(failed("a pipe could not be made"))?;
    let pid = match sys::fork().map_err(failed("a process could not be made"))? {
        ForkResult::Child => {
            let (step, errno) = child(run, &candidates, &args, &env, &stdio, slave.is_some());
            let _ = write(&reporter, &[step, errno as i32 as u8]);
            sys::exit_now(127)
        }
        ForkResult::Parent { child } => child,
    };
    drop((reporter, slave, pipes));
    let mut bytes = [0_u8; 2];
    loop {
        match read(&report, &mut bytes) {
            Ok(2) => {
                let errno = Errno::from_raw(i32::from(bytes[1]));
                let (step, subject) = (usize::from(bytes[0]), if bytes[0] == 1 { &run.cwd } else { command });
                return Err(failed(&format!("{} ({subject})", STEPS.get(step).copied().unwrap_or_default()))(errno));
            }
            Err(Errno::EINTR) => {}
            _ => return Ok(Started { pid, terminal: master }),
        }
    }
}

/// Where the command may be: as it stands if it holds a slash, else along the program's own `PATH`.
fn candidates(command: &str, env: &[String]) -> Vec<String> {
    if command.contains('/') {
        return vec![command.to_owned()];
    }
    let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or("/usr/local/bin:/usr/bin:/bin");
    path.split(':').map(|dir| if dir.is_empty() { command.to_owned() } else { format!("{dir}/{command}") }).collect()
}

/// In the child; returns only if something failed.
fn child(run: &Run, candidates: &[CString], args: &[CString], env: &[CString], stdio: &[i32], terminal: bool) -> (u8, Errno) {
    let setup = || -> nix::Result<()> {
        setsid()?;
        sys::stdio(stdio)?;
        if terminal { sys::controlling_terminal() } else { Ok(()) }
    };
    if let Err(errno) = setup().and_then(|()| sys::default_signals()) {
        return (0, errno);
    }
    if let Err(errno) = chdir(run.cwd.as_str()) {
        return (1, errno);
    }
    let mut worst = Errno::ENOENT;
    for candidate in candidates {
        let Err(errno) = nix::unistd::execve(candidate, args, env);
        if !matches!(errno, Errno::ENOENT | Errno::ENOTDIR) {
            worst = errno;
        }
    }
    (2, worst)
}

#[cfg(test)]
mod tests {
    use super::candidates;

    #[test]
    fn commands_are_found_along_the_programs_own_path() {
        let env = ["PATH=/a:/b".to_owned()];
        assert_eq!(candidates("x", &env), ["/a/x", "/b/x"]);
        assert_eq!(candidates("./x", &env), ["./x"]);
        assert_eq!(candidates("x", &[]), ["/usr/local/bin/x", "/usr/bin/x", "/bin/x"]);
    }
}
