//! Heroku's H-codes: why a request did not get an app's answer.
//!
//! Source: <https://devcenter.heroku.com/articles/error-codes>.

/// One H-code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Code {
    H10,
    H11,
    H12,
    H13,
    H14,
    H15,
    H17,
    H18,
    H19,
    H20,
    H21,
    H22,
    H23,
    H24,
    H25,
    H26,
    H27,
    H28,
    H80,
    H81,
    H99,
}

impl Code {
    /// All of them, so that pages can be made before they are needed.
    pub(crate) const ALL: [Self; 21] = [
        Self::H10,
        Self::H11,
        Self::H12,
        Self::H13,
        Self::H14,
        Self::H15,
        Self::H17,
        Self::H18,
        Self::H19,
        Self::H20,
        Self::H21,
        Self::H22,
        Self::H23,
        Self::H24,
        Self::H25,
        Self::H26,
        Self::H27,
        Self::H28,
        Self::H80,
        Self::H81,
        Self::H99,
    ];

    /// As log lines and pages spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::H10 => "H10",
            Self::H11 => "H11",
            Self::H12 => "H12",
            Self::H13 => "H13",
            Self::H14 => "H14",
            Self::H15 => "H15",
            Self::H17 => "H17",
            Self::H18 => "H18",
            Self::H19 => "H19",
            Self::H20 => "H20",
            Self::H21 => "H21",
            Self::H22 => "H22",
            Self::H23 => "H23",
            Self::H24 => "H24",
            Self::H25 => "H25",
            Self::H26 => "H26",
            Self::H27 => "H27",
            Self::H28 => "H28",
            Self::H80 => "H80",
            Self::H81 => "H81",
            Self::H99 => "H99",
        }
    }

    /// The `desc=` of log lines.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::H10 => "App crashed",
            Self::H11 => "Backlog too deep",
            Self::H12 => "Request timeout",
            Self::H13 => "Connection closed without response",
            Self::H14 => "No web processes running",
            Self::H15 => "Idle connection",
            Self::H17 => "Poorly formatted HTTP response",
            Self::H18 => "Server Request Interrupted",
            Self::H19 => "Backend connection timeout",
            Self::H20 => "App boot timeout",
            Self::H21 => "Backend connection refused",
            Self::H22 => "Connection limit reached",
            Self::H23 => "Endpoint misconfigured",
            Self::H24 => "Forced close",
            Self::H25 => "HTTP Restriction",
            Self::H26 => "Request Error",
            Self::H27 => "Client Request Interrupted",
            Self::H28 => "Client Connection Idle",
            Self::H80 => "Maintenance mode",
            Self::H81 => "Blank app",
            Self::H99 => "Platform error",
        }
    }

    /// The status a client sees, or that the log shows when there is nobody to see it.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::H25 => 502,
            Self::H26 => 400,
            Self::H27 | Self::H28 => 499,
            _ => 503,
        }
    }

    /// What a visitor can make of it.
    pub(crate) fn explanation(self) -> &'static str {
        match self {
            Self::H10 => "The app crashed. If it is yours, its log says why: landfall logs",
            Self::H11 => "The app has more requests than it can answer. Try again in a moment.",
            Self::H12 => "The app did not answer in time.",
            Self::H13 | Self::H18 => "The app closed the connection before its answer was complete.",
            Self::H14 => "The app has no web process. If it is yours, start one: landfall ps:scale web=1",
            Self::H15 | Self::H28 => "The connection was silent for too long.",
            Self::H17 => "The app's answer is not HTTP.",
            Self::H19 | Self::H21 => "The app does not take connections at the moment. Try again in a few seconds.",
            Self::H20 => "The app took too long to start. Try again in a moment.",
            Self::H22 => "The app has as many open connections as it may. Try again in a moment.",
            Self::H23 => "The app's address cannot be reached from here.",
            Self::H24 => "The connection was closed because the router is restarting. Try again.",
            Self::H25 => "The app's answer is larger than the router allows.",
            Self::H26 => "The request is not valid HTTP.",
            Self::H27 => "The request was interrupted.",
            Self::H80 => "The app is under maintenance. Please come back soon.",
            Self::H81 => "Nothing is deployed here yet. If the app is yours: git push landfall main",
            Self::H99 => "Something is wrong with the platform, not with the app. The operator can see it in the router's log.",
        }
    }
}
