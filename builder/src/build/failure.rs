//! Why a build failed, in words that end with the next step.

use crate::sandbox::SandboxError;
use crate::source::SourceError;

/// A build that gave no image.
#[derive(Debug, thiserror::Error)]
pub enum BuildFailure {
    /// The source could not be made into a tree, or holds what we refuse.
    #[error("the source cannot be used")]
    Source(#[from] SourceError),
    /// A file of the app that the platform reads is wrong.
    #[error("{file} is wrong: {message}")]
    BadFile {
        /// `Procfile`, `app.json`, `.slugignore`.
        file: &'static str,
        /// What is wrong, with its place.
        message: String,
    },
    /// No buildpack takes this source.
    #[error("no buildpack recognises the app")]
    NotRecognised,
    /// A buildpack said no, and said why in the log.
    #[error("a buildpack failed (exit code {code})")]
    Buildpack {
        /// The lifecycle's exit code.
        code: i32,
    },
    /// Somebody ended it: a process of its own, or one of the machine.
    #[error("the build was ended by signal {signal}")]
    Ended {
        /// Which one.
        signal: i32,
    },
    /// Over the wall time.
    #[error("the build ran longer than {minutes} minutes")]
    OutOfTime {
        /// The limit, rounded up.
        minutes: u64,
    },
    /// Over the memory limit.
    #[error("the build needed more than {mib} MB of memory")]
    OutOfMemory {
        /// The limit.
        mib: u64,
    },
    /// Over the disk limit.
    #[error("the build wrote more than {mib} MB")]
    OutOfDisk {
        /// The limit.
        mib: u64,
    },
    /// Over the number of files, or nested too deep.
    #[error("the build left too many files, or nests directories too deep")]
    TreeTooLarge,
    /// The machine's disk is full.
    #[error("this machine's disk is full")]
    HostDiskFull,
    /// A layer that the build was to stand on is not what its digest says.
    #[error("something on this machine's disk is damaged: {0}")]
    Damaged(String),
    /// The pusher is gone, or somebody cancelled.
    #[error("the build was cancelled")]
    Cancelled,
    /// The platform failed, not the app.
    #[error("the platform could not run the build: {0}")]
    Platform(String),
}

impl BuildFailure {
    /// A stable word for the API and for tests.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Source(_) => "source_refused",
            Self::BadFile { .. } => "bad_file",
            Self::NotRecognised => "not_recognised",
            Self::Buildpack { .. } => "buildpack_failed",
            Self::Ended { .. } => "build_ended",
            Self::OutOfTime { .. } => "build_timeout",
            Self::OutOfMemory { .. } => "build_memory",
            Self::OutOfDisk { .. } => "build_disk",
            Self::TreeTooLarge => "build_files",
            Self::HostDiskFull => "disk_full",
            Self::Damaged(_) => "damaged",
            Self::Cancelled => "cancelled",
            Self::Platform(_) => "platform",
        }
    }

    /// Whether the app's owner can mend it; else the operator must look.
    pub fn is_users(&self) -> bool {
        !matches!(self, Self::HostDiskFull | Self::Damaged(_) | Self::Platform(_))
    }

    /// Lines for the pusher: what failed, why, what to do. Shown after ` !     `.
    pub fn explain(&self) -> Vec<String> {
        let lines: &[&str] = match self {
            Self::Source(error) => return error.explain(),
            Self::BadFile { file, message } => {
                let mut lines = vec![format!("Push rejected, {file} is not right.")];
                lines.extend(message.lines().map(str::to_owned));
                lines.push(format!("Correct {file}, commit and push again."));
                return lines;
            }
            Self::NotRecognised => &["Push rejected, no buildpack recognises this app.", "Check what is committed with: git ls-files"],
            Self::Buildpack { .. } => {
                &["Push rejected, failed to compile the app.", "The lines above say what went wrong. Mend it, commit and push again."]
            }
            Self::Ended { signal } => {
                return vec![
                    format!("Push rejected, the build was ended by signal {signal} before it was done."),
                    "Push again; if it happens again, something in the build ends it, or the operator finds who with: landfall doctor"
                        .to_owned(),
                ];
            }
            Self::OutOfTime { minutes } => {
                return vec![
                    format!("Push rejected, the build ran longer than {minutes} minutes and was ended."),
                    "The last lines above show where it stood. The operator can allow more with build.minutes in landfall.toml.".to_owned(),
                ];
            }
            Self::OutOfMemory { mib } => {
                return vec![
                    format!("Push rejected, the build needed more than {mib} MB of memory and was ended."),
                    "The operator can allow more with build.memory_mib in landfall.toml.".to_owned(),
                ];
            }
            Self::OutOfDisk { mib } => {
                return vec![
                    format!("Push rejected, the build wrote more than {mib} MB and was ended."),
                    "Make the build leaner (fewer dependencies, .slugignore). The operator can allow more with build.disk_mib in landfall.toml."
                        .to_owned(),
                ];
            }
            Self::TreeTooLarge => &[
                "Push rejected, the build left more files than an image may have, or directories nested too deep.",
                "See what it makes with: landfall builds:output, and leave out what the app does not need.",
            ],
            Self::HostDiskFull => &[
                "Push rejected, this machine's disk is full. Running apps are not touched.",
                "The operator can see what fills it with: landfall doctor",
            ],
            Self::Cancelled => &["Build cancelled. Nothing was released; push again when you like."],
            Self::Damaged(message) => {
                return vec![
                    "Push rejected, something on this machine's disk is damaged. Running apps are not touched.".to_owned(),
                    message.clone(),
                    "Push again: the next build starts without what earlier builds left. If the base image is damaged, the operator makes it again \
                     with: landfall stacks:create"
                        .to_owned(),
                ];
            }
            Self::Platform(message) => {
                return vec![
                    "Push rejected, the platform could not run the build. This is not your app's fault.".to_owned(),
                    message.clone(),
                    "Push again; if it fails again the operator finds more with: landfall doctor".to_owned(),
                ];
            }
        };
        lines.iter().map(|line| (*line).to_owned()).collect()
    }
}

impl From<SandboxError> for BuildFailure {
    fn from(error: SandboxError) -> Self {
        match error {
            SandboxError::DiskFull(_) => Self::HostDiskFull,
            SandboxError::Damaged(message) => Self::Damaged(message),
            SandboxError::Unreachable(_) | SandboxError::Failed(_) => Self::Platform(error.to_string()),
        }
    }
}
