//! Failpoints: named places, before and after each step of a deploy, where a test may end the process (trust rule Q2, ADR 16).
//!
//! A test names a directory in [`DIRECTORY`] and puts a file with a failpoint's name into it. The process that passes the place dies by
//! SIGKILL, as if the kernel or an operator had done it: nothing is flushed, nothing is unwound, no destructor runs.
//!
//! In a program built without debug assertions (`make up`, every release) nothing of this is there: the calls are empty and the names are
//! not in the binary.

/// Environment variable with the directory of armed failpoints. Without it nothing is armed.
pub const DIRECTORY: &str = "LANDFALL_FAILPOINTS";

/// The end of the name of a failpoint's file once the process has died there.
pub const HIT: &str = ".hit";

/// A place where a test may end the process. `name` is `<process>.<what>.<how far>`.
#[inline(always)]
#[allow(clippy::inline_always, reason = "without debug assertions nothing may be left of it, not even the name")]
pub fn failpoint(name: &'static str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// What a child needs in its environment to have the same failpoints armed.
pub fn environment() -> Option<(&'static str, std::ffi::OsString)> {
    if cfg!(debug_assertions) { std::env::var_os(DIRECTORY).map(|directory| (DIRECTORY, directory)) } else { None }
}

#[cfg(debug_assertions)]
mod armed {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, OnceLock, PoisonError};

    use rustix::process::{Pid, Signal, getpid, kill_process};

    use super::{DIRECTORY, HIT};

    static WHERE: OnceLock<Option<PathBuf>> = OnceLock::new();
    /// Two threads that pass at once count as two.
    static ONE_BY_ONE: Mutex<()> = Mutex::new(());

    pub(super) fn pass(name: &'static str) {
        let Some(directory) = WHERE.get_or_init(|| std::env::var_os(DIRECTORY).map(PathBuf::from)) else { return };
        let _one_by_one = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(others) = due(directory, name) {
            for pid in others.into_iter().chain([getpid()]) {
                let _ = kill_process(pid, Signal::KILL);
            }
            // The signal is there before kill(2) returns to its own process; a pass that goes on is no pass.
            loop {
                std::thread::park();
            }
        }
    }

    /// Counts this pass. The one that is due takes the file away, so that the process's successor passes; who else shall die is in it.
    ///
    /// The file holds the number of passes to go (1 = the next one), then process ids.
    pub(super) fn due(directory: &Path, name: &str) -> Option<Vec<Pid>> {
        let file = directory.join(name);
        let text = fs::read_to_string(&file).ok()?;
        let mut numbers = text.split_whitespace().map_while(|word| word.parse::<i32>().ok());
        let passes = numbers.next()?;
        if passes > 1 {
            let rest: Vec<String> = numbers.map(|pid| pid.to_string()).collect();
            // Replaced, not written to: the test may be another user.
            let next = directory.join(format!("{name}.next"));
            fs::write(&next, format!("{} {}", passes - 1, rest.join(" "))).and_then(|()| fs::rename(&next, &file)).ok()?;
            return None;
        }
        // Whoever renames it first dies of it.
        fs::rename(&file, directory.join(format!("{name}{HIT}"))).ok()?;
        Some(numbers.filter_map(Pid::from_raw).collect())
    }
}

#[cfg(test)]
mod tests {
    #[cfg(debug_assertions)]
    #[test]
    fn only_the_pass_that_is_due_counts_and_only_once() {
        let directory = tempfile::tempdir().unwrap();
        let pass = || super::armed::due(directory.path(), "server.build.created");
        assert_eq!(pass(), None, "nothing is armed");
        std::fs::write(directory.path().join("server.build.created"), "3 17\n").unwrap();
        assert_eq!(pass(), None);
        assert_eq!(pass(), None);
        assert_eq!(pass(), Some(vec![rustix::process::Pid::from_raw(17).unwrap()]));
        assert_eq!(pass(), None, "the successor lives");
        assert!(directory.path().join("server.build.created.hit").exists());
    }

    #[cfg(not(debug_assertions))]
    #[test]
    fn a_release_has_none() {
        assert_eq!(super::environment(), None);
        super::failpoint("never.there");
    }
}
