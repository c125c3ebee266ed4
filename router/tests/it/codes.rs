//! Each H-code: the page, the status, and the line.

use std::time::Duration;

use landfall_router::Limits;
use landfall_router::control::Mode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use crate::harness::*;

const SHORT: Duration = Duration::from_millis(150);

fn page(response: &str, expected: u16, code: &str) {
    assert_eq!(status(response), expected, "{response}");
    assert!(response.contains(&format!("{code} &middot; {expected}")), "{response}");
    assert!(response.contains("Connection: close"), "{response}");
}

#[tokio::test]
async fn a_request_is_answered_and_logged() {
    let rig = Rig::start(Limits::default()).await;
    let (addr, _) = answering(HELLO).await;
    rig.blog(Mode::Serving, &[addr]).await;
    insta::assert_snapshot!(rig.get("/x?y=\"").await);
    insta::assert_snapshot!(rig.log(1).await);
    rig.stop().await;
}

#[tokio::test]
async fn apps_that_cannot_answer() {
    let rig = Rig::start(Limits { boot_wait: SHORT, ..Limits::default() }).await;
    for (mode, code) in
        [(Mode::Maintenance, "H80"), (Mode::NoWeb, "H14"), (Mode::Crashed, "H10"), (Mode::Blank, "H81"), (Mode::Booting, "H20")]
    {
        rig.blog(mode, &[]).await;
        page(&rig.get("/").await, 503, code);
    }
    insta::assert_snapshot!(rig.log(5).await);
}

#[tokio::test]
async fn pages() {
    let rig = Rig::start(Limits::default()).await;
    rig.blog(Mode::Maintenance, &[]).await;
    insta::assert_snapshot!("maintenance", rig.get("/").await);
    insta::assert_snapshot!("unknown_host", rig.ask("GET / HTTP/1.1\r\nHost: nobody.example\r\nConnection: close\r\n\r\n").await);
    rig.blog(Mode::NoWeb, &[]).await;
    insta::assert_snapshot!("no_web", rig.get("/").await);
}

#[tokio::test]
async fn a_silent_dyno_is_h12() {
    let rig = Rig::start(Limits { first_byte: SHORT, ..Limits::default() }).await;
    let addr = dyno(|mut stream| async move { while read_head(&mut stream).await.is_some() {} }).await;
    rig.blog(Mode::Serving, &[addr]).await;
    page(&rig.get("/").await, 503, "H12");
    insta::assert_snapshot!(rig.log(1).await);
}

#[tokio::test]
async fn bad_answers() {
    let rig = Rig::start(Limits::default()).await;
    let large = format!("HTTP/1.1 200 OK\r\nX-Large: {}\r\n\r\n", "a".repeat(600 * 1024));
    for (answer, expected, code) in [
        (String::new(), 503, "H13"),
        ("HTTP/1.1 200 O".to_owned(), 503, "H13"),
        ("SSH-2.0-OpenSSH\r\n\r\n".to_owned(), 503, "H17"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), 503, "H17"),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n".to_owned(), 503, "H17"),
        (large, 502, "H25"),
    ] {
        let addr = blurting(answer.into_bytes()).await;
        rig.blog(Mode::Serving, &[addr]).await;
        page(&rig.get("/").await, expected, code);
    }
    insta::assert_snapshot!(rig.log(6).await);
}

#[tokio::test]
async fn answers_that_stop_half_way_are_cut() {
    let rig = Rig::start(Limits { idle: SHORT, ..Limits::default() }).await;
    let addr = blurting(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_vec()).await;
    rig.blog(Mode::Serving, &[addr]).await;
    let response = rig.get("/died").await;
    assert!(response.ends_with("\r\n\r\nabc"), "{response}");
    let addr = dyno(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await.unwrap();
        read_head(&mut stream).await;
    })
    .await;
    rig.blog(Mode::Serving, &[addr]).await;
    let response = rig.get("/silent").await;
    assert!(response.ends_with("3\r\nabc\r\n"), "no end of the body is made up: {response}");
    insta::assert_snapshot!(rig.log(2).await);
}

#[tokio::test]
async fn dynos_that_take_no_connection() {
    let rig = Rig::start(Limits { connect_timeout: SHORT, ..Limits::default() }).await;
    rig.blog(Mode::Serving, &[nobody().await]).await;
    page(&rig.get("/refused").await, 503, "H21");
    // A listener with a full queue: the kernel answers no more.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let addr = full.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(SHORT, tokio::net::TcpStream::connect(addr)).await {
        held.push(stream);
    }
    rig.blog(Mode::Serving, &[addr]).await;
    page(&rig.get("/timeout").await, 503, "H19");
    insta::assert_snapshot!(rig.log(2).await);
}

#[tokio::test]
async fn another_dyno_is_tried_and_the_dead_one_passed_over() {
    let rig = Rig::start(Limits::default()).await;
    let (addr, _) = answering(HELLO).await;
    rig.blog(Mode::Serving, &[nobody().await, addr]).await;
    for _ in 0..20 {
        assert_eq!(status(&rig.get("/").await), 200);
    }
}

#[tokio::test]
async fn a_deep_backlog_is_h11_and_a_shallow_one_waits() {
    let limits = Limits { active_per_backend: 1, backlog_per_backend: 1, ..Limits::default() };
    let rig = Rig::start(limits).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.blog(Mode::Serving, &[listener.local_addr().unwrap()]).await;
    let (first, third);
    (first, third) = {
        let first = rig.get("/1");
        let second = rig.get("/2");
        let conduct = async {
            let (mut one, _) = listener.accept().await.unwrap();
            read_head(&mut one).await.unwrap();
            // One is active. Wait until the other waits, then come third.
            loop {
                if rig.control.stats().await.unwrap().apps[0].waiting == 1 {
                    break;
                }
            }
            let third = rig.get("/3").await;
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            one.write_all(answer).await.unwrap();
            let (mut two, _) = listener.accept().await.unwrap();
            read_head(&mut two).await.unwrap();
            two.write_all(answer).await.unwrap();
            third
        };
        let (first, second, third) = within(async { tokio::join!(first, second, conduct) }).await;
        ((first, second), third)
    };
    assert!(first.0.ends_with("ok") && first.1.ends_with("ok"), "{first:?}");
    page(&third, 503, "H11");
}

#[tokio::test]
async fn booting_requests_wait_for_the_dyno() {
    let rig = Rig::start(Limits::default()).await;
    rig.blog(Mode::Booting, &[]).await;
    let (addr, _) = answering(HELLO).await;
    let appear = async {
        while rig.control.stats().await.unwrap().apps[0].waiting == 0 {}
        rig.control.replace_app(2, rig.app(Mode::Serving, &[addr])).await.unwrap();
    };
    let (response, ()) = tokio::join!(rig.get("/"), appear);
    assert_eq!(status(&response), 200);
}

#[tokio::test]
async fn clients_that_leave_are_h27_and_cancel_the_dyno() {
    let rig = Rig::start(Limits::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.blog(Mode::Serving, &[listener.local_addr().unwrap()]).await;
    let mut client = rig.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n").await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    read_head(&mut upstream).await.unwrap();
    drop(client);
    assert_eq!(within(read_head(&mut upstream)).await, None, "the dyno's connection ends as well");
    insta::assert_snapshot!(rig.log(1).await);
}

/// The dyno does not read, so nothing is read from the client either.
#[tokio::test]
async fn clients_that_leave_in_an_upload_that_is_stuck_are_h27() {
    let rig = Rig::start(Limits::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.blog(Mode::Serving, &[listener.local_addr().unwrap()]).await;
    let mut client = rig.connect().await;
    client.write_all(b"POST / HTTP/1.1\r\nHost: blog.localhost\r\nContent-Length: 1000000000\r\n\r\n").await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    read_head(&mut upstream).await.unwrap();
    let block = vec![b'x'; 1 << 20];
    while tokio::time::timeout(Duration::from_millis(500), client.write(&block)).await.is_ok() {}
    client.set_zero_linger().unwrap();
    drop(client);
    insta::assert_snapshot!(rig.log(1).await);
    read_all(&mut upstream).await;
}

/// What the visitor sent is more than is read ahead.
#[tokio::test]
async fn clients_that_leave_while_the_app_boots_are_h27_and_their_form_is_never_sent() {
    let rig = Rig::start(Limits::default()).await;
    rig.blog(Mode::Booting, &[]).await;
    for reset in [false, true] {
        let mut client = rig.connect().await;
        client.write_all(b"POST / HTTP/1.1\r\nHost: blog.localhost\r\nContent-Length: 40000\r\n\r\n").await.unwrap();
        client.write_all(&vec![b'x'; 40_000]).await.unwrap();
        let waiting = async |count| {
            eventually_async(async || (rig.control.stats().await.unwrap().apps[0].waiting == count).then_some(())).await;
        };
        waiting(1).await;
        tokio::time::sleep(SHORT).await;
        if reset {
            client.set_zero_linger().unwrap();
        }
        drop(client);
        waiting(0).await;
    }
    let (addr, connections) = answering(HELLO).await;
    rig.control.replace_app(2, rig.app(Mode::Serving, &[addr])).await.unwrap();
    assert_eq!(status(&rig.get("/").await), 200);
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 1, "nobody's but ours");
    insta::assert_snapshot!(rig.log(3).await);
}

#[tokio::test]
async fn clients_that_stop_sending_are_h28() {
    let rig = Rig::start(Limits { idle: SHORT, ..Limits::default() }).await;
    let addr = dyno(|mut stream| async move {
        read_head(&mut stream).await;
        read_head(&mut stream).await;
    })
    .await;
    rig.blog(Mode::Serving, &[addr]).await;
    let response = rig.ask("POST / HTTP/1.1\r\nHost: blog.localhost\r\nContent-Length: 100\r\n\r\nabc").await;
    assert_eq!(response, "");
    insta::assert_snapshot!(rig.log(1).await);
}

/// One window for both directions: whoever moves bytes keeps the request alive, and nobody else does.
#[tokio::test]
async fn dynos_that_fall_silent_in_an_upload_are_h15_once_it_stops() {
    const HALF: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc";
    let rig = Rig::start(Limits { idle: Duration::from_millis(400), ..Limits::default() }).await;
    // It reads on: it may be about to answer the end of the body.
    let addr = dyno(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(HALF).await.unwrap();
        stream.read_exact(&mut [0; 20]).await.unwrap();
        stream.write_all(b"def").await.unwrap();
    })
    .await;
    rig.blog(Mode::Serving, &[addr]).await;
    let mut client = rig.connect().await;
    client.write_all(b"POST /reads HTTP/1.1\r\nHost: blog.localhost\r\nContent-Length: 20\r\n\r\n").await.unwrap();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(40)).await;
        client.write_all(b"x").await.unwrap();
    }
    assert!(read_until(&mut client, "def").await.starts_with("HTTP/1.1 200 OK"));
    // It does not.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.blog(Mode::Serving, &[listener.local_addr().unwrap()]).await;
    let mut client = rig.connect().await;
    client.write_all(b"POST /stuck HTTP/1.1\r\nHost: blog.localhost\r\nContent-Length: 1000000000\r\n\r\n").await.unwrap();
    let (mut stuck, _) = listener.accept().await.unwrap();
    read_head(&mut stuck).await.unwrap();
    stuck.write_all(HALF).await.unwrap();
    let block = vec![b'x'; 1 << 20];
    within(async { while client.write(&block).await.is_ok() {} }).await;
    insta::assert_snapshot!(rig.log(2).await);
}

#[tokio::test]
async fn requests_that_are_well_formed_and_not_served_are_h26() {
    let rig = Rig::start(Limits::default()).await;
    let (addr, connections) = answering(HELLO).await;
    rig.blog(Mode::Serving, &[addr]).await;
    let trace = rig.ask("TRACE / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n").await;
    page(&trace, 405, "H26");
    let expect = rig.ask("POST / HTTP/1.1\r\nHost: blog.localhost\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\n").await;
    page(&expect, 417, "H26");
    page(&rig.ask("CONNECT blog.localhost:80 HTTP/1.1\r\nHost: blog.localhost:80\r\n\r\n").await, 405, "H26");
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 0);
    insta::assert_snapshot!(rig.log(2).await);
}
