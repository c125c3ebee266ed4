//! Connections: reuse, limits, deadlines, and how they end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use landfall_router::Limits;
use landfall_router::control::Mode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::harness::*;

const SHORT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn both_sides_are_kept_and_pipelined_requests_answered_in_order() {
    let rig = Rig::start(Limits::default()).await;
    let (addr, connections) = answering(HELLO).await;
    rig.blog(Mode::Serving, &[addr]).await;
    let mut client = rig.connect().await;
    for _ in 0..10 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\nGET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n").await.unwrap();
        read_until(&mut client, "world!").await;
        read_until(&mut client, "world!").await;
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

/// A dyno that closes after each answer without saying so: requests that may be repeated never see it.
#[tokio::test]
async fn stale_connections_to_dynos_are_made_good() {
    let rig = Rig::start(Limits::default()).await;
    let addr = blurting(HELLO.as_bytes().to_vec()).await;
    rig.blog(Mode::Serving, &[addr]).await;
    let mut client = rig.connect().await;
    for method in ["GET", "POST", "GET", "POST", "POST", "DELETE"].repeat(10) {
        let head = format!("{method} / HTTP/1.1\r\nHost: blog.localhost\r\nContent-Length: 0\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let response = read_until(&mut client, "world!").await;
        assert_eq!(status(&response), 200);
    }
}

#[tokio::test]
async fn what_may_not_be_repeated_is_not() {
    let rig = Rig::start(Limits::default()).await;
    let (count, addr) = {
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let theirs = std::sync::Arc::clone(&count);
        let addr = dyno(move |mut stream| {
            let count = std::sync::Arc::clone(&theirs);
            async move {
                read_head(&mut stream).await;
                count.fetch_add(1, Ordering::SeqCst);
            }
        })
        .await;
        (count, addr)
    };
    rig.blog(Mode::Serving, &[addr]).await;
    assert_eq!(status(&rig.ask("POST / HTTP/1.1\r\nHost: blog.localhost\r\nContent-Length: 0\r\n\r\n").await), 503);
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(status(&rig.get("/").await), 503);
    assert_eq!(count.load(Ordering::SeqCst), 3, "a GET is tried once more, and only once");
}

#[tokio::test]
async fn slow_heads_are_given_up() {
    let rig = Rig::start(Limits { header_timeout: SHORT, ..Limits::default() }).await;
    rig.blog(Mode::NoWeb, &[]).await;
    assert_eq!(status(&rig.ask("GET / HTTP/1.1\r\nHost:").await), 408);
    assert_eq!(rig.ask("").await, "", "who says nothing is told nothing");
}

#[tokio::test]
async fn idle_connections_end() {
    let rig = Rig::start(Limits { keep_alive: SHORT, ..Limits::default() }).await;
    let (addr, _) = answering(HELLO).await;
    rig.blog(Mode::Serving, &[addr]).await;
    let response = rig.ask("GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n").await;
    assert!(response.ends_with("Hello, world!"));
}

#[tokio::test]
async fn too_many_connections_are_told_so() {
    let rig = Rig::start(Limits { connections_per_ip: 2, ..Limits::default() }).await;
    rig.blog(Mode::NoWeb, &[]).await;
    let (one, two) = (rig.connect().await, rig.connect().await);
    while rig.control.stats().await.unwrap().connections < 2 {}
    let response = rig.ask("").await;
    assert!(response.starts_with("HTTP/1.1 503 ") && response.ends_with("Too many connections. Try again soon.\r\n"), "{response}");
    drop((one, two));
    while rig.control.stats().await.unwrap().connections > 0 {}
    assert_eq!(status(&rig.get("/").await), 503);
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_idle_connections_go() {
    let rig = Rig::start(Limits::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.blog(Mode::Serving, &[listener.local_addr().unwrap()]).await;
    let mut idle = rig.connect().await;
    let mut busy = rig.connect().await;
    busy.write_all(b"GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n").await.unwrap();
    let (mut dyno, _) = listener.accept().await.unwrap();
    read_head(&mut dyno).await.unwrap();
    while rig.control.stats().await.unwrap().connections < 2 {}
    rig.begin_stop();
    assert_eq!(read_all(&mut idle).await, "");
    dyno.write_all(HELLO.as_bytes()).await.unwrap();
    assert!(read_all(&mut busy).await.ends_with("Hello, world!"));
    rig.stop().await;
}
