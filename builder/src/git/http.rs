//! Git over smart HTTP (trust rule G2): three paths, token as password. The dumb protocol's paths do not exist.

mod auth;
mod body;
mod respond;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Response, StatusCode};

use super::process::Mode;
use super::{GitService, Receiver, pkt};

/// The routes `/{app}.git/info/refs`, `/{app}.git/git-receive-pack` and `/{app}.git/git-upload-pack`, to be merged into the server's own.
pub fn router(receiver: Arc<Receiver>) -> Router {
    Router::new()
        .route("/{repo}/info/refs", get(advertise))
        .route("/{repo}/git-receive-pack", post(receive_pack))
        .route("/{repo}/git-upload-pack", post(upload_pack))
        .with_state(receiver)
}

/// The client's address, if the server was started with connect info.
type Peer = Option<Extension<ConnectInfo<SocketAddr>>>;

fn from(peer: Peer) -> Option<IpAddr> {
    peer.map(|Extension(ConnectInfo(peer))| peer.ip())
}

async fn advertise(
    State(receiver): State<Arc<Receiver>>,
    Path(repo): Path<String>,
    RawQuery(query): RawQuery,
    peer: Peer,
    headers: HeaderMap,
) -> Response<Body> {
    let Some(repo) = repo.strip_suffix(".git") else { return respond::not_found() };
    let query = query.unwrap_or_default();
    let service = query.split('&').find_map(|pair| pair.strip_prefix("service=")).and_then(GitService::parse);
    let Some(service) = service else {
        return respond::text(StatusCode::FORBIDDEN, "Landfall speaks git's smart HTTP protocol only. Use git 1.6.6 or newer.");
    };
    let who = match auth::who(&receiver, &headers, from(peer)).await {
        Ok(who) => who,
        Err(refusal) => return *refusal,
    };
    match receiver.open(&who, repo, service, Mode::Advertise, protocol(&headers)).await {
        Err(error) => respond::refused(&error),
        Ok(git) => {
            let mut head = pkt::packet(format!("# service={}\n", service.program()).as_bytes());
            head.extend_from_slice(b"0000");
            respond::stream(git, format!("application/x-{}-advertisement", service.program()), head, None)
        }
    }
}

async fn receive_pack(state: State<Arc<Receiver>>, repo: Path<String>, peer: Peer, headers: HeaderMap, body: Body) -> Response<Body> {
    rpc(state, repo, GitService::ReceivePack, peer, headers, body).await
}

async fn upload_pack(state: State<Arc<Receiver>>, repo: Path<String>, peer: Peer, headers: HeaderMap, body: Body) -> Response<Body> {
    rpc(state, repo, GitService::UploadPack, peer, headers, body).await
}

async fn rpc(
    State(receiver): State<Arc<Receiver>>,
    Path(repo): Path<String>,
    service: GitService,
    peer: Peer,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    let Some(repo) = repo.strip_suffix(".git") else { return respond::not_found() };
    let program = service.program();
    if headers.get(CONTENT_TYPE).is_none_or(|given| given.as_bytes() != format!("application/x-{program}-request").as_bytes()) {
        return respond::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "This address is for git alone. Use: git push, git fetch or git clone");
    }
    let gzip = match headers.get(CONTENT_ENCODING).map(http::HeaderValue::as_bytes) {
        None | Some(b"identity") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(_) => return respond::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Only gzip is understood as content encoding."),
    };
    let who = match auth::who(&receiver, &headers, from(peer)).await {
        Ok(who) => who,
        Err(refusal) => return *refusal,
    };
    let mut git = match receiver.open(&who, repo, service, Mode::Stateless, protocol(&headers)).await {
        Ok(git) => git,
        Err(error) => return respond::refused(&error),
    };
    let limit = match service {
        GitService::ReceivePack => receiver.config().max_push_bytes,
        // Wants and haves: 32 MiB are half a million of them.
        GitService::UploadPack => 32 * 1024 * 1024,
    };
    // The whole request first: git says next to nothing before it has it, and a client reads nothing before it has sent it.
    let over = match body::feed(body, git.stdin.take(), gzip, limit).await {
        Ok(over) => over,
        Err(message) => return respond::text(StatusCode::BAD_REQUEST, &message),
    };
    let words = (over && service == GitService::ReceivePack).then_some(limit);
    respond::stream(git, format!("application/x-{program}-result"), Vec::new(), words)
}

fn protocol(headers: &HeaderMap) -> Option<&str> {
    headers.get("git-protocol")?.to_str().ok()
}
