//! What the router is told at start: where to listen, where its files are, and every limit as a number.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

/// Where requests come from. TLS listeners will be further variants.
#[derive(Debug)]
pub enum Listen {
    /// Bind this address. Port 0 takes a free one: see [`crate::Router::local_addrs`].
    Tcp(SocketAddr),
    /// A socket somebody else bound (socket activation, a parent with the right to low ports).
    Handed(TcpListener),
}

/// Everything the router needs to know before it starts.
#[derive(Debug)]
pub struct RouterConfig {
    /// Where requests come from. Default: `127.0.0.1:8080`.
    pub listen: Vec<Listen>,
    /// The control socket. Default: `/run/landfall/router.sock`.
    pub control_socket: PathBuf,
    /// The last table in force, read at start. Default: `/var/lib/landfall/router/table.json`.
    pub table_file: PathBuf,
    /// Each app also answers at `<name>.<domain>` for each of these. Default: `localhost`.
    pub platform_domains: Vec<String>,
    /// Pages that replace the built-in ones, by file name (`error.html.hbs`, …). Default: none.
    pub pages_dir: Option<PathBuf>,
    /// Timers and sizes.
    pub limits: Limits,
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            listen: vec![Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 8080)))],
            control_socket: PathBuf::from("/run/landfall/router.sock"),
            table_file: PathBuf::from("/var/lib/landfall/router/table.json"),
            platform_domains: vec!["localhost".to_owned()],
            pages_dir: None,
            limits: Limits::default(),
        }
    }
}

/// Timers and sizes. The defaults are Heroku's where Heroku documents one (<https://devcenter.heroku.com/articles/http-routing>,
/// <https://devcenter.heroku.com/articles/limits#router>).
#[derive(Debug, Clone)]
pub struct Limits {
    /// TCP connect to a dyno; then another dyno is tried. 5 s.
    pub connect_timeout: Duration,
    /// How long a dyno that did not accept a connection is passed over. 5 s.
    pub quarantine: Duration,
    /// First response byte after the request was sent: H12. 30 s. Also how long a request may wait in the backlog.
    pub first_byte: Duration,
    /// Silence allowed afterwards, renewed by each byte: H15 (dyno) or H28 (client). 55 s.
    pub idle: Duration,
    /// How long a request waits for an app that is booting: H20. 75 s.
    pub boot_wait: Duration,
    /// A request's head must be complete this long after its first byte (or after the connection was made): 408. 30 s.
    pub header_timeout: Duration,
    /// Idle connections of clients are kept this long. 60 s.
    pub keep_alive: Duration,
    /// Idle connections to dynos are kept this long. 1.5 s: below the shortest keep-alive in common use (gunicorn's 2 s).
    pub upstream_keep_alive: Duration,
    /// Requests through one dyno at a time. 50.
    pub active_per_backend: u32,
    /// Requests waiting for a dyno to be free, for each web dyno: H11. 50.
    pub backlog_per_backend: usize,
    /// Request line: 414. 8,192 bytes.
    pub request_line: usize,
    /// One request header line: 431. 8,192 bytes.
    pub header_line: usize,
    /// One header name: 431 (request) or H25 (response). 1,000 bytes.
    pub header_name: usize,
    /// Headers: 431 (request) or H25 (response). 1,000.
    pub header_count: usize,
    /// Request line and headers together: 431. 64 KiB.
    pub request_head: usize,
    /// Response status line: H25. 8,192 bytes.
    pub status_line: usize,
    /// One `Set-Cookie` line: H25. 8,192 bytes.
    pub cookie_line: usize,
    /// One response header line: H25. 512 KiB.
    pub response_header_line: usize,
    /// Response status line and headers together: H25. 1 MiB.
    pub response_head: usize,
    /// Connections of clients, all together; above that a 503 at once. 8,000, or fewer where the process may not have descriptors for
    /// twice as many: each may need a second one for its dyno.
    pub connections: usize,
    /// Connections from one address (of IPv6, from one /64, as one subscriber has them); above that a 503 at once. 2,000, or half of
    /// [`Self::connections`] where that is less.
    pub connections_per_ip: usize,
    /// Requests and WebSockets of one app, those that wait included: H22. 4,000: no app can take all connections.
    pub connections_per_app: usize,
    /// Idle connections to dynos, all together; above that they are closed after each request. 4,000.
    pub idle_upstreams: usize,
    /// Bytes of memory for the buffers of all connections together and for log lines that wait. A quarter of what the machine has, or of
    /// what the process's control group may use, and 1 GiB at most. From it come what each connection needs in any case (about 50 KiB: less
    /// memory means fewer connections, idle connections to dynos and log lines than the numbers here say) and large heads, as long as it
    /// lasts; then what needs more is answered with 503 (H99), and what needs little goes on.
    pub memory: usize,
    /// At shutdown, how long requests may take to finish; then they are cut (H24). 12 s: the supervisor kills after 15 s.
    pub shutdown: Duration,
    /// Log lines not yet written, all apps together; above that they are dropped and counted (L12). A long one counts once for every 512
    /// bytes. 65,536.
    pub log_queue: usize,
    /// The share of `log_queue` that one app may hold. 16,384.
    pub log_queue_per_app: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            quarantine: Duration::from_secs(5),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(55),
            boot_wait: Duration::from_secs(75),
            header_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_mins(1),
            upstream_keep_alive: Duration::from_millis(1500),
            active_per_backend: 50,
            backlog_per_backend: 50,
            request_line: 8192,
            header_line: 8192,
            header_name: 1000,
            header_count: 1000,
            request_head: 64 * 1024,
            status_line: 8192,
            cookie_line: 8192,
            response_header_line: 512 * 1024,
            response_head: 1024 * 1024,
            connections: 8000,
            connections_per_ip: 2000,
            connections_per_app: 4000,
            idle_upstreams: 4000,
            memory: 1024 * 1024 * 1024,
            shutdown: Duration::from_secs(12),
            log_queue: 65_536,
            log_queue_per_app: 16_384,
        }
    }
}
