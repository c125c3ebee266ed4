//! JSON lines between the hook and the server.

use std::path::PathBuf;

/// Longest request: about 10,000 refs.
pub(super) const MAX_REQUEST: u64 = 2 * 1024 * 1024;

/// Sent once by the hook.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Request {
    /// Which push this is.
    pub(super) token: String,
    /// Where git keeps the new objects until the verdict.
    pub(super) quarantine: Option<PathBuf>,
    /// What the pusher wishes.
    pub(super) updates: Vec<Update>,
}

/// One line of the hook's standard input.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Update {
    /// Hash before, all zeros for a new ref.
    pub(super) old: String,
    /// Hash after, all zeros for a deletion.
    pub(super) new: String,
    /// `refs/heads/main`.
    pub(super) name: String,
}

/// Sent by the server, any number of lines and then one verdict.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// For the pusher.
    Line(String),
    /// Let git move the refs, or not.
    Verdict(bool),
}

impl Update {
    /// Reads `<old> <new> <ref>`.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(3, ' ');
        let (old, new, name) = (words.next()?, words.next()?, words.next()?);
        let hash = |text: &str| matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        (hash(old) && hash(new) && name.starts_with("refs/")).then(|| Self { old: old.into(), new: new.into(), name: name.into() })
    }

    /// Whether the ref is to go.
    pub(super) fn is_delete(&self) -> bool {
        self.new.bytes().all(|byte| byte == b'0')
    }

    /// The branch's name, if it is a branch.
    pub(super) fn branch(&self) -> Option<&str> {
        self.name.strip_prefix("refs/heads/")
    }
}
