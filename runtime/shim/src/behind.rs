//! What waits until the log has what was said before it: an answer, the report of an exit. Not for ever, as the log's disk may hang.

use std::time::{Duration, Instant};

use landfall_runtime_wire::ExitStatus;
use landfall_runtime_wire::shim::ShimEvent;

use crate::supervise::Shim;

/// How long a disk may take for what is, at most, a queue's and a pipe's bytes. Then it hangs, and the world goes on without it. Less than the
/// agent waits for an answer (5 s).
const PATIENCE: Duration = Duration::from_secs(2);

/// Something that waits.
pub(crate) struct Behind {
    mark: u64,
    until: Instant,
    then: Then,
}

/// What happens then.
pub(crate) enum Then {
    /// This client hears that it is done.
    Answer(u64),
    /// The container's exit is reported.
    Report(ExitStatus),
    /// The shim ends.
    Quit,
}

impl Shim {
    /// Does it once all that was said until now is in the log; in the order asked for.
    pub(crate) fn after_the_log(&mut self, then: Then) {
        self.behind.push_back(Behind { mark: self.output.mark(), until: Instant::now() + PATIENCE, then });
    }

    /// When to stop waiting for the log.
    pub(crate) fn behind_until(&self) -> Option<Instant> {
        self.behind.front().map(|first| first.until)
    }

    /// Does what has waited long enough.
    pub(crate) fn catch_up(&mut self) {
        while let Some(first) = self.behind.pop_front_if(|first| self.output.written(first.mark) || first.until <= Instant::now()) {
            match first.then {
                Then::Answer(client) => self.answer(client, &ShimEvent::Done),
                Then::Report(status) => self.report(status),
                Then::Quit => self.quit = true,
            }
        }
    }
}
