//! Writers on a machine whose clock is set.

use std::cell::Cell;
use std::path::Path;

use jiff::Timestamp;

use super::*;
use crate::clock::Reading;
use crate::{Cursor, Filter, Line, Reader};

const DAY: i64 = 86_400_000_000;
/// 2026-01-02T03:04:05Z
const START: i64 = 1_767_323_045_000_000;

thread_local! {
    static NOW: Cell<Reading> = const { Cell::new(Reading { wall: START, monotonic: 1_000_000 }) };
}

fn pass(micros: i64) {
    NOW.set(Reading { wall: NOW.get().wall + micros, monotonic: NOW.get().monotonic + micros });
}

fn set_clock(by: i64) {
    NOW.set(Reading { wall: NOW.get().wall + by, ..NOW.get() });
}

fn writer(dir: &Path, name: &str) -> SegmentWriter {
    let identity = LogIdentity::new("app", name).unwrap();
    SegmentWriter::open_by(dir, name, identity, LogConfig::default(), || NOW.get()).unwrap()
}

fn say(writer: &mut SegmentWriter, text: &str) {
    pass(1_000);
    writer.append(Timestamp::from_microsecond(NOW.get().wall).unwrap(), text.as_bytes()).unwrap();
    writer.flush().unwrap();
}

fn shown(lines: &[Line]) -> Vec<(String, String)> {
    lines.iter().map(|line| (line.stamp()[..19].to_owned(), line.text().to_owned())).collect()
}

#[test]
fn lines_keep_their_order_and_say_the_time_of_day() {
    let dir = tempfile::tempdir().unwrap();
    let reader = Reader::new(dir.path());
    let mut follow = reader.follow(Cursor::default(), Filter::default());
    let mut followed = Vec::new();
    let (mut router, mut web) = (writer(dir.path(), "router"), writer(dir.path(), "web.1"));
    say(&mut router, "before");
    say(&mut web, "before too");
    for by in [-DAY, 2 * DAY, -DAY] {
        followed.extend(follow.poll().unwrap());
        follow = reader.follow(follow.cursor().to_string().parse().unwrap(), Filter::default());
        set_clock(by);
        say(&mut web, "old writer");
        // Begun after the clock was set, or again after a restart.
        let mut new = writer(dir.path(), &format!("web.{}", by.unsigned_abs() + followed.len() as u64));
        router = writer(dir.path(), "router");
        say(&mut new, "new writer");
        say(&mut router, "old writer again");
    }
    followed.extend(follow.poll().unwrap());
    let (read, _) = reader.last(100, &Filter::default()).unwrap();
    let day =
        |day: &str| ["old writer", "new writer", "old writer again"].map(|text| (format!("2026-01-0{day}T03:04:05"), text.to_owned()));
    let before = ["before", "before too"].map(|text| ("2026-01-02T03:04:05".to_owned(), text.to_owned()));
    let expected: Vec<_> = before.into_iter().chain(day("1")).chain(day("3")).chain(day("2")).collect();
    assert_eq!(shown(&read), expected);
    assert_eq!(shown(&followed), expected, "a reader that follows sees the same");
    let (last, _) = reader.last(2, &Filter::default()).unwrap();
    assert_eq!(shown(&last), expected[expected.len() - 2..], "the last lines are those written last");
}

#[test]
fn what_was_said_before_the_clock_was_set_stays_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut router = writer(dir.path(), "router");
    for by in [-DAY, DAY] {
        say(&mut router, "written at once");
        let said = Timestamp::from_microsecond(NOW.get().wall).unwrap();
        pass(1_000);
        set_clock(by);
        router.append(said, b"written later").unwrap();
        router.flush().unwrap();
        say(&mut router, "afterwards");
    }
    let texts: Vec<_> = Reader::new(dir.path()).last(10, &Filter::default()).unwrap().0.iter().map(|line| line.text().to_owned()).collect();
    assert_eq!(texts, ["written at once", "written later", "afterwards"].repeat(2));
}

#[test]
fn a_clock_that_was_not_set_leaves_one_plain_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut web = writer(dir.path(), "web.1");
    say(&mut web, "one");
    set_clock(TOLERANCE / 2);
    say(&mut web, "two");
    set_clock(-TOLERANCE);
    say(&mut web, "three");
    let mut names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["clock", "web.1.log"]);
    let text = std::fs::read_to_string(dir.path().join("web.1.log")).unwrap();
    assert!(text.lines().count() == 3 && !text.contains('#'), "{text}");
}

#[test]
fn full_segments_go_and_those_a_clock_closed_stay() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { segment_bytes: 1_000, ..LogConfig::default() };
    let identity = LogIdentity::new("app", "web.1").unwrap();
    let mut web = SegmentWriter::open_by(dir.path(), "web.1", identity, config, || NOW.get()).unwrap();
    let count = || std::fs::read_dir(dir.path()).unwrap().count() - 1;
    for by in [DAY, -DAY, DAY] {
        say(&mut web, "short");
        set_clock(by);
    }
    say(&mut web, "short");
    assert_eq!(count(), 4);
    for _ in 0..3 {
        say(&mut web, &"x".repeat(900));
    }
    assert_eq!(count(), 2, "two full ones, as if nobody had set a clock");
    for _ in 0..100 {
        set_clock(DAY);
        say(&mut web, "");
    }
    assert!(count() <= 11, "{}", count());
}
