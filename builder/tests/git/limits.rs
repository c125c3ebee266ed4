//! What is too much.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::harness::{DEADLINE, Server, WIRES, Wire, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pack_over_the_limit_is_refused_with_advice() {
    for wire in WIRES {
        let mut server = Server::with(|config| config.max_push_bytes = 1024 * 1024).await;
        let tree = server.work_tree(wire, "work").await;
        // Six times the limit, and not compressible.
        let mut seed = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as u8
        })
        .take(6 << 20)
        .collect();
        tree.commit("video.mp4", &noise).await;
        let ran = tree.run(&["push", "landfall", "main"]).await;
        assert!(!ran.ok);
        assert!(ran.err.contains("!     Push rejected, it sends more than 1 MB."), "{wire:?}: {}", ran.err);
        assert!(ran.err.contains("git rm --cached FILE"), "{wire:?}: {}", ran.err);
        server.nothing_asked();
        server.no_quarantine().await;
        assert!(tree.remote("").await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_over_its_limit_takes_no_push_and_can_be_fetched() {
    for wire in WIRES {
        let server = Server::with(|config| config.max_repository_bytes = 64 * 1024).await;
        let tree = server.work_tree(wire, "work").await;
        let mut seed = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as u8
        })
        .take(80 * 1024)
        .collect();
        tree.commit("data.bin", &noise).await;
        let first = tree.run(&["push", "landfall", "main:topic"]).await;
        assert!(first.ok, "{wire:?}: it is looked at before a push, not in one: {}", first.err);
        tree.commit("more", b"more").await;
        let ran = tree.run(&["push", "landfall", "main:other"]).await;
        assert!(!ran.ok && ran.err.contains("takes more than 0 MB") && ran.err.contains("build.repository_mib"), "{wire:?}: {}", ran.err);
        assert!(tree.run(&["fetch", "landfall"]).await.ok, "{wire:?}");
        assert!(tree.remote("refs/heads/other").await.is_empty(), "{wire:?}");
    }
}

async fn closed(mut stream: TcpStream) -> bool {
    let mut all = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut all)).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_log_in_is_shown_the_door() {
    let server = Server::with(|config| config.login_grace = Duration::from_millis(200)).await;
    let silent = TcpStream::connect(("127.0.0.1", server.ssh_port)).await.unwrap();
    let started = std::time::Instant::now();
    assert!(closed(silent).await);
    assert!(started.elapsed() >= Duration::from_millis(200));
    // Who did log in stays.
    let tree = server.work_tree(Wire::Ssh, "work").await;
    assert!(tree.run(&["push", "landfall", "main:topic"]).await.ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_few_and_do_not_lock_out_for_ever() {
    let server = Server::with(|config| config.max_unauthenticated = 1).await;
    let mut first = TcpStream::connect(("127.0.0.1", server.ssh_port)).await.unwrap();
    let mut greeting = [0; 4];
    first.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"SSH-");
    let second = TcpStream::connect(("127.0.0.1", server.ssh_port)).await.unwrap();
    assert!(closed(second).await, "one stranger at a time");
    drop(first);
    let tree = server.work_tree(Wire::Ssh, "work").await;
    let mut ok = false;
    for _ in 0..100 {
        ok = tree.run(&["ls-remote", "landfall"]).await.ok;
        if ok {
            break;
        }
    }
    assert!(ok, "the place of a stranger who left is free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_the_server_cancels_what_runs() {
    let mut server = Server::start().await;
    let tree = server.work_tree(Wire::Ssh, "work").await;
    let git = tree.spawn(&["push", "landfall", "main"]);
    let asked = server.asked().await;
    let (cancel, dir, repo) = (asked.cancel.clone(), server.dir.path().to_owned(), server.receiver.repo_path(server.blog));
    let Server { dir: keep, stop, .. } = server;
    drop(stop);
    until("the build is cancelled", || cancel.is_cancelled()).await;
    assert!(!crate::harness::finish(git).await.ok);
    assert!(repo.starts_with(&dir) && std::fs::read_dir(repo.join("refs/heads")).unwrap().next().is_none());
    drop(keep);
}
