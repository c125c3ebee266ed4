//! The API's port: who may connect how often, and how long one may take (trust rules R9 and Q4).
//!
//! A limit reached is an answer (503 and what to do), never an unbounded queue. Streams may be silent for as long as they like: a peer
//! that is gone is found by the kernel's keepalive, whatever the stream.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use landfall_api::{Share, Shares, Spent};
use landfall_model::network_of;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What one may do at the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorLimits {
    /// Connections at once. Default 1,024: each takes a descriptor and up to 64 KiB.
    pub connections: usize,
    /// Connections of one address (of one /64 on IPv6) at once. Default 128. This machine itself is not counted: behind a proxy on it
    /// everybody has its address.
    pub per_address: usize,
    /// Time for the head of a request, and of a connection at rest. Default 15 s.
    pub head: Duration,
    /// Silence within the body of a request. Default 2 min: git thinks between two packets.
    pub body_silence: Duration,
}

impl Default for DoorLimits {
    fn default() -> Self {
        Self { connections: 1024, per_address: 128, head: Duration::from_secs(15), body_silence: Duration::from_mins(2) }
    }
}

/// Longest head of a request.
const MAX_HEAD: usize = 64 * 1024;
/// A peer is asked after this much silence whether it is still there, …
const KEEPALIVE: Duration = Duration::from_secs(30);
/// … again and again at this pace, …
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// … and given up after this long without a sign of it. Also one that takes nothing of what it is sent.
const GIVEN_UP: Duration = Duration::from_mins(2);
/// Pause after an accept that failed for want of something (descriptors, memory).
const OUT_OF_BREATH: Duration = Duration::from_millis(100);

const FULL: &str = r#"{"id":"service_unavailable","message":"This server has all the connections it may have. Try again in a minute."}"#;
const YOURS_FULL: &str = r#"{"id":"service_unavailable","message":"Your address has all the connections to this server that it may have. End some, such as: landfall logs --tail"}"#;

/// Serves until `stop`, then takes no more and returns when every connection has ended. A stream ends only when its client or its source
/// does: whoever waits needs a deadline.
pub(crate) async fn serve(listener: TcpListener, app: Router, limits: DoorLimits, stop: CancellationToken) {
    let (places, tasks) = (Shares::new(limits.connections, limits.per_address), TaskTracker::new());
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(MAX_HEAD);
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = %error, "a connection to the API could not be accepted");
                tokio::time::sleep(OUT_OF_BREATH).await;
                continue;
            }
        };
        let place = match places.take(Some(network_of(peer.ip())).filter(|network| !network.is_loopback())) {
            Ok(place) => place,
            Err(spent) => {
                refuse(&stream, spent);
                continue;
            }
        };
        if let Err(error) = watch_over(&stream) {
            tracing::debug!(error = %error, "a connection ended before it began");
            continue;
        }
        let (app, silence) = (TowerToHyperService::new(app.clone()), limits.body_silence);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let mut request = request.map(|body| Patient::new(body, silence));
            request.extensions_mut().insert(ConnectInfo::<SocketAddr>(peer));
            let answer = app.call(request);
            async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
        });
        let connection = http.serve_connection(TokioIo::new(Client { stream, _place: place }), service).with_upgrades();
        let stop = stop.clone();
        tasks.spawn(async move {
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(error = crate::explain(&error), client.address = %peer.ip(), "a connection to the API broke off");
            }
        });
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}

/// Best effort: whoever sent nothing yet reads it.
fn refuse(stream: &TcpStream, spent: Spent) {
    let why = match spent {
        Spent::All => FULL,
        Spent::Own => YOURS_FULL,
    };
    let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 60\r\nConnection: close";
    let _ = stream.try_write(format!("{head}\r\nContent-Length: {}\r\n\r\n{why}", why.len()).as_bytes());
}

fn watch_over(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, ASK_AGAIN)?;
    sockopt::set_tcp_user_timeout(stream, u32::try_from(GIVEN_UP.as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}

/// A connection that stays counted when it is upgraded.
struct Client {
    stream: TcpStream,
    _place: Share<IpAddr>,
}

impl AsyncRead for Client {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Client {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A request's body that fails when nothing of it comes for too long.
struct Patient {
    body: Incoming,
    silence: Duration,
    until: Pin<Box<Sleep>>,
}

impl Patient {
    fn new(body: Incoming, silence: Duration) -> Self {
        Self { body, silence, until: Box::pin(tokio::time::sleep(silence)) }
    }
}

impl Body for Patient {
    type Data = bytes::Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let until = Instant::now() + self.silence;
            self.until.as_mut().reset(until);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        match self.until.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err("the rest of the request did not come".into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const DEADLINE: Duration = Duration::from_secs(30);

    struct Served {
        address: SocketAddr,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    async fn served(limits: DoorLimits) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }))
            .route("/upload", post(|body: String| async move { body }))
            .route(
                "/stream",
                get(|| async { axum::body::Body::from_stream(futures_util::stream::pending::<Result<String, Infallible>>()) }),
            );
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, app, limits, stop.clone()));
        Served { address, stop, task }
    }

    async fn connect(to: &Served) -> TcpStream {
        TcpStream::connect(to.address).await.unwrap()
    }

    /// All that comes until the other side closes.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut seen = Vec::new();
        let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut seen)).await.expect("the server closes");
        drop(read);
        String::from_utf8_lossy(&seen).into_owned()
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_ends_the_connection_and_so_does_rest() {
        let server = served(DoorLimits { head: Duration::from_millis(200), ..DoorLimits::default() }).await;
        let mut slow = connect(&server).await;
        slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
        assert_eq!(rest(&mut slow).await, "");
        let mut resting = connect(&server).await;
        resting.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(rest(&mut resting).await.ends_with("127.0.0.1"));
    }

    #[tokio::test]
    async fn a_body_that_stops_is_refused_and_a_slow_one_is_not() {
        let server = served(DoorLimits { body_silence: Duration::from_millis(500), ..DoorLimits::default() }).await;
        let mut silent = connect(&server).await;
        silent.write_all(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab").await.unwrap();
        assert!(rest(&mut silent).await.starts_with("HTTP/1.1 400"));
        let mut slow = connect(&server).await;
        slow.write_all(b"POST /upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\n").await.unwrap();
        let mut pace = tokio::time::interval(Duration::from_millis(150));
        for byte in b"hello" {
            pace.tick().await;
            slow.write_all(&[*byte]).await.unwrap();
        }
        assert!(rest(&mut slow).await.ends_with("hello"));
    }

    #[tokio::test]
    async fn one_connection_too_many_is_told_so_until_another_ends() {
        let server = served(DoorLimits { connections: 2, ..DoorLimits::default() }).await;
        let (first, second) = (connect(&server).await, connect(&server).await);
        let mut third = connect(&server).await;
        let answer = rest(&mut third).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("Try again in a minute"), "{answer}");
        drop(first);
        let begun = Instant::now();
        loop {
            let mut next = connect(&server).await;
            let _ = next.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
            if rest(&mut next).await.starts_with("HTTP/1.1 200") {
                break;
            }
            assert!(begun.elapsed() < DEADLINE, "a place that was left stays taken");
            tokio::task::yield_now().await;
        }
        drop(second);
    }

    #[tokio::test]
    async fn a_stop_waits_for_streams_and_for_nobody_else() {
        let server = served(DoorLimits::default()).await;
        let _idle = connect(&server).await;
        let mut stream = connect(&server).await;
        stream.write_all(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut head = [0; 15];
        stream.read_exact(&mut head).await.unwrap();
        server.stop.cancel();
        let mut task = server.task;
        assert!(tokio::time::timeout(Duration::from_millis(200), &mut task).await.is_err(), "a stream was cut");
        drop(stream);
        tokio::time::timeout(DEADLINE, task).await.expect("nothing else is waited for").unwrap();
    }
}
