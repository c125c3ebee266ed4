//! Letting go of what nobody writes any more: the files of dynos that are gone.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::segment::stem;
use crate::{LogError, Result};

/// How much of the past a log keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files nobody wrote to for this long go.
    pub age: Duration,
    /// All files together; the oldest go first. What is still written counts, but stays.
    pub bytes: u64,
    /// Files of writers that are gone; the oldest go first. Every reader opens each of them.
    pub files: usize,
}

/// A file this young may have a writer nobody has heard of yet: it stays whatever the limits say.
const YOUNG: Duration = Duration::from_mins(1);

/// What went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    path: PathBuf,
    bytes: u64,
    age: Duration,
    /// Somebody may still write to it.
    open: bool,
}

/// Removes from a log directory what the limits say. `writes` answers, for a file's stem, whether its writer may still live; such a writer's
/// open file always stays (removing it would lose what it writes next), its closed ones go by age like any other. A directory that is not
/// there is fine.
pub fn prune(dir: &Path, limits: Limits, now: SystemTime, writes: impl Fn(&str) -> bool) -> Result<Pruned> {
    let fail = |error| LogError::new("read", dir, error);
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Pruned::default()),
        entries => entries.map_err(fail)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(fail)?;
        let (name, meta) = (entry.file_name(), entry.metadata().map_err(fail)?);
        let Some((name, stem)) = name.to_str().and_then(|name| Some((name, stem(name)?))) else { continue };
        if !meta.is_file() {
            continue;
        }
        let age = meta.modified().ok().and_then(|modified| now.duration_since(modified).ok()).unwrap_or_default();
        let open = name.strip_suffix(".log").is_some() && writes(stem);
        found.push(Found { path: entry.path(), bytes: meta.len(), age, open });
    }
    let mut pruned = Pruned::default();
    for file in chosen(found, limits) {
        match std::fs::remove_file(&file.path) {
            Ok(()) => pruned = Pruned { files: pruned.files + 1, bytes: pruned.bytes + file.bytes },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(LogError::new("remove", &file.path, error)),
        }
    }
    Ok(pruned)
}

/// What goes, oldest first.
fn chosen(mut found: Vec<Found>, limits: Limits) -> Vec<Found> {
    let mut bytes: u64 = found.iter().map(|file| file.bytes).sum();
    found.retain(|file| !file.open);
    found.sort_by(|a, b| b.age.cmp(&a.age).then_with(|| a.path.cmp(&b.path)));
    let mut files = found.len();
    found.retain(|file| {
        let goes = file.age > YOUNG && (file.age > limits.age || bytes > limits.bytes || files > limits.files);
        if goes {
            bytes -= file.bytes;
            files -= 1;
        }
        goes
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { age: Duration::from_hours(1), bytes: 100, files: 3 };

    fn goes(files: &[(&str, u64, u64, bool)], limits: Limits) -> String {
        let found = files.iter().map(|(name, bytes, minutes, open)| Found {
            path: name.into(),
            bytes: *bytes,
            age: Duration::from_mins(*minutes),
            open: *open,
        });
        chosen(found.collect(), limits).iter().map(|file| file.path.display().to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn old_files_go_and_open_ones_stay() {
        let files = [("old", 1, 61, false), ("open", 1, 9999, true), ("new", 1, 5, false)];
        assert_eq!(goes(&files, LIMITS), "old");
    }

    #[test]
    fn too_much_goes_from_the_oldest_on() {
        let files = [("open", 60, 50, true), ("c", 30, 3, false), ("a", 30, 9, false), ("b", 30, 5, false)];
        assert_eq!(goes(&files, LIMITS), "a b");
        let files = [("open", 600, 50, true), ("a", 30, 9, false), ("young", 30, 0, false)];
        assert_eq!(goes(&files, LIMITS), "a", "a young file may have a writer");
    }

    #[test]
    fn too_many_go_from_the_oldest_on() {
        let files = [("a", 1, 9, false), ("b", 1, 8, false), ("c", 1, 7, false), ("d", 1, 6, false), ("e", 1, 5, false)];
        assert_eq!(goes(&files, LIMITS), "a b");
    }

    #[test]
    fn only_segments_are_touched() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["web.1.d-1.log", "web.1.d-2.log", "web.1.d-2.log.1", "router.log", "other", "x.log.tmp"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        let later = SystemTime::now() + Duration::from_hours(2);
        let pruned = prune(dir.path(), LIMITS, later, |stem| stem == "router" || stem.ends_with(".d-2")).unwrap();
        assert_eq!(pruned, Pruned { files: 2, bytes: 2 });
        let mut left: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["other", "router.log", "web.1.d-2.log", "x.log.tmp"]);
        assert_eq!(prune(&dir.path().join("none"), LIMITS, later, |_| false).unwrap(), Pruned::default());
    }
}
