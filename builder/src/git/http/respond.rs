//! Answers: git's own output as a stream, or words. git clients print a `text/plain` error body as `remote:` lines.

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{Response, StatusCode};
use tokio::io::AsyncReadExt as _;
use tracing::warn;

use crate::git::process::GitChild;
use crate::git::{AccessError, explain, pkt};

pub(super) fn text(status: StatusCode, words: &str) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(CACHE_CONTROL, "no-store")
        .body(Body::from(format!("{words}\n")))
        .expect("constant headers are valid")
}

pub(super) fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "There is nothing here. Git addresses end in .git, as in /blog.git")
}

pub(super) fn refused(error: &AccessError) -> Response<Body> {
    let status = match error {
        AccessError::Denied(_) => StatusCode::NOT_FOUND,
        AccessError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    text(status, explain::problem(&error.to_string()).trim_end())
}

/// `head`, then what git says. Dropping the body (the client left) ends git. `over` puts the words about a limit before git's next packet.
pub(super) fn stream(mut git: GitChild, content_type: String, head: Vec<u8>, over: Option<u64>) -> Response<Body> {
    drop(git.stdin.take());
    if let Some(mut stderr) = git.stderr.take() {
        tokio::spawn(async move {
            let mut words = String::new();
            let _ = (&mut stderr).take(4096).read_to_string(&mut words).await;
            let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
            if !words.is_empty() {
                warn!(words = words.trim_end(), "git");
            }
        });
    }
    let mut first = head;
    if let Some(limit) = over {
        first.extend(explain::too_big(limit).iter().flat_map(|line| pkt::remote_line(line)));
    }
    let reader = Reader { git, first };
    let body = Body::from_stream(stream::unfold(reader, |mut reader| async move {
        reader.next().await.map(|bytes| (Ok::<_, std::io::Error>(bytes), reader))
    }));
    Response::builder()
        .header(CONTENT_TYPE, content_type)
        .header(CACHE_CONTROL, "no-cache, max-age=0, must-revalidate")
        .body(body)
        .expect("constant headers are valid")
}

struct Reader {
    git: GitChild,
    first: Vec<u8>,
}

impl Reader {
    async fn next(&mut self) -> Option<Bytes> {
        if !self.first.is_empty() {
            return Some(std::mem::take(&mut self.first).into());
        }
        let mut buffer = vec![0; 16 * 1024];
        if let Ok(length @ 1..) = self.git.stdout.as_mut()?.read(&mut buffer).await {
            buffer.truncate(length);
            return Some(buffer.into());
        }
        self.git.stdout = None;
        let _ = self.git.wait().await;
        None
    }
}
