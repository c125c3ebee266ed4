//! A server of its own for each test, people to use it, and a small HTTP client.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use landfall_api::{ApiConfig, ApiState};
use landfall_model::{AppId, AppName, ReleaseVersion};
use landfall_store::{AppScope, BuildSource, NewAccount, NewAuthorization, NewBuild, NewSlug, Principal, Store, StoreConfig};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::live::Live;
use crate::schema::check_answer;

pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// One server and two people: the owner of apps, and a stranger.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<Store>,
    pub(crate) live: Arc<Live>,
    pub(crate) token: String,
    pub(crate) stranger: String,
    pub(crate) dir: tempfile::TempDir,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON ({}): {}", self.status, self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut ApiConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("landfall.db").display());
        let store = Arc::new(Store::open(StoreConfig::new(url, dir.path().join("secret.key"))).await.unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = ApiConfig::new(format!("http://{address}"), [9; 32], dir.path().join("logs"), dir.path().join("uploads"));
        change(&mut config);
        let live = Arc::new(Live::new(Arc::clone(&store)));
        let state = ApiState::new(Arc::clone(&store), Arc::clone(&live) as Arc<_>, config);
        let service = landfall_api::router(state).into_make_service_with_connect_info::<SocketAddr>();
        let server = tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        // One hash for both: argon2 is slow on purpose.
        let hash = tokio::task::spawn_blocking(|| landfall_store::hash_password(PASSWORD)).await.unwrap();
        let person = |email: &str, admin| NewAccount { email: email.to_owned(), name: None, password_hash: hash.clone(), admin };
        let owner = store.account_create_first(&store.system(), person("ann@example.com", true)).await.unwrap();
        let owner = store.principal_for_account(&store.system(), owner.id).await.unwrap();
        let stranger = store.account_create(&owner, person("eve@example.com", false)).await.unwrap();
        let stranger = store.principal_for_account(&store.system(), stranger.id).await.unwrap();
        let (token, stranger) = (token_of(&store, &owner).await, token_of(&store, &stranger).await);
        Self { address, store, live, token, stranger, dir, server }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut request = http::Request::builder().method(&method).uri(path).header("host", self.address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        connection.abort();
        let is_json = parts.headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        if parts.status.is_success() && is_json {
            check_answer(method.as_str(), path, &serde_json::from_slice(&body).unwrap());
        }
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// As the owner, JSON in and out.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Value) -> Answer {
        self.call_as(&self.token, method, path, body).await
    }

    pub(crate) async fn call_as(&self, token: &str, method: Method, path: &str, body: Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("authorization", bearer.as_str()), ("accept", "application/vnd.heroku+json; version=3.sdk")];
        if body.is_null() {
            return self.send(method, path, &headers, "").await;
        }
        headers.push(("content-type", "application/json"));
        self.send(method, path, &headers, body.to_string()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path, body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, Value::Null).await
    }

    pub(crate) async fn get_with(&self, path: &str, header: (&str, &str)) -> Answer {
        self.send(Method::GET, path, &[("authorization", &format!("Bearer {}", self.token)), header], "").await
    }

    /// An app with one succeeded build: v1 (created), v2 (deployed, with the process types web, worker and release).
    pub(crate) async fn deployed(&self, name: &str) -> AppScope {
        let app = self.post("/apps", json!({ "name": name })).await.expect(201);
        let id: AppId = app["id"].as_str().unwrap().parse().unwrap();
        let principal = self.store.authenticate_token(&self.token, None).await.unwrap().unwrap();
        let name: AppName = name.parse().unwrap();
        let scope = self.store.authorize(&principal, &landfall_store::AppIdentity::Name(name)).await.unwrap();
        assert_eq!(scope.app_id(), id);
        self.deploy(&scope).await;
        scope
    }

    /// One more build that succeeds, and its release phase too.
    pub(crate) async fn deploy(&self, scope: &AppScope) -> ReleaseVersion {
        let source = BuildSource {
            commit: Some("1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d".into()),
            description: Some("Greet <b>everybody</b>".into()),
            pushed: true,
        };
        let new = NewBuild { id: None, source, stack: "debian-13".into(), worker: "test".into() };
        let build = self.store.build_create(scope, new).await.unwrap();
        let commands = [("web", "gunicorn app:app"), ("worker", "python work.py"), ("release", "python migrate.py")];
        let slug = NewSlug {
            image: format!("sha256:{}", "ab".repeat(32)),
            process_types: commands.iter().map(|(kind, command)| (kind.parse().unwrap(), (*command).to_owned())).collect(),
            buildpacks: vec!["heroku/python".into()],
            size_bytes: 12_345_678,
            formation: BTreeMap::new(),
            app_json: json!({}),
        };
        let (_, release) = self.store.build_finish(scope, build.id, slug, None).await.unwrap();
        if release.status == landfall_model::ReleaseStatus::Pending {
            self.store.release_finish(scope, release.id, landfall_store::ReleaseOutcome::Succeeded).await.unwrap();
        }
        release.version
    }

    pub(crate) fn logs_dir(&self, app: AppId) -> PathBuf {
        self.dir.path().join("logs").join(app.to_string())
    }
}

async fn token_of(store: &Store, who: &Principal) -> String {
    let (_, token) = store.authorization_create(who, NewAuthorization { description: "test".into(), expires_in: None }).await.unwrap();
    token.expose().to_owned()
}
