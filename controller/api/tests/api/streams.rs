//! What is not JSON: logs, output streams, attachments.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use landfall_logs::{LogIdentity, SegmentWriter};
use landfall_model::AppId;
use landfall_runtime_wire::frame::{self, Kind};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::World;

fn writer(world: &World, app: AppId, source: &str, name: &str) -> SegmentWriter {
    SegmentWriter::open(&world.logs_dir(app), name, LogIdentity::new(source, name).unwrap()).unwrap()
}

fn write(to: &mut SegmentWriter, text: &str) {
    to.append(Timestamp::now(), text.as_bytes()).unwrap();
    to.flush().unwrap();
}

async fn session(world: &World, body: Value) -> String {
    let made = world.post("/apps/blog/log-sessions", body).await.expect(201);
    made["logplex_url"].as_str().unwrap().split_once(&world.address.to_string()).unwrap().1.to_owned()
}

/// Reads a raw connection until `wanted` was seen, or gives up.
async fn until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut seen = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&seen).contains(wanted) {
            if stream.read_buf(&mut seen).await.unwrap() == 0 {
                break;
            }
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), read).await.is_ok();
    let text = String::from_utf8_lossy(&seen).into_owned();
    assert!(in_time && text.contains(wanted), "{wanted:?} is not in {text:?}");
    text
}

async fn open(world: &World, path: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn logs_come_as_text_filtered_and_capped() {
    let world = World::new().await;
    let app = world.deployed("blog").await.app_id();
    write(&mut writer(&world, app, "app", "web.1"), "one\ntwo\nthree");
    write(&mut writer(&world, app, "heroku", "router"), "at=info");
    let path = session(&world, json!({ "lines": 2, "dyno": "web.1" })).await;
    let answer = world.send(Method::GET, &path, &[], "").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain; charset=utf-8"));
    let texts: Vec<_> = answer.text().lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
    assert_eq!(texts, ["app[web.1]: two", "app[web.1]: three"]);
    let path = session(&world, json!({ "source": "landfall" })).await;
    assert!(world.send(Method::GET, &path, &[], "").await.text().ends_with("heroku[router]: at=info\n"));
    world.post("/apps/blog/log-sessions", json!({ "source": "moon" })).await.expect(422);
    world.send(Method::GET, &format!("{path}x"), &[], "").await.expect(404);
}

#[tokio::test]
async fn a_tail_goes_on_where_it_was_cut() {
    let world = World::new().await;
    let app = world.deployed("blog").await.app_id();
    let mut log = writer(&world, app, "app", "web.1");
    write(&mut log, "before");
    let path = session(&world, json!({ "tail": true })).await;
    let mut stream = open(&world, &path, "Accept: text/event-stream\r\n").await;
    let seen = until(&mut stream, "before").await;
    assert!(seen.contains("text/event-stream") && seen.contains("retry: 1000"), "{seen}");
    write(&mut log, "live");
    let seen = until(&mut stream, "live").await;
    let id = seen.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap().to_owned();
    drop(stream);
    write(&mut log, "missed");
    let mut stream = open(&world, &path, &format!("Accept: text/event-stream\r\nLast-Event-ID: {id}\r\n")).await;
    let seen = until(&mut stream, "missed").await;
    assert!(!seen.contains("live") && !seen.contains("before"), "{seen}");
}

#[tokio::test]
async fn an_ended_event_stream_lets_the_client_go_at_once() {
    let world = World::new().await;
    world.deployed("blog").await;
    let path = session(&world, json!({ "tail": false })).await;
    let answer = world.send(Method::GET, &path, &[("accept", "text/event-stream")], "").await;
    assert_eq!((answer.header("content-type"), answer.text().as_str()), ("text/event-stream", "retry: 1\n\n"));
}

#[tokio::test]
async fn outputs_stream_without_credentials() {
    let world = World::new().await;
    world.deployed("blog").await;
    let path = |value: &Value| value.as_str().unwrap().split_once(&world.address.to_string()).unwrap().1.to_owned();
    let build = path(&world.get("/apps/blog/builds").await.expect(200)[0]["output_stream_url"]);
    assert_eq!(world.send(Method::GET, &build, &[], "").await.text(), "-----> Building\n-----> Done\n");
    let release = path(&world.get("/apps/blog/releases/2").await.expect(200)["output_stream_url"]);
    assert_eq!(world.send(Method::GET, &release, &[], "").await.text(), "migrated\n");
    // A build's ticket opens no release.
    let crossed = build.replace("/builds/", "/releases/");
    assert_eq!(world.send(Method::GET, &crossed, &[], "").await.status, 404);
}

#[tokio::test]
async fn an_attachment_carries_input_resize_and_exit_code_once() {
    let world = World::new().await;
    world.deployed("blog").await;
    let run = world.post("/apps/blog/dynos", json!({ "command": "cat", "attach": true })).await.expect(201);
    let path = run["attach_url"].as_str().unwrap().split_once(&world.address.to_string()).unwrap().1.to_owned();
    world.send(Method::GET, &path, &[], "").await.expect(426);
    let mut stream = open(&world, &path, "Connection: Upgrade\r\nUpgrade: landfall-attach/1\r\n").await;
    let head = until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let mut sent = frame::header(Kind::Stdin, 5).to_vec();
    sent.extend(b"hello");
    sent.extend(frame::json(&json!({ "resize": { "cols": 100, "rows": 40 } })));
    sent.extend(frame::header(Kind::Stdin, 0));
    stream.write_all(&sent).await.unwrap();
    let mut got = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut got)).await.unwrap().unwrap();
    let mut expected = frame::header(Kind::Stdout, 5).to_vec();
    expected.extend(b"hello");
    expected.extend(frame::header(Kind::Stderr, 6));
    expected.extend(b"100x40");
    expected.extend(frame::json(&json!({ "exit": 7 })));
    assert_eq!(got, expected);
    let again = world.send(Method::GET, &path, &[("connection", "Upgrade"), ("upgrade", "landfall-attach/1")], "").await;
    assert_eq!(again.status, 404);
    let exec = world.post("/apps/blog/dynos/web.1/actions/exec", json!({ "args": ["env"], "tty": false })).await.expect(201);
    assert!(exec["attach_url"].as_str().unwrap().contains("/attach/"));
}
