//! Why a request to the agent failed.

use std::path::PathBuf;
use std::time::Duration;

use landfall_runtime_wire::agent::{Fault, FaultCode, Reply};

/// Why a request to the agent failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens, or we may not talk to it.
    #[error("connecting to the agent at {socket}")]
    Connect {
        /// The agent's socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke, or spoke another language.
    #[error("talking to the agent")]
    Talk(#[source] std::io::Error),
    /// The agent went away in the middle.
    #[error("the agent hung up in the middle of a request")]
    HungUp,
    /// No answer in time.
    #[error("the agent did not answer within {0:?}")]
    Deadline(Duration),
    /// The agent answered something else.
    #[error("the agent answered {0} out of turn")]
    Unexpected(String),
    /// The agent said no.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl ClientError {
    /// The agent's word for what went wrong, if it was the agent that said so.
    pub fn fault_code(&self) -> Option<FaultCode> {
        match self {
            Self::Fault(fault) => Some(fault.code),
            _ => None,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Fault(fault) => fault.hint.clone(),
            Self::Connect { .. } => Some("Is the agent running? Start it with: landfall up".to_owned()),
            _ => None,
        }
    }

    pub(super) fn unexpected(reply: &Reply) -> Self {
        let text = format!("{reply:?}");
        Self::Unexpected(text.split([' ', '{']).next().unwrap_or_default().to_owned())
    }

    pub(super) fn from_reply(reply: Reply) -> Self {
        match reply {
            Reply::Failed { fault } => Self::Fault(fault),
            other => Self::unexpected(&other),
        }
    }
}
