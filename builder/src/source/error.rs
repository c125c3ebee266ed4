//! Why a source is refused.

use std::path::PathBuf;

/// A source that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// One entry breaks a rule.
    #[error("\"{path}\" {rule}")]
    Entry {
        /// The entry, with control characters escaped.
        path: String,
        /// The rule, as the end of a sentence.
        rule: String,
    },
    /// Too much of something.
    #[error("the source holds more than {limit} {unit}")]
    TooMuch {
        /// The limit.
        limit: u64,
        /// Of what: `MB`, `files`.
        unit: &'static str,
    },
    /// No file at all.
    #[error("the source holds no file")]
    Empty,
    /// The commit cannot be read.
    #[error("commit {commit} cannot be read")]
    Commit {
        /// Its hash.
        commit: String,
        /// Why.
        #[source]
        source: git2::Error,
    },
    /// The archive is no `.tar.gz`, or is damaged.
    #[error("the source archive cannot be read")]
    Archive(#[source] std::io::Error),
    /// `.slugignore` or another file we read is wrong.
    #[error("{file}: {message}")]
    File {
        /// Its name.
        file: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The disk said no.
    #[error("writing {} failed", path.display())]
    Write {
        /// What was being written.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl SourceError {
    /// An entry that breaks a rule.
    pub(crate) fn entry(path: &[u8], rule: impl Into<String>) -> Self {
        Self::Entry { path: printable(path), rule: rule.into() }
    }

    /// Whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Write { source, .. } if source.kind() == std::io::ErrorKind::StorageFull
            || source.kind() == std::io::ErrorKind::QuotaExceeded)
    }

    /// Lines for the pusher.
    pub fn explain(&self) -> Vec<String> {
        let (why, next) = match self {
            Self::Entry { .. } => (format!("{self}."), "Change or remove it (git rm --cached keeps your own copy), commit and push again."),
            Self::TooMuch { .. } => (
                format!("{self}."),
                "Keep data out of the repository (object storage, a database) and list what the app does not need in .slugignore.",
            ),
            Self::Empty => ("The commit holds no file.".to_owned(), "Add the app's files: git add . && git commit"),
            Self::Commit { source, .. } => (format!("{self}: {}.", source.message()), "Check your repository with: git fsck"),
            Self::Archive(source) => (format!("{self}: {source}."), "Send a gzip-compressed tar: tar -czf source.tgz ."),
            Self::File { .. } => (format!("{self}."), "Correct it, commit and push again."),
            Self::Write { source, .. } if self.is_disk_full() => {
                (format!("This machine's disk is full ({source})."), "The operator can see what fills it with: landfall doctor")
            }
            Self::Write { source, .. } => (format!("{self}: {source}."), "The operator finds more with: landfall doctor"),
        };
        let mut letters = why.chars();
        let why = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
        vec!["Push rejected, the source cannot be used.".to_owned(), why, next.to_owned()]
    }
}

/// A path for people: cut, control characters escaped.
pub(crate) fn printable(path: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(path).chars().take(200).collect();
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}
