//! A commit becomes a directory.

use std::path::Path;

use git2::{FileMode, ObjectType, Oid, Repository, Tree as GitTree};

use super::blob::Blob;
use super::{SlugIgnore, SourceError, SourceLimits, Tree, TreeWriter};
use crate::push::PushedObjects;

const MAX_LINK: usize = 4096;
/// Longest commit that is read: its message is in it.
const MAX_COMMIT: usize = 1024 * 1024;
/// A tree object is held in memory whole. An entry takes 28 bytes and its name.
const TREE_ENTRY: u64 = 128;

/// Writes the commit's tree to `dest` (which must not exist), without what `.slugignore` names. Blocking: call it off the async threads.
pub fn checkout(objects: &PushedObjects, commit: &str, dest: &Path, limits: SourceLimits) -> Result<Tree, SourceError> {
    let failed = |source| SourceError::Commit { commit: commit.to_owned(), source };
    let repo = open(objects).map_err(failed)?;
    let oid = Oid::from_str(commit).map_err(failed)?;
    let (size, _) = repo.odb().and_then(|odb| odb.read_header(oid)).map_err(failed)?;
    if size > MAX_COMMIT {
        return Err(SourceError::entry(commit.as_bytes(), "is a commit with an endless message"));
    }
    let root = repo.find_commit(oid).map(|commit| commit.tree_id()).map_err(failed)?;
    let walk = Walk { objects, repo: &repo, limits };
    walk.fits(walk.repo.odb().and_then(|odb| odb.read_header(root)).map_err(failed)?.0)?;
    let tree = repo.find_tree(root).map_err(failed)?;
    if tree.is_empty() {
        return Err(SourceError::Empty);
    }
    let mut writer = TreeWriter::create(dest, limits)?;
    let mut path = Vec::new();
    walk.tree(&tree, &mut path, &mut writer, limits.depth).map_err(|error| match error {
        Step::Source(error) => error,
        Step::Git(source) => failed(source),
    })?;
    let mut made = writer.finish()?;
    SlugIgnore::apply(dest, &mut made)?;
    Ok(made)
}

/// The repository, also seeing what is not accepted yet. No configuration but the repository's own is read.
pub(crate) fn open(objects: &PushedObjects) -> Result<Repository, git2::Error> {
    let repo = Repository::open_bare(&objects.repo)?;
    let odb = repo.odb()?;
    for dir in &objects.quarantine {
        odb.add_disk_alternate(&dir.to_string_lossy())?;
    }
    drop(odb);
    Ok(repo)
}

enum Step {
    Source(SourceError),
    Git(git2::Error),
}

impl From<SourceError> for Step {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<git2::Error> for Step {
    fn from(error: git2::Error) -> Self {
        Self::Git(error)
    }
}

struct Walk<'a> {
    objects: &'a PushedObjects,
    repo: &'a Repository,
    limits: SourceLimits,
}

impl Walk<'_> {
    fn tree(&self, tree: &GitTree<'_>, path: &mut Vec<u8>, writer: &mut TreeWriter, depth: usize) -> Result<(), Step> {
        let odb = self.repo.odb()?;
        for entry in tree {
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(entry.name_bytes());
            // The size is known before the content is inflated: a bomb is refused by its header.
            let header = || odb.read_header(entry.id());
            match entry.filemode() {
                mode if mode == i32::from(FileMode::Tree) => {
                    writer.dir(path)?;
                    if depth == 0 {
                        return Err(SourceError::entry(path, "is nested too deep").into());
                    }
                    self.fits(header()?.0)?;
                    self.tree(&self.repo.find_tree(entry.id())?, path, writer, depth - 1)?;
                }
                mode if mode == i32::from(FileMode::Commit) => {
                    let shown = super::error::printable(path);
                    writer.dir(path)?;
                    writer.warn(format!("\"{shown}\" is a git submodule: it is not fetched, the app gets an empty directory."));
                }
                mode if mode == i32::from(FileMode::Link) => {
                    if header()?.0 > MAX_LINK {
                        return Err(SourceError::entry(path, "is a link with an endless target").into());
                    }
                    writer.link(path, odb.read(entry.id())?.data())?;
                }
                mode => {
                    let (size, kind) = header()?;
                    if kind != ObjectType::Blob {
                        return Err(SourceError::entry(path, "is not a file").into());
                    }
                    writer.reserve(size as u64)?;
                    let mut content = Blob::open(self.objects, &odb, entry.id(), size)?;
                    writer.file(path, size as u64, mode & 0o100 != 0, &mut content)?;
                    content.end().map_err(|error| git2::Error::from_str(&error.to_string()))?;
                }
            }
            path.truncate(length);
        }
        Ok(())
    }

    /// A directory of so many bytes of names does not hold more files than a source may.
    fn fits(&self, size: usize) -> Result<(), SourceError> {
        let limit = self.limits.entries;
        if size as u64 > limit.saturating_mul(TREE_ENTRY) { Err(SourceError::TooMuch { limit, unit: "files" }) } else { Ok(()) }
    }
}
