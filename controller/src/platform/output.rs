//! Output that grows: a build's log, a release phase's lines. Each reader is woken by the file and by the store.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::StreamExt as _;
use landfall_api::platform::OutputStream;
use landfall_logs::{Cursor, Filter, Follow, Reader};
use landfall_model::{AppId, BuildId, BuildStatus, ReleaseId, ReleaseStatus};
use landfall_store::ReleaseRef;
use tokio::io::AsyncReadExt as _;

use crate::reconcile::{Shared, output_dir};
use crate::wait::{AppChanges, NET, News};

/// Instead of a log that is not there any more.
const LOG_GONE: &str = " !     The log of this build is gone: only an app's newest builds keep theirs.\n";
/// Instead of output that is not there any more.
const OUTPUT_GONE: &str = " !     The output of this release phase is gone: only an app's newest releases keep theirs.\n";
/// Bytes of one piece.
const PIECE: usize = 32 * 1024;

/// What wakes a reader of growing output.
struct Wakes {
    shared: Arc<Shared>,
    changes: AppChanges,
    news: News,
}

impl Wakes {
    /// Waits for more output, or for the end of it.
    async fn wait(&mut self) {
        tokio::select! {
            () = self.news.wait() => {}
            () = self.changes.next() => {}
            () = self.shared.cancel.cancelled() => {}
            () = tokio::time::sleep(NET) => {}
        }
    }
}

/// A build's log from its start. It ends when the build has.
pub(super) fn build(shared: Arc<Shared>, app: AppId, build: BuildId, log: PathBuf) -> OutputStream {
    struct Tail {
        wakes: Wakes,
        file: Option<tokio::fs::File>,
        ended: bool,
        said: bool,
    }
    let news = News::of_dir(log.parent().unwrap_or(&log));
    let wakes = Wakes { changes: AppChanges::of(&shared, app), shared, news };
    let tail = Tail { wakes, file: None, ended: false, said: false };
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
                    Ok(0) if tail.ended && tail.file.is_none() && !tail.said => {
                        tail.said = true;
                        return Some((Ok(Bytes::from_static(LOG_GONE.as_bytes())), tail));
                    }
                    Ok(0) if tail.ended => return None,
                    Ok(0) => {
                        // Ended first, then read once more: what was written before the end is not missed.
                        let shared = &tail.wakes.shared;
                        let status = shared.store.build_get(&shared.system.app(app), build).await.map(|build| build.status);
                        tail.ended = !matches!(status, Ok(BuildStatus::Pending)) || shared.cancel.is_cancelled();
                        if !tail.ended {
                            tail.wakes.wait().await;
                        }
                    }
                    Ok(count) => {
                        tail.said = true;
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
pub(super) fn release(shared: Arc<Shared>, app: AppId, release: ReleaseId, status: ReleaseStatus) -> OutputStream {
    let dir = output_dir(&shared.config, app, release);
    if status != ReleaseStatus::Pending && !dir.is_dir() {
        return futures_util::stream::iter([Ok(Bytes::from_static(OUTPUT_GONE.as_bytes()))]).boxed();
    }
    let follow = Reader::new(&dir).follow(Cursor::default(), Filter::default());
    struct Tail {
        wakes: Wakes,
        follow: Option<Follow>,
        ended: bool,
    }
    let news = News::of(&follow);
    let wakes = Wakes { changes: AppChanges::of(&shared, app), shared, news };
    let tail = Tail { wakes, follow: Some(follow), ended: false };
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
            let shared = &tail.wakes.shared;
            let status = shared.store.release_get(&shared.system.app(app), ReleaseRef::Id(release)).await.map(|release| release.status);
            tail.ended = !matches!(status, Ok(ReleaseStatus::Pending)) || shared.cancel.is_cancelled();
            if !tail.ended {
                tail.wakes.wait().await;
            }
        }
    });
    pieces.boxed()
}
