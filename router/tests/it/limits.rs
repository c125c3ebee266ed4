//! What one app, one dyno, one client or one answer may not exceed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use landfall_router::control::Mode;
use landfall_router::{Limits, Router};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::*;

const SHORT: Duration = Duration::from_millis(150);
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n";

#[test]
fn the_numbers_are_herokus() {
    let limits = Limits::default();
    let seconds = |time: Duration| time.as_secs();
    assert_eq!(
        [limits.connect_timeout, limits.quarantine, limits.first_byte, limits.idle, limits.boot_wait, limits.keep_alive].map(seconds),
        [5, 5, 30, 55, 75, 60]
    );
    assert_eq!((limits.active_per_backend, limits.backlog_per_backend), (50, 50));
    assert_eq!((limits.request_line, limits.header_line, limits.header_name, limits.header_count), (8192, 8192, 1000, 1000));
    assert_eq!((limits.request_head, limits.status_line, limits.cookie_line), (65536, 8192, 8192));
    assert_eq!(limits.response_header_line, 524_288);
}

/// WebSockets are not active requests, and yet no app can take all connections with them.
#[tokio::test]
async fn an_app_with_too_many_connections_is_h22() {
    let rig = Rig::start(Limits { connections_per_app: 2, ..Limits::default() }).await;
    let addr = dyno(|mut stream| async move {
        if read_head(&mut stream).await.unwrap().contains("Upgrade") {
            stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n").await.unwrap();
            read_head(&mut stream).await;
        } else {
            stream.write_all(HELLO.as_bytes()).await.unwrap();
        }
    })
    .await;
    rig.blog(Mode::Serving, &[addr]).await;
    let mut sockets = Vec::new();
    for _ in 0..2 {
        let mut socket = rig.connect().await;
        socket.write_all(b"GET / HTTP/1.1\r\nHost: blog.localhost\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n").await.unwrap();
        assert!(read_until(&mut socket, "\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
        sockets.push(socket);
    }
    let refused = rig.get("/").await;
    assert!(status(&refused) == 503 && refused.contains("H22"), "{refused}");
    sockets.pop();
    eventually_async(async || (status(&rig.get("/").await) == 200).then_some(())).await;
}

/// An address that no connection can ever be made to (a link-local one without its link).
#[tokio::test]
async fn an_impossible_address_is_h23() {
    let rig = Rig::start(Limits::default()).await;
    rig.blog(Mode::Serving, &["[fe80::1]:80".parse().unwrap()]).await;
    let response = rig.get("/").await;
    assert!(status(&response) == 503 && response.contains("H23"), "{response}");
    insta::assert_snapshot!(rig.log(1).await);
}

#[tokio::test]
async fn answers_larger_than_allowed_are_h25() {
    let rig = Rig::start(Limits::default()).await;
    let many = |count: usize| (0..count).map(|at| format!("H{at}: x\r\n")).collect::<String>();
    let long = |length| "a".repeat(length);
    for (head, expected) in [
        (format!("HTTP/1.1 200 {}", long(8192)), 502),
        (format!("HTTP/1.1 200 OK\r\nSet-Cookie: {}", long(8192)), 502),
        (format!("HTTP/1.1 200 OK\r\nX: {}", long(512 * 1024)), 502),
        (format!("HTTP/1.1 200 OK\r\n{}: x", long(1001)), 502),
        (format!("HTTP/1.1 200 OK\r\n{}X: x", many(1000)), 502),
        (format!("HTTP/1.1 200 {}", long(8000)), 200),
        (format!("HTTP/1.1 200 OK\r\nSet-Cookie: {}", long(8000)), 200),
        (format!("HTTP/1.1 200 OK\r\nX: {}", long(500 * 1024)), 200),
        (format!("HTTP/1.1 200 OK\r\n{}: x", long(1000)), 200),
        (format!("HTTP/1.1 200 OK\r\n{}X: x", many(998)), 200),
    ] {
        let addr = blurting(format!("{head}\r\nContent-Length: 0\r\n\r\n").into_bytes()).await;
        rig.blog(Mode::Serving, &[addr]).await;
        let response = rig.get("/").await;
        assert_eq!(status(&response), expected, "{}…", &head[..40]);
        assert_eq!(response.contains("H25 &middot; 502"), expected == 502);
    }
}

/// A dyno that refused is left alone for the time of its quarantine, and no longer.
#[tokio::test]
async fn quarantine_ends() {
    for (quarantine, comes_back) in [(Duration::from_mins(1), false), (Duration::from_millis(20), true)] {
        let rig = Rig::start(Limits { quarantine, ..Limits::default() }).await;
        let dead = nobody().await;
        let (alive, _) = answering(HELLO).await;
        rig.blog(Mode::Serving, &[dead, alive]).await;
        let used = || async {
            let stats = rig.control.stats().await.unwrap();
            stats.apps[0].backends.iter().find(|backend| backend.id == format!("b-{dead}")).unwrap().requests
        };
        // Until the dead one was asked, which nobody notices.
        for _ in 0..20 {
            assert_eq!(status(&rig.get("/").await), 200);
        }
        let listener = TcpListener::bind(dead).await.unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                read_head(&mut stream).await;
                let _ = stream.write_all(HELLO.as_bytes()).await;
            }
        });
        if comes_back {
            eventually_async(async || {
                assert_eq!(status(&rig.get("/").await), 200);
                (used().await > 0).then_some(())
            })
            .await;
        } else {
            for _ in 0..20 {
                assert_eq!(status(&rig.get("/").await), 200);
            }
            assert_eq!(used().await, 0);
        }
    }
}

/// Bytes that trickle in do not renew the time a head may take.
#[tokio::test]
async fn a_trickling_head_is_given_up() {
    let rig = Rig::start(Limits { header_timeout: SHORT, ..Limits::default() }).await;
    rig.blog(Mode::NoWeb, &[]).await;
    let (mut reader, mut writer) = rig.connect().await.into_split();
    let trickle = tokio::spawn(async move {
        writer.write_all(b"GET / HTTP/1.1\r\nHost: blog.localhost\r\n").await.unwrap();
        while writer.write_all(b"X").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let mut response = String::new();
    let _ = within(reader.read_to_string(&mut response)).await;
    assert_eq!(status(&response), 408);
    drop(reader);
    within(trickle).await.unwrap();
}

/// A client that stops reading: the time of silence is its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_stop_reading_are_h28() {
    let rig = Rig::start(Limits { idle: SHORT, ..Limits::default() }).await;
    let addr = dyno(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let block = vec![b'x'; 1 << 20];
        while stream.write_all(&block).await.is_ok() {}
    })
    .await;
    rig.blog(Mode::Serving, &[addr]).await;
    let mut client = rig.connect().await;
    client.write_all(GET).await.unwrap();
    let line = rig.log(1).await;
    assert!(line.contains("code=H28") && line.contains("status=499"), "{line}");
}

/// When the router stops, what does not end in time is cut: with a page if nothing was sent yet, and always with a line.
#[tokio::test]
async fn requests_that_outlive_the_router_are_h24() {
    let rig = Rig::start(Limits { shutdown: SHORT, ..Limits::default() }).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.blog(Mode::Serving, &[listener.local_addr().unwrap()]).await;
    let mut clients = Vec::new();
    let mut dynos = Vec::new();
    for answer in
        ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"]
    {
        let mut client = rig.connect().await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: blog.localhost\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n").await.unwrap();
        let (mut dyno, _) = listener.accept().await.unwrap();
        read_head(&mut dyno).await.unwrap();
        dyno.write_all(answer.as_bytes()).await.unwrap();
        if !answer.is_empty() {
            read_until(&mut client, if answer.contains("abc") { "abc" } else { "\r\n\r\n" }).await;
        }
        clients.push(client);
        dynos.push(dyno);
    }
    let (_dir, log_dir) = (Arc::clone(&rig.dir), rig.log_dir());
    rig.begin_stop();
    let waiting = read_all(&mut clients[0]).await;
    assert!(status(&waiting) == 503 && waiting.contains("H24"), "{waiting}");
    assert_eq!(read_all(&mut clients[1]).await, "");
    assert_eq!(read_all(&mut clients[2]).await, "");
    rig.stop().await;
    let log = std::fs::read_to_string(log_dir.join("router.log")).unwrap();
    assert_eq!(log.matches("code=H24 desc=\"Forced close\"").count(), 3, "{log}");
}

/// Idle connections to dynos have a bound for all apps together, and go away by themselves.
#[tokio::test]
async fn idle_connections_to_dynos_are_bounded() {
    let rig = Rig::start(Limits { idle_upstreams: 3, upstream_keep_alive: SHORT, ..Limits::default() }).await;
    let (addr, connections) = answering(HELLO).await;
    rig.blog(Mode::Serving, &[addr]).await;
    let rig = Arc::new(rig);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let rig = Arc::clone(&rig);
        tasks.spawn(async move { assert_eq!(status(&rig.get("/").await), 200) });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
        assert!(rig.control.stats().await.unwrap().idle_upstreams <= 4);
    }
    assert!(connections.load(Ordering::SeqCst) > 0);
    eventually_async(async || (rig.control.stats().await.unwrap().idle_upstreams == 0).then_some(())).await;
}

#[tokio::test]
async fn operators_may_replace_pages() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let pages = dir.path().join("pages");
    std::fs::create_dir(&pages).unwrap();
    std::fs::write(pages.join("error.html.hbs"), "ours: {{title}}|{{explanation}}|{{code}}|{{status}}").unwrap();
    std::fs::write(pages.join("maintenance.html.hbs"), "back at six").unwrap();
    let with_pages = || landfall_router::RouterConfig { pages_dir: Some(pages.clone()), ..config(dir.path(), Limits::default()) };
    let rig = Rig::start_as(Arc::clone(&dir), with_pages()).await;
    let body = |response: &str| response.split_once("\r\n\r\n").unwrap().1.to_owned();
    rig.blog(Mode::Maintenance, &[]).await;
    assert_eq!(body(&rig.get("/").await), "back at six");
    rig.blog(Mode::Crashed, &[]).await;
    assert!(body(&rig.get("/").await).starts_with("ours: Application error|The app crashed."), "{}", rig.get("/").await);
    let unknown = rig.ask("GET / HTTP/1.1\r\nHost: nobody.example\r\nConnection: close\r\n\r\n").await;
    assert!(body(&unknown).contains("There is no app at this address."), "those that are not replaced stay: {unknown}");
    rig.stop().await;

    // A mistake is found at the start, not by a visitor.
    std::fs::write(pages.join("blank.html.hbs"), "{{nonsense}}").unwrap();
    let error = Router::bind(with_pages()).unwrap_err();
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(reason.contains("blank.html.hbs") && reason.contains("title, explanation, code and status"), "{reason}");
}
