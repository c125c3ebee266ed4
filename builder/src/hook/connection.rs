//! One hook's connection, from its request to the verdict.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use landfall_failpoint::failpoint;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::decide::{Then, decide};
use super::lines::line_queue;
use super::moved::{Moved, moved};
use super::pending::Pending;
use super::server::Desk;
use super::wire::{MAX_REQUEST, Reply, Request, Update};
use crate::push::{Lines, Push, PushRefused, PushedObjects};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long git may take to move the branch of an accepted push. Its client may be slow to read, and others wait.
const MOVES: Duration = Duration::from_secs(10);

/// Serves one connection. Ends only when the push has ended, whatever the pusher does.
pub(super) async fn serve_one(desk: &Desk, stream: UnixStream, shutdown: CancellationToken) {
    let (reader, writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let request = match tokio::time::timeout(REQUEST_TIMEOUT, read_request(&mut reader)).await {
        Ok(Ok(request)) => request,
        Ok(Err(error)) => return warn!(%error, "a hook sent no request"),
        Err(_) => return warn!("a hook connected and said nothing"),
    };
    failpoint("server.push.received");
    let pending = desk.pending.take(&request.token);
    let gone = shutdown.child_token();
    let pusher = pending.as_ref().map_or_else(CancellationToken::new, |pending| pending.gone.clone());
    let watch = tokio::spawn(watch(reader, pusher, gone.clone()));
    let (queue, lines) = line_queue();
    let done = CancellationToken::new();
    let copy = tokio::spawn(copy(writer, lines, done.clone(), gone.clone()));
    let accepted = work(desk, pending, request, Arc::new(queue), gone.clone()).await;
    done.cancel();
    failpoint("server.push.decided");
    if let Ok(Some(mut writer)) = copy.await {
        // Also if the pusher left: what was released before is kept. Failure means that git is gone too, and keeps nothing.
        let _ = tokio::time::timeout(REQUEST_TIMEOUT, send(&mut writer, &Reply::Verdict(accepted))).await;
    }
    failpoint("server.push.told");
    watch.abort();
}

async fn read_request(reader: &mut BufReader<OwnedReadHalf>) -> std::io::Result<Request> {
    let mut line = Vec::new();
    reader.take(MAX_REQUEST).read_until(b'\n', &mut line).await?;
    Ok(serde_json::from_slice(&line)?)
}

/// The hook never speaks again: whatever can be read next is its end.
async fn watch(mut reader: BufReader<OwnedReadHalf>, pusher: CancellationToken, gone: CancellationToken) {
    let _ = pusher.run_until_cancelled(reader.read_u8()).await;
    gone.cancel();
}

/// Writes lines until `done`, then what still waits, or until the pusher has left. The writer comes back unless the hook itself is gone.
async fn copy(
    mut writer: OwnedWriteHalf,
    mut lines: mpsc::Receiver<String>,
    done: CancellationToken,
    gone: CancellationToken,
) -> Option<OwnedWriteHalf> {
    loop {
        let line = tokio::select! {
            biased;
            () = gone.cancelled() => return Some(writer),
            line = lines.recv() => line,
            () = done.cancelled() => lines.recv().now_or_never().flatten(),
        };
        let Some(line) = line else { return Some(writer) };
        let reply = Reply::Line(line);
        // Whole, or the verdict would not be understood. A hook whose git does not read any more is ended by its transport.
        if send(&mut writer, &reply).await.is_err() {
            gone.cancel();
            return None;
        }
    }
}

async fn send(writer: &mut OwnedWriteHalf, reply: &Reply) -> std::io::Result<()> {
    let mut bytes = serde_json::to_vec(reply)?;
    bytes.push(b'\n');
    writer.write_all(&bytes).await
}

/// The push itself; `true` lets git move the refs.
async fn work(desk: &Desk, pending: Option<Pending>, request: Request, lines: Lines, gone: CancellationToken) -> bool {
    let Some(pending) = pending else {
        lines.line(" !     Push rejected, the server does not know of this push (was it restarted?). Push again.");
        return false;
    };
    let app = &pending.grant.name;
    let decision = decide(app.as_str(), &request.updates);
    for note in &decision.notes {
        lines.line(note);
    }
    let update = match decision.then {
        Then::Refuse => return false,
        Then::Store => return true,
        Then::Deploy(update) => update,
    };
    let commit = update.new.clone();
    let short = commit.get(..7).unwrap_or(&commit);
    let holder = format!("{}'s push of {short}", pending.who.label);
    let turn = desk.turns.take(pending.grant.app, holder, |holders| {
        lines.line(&format!("-----> Waiting: {} is being built for {app}, pushes to one app go one at a time", holders.join(", ")));
    });
    let Some(turn) = gone.run_until_cancelled(turn).await else { return false };
    let push = match push_of(&pending, request.quarantine, &update) {
        Ok(push) => push,
        Err(refused) => return tell(&lines, &refused),
    };
    match look(&push, update).await {
        Ok(Moved::No | Moved::Below(_)) => {}
        Ok(Moved::There) => {
            lines.line(&format!("-----> {short} was deployed while this push waited: there is nothing left to do"));
            return true;
        }
        Ok(Moved::Apart(current)) => return tell(&lines, &apart(&push.branch, &current.to_string())),
        Err(why) => return tell(&lines, &PushRefused::new(format!("Push rejected, the repository cannot be read: {why}.\nPush again."))),
    }
    info!(app.name = %app, account = %pending.who.label, commit, "push");
    let accepted = handle(desk, push, &lines, gone).await;
    if accepted {
        // The next in line looks where the branch is: git must have moved it by then.
        tokio::spawn(async move {
            let _ = tokio::time::timeout(MOVES, pending.ended.cancelled()).await;
            drop(turn);
        });
    }
    accepted
}

/// Where the branch is now that it is this push's turn.
async fn look(push: &Push, update: Update) -> Result<Moved, String> {
    let objects = push.objects.clone();
    let looked = tokio::task::spawn_blocking(move || moved(&crate::source::open(&objects)?, &update)).await;
    match looked {
        Ok(result) => result.map_err(|error| error.message().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn apart(branch: &str, current: &str) -> PushRefused {
    let current = current.get(..7).unwrap_or(current);
    PushRefused::new(format!(
        "Push rejected, {branch} moved to {current} while this push waited, and your commits are not based on that. Nothing was built.\n\
         Join both: git pull --rebase landfall {branch}\n\
         Or put yours in its place: git push --force landfall {branch}"
    ))
}

/// `true` = it was built, released, and may be kept.
async fn handle(desk: &Desk, push: Push, lines: &Lines, gone: CancellationToken) -> bool {
    // In a task of its own, so that a panic in it is an answer and not a silent end.
    let (handler, its_lines) = (desk.handler.clone(), lines.clone());
    let handled = tokio::spawn(async move { handler.push(push, its_lines, gone).await });
    match handled.await {
        Ok(Ok(())) => true,
        Ok(Err(refused)) => tell(lines, &refused),
        Err(error) => {
            error!(%error, "the push handler ended by itself");
            tell(
                lines,
                &PushRefused::new(
                    "Push rejected, the platform failed. This is not your app's fault.\nPush again; the operator finds more in the server's log.",
                ),
            )
        }
    }
}

fn tell(lines: &Lines, refused: &PushRefused) -> bool {
    for line in refused.message.lines() {
        lines.line(&format!(" !     {line}"));
    }
    false
}

fn push_of(pending: &Pending, quarantine: Option<PathBuf>, update: &Update) -> Result<Push, PushRefused> {
    let quarantine = match quarantine {
        None => Vec::new(),
        Some(dir) => {
            let inside = is_inside(&dir, &pending.repo);
            if !inside {
                return Err(PushRefused::new("Push rejected, git reports objects outside the repository."));
            }
            vec![dir]
        }
    };
    Ok(Push {
        app: pending.grant.app,
        app_name: pending.grant.name.clone(),
        account: pending.who.account,
        user: pending.who.label.clone(),
        address: pending.who.address,
        objects: PushedObjects { repo: pending.repo.clone(), quarantine },
        branch: update.branch().unwrap_or_default().to_owned(),
        commit: update.new.clone(),
    })
}

fn is_inside(dir: &Path, repo: &Path) -> bool {
    match (dir.canonicalize(), repo.canonicalize()) {
        (Ok(dir), Ok(repo)) => dir.starts_with(repo),
        _ => false,
    }
}
