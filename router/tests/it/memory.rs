//! One budget of memory for all buffers: who needs much waits his turn or hears 503, and nobody else notices.

use std::sync::Arc;
use std::time::Duration;

use landfall_router::Limits;
use landfall_router::control::Mode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use crate::harness::*;

const MIB: usize = 1024 * 1024;
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n";
/// So little that about a dozen of the largest request heads fit beside what is set aside.
const LITTLE: usize = 8 * MIB;

fn limits(memory: usize) -> Limits {
    // Idle connections to dynos are no part of it: they go soon.
    Limits { memory, upstream_keep_alive: Duration::from_millis(50), ..Limits::default() }
}

/// A request whose head is as large as allowed, up to the end that is still to come.
fn large_head() -> Vec<u8> {
    let line = format!("X: {}\r\n", "x".repeat(7500));
    format!("GET / HTTP/1.1\r\nHost: blog.localhost\r\n{}", line.repeat(8)).into_bytes()
}

async fn memory(rig: &Rig) -> u64 {
    rig.control.stats().await.unwrap().memory
}

/// Clients that do not end their heads. Those whom the router does not answer hold what they have got.
struct Hogs {
    tasks: tokio::task::JoinSet<()>,
}

impl Hogs {
    /// Returns once so many were told 503 that the others have everything.
    async fn feast(rig: &Rig, hogs: usize) -> Self {
        let (told, mut answers) = mpsc::unbounded_channel();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..hogs {
            let (mut stream, told) = (connect_from_anywhere(rig.addr).await, told.clone());
            tasks.spawn(async move {
                // It may be answered, and closed, before it said everything.
                let _ = stream.write_all(&large_head()).await;
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer).await;
                let _ = told.send(String::from_utf8_lossy(&answer).into_owned());
            });
        }
        for _ in 0..hogs / 2 {
            let answer = within(answers.recv()).await.unwrap();
            assert!(status(&answer) == 503 && answer.contains("H99"), "{answer}");
            assert!(memory(rig).await <= LITTLE as u64);
        }
        Self { tasks }
    }

    async fn leave(mut self) {
        self.tasks.shutdown().await;
    }
}

/// Everything that was taken is given back.
async fn all_is_given_back(rig: &Rig, start: u64) {
    eventually_async(async || {
        let stats = rig.control.stats().await.unwrap();
        (stats.connections == 0 && stats.idle_upstreams == 0 && stats.memory == start).then_some(())
    })
    .await;
}

#[tokio::test]
async fn large_heads_of_requests_are_shed_and_small_ones_are_answered() {
    let rig = Rig::start(limits(LITTLE)).await;
    let start = memory(&rig).await;
    let (addr, _) = answering(HELLO).await;
    rig.blog(Mode::Serving, &[addr]).await;
    let mut early = rig.connect().await;
    early.write_all(GET).await.unwrap();
    read_until(&mut early, "world!").await;

    let hogs = Hogs::feast(&rig, 80).await;
    early.write_all(GET).await.unwrap();
    assert_eq!(status(&read_until(&mut early, "world!").await), 200, "who is inside is served");
    assert_eq!(status(&rig.get("/").await), 200, "who comes now is served as well");
    assert!(rig.control.stats().await.unwrap().platform_errors >= 40);

    hogs.leave().await;
    drop(early);
    all_is_given_back(&rig, start).await;
    let head = [large_head(), b"Connection: close\r\n\r\n".to_vec()].concat();
    assert_eq!(status(&rig.ask(&head).await), 200, "and large heads are, too");
    all_is_given_back(&rig, start).await;
}

/// A head of 1 MiB for `/large`, which ends when the test says so; a small one for everything else.
async fn boaster(end: watch::Receiver<bool>) -> std::net::SocketAddr {
    dyno(move |mut stream| {
        let mut end = end.clone();
        async move {
            while let Some(head) = read_head(&mut stream).await {
                if !head.starts_with("GET /large ") {
                    let _ = stream.write_all(HELLO.as_bytes()).await;
                    continue;
                }
                let line = format!("X: {}\r\n", "x".repeat(250_000));
                if stream.write_all(format!("HTTP/1.1 200 OK\r\n{}", line.repeat(4)).as_bytes()).await.is_err() {
                    return;
                }
                if end.wait_for(|&end| end).await.is_err() || stream.write_all(b"Content-Length: 5\r\n\r\nlarge").await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn large_heads_of_answers_are_shed_and_small_ones_pass() {
    const MEMORY: usize = 24 * MIB;
    const CLIENTS: usize = 40;
    let rig = Arc::new(Rig::start(limits(MEMORY)).await);
    let start = memory(&rig).await;
    let (end, ended) = watch::channel(false);
    rig.blog(Mode::Serving, &[boaster(ended).await]).await;

    let (told, mut answers) = mpsc::unbounded_channel();
    for _ in 0..CLIENTS {
        let (rig, told) = (Arc::clone(&rig), told.clone());
        tokio::spawn(async move { told.send(rig.get("/large").await) });
    }
    // 24 MiB do not hold ten of them.
    for _ in 0..CLIENTS - 10 {
        let answer = within(answers.recv()).await.unwrap();
        assert!(status(&answer) == 503 && answer.contains("H99"), "{answer}");
        assert!(memory(&rig).await <= MEMORY as u64);
    }
    assert_eq!(status(&rig.get("/").await), 200);
    end.send(true).unwrap();
    for _ in 0..10 {
        let answer = within(answers.recv()).await.unwrap();
        match status(&answer) {
            200 => assert!(answer.len() > 1_000_000 && answer.ends_with("\r\n\r\nlarge")),
            status => assert!(status == 503 && answer.contains("H99"), "{answer}"),
        }
        assert!(memory(&rig).await <= MEMORY as u64);
    }
    assert!(rig.get("/large").await.ends_with("\r\n\r\nlarge"), "alone it passes");
    let log = std::fs::read_to_string(rig.log_dir().join("router.log")).unwrap();
    assert!(log.contains(" at=error code=H99 desc=\"Platform error\" method=GET path=\"/large\" "), "{log}");
    all_is_given_back(&rig, start).await;
}

/// A dyno that sends every body back, as the request's path says.
async fn echo() -> std::net::SocketAddr {
    dyno(|mut stream| async move {
        let head = read_head(&mut stream).await.unwrap();
        let mut body = Vec::new();
        if head.contains("Content-Length: ") {
            body.resize(BODY, 0);
            stream.read_exact(&mut body).await.unwrap();
        } else {
            loop {
                let size = read_until(&mut stream, "\r\n").await;
                let mut chunk = vec![0; usize::from_str_radix(size.trim_end(), 16).unwrap()];
                stream.read_exact(&mut chunk).await.unwrap();
                read_until(&mut stream, "\r\n").await;
                if chunk.is_empty() {
                    break;
                }
                body.append(&mut chunk);
            }
        }
        let form = if head.contains(" /close ") { "" } else { "Transfer-Encoding: chunked\r\n" };
        let form = if head.contains(" /length ") { &format!("Content-Length: {BODY}\r\n") } else { form };
        let (_, wanted) = head.split_once("X-Head: ").unwrap();
        let wanted = wanted.split_once('\r').unwrap().0.parse().unwrap();
        let mut answer = format!("HTTP/1.1 200 OK\r\nX: {}\r\n{form}\r\n", "x".repeat(wanted)).into_bytes();
        answer.extend(if head.contains(" /chunked ") { chunks(&body) } else { body });
        stream.write_all(&answer).await.unwrap();
    })
    .await
}

const BODY: usize = 3 * MIB / 2;

fn chunks(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, chunk) in body.chunks(20_011).enumerate() {
        // Not all of one size, nor of one spelling.
        for part in chunk.chunks(if at % 3 == 0 { 7 } else { 9001 }) {
            out.extend_from_slice(format!("{:04X};x=y\r\n", part.len()).as_bytes());
            out.extend_from_slice(part);
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"0\r\nT: x\r\n\r\n");
    out
}

fn content(answer: &[u8]) -> Vec<u8> {
    let start = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let (head, mut rest) = answer.split_at(start);
    if !String::from_utf8_lossy(head).contains("Transfer-Encoding: chunked") {
        return rest.to_vec();
    }
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            assert_eq!(&rest[end..], b"\r\n\r\n");
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
}

/// Bodies each way, the dyno's after a head of so many bytes.
async fn bodies_pass(rig: &Rig, head: usize) {
    let body: Vec<u8> = (0..BODY).map(|at| (at % 251) as u8).collect();
    for (path, chunked) in [("/length", false), ("/chunked", true), ("/close", true), ("/chunked", false)] {
        let form = if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {BODY}") };
        let mut request =
            format!("POST {path} HTTP/1.1\r\nHost: blog.localhost\r\nConnection: close\r\nX-Head: {head}\r\n{form}\r\n\r\n").into_bytes();
        request.extend(if chunked { chunks(&body) } else { body.clone() });
        let (mut reader, mut writer) = rig.connect().await.into_split();
        let mut answer = Vec::new();
        let (sent, read) = tokio::join!(within(writer.write_all(&request)), within(reader.read_to_end(&mut answer)));
        sent.unwrap();
        read.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{path}: {}", String::from_utf8_lossy(&answer[..answer.len().min(300)]));
        assert!(content(&answer) == body, "{path}: something was lost on the way");
    }
}

#[tokio::test]
async fn bodies_of_any_size_pass_without_memory_to_spare() {
    let rig = Rig::start(limits(LITTLE)).await;
    let start = memory(&rig).await;
    rig.blog(Mode::Serving, &[echo().await]).await;
    let hogs = Hogs::feast(&rig, 80).await;
    bodies_pass(&rig, 5000).await;
    hogs.leave().await;
    // Then the buffer that the head came in holds much of the body as well.
    bodies_pass(&rig, 100_000).await;
    all_is_given_back(&rig, start).await;
}

/// WebSockets live long: what their heads took is given back while they are open.
#[tokio::test]
async fn tunnels_keep_only_what_is_set_aside() {
    let rig = Rig::start(limits(LITTLE)).await;
    let start = memory(&rig).await;
    let addr = dyno(|mut stream| async move {
        read_head(&mut stream).await;
        let head = format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\nX: {}\r\n\r\n", "x".repeat(20_000));
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    })
    .await;
    rig.blog(Mode::Serving, &[addr]).await;
    let idle = idle_connection(&rig).await;
    let for_one = memory(&rig).await - start;
    drop(idle);
    all_is_given_back(&rig, start).await;

    let mut socket = rig.connect().await;
    let head = [&large_head()[..], b"Connection: Upgrade\r\nUpgrade: x\r\n\r\n"].concat();
    socket.write_all(&head).await.unwrap();
    assert!(read_until(&mut socket, "\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
    for _ in 0..10 {
        socket.write_all(&vec![b'.'; 50_000]).await.unwrap();
        let mut back = vec![0; 50_000];
        within(socket.read_exact(&mut back)).await.unwrap();
    }
    // The request is still needed for its line in the log.
    let request = 2 * large_head().len() as u64;
    eventually_async(async || (memory(&rig).await <= start + for_one + request).then_some(())).await;
    drop(socket);
    all_is_given_back(&rig, start).await;
}

/// One that the router knows of.
async fn idle_connection(rig: &Rig) -> TcpStream {
    let stream = rig.connect().await;
    eventually_async(async || (rig.control.stats().await.unwrap().connections == 1).then_some(())).await;
    stream
}
