//! One request: which app, which dyno, what came back, and the line that says so.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

use super::connection::{Conn, Next, Watched};
use super::progress::Progress;
use super::rechunk::is_sound_so_far;
use super::relay::{Failure, relay};
use super::transport::Transport;
use super::tunnel::tunnel;
use super::upstream::Upstream;
use crate::access_log::Line;
use crate::code::Code;
use crate::http1::Framing;
use crate::http1::response::Asked;
use crate::routes::app::{App, Choice};
use crate::routes::backend::{Backend, Slot};

/// What the log line says about the way a request went.
#[derive(Debug, Default)]
struct Trip {
    backend: Option<Arc<Backend>>,
    connect_ms: u64,
    service_ms: u64,
    status: u16,
    bytes: u64,
    code: Option<Code>,
}

/// How an attempt ended.
enum Attempt {
    Ended(Next),
    /// The dyno did not get it, or may get it twice.
    Again,
    Failed(Code),
    /// The client's fault, found out too late for the routing stage.
    BadBody,
    /// No page: the client left, or has part of a response already.
    Cut(Code),
}

/// Answers the request that was just read.
pub(crate) async fn exchange<T: Transport>(conn: &mut Conn<T>) -> Next {
    let Some(app) = conn.shared.routes.find(conn.request.host()) else {
        let body = conn.shared.pages.not_found();
        let (is_head, keep) = (conn.request.is_head(), conn.request.keep_alive && !conn.request.has_body());
        return conn.page(404, &body, is_head, keep).await;
    };
    conn.shared.requests.fetch_add(1, Ordering::Relaxed);
    app.requests.fetch_add(1, Ordering::Relaxed);
    let mut trip = Trip::default();
    let next = if let Some(status) = refusal(conn) {
        trip.code = Some(Code::H26);
        trip.status = status;
        let body = conn.shared.pages.error(Code::H26, status);
        let is_head = conn.request.is_head();
        conn.page(status, &body, is_head, false).await
    } else {
        match app.open(conn.shared.limits.connections_per_app) {
            Some(_open) => route(conn, &app, &mut trip).await,
            None => fail(conn, &mut trip, Code::H22).await,
        }
    };
    app.bytes.fetch_add(trip.bytes, Ordering::Relaxed);
    log::<T>(conn, &app, &trip);
    next
}

/// The status of a request that is well-formed and yet not served.
fn refusal<T>(conn: &Conn<T>) -> Option<u16> {
    if conn.request.method() == b"TRACE" {
        return Some(405);
    }
    if conn.request.bad_expectation {
        return Some(417);
    }
    (conn.request.framing() == Framing::Chunked && !is_sound_so_far(conn.ahead.bytes())).then_some(400)
}

/// Tries dynos until one answered or none is left.
async fn route<T: Transport>(conn: &mut Conn<T>, app: &Arc<App>, trip: &mut Trip) -> Next {
    let arrived = Instant::now();
    let head_length = conn.request.len();
    let mut tried: Vec<Arc<str>> = Vec::new();
    let mut failure = None;
    let mut repeated = false;
    loop {
        let slot = match wait_for_slot(conn, app, arrived, &tried, failure).await {
            Ok(Some(slot)) => slot,
            Ok(None) => {
                trip.status = 404;
                let body = conn.shared.pages.not_found();
                return conn.page(404, &body, conn.request.is_head(), false).await;
            }
            Err(Code::H27) => return cut(trip, Code::H27),
            Err(code) => return fail(conn, trip, code).await,
        };
        trip.backend = Some(Arc::clone(&slot.backend));
        let upstream = match connect(conn, &slot, repeated, trip).await {
            Ok(upstream) => upstream,
            Err(Code::H27) => return cut(trip, Code::H27),
            // Neither is the dyno's fault.
            Err(code @ (Code::H24 | Code::H99)) => return fail(conn, trip, code).await,
            Err(code) => {
                let until = conn.shared.now_ms() + conn.shared.limits.quarantine.as_millis() as u64;
                slot.backend.quarantine(until, code == Code::H19);
                tried.push(Arc::clone(&slot.backend.id));
                failure = Some(code);
                continue;
            }
        };
        match attempt(conn, slot, upstream, head_length, trip, repeated).await {
            Attempt::Ended(next) => return next,
            Attempt::Again => repeated = true,
            Attempt::Failed(code) => return fail(conn, trip, code).await,
            Attempt::Cut(code) => return cut(trip, code),
            Attempt::BadBody => {
                trip.code = Some(Code::H26);
                trip.status = 400;
                let body = conn.shared.pages.error(Code::H26, 400);
                return conn.page(400, &body, conn.request.is_head(), false).await;
            }
        }
    }
}

async fn fail<T: Transport>(conn: &mut Conn<T>, trip: &mut Trip, code: Code) -> Next {
    if code == Code::H99 {
        conn.shared.platform_errors.fetch_add(1, Ordering::Relaxed);
    }
    trip.code = Some(code);
    trip.status = code.status();
    let body = conn.shared.pages.error(code, code.status());
    // What the router answers by itself leaves the connection in order; after a dyno's bad answer it is closed.
    let keep = trip.backend.is_none() && conn.request.keep_alive && !conn.request.has_body();
    conn.page(code.status(), &body, conn.request.is_head(), keep).await
}

fn cut(trip: &mut Trip, code: Code) -> Next {
    trip.code = Some(code);
    trip.status = code.status();
    Next::Cut
}

/// Waits for a place at a dyno; `None` if the app was removed meanwhile.
async fn wait_for_slot<T: Transport>(
    conn: &mut Conn<T>,
    app: &Arc<App>,
    arrived: Instant,
    tried: &[Arc<str>],
    failure: Option<Code>,
) -> Result<Option<Slot>, Code> {
    let shared = Arc::clone(&conn.shared);
    let choose = || app.choose(rand::random(), shared.now_ms(), &shared.limits, tried, failure);
    match choose() {
        Choice::Go(slot) => return Ok(Some(slot)),
        Choice::Fail(code) => return Err(code),
        Choice::Gone => return Ok(None),
        Choice::Queue | Choice::Boot => {}
    }
    let _waiting = Waiting::new(app);
    loop {
        let mut wake = std::pin::pin!(app.wake.notified());
        wake.as_mut().enable();
        let (due, late) = match choose() {
            Choice::Go(slot) => return Ok(Some(slot)),
            // Those who wait already are not turned away because others wait as well.
            Choice::Queue | Choice::Fail(Code::H11) => (arrived + shared.limits.first_byte, Code::H12),
            Choice::Boot => (arrived + shared.limits.boot_wait, Code::H20),
            Choice::Fail(code) => return Err(code),
            Choice::Gone => return Ok(None),
        };
        match conn.watched(due, wake).await {
            Watched::Done(()) => {}
            Watched::ClientLeft => return Err(Code::H27),
            Watched::Over(over) => return Err(over.code(late)),
        }
    }
}

/// Counts a waiting request while it lives.
struct Waiting<'a>(&'a App);

impl<'a> Waiting<'a> {
    fn new(app: &'a App) -> Self {
        app.waiting.fetch_add(1, Ordering::SeqCst);
        Self(app)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An idle connection where a lost one could be made good by sending again; a new one otherwise.
async fn connect<T: Transport>(conn: &mut Conn<T>, slot: &Slot, repeated: bool, trip: &mut Trip) -> Result<Box<Upstream>, Code> {
    let now = Instant::now();
    if conn.request.may_repeat()
        && !repeated
        && let Some(upstream) = slot.backend.idle_connection(conn.shared.limits.upstream_keep_alive, now)
    {
        trip.connect_ms = 0;
        return Ok(upstream);
    }
    let patience = conn.shared.limits.connect_timeout;
    // Twice the patience: the connect itself gives up first.
    let budget = Arc::clone(&conn.shared.budget);
    let result = match conn.watched(now + patience * 2, Upstream::connect(slot.backend.addr, patience, &budget)).await {
        Watched::Done(result) => result,
        Watched::ClientLeft => Err(Code::H27),
        Watched::Over(over) => Err(over.code(Code::H19)),
    };
    trip.connect_ms = now.elapsed().as_millis() as u64;
    result
}

async fn attempt<T: Transport>(
    conn: &mut Conn<T>,
    mut slot: Slot,
    mut upstream: Box<Upstream>,
    head_length: usize,
    trip: &mut Trip,
    repeated: bool,
) -> Attempt {
    slot.backend.requests.fetch_add(1, Ordering::Relaxed);
    let shared = Arc::clone(&conn.shared);
    let request = &mut conn.request;
    let (framing, may_repeat) = (request.framing(), request.may_repeat());
    let asked = Asked {
        is_head: request.is_head(),
        is_http11: request.is_http11,
        keep_alive: request.keep_alive && !shared.stop.has_begun(),
        upgrade: request.upgrade,
    };
    let head = request.finish(trip.connect_ms, head_length);
    let progress = Progress::new(&shared.limits);
    let result = relay(
        &mut conn.client,
        &mut conn.ahead,
        &mut upstream,
        head,
        framing,
        asked,
        &mut conn.scratch,
        &mut conn.timer,
        &progress,
        &shared.limits,
    )
    .await;
    trip.service_ms = progress.service_ms();
    trip.status = progress.status.load(Ordering::Relaxed);
    trip.bytes = progress.bytes.load(Ordering::Relaxed);
    match result {
        Ok(response) if response.status == 101 => {
            slot.become_tunnel();
            let (bytes, ended) = tunnel(&mut conn.client, &mut conn.ahead, &mut upstream, &mut conn.timer, shared.limits.idle).await;
            trip.service_ms = progress.service_ms();
            trip.bytes = bytes;
            trip.code = ended.err();
            Attempt::Ended(Next::Cut)
        }
        Ok(response) => {
            let complete = progress.is_sent();
            if complete && response.keep_alive && upstream.buffer.is_empty() {
                upstream.idle_since = Instant::now();
                upstream.buffer.shrink();
                slot.backend.keep(upstream, &shared.pool);
            }
            Attempt::Ended(if complete && response.keep_client { Next::Keep } else { Next::Linger })
        }
        // Nothing was sent, or it does no harm to send it once more; only once, and on a new connection.
        Err(Failure::Silent { sent }) if !repeated && (may_repeat || (!sent && !progress.heard())) => Attempt::Again,
        Err(Failure::Silent { .. }) => Attempt::Failed(Code::H13),
        Err(Failure::BadBody) if !progress.started() => Attempt::BadBody,
        Err(Failure::BadBody) => Attempt::Cut(Code::H27),
        // The client got a part and left: its right. The line shows how much it took.
        Err(Failure::Code(Code::H27)) if progress.started() => Attempt::Ended(Next::Cut),
        Err(Failure::Code(code @ (Code::H27 | Code::H28))) => Attempt::Cut(code),
        Err(Failure::Code(code)) if progress.started() => Attempt::Cut(code),
        Err(Failure::Code(code)) => Attempt::Failed(code),
    }
}

fn log<T: Transport>(conn: &Conn<T>, app: &App, trip: &Trip) {
    if let Some(log) = &app.state().log {
        let line = Line {
            request: &conn.request,
            code: trip.code,
            dyno: trip.backend.as_ref().map_or("", |backend| &backend.dyno),
            connect_ms: trip.connect_ms,
            service_ms: trip.service_ms,
            status: trip.status,
            bytes: trip.bytes,
            protocol: T::PROTO,
        };
        conn.shared.log.push(log, &line);
    }
}
