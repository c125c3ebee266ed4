//! The server over real sockets, as a browser, a proxy and an attacker use it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::answer::Answers;
use super::site::Site;
use super::{Limits, Root, listen};

const STATIC_JSON: &str = r#"{
  "root": "site",
  "clean_urls": true,
  "https_only": true,
  "error_page": "errors/404.html",
  "routes": {"/app/**": "app.html"},
  "redirects": {"/old/": {"url": "/new"}, "/blog/*": {"url": "https://blog.example.com/", "status": 302}},
  "headers": {"/**": {"Cache-Control": "no-cache"}, "/assets/**": {"Cache-Control": "max-age=31536000"}}
}"#;

/// A running server and its files. Its thread ends with the test program.
struct Server {
    addr: SocketAddr,
    tree: tempfile::TempDir,
}

/// One answer: status, head in lowercase, body.
struct Got {
    status: u16,
    head: String,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "))
    }
}

fn server(limits: Limits) -> Server {
    let tree = tempfile::tempdir().unwrap();
    let app = tree.path().join("app");
    let files = [
        ("static.json", STATIC_JSON),
        ("site/index.html", "<h1>home</h1>"),
        ("site/about.html", "about us"),
        ("site/app.html", "the app"),
        ("site/docs/index.html", "docs"),
        ("site/assets/a.css", "0123456789"),
        ("site/errors/404.html", "our own page"),
        ("site/.env", "SECRET=1"),
        ("site-2/x.txt", "not of the site"),
    ];
    for (name, text) in files {
        let path = app.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    std::os::unix::fs::symlink("/etc", app.join("site/etc")).unwrap();
    let site = Site::read(&app).unwrap();
    let root = Root::new(&app, &site.root).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || listen(&listener, Arc::new(Answers::new(site, root)), &limits));
    Server { addr, tree }
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Reads one answer by its Content-Length; `head_only` if it has no body.
fn receive(stream: &mut TcpStream, head_only: bool) -> Got {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let text = String::from_utf8(head).unwrap().replace("\r\n", "\n");
    let (first, rest) = text.split_once('\n').unwrap();
    let head = rest.lines().map(|l| l.split_once(": ").map_or(l.to_owned(), |(n, v)| format!("{}: {v}\n", n.to_lowercase()))).collect();
    let mut got = Got { status: first.split(' ').nth(1).unwrap().parse().unwrap(), head, body: String::new() };
    if !head_only && got.status != 304 {
        let mut body = vec![0; got.header("content-length").unwrap().parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        got.body = String::from_utf8(body).unwrap();
    }
    got
}

fn ask(server: &Server, method: &str, path: &str, headers: &str) -> Got {
    let mut stream = connect(server);
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x.example\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let got = receive(&mut stream, method == "HEAD");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "nothing after the answer, then the end");
    got
}

fn get(server: &Server, path: &str) -> Got {
    ask(server, "GET", path, "")
}

#[test]
fn serves_the_site() {
    let server = server(Limits::default());
    let home = get(&server, "/");
    assert_eq!((home.status, home.body.as_str()), (200, "<h1>home</h1>"));
    assert_eq!(home.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(home.header("cache-control"), Some("no-cache"));
    assert!(home.header("date").unwrap().ends_with(" GMT"));
    for (path, status, body) in [
        ("/about", 200, "about us"),
        ("/about.html?x=1", 200, "about us"),
        ("/docs/", 200, "docs"),
        ("/app/deep/link", 200, "the app"),
        ("/none", 404, "our own page"),
        ("/about/", 404, "our own page"),
        ("/assets/", 404, "our own page"),
    ] {
        let got = get(&server, path);
        assert_eq!((got.status, got.body.as_str()), (status, body), "{path}");
    }
    let css = get(&server, "/assets/a.css");
    assert_eq!((css.header("content-type"), css.header("cache-control")), (Some("text/css; charset=utf-8"), Some("max-age=31536000")));
    for (path, status, to) in
        [("/docs?a=b", 301, "/docs/?a=b"), ("//docs", 301, "/docs/"), ("/old/", 301, "/new"), ("/blog/1", 302, "https://blog.example.com/")]
    {
        let got = get(&server, path);
        assert_eq!((got.status, got.header("location")), (status, Some(to)), "{path}");
    }
    let plain = ask(&server, "GET", "/about?a=b", "X-Forwarded-Proto: http\r\n");
    assert_eq!((plain.status, plain.header("location")), (301, Some("https://x.example/about?a=b")));
    assert_eq!(ask(&server, "GET", "/about", "X-Forwarded-Proto: https\r\n").status, 200);
}

#[test]
fn keeps_what_is_not_the_sites() {
    let server = server(Limits::default());
    for path in ["/.env", "/%2eenv", "/etc/passwd", "/etc/", "/static.json", "/site-2/x.txt"] {
        let got = get(&server, path);
        assert_eq!((got.status, got.body.as_str()), (404, "our own page"), "{path}");
    }
    for path in ["/../static.json", "/..%2f..%2fetc/passwd", "/docs/../../site-2/x.txt", "/%00", "x"] {
        assert_eq!(get(&server, path).status, 400, "{path}");
    }
    assert_eq!(ask(&server, "DELETE", "/", "").header("allow"), Some("GET, HEAD"));
    let post = ask(&server, "POST", "/", "Content-Length: 5\r\n\r\nhello");
    assert_eq!(post.status, 405);
}

#[test]
fn answers_conditions_and_ranges() {
    let server = server(Limits::default());
    let whole = get(&server, "/assets/a.css");
    let (etag, date) = (whole.header("etag").unwrap(), whole.header("last-modified").unwrap());
    let with = |headers: &str| ask(&server, "GET", "/assets/a.css", headers);
    for headers in [format!("If-None-Match: {etag}\r\n"), format!("If-Modified-Since: {date}\r\n")] {
        let got = with(&headers);
        assert_eq!((got.status, got.header("etag"), got.header("content-length")), (304, Some(etag), None), "{headers}");
    }
    assert_eq!(with(&format!("If-None-Match: \"other\"\r\nIf-Modified-Since: {date}\r\n")).status, 200);
    assert_eq!(with("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n").status, 200);
    let part = with("Range: bytes=2-4\r\n");
    assert_eq!((part.status, part.body.as_str(), part.header("content-range")), (206, "234", Some("bytes 2-4/10")));
    assert_eq!(with(&format!("Range: bytes=-1\r\nIf-Range: {etag}\r\n")).body, "9");
    assert_eq!(with("Range: bytes=2-4\r\nIf-Range: \"other\"\r\n").body, "0123456789");
    let none = with("Range: bytes=10-\r\n");
    assert_eq!((none.status, none.header("content-range")), (416, Some("bytes */10")));
    let head = ask(&server, "HEAD", "/assets/a.css", "Range: bytes=2-4\r\n");
    assert_eq!((head.status, head.header("content-length"), head.header("etag")), (200, Some("10"), Some(etag)));
    std::fs::write(server.tree.path().join("app/site/assets/a.css"), "9876543210").unwrap();
    assert_eq!(with(&format!("If-None-Match: {etag}\r\n")).body, "9876543210");
}

#[test]
fn one_connection_carries_many_requests() {
    let server = server(Limits::default());
    let mut stream = connect(&server);
    // The second and third are sent before the first is answered.
    stream
        .write_all(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET /about HTTP/1.1\r\nHost: x\r\n\r\nGET /none HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert_eq!(receive(&mut stream, true).header("connection"), Some("keep-alive"));
    assert_eq!(receive(&mut stream, false).body, "about us");
    assert_eq!(receive(&mut stream, false).status, 404);
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(receive(&mut stream, false).header("connection"), Some("close"));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn slow_and_greedy_clients_do_not_keep_others_out() {
    let limits = Limits {
        connections: 2,
        head_bytes: 1024,
        head_time: Duration::from_millis(300),
        idle_time: Duration::from_millis(300),
        ..Limits::default()
    };
    let server = server(limits);
    let (mut slow, mut silent) = (connect(&server), connect(&server));
    slow.write_all(b"GET / HT").unwrap();
    // Both threads are taken; this one waits in the queue until they are given up.
    assert_eq!(get(&server, "/about").body, "about us");
    assert_eq!(receive(&mut slow, false).status, 408);
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    assert_eq!(ask(&server, "GET", "/", &format!("A: {}\r\n", "a".repeat(2000))).status, 431);
}
