//! `.slugignore`: what the app does not need, in the manner of `.gitignore` without `!`. Only the top directory's file counts.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use landfall_glob::Pattern as Glob;

use super::{SourceError, Tree};

const MAX_BYTES: usize = 64 * 1024;
const MAX_PATTERNS: usize = 1000;
/// Kept whatever the patterns say: buildpacks look at them.
const KEPT: [&str; 4] = [".slugignore", "Procfile", "app.json", "package.json"];

/// The patterns of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlugIgnore {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    glob: Glob,
    /// Counts from the top directory only.
    anchored: bool,
    /// Counts for directories only.
    dir_only: bool,
}

impl SlugIgnore {
    /// Reads the text of a `.slugignore`. The second value is what was not understood.
    pub fn parse(text: &str) -> (Self, Vec<String>) {
        let mut warnings = Vec::new();
        let mut patterns = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line.starts_with('!') {
                warnings.push(format!(".slugignore: \"{line}\" is left out; patterns that begin with ! are not supported."));
                continue;
            }
            if patterns.len() == MAX_PATTERNS {
                warnings.push(format!(".slugignore: only the first {MAX_PATTERNS} patterns are used."));
                break;
            }
            let (body, dir_only) = line.strip_suffix('/').map_or((line, false), |body| (body, true));
            let anchored = body.contains('/');
            let glob = Glob::new(body);
            if !glob.is_empty() {
                patterns.push(Pattern { glob, anchored, dir_only });
            }
        }
        (Self { patterns }, warnings)
    }

    /// Whether this path (relative, names separated) is named. Its parents are asked separately.
    pub fn matches(&self, path: &[&[u8]], is_dir: bool) -> bool {
        if path.len() == 1 && KEPT.iter().any(|kept| kept.as_bytes() == path[0]) {
            return false;
        }
        self.patterns.iter().any(|pattern| {
            if pattern.dir_only && !is_dir {
                return false;
            }
            let below = if pattern.anchored { 0 } else { path.len().saturating_sub(1) };
            pattern.glob.matches(&path[below..])
        })
    }

    /// Removes what the tree's own `.slugignore` names.
    pub(crate) fn apply(root: &Path, tree: &mut Tree) -> Result<(), SourceError> {
        let Some(text) = super::read_file(root, ".slugignore", MAX_BYTES)? else { return Ok(()) };
        let (ignore, warnings) = Self::parse(&text);
        tree.warnings.extend(warnings);
        if !ignore.patterns.is_empty() {
            ignore.prune(root, &mut Vec::new())?;
        }
        Ok(())
    }

    fn prune(&self, dir: &Path, path: &mut Vec<Vec<u8>>) -> Result<(), SourceError> {
        let failed = |source| SourceError::Write { path: dir.to_owned(), source };
        for entry in fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Not through links: `file_type` is that of the entry itself, and removal never follows.
            let is_dir = entry.file_type().map_err(failed)?.is_dir();
            path.push(entry.file_name().as_bytes().to_vec());
            let names: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
            if self.matches(&names, is_dir) {
                if is_dir { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }.map_err(failed)?;
            } else if is_dir {
                self.prune(&entry.path(), path)?;
            }
            path.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ignored(patterns: &str, path: &str) -> bool {
        let (ignore, _) = SlugIgnore::parse(patterns);
        let is_dir = path.ends_with('/');
        let names: Vec<&[u8]> = path.trim_end_matches('/').split('/').map(str::as_bytes).collect();
        ignore.matches(&names, is_dir)
    }

    #[test]
    fn patterns_read_as_in_gitignore() {
        for (pattern, path) in [
            ("*.psd", "a.psd"),
            ("*.psd", "art/a.psd"),
            ("/docs", "docs/"),
            ("docs/", "docs/"),
            ("a/*/c", "a/b/c"),
            ("a/**/z", "a/b/c/z"),
            ("**/tmp", "x/tmp"),
            ("[a-c]?.txt", "b1.txt"),
            ("[!a].txt", "b.txt"),
            ("sp ace", "sp ace"),
            ("# c\n\nx\r\n", "x"),
        ] {
            assert!(ignored(pattern, path), "{pattern} should name {path}");
        }
        for (pattern, path) in [
            ("*.psd", "a.psd.txt"),
            ("/docs", "a/docs/"),
            ("docs/", "docs"),
            ("a/*/c", "a/b/b/c"),
            ("[a-c].txt", "d.txt"),
            ("# x", "x"),
            ("!x", "x"),
            ("*", "Procfile"),
            ("package.json", "package.json"),
        ] {
            assert!(!ignored(pattern, path), "{pattern} should not name {path}");
        }
    }

    proptest! {
        #[test]
        fn any_pattern_ends(pattern in "[*?a\\[\\]!/\\\\-]{0,40}", name in "[a/]{1,60}") {
            ignored(&pattern, &name);
        }
    }
}
