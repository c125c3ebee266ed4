//! A push as the control plane sees it: what arrived, where to tell of it, and the answer git waits for.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use git2::{Oid, Repository};
use landfall_model::{AccountId, AppId, AppName};
use tokio_util::sync::CancellationToken;

/// Branches whose push is a deploy (trust rule G4).
pub const DEPLOY_BRANCHES: [&str; 2] = ["main", "master"];

/// Objects of one push: the repository's own, and those git keeps apart until the push is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedObjects {
    /// The bare repository.
    pub repo: PathBuf,
    /// Object directories that hold what is not accepted yet.
    pub quarantine: Vec<PathBuf>,
}

impl PushedObjects {
    /// Whether a branch that deploys is at this commit: an earlier push of it was accepted. Blocking.
    pub fn accepted_before(&self, commit: &str) -> bool {
        let (Ok(repo), Ok(commit)) = (Repository::open_bare(&self.repo), Oid::from_str(commit)) else { return false };
        DEPLOY_BRANCHES.iter().any(|branch| repo.refname_to_id(&format!("refs/heads/{branch}")).is_ok_and(|at| at == commit))
    }
}

/// A push to a deploy branch, not accepted yet.
#[derive(Clone, Debug)]
pub struct Push {
    /// The app pushed to.
    pub app: AppId,
    /// Its name when the push began.
    pub app_name: AppName,
    /// Who pushes.
    pub account: AccountId,
    /// Who pushes, for people.
    pub user: String,
    /// Where the pusher came from.
    pub address: Option<IpAddr>,
    /// Where the commit is to be read from while the push waits.
    pub objects: PushedObjects,
    /// `main` or `master`.
    pub branch: String,
    /// Full hash of the pushed commit.
    pub commit: String,
}

/// Why a push is refused, in words for the pusher. Shown as ` !     ` lines; may have several lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PushRefused {
    /// What failed, why, and what to type next.
    pub message: String,
}

impl PushRefused {
    /// A refusal with this text. It may quote what somebody pushed, and goes to terminals: what would move a cursor there, or turn the
    /// direction of writing, is shown and not done (trust rule R11).
    pub fn new(message: impl Into<String>) -> Self {
        let message: String = message.into();
        let shown = |c: char| if must_be_shown(c) { c.escape_default().to_string() } else { c.to_string() };
        Self { message: if message.contains(must_be_shown) { message.chars().map(shown).collect() } else { message } }
    }
}

fn must_be_shown(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Takes lines for a person to read. Never blocks: a reader that is too slow loses lines, not the writer time (trust rule G6).
pub trait LineSink: Send + Sync + 'static {
    /// One line without its line feed.
    fn line(&self, text: &str);
}

/// A sink that can be held by several writers.
pub type Lines = Arc<dyn LineSink>;

/// What the control plane does with a push: build, release, answer. Implemented by the controller.
pub trait PushHandler: Send + Sync + 'static {
    /// Runs the push to its end. `Ok` lets git move the branch; `Err` refuses the push, its message is shown. Pushes to one app come one at a
    /// time. `cancel` fires when the pusher is gone (Ctrl-C); the future is still awaited, so it must stop its work and return.
    fn push(&self, push: Push, lines: Lines, cancel: CancellationToken) -> BoxFuture<'_, Result<(), PushRefused>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_moves_no_cursor() {
        let refused = PushRefused::new("line 2: \u{1b}[2Jweb\r\u{202e}: x\nNext: fix it");
        assert_eq!(refused.message, "line 2: \\u{1b}[2Jweb\\r\\u{202e}: x\nNext: fix it");
    }
}
