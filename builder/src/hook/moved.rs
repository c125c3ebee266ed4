//! Whether a branch is still where a pusher saw it.

use git2::{ErrorCode, Oid, Repository};

use super::wire::Update;

/// Where a branch is, compared with what a push wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// Where the pusher saw it.
    No,
    /// Where the pusher wants it.
    There,
    /// At a commit that the pushed one is based on: nothing is lost if it moves on.
    Below(Oid),
    /// At a commit that the pushed one knows nothing of.
    Apart(Oid),
}

/// Looks. The pushed commit must be readable through `repo`.
pub(super) fn moved(repo: &Repository, update: &Update) -> Result<Moved, git2::Error> {
    let new = Oid::from_str(&update.new)?;
    let current = match repo.refname_to_id(&update.name) {
        Ok(current) => current,
        Err(error) if error.code() == ErrorCode::NotFound => return Ok(Moved::No),
        Err(error) => return Err(error),
    };
    Ok(match () {
        () if current.to_string() == update.old => Moved::No,
        () if current == new => Moved::There,
        () if repo.graph_descendant_of(new, current)? => Moved::Below(current),
        () => Moved::Apart(current),
    })
}
