//! Request lines: none is lost without a word.

use landfall_router::Limits;
use landfall_router::control::{AppRoutes, Mode, Table};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::*;

/// More lines than the queue takes: each is written, or counted in an L12 line.
#[tokio::test]
async fn dropped_lines_are_owned_up_to() {
    const REQUESTS: usize = 3000;
    let rig = Rig::start(Limits { log_queue: 40, log_queue_per_app: 30, ..Limits::default() }).await;
    let blog = rig.app(Mode::NoWeb, &[]);
    let noise = AppRoutes {
        id: "app-2".into(),
        name: "noise".into(),
        hosts: vec![],
        log_dir: Some(rig.dir.path().join("logs/app-2")),
        ..blog.clone()
    };
    rig.control.replace_table(Table { generation: 1, apps: vec![blog, noise] }).await.unwrap();
    let mut client = rig.connect().await;
    let (mut reader, mut writer) = client.split();
    let send = async {
        for _ in 0..REQUESTS / 100 {
            let pair = "GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\nGET / HTTP/1.1\r\nHost: noise.localhost\r\n\r\n";
            writer.write_all(pair.repeat(100).as_bytes()).await.unwrap();
        }
        writer.write_all(b"GET /last HTTP/1.1\r\nHost: blog.localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    };
    let mut answers = Vec::new();
    let ((), read) = tokio::join!(send, within(reader.read_to_end(&mut answers)));
    read.unwrap();
    let log_dirs = [rig.log_dir(), rig.dir.path().join("logs/app-2")];
    let dropped_in_all = rig.control.stats().await.unwrap().log_lines_dropped;
    let _dir = std::sync::Arc::clone(&rig.dir);
    rig.stop().await;
    let mut owned_up = 0;
    let mut written = 0;
    for dir in log_dirs {
        for line in std::fs::read_to_string(dir.join("router.log")).unwrap().lines() {
            match line.split_once("heroku[router]: Error L12 (Local buffer overflow): ") {
                Some((_, count)) => owned_up += count.strip_suffix(" messages dropped").unwrap().parse::<u64>().unwrap(),
                None => written += 1,
            }
        }
    }
    assert!(dropped_in_all > 0, "the queue took everything: the test shows nothing");
    assert_eq!(owned_up, dropped_in_all);
    assert_eq!(written + owned_up, 2 * REQUESTS as u64 + 1);
}
