//! Dynos: what a person sees of one running process.

/// Platform API `dyno.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DynoState {
    /// Started, not ready yet.
    Starting,
    /// Ready: its port listens, its health check passed, or it needs neither.
    Up,
    /// Asleep.
    Idle,
    /// Told to stop.
    Down,
    /// Ended by itself; it starts again after a back-off.
    Crashed,
}

impl DynoState {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Idle => "idle",
            Self::Down => "down",
            Self::Crashed => "crashed",
        }
    }
}
