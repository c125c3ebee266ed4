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

/// A pack of 17 kB: sixteen megabytes of zeros, and a delta that repeats them two hundred times. Whoever makes an object of it needs 3 GB.
fn bomb() -> (git2::Oid, Vec<u8>) {
    let zeros = vec![0; 16 << 20];
    let base = git2::Oid::hash_object(git2::ObjectType::Blob, &zeros).unwrap();
    let number = |mut value: u64| {
        let mut bytes = Vec::new();
        while value > 0x7f {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    };
    let copies = 200;
    let mut delta = [number(zeros.len() as u64), number(copies * 0x00ff_ffff)].concat();
    for _ in 0..copies {
        delta.extend([0xf0, 0xff, 0xff, 0xff]);
    }
    // The type is in bits 4 to 6 of the first byte, the size in its lower four and all of the following.
    let head = |kind: u8, size: usize| {
        let mut bytes = number((size >> 4) as u64);
        bytes.insert(0, (kind << 4) | (size as u8 & 0xf) | 0x80);
        bytes
    };
    let squeeze = |bytes: &[u8]| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    };
    let mut pack = b"PACK\0\0\0\x02\0\0\0\x02".to_vec();
    pack.extend([head(3, zeros.len()), squeeze(&zeros), head(7, delta.len()), base.as_bytes().to_vec(), squeeze(&delta)].concat());
    let mut sum =
        std::process::Command::new("sha1sum").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut sum.stdin.take().unwrap(), &pack).unwrap();
    let sum = String::from_utf8(sum.wait_with_output().unwrap().stdout).unwrap();
    pack.extend(hex::decode(&sum[..40]).unwrap());
    (base, pack)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_explodes_is_refused_before_memory_ends() {
    let mut server = Server::start().await;
    let tree = server.work_tree(Wire::Http, "work").await;
    let (base, pack) = bomb();
    assert!(pack.len() < 20_000, "{}", pack.len());
    let command = format!("{} {base} refs/heads/main\0 report-status side-band-64k", "0".repeat(40));
    let mut body = format!("{:04x}{command}0000", command.len() + 4).into_bytes();
    body.extend(pack);
    let login = basic(TOKEN);
    let headers = [("authorization", login.as_str()), ("content-type", "application/x-git-receive-pack-request")];
    let answer = request(&server, "POST /blog.git/git-receive-pack", &headers, &body).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("ut of memory") && !answer.contains("unpack ok"), "{answer}");
    server.nothing_asked();
    server.no_quarantine().await;
    assert!(tree.remote("").await.is_empty());
    // The largest of all children so far, in kB.
    let largest = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    assert!(largest < 2 << 20, "git took {largest} kB");
}
