//! Output that grows: a build's log, a release phase's lines.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::StreamExt as _;
use landfall_api::platform::OutputStream;
use landfall_logs::{Cursor, Filter, Follow, Reader};
use landfall_model::{AppId, BuildId, BuildStatus, ReleaseId, ReleaseStatus};
use landfall_store::ReleaseRef;
use tokio::io::AsyncReadExt as _;

use crate::reconcile::{Shared, output_dir};

/// How often growing output is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Bytes of one piece.
const PIECE: usize = 32 * 1024;

/// A build's log from its start. It ends when the build has.
pub(super) fn build(shared: Arc<Shared>, app: AppId, build: BuildId, log: PathBuf) -> OutputStream {
    struct Tail {
        shared: Arc<Shared>,
        file: Option<tokio::fs::File>,
        ended: bool,
    }
    let tail = Tail { shared, file: None, ended: false };
    let pieces = futures_util::stream::unfold(tail, move |mut tail| {
        let log = log.clone();
        async move {
            loop {
                if tail.file.is_none() {
                    tail.file = tokio::fs::File::open(&log).await.ok();
                }
                let mut piece = vec![0; PIECE];
                let read = match &mut tail.file {
                    Some(file) => file.read(&mut piece).await,
                    None => Ok(0),
                };
                match read {
                    Err(error) => return Some((Err(error), tail)),
                    Ok(0) if tail.ended => return None,
                    Ok(0) => {
                        // Ended first, then read once more: what was written before the end is not missed.
                        let scope = tail.shared.system.app(app);
                        let status = tail.shared.store.build_get(&scope, build).await.map(|build| build.status);
                        tail.ended = !matches!(status, Ok(BuildStatus::Pending)) || tail.shared.cancel.is_cancelled();
                        if !tail.ended {
                            tokio::time::sleep(LOOK).await;
                        }
                    }
                    Ok(count) => {
                        piece.truncate(count);
                        return Some((Ok(Bytes::from(piece)), tail));
                    }
                }
            }
        }
    });
    pieces.boxed()
}

/// A release phase's lines from their start. It ends when the phase has.
pub(super) fn release(shared: Arc<Shared>, app: AppId, release: ReleaseId) -> OutputStream {
    let follow = Reader::new(&output_dir(&shared.config, app, release)).follow(Cursor::default(), Filter::default());
    struct Tail {
        shared: Arc<Shared>,
        follow: Option<Follow>,
        ended: bool,
    }
    let tail = Tail { shared, follow: follow.ok(), ended: false };
    let pieces = futures_util::stream::unfold(tail, move |mut tail| async move {
        loop {
            let lines = match tail.follow.as_mut()?.poll() {
                Ok(lines) => lines,
                Err(error) => return Some((Err(std::io::Error::other(error)), Tail { follow: None, ..tail })),
            };
            if !lines.is_empty() {
                let text = lines.iter().fold(String::new(), |text, line| text + line.text() + "\n");
                return Some((Ok(Bytes::from(text)), tail));
            }
            if tail.ended {
                return None;
            }
            let scope = tail.shared.system.app(app);
            let status = tail.shared.store.release_get(&scope, ReleaseRef::Id(release)).await.map(|release| release.status);
            tail.ended = !matches!(status, Ok(ReleaseStatus::Pending)) || tail.shared.cancel.is_cancelled();
            if !tail.ended {
                tokio::time::sleep(LOOK).await;
            }
        }
    });
    pieces.boxed()
}
