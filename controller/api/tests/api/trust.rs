//! What nobody may get around: limits on guessing, the audit log, rights that end.

use std::sync::Mutex;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{PASSWORD, World};

const DEADLINE: Duration = Duration::from_secs(20);

fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

async fn login(world: &World, email: &str, password: &str) -> u16 {
    let header = basic(email, password);
    let headers = [("authorization", header.as_str()), ("content-type", "application/json")];
    world.send(Method::POST, "/oauth/authorizations", &headers, "{}").await.status
}

/// Entries of the audit log, newest first, as `action detail`.
async fn audit(world: &World) -> Vec<String> {
    let list = world.get_with("/audit", ("range", "sequence ..; max=100, order=desc")).await.expect(200);
    let entry = |entry: &Value| format!("{} {}", entry["action"].as_str().unwrap(), entry["detail"].as_str().unwrap());
    list.as_array().unwrap().iter().map(entry).collect()
}

/// Reads until the server ends the stream.
async fn until_end(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut seen)).await.expect("the server ends it");
    String::from_utf8_lossy(&seen).into_owned()
}

async fn raw(world: &World, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

fn path_of(world: &World, url: &Value) -> String {
    url.as_str().unwrap().split_once(&world.address.to_string()).unwrap().1.to_owned()
}

#[tokio::test]
async fn neither_another_account_nor_another_token_is_a_fresh_start() {
    let world = World::with(|config| (config.logins_per_minute, config.requests_per_hour) = (2, 20)).await;
    assert_eq!([login(&world, "ann@example.com", PASSWORD).await, login(&world, "ann@example.com", PASSWORD).await], [201, 201]);
    let mut statuses = Vec::new();
    for guess in 0..7 {
        statuses.push(login(&world, &format!("user{guess}@example.com"), "guess").await);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 401, 429], "one network has three times what one account has");
    let mut statuses = Vec::new();
    for guess in 0..30 {
        statuses.push(world.call_as(&format!("guess-{guess}"), Method::GET, "/account", Value::Null).await.status);
    }
    assert_eq!((statuses[0], statuses[29]), (401, 429), "{statuses:?}");
    assert_eq!(world.get("/account").await.status, 200, "who has a good token is not held up by who has none");
}

#[tokio::test]
async fn every_deed_is_in_the_log_and_only_administrators_read_it() {
    let world = World::new().await;
    world.deployed("blog").await;
    world.patch("/apps/blog/config-vars", json!({ "A": "sesame" })).await.expect(200);
    world.patch("/apps/blog/config-vars", json!({})).await.expect(200);
    world.post("/apps/blog/domains", json!({ "hostname": "www.example.com" })).await.expect(201);
    world.delete("/apps/blog/domains/www.example.com").await.expect(200);
    world.patch("/apps/blog/formation/web", json!({ "quantity": 2 })).await.expect(200);
    world.delete("/apps/blog/dynos/web.1").await.expect(202);
    let two = world.get("/apps/blog/releases/2").await.expect(200);
    world.post("/apps/blog/releases", json!({ "release": two["id"] })).await.expect(201);
    world.post("/apps/blog/dynos/web.1/actions/exec", json!({ "args": ["env"], "tty": false, "env": {} })).await.expect(201);
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ ann@laptop";
    let key = world.post("/account/keys", json!({ "public_key": key })).await.expect(201);
    world.delete(&format!("/account/keys/{}", key["id"].as_str().unwrap())).await.expect(200);
    world.post("/apps", json!({ "name": "gone" })).await.expect(201);
    world.delete("/apps/gone").await.expect(200);
    world.patch("/apps/blog", json!({ "maintenance": true })).await.expect(200);
    let log = audit(&world).await;
    let known = [
        "app.maintenance on",
        "app.destroy gone",
        "app.create gone",
        "key.remove SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE",
        "key.add SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE",
        "dyno.exec web.1",
        "release.rollback v4: Rollback to v2",
        "dyno.restart web.1",
        "formation.scale web=2:Standard-1X",
        "domain.remove www.example.com",
        "domain.add www.example.com",
        "secret.read config vars, by a change that changed nothing",
        "config.set v3: Set A config vars; config vars shown",
        "deploy v2: Deploy 1a2b3c4d",
        "app.create blog",
        "token.new_address test",
    ];
    assert_eq!(log, known);
    assert!(!log.concat().contains("sesame"), "a value is in the log");
    let newest = &world.get_with("/audit", ("range", "sequence ..; max=1, order=desc")).await.expect(206)[0];
    assert_eq!(
        (&newest["actor"]["email"], &newest["app"]["name"], &newest["address"]),
        (&json!("ann@example.com"), &json!("blog"), &json!("127.0.0.1"))
    );
    let refused = world.call_as(&world.stranger, Method::GET, "/audit", Value::Null).await.expect(403);
    insta::assert_json_snapshot!(refused, @r#"
    {
      "id": "forbidden",
      "message": "Only an administrator may do that. Log in as one: landfall login"
    }
    "#);
}

#[tokio::test]
async fn what_was_begun_is_done_and_written_down_without_its_client() {
    let world = World::new().await;
    world.deployed("blog").await;
    let gate = world.live.close_gate();
    let body = r#"{"command":"sleep 1","attach":false}"#;
    let head =
        format!("POST /apps/blog/dynos HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json", world.token);
    let stream = raw(&world, &format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
    tokio::time::timeout(DEADLINE, gate.reached()).await.unwrap();
    drop(stream);
    // The server hears at once that its client left; the deed must not.
    assert!(tokio::time::timeout(Duration::from_millis(500), gate.dropped()).await.is_err(), "a deed was dropped half-way");
    gate.open();
    let done = async {
        while audit(&world).await[0] != "dyno.run run.4821" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, done).await.expect("the entry is written");
}

#[tokio::test]
async fn what_is_taken_away_stops() {
    let world = World::with(|config| config.recheck = Duration::from_millis(100)).await;
    world.deployed("blog").await;
    world.post("/apps/blog/collaborators", json!({ "user": "eve@example.com" })).await.expect(201);
    let eve = async |method, path: &str, body| world.call_as(&world.stranger, method, path, body).await;
    let session = eve(Method::POST, "/apps/blog/log-sessions", json!({ "tail": true })).await.expect(201);
    let logs = path_of(&world, &session["logplex_url"]);
    let build = path_of(&world, &eve(Method::GET, "/apps/blog/builds", Value::Null).await.expect(200)[0]["output_stream_url"]);
    let run = eve(Method::POST, "/apps/blog/dynos", json!({ "command": "cat", "attach": true })).await.expect(201);
    let waiting = eve(Method::POST, "/apps/blog/dynos", json!({ "command": "cat", "attach": true })).await.expect(201);
    let attach = |url: &Value| {
        format!("GET {} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: landfall-attach/1\r\n\r\n", path_of(&world, url))
    };
    let mut streams = [
        raw(&world, &format!("GET {logs} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")).await,
        raw(&world, &format!("GET {logs} HTTP/1.1\r\nHost: x\r\n\r\n")).await,
        raw(&world, &attach(&run["attach_url"])).await,
    ];
    for stream in &mut streams {
        let mut begun = [0; 12];
        stream.read_exact(&mut begun).await.unwrap();
        assert!(begun.ends_with(b"200") || begun.ends_with(b"101"), "{}", String::from_utf8_lossy(&begun));
    }
    assert_eq!(world.send(Method::GET, &build, &[], "").await.status, 200);
    // Longer than one look: a right that holds ends nothing.
    let mut one = [0; 1];
    streams[2].write_all(&landfall_runtime_wire::frame::header(landfall_runtime_wire::frame::Kind::Stdin, 1)).await.unwrap();
    streams[2].write_all(b"x").await.unwrap();
    streams[2].read_exact(&mut one).await.unwrap();
    world.delete("/apps/blog/collaborators/eve@example.com").await.expect(200);
    for stream in &mut streams {
        // A chunked stream ends with its last chunk; the connection may stay.
        stream.write_all(b"").await.unwrap();
        let ended = async {
            let mut seen = Vec::new();
            while !seen.ends_with(b"0\r\n\r\n") && stream.read_buf(&mut seen).await.unwrap_or(0) > 0 {}
        };
        tokio::time::timeout(DEADLINE, ended).await.expect("the stream ends with the right");
    }
    for gone in [&logs, &build] {
        assert_eq!(world.send(Method::GET, gone, &[], "").await.status, 404, "{gone}");
    }
    let mut begun = [0; 12];
    raw(&world, &attach(&waiting["attach_url"])).await.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 404", "nobody joined yet, and nobody may now");
}

#[tokio::test]
async fn a_revoked_token_takes_its_streams_along() {
    let world = World::with(|config| config.recheck = Duration::from_millis(100)).await;
    world.deployed("blog").await;
    let session = world.post("/apps/blog/log-sessions", json!({ "tail": true })).await.expect(201);
    let logs = path_of(&world, &session["logplex_url"]);
    let mut tail = raw(&world, &format!("GET {logs} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
    let mut begun = [0; 12];
    tail.read_exact(&mut begun).await.unwrap();
    world.delete("/oauth/sessions/~").await.expect(200);
    until_end(&mut tail).await;
    assert_eq!(world.send(Method::GET, &logs, &[], "").await.status, 404);
}

#[tokio::test]
async fn one_account_does_not_follow_every_log() {
    let world = World::with(|config| config.tails_per_account = 1).await;
    world.deployed("blog").await;
    let session = async |tail: bool| {
        path_of(&world, &world.post("/apps/blog/log-sessions", json!({ "tail": tail })).await.expect(201)["logplex_url"])
    };
    let (tail, past) = (session(true).await, session(false).await);
    let mut first = raw(&world, &format!("GET {tail} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    let mut begun = [0; 12];
    first.read_exact(&mut begun).await.unwrap();
    let refused = world.send(Method::GET, &tail, &[], "").await.expect(503);
    assert!(refused["message"].as_str().unwrap().contains("landfall logs -n 500"));
    assert_eq!(world.send(Method::GET, &past, &[], "").await.status, 200, "the past needs no place");
    drop(first);
    let again = async {
        loop {
            let mut next = raw(&world, &format!("GET {tail} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            next.read_exact(&mut begun).await.unwrap();
            if begun.ends_with(b"200") {
                break;
            }
        }
    };
    tokio::time::timeout(DEADLINE, again).await.expect("who leaves gives the place back");
}

/// What the servers of this process log, as text.
struct Log;

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_failure_is_found_by_its_request_id() {
    tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::INFO).with_writer(|| Log).init();
    let world = World::new().await;
    world.live.break_stacks();
    let answer = world.post("/apps", json!({ "name": "blog" })).await;
    assert_eq!(answer.status, 500);
    let id = answer.header("request-id").to_owned();
    assert!(!answer.text().contains("the disk is on fire"));
    let text = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.contains(&id)).collect();
    assert!(lines.iter().any(|line| line.contains("ERROR") && line.contains("the disk is on fire")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("ERROR") && line.contains("http.status=500")), "{lines:#?}");
}

#[tokio::test]
async fn over_https_the_cookie_is_this_hosts_alone() {
    let world = World::with(|config| config.public_url = "https://paas.example.com".into()).await;
    let form = format!("email=ann%40example.com&password={}", PASSWORD.replace(' ', "+"));
    let answer = world.send(Method::POST, "/login", &[("content-type", "application/x-www-form-urlencoded")], form).await;
    let cookie = answer.header("set-cookie").to_owned();
    assert!(cookie.starts_with("__Host-landfall_session=") && cookie.contains("; Secure") && cookie.contains("Path=/;"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(world.send(Method::GET, "/dashboard", &[("cookie", cookie)], "").await.status, 200);
    let plain = cookie.trim_start_matches("__Host-");
    assert_eq!(world.send(Method::GET, "/dashboard", &[("cookie", plain)], "").await.status, 303);
}
