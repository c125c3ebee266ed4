//! The controller's hand on the router, and the router without it.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use landfall_router::Limits;
use landfall_router::control::{AppRoutes, Backend, ClientError, Drained, Mode, Table};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::harness::*;

#[tokio::test]
async fn hosts_lead_to_their_app() {
    let rig = Rig::start(Limits::default()).await;
    let (addr, _) = answering(HELLO).await;
    rig.blog(Mode::Serving, &[addr]).await;
    for (host, expected) in [
        ("blog.localhost", 200),
        ("BLOG.LocalHost:8080", 200),
        ("blog.localhost.", 200),
        ("www.example.com", 200),
        ("a.wild.example", 200),
        ("a.b.wild.example", 200),
        ("wild.example", 404),
        ("example.com", 404),
        ("localhost", 404),
        ("127.0.0.1", 404),
        ("[::1]:80", 404),
    ] {
        let response = rig.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(status(&response), expected, "{host}");
    }
    rig.control.remove_app(2, "app-1").await.unwrap();
    assert_eq!(status(&rig.get("/").await), 404);
}

#[tokio::test]
async fn nobody_takes_anothers_host() {
    let rig = Rig::start(Limits::default()).await;
    let (addr, _) = answering(HELLO).await;
    let blog = rig.app(Mode::Serving, &[addr]);
    let hosts = ["blog.localhost", "*.localhost", "www.example.com", "*.com"].map(str::to_owned).to_vec();
    let thief = AppRoutes { id: "app-2".into(), name: "thief".into(), hosts, log_dir: None, mode: Mode::NoWeb, backends: vec![] };
    rig.control.replace_table(Table { generation: 1, apps: vec![thief, blog] }).await.unwrap();
    for (host, expected) in [("blog.localhost", 200), ("www.example.com", 200), ("else.localhost", 404), ("thief.localhost", 503)] {
        let response = rig.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(status(&response), expected, "{host}");
    }
}

#[tokio::test]
async fn an_older_change_is_refused() {
    let rig = Rig::start(Limits::default()).await;
    rig.control.replace_table(Table { generation: 5, apps: vec![rig.app(Mode::NoWeb, &[])] }).await.unwrap();
    let error = rig.control.replace_app(4, rig.app(Mode::Crashed, &[])).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { .. }), "{error}");
    assert!(rig.get("/").await.contains("H14"));
    rig.control.replace_app(6, rig.app(Mode::Crashed, &[])).await.unwrap();
    assert_eq!(rig.control.stats().await.unwrap().generation, 6);
    let mode = std::fs::metadata(rig.dir.path().join("router.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn drain_waits_for_the_last_request() {
    let rig = Rig::start(Limits::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let old = listener.local_addr().unwrap();
    let (new, _) = answering(HELLO).await;
    rig.blog(Mode::Serving, &[old]).await;
    let mut client = rig.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n").await.unwrap();
    let (mut dyno, _) = listener.accept().await.unwrap();
    read_head(&mut dyno).await.unwrap();
    rig.control.replace_app(2, rig.app(Mode::Serving, &[new])).await.unwrap();
    let id = format!("b-{old}");
    let early = rig.control.drain(&id, Duration::from_millis(50)).await.unwrap();
    assert_eq!(early, Drained { requests: 1, tunnels: 0 });
    assert_eq!(status(&rig.get("/").await), 200, "new requests go to the new dyno");
    let finish = async {
        dyno.write_all(HELLO.as_bytes()).await.unwrap();
        read_until(&mut client, "world!").await
    };
    let (drained, response) = tokio::join!(rig.control.drain(&id, PATIENCE), finish);
    assert_eq!(drained.unwrap(), Drained { requests: 0, tunnels: 0 });
    assert_eq!(status(&response), 200);
    assert_eq!(rig.control.drain("never seen", PATIENCE).await.unwrap(), Drained { requests: 0, tunnels: 0 });
}

/// A WebSocket holds no deploy up, and ends with its dyno, not with the dyno's place in the table.
#[tokio::test]
async fn tunnels_live_on_until_their_dyno_ends() {
    let rig = Rig::start(Limits::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let old = listener.local_addr().unwrap();
    let (new, _) = answering(HELLO).await;
    rig.blog(Mode::Serving, &[old]).await;
    let mut client = rig.connect().await;
    client.write_all(b"GET /ws HTTP/1.1\r\nHost: blog.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await.unwrap();
    let (mut dyno, _) = listener.accept().await.unwrap();
    read_head(&mut dyno).await.unwrap();

    // It leaves the table before it agrees: until then it is a request like others, and waited for.
    rig.control.replace_table(Table { generation: 2, apps: vec![rig.app(Mode::Serving, &[new])] }).await.unwrap();
    let id = format!("b-{old}");
    let early = rig.control.drain(&id, Duration::from_millis(50)).await.unwrap();
    assert_eq!(early, Drained { requests: 1, tunnels: 0 });
    let agree = async {
        dyno.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await.unwrap();
        read_until(&mut client, "\r\n\r\n").await
    };
    let (drained, head) = within(async { tokio::join!(rig.control.drain(&id, Duration::from_mins(10)), agree) }).await;
    assert_eq!((drained.unwrap(), status(&head)), (Drained { requests: 0, tunnels: 1 }, 101));

    // It outlives this table, the next one, and the drains.
    for generation in 3..5 {
        rig.control.replace_table(Table { generation, apps: vec![rig.app(Mode::Serving, &[new])] }).await.unwrap();
        let drained = within(rig.control.drain(&id, Duration::from_mins(10))).await.unwrap();
        assert_eq!(drained, Drained { requests: 0, tunnels: 1 });
        assert_eq!(status(&rig.get("/").await), 200, "new requests go to the new dyno");
        for word in ["one", "two"] {
            client.write_all(word.as_bytes()).await.unwrap();
            assert_eq!(read_until(&mut dyno, word).await, word);
            dyno.write_all(word.as_bytes()).await.unwrap();
            assert_eq!(read_until(&mut client, word).await, word);
        }
    }

    drop(dyno);
    assert_eq!(read_all(&mut client).await, "", "the dyno's end is the tunnel's");
    let last = async || (rig.control.drain(&id, PATIENCE).await.unwrap().tunnels == 0).then_some(());
    eventually_async(last).await;
}

/// Dynos come and go as in a deploy, under load, on kept connections: no request fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deploys_under_load_fail_no_request() {
    let rig = Arc::new(Rig::start(Limits::default()).await);
    let mut dynos = vec![stoppable().await];
    rig.blog(Mode::Serving, &[dynos[0].0]).await;
    let done = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..8 {
        let (rig, done, answered) = (Arc::clone(&rig), Arc::clone(&done), Arc::clone(&answered));
        clients.spawn(async move {
            let mut client = rig.connect().await;
            let method = if number % 2 == 0 { "GET" } else { "POST" };
            let head = format!("{method} / HTTP/1.1\r\nHost: blog.localhost\r\nContent-Length: 0\r\n\r\n");
            while !done.load(Ordering::SeqCst) {
                client.write_all(head.as_bytes()).await.unwrap();
                assert_eq!(status(&read_until(&mut client, "!").await), 200);
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    for generation in 2..22 {
        let target = answered.load(Ordering::SeqCst) + 40;
        eventually(|| (answered.load(Ordering::SeqCst) >= target).then_some(())).await;
        let new = stoppable().await;
        rig.control.replace_app(generation, rig.app(Mode::Serving, &[new.0])).await.unwrap();
        let old = dynos.pop().unwrap();
        let drained = rig.control.drain(format!("b-{}", old.0), PATIENCE).await.unwrap();
        assert_eq!(drained.requests, 0);
        old.1.abort();
        let _ = old.1.await;
        dynos.push(new);
    }
    done.store(true, Ordering::SeqCst);
    while let Some(result) = clients.join_next().await {
        result.unwrap();
    }
}

async fn stoppable() -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.spawn(async move {
                while read_head(&mut stream).await.is_some() {
                    stream.write_all(HELLO.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (addr, task)
}

#[tokio::test]
async fn the_last_table_serves_after_a_crash_and_the_client_finds_back() {
    let rig = Rig::start(Limits::default()).await;
    let (addr, _) = answering(HELLO).await;
    rig.blog(Mode::Serving, &[addr]).await;
    rig.control.replace_app(2, rig.app(Mode::Serving, &[addr])).await.unwrap();
    assert!(exists(&rig.dir.path().join("state/table.json")));
    let dir = rig.kill().await;

    let rig = Rig::start_in(dir, Limits::default()).await;
    assert_eq!(status(&rig.get("/").await), 200, "nobody told it anything");
    rig.control.replace_table(Table { generation: 7, apps: vec![rig.app(Mode::Serving, &[addr])] }).await.unwrap();

    // The same client, another router: it is told everything again.
    let (_, control) = (std::fs::remove_file(rig.dir.path().join("state/table.json")), &rig.control);
    let dir = Arc::clone(&rig.dir);
    let client = landfall_router::control::Client::new(dir.path().join("router.sock"));
    client.replace_table(Table { generation: 8, apps: vec![rig.app(Mode::Crashed, &[])] }).await.unwrap();
    assert_eq!(control.stats().await.unwrap().generation, 8);
    std::fs::remove_file(dir.path().join("state/table.json")).unwrap();
    let dir = rig.kill().await;
    let rig = Rig::start_in(dir, Limits::default()).await;
    assert_eq!(rig.control.stats().await.unwrap().generation, 0);
    client.sync().await.unwrap();
    assert_eq!(rig.control.stats().await.unwrap().generation, 8);
    assert!(rig.get("/").await.contains("H10"));
}

#[tokio::test]
async fn a_table_that_found_no_room_is_written_once_there_is_some() {
    let rig = Rig::start(Limits::default()).await;
    let (addr, _) = answering(HELLO).await;
    let state = rig.dir.path().join("state");
    // Where the table would be written is something else: making it fails, as on a full disk.
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::write(&state, "in the way").unwrap();
    rig.control.replace_table(Table { generation: 3, apps: vec![rig.app(Mode::Serving, &[addr])] }).await.unwrap();
    assert_eq!(status(&rig.get("/").await), 200, "it is in force all the same");
    std::fs::remove_file(&state).unwrap();
    std::fs::create_dir(&state).unwrap();
    eventually(|| exists(&state.join("table.json")).then_some(())).await;
    let dir = rig.kill().await;
    let rig = Rig::start_in(dir, Limits::default()).await;
    assert_eq!((rig.control.stats().await.unwrap().generation, status(&rig.get("/").await)), (3, 200));
}

#[tokio::test]
async fn a_router_that_is_not_there_is_said_so() {
    let client = landfall_router::control::Client::new("/nonexistent/router.sock").with_patience(Duration::from_millis(100));
    insta::assert_snapshot!(client.sync().await.unwrap_err());
}

#[tokio::test]
async fn a_hundred_thousand_hosts_are_taken() {
    let rig = Rig::start(Limits::default()).await;
    let (addr, _) = answering(HELLO).await;
    let apps = (0..100_000).map(|at| AppRoutes {
        id: format!("app-{at}"),
        name: format!("name-{at}"),
        hosts: vec![],
        log_dir: None,
        mode: Mode::Serving,
        backends: vec![Backend { id: format!("b-{at}"), addr, dyno: "web.1".into() }],
    });
    rig.control.replace_table(Table { generation: 1, apps: apps.collect() }).await.unwrap();
    let response = rig.ask("GET / HTTP/1.1\r\nHost: name-99999.localhost\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&response), 200);
}
