//! A router of one's own, dynos, and a client that says exactly what it is told to.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use landfall_router::control::{AppRoutes, Backend, Client, Mode, Table};
use landfall_router::{Limits, Listen, Router, RouterConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Rig {
    pub(crate) addr: SocketAddr,
    pub(crate) control: Client,
    pub(crate) dir: Arc<tempfile::TempDir>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Rig {
    pub(crate) async fn start(limits: Limits) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), limits).await
    }

    pub(crate) async fn start_in(dir: Arc<tempfile::TempDir>, limits: Limits) -> Self {
        let config = config(dir.path(), limits);
        Self::start_as(dir, config).await
    }

    pub(crate) async fn start_as(dir: Arc<tempfile::TempDir>, config: RouterConfig) -> Self {
        let control = Client::new(&config.control_socket);
        // A runtime of its own, so that it can die as a process does: everything at once.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let router = {
            let _inside = runtime.enter();
            Router::bind(config).unwrap()
        };
        let addr = router.local_addrs()[0];
        let stop = CancellationToken::new();
        let task = runtime.spawn(router.serve(stop.clone()));
        Self { addr, control, dir, stop, task: Some(task), runtime: Some(runtime) }
    }

    /// One app, `blog`, with these dynos.
    pub(crate) async fn blog(&self, mode: Mode, dynos: &[SocketAddr]) {
        self.control.replace_table(Table { generation: 1, apps: vec![self.app(mode, dynos)] }).await.unwrap();
    }

    pub(crate) fn app(&self, mode: Mode, dynos: &[SocketAddr]) -> AppRoutes {
        let backends =
            dynos.iter().enumerate().map(|(at, &addr)| Backend { id: format!("b-{addr}"), addr, dyno: format!("web.{}", at + 1) });
        AppRoutes {
            id: "app-1".to_owned(),
            name: "blog".to_owned(),
            hosts: vec!["www.example.com".to_owned(), "*.wild.example".to_owned()],
            log_dir: Some(self.log_dir()),
            mode,
            backends: backends.collect(),
        }
    }

    pub(crate) fn log_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("logs/app-1")
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Says it and returns everything until the router closes.
    pub(crate) async fn ask(&self, words: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        stream.write_all(words.as_ref()).await.unwrap();
        read_all(&mut stream).await
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: blog.localhost\r\nConnection: close\r\n\r\n")).await
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        within(self.task.take().unwrap()).await.unwrap();
    }

    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// The router dies on the spot: no draining, no farewell.
    pub(crate) async fn kill(mut self) -> Arc<tempfile::TempDir> {
        end(self.runtime.take().unwrap());
        Arc::clone(&self.dir)
    }

    /// The router's lines in the app's log, once there are `count`; ids, ports and times made plain.
    pub(crate) async fn log(&self, count: usize) -> String {
        let path = self.log_dir().join("router.log");
        let lines = eventually(|| {
            let lines: Vec<String> = std::fs::read_to_string(&path).unwrap_or_default().lines().map(str::to_owned).collect();
            (lines.len() >= count).then_some(lines)
        })
        .await;
        assert_eq!(lines.len(), count, "{lines:#?}");
        lines.iter().map(|line| plain(line)).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(runtime) = self.runtime.take() {
            end(runtime);
        }
    }
}

/// Returns when nothing of it runs any more, so that nobody makes its directory again. (A runtime may not wait within another.)
fn end(runtime: tokio::runtime::Runtime) {
    let _ = std::thread::spawn(move || runtime.shutdown_timeout(PATIENCE)).join();
}

/// Everything in `dir`, on a free port.
pub(crate) fn config(dir: &Path, limits: Limits) -> RouterConfig {
    RouterConfig {
        listen: vec![Listen::Tcp("127.0.0.1:0".parse().unwrap())],
        control_socket: dir.join("router.sock"),
        table_file: dir.join("state/table.json"),
        limits,
        ..RouterConfig::default()
    }
}

fn plain(line: &str) -> String {
    let (stamp, rest) = line.split_once(' ').unwrap();
    assert!(stamp.len() == "2026-01-02T03:04:05.123456+00:00".len() && stamp.ends_with("+00:00"), "{line}");
    let words = rest.split(' ').map(|word| match word.split_once('=') {
        Some(("request_id", id)) if !id.is_empty() => "request_id=ID".to_owned(),
        Some((key @ ("connect" | "service"), time)) if time.ends_with("ms") => format!("{key}=Nms"),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Polls until there is an answer, for a while.
pub(crate) async fn eventually<T>(mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "it did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The same for probes that wait themselves.
pub(crate) async fn eventually_async<T>(mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "it did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

/// Connects from one of many addresses of this machine: no single one gets all of a router's connections.
pub(crate) async fn connect_from_anywhere(addr: SocketAddr) -> TcpStream {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 1, NEXT.fetch_add(1, Ordering::Relaxed)], 0).into()).unwrap();
    socket.connect(addr).await.unwrap()
}

pub(crate) async fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset ends it as well: what came before counts.
    let _ = within(stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until the text ends with `end`.
pub(crate) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        match within(stream.read_u8()).await {
            Ok(byte) => bytes.push(byte),
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// A dyno whose every connection is handled by `handle`.
pub(crate) async fn dyno<F, Fut>(handle: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let handle = Arc::new(handle);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let handle = Arc::clone(&handle);
            tokio::spawn(async move { handle(stream).await });
        }
    });
    addr
}

/// A dyno that answers every request with these bytes, and counts connections.
pub(crate) async fn answering(response: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let addr = dyno(move |mut stream| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            while read_head(&mut stream).await.is_some() {
                if stream.write_all(response.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (addr, connections)
}

/// A dyno that reads one head, sends these bytes, and closes.
pub(crate) async fn blurting(response: Vec<u8>) -> SocketAddr {
    dyno(move |mut stream| {
        let response = response.clone();
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(&response).await;
        }
    })
    .await
}

pub(crate) const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!";

/// One head, its empty line included; `None` at the end of the stream.
pub(crate) async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

pub(crate) fn status(response: &str) -> u16 {
    response.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no response: {response:?}"))
}

pub(crate) fn exists(path: &Path) -> bool {
    path.exists()
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}
