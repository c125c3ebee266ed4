//! What a bare HTTP client gets.

use base64::Engine as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{DEADLINE, Server, TOKEN, Wire};

async fn request(server: &Server, line: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.http_port)).await.unwrap();
    let mut text = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text.extend([*name, ": ", *value, "\r\n"]);
    }
    stream.write_all(format!("{text}\r\n").as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("no answer").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn basic(token: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("x:{token}")))
}

/// Request line, headers, body, status, words of the answer.
type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, &'a [u8], &'a str, &'a str);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_exact() {
    let server = Server::start().await;
    let (good, bad, away) = (basic(TOKEN), basic("wrong"), basic("database-away"));
    let refs = "GET /blog.git/info/refs?service=git-receive-pack";
    let push = "POST /blog.git/git-receive-pack";
    let kind = ("content-type", "application/x-git-receive-pack-request");
    let table: [Case<'_>; 16] = [
        (refs, vec![], b"", "401", "www-authenticate: Basic realm=\"Landfall\""),
        (refs, vec![("authorization", &bad)], b"", "401", "Log in again: landfall login"),
        (refs, vec![("authorization", "Bearer t0ken")], b"", "401", "as the password"),
        (refs, vec![("authorization", &away)], b"", "503", "The database is away"),
        (refs, vec![("authorization", &good)], b"", "200", "content-type: application/x-git-receive-pack-advertisement"),
        ("GET /blog.git/info/refs", vec![("authorization", &good)], b"", "403", "smart HTTP protocol only"),
        ("GET /blog.git/info/refs?service=git-shell", vec![("authorization", &good)], b"", "403", "smart HTTP protocol only"),
        ("GET /nope.git/info/refs?service=git-upload-pack", vec![("authorization", &good)], b"", "404", "There is no app named nope"),
        ("GET /blog/info/refs?service=git-upload-pack", vec![("authorization", &good)], b"", "404", "end in .git"),
        ("GET /blog.git/HEAD", vec![("authorization", &good)], b"", "404", ""),
        ("GET /blog.git/objects/info/packs", vec![("authorization", &good)], b"", "404", ""),
        (push, vec![("authorization", &good)], b"0000", "415", "for git alone"),
        (push, vec![("authorization", &good), ("content-type", "application/x-git-upload-pack-request")], b"0000", "415", "for git alone"),
        (push, vec![("authorization", &good), kind, ("content-encoding", "br")], b"0000", "415", "Only gzip"),
        (push, vec![("authorization", &good), kind, ("content-encoding", "gzip")], b"not gzip at all", "400", "not gzip"),
        (push, vec![kind], b"0000", "401", "Log in first"),
    ];
    for (line, headers, body, status, words) in table {
        let answer = request(&server, line, &headers, body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(words), "{line} {headers:?}: {answer}");
        assert!(!answer.contains("wrong"), "an answer repeats a token");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_token_reads_well_in_git() {
    let server = Server::start().await;
    let tree = server.work_tree(Wire::Http, "work").await;
    let url = server.url(Wire::Http, "blog.git").replace(TOKEN, "stale");
    let ran = tree.run(&["push", &url, "main"]).await;
    assert!(!ran.ok && ran.err.contains("Log in again: landfall login"), "{}", ran.err);
    assert!(!ran.err.contains("stale"), "{}", ran.err);
}
