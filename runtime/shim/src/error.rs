//! Why a container could not be made or served.

use std::path::PathBuf;

/// One failed operation and what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShimError {
    /// The config file is no config.
    #[error("{path} is not a shim config: {why}; the agent writes these files, so update agent and shim together")]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A system call on a path.
    #[error("could not {doing} {path}: {why}", why = errno.desc())]
    Path {
        /// Verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        errno: nix::errno::Errno,
    },
    /// A system call.
    #[error("could not {doing}: {why}", why = errno.desc())]
    Call {
        /// Verb and object.
        doing: &'static str,
        /// Why.
        errno: nix::errno::Errno,
    },
    /// The root is made to reach outside, or is broken.
    #[error("the image's /{path} is {what}, not a directory; such an image is not started. Rebuild it without that entry")]
    Root {
        /// Inside.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// The low-level runtime refused.
    #[error("the container could not be created: {0}")]
    Engine(String),
}

/// With that error.
pub(crate) type Result<T> = std::result::Result<T, ShimError>;

/// Names the failed operation.
pub(crate) fn call(doing: &'static str) -> impl Fn(nix::errno::Errno) -> ShimError {
    move |errno| ShimError::Call { doing, errno }
}

/// Names the failed operation and its path.
pub(crate) fn on(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(nix::errno::Errno) -> ShimError {
    let path = path.into();
    move |errno| ShimError::Path { doing, path, errno }
}

/// An I/O error's errno.
pub(crate) fn errno(error: &std::io::Error) -> nix::errno::Errno {
    nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
