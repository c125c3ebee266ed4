//! Why the router cannot start.

use std::io;
use std::path::PathBuf;

use crate::pages::PageError;

/// Why the router cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// An address is taken, or not ours to take.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address.
        addr: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The control socket could not be made.
    #[error("cannot make the control socket {}", path.display())]
    Control {
        /// Of the socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The last table is there but cannot be read. It is left as it is.
    #[error("cannot read the route table {}", path.display())]
    Table {
        /// Of the file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A directory that is missing could not be made.
    #[error("cannot make the directory {}", path.display())]
    Directory {
        /// Of the directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A page template is wrong.
    #[error("cannot prepare the error pages")]
    Pages(#[source] PageError),
    /// The thread for log lines could not be started.
    #[error("cannot start the thread that writes request lines")]
    Log(#[source] io::Error),
}

impl RouterError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Listen { addr, .. } => format!("see who has it with: ss -ltnp | grep {addr}; or choose another address for the router"),
            Self::Control { path, .. } => format!("see who has it with: ss -lxp | grep {}; its directory must be writable", path.display()),
            Self::Table { path, .. } => format!("move it away (mv {0} {0}.bad) and the server will send a new one", path.display()),
            Self::Directory { path, .. } => format!("make it and give it to the router's user: mkdir -p {}", path.display()),
            Self::Pages(_) => "correct the template, or remove it to use the built-in page".to_owned(),
            Self::Log(_) => "see the limits of the process with: ulimit -a".to_owned(),
        }
    }
}
