//! A commit becomes a directory.

use std::path::Path;

use git2::{FileMode, ObjectType, Oid, Repository, Tree as GitTree};

use super::{SlugIgnore, SourceError, SourceLimits, Tree, TreeWriter};
use crate::push::PushedObjects;

const MAX_LINK: usize = 4096;

/// Writes the commit's tree to `dest` (which must not exist), without what `.slugignore` names. Blocking: call it off the async threads.
pub fn checkout(objects: &PushedObjects, commit: &str, dest: &Path, limits: SourceLimits) -> Result<Tree, SourceError> {
    let failed = |source| SourceError::Commit { commit: commit.to_owned(), source };
    let repo = open(objects).map_err(failed)?;
    let oid = Oid::from_str(commit).map_err(failed)?;
    let tree = repo.find_object(oid, None).and_then(|object| object.peel_to_tree()).map_err(failed)?;
    if tree.is_empty() {
        return Err(SourceError::Empty);
    }
    let mut writer = TreeWriter::create(dest, limits)?;
    let mut path = Vec::new();
    walk(&repo, &tree, &mut path, &mut writer, limits.depth).map_err(|error| match error {
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

fn walk(repo: &Repository, tree: &GitTree<'_>, path: &mut Vec<u8>, writer: &mut TreeWriter, depth: usize) -> Result<(), Step> {
    let odb = repo.odb()?;
    for entry in tree {
        let length = path.len();
        if length > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(entry.name_bytes());
        match entry.filemode() {
            mode if mode == i32::from(FileMode::Tree) => {
                writer.dir(path)?;
                if depth == 0 {
                    return Err(SourceError::entry(path, "is nested too deep").into());
                }
                walk(repo, &repo.find_tree(entry.id())?, path, writer, depth - 1)?;
            }
            mode if mode == i32::from(FileMode::Commit) => {
                let shown = super::error::printable(path);
                writer.dir(path)?;
                writer.warn(format!("\"{shown}\" is a git submodule: it is not fetched, the app gets an empty directory."));
            }
            mode if mode == i32::from(FileMode::Link) => {
                let (size, _) = odb.read_header(entry.id())?;
                if size > MAX_LINK {
                    return Err(SourceError::entry(path, "is a link with an endless target").into());
                }
                writer.link(path, odb.read(entry.id())?.data())?;
            }
            mode => {
                // The size is known before the content is inflated: a bomb is refused by its header.
                let (size, kind) = odb.read_header(entry.id())?;
                if kind != ObjectType::Blob {
                    return Err(SourceError::entry(path, "is not a file").into());
                }
                writer.reserve(size as u64)?;
                let object = odb.read(entry.id())?;
                let executable = mode & 0o100 != 0;
                writer.file(path, object.len() as u64, executable, object.data())?;
            }
        }
        path.truncate(length);
    }
    Ok(())
}
