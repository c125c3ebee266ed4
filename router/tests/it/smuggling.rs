//! Requests that two parsers could read differently: each is refused, and nothing reaches the dyno.

use std::sync::atomic::Ordering;

use landfall_router::Limits;
use landfall_router::control::Mode;

use crate::harness::*;

/// What follows `POST / HTTP/1.1\r\n`; the status is 400.
const ATTEMPTS: &[&str] = &[
    "Host: blog.localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Host: blog.localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "Host: blog.localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "Host: blog.localhost\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "Host: blog.localhost\r\nContent-Length: 5, 5\r\n\r\nhello",
    "Host: blog.localhost\r\nContent-Length: +5\r\n\r\nhello",
    "Host: blog.localhost\r\nContent-Length: -5\r\n\r\nhello",
    "Host: blog.localhost\r\nContent-Length: 0x5\r\n\r\nhello",
    "Host: blog.localhost\r\nContent-Length: 5 5\r\n\r\nhello",
    "Host: blog.localhost\r\nContent-Length:\r\n\r\nhello",
    "Host: blog.localhost\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
    "Host: blog.localhost\r\nTransfer-Encoding: gzip\r\n\r\nhello",
    "Host: blog.localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "Host: blog.localhost\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "Host: blog.localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Host: blog.localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "Host: blog.localhost\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    "Host: blog.localhost\r\nTransfer-Encoding: identity\r\n\r\n",
    "Host: blog.localhost\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "Host: blog.localhost\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "Host: blog.localhost\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Host: blog.localhost\r\nX: a\r\n b\r\n\r\n",
    "Host: blog.localhost\r\nX: a\r\n\tb\r\n\r\n",
    "Host: blog.localhost\nX: a\r\n\r\n",
    "Host: blog.localhost\r\nX: a\rY: b\r\n\r\n",
    "Host: blog.localhost\r\nX: a\nContent-Length: 5\r\n\r\nhello",
    "Host: blog.localhost\r\nX: a\0b\r\n\r\n",
    "Host: blog.localhost\r\nX\0: a\r\n\r\n",
    "Host: blog.localhost\r\n: empty\r\n\r\n",
    "Host: blog.localhost\r\nno colon\r\n\r\n",
    "Host: blog.localhost\r\nHost: blog.localhost\r\n\r\n",
    "Host: blog.localhost\r\nHost: other.localhost\r\n\r\n",
    "X: no host\r\n\r\n",
    "Host:\r\n\r\n",
    "Host: blog.localhost, other.localhost\r\n\r\n",
    "Host: user@blog.localhost\r\n\r\n",
    "Host: blog.localhost/x\r\n\r\n",
    "Host: blog.localhost:80:80\r\n\r\n",
    "Host: blog.localhost:x\r\n\r\n",
    "Host: blog..localhost\r\n\r\n",
    "Host: blog localhost\r\n\r\n",
    "Host: [::1\r\n\r\n",
    "Host: blog.localhost\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "Host: blog.localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX",
    "Host: blog.localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
    "Host: blog.localhost\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "Host: blog.localhost\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
    "Host: blog.localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    "Host: blog.localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX y\r\n\r\n",
];

/// Whole heads, with their status.
const LINES: &[(&str, u16)] = &[
    ("GET  / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n", 400),
    ("GET /a b HTTP/1.1\r\nHost: blog.localhost\r\n\r\n", 400),
    ("GET / HTTP/1.1 \r\nHost: blog.localhost\r\n\r\n", 400),
    (" GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n", 400),
    ("GET /\r\nHost: blog.localhost\r\n\r\n", 400),
    ("G@T / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n", 400),
    ("GET blog HTTP/1.1\r\nHost: blog.localhost\r\n\r\n", 400),
    ("GET * HTTP/1.1\r\nHost: blog.localhost\r\n\r\n", 400),
    ("GET ftp://blog.localhost/ HTTP/1.1\r\nHost: blog.localhost\r\n\r\n", 400),
    ("GET http:///x HTTP/1.1\r\nHost: blog.localhost\r\n\r\n", 400),
    ("GET http://u@blog.localhost/ HTTP/1.1\r\nHost: blog.localhost\r\n\r\n", 400),
    ("GET / HTTP/2.0\r\nHost: blog.localhost\r\n\r\n", 505),
    ("GET / HTTX/1.1\r\nHost: blog.localhost\r\n\r\n", 400),
    ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nHost: blog.localhost\r\n\r\n0\r\n\r\n", 400),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("\x16\x03\x01\x02\0\x01\0\x01\r\n", 400),
    ("\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n", 400),
];

#[tokio::test]
async fn each_attempt_is_refused_and_nothing_is_forwarded() {
    let rig = Rig::start(Limits::default()).await;
    let (addr, connections) = answering(HELLO).await;
    rig.blog(Mode::Serving, &[addr]).await;
    let whole = ATTEMPTS.iter().map(|fields| (format!("POST / HTTP/1.1\r\n{fields}"), 400));
    for (attempt, expected) in whole.chain(LINES.iter().map(|&(head, status)| (head.to_owned(), status))) {
        let response = rig.ask(format!("{attempt}GET /smuggled HTTP/1.1\r\nHost: blog.localhost\r\n\r\n")).await;
        assert_eq!(status(&response), expected, "{attempt:?}");
        assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "closed after the refusal: {attempt:?}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0, "nothing was forwarded");
    assert_eq!(status(&rig.get("/").await), 200, "the dyno is there");
}

#[tokio::test]
async fn sizes_are_limited() {
    let rig = Rig::start(Limits::default()).await;
    let (addr, connections) = answering(HELLO).await;
    rig.blog(Mode::Serving, &[addr]).await;
    let host = "Host: blog.localhost\r\n";
    let many = (0..1000).map(|at| format!("H{at}: x\r\n")).collect::<String>();
    let heavy = format!("X: {}\r\n", "a".repeat(8000)).repeat(9);
    for (head, expected) in [
        (format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(8192)), 414),
        (format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "a".repeat(8192)), 431),
        (format!("GET / HTTP/1.1\r\n{host}{}: x\r\n\r\n", "a".repeat(1001)), 431),
        (format!("GET / HTTP/1.1\r\n{host}{many}\r\n"), 431),
        (format!("GET / HTTP/1.1\r\n{host}{heavy}\r\n"), 431),
    ] {
        assert_eq!(status(&rig.ask(&head).await), expected, "{}", &head[..60]);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
    let most = (0..998).map(|at| format!("H{at}: x\r\n")).collect::<String>();
    assert_eq!(status(&rig.ask(format!("GET / HTTP/1.1\r\n{host}Connection: close\r\n{most}\r\n")).await), 200);
}
