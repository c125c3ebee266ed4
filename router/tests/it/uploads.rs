//! Request bodies: streamed, held back when the dyno is slow, and never taken for the next request.

use std::time::{Duration, Instant};

use landfall_router::Limits;
use landfall_router::control::Mode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::*;

/// Back-pressure: a client cannot get rid of more than the buffers on the way hold while the dyno does not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_dyno_holds_the_client_back() {
    const LENGTH: usize = 64 << 20;
    let rig = Rig::start(Limits::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.blog(Mode::Serving, &[listener.local_addr().unwrap()]).await;
    let (mut reader, mut writer) = rig.connect().await.into_split();
    writer.write_all(format!("POST / HTTP/1.1\r\nHost: blog.localhost\r\nContent-Length: {LENGTH}\r\n\r\n").as_bytes()).await.unwrap();
    let (mut dyno, _) = listener.accept().await.unwrap();
    read_head(&mut dyno).await.unwrap();
    let block = vec![b'x'; 1 << 20];
    let mut sent = 0;
    let mut rest = &block[..];
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(500), writer.write(rest)).await {
        sent += written.unwrap();
        rest = &rest[..block.len().min(LENGTH - sent).min(block.len())];
        assert!(sent < LENGTH, "all {sent} bytes went into buffers");
        rest = if rest.is_empty() { &block } else { rest };
    }
    // Then the dyno reads after all, and everything arrives.
    let upload = tokio::spawn(async move {
        while sent < LENGTH {
            sent += writer.write(&block[..block.len().min(LENGTH - sent)]).await.unwrap();
        }
        writer
    });
    let mut received = 0;
    let mut buffer = vec![0; 1 << 20];
    while received < LENGTH {
        received += within(dyno.read(&mut buffer)).await.unwrap();
    }
    dyno.write_all(HELLO.as_bytes()).await.unwrap();
    let _writer = within(upload).await.unwrap();
    let mut answer = [0; 15];
    within(reader.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
}

/// A body that trickles in is no silence, however long it takes; and its time is not the app's.
#[tokio::test]
async fn a_slow_upload_is_let_through() {
    let limits = Limits { idle: Duration::from_millis(400), first_byte: Duration::from_millis(200), ..Limits::default() };
    let rig = Rig::start(limits).await;
    let addr = dyno(|mut stream| async move {
        while read_head(&mut stream).await.is_some() {
            stream.read_exact(&mut [0; 20]).await.unwrap();
            stream.write_all(HELLO.as_bytes()).await.unwrap();
        }
    })
    .await;
    rig.blog(Mode::Serving, &[addr]).await;
    let mut client = rig.connect().await;
    client.write_all(b"POST / HTTP/1.1\r\nHost: blog.localhost\r\nContent-Length: 20\r\n\r\n").await.unwrap();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(40)).await;
        client.write_all(b"x").await.unwrap();
    }
    assert_eq!(status(&read_until(&mut client, "world!").await), 200);
}

/// What follows a body is the next request, whatever the body looks like and however it was framed.
#[tokio::test]
async fn pipelined_requests_with_bodies_stay_apart() {
    let rig = Rig::start(Limits::default()).await;
    let addr = dyno(|mut stream| async move {
        while let Some(head) = read_head(&mut stream).await {
            let body = match head.split(' ').nth(1).unwrap() {
                "/1" => SMUGGLED.to_owned(),
                "/2" => format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len()),
                _ => String::new(),
            };
            let mut received = vec![0; body.len()];
            stream.read_exact(&mut received).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&received), body);
            let path = head.split(' ').nth(1).unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    rig.blog(Mode::Serving, &[addr]).await;
    let host = "Host: blog.localhost\r\n";
    let plain = format!("POST /1 HTTP/1.1\r\n{host}Content-Length: {}\r\n\r\n{SMUGGLED}", SMUGGLED.len());
    let chunked = format!(
        "POST /2 HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n{:X};a=b\r\n{SMUGGLED}\r\n0\r\nTrailer: x\r\n\r\n",
        SMUGGLED.len()
    );
    let last = format!("GET /3 HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
    let responses = rig.ask(format!("{plain}{chunked}\r\n{plain}{last}")).await;
    let bodies: Vec<&str> = responses.split("HTTP/1.1 200 OK").skip(1).map(|one| one.split_once("\r\n\r\n").unwrap().1).collect();
    assert_eq!(bodies, ["/1", "/2", "/1", "/3"]);
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: blog.localhost\r\n\r\n";

/// An app that refuses before it has the body: the client gets the answer, and what was on the way is not read as a request.
#[tokio::test]
async fn early_answers_end_the_connection() {
    let rig = Rig::start(Limits::default()).await;
    let addr = dyno(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\n\r\nno!").await.unwrap();
        read_head(&mut stream).await;
    })
    .await;
    rig.blog(Mode::Serving, &[addr]).await;
    for expect in ["", "Expect: 100-continue\r\n"] {
        let response = rig.ask(format!("POST / HTTP/1.1\r\nHost: blog.localhost\r\n{expect}Content-Length: 500\r\n\r\n")).await;
        assert!(response.starts_with("HTTP/1.1 413 ") && response.ends_with("no!"), "{response}");
    }
}

/// Many apps write head and body separately and leave Nagle's algorithm on: the second write waits for the first one's
/// acknowledgement, which the kernel would delay by 40 ms.
#[tokio::test]
async fn small_writes_of_dynos_are_not_delayed() {
    let rig = Rig::start(Limits::default()).await;
    let addr = dyno(|mut stream| async move {
        stream.set_nodelay(false).unwrap();
        while read_head(&mut stream).await.is_some() {
            for piece in ["HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", "abc", "de!"] {
                stream.write_all(piece.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    rig.blog(Mode::Serving, &[addr]).await;
    let mut client = rig.connect().await;
    client.set_nodelay(true).unwrap();
    let mut times = Vec::new();
    for _ in 0..31 {
        let started = Instant::now();
        client.write_all(b"GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n").await.unwrap();
        read_until(&mut client, "de!").await;
        times.push(started.elapsed());
    }
    times.sort();
    assert!(times[15] < Duration::from_millis(25), "the middle one of {times:?}");
}
