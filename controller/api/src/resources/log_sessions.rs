//! `POST /apps/{app}/log-sessions`, and the stream behind the URL it gives: Server-Sent Events for browsers and the Heroku CLI, plain
//! text for everybody else. A tail ends with its client, or with the right to see the app; a silent client that is gone is found by the
//! kernel's keepalive (plain text has no room for a heartbeat).

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use jiff::{SignedDuration, Timestamp};
use landfall_logs::{Cursor, Filter, Follow, Line, Reader, SourceFilter};
use landfall_model::AccountId;
use landfall_store::Grant;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::ApiState;
use crate::auth::AppAccess;
use crate::error::{ApiError, ApiResult};
use crate::http::body::Body;
use crate::http::lasting::while_granted;
use crate::http::reply::{created, time};
use crate::http::shares::{Share, Spent};

/// Most lines of the past one session may ask for (Heroku keeps 1,500).
const MOST_LINES: usize = 1500;
/// A session's URL can be opened, and reopened while tailing, for this long.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24);
/// Proxies and clients give up on a silent stream; a comment now and then keeps it.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// How often a silent tail looks whether its client is still there.
const LOOK_UP: Duration = Duration::from_secs(2);
const PURPOSE: &str = "logs";

/// Body of `POST /apps/{app}/log-sessions`. The dyno has three names in three generations of clients.
#[derive(Deserialize)]
pub(crate) struct New {
    lines: Option<usize>,
    #[serde(default)]
    tail: Option<bool>,
    dyno: Option<String>,
    dyno_name: Option<String>,
    #[serde(rename = "type")]
    process_type: Option<String>,
    source: Option<String>,
}

/// What a session's ticket says.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Session {
    grant: Grant,
    lines: usize,
    tail: bool,
    dyno: Option<String>,
    /// `true` = the platform's lines only, `false` = the app's only.
    platform: Option<bool>,
    until: Timestamp,
}

impl Session {
    /// The dashboard's: the last lines of everything, then what comes.
    pub(crate) fn tail(grant: Grant, lines: usize) -> Self {
        Self { grant, lines, tail: true, dyno: None, platform: None, until: Timestamp::now() + LIFETIME }
    }

    fn filter(&self) -> Filter {
        let source = self.platform.map(|platform| if platform { SourceFilter::Platform } else { SourceFilter::App });
        Filter { source, dyno: self.dyno.clone() }
    }
}

/// `POST /apps/{app}/log-sessions`.
pub(crate) async fn create(State(api): State<ApiState>, at: AppAccess, Body(new): Body<New>) -> ApiResult {
    let platform = match new.source.as_deref() {
        None | Some("") => None,
        Some("app") => Some(false),
        Some("landfall" | "heroku") => Some(true),
        Some(other) => {
            return Err(ApiError::invalid(format!(
                "Log lines come from \"app\" or \"landfall\", not \"{}\". Example: landfall logs --source app",
                other.escape_default()
            )));
        }
    };
    let dyno = new.dyno.or(new.dyno_name).or(new.process_type).filter(|text| !text.is_empty());
    let now = Timestamp::now();
    let session = Session {
        grant: at.grant(),
        lines: new.lines.unwrap_or(100).min(MOST_LINES),
        tail: new.tail.unwrap_or(false),
        dyno,
        platform,
        until: now + LIFETIME,
    };
    let url = api.url(&format!("/logs/{}", api.config().ticket_key.seal(PURPOSE, &session)));
    Ok(created(&json!({ "id": Uuid::new_v4(), "logplex_url": url, "created_at": time(now), "updated_at": time(now) })))
}

/// `GET /logs/{ticket}`.
pub(crate) async fn open(State(api): State<ApiState>, Path(ticket): Path<String>, headers: HeaderMap) -> ApiResult {
    let expired = || ApiError::not_found("log session", "Open a new one with: landfall logs --tail");
    let session: Session = api.config().ticket_key.open(PURPOSE, &ticket).ok_or_else(expired)?;
    if session.until < Timestamp::now() || !api.store().grant_holds(&session.grant).await? {
        return Err(expired());
    }
    let events = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains("text/event-stream"));
    stream(&api, session, events, &headers).await
}

/// The stream of a session, from `Last-Event-ID` on where the client has one.
pub(crate) async fn stream(api: &ApiState, session: Session, events: bool, headers: &HeaderMap) -> ApiResult<Response> {
    let reader = Reader::new(&api.config().logs_dir.join(session.grant.app_id().to_string()));
    let resume: Option<Cursor> = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let (filter, count, tail) = (session.filter(), session.lines, session.tail);
    let place = if tail { Some(api.tails().take(Some(session.grant.account_id())).map_err(no_place)?) } else { None };
    // Reading the past touches many files: off the async threads.
    let begun = tokio::task::spawn_blocking(move || -> landfall_logs::Result<(Vec<Line>, Cursor, Option<Follow>)> {
        let (lines, cursor) = match resume {
            Some(cursor) => (Vec::new(), cursor),
            None => reader.last(count, &filter)?,
        };
        let follow = if tail { Some(reader.follow(cursor.clone(), filter)) } else { None };
        Ok((lines, cursor, follow))
    });
    let (lines, cursor, follow) = begun.await.map_err(|error| ApiError::internal(&error))?.map_err(|error| ApiError::internal(&error))?;
    let first = encode(&lines, &cursor, events, true, follow.is_some());
    let follow = match follow {
        Some(follow) => Some(follow_in_thread(follow, events, place).map_err(|error| ApiError::internal(&error))?),
        None => None,
    };
    let kind = if events { "text/event-stream" } else { "text/plain; charset=utf-8" };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    let stream = while_granted(api, session.grant, chunks(first, follow));
    Ok((StatusCode::OK, headers, HttpBody::from_stream(stream)).into_response())
}

fn no_place(spent: Spent) -> ApiError {
    let message = match spent {
        Spent::Own => "Your account follows as many logs as it may. End a log tail elsewhere, or read the past with: landfall logs -n 500",
        Spent::All => "Too many people follow logs on this server at once. Try again later, or read the past with: landfall logs -n 500",
    };
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", message)
}

/// Follows a log in a thread of its own (the log's files are read with blocking calls), which ends when the client does.
fn follow_in_thread(mut follow: Follow, events: bool, place: Option<Share<AccountId>>) -> std::io::Result<mpsc::Receiver<Bytes>> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::Builder::new().name("log-tail".to_owned()).spawn(move || {
        let _place = place;
        let mut silent = Duration::ZERO;
        while !sender.is_closed() {
            let chunk = match follow.wait(LOOK_UP) {
                Ok(lines) if !lines.is_empty() => encode(&lines, follow.cursor(), events, false, true),
                Ok(_) => {
                    silent += LOOK_UP;
                    if !events || silent < HEARTBEAT {
                        continue;
                    }
                    Bytes::from_static(b":\n\n")
                }
                Err(error) => return tracing::warn!(error.chain = %landfall_model::chain(&error), "log tail ended"),
            };
            silent = Duration::ZERO;
            if sender.blocking_send(chunk).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

fn chunks(first: Bytes, follow: Option<mpsc::Receiver<Bytes>>) -> impl Stream<Item = Result<Bytes, Infallible>> {
    futures_util::stream::unfold((Some(first), follow), |(first, mut follow)| async move {
        let chunk = match first {
            Some(first) => first,
            None => follow.as_mut()?.recv().await?,
        };
        Some((Ok(chunk), (None, follow)))
    })
}

/// Lines as they travel. The cursor goes with the last of them, so a client that reconnects goes on after it.
fn encode(lines: &[Line], cursor: &Cursor, events: bool, first: bool, tail: bool) -> Bytes {
    let mut out = String::new();
    if events && first {
        // The Heroku CLI lingers this long after the end of a stream that is not tailed.
        out.push_str(if tail { "retry: 1000\n\n" } else { "retry: 1\n\n" });
    }
    for (position, line) in lines.iter().enumerate() {
        if events {
            if position + 1 == lines.len() {
                let _ = writeln!(out, "id: {cursor}");
            }
            out.push_str("data: ");
        }
        out.push_str(&line.raw);
        out.push_str(if events { "\n\n" } else { "\n" });
    }
    Bytes::from(out)
}
