//! Bodies and other protocols: everything passes as it comes, in both directions.

use std::time::Duration;

use landfall_router::Limits;
use landfall_router::control::Mode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::*;

const LARGE: usize = 50 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_megabytes_down() {
    let rig = Rig::start(Limits::default()).await;
    let addr = dyno(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").as_bytes()).await.unwrap();
        let block = pattern(0, 1 << 20);
        for _ in 0..LARGE >> 20 {
            stream.write_all(&block).await.unwrap();
        }
    })
    .await;
    rig.blog(Mode::Serving, &[addr]).await;
    let mut client = rig.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n").await.unwrap();
    read_until(&mut client, "\r\n\r\n").await;
    check(&mut client, LARGE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_megabytes_up_in_chunks() {
    let rig = Rig::start(Limits::default()).await;
    let addr = dyno(|mut stream| async move {
        assert!(read_head(&mut stream).await.unwrap().contains("\r\nTransfer-Encoding: chunked\r\n"));
        let (mut total, mut content) = (0, Vec::new());
        loop {
            let size = usize::from_str_radix(read_until(&mut stream, "\r\n").await.trim_end(), 16).unwrap();
            content.resize(size + 2, 0);
            stream.read_exact(&mut content).await.unwrap();
            if size == 0 {
                break;
            }
            assert_eq!(&content[..size], pattern(total, size));
            total += size;
        }
        let body = total.to_string();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    rig.blog(Mode::Serving, &[addr]).await;
    let mut client = rig.connect().await;
    client.write_all(b"POST / HTTP/1.1\r\nHost: blog.localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    let block = pattern(0, 1 << 20);
    for _ in 0..LARGE >> 20 {
        client.write_all(b"100000;ext=1\r\n").await.unwrap();
        client.write_all(&block).await.unwrap();
        client.write_all(b"\r\n").await.unwrap();
    }
    client.write_all(b"0\r\nTrailer: x\r\n\r\n").await.unwrap();
    assert!(read_all(&mut client).await.ends_with(&LARGE.to_string()));
}

/// Back-pressure: with a client that does not read, the dyno cannot get rid of more than the buffers on the way hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_the_dyno_back() {
    let rig = Rig::start(Limits::default()).await;
    let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let addr = dyno(move |mut stream| {
        let report = report.clone();
        async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let block = pattern(0, 1 << 20);
            for sent in 1..=LARGE >> 20 {
                stream.write_all(&block).await.unwrap();
                report.send(sent).unwrap();
            }
        }
    })
    .await;
    rig.blog(Mode::Serving, &[addr]).await;
    let mut client = rig.connect().await;
    client.write_all(b"GET / HTTP/1.0\r\nHost: blog.localhost\r\n\r\n").await.unwrap();
    let mut stuck_at = 0;
    while let Ok(Some(sent)) = tokio::time::timeout(Duration::from_millis(500), reports.recv()).await {
        stuck_at = sent;
    }
    assert!(stuck_at < LARGE >> 20, "all {stuck_at} MiB went into buffers");
    read_until(&mut client, "\r\n\r\n").await;
    check(&mut client, LARGE).await;
}

fn pattern(start: usize, length: usize) -> Vec<u8> {
    (start..start + length).map(|at| (at % (1 << 20) % 251) as u8).collect()
}

async fn check(client: &mut tokio::net::TcpStream, length: usize) {
    let mut block = vec![0; 1 << 20];
    let expected = pattern(0, 1 << 20);
    for _ in 0..length >> 20 {
        within(client.read_exact(&mut block)).await.unwrap();
        assert!(block == expected);
    }
}

#[tokio::test]
async fn websockets_pass_after_101_only() {
    let rig = Rig::start(Limits::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.blog(Mode::Serving, &[listener.local_addr().unwrap()]).await;
    let mut client = rig.connect().await;
    client.write_all(b"GET /ws HTTP/1.1\r\nHost: blog.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly").await.unwrap();
    let (mut dyno, _) = listener.accept().await.unwrap();
    let head = read_head(&mut dyno).await.unwrap();
    assert!(head.contains("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"), "{head}");
    let nothing = tokio::time::timeout(Duration::from_millis(100), dyno.read_u8()).await;
    assert!(nothing.is_err(), "nothing passes before the app agreed");
    dyno.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi").await.unwrap();
    let head = read_until(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("\r\nUpgrade: websocket\r\n"), "{head}");
    assert_eq!(read_until(&mut client, "hi").await, "hi");
    assert_eq!(read_until(&mut dyno, "early").await, "early");
    for word in ["one", "two"] {
        client.write_all(word.as_bytes()).await.unwrap();
        assert_eq!(read_until(&mut dyno, word).await, word);
        dyno.write_all(word.as_bytes()).await.unwrap();
        assert_eq!(read_until(&mut client, word).await, word);
    }
    let stats = rig.control.stats().await.unwrap();
    assert_eq!((stats.apps[0].backends[0].active, stats.apps[0].backends[0].tunnels), (0, 1));
    drop(client);
    assert_eq!(read_head(&mut dyno).await, None);
    drop(dyno);
    insta::assert_snapshot!(rig.log(1).await);
}

#[tokio::test]
async fn a_refused_upgrade_stays_http() {
    let rig = Rig::start(Limits::default()).await;
    let (addr, _) = answering(HELLO).await;
    rig.blog(Mode::Serving, &[addr]).await;
    let request = "GET / HTTP/1.1\r\nHost: blog.localhost\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n";
    assert!(rig.ask(request).await.ends_with("Hello, world!"));
}

#[tokio::test]
async fn interim_answers_pass_and_the_body_waits_for_100() {
    let rig = Rig::start(Limits::default()).await;
    let addr = dyno(|mut stream| async move {
        assert!(read_head(&mut stream).await.unwrap().contains("Expect: 100-continue"));
        stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        assert_eq!(read_until(&mut stream, "body!").await, "body!");
        stream.write_all(HELLO.as_bytes()).await.unwrap();
    })
    .await;
    rig.blog(Mode::Serving, &[addr]).await;
    let mut client = rig.connect().await;
    client.write_all(b"PUT / HTTP/1.1\r\nHost: blog.localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await.unwrap();
    let early = read_until(&mut client, "\r\n\r\n").await;
    assert!(early.starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n"), "{early}");
    assert_eq!(read_until(&mut client, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"body!").await.unwrap();
    assert!(read_until(&mut client, "world!").await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn bodies_are_framed_as_the_client_can_read_them() {
    let rig = Rig::start(Limits::default()).await;
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: x\r\n\r\n";
    let until_close = "HTTP/1.0 200 OK\r\n\r\nabcde";
    let request = |method: &str, version: &str| format!("{method} / HTTP/{version}\r\nHost: blog.localhost\r\nConnection: close\r\n\r\n");
    for (answer, method, version, body) in [
        (chunked, "GET", "1.1", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        (chunked, "GET", "1.0", "abcde"),
        (until_close, "GET", "1.1", "5\r\nabcde\r\n0\r\n\r\n"),
        (until_close, "GET", "1.0", "abcde"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", "1.1", ""),
        ("HTTP/1.1 204 No Content\r\n\r\n", "GET", "1.1", ""),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", "1.1", ""),
    ] {
        let addr = blurting(answer.as_bytes().to_vec()).await;
        rig.blog(Mode::Serving, &[addr]).await;
        let response = rig.ask(request(method, version)).await;
        assert_eq!(response.split_once("\r\n\r\n").unwrap().1, body, "{answer:?} {method} {version}");
    }
}

/// A bad chunk that arrives after the head was forwarded ends the dyno's request without an end of the body being made up.
#[tokio::test]
async fn a_late_bad_chunk_cuts_the_dynos_request() {
    let rig = Rig::start(Limits::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.blog(Mode::Serving, &[listener.local_addr().unwrap()]).await;
    let mut client = rig.connect().await;
    client.write_all(b"POST / HTTP/1.1\r\nHost: blog.localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await.unwrap();
    let (mut dyno, _) = listener.accept().await.unwrap();
    read_head(&mut dyno).await.unwrap();
    assert_eq!(read_until(&mut dyno, "3\r\nabc\r\n").await, "3\r\nabc\r\n");
    client.write_all(b"zz\r\nGET /smuggled HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(status(&read_all(&mut client).await), 400);
    assert_eq!(read_all(&mut dyno).await, "");
}
