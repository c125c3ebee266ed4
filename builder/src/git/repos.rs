//! Bare repositories, made when first asked for.

use std::fs;
use std::path::Path;

use git2::{ErrorCode, Repository, RepositoryInitOptions};

/// Makes the repository if it is not there, and mends what a first push to `master` left. Idempotent, safe to run twice at once.
pub(super) fn ensure(path: &Path) -> Result<(), git2::Error> {
    let repo = match Repository::open_bare(path) {
        Ok(repo) => repo,
        Err(error) if error.code() == ErrorCode::NotFound => {
            let mut options = RepositoryInitOptions::new();
            options.bare(true).mkpath(true).external_template(false).initial_head("main");
            Repository::init_opts(path, &options)?
        }
        Err(error) => return Err(error),
    };
    // HEAD decides what a clone checks out.
    if repo.refname_to_id("refs/heads/main").is_err() && repo.refname_to_id("refs/heads/master").is_ok() {
        repo.set_head("refs/heads/master")?;
    } else if repo.head().is_err() {
        repo.set_head("refs/heads/main")?;
    }
    Ok(())
}

/// Removes the quarantines of pushes that were killed. Only for a repository in which no push of ours is under way.
///
/// A git that outlived an earlier server is either about to notice that nobody will give it a verdict, or is just moving its quarantine's
/// objects to where they belong; then its push fails, as it would have had it been killed itself, and no ref moves. Age says nothing: clocks jump.
pub(super) fn remove_quarantines(path: &Path) {
    // Best effort: what stays now goes before the next push.
    for entry in fs::read_dir(path.join("objects")).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("tmp_objdir-") {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Bytes of its objects, packed or not; 0 if it is not there.
pub(super) fn size(path: &Path) -> u64 {
    // git keeps them two levels deep.
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries(&path.join("objects"));
    dirs.flat_map(|dir| entries(&dir.path())).filter_map(|object| Some(object.metadata().ok()?.len())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_with_main_as_head() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/x.git");
        ensure(&path).unwrap();
        ensure(&path).unwrap();
        assert_eq!(fs::read_to_string(path.join("HEAD")).unwrap(), "ref: refs/heads/main\n");
        let hooks = fs::read_dir(path.join("hooks")).into_iter().flatten();
        assert!(hooks.map(|hook| hook.unwrap().path()).all(|hook| hook.extension().is_some_and(|end| end == "sample")), "no live hooks");
    }
}
