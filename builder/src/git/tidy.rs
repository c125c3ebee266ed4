//! A repository that took many pushes is packed: git would do so at the end of a push, where somebody waits for it.

use std::io;
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::GitService;
use super::process::{git, limit};
use crate::config::GitConfig;

/// Loose objects, and packs, from which on every look into the repository takes longer.
const LOOSE: usize = 2000;
const PACKS: usize = 30;

/// Packs a repository if it needs to be, and lets go of what no branch has held for two weeks. `false` = it needed nothing. Pushes and
/// fetches may go on beside it.
pub async fn tidy(config: &GitConfig, repo: &Path) -> io::Result<bool> {
    let at = repo.to_owned();
    if !tokio::task::spawn_blocking(move || is_untidy(&at)).await.map_err(io::Error::other)? {
        return Ok(false);
    }
    let mut command = git(config, repo);
    // What no branch holds goes into a pack of its own (git-gc(1)): loose, it would ask for the next packing at once.
    command.arg("--git-dir").arg(repo).args(["gc", "--cruft", "--prune=2.weeks.ago", "--quiet"]);
    let child = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    limit(&child, GitService::ReceivePack);
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
    let ended = child.wait_with_output().await?;
    group.0 = None;
    if ended.status.success() {
        return Ok(true);
    }
    Err(io::Error::other(format!("git gc: {}: {}", ended.status, String::from_utf8_lossy(&ended.stderr).trim())))
}

/// As git estimates it: object ids are spread evenly over the 256 directories.
fn is_untidy(repo: &Path) -> bool {
    let count = |dir: &str, end: &str| {
        let entries = std::fs::read_dir(repo.join("objects").join(dir)).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(end)).count()
    };
    count("17", "") > LOOSE / 256 || count("pack", ".pack") > PACKS
}

/// Of git and what it started; ended when the sweep is.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // git removes its temporary files at this signal.
            let _gone = killpg(group, Signal::SIGTERM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(dir: &Path, args: &[&str]) -> String {
        let identity = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "gc.auto=0"];
        let done = std::process::Command::new("git").args(identity).args(args).current_dir(dir).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    #[tokio::test]
    async fn many_pushes_become_one_pack_and_nothing_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join(".git");
        run(dir.path(), &["init", "-q", "-b", "main"]);
        let config = GitConfig::default();
        assert!(!tidy(&config, &repo).await.unwrap(), "there is nothing to do");
        for commit in ["kept", "overwritten"] {
            for file in 0..2000 {
                std::fs::write(dir.path().join(file.to_string()), format!("{commit} {file}")).unwrap();
            }
            run(dir.path(), &["add", "."]);
            run(dir.path(), &["commit", "-qm", commit]);
        }
        let overwritten = run(dir.path(), &["rev-parse", "HEAD"]);
        run(dir.path(), &["update-ref", "refs/heads/main", "HEAD~1"]);
        std::fs::remove_dir_all(repo.join("logs")).unwrap();

        assert!(tidy(&config, &repo).await.unwrap());
        assert!(run(dir.path(), &["count-objects", "-v"]).contains("count: 0\n"), "nothing is loose");
        run(dir.path(), &["fsck", "--strict"]);
        run(dir.path(), &["cat-file", "-e", overwritten.trim()]);
        assert!(!tidy(&config, &repo).await.unwrap(), "once is enough");
    }
}
