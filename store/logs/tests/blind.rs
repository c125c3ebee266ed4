//! A reader to whom the kernel gives nothing to watch with. Alone in its process: it uses up what all of it has.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

use std::time::Duration;

use jiff::Timestamp;
use landfall_logs::{Cursor, Filter, LogIdentity, Reader, SegmentWriter};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn without_a_watch_the_lines_come_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = SegmentWriter::open(dir.path(), "web.1", LogIdentity::new("app", "web.1").unwrap()).unwrap();
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..before }).unwrap();
    let held: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    let mut follow = Reader::new(dir.path()).follow(Cursor::default(), Filter::default());
    drop(held);
    setrlimit(Resource::Nofile, before).unwrap();
    assert!(follow.news().is_none());
    for text in ["one", "two"] {
        log.append(Timestamp::now(), text.as_bytes()).unwrap();
        log.flush().unwrap();
        assert_eq!(follow.wait(Duration::from_secs(10)).unwrap().len(), 1, "{text}");
    }
}
