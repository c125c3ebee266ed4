//! One timer for each connection. Deadlines move with every byte; the timer itself is touched only when it fires early, so that a
//! busy connection costs the runtime's timer wheel (which has a lock) next to nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use super::stop::Stop;
use crate::code::Code;

#[derive(Debug)]
pub(crate) struct Deadline {
    sleep: Pin<Box<Sleep>>,
    stop: Arc<Stop>,
}

/// Why a wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Late,
    /// The router stops, and waited long enough.
    Forced,
}

impl Over {
    /// `late`, unless it was for another reason.
    pub(crate) fn code(self, late: Code) -> Code {
        match self {
            Self::Late => late,
            Self::Forced => Code::H24,
        }
    }
}

impl Deadline {
    pub(crate) fn new(first: Instant, stop: Arc<Stop>) -> Self {
        Self { sleep: Box::pin(sleep_until(first)), stop }
    }

    /// Ready once `due` has passed, or when the router cannot wait any longer.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<Over> {
        if self.stop.is_forced() {
            return Poll::Ready(Over::Forced);
        }
        if due < self.sleep.deadline() {
            self.sleep.as_mut().reset(due);
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(Over::Late);
            }
            self.sleep.as_mut().reset(due);
        }
        Poll::Pending
    }

    /// The future's result, or `None` once `due` has passed.
    pub(crate) async fn limit<F: Future>(&mut self, due: Instant, future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll(cx, due).map(|_| None),
        })
        .await
    }
}
