//! Errors of the agent: what we were doing, why it failed, what to do next. They cross the socket as they are.

use landfall_runtime_wire::agent::{Fault, FaultCode};

/// What the agent's functions return.
pub type Result<T> = std::result::Result<T, Fault>;

/// A fault without a hint.
pub(crate) fn fault(code: FaultCode, message: impl Into<String>) -> Fault {
    Fault { code, message: message.into(), hint: None }
}

/// A fault with the next thing to do.
pub(crate) fn fault_hint(code: FaultCode, message: impl Into<String>, hint: impl Into<String>) -> Fault {
    Fault { code, message: message.into(), hint: Some(hint.into()) }
}

/// Adds what we were doing to a system error; a full disk keeps its own code.
pub(crate) trait Doing<T> {
    /// `doing("reading /x")` gives "reading /x: permission denied".
    fn doing(self, what: impl std::fmt::Display) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl std::fmt::Display) -> Result<T> {
        self.map_err(|error| {
            let error: std::io::Error = error.into();
            match error.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => fault_hint(
                    FaultCode::DiskFull,
                    format!("{what}: the disk is full"),
                    "Free some space on the disk of Landfall's data; landfall doctor says how much there is",
                ),
                std::io::ErrorKind::NotFound => fault(FaultCode::NotFound, format!("{what}: not found")),
                _ => fault(FaultCode::Internal, format!("{what}: {error}")),
            }
        })
    }
}

/// Runs blocking work away from the reactor. It begins at once, whether or not anybody waits for it yet.
pub(crate) fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> impl Future<Output = Result<T>> {
    let work = tokio::task::spawn_blocking(work);
    async {
        match work.await {
            Ok(result) => result,
            Err(error) => Err(fault(FaultCode::Internal, format!("a worker of the agent failed: {error}"))),
        }
    }
}
