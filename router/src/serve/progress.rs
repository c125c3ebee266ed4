//! What both directions of one exchange know of each other. Both are polled by one task; atomics only because a task may move
//! between threads.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::code::Code;
use crate::config::Limits;

/// Whom a direction waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum On {
    Client = 0,
    Dyno = 1,
}

#[derive(Debug)]
pub(crate) struct Progress {
    base: Instant,
    first_byte: Duration,
    idle: Duration,
    due_us: AtomicU64,
    request_on: AtomicU8,
    response_on: AtomicU8,
    /// The whole request was sent.
    sent: AtomicBool,
    /// The dyno no longer takes the request.
    refused: AtomicBool,
    /// At least one byte came from the dyno.
    heard: AtomicBool,
    /// At least one byte of the final response went to the client.
    started: AtomicBool,
    pub(crate) status: AtomicU16,
    pub(crate) bytes: AtomicU64,
}

impl Progress {
    pub(crate) fn new(limits: &Limits) -> Self {
        let progress = Self {
            base: Instant::now(),
            first_byte: limits.first_byte,
            idle: limits.idle,
            due_us: AtomicU64::new(0),
            request_on: AtomicU8::new(On::Dyno as u8),
            response_on: AtomicU8::new(On::Dyno as u8),
            sent: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            started: AtomicBool::new(false),
            status: AtomicU16::new(0),
            bytes: AtomicU64::new(0),
        };
        progress.due_in(limits.first_byte);
        progress
    }

    fn due_in(&self, time: Duration) {
        self.due_us.store((self.base.elapsed() + time).as_micros() as u64, Relaxed);
    }

    pub(crate) fn due(&self) -> Instant {
        self.base + Duration::from_micros(self.due_us.load(Relaxed))
    }

    pub(crate) fn service_ms(&self) -> u64 {
        self.base.elapsed().as_millis() as u64
    }

    /// Bytes moved in the request's direction.
    pub(crate) fn request_moved(&self) {
        self.due_in(self.idle);
    }

    /// Bytes moved in the response's direction.
    pub(crate) fn response_moved(&self) {
        self.heard.store(true, Relaxed);
        self.due_in(self.idle);
    }

    pub(crate) fn request_waits(&self, on: On) {
        self.request_on.store(on as u8, Relaxed);
    }

    pub(crate) fn response_waits(&self, on: On) {
        self.response_on.store(on as u8, Relaxed);
    }

    /// From now on it is the dyno's turn.
    pub(crate) fn request_ended(&self, complete: bool) {
        if complete {
            self.sent.store(true, Relaxed);
        } else {
            self.refused.store(true, Relaxed);
        }
        if !self.heard() {
            self.due_in(self.first_byte);
        }
    }

    pub(crate) fn is_sent(&self) -> bool {
        self.sent.load(Relaxed)
    }

    pub(crate) fn heard(&self) -> bool {
        self.heard.load(Relaxed)
    }

    pub(crate) fn start(&self, status: u16) {
        self.status.store(status, Relaxed);
        self.started.store(true, Relaxed);
    }

    pub(crate) fn started(&self) -> bool {
        self.started.load(Relaxed)
    }

    pub(crate) fn sent_to_client(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Whose silence it is when the time is over.
    pub(crate) fn timeout_code(&self) -> Code {
        let uploading = !self.is_sent() && !self.refused.load(Relaxed);
        let client_owes = uploading && self.request_on.load(Relaxed) == On::Client as u8;
        if !self.heard() {
            return if client_owes { Code::H28 } else { Code::H12 };
        }
        if client_owes || self.response_on.load(Relaxed) == On::Client as u8 { Code::H28 } else { Code::H15 }
    }
}
